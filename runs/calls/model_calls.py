"""A lane's model calls: each attempt a step, with retries that are bounded, spread and journaled."""

import functools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from models.answer import Answer, ModelError, Usage, estimate_tokens
from models.choose import chain_of
from models.prices import cost_of, longest_answer
from policy.budget import Need, Spent
from policy.decide import Call
from project.spec import PriceSpec
from runs.calls.lanes import Seam
from runs.calls.rates import rate_key
from runs.executing.state import Parked
from runs.governed.redaction import redactor_of
from runs.stored.journal import digest
from runs.told.report import spent_on_model

AskModel = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]], float], Answer]
"""Makes one attempt: messages, tools, seconds after which it is given up. Raises ModelError."""

_LONGEST_ANSWER = 4096
"""Tokens that an answer may have under a ceiling where models.yaml does not say: what older models can do at most."""
_SHORTEST_ANSWER = 256
"""Tokens below which no answer is asked for."""
_UNSAID = 1024
"""Tokens that are reckoned with where nothing depends on them."""


@dataclass
class _Asking:
    """One call under way: what is asked, and who was tried. `order` holds the models in the order of this call."""

    number: int
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    new: list[Mapping[str, Any]]
    same: str
    order: list[str]
    at: int = 0
    attempt: int = 0
    tried: int = 0
    """Attempts of the model at `at` that count."""
    said: list[str] = field(default_factory=list[str])
    """Why the models before it were left."""

    @property
    def model(self) -> str:
        return self.order[self.at]


