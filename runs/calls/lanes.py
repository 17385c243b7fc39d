"""What every call of a lane passes through: the decision, the journal, the check on replay, the time that is left."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from policy.budget import Need, Spent, suggest
from policy.decide import ALLOWED, Allow, Ask, Call, Halt, Refuse, Taint, decide
from project.spec import ModelSpec
from project.spec_policy import ApprovalSpec
from runs.executing.clock import Limit
from runs.executing.state import Diverged, Event, Parked, RunState
from runs.governed.redaction import redactor_of
from runs.stored import engine
from runs.stored.files import NotShared, find_unsaved, keep_unsaved, place_of, share_made
from runs.stored.journal import digest, pack, unpack
from tools.tool import Tool

_FREE = frozenset({"refused", "asks", "cached", "lost", "unknown_outcome", "settled_by"})
"""What a record has whose tool was not called for it."""

Approved = Callable[[Call, ApprovalSpec], bool]
"""Says whether people have approved a call as a rule wants it."""


def _nobody(_call: Call, _asked: ApprovalSpec) -> bool:
    return False


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
    clearance: Literal["public", "private"] = "private"
    """What its agent may read."""


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
        need: Need | None = None,
        price_known: bool = True,
        approved: Approved = _nobody,
        renew: Callable[[], Call] | None = None,
    ) -> Allow | Refuse | Ask:
        """Decide on a call and, where it may be made, reserve its worst case. `step` is the name of a tool's call.

        Where only calls of other lanes stand in its way that may yet use less than they could, they are waited for;
        `renew` then tells the call as it is after the wait, with another time and perhaps other links.

        Raises: Parked at a ceiling.
        """
        spending, price = self.run.spending, self.run.governor.tool(call.name).price_usd
        need = need or Need(Spent(tool_calls=1, usd=price or Decimal(0)))
        worst: Spent | None = None
        while True:
            mark = spending.mark()
            worst = worst or self._most_of(call, need)
            decision = self._decide_now(call, step, problems, worst, price_known=price_known, approved=approved)
            if isinstance(decision, Allow):
                reason = spending.enter(self.lane.name, self.stop_if_asked)
                if not reason:
                    return decision
                self.run.governor.note(step, {"kind": call.kind, "refused": reason})
            elif isinstance(decision, Halt):
                reason = decision.reason
            else:
                return decision
            most, worst = worst, self._most_of(call, need)
            if worst.output_tokens < most.output_tokens:  # others took some of the room meanwhile
                continue
            worst, worked = None, Spent(seconds=self.run.worked_seconds())
            fits = spending.may_fit(call, most, worked, price_known=price_known)
            if not fits or not spending.wait_for_others(self.lane.name, mark, self.stop_if_asked):
                raise self._stopped(reason, need.with_answer(need.most_tokens))
            call = renew() if renew is not None else call

    def give_back(self) -> None:
        """Give back what is reserved for the lane's call, since it is not made now."""
        self.run.spending.leave(self.lane.name, self.stop_if_asked)

    def _most_of(self, call: Call, need: Need) -> Spent:
        worked = Spent(seconds=self.run.worked_seconds())
        return self.run.spending.most_of(call, need, worked, self.stop_if_asked)

    def _decide_now(
        self, call: Call, step: str, problems: Sequence[str], worst: Spent, *, price_known: bool, approved: Approved
    ) -> Allow | Refuse | Ask | Halt:
        governor, spending, is_tool = self.run.governor, self.run.spending, call.kind == "tool"
        verdict = governor.verdict(call) if is_tool and call.effect is not None else ALLOWED
        with self.run.lock:
            decision = decide(
                call,
                spending.committed().plus(Spent(seconds=self.run.worked_seconds())),
                self.run.budget,
                self._tools,
                worst_usd=worst.usd,
                worst_tokens=worst.input_tokens + worst.output_tokens,
                price_known=price_known,
                argument_problems=problems,
                out_of_order=governor.out_of_order(step, call) if is_tool else "",
                verdict=verdict,
                approved=verdict.decide == "ask" and approved(call, verdict.approval),
                ceilings=spending.ceilings(call),
            )
            if isinstance(decision, Allow):
                spending.book(self.lane.name, call, worst)
                if is_tool:
                    governor.begin(step, call)
        return decision

    def _stopped(self, reason: str, worst: Spent) -> Parked:
        more = suggest(reason, worst.usd, worst.input_tokens + worst.output_tokens)
        option = f" --add-budget {more}" if more else ""
        fix = f"`muster runs resume {self.run.run_id}{option}` goes on; what is done is kept and not paid again"
        return Parked("stopped", reason, fix if more else "")

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
                    return pack(self._settled(body()), self.run.folder)
                return self._shared(body, digest(name, self.lane.history, token))
            except BaseException:
                self.give_back()
                raise
            finally:
                self.run.clock.end(self.lane.task, self.lane.agent)
                with self.run.lock:
                    self.run.in_flight -= 1

        record = unpack(engine.step(name, run), self.run.folder)
        self.made_now += fresh
        self.lane.seconds += record.get("seconds", 0.0)
        return fresh, record

    def _shared(self, body: Callable[[], dict[str, Any]], token: str) -> dict[str, Any]:
        """Return what is journaled; the files that it tells of are shared by then. Raises: NotShared."""
        folder = self.run.folder
        record = find_unsaved(folder, token)
        if record is not None:
            self.run.spending.found_again(record)
            self._settled(record)
        else:
            record = redactor_of(self.run.run_id).value(self._settled(body()))
        try:
            record = share_made(folder, record)
            return pack(record, folder)
        except NotShared:
            keep_unsaved(folder, token, record)
            raise

    def _settled(self, record: dict[str, Any]) -> dict[str, Any]:
        """Put what a call really used in the place of what was reserved for it; return the record, which says it."""
        price = self.run.governor.tool(str(record.get("tool"))).price_usd if record["kind"] == "tool" else None
        if price is not None and not record.keys() & _FREE:
            record = record | {"cost_usd": str(price)}
        return self.run.spending.settle(self.lane.name, record, self.stop_if_asked)

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
        """Tell what a call spends; that of a tool is made now."""
        self.run.spending.begin(self.lane.name)
        self.run.tell(Event(kind, self.lane.task, detail, more))

    def pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.stop_if_asked()
            time.sleep(min(left, 0.1))

    def time_left(self, most: float | None = None) -> float:
        """Return how many seconds a call may take: `most`, and what the agent, the task and the run have left."""
        limits = [limit.seconds_left for limit in self._limits()]
        limits += self.run.spending.seconds_left(self.lane.task, self.lane.agent)
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
