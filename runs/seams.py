"""The guard: the one way from a task to the world. Decide → journal → the real call, for every model and tool call."""

import contextvars
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

from models.answer import Answer, ModelError, ToolCall, Usage, estimate_tokens
from models.make import clean
from models.prices import cost_of
from muster import ToolContext
from policy.budget import Spent
from policy.decide import Allow, Call, Halt, Refuse, decide
from runs import engine
from runs.journal import digest, pack, unpack
from runs.report import spent_on_model
from runs.state import Diverged, Event, Parked, RunState, read_found
from tools.tool import Tool

AskModel = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]], float], Answer]
"""Makes one attempt: messages, tools, seconds after which it is given up. Raises ModelError."""

_LONGEST_BACKOFF = 60.0
_FIRST_BACKOFF = 0.5
_UNKNOWN_OUTCOME = (
    "The outcome of this call is unknown: the process died while it ran. It was not made again, because doing it twice "
    "could do harm. Do not assume that it happened or that it did not."
)


@dataclass
class Lane:
    """One line of calls in one task: numbers, history and time, all a function of what was journaled."""

    name: str
    task: str
    agent: str
    model_calls: int = 0
    tool_calls: int = 0
    history: str = ""
    seconds: float = 0.0
    sent: int = 0


@dataclass(frozen=True)
class _Intent:
    arguments: dict[str, Any] | None
    refusal: str
    lost: bool


