"""What a line of work has read that its calls are judged by, and how that follows outputs from task to task.

Each workflow adds up what it read: what it was given, its lanes, the parts of it that are done. That goes into its
result, from there into the work of the tasks that build on it. Nothing depends on what runs beside it, and a replay
finds the same in the journal. Runs that carry no policy, since they are older, keep no such account.
"""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.marks import set_apart
from policy.decide import Taint
from project.errors import AppError
from project.spec import AgentSpec
from project.spec_policy import PolicySpec
from runs.calls.lanes import Lane
from runs.governed.carried import NO_TAINT, read_taint, taint_json


@dataclass(frozen=True)
class Basis:
    """What a piece of work builds on."""

    taint: Taint = NO_TAINT
    least: float | None = None
    """Least confidence that is known of the outputs."""
    unsure: bool = False
    """Whether the confidence of one of them is not known."""

    @property
    def confidence(self) -> float | None:
        """Least confidence of the outputs; None when that of one is not known, or there is no output."""
        return None if self.unsure else self.least

    def plus(self, other: "Basis") -> "Basis":
        known = [value for value in (self.least, other.least) if value is not None]
        return Basis(self.taint.plus(other.taint), min(known, default=None), self.unsure or other.unsure)

    def to_json(self) -> dict[str, Any]:
        """Return it by name; {} when there is nothing of it."""
        told = taint_json(self.taint) | {"least": self.least, "unsure": self.unsure}
        return {key: value for key, value in told.items() if value not in (None, False)}


NOTHING = Basis()


def read_basis(value: Mapping[str, Any] | None) -> Basis:
    """Read what `to_json` wrote."""
    value = value or {}
    return Basis(read_taint(value), value.get("least"), bool(value.get("unsure")))


def taint_in(result: Mapping[str, Any]) -> Taint:
    """Return what went into the result of a task, a part, a stage or a subtask."""
    return read_taint(result.get("taint") or {})


def basis_of(results: Iterable[Mapping[str, Any]], *, weighed: bool) -> Basis:
    """Return what work builds on that reads these results; their confidence only where it is `weighed`."""
    basis = NOTHING
    for result in results:
        least: float | None = None
        unsure = False
        if weighed and "output" in result and not result.get("skipped"):
            confidence: Mapping[str, Any] = result.get("confidence") or {}
            least = confidence.get("value")
            unsure = least is None
        basis = basis.plus(Basis(taint_in(result), least, unsure))
    return basis


class Reading:
    """What one workflow has read so far, and for whom it works. Its lanes start with that."""

    def __init__(
        self,
        policy: PolicySpec | None = None,
        basis: Basis = NOTHING,
        crew: str = "",
        chain: tuple[str, ...] = (),
        *,
        supervised: bool = False,
    ) -> None:
        """`basis` is what the workflow was given, `chain` who passed the work on, the first one first.

        `supervised` says whether one of these is.
        """
        self.crew, self.chain, self.supervised = crew, chain, supervised
        self.weighs = policy is not None and any(rule.confidence_below is not None for rule in policy.rules)
        self._active = policy is not None
        self._basis = basis
        self._lanes: list[Lane] = []
        self._parts: list[Taint] = []

    def inside(self, crew: str) -> "Reading":
        """Return the same account for a crew that works in the same workflow."""
        other = copy.copy(self)  # its lists are the same
        other.crew = crew
        return other

    def now(self) -> Basis:
        """Return what was read so far; nothing where no account is kept."""
        if not self._active:
            return NOTHING
        basis = self._basis
        for taint in (*self._parts, *(lane.taint for lane in self._lanes)):
            basis = basis.plus(Basis(taint))
        return basis

    def before(self, results: Iterable[Mapping[str, Any]]) -> Basis:
        """Return what a part of the work builds on that is given these results."""
        return self.now().plus(basis_of(results, weighed=self.weighs)) if self._active else NOTHING

    def open(self, lane: Lane, agent: AgentSpec, *, handed: tuple[str, ...] = ()) -> Lane:
        """Let a lane begin with all that was read so far; `handed` are those who had the task before its agent.

        Raises: AppError when its agent has a public clearance and some of it is private.
        """
        lane.crew, lane.chain = self.crew, (*self.chain, *handed)
        lane.autonomy, lane.clearance = agent.autonomy, agent.clearance
        if self.supervised or any(one.autonomy == "supervised" for one in self._lanes if one.agent in handed):
            lane.autonomy = "supervised"
        lane.confidence = self._basis.confidence
        self._lanes.append(lane)
        self.refresh(lane)
        return lane

    def refresh(self, lane: Lane) -> None:
        """Add to a lane what others have read since, because it goes on with what they say. Raises: as `open`."""
        lane.taint = lane.taint.plus(self.now().taint)
        refuse_private(lane)

    def take(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Count what parts of the work have read that are done."""
        self._parts += [taint for result in results if (taint := taint_in(result)) != NO_TAINT]

    def apart(self, text: str, source: str) -> str:
        """Return a text as a model is to read it: set apart once untrusted content was read."""
        return set_apart(text, source) if self.now().taint.untrusted else text

    def told(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return the workflow's result with what went into it."""
        taint = taint_json(self.now().taint)
        return result | {"taint": taint} if taint else result


class Watch:
    """Tells of each tool result of a lane whether others may have written it."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._known = set(lane.taint.untrusted)

    def source(self) -> str:
        """Name the step that the latest result comes from if that brought untrusted content; else ""."""
        new = [name for name in self._lane.taint.untrusted if name not in self._known]
        self._known.update(new)
        return new[-1] if new else ""


def refuse_private(lane: Lane) -> None:
    """Raises: AppError when a lane's agent has a public clearance and what it has read is private."""
    if lane.clearance == "public" and lane.taint.private:
        what = (
            f"{lane.agent} has a public clearance, but {lane.task} builds on private content of {lane.taint.private[0]}"
        )
        raise AppError(what, fix="give the task to an agent with `clearance: private`, or take out what it builds on")


def apart_if(tainted: Taint, text: str, source: str) -> str:
    """Set a text apart that untrusted content went into."""
    return set_apart(text, source) if tainted.untrusted else text