class ModelCalls:
    """Makes the model calls of one lane. The model that answered goes on being asked first."""

    def __init__(self, seam: Seam, model_name: str, ask_model: AskModel, *, soft: bool) -> None:
        self._seam, self._run, self._lane = seam, seam.run, seam.lane
        self._first, self._ask_model = model_name, ask_model
        self._specs = seam.run.plan.models
        self._chain = chain_of(model_name, self._specs)
        self._soft = soft
        self._latest = 0

    def ask(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Answer:
        """Ask the model, with retries, then those that stand in for it; each attempt is a step.

        Raises: Parked when no attempt succeeds, a ceiling is reached or the process ends; Diverged.
        """
        lane = self._lane
        lane.model_calls += 1
        same = digest(lane.name, "model", lane.model_calls, lane.history)
        order = [*self._chain[self._latest :], *self._chain[: self._latest]]
        asking = _Asking(lane.model_calls, messages, tools, list(messages[lane.sent :]), same, order)
        while True:
            asking.attempt += 1
            fresh, record = self._try(asking)
            if "answer" in record:
                break
            if len(self._chain) == 1:
                self._again(asking, record["error"], fresh)
            else:
                self._next(asking, record, fresh)
        lane.sent = len(messages)
        lane.model = asking.model
        self._latest = self._chain.index(asking.model)
        lane.history = digest(lane.history, record["answer"])
        return Answer.from_json(record["answer"], record["usage"])

    def _try(self, asking: _Asking) -> tuple[bool, dict[str, Any]]:
        """Make the next attempt, as a step; say whether it was made now."""
        name = f"{self._lane.name}/model#{asking.number}" + (f".{asking.attempt}" if asking.attempt > 1 else "")
        exact = digest(self._specs[asking.model].model, list(asking.messages), list(asking.tools))
        fresh, record = self._seam.journaled(name, lambda: self._attempt(asking, exact), exact)
        self._seam.check(name, record, asking.same, exact)
        # Where a failure is a result, a replay must fail as the journal did; elsewhere a resume tries again.
        # A chain's records say themselves how it went on.
        asking.tried += fresh or self._soft or len(self._chain) > 1
        return fresh, record

    def _again(self, asking: _Asking, error: Mapping[str, Any], fresh: bool) -> None:
        """Wait for the next attempt of the only model. Raises: Parked when there is none."""
        counts = fresh or self._soft
        if counts and (not error["retryable"] or asking.tried >= self._specs[asking.model].max_attempts):
            why = _failure(asking.model, error, asking.tried)
            raise Parked("failed", why, error["fix"], "model")
        if error["retryable"]:
            self._back_off(asking, asking.attempt, error, sleep=fresh)

    def _next(self, asking: _Asking, record: Mapping[str, Any], fresh: bool) -> None:
        """Go on as the record of a failed attempt says: the same model again, or another. Raises: Parked."""
        error, then = record["error"], record["next"]
        if then == asking.model:
            self._back_off(asking, asking.tried, error, sleep=fresh)
            return
        asking.said.append(_failure(asking.model, error, asking.tried))
        if then:
            asking.at = asking.order.index(then)
        elif fresh or self._soft:
            raise Parked("failed", "; ".join(asking.said), error["fix"], "model")
        else:  # who resumes a failed run has the whole chain asked again
            asking.at = 0
            asking.said.clear()
        asking.tried = 0

    def _attempt(self, asking: _Asking, exact: str) -> dict[str, Any]:
        spec = self._specs[asking.model]
        self._seam.stop_if_asked()
        spending = self._run.spending
        prompt_tokens = estimate_tokens(json.dumps([list(asking.messages), list(asking.tools)], default=str))
        most_tokens = self._afford_model_call(asking.model, prompt_tokens)
        record: dict[str, Any] = {
            "kind": "model",
            "task": self._lane.task,
            "agent": self._lane.agent,
            "model": spec.model,
            "attempt": asking.attempt,
            "new": asking.new if asking.attempt == 1 else [],
            "tools": [tool["function"]["name"] for tool in asking.tools],
            "same": asking.same,
            "exact": exact,
        }
        if len(self._chain) > 1:
            record["asked"] = asking.model
        if most_tokens is not None:
            record["most_tokens"] = most_tokens
        if spec.rate_limit is not None and self._run.rates is not None:
            rate = spec.rate_limit
            self._run.rates.wait(rate_key(spec), rate.calls, rate.seconds, self._seam.stop_if_asked)
        limit = self._seam.time_left(spending.most_seconds(spec.timeout_seconds))
        ask = self._asker(asking.model, most_tokens)
        spending.begin(self._lane.name)
        began = time.monotonic()
        try:
            hide = redactor_of(self._run.run_id).value
            answer = ask(hide(asking.messages), hide(asking.tools), limit)
        except ModelError as error:
            record["seconds"] = round(time.monotonic() - began, 4)
            return record | self._failed(asking, error)
        record["seconds"] = round(time.monotonic() - began, 4)
        record |= {"answer": answer.to_json(), "usage": asdict(answer.usage)}
        record |= self._price(asking.model, answer.usage)
        if answer.cut_off and most_tokens is not None:
            self._warn_of_limit(asking.model, most_tokens)
        self._seam.spend("call", spec.model, spent_on_model(record))
        return record

    def _failed(self, asking: _Asking, error: ModelError) -> dict[str, Any]:
        """Return what the record of a failed attempt says of the error and, in a chain, of who is asked next."""
        retryable = error.kind in self._specs[asking.model].retry_on
        told: dict[str, Any] = {
            "kind": error.kind,
            "message": str(error),
            "retryable": retryable,
            "retry_after": error.retry_after,
            "fix": error.fix,
        }
        if error.unsent:
            told["unsent"] = True
        if len(self._chain) == 1:
            self._seam.spend("retry", str(error), Spent(model_calls=1))
            return {"error": told}
        then = self._after(asking, error.kind, retryable)
        other = f"; {then} is asked next" if then not in ("", asking.model) else ""
        self._seam.spend("retry", f"{error}{other}", Spent(model_calls=1))
        return {"error": told, "next": then}

    def _after(self, asking: _Asking, kind: str, retryable: bool) -> str:
        """Name the model that is asked after a failed attempt; "" when there is none."""
        if retryable and asking.tried + 1 < self._specs[asking.model].max_attempts:
            return asking.model
        rest = asking.order[asking.at + 1 :]
        if kind == "context":  # only a larger window helps
            rest = [name for name in rest if self._window(name) > self._window(asking.model)]
        return next(iter(rest), "")

    def _window(self, name: str) -> int:
        return self._run.models[name].context_window

    def _price(self, model: str, usage: Usage) -> dict[str, Any]:
        price, source = self._run.prices[model]
        return {"cost_usd": None if price is None else str(cost_of(usage, price)), "price": source}

    def _asker(self, model: str, most_tokens: int | None) -> AskModel:
        if most_tokens is not None:
            return functools.partial(self._run.models[model].ask, most_tokens=most_tokens)
        return self._ask_model if model == self._first else self._run.models[model].ask

    def _afford_model_call(self, model: str, prompt_tokens: int) -> int | None:
        """Reserve the worst case of a call; return how many tokens the model is to be told that it may answer with.

        That is None where models.yaml says it, and where no ceiling depends on it. Raises: Parked at a ceiling.
        """
        price, source = self._run.prices[model]
        spec = self._specs[model]
        call = Call("model", self._run.run_id, self._lane.task, self._lane.agent, spec.model)
        said = longest_answer(spec)
        open_ended = said is None and source != "offline" and self._run.spending.counts_answers(call)
        most = self._longest(model, prompt_tokens) if open_ended else said or _UNSAID
        need = Need(
            Spent(model_calls=1, input_tokens=prompt_tokens, usd=_cost(Usage(prompt_tokens, 0), price)),
            most,
            _SHORTEST_ANSWER if open_ended else most,
            _cost(Usage(0, 1), price),
        )
        self._seam.decide(call, need=need, price_known=price is not None or source == "offline")
        return self._run.spending.reserved(self._lane.name).output_tokens if open_ended else None

    def _longest(self, model: str, prompt_tokens: int) -> int:
        """Return how long an answer may be so that the window holds it, too, also where the prompt is estimated low."""
        room = self._window(model) - prompt_tokens - prompt_tokens // 4
        return min(_LONGEST_ANSWER, max(_UNSAID, room))

    def _warn_of_limit(self, model: str, most_tokens: int) -> None:
        what = f"an answer of {self._specs[model].model} in {self._lane.task} was cut off at {most_tokens} tokens"
        why = "which is what was reserved for it under a ceiling"
        told = f"{what}, {why}; set `max_tokens` of {model} in models.yaml"
        if told not in self._run.warnings:
            self._run.warnings.append(told)

    def _back_off(self, asking: _Asking, tries: int, error: Mapping[str, Any], *, sleep: bool) -> None:
        spec = self._specs[asking.model]
        wanted = error["retry_after"]
        spread = int(digest(self._lane.name, asking.number, asking.attempt)[:4], 16) / 0xFFFF  # no two wake together
        doubled = spec.backoff_seconds * 2 ** min(tries - 1, 8) * (0.75 + 0.5 * spread)
        seconds = round(min(doubled if wanted is None else wanted, spec.max_backoff_seconds), 3)

        def wait() -> dict[str, Any]:
            if sleep:
                self._seam.pause(seconds)
            waited = seconds if sleep else 0.0  # who resumes a failed run has waited already
            return {"kind": "backoff", "task": self._lane.task, "seconds": waited, "reason": error["message"]}

        self._seam.journaled(f"{self._lane.name}/backoff#{asking.number}.{asking.attempt}", wait)


def _cost(usage: Usage, price: PriceSpec | None) -> Decimal:
    return cost_of(usage, price) if price else Decimal(0)


def _failure(model: str, error: Mapping[str, Any], attempts: int) -> str:
    tries = f" after {attempts} attempts" if attempts > 1 else ""
    return f"the model {model!r} did not answer{tries}: {error['message']}"
