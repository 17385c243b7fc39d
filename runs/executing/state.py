"""A run while it is executed in this process: what its tasks share. Rebuilt from the journal at each start."""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from crews.planned import CrewPlan, Plan, Value, fill_crew
from models.make import Model
from policy.budget import Spent
from project.errors import Stop
from project.spec import BudgetSpec, PriceSpec
from runs.calls.rates import Rates
from runs.executing.clock import Clock
from runs.governed import redaction
from runs.governed.governing import Governor
from runs.governed.spending import Spending
from runs.people.inbox import Inbox
from runs.people.questions import Question
from runs.stored.input_files import RunPaths
from tools.tool import Tool

ParkKind = Literal["failed", "stopped", "waiting", "interrupted"]


class Parked(Stop):
    """The run goes no further now: its workflows are set aside and go on when it is resumed.

    Nothing of it is journaled, so the resumed run meets the same point again, with new ceilings, a person, another try.
    """

    def __init__(self, kind: ParkKind, reason: str, fix: str = "", cause: str = "") -> None:
        super().__init__(reason)
        self.kind: ParkKind = kind
        self.reason = reason
        self.fix = fix
        self.cause = cause
        """What failed, for `retry` and `fallback`: model, guardrail, timeout, task time, deadline; "" for all else."""


class Diverged(Stop):
    """A replayed step was made from another input than now: the code is not what wrote the journal."""


@dataclass(frozen=True)
class Event:
    """Something that just happened, for progress displays. Not journaled."""

    kind: Literal["task_started", "call", "task_done", "task_parked", "retry"]
    task: str
    detail: str = ""
    more: Spent = field(default_factory=Spent)
    """What it spent."""
    agent: str = ""
    """Who does the task, where that was not known before."""


Asker = Callable[[Question], str]
"""Asks a person; "" accepts, any other text is what should change."""


@dataclass(frozen=True)
class Found:
    """What a tool returned in this run: `id` is the step's name, `arguments` JSON."""

    id: str
    source: str
    arguments: str
    text: str
    effect: str = "read"
    untrusted: bool = False
    """Whether anybody may have written the text."""
    private: bool = False
    """Whether the text is not for everybody."""


def read_found(name: str, record: Mapping[str, Any]) -> Found | None:
    """Return what a tool's step found out; None where the call was refused, failed, or nobody knows its outcome."""
    if record.get("kind") != "tool" or any(key in record for key in ("refused", "asks", "error", "unknown_outcome")):
        return None
    arguments = record["arguments"]
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    effect, marks = str(record.get("effect", "read")), ("untrusted", "private")
    untrusted, private = (bool(record.get(mark)) for mark in marks)
    return Found(name, record["tool"], written, str(record["result"]), effect, untrusted, private)


@dataclass
class RunState:
    """One run under way. Only the dictionaries change, under `lock`."""

    run_id: str
    plan: Plan
    """As stored, but that `project` is the folder on this machine."""
    budget: BudgetSpec
    folder: Path
    versions: Mapping[str, str]
    started_on: str
    """The date on which the run was started, YYYY-MM-DD in UTC, for `inject_date`."""
    same_versions: bool
    """Whether Muster and CrewAI are those the run was started with."""
    paths: RunPaths = field(default_factory=RunPaths)
    """Where its paths lead on this machine."""
    asker: Asker | None = None
    inbox: Inbox | None = None
    """Where questions wait for an answer; None: only a terminal answers."""
    listener: Callable[[Event], None] | None = None
    governor: Governor = field(default_factory=lambda: Governor(None))
    """What decides about its tool calls."""
    rates: Rates | None = None
    """What paces calls where a model has a `rate_limit`."""
    models: dict[str, Model] = field(default_factory=dict[str, Model])
    prices: dict[str, tuple[PriceSpec | None, str]] = field(default_factory=dict[str, tuple[PriceSpec | None, str]])
    spending: Spending = field(default_factory=Spending)
    """What it has spent and set aside, at every scope: lanes side by side share one ceiling."""
    tools: dict[str, dict[str, Tool]] = field(default_factory=dict[str, dict[str, Tool]])
    """Tools by name, for each list of tools that a task or an agent has; the key is the list as JSON."""
    found: dict[str, list[Found]] = field(default_factory=dict[str, list[Found]])
    """What tools returned, by the path of the workflow that called them."""
    guardrails: Mapping[str, Callable[[str], str]] = field(default_factory=dict[str, Callable[[str], str]])
    resumed: bool = False
    worked_before: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: str = ""
    """Set to a reason when the process wants to end: no new call is made."""
    wanted: str = ""
    """What an operator wants: "", pause, cancel or hand over."""
    give_up_at: float = math.inf
    """When `stopping`: the monotonic instant at which calls under way are left."""
    results: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    """By path: `task`, `task.c1`, `crew.task`."""
    fresh: set[str] = field(default_factory=set[str])
    """Paths whose workflow ended in this execution, not before it."""
    parked: dict[str, Parked] = field(default_factory=dict[str, Parked])
    changed: threading.Condition = field(default_factory=threading.Condition)
    ended: threading.Event = field(default_factory=threading.Event)
    outcome: Parked | None = None
    warnings: list[str] = field(default_factory=list[str])
    in_flight: int = 0
    clock: Clock = field(default_factory=Clock)
    """How long tasks were worked at, and the run's deadline."""
    _began: float = field(default_factory=time.monotonic)
    _waited: float = 0.0
    _scopes: dict[str, CrewPlan] = field(default_factory=dict[str, CrewPlan])

    @property
    def project(self) -> Path:
        """The project folder on this machine: its code is read here, its output files are written here."""
        return Path(self.plan.project)

    def scope(self, crew: str | None, values: Mapping[str, Value]) -> CrewPlan:
        """Return a crew filled with its inputs; None is the crew of the run itself."""
        if crew is None:
            return self.plan
        key = json.dumps([crew, values], sort_keys=True)
        if key not in self._scopes:
            self._scopes[key] = fill_crew(self.plan.crews[crew], values)
        return self._scopes[key]

    def worked_seconds(self) -> float:
        """Seconds of work so far, over all starts; waiting for a person does not count."""
        return max(0.0, self.worked_before + time.monotonic() - self._began - self._waited)

    def waited(self, seconds: float) -> None:
        self.clock.waited(seconds)
        with self.lock:
            self._waited += seconds

    def stop(self, reason: str, wanted: str = "", grace_seconds: float = math.inf) -> None:
        """Make no new call; calls under way are left after the grace."""
        self.stopping, self.wanted = reason, wanted
        self.give_up_at = time.monotonic() + grace_seconds

    def tell(self, event: Event) -> None:
        listener = self.listener
        if listener is not None:
            detail = redaction.redactor_of(self.run_id).text(event.detail)
            listener(event if detail == event.detail else replace(event, detail=detail))

    def note_result(self, path: str, result: dict[str, Any], *, fresh: bool = True) -> None:
        with self.changed:
            self.results[path] = result
            if fresh:
                self.fresh.add(path)
            self.changed.notify_all()

    def note_found(self, path: str, found: Found) -> None:
        with self.lock:
            self.found.setdefault(path, []).append(found)

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
    redaction.forget(run_id)
    run = _runs.pop(run_id, None)
    if run is not None:
        run.listener = None  # what is still under way here was set aside: its news would come after the outcome


def running(run_id: str) -> RunState:
    """Return the run's state in this process. Raises: KeyError when it is not executed here."""
    return _runs[run_id]
