"""What a run has spent and may spend, at every scope: the run, its tasks and agents, and what it shares with others.

The worst case of a call is set aside before it, and what it used takes its place when it has ended. On a resume all is
counted again: from the journal, and from the reservations of calls that never were journaled.
"""

import contextlib
import functools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from policy.budget import RUN, Added, Ceiling, Need, Scope, Spent, counts_answers, counts_calls, first_over
from policy.decide import Call
from project.errors import Stop
from project.spec import BudgetSpec
from project.spec_policy import CallBudgetSpec
from runs.governed.ceilings import Ceilings
from runs.governed.ledger import Check, Ledger, Reservation, amounts_of
from runs.told.report import Step, spent_on

RESERVED = "reservation"
"""The key of a record that names the reservation of its call."""

_LOOK_SECONDS = 0.1
_MAY_BE_BILLED = ("timeout", "connection", "bad_response")
_IN_TASK, _IN_AGENT = "`budget:` of the task in tasks.yaml", "`budget:` of the agent in agents.yaml"
_IN_CALL = "`budgets: call:` in policy.yaml"


@dataclass
class _Booked:
    call: Call
    worst: Spent
    durable: Reservation | None = None
    begun: bool = False


class Spending:
    """The spending of one run in this process. May be used from any thread."""

    def __init__(
        self,
        budget: BudgetSpec | None = None,
        beside: Ceilings | None = None,
        *,
        run_id: str = "",
        added: Added | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """`budget` holds the ceilings of the run, with what was `added`, which raises those `beside` it.

        Without a `ledger` nothing outlives the process. Only ceilings that count dollars, tokens or calls need it.
        """
        self.added = added or Added()
        self._budget, self._beside = budget or BudgetSpec(), beside or Ceilings()
        self._shared = [replace(one, budget=self.added.to(one.budget)) for one in self._beside.shared]
        self._run_id = run_id
        self._ledger = ledger if any(map(counts_calls, (self._budget, *self._beside.counting()))) else None
        self._tasks: dict[str, tuple[str, BudgetSpec]] = {}
        self._spent: dict[str, Spent] = {}
        self._lost: dict[str, Reservation] = {}
        self._booked: dict[str, _Booked] = {}
        self._done: dict[str, str] = {}
        self._settlements = 0
        self._changed = threading.Condition()

    def limit_task(self, path: str, name: str, budget: BudgetSpec | None) -> None:
        """Set the ceilings of a task, everything below its path included."""
        if budget is not None:
            with self._changed:
                self._tasks[path] = (name, budget)

    @property
    def spent(self) -> Spent:
        """What the run has spent by its journal."""
        with self._changed:
            return self._spent.get("", Spent())

    def committed(self) -> Spent:
        """Return what the run has spent, may have spent in calls that were lost, and has set aside."""
        with self._changed:
            return self._counted("", reserved=True)

    def ceilings(self, call: Call, *, reserved: bool = True) -> list[Ceiling]:
        """Return the ceilings of a call beside those of the run and those that are shared, the narrowest first.

        Without `reserved`, as if all calls under way had ended and used nothing.
        """
        found: list[Ceiling] = []
        if call.kind == "model":
            found.append(Ceiling(Scope("a call", _IN_CALL), Spent(), self.added.to(_as_budget(self._beside.call))))
        with self._changed:
            for path in _above(call.task):
                if path in self._tasks:
                    name, budget = self._tasks[path]
                    spent = self._counted(f"task {path}", reserved=reserved)
                    found.append(Ceiling(Scope(f"task {name}", _IN_TASK), spent, self.added.to(budget)))
            if call.agent in self._beside.agents:
                budget = self.added.to(self._beside.agents[call.agent])
                spent = self._counted(f"agent {call.agent}", reserved=reserved)
                found.append(Ceiling(Scope(f"agent {call.agent}", _IN_AGENT), spent, budget))
        return found

    def seconds_left(self, task: str, agent: str) -> list[float]:
        """Return what the ceilings of the task and the agent leave for one more call."""
        own = self.ceilings(Call("tool", self._run_id, task, agent, ""))
        return [one.budget.max_seconds - one.spent.seconds for one in own if one.budget.max_seconds is not None]

    def most_seconds(self, seconds: float) -> float:
        """Return how long a call of a model may take that could take so long."""
        most = self._beside.call.max_seconds
        return seconds if most is None else min(seconds, most + self.added.seconds)

    # -- one call

    def mark(self) -> int:
        """Return what `wait_for_others` wants to know: the instant before it was found that a call does not fit."""
        with self._changed:
            return self._settlements

    def may_fit(self, call: Call, worst: Spent, worked: Spent, *, price_known: bool) -> bool:
        """Say whether a call would fit if all those under way used nothing: they reserve more than most of them use.

        `worked` is the time that was worked at the run.
        """
        with self._changed:
            whole = self._counted("", reserved=False).plus(worked)
        at_best = [*self.ceilings(call, reserved=False), Ceiling(RUN, whole, self._budget)]
        usd, tokens = worst.usd if price_known else None, worst.input_tokens + worst.output_tokens
        return first_over(at_best, kind=call.kind, worst_usd=usd, worst_tokens=tokens, name=call.name) is None

    def most_of(self, call: Call, need: Need, worked: Spent, check: Check) -> Spent:
        """Return the worst case of a call, its answer as long as the ceilings leave room for.

        What calls of this run under way have reserved is left: they are waited for, rather than an answer cut short.
        `worked` is the time that was worked at the run. Raises: what `check` does, while the database is gone.
        """
        if need.most_tokens == need.least_tokens:
            return need.with_answer(need.most_tokens)
        with self._changed:
            whole = self._counted("", reserved=False).plus(worked)
        left = [*self.ceilings(call, reserved=False), Ceiling(RUN, whole, self._budget), *self._shared_left(check)]
        return need.within(left)

    def counts_answers(self, call: Call) -> bool:
        """Say whether a ceiling in dollars or tokens applies to a call."""
        shared = (one.budget for one in self._shared)
        return any(map(counts_answers, (self._budget, *shared, *(one.budget for one in self.ceilings(call)))))

    def _shared_left(self, check: Check) -> list[Ceiling]:
        """Return the shared ceilings in dollars or tokens, without what calls of this run have reserved."""
        shared = [one for one in self._shared if counts_answers(one.budget)]
        if self._ledger is None or not shared:
            return []
        now = time.time()
        found = self._ledger.look([one.total(now) for one in shared], check)
        with self._changed:
            mine = [one.durable for one in self._booked.values() if one.durable is not None]
        return [
            Ceiling(one.scope, _without(found[total], mine, total), one.budget)
            for one, total in zip(shared, (one.total(now) for one in shared), strict=True)
        ]

    def reserved(self, lane: str) -> Spent:
        """Return the worst case that is set aside for a lane's call."""
        with self._changed:
            return self._booked[lane].worst

    def wait_for_others(self, lane: str, mark: int, check: Check) -> bool:
        """Wait until another lane's call has ended since `mark`; False when none is under way."""
        while True:
            with self._changed:
                if self._settlements != mark:
                    return True
                if not self._booked.keys() - {lane}:
                    return False
                self._changed.wait(_LOOK_SECONDS)
            check()

    def book(self, lane: str, call: Call, worst: Spent) -> None:
        """Set the worst case of a lane's call aside, in this process."""
        with self._changed:
            self._booked[lane] = _Booked(call, worst)

    def enter(self, lane: str, check: Check) -> str:
        """Set what was booked aside for all processes, durably; say which shared ceiling has no room for it.

        Raises: what `check` does, while the database is gone.
        """
        if self._ledger is None:
            return ""
        booked = self._booked[lane]
        with self._changed:
            done = [self._done[lane]] if lane in self._done else []
        try:
            made = self._ledger.reserve(self._run_id, booked.call, booked.worst, self._shared, check, done)
        except BaseException:
            self._drop(lane)
            raise
        if isinstance(made, str):
            self._drop(lane)
            return made
        booked.durable = made
        self._done.pop(lane, None)
        return ""

    def begin(self, lane: str) -> None:
        """Note that the call of a lane is about to be made: from now on it may cost something."""
        booked = self._booked.get(lane)
        if booked is not None:
            booked.begun = True

    def settle(self, lane: str, record: Mapping[str, Any], check: Check) -> dict[str, Any]:
        """Put what a call really used in the place of what was set aside; return the record, which names both.

        An announced call keeps its reservation until it is made. An attempt that failed in a way that may have been
        billed is lost: its worst case counts beside what its record says.
        """
        booked = self._booked.get(lane)
        if booked is not None and record["kind"] == "intent":
            return dict(record)
        real, made = _real(record), booked.durable if booked is not None else None
        lost = _on_top(booked.worst) if booked is not None and made is not None and may_be_billed(record) else None
        if self._ledger is not None and made is not None and (made.totals or lost is not None):
            with contextlib.suppress(Stop):  # the database is gone, and the process wants to end: a resume settles it
                self._ledger.settle(made, real, check, lost=lost)
        with self._changed:
            self._booked.pop(lane, None)
            self._count(record.get("task", ""), record.get("agent", ""), real)
            if made is not None:
                if lost is None:
                    self._done[lane] = made.id
                else:
                    self._lost[made.id] = replace(made, spent=lost, state="lost")
            self._settled()
        return {**record, RESERVED: made.id} if made is not None else dict(record)

    def leave(self, lane: str, check: Check) -> None:
        """Give back what was set aside for a call that was not made; one that had begun is lost."""
        booked = self._drop(lane)
        if booked is None or booked.durable is None or self._ledger is None:
            return
        if booked.begun:
            with self._changed:
                self._lost[booked.durable.id] = replace(booked.durable, state="lost")
            return
        with contextlib.suppress(Stop):
            self._ledger.settle(booked.durable, Spent(), check)
            self._done[lane] = booked.durable.id

    def found_again(self, record: Mapping[str, Any]) -> None:
        """Count a call that was made by a process that died, and whose record was found, as any other."""
        with self._changed:
            again = self._lost.pop(record.get(RESERVED, ""), None)
        if again is not None and self._ledger is not None:
            self._ledger.forget([again.id])

    # -- all of a run

    def remember(self, steps: Sequence[Step]) -> None:
        """Count all calls of earlier executions: those journaled, and those of which nobody knows how they ended."""
        with self._changed:
            self._spent.clear()
            for step in steps:
                self._count(step.record.get("task", step.task), step.record.get("agent", ""), _real(step.record))
        if self._ledger is None:
            return
        journaled = {step.record[RESERVED]: step.record for step in steps if RESERVED in step.record}
        found = self._ledger.of_run(self._run_id)
        settled: list[str] = []
        for one in found:
            record = journaled.get(one.id)
            if record is not None and one.state != "lost":
                lost = _on_top(one.spent) if may_be_billed(record) else None
                self._ledger.settle(one, _real(record), _go_on, lost=lost)
                if lost is None:
                    settled.append(one.id)
                else:
                    self._lost[one.id] = replace(one, spent=lost, state="lost")
            else:
                if one.state != "lost":
                    self._ledger.lose(one.id)
                self._lost[one.id] = replace(one, state="lost")
        self._ledger.forget(settled)

    def close(self) -> None:
        """Leave out of the ledger what the journal knows, at the end of an execution. Raises: SQLAlchemyError."""
        with self._changed:
            done, self._done = list(self._done.values()), {}
        if self._ledger is not None:
            self._ledger.forget(done)

    # -- parts; the caller holds the lock, but in `_drop`

    def _drop(self, lane: str) -> _Booked | None:
        # No settlement: two lanes that a shared ceiling refuses would wake each other for ever.
        with self._changed:
            return self._booked.pop(lane, None)

    def _settled(self) -> None:
        self._settlements += 1
        self._changed.notify_all()

    def _count(self, task: str, agent: str, real: Spent) -> None:
        if real == Spent():
            return
        for key in _keys(task, agent):
            self._spent[key] = self._spent.get(key, Spent()).plus(real)

    def _counted(self, key: str, *, reserved: bool) -> Spent:
        lost = [one.spent for one in self._lost.values() if key in _keys(one.task, one.agent)]
        booked = self._booked.values() if reserved else ()
        aside = [one.worst for one in booked if key in _keys(one.call.task, one.call.agent)]
        counted = functools.reduce(Spent.plus, (*lost, *aside), self._spent.get(key, Spent()))
        return counted if key else replace(counted, seconds=0.0)  # a run's are those of the clock on the wall


def _as_budget(call: CallBudgetSpec) -> BudgetSpec:
    return BudgetSpec(max_usd=call.max_usd, max_tokens=call.max_tokens)


def _real(record: Mapping[str, Any]) -> Spent:
    """Return what a record says was spent, time included."""
    if record["kind"] not in ("model", "tool"):
        return Spent()
    return spent_on(record).plus(Spent(seconds=float(record.get("seconds", 0.0))))


def amounts_in(record: Mapping[str, Any]) -> dict[str, int]:
    """Return what the record of a call adds to totals, as the ledger counts it."""
    return amounts_of(_real(record))


def may_be_billed(record: Mapping[str, Any]) -> bool:
    """Say whether the provider may have done the work of an attempt that failed: only its answer did not arrive."""
    if record["kind"] != "model" or "error" not in record:
        return False
    error: Mapping[str, Any] = record["error"]
    return error["kind"] in _MAY_BE_BILLED and not error.get("unsent")


def _without(total: Spent, reservations: Sequence[Reservation], name: str) -> Spent:
    """Return the tokens and dollars of a total without these reservations, as far as they count into it."""
    mine = [one.spent for one in reservations if name in one.totals]
    tokens = total.input_tokens - sum(one.input_tokens + one.output_tokens for one in mine)
    usd = total.usd - sum((one.usd for one in mine), Decimal(0))
    return Spent(input_tokens=max(0, tokens), usd=max(Decimal(0), usd))


def _on_top(worst: Spent) -> Spent:
    """Return what an attempt that may have been billed counts beside its record, which has the call itself."""
    return replace(worst, model_calls=0, tool_calls=0)


def _above(path: str) -> list[str]:
    names = path.split(".")
    return [".".join(names[:number]) for number in range(len(names), 0, -1)]


def _keys(task: str, agent: str) -> list[str]:
    return ["", f"agent {agent}", *(f"task {path}" for path in _above(task))]


def _go_on() -> None:
    """Wait for the database as long as it takes."""