class Guard:
    """Makes the calls of one lane of one task durable and governed."""

    def __init__(
        self,
        run: RunState,
        lane: Lane,
        model_name: str,
        ask_model: AskModel,
        tools: Mapping[str, Tool],
        timeout_seconds: float | None,
        *,
        soft: bool = False,
    ) -> None:
        self.run, self.lane = run, lane
        self._model_name, self._ask_model = model_name, ask_model
        self._spec = run.plan.models[model_name]
        self._tools = tools
        self._timeout = timeout_seconds
        self._soft = soft
        self._done: dict[str, str] = {}
        self.made_now = 0
        """Steps made in this execution, not replayed."""

    def ask(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Answer:
        """Ask the model, with retries; each attempt is a step.

        Raises: Parked when no attempt succeeds, a ceiling is reached or the process ends; Diverged.
        """
        lane = self.lane
        lane.model_calls += 1
        number = lane.model_calls
        same = digest(lane.name, "model", number, lane.history)
        exact = digest(self._spec.model, list(messages), list(tools))
        new = list(messages[lane.sent :])
        attempt = live_attempts = 0
        while True:
            attempt += 1
            name = f"{lane.name}/model#{number}" + (f".{attempt}" if attempt > 1 else "")
            fresh, record = self._journaled(
                name, lambda at=attempt: self._attempt(messages, tools, new if at == 1 else [], at, same, exact)
            )
            self._check(name, record, same, exact)
            # Where a failure is a result, a replay must fail as the journal did; elsewhere a resume tries again.
            counts = fresh or self._soft
            live_attempts += counts
            if "answer" in record:
                break
            error = record["error"]
            if counts and (not error["retryable"] or live_attempts >= self._spec.max_attempts):
                raise Parked("failed", _failure(self._model_name, error, live_attempts), error["fix"])
            if error["retryable"]:
                self._back_off(number, attempt, error, sleep=fresh)
        lane.sent = len(messages)
        lane.history = digest(lane.history, record["answer"])
        return Answer.from_json(record["answer"], record["usage"])

    def act(self, call: ToolCall) -> str:
        """Run the tool that the model called; return what the model is to read.

        Raises: Parked when a ceiling is reached or the process ends; Diverged.
        """
        lane = self.lane
        lane.tool_calls += 1
        number = lane.tool_calls
        same = digest(lane.name, "tool", number, lane.history, call.name, call.arguments)
        tool = self._tools.get(call.name)
        name = f"{lane.name}/{call.name if tool else 'unknown_tool'}#{number}"
        key = digest(call.name, _canonical(call.arguments))
        intent = self._intend(name, same, call, tool) if tool is not None and tool.repeat == "once" else None
        _, record = self._journaled(name, lambda: self._execute(call, tool, number, same, key, intent))
        self._check(name, record, same, None)
        found = read_found(name, record)
        if found is not None:
            self.run.note_found(lane.task, found)
        result = str(record.get("refused") or record["result"])
        if tool is not None and tool.cache and "error" not in record and "refused" not in record:
            self._done[key] = result
        lane.history = digest(lane.history, result)
        return result

    # -- model calls

    def _attempt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        new: list[Mapping[str, Any]],
        attempt: int,
        same: str,
        exact: str,
    ) -> dict[str, Any]:
        self._stop_if_asked()
        prompt_tokens = estimate_tokens(json.dumps([list(messages), list(tools)], default=str))
        self._afford_model_call(prompt_tokens)
        record: dict[str, Any] = {
            "kind": "model",
            "task": self.lane.task,
            "agent": self.lane.agent,
            "model": self._spec.model,
            "attempt": attempt,
            "new": new,
            "tools": [tool["function"]["name"] for tool in tools],
            "same": same,
            "exact": exact,
        }
        limit = self._time_left()
        began = time.monotonic()
        try:
            answer = self._ask_model(messages, tools, limit)
        except ModelError as error:
            record["error"] = {
                "kind": error.kind,
                "message": str(error),
                "retryable": error.retryable,
                "retry_after": error.retry_after,
                "fix": error.fix,
            }
            record["seconds"] = round(time.monotonic() - began, 4)
            self._spend("retry", str(error), Spent(model_calls=1))
            return record
        record["seconds"] = round(time.monotonic() - began, 4)
        record |= {"answer": answer.to_json(), "usage": asdict(answer.usage), **self._price(answer.usage)}
        self._spend("call", self._spec.model, spent_on_model(record))
        return record

    def _spend(self, kind: Literal["call", "retry"], detail: str, more: Spent) -> None:
        self.run.settle(self.lane.name, more)
        self.run.tell(Event(kind, self.lane.task, detail, more))

    def _price(self, usage: Usage) -> dict[str, Any]:
        price, source = self.run.prices[self._model_name]
        return {"cost_usd": None if price is None else str(cost_of(usage, price)), "price": source}

    def _afford_model_call(self, prompt_tokens: int) -> None:
        price, source = self.run.prices[self._model_name]
        output = self._spec.max_tokens or 1024
        worst = cost_of(Usage(prompt_tokens, output), price) if price else None
        call = Call("model", self.run.run_id, self.lane.task, self.lane.agent, self._spec.model)
        known = price is not None or source == "offline"
        self._decide(call, worst_usd=worst, worst_tokens=prompt_tokens, price_known=known)

    def _back_off(self, number: int, attempt: int, error: Mapping[str, Any], *, sleep: bool) -> None:
        wanted = error["retry_after"]
        spread = int(digest(self.lane.name, number, attempt)[:4], 16) / 0xFFFF  # no two lanes wake together
        seconds = _FIRST_BACKOFF * 2 ** min(attempt - 1, 8) * (0.75 + 0.5 * spread) if wanted is None else wanted
        seconds = round(min(seconds, _LONGEST_BACKOFF), 3)

        def wait() -> dict[str, Any]:
            if sleep:
                self._pause(seconds)
            waited = seconds if sleep else 0.0  # who resumes a failed run has waited already
            return {"kind": "backoff", "task": self.lane.task, "seconds": waited, "reason": error["message"]}

        self._journaled(f"{self.lane.name}/backoff#{number}.{attempt}", wait)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._stop_if_asked()
            time.sleep(min(left, 0.1))

    # -- tool calls

    def _execute(
        self, call: ToolCall, tool: Tool | None, number: int, same: str, key: str, intent: "_Intent | None"
    ) -> dict[str, Any]:
        arguments, refusal = self._permit(call, tool) if intent is None else (intent.arguments, intent.refusal)
        record: dict[str, Any] = {
            "kind": "tool",
            "task": self.lane.task,
            "agent": self.lane.agent,
            "tool": call.name,
            "arguments": arguments if arguments is not None else call.arguments,
            "same": same,
        }
        self._spend("call", call.name, Spent(tool_calls=1))
        if refusal:
            return record | {"refused": refusal, "seconds": 0.0}
        assert tool is not None
        assert arguments is not None
        record |= {"effect": tool.effect, "repeat": tool.repeat}
        if key in self._done:
            return record | {"result": self._done[key], "cached": True, "seconds": 0.0}
        if intent is not None and intent.lost:
            return record | {"result": _UNKNOWN_OUTCOME, "unknown_outcome": True, "seconds": 0.0}
        began = time.monotonic()
        record |= self._run_tool(tool, arguments, digest(self.run.run_id, self.lane.name, number))
        return record | {"seconds": round(time.monotonic() - began, 4)}

    def _permit(self, call: ToolCall, tool: Tool | None) -> tuple[dict[str, Any] | None, str]:
        """Return the call's arguments and, when it may not be made, what the model is told. Raises: Parked."""
        self._stop_if_asked()
        arguments, problems = _read_arguments(call.arguments)
        if tool is not None and arguments is not None:
            problems = tool.check(arguments)
        wanted = Call(
            "tool",
            self.run.run_id,
            self.lane.task,
            self.lane.agent,
            call.name,
            arguments or {},
            cast(Any, tool.effect) if tool else None,
            cast(Any, tool.repeat) if tool else None,
        )
        return arguments, self._decide(wanted, problems=problems)

    def _run_tool(self, tool: Tool, arguments: dict[str, Any], key: str) -> dict[str, Any]:
        context = ToolContext(
            project=Path(self.run.plan.project),
            output_folder=self.run.folder / "files",
            inputs=self.run.plan.inputs,
            idempotency_key=key,
        )
        limit = min(tool.timeout_seconds, self._time_left())
        box: dict[str, Any] = {}

        def work() -> None:
            try:
                box["result"] = clean(tool.call(arguments, context))
            except Exception as error:  # a tool's error is data: the model reads it
                message = clean(" ".join(str(error).split()))[:2000] or type(error).__name__
                box["error"] = {"kind": type(error).__name__, "message": message}
                box["result"] = f"Error: {tool.name} failed: {message}"

        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name=tool.name)
        thread.start()
        thread.join(limit)
        if thread.is_alive():
            message = f"no result within {limit:g} s"
            return {"error": {"kind": "timeout", "message": message}, "result": f"Error: {tool.name}: {message}"}
        return box

    def _intend(self, name: str, same: str, call: ToolCall, tool: Tool | None) -> "_Intent":
        """Journal, before a call that may not be made twice, that it is about to be made.

        A journaled intent without a journaled call is a call whose outcome nobody knows. All that can stop the call is
        decided before the intent, so that only a crash comes between the two.
        """

        def intend() -> dict[str, Any]:
            arguments, refusal = self._permit(call, tool)
            found = {"kind": "intent", "task": self.lane.task, "same": same, "seconds": 0.0}
            return found | {"arguments": arguments, "refused": refusal}

        fresh, record = self._journaled(f"{name}/intent", intend)
        self._check(name, record, same, None)
        return _Intent(record["arguments"], record["refused"], lost=not fresh)

    # -- shared

    def _decide(
        self,
        call: Call,
        *,
        problems: Sequence[str] = (),
        worst_usd: Decimal | None = None,
        worst_tokens: int = 0,
        price_known: bool = True,
    ) -> str:
        """Decide on a call and reserve its worst case: "" when it may be made, else what the model is told.

        Raises: Parked at a ceiling.
        """
        with self.run.lock:
            decision = decide(
                call,
                self.run.committed().plus(Spent(seconds=self.run.worked_seconds())),
                self.run.budget,
                self._tools,
                worst_usd=worst_usd,
                worst_tokens=worst_tokens,
                price_known=price_known,
                argument_problems=problems,
            )
            if isinstance(decision, Allow):
                worst = Spent(model_calls=1, input_tokens=worst_tokens, usd=worst_usd or Decimal(0))
                self.run.reserved[self.lane.name] = worst if call.kind == "model" else Spent(tool_calls=1)
        match decision:
            case Allow():
                return ""
            case Refuse(reason):
                return reason
            case Halt(reason):
                raise Parked("stopped", reason)
            case _:
                raise Parked("waiting", decision.question)

    def _journaled(self, name: str, body: Callable[[], dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
        """Run `body` as a step; return whether it was run now, and the record."""
        fresh = False

        def run() -> dict[str, Any]:
            nonlocal fresh
            fresh = True
            with self.run.lock:
                self.run.in_flight += 1
            try:
                return pack(body(), self.run.folder)
            finally:
                with self.run.lock:
                    self.run.in_flight -= 1
                    self.run.reserved.pop(self.lane.name, None)

        record = unpack(engine.step(name, run), self.run.folder)
        self.made_now += fresh
        self.lane.seconds += record.get("seconds", 0.0)
        return fresh, record

    def journal(self, name: str, body: Callable[[], dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
        """Run `body` as a step of this lane that is neither a model nor a tool call."""
        return self._journaled(f"{self.lane.name}/{name}", body)

    def _check(self, name: str, record: Mapping[str, Any], same: str, exact: str | None) -> None:
        if record["same"] != same:
            raise Diverged(f"step {name} was journaled for another input than now")
        if exact is not None and record["exact"] != exact:
            what = f"step {name} was journaled for another prompt than now"
            if self.run.same_versions:
                raise Diverged(what)
            self.run.warnings.append(what)

    def _time_left(self) -> float:
        limits = [self._spec.timeout_seconds]
        if self._timeout is not None:
            limits.append(self._timeout - self.lane.seconds)
        if self.run.budget.max_seconds is not None:
            limits.append(self.run.budget.max_seconds - self.run.worked_seconds())
        return max(0.05, min(limits))

    def _stop_if_asked(self) -> None:
        if self.run.stopping:
            raise Parked("interrupted", self.run.stopping)
        if self._timeout is not None and self.lane.seconds >= self._timeout:
            raise Parked(
                "failed",
                f"the task's time is up: {self.lane.seconds:.1f} s of {self._timeout:g} s",
                "raise `timeout_seconds` of the task or `max_execution_time` of the agent",
            )


def _failure(model: str, error: Mapping[str, Any], attempts: int) -> str:
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    return f"the model {model!r} did not answer{tries}: {error['message']}"


def _read_arguments(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    try:
        found: Any = json.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        return None, [f"the arguments are not valid JSON ({error}); nothing was run. Call again with a JSON object"]
    if not isinstance(found, dict):
        return None, [f"the arguments must be a JSON object, got {type(found).__name__}; nothing was run"]
    return cast(dict[str, Any], found), []


def _canonical(text: str) -> str:
    arguments, _ = _read_arguments(text)
    return json.dumps(arguments, sort_keys=True) if arguments is not None else text
