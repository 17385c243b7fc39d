"""A run while it is executed in this process: what its tasks share. Rebuilt from the journal at each start."""

import functools
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from crews.plan import Plan, PlannedTask
from models.make import Model
from policy.budget import Spent
from project.errors import Stop
from project.spec import BudgetSpec, PriceSpec
from tools.tool import Tool

ParkKind = Literal["failed", "stopped", "waiting", "interrupted"]


class Parked(Stop):
    """The run goes no further now: its workflows are set aside and go on when it is resumed.

    Nothing of it is journaled, so the resumed run meets the same point again, with new ceilings, a person, another try.
    """

    def __init__(self, kind: ParkKind, reason: str, fix: str = "") -> None:
        super().__init__(reason)
        self.kind: ParkKind = kind
        self.reason = reason
        self.fix = fix


class Diverged(Stop):
    """A replayed step was made from another input than now: the code is not what wrote the journal."""


@dataclass(frozen=True)
class Question:
    """What a person is asked: `text` is the output in question, `prompt` the question in one line."""

    task: str
    prompt: str
    text: str


@dataclass(frozen=True)
class Event:
    """Something that just happened, for progress displays. Not journaled."""

    kind: Literal["task_started", "call", "task_done", "task_parked", "retry"]
    task: str
    detail: str = ""
    more: Spent = field(default_factory=Spent)
    """What it spent."""


Asker = Callable[[Question], str]
"""Asks a person; "" accepts, any other text is what should change."""


@dataclass
class RunState:
    """One run under way. Only what is spent and the dictionaries change, under `lock`."""

    run_id: str
    plan: Plan
    budget: BudgetSpec
    folder: Path
    versions: Mapping[str, str]
    started_on: str
    """The date on which the run was started, YYYY-MM-DD in UTC, for `inject_date`."""
    same_versions: bool
    """Whether Muster and CrewAI are those the run was started with."""
    asker: Asker | None = None
    listener: Callable[[Event], None] | None = None
    models: dict[str, Model] = field(default_factory=dict[str, Model])
    prices: dict[str, tuple[PriceSpec | None, str]] = field(default_factory=dict[str, tuple[PriceSpec | None, str]])
    spent: Spent = field(default_factory=Spent)
    reserved: dict[str, Spent] = field(default_factory=dict[str, Spent])
    """The worst case of each call under way, by lane: lanes side by side share one ceiling."""
    tools: dict[str, dict[str, Tool]] = field(default_factory=dict[str, dict[str, Tool]])
    """The tools of each task, by name."""
    guardrails: Mapping[str, Callable[[str], str]] = field(default_factory=dict[str, Callable[[str], str]])
    resumed: bool = False
    worked_before: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: str = ""
    """Set to a reason when the process wants to end: no new call is made."""
    results: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    parked: dict[str, Parked] = field(default_factory=dict[str, Parked])
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: threading.Event = field(default_factory=threading.Event)
    outcome: Parked | None = None
    warnings: list[str] = field(default_factory=list[str])
    in_flight: int = 0
    _began: float = field(default_factory=time.monotonic)
    _waited: float = 0.0

    def task(self, name: str) -> PlannedTask:
        return next(task for task in self.plan.tasks if task.name == name)

    def worked_seconds(self) -> float:
        """Seconds of work so far, over all starts; waiting for a person does not count."""
        return max(0.0, self.worked_before + time.monotonic() - self._began - self._waited)

    def waited(self, seconds: float) -> None:
        with self.lock:
            self._waited += seconds

    def settle(self, lane: str, more: Spent) -> None:
        """Put what a lane's call really spent in place of what was reserved for it."""
        with self.lock:
            self.reserved.pop(lane, None)
            self.spent = self.spent.plus(more)

    def committed(self) -> Spent:
        """Return what is spent and reserved. The caller holds `lock`."""
        return functools.reduce(Spent.plus, self.reserved.values(), self.spent)

    def tell(self, event: Event) -> None:
        if self.listener is not None:
            self.listener(event)

    def note_result(self, task: str, result: dict[str, Any]) -> None:
        with self.changed:
            self.results[task] = result
            self.changed.notify_all()

    def note_parked(self, task: str, why: Parked) -> None:
        with self.changed:
            self.parked[task] = why
            self.changed.notify_all()
        self.tell(Event("task_parked", task, why.reason))


# The one place where workflows, which are given only JSON, find what this process holds for their run.
_runs: dict[str, RunState] = {}


def register(run: RunState) -> None:
    _runs[run.run_id] = run


def forget(run_id: str) -> None:
    _runs.pop(run_id, None)


def running(run_id: str) -> RunState:
    """Return the run's state in this process. Raises: KeyError when it is not executed here."""
    return _runs[run_id]
