"""What every call of a lane passes through: the decision, the journal, the check on replay, the time that is left."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from policy.budget import Spent
from policy.decide import ALLOWED, Allow, Ask, Call, Halt, Refuse, Taint, decide
from project.spec import ModelSpec
from runs import engine
from runs.clock import Limit
from runs.files import NotShared, find_unsaved, keep_unsaved, place_of, share_made
from runs.journal import digest, pack, unpack
from runs.report import spent_on
from runs.state import Diverged, Event, Parked, RunState
from tools.tool import Tool


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
    failed_tools: dict[str, str] = field(default_factory=dict[str, str])
    """Tools whose latest call failed for good, and why."""
    model: str = ""
    """The model that gave its latest answer: a key of the plan's `models`."""
    crew: str = ""
    """The crew in which it works."""
    chain: tuple[str, ...] = ()
    """Agents that passed the work on to its agent, the first one first."""
    taint: Taint = field(default_factory=Taint)
    """What was read before its next call."""
    confidence: float | None = None
    """Least confidence of the outputs that its task builds on."""
    autonomy: Literal["supervised", "autonomous"] | None = None
    """How much its agent may do by itself."""


class Seam:
    """One lane's way to the journal. `made_now` counts the steps made in this execution, not replayed."""

    def __init__(
        self, run: RunState, lane: Lane, spec: ModelSpec, tools: Mapping[str, Tool], timeout_seconds: float | None
    ) -> None:
        self.run, self.lane = run, lane
        self._spec, self._tools = spec, tools
        self._timeout = timeout_seconds
        self.made_now = 0

    def with_tools(self, tools: Mapping[str, Tool]) -> "Seam":
        """Return the same lane's way for other tools."""
        return Seam(self.run, self.lane, self._spec, tools, self._timeout)

    def decide(
        self,
        call: Call,
        *,
        step: str = "",
        problems: Sequence[str] = (),
        worst_usd: Decimal | None = None,
        worst_tokens: int = 0,
        price_known: bool = True,
        approved: bool = False,
    ) -> Allow | Refuse | Ask:
        """Decide on a call and, where it may be made, reserve its worst case. `step` is the name of a tool's call.

        Raises: Parked at a ceiling.
        """
        governor, is_tool = self.run.governor, call.kind == "tool"
        verdict = governor.verdict(call) if is_tool and call.effect is not None else ALLOWED
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
                out_of_order=governor.out_of_order(call) if is_tool else "",
                verdict=verdict,
                approved=approved,
            )
            if isinstance(decision, Allow):
                worst = Spent(model_calls=1, input_tokens=worst_tokens, usd=worst_usd or Decimal(0))
                self.run.reserved[self.lane.name] = Spent(tool_calls=1) if is_tool else worst
                if is_tool:
                    governor.begin(step, call)
        if isinstance(decision, Halt):
            raise Parked("stopped", decision.reason)
        return decision

    def journaled(self, name: str, body: Callable[[], dict[str, Any]], token: str = "") -> tuple[bool, dict[str, Any]]:
        """Run `body` as a step; return whether it was run now, and the record.

        `token` tells what the step depends on beside the lane's history: a call that was made but whose files could
        not be shared is not made again when the run is resumed here, with the same history and token.
        """
        fresh = False

        def run() -> dict[str, Any]:
            nonlocal fresh
            fresh = True
            with self.run.lock:
                self.run.in_flight += 1
            self.run.clock.begin(self.lane.task, self.lane.agent)
            try:
                if place_of(self.run.folder) is None:
                    return pack(body(), self.run.folder)
                return self._shared(body, digest(name, self.lane.history, token))
            finally:
                self.run.clock.end(self.lane.task, self.lane.agent)
                with self.run.lock:
                    self.run.in_flight -= 1
                    self.run.reserved.pop(self.lane.name, None)

        record = unpack(engine.step(name, run), self.run.folder)
        self.made_now += fresh
        self.lane.seconds += record.get("seconds", 0.0)
        return fresh, record

    def _shared(self, body: Callable[[], dict[str, Any]], token: str) -> dict[str, Any]:
        """Return what is journaled; the files that it tells of are shared by then. Raises: NotShared."""
        folder = self.run.folder
        record = find_unsaved(folder, token)
        if record is not None:
            self.run.settle(self.lane.name, spent_on(record))
        else:
            record = body()
        try:
            record = share_made(folder, record)
            return pack(record, folder)
        except NotShared:
            keep_unsaved(folder, token, record)
            raise

    def journal(self, name: str, body: Callable[[], dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
        """Run `body` as a step of this lane that is neither a model nor a tool call."""
        return self.journaled(f"{self.lane.name}/{name}", body)

    def check(self, name: str, record: Mapping[str, Any], same: str, exact: str | None) -> None:
        if record["same"] != same:
            raise Diverged(f"step {name} was journaled for another input than now")
        if exact is not None and record["exact"] != exact:
            what = f"step {name} was journaled for another prompt than now"
            if self.run.same_versions:
                raise Diverged(what)
            self.run.warnings.append(what)

    def spend(self, kind: Literal["call", "retry"], detail: str, more: Spent) -> None:
        self.run.settle(self.lane.name, more)
        self.run.tell(Event(kind, self.lane.task, detail, more))

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.stop_if_asked()
            time.sleep(min(left, 0.1))

    def time_left(self, most: float | None = None) -> float:
        """Return how many seconds a call may take: `most`, and what the agent, the task and the run have left."""
        limits = [limit.seconds_left for limit in self._limits()]
        if self.run.budget.max_seconds is not None:
            limits.append(self.run.budget.max_seconds - self.run.worked_seconds())
        return max(0.05, min([self._spec.timeout_seconds if most is None else most, *limits]))

    def stop_if_asked(self) -> None:
        """Make no further call when the process wants to end, or no time is left. Raises: Parked."""
        if self.run.stopping:
            raise Parked("interrupted", self.run.stopping)
        for limit in self._limits():
            if limit.seconds_left <= 0:
                raise Parked("failed", limit.reason, limit.fix, limit.cause)

    def _limits(self) -> list[Limit]:
        return self.run.clock.limits(self.lane.task, self.lane.agent, self._timeout)
