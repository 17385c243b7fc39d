"""What one task's workflow is given, and what it works with: rebuilt from its JSON arguments wherever that is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from crews.planned import CrewPlan, Member, PlannedTask, Value
from models.marks import set_apart, strip_marks
from runs.executing.state import Found, RunState, read_found
from runs.governed.tainting import Reading
from runs.stored import engine
from runs.stored.journal import pack, unpack
from tasks.evidence import Evidence
from tools.tool import Tool

Start = Callable[[str, dict[str, Any]], Any]
"""Starts the workflow at a path with its work; returns a handle."""

_MOST_EVIDENCE = 200_000


class Decisions:
    """Journals why something was chosen, as steps of one workflow; `runs why` tells them."""

    def __init__(self, path: str, folder: Path) -> None:
        self._path, self._folder = path, folder
        self._counts: dict[str, int] = {}

    def record(
        self,
        decision: str,
        chosen: Any,
        why: str,
        *,
        among: Sequence[str] = (),
        evidence: Sequence[str] = (),
        by: str = "rule",
        about: str = "",
        made_now: Callable[[], None] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Journal a decision and return it as journaled; `by` is who made it: rule, offline, person, or a name.

        `made_now` is called when it is journaled in this execution and not replayed.
        """
        record = {
            "kind": "decision",
            "decision": decision,
            "about": about or self._path or "run",
            "chosen": chosen,
            "among": list(among),
            "why": why,
            "evidence": list(evidence),
            "by": by,
            "seconds": 0.0,
            **more,
        }

        def journal() -> dict[str, Any]:
            if made_now is not None:
                made_now()
            return pack(record, self._folder)

        return unpack(engine.step(self.name(decision), journal), self._folder)

    def give_up(self, why: str) -> bool:
        """Journal that the tries are used up; return whether that happens now.

        On a replay it does not: who resumes a failed run gives it its tries again, and they are counted from there.
        """
        now: list[bool] = []
        self.record("give up", "the task fails", why, made_now=lambda: now.append(True))
        return bool(now)

    def name(self, decision: str) -> str:
        """Return the name of the next step of this kind."""
        self._counts[decision] = self._counts.get(decision, 0) + 1
        return f"{self._path or 'manager'}/{decision}#{self._counts[decision]}"


@dataclass(frozen=True)
class Unit:
    """One task at one path of a run. `outputs` holds the outputs of the tasks it waits for, by name."""

    run: RunState
    path: str
    scope: CrewPlan
    planned: PlannedTask
    start: Start
    decisions: Decisions
    crew: str | None = None
    """The crew's name for `RunState.scope`; None for the run's own."""
    outputs: Mapping[str, str] = field(default_factory=dict[str, str])
    state: Mapping[str, Any] = field(default_factory=dict[str, Any])
    upstream: Sequence[str] = ()
    """Paths of the tasks before it: what their tools returned is evidence, too."""
    context: str = ""
    """What it reads, where that is not just the outputs."""
    extra: str = ""
    """Added to the task's prompt: why an earlier attempt failed, what was handed over."""
    soft: bool = False
    """Whether a failure is a result, because somebody goes on with it."""
    chain: tuple[str, ...] = ()
    """Agents that passed the work on, the first one first."""
    supervised: bool = False
    """Whether one of these is."""
    reading: Reading = field(default_factory=Reading)
    """What its workflow has read so far."""
    untrusted: Sequence[str] = ()
    """Names of the outputs that untrusted content went into."""
    lead: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """How a manager wants it attempted; empty outside hierarchical crews."""

    @property
    def min_confidence(self) -> float | None:
        """Least confidence that counts as done: the task's own, else the manager's."""
        own = self.planned.task.min_confidence
        return own if own is not None else self.lead.get("min_confidence")

    def member(self, name: str) -> Member:
        return self.scope.members[name]

    def reads_untrusted(self, tools: Sequence[Tool]) -> bool:
        """Say whether one of the tools returns what anybody may have written, and that is told apart in this run."""
        return self.run.plan.policy is not None and any(tool.returns == "untrusted" for tool in tools)

    def gives_up(self, why: str) -> bool:
        """Say whether the task fails now that its tries are used up; where that is a result, it always does."""
        return self.soft or self.decisions.give_up(why)

    def piece(self, planned: PlannedTask, **more: Any) -> dict[str, Any]:
        """Return the work of a part of this task, which is done at `path.name`; its failure is a result."""
        return work_of(replace(self, planned=planned, soft=True, lead={}, **more)) | {"piece": True}


def work_of(unit: Unit) -> dict[str, Any]:
    """Return the unit as the JSON arguments of its workflow."""
    own = next((task for task in unit.scope.tasks if task.name == unit.planned.name), None)
    work: dict[str, Any] = {"outputs": dict(unit.outputs)}
    optional: dict[str, Any] = {
        "crew": unit.crew,
        "values": dict(unit.scope.inputs) if unit.crew is not None else None,
        "task": unit.planned.name if own is unit.planned else None,
        "planned": None if own is unit.planned else unit.planned.model_dump(mode="json"),
        "state": dict(unit.state),
        "upstream": list(unit.upstream),
        "context": unit.context,
        "extra": unit.extra,
        "soft": unit.soft,
        "lead": dict(unit.lead),
        "chain": list(unit.chain),
        "supervised": unit.supervised,
        "basis": unit.reading.now().to_json(),
        "untrusted": list(unit.untrusted),
    }
    return work | {key: value for key, value in optional.items() if value}


def read_work(run: RunState, path: str, work: Mapping[str, Any], start: Start, reading: Reading) -> Unit:
    """Rebuild a unit from the arguments of its workflow, whose account `reading` is."""
    scope = run.scope(work.get("crew"), cast(Mapping[str, Value], work.get("values") or {}))
    reading = reading.inside(scope.crew)
    planned = scope.task(work["task"]) if "task" in work else PlannedTask.model_validate(work["planned"])
    return Unit(
        run=run,
        path=path,
        scope=scope,
        planned=planned,
        start=start,
        decisions=Decisions(path, run.folder),
        crew=work.get("crew"),
        outputs=work["outputs"],
        state=work.get("state", {}),
        upstream=work.get("upstream", []),
        context=work.get("context", ""),
        extra=work.get("extra", ""),
        soft=work.get("soft", False),
        lead=work.get("lead", {}),
        chain=tuple(work.get("chain", ())),
        supervised=work.get("supervised", False),
        reading=reading,
        untrusted=work.get("untrusted", []),
    )


def shown_outputs(unit: Unit) -> dict[str, str]:
    """Return the outputs that a task needs, as a model is to read them."""
    found = {name: unit.outputs[name] for name in unit.planned.needs if name in unit.outputs}
    return {name: set_apart(text, name) if name in unit.untrusted else text for name, text in found.items()}


def found_by(run: RunState, paths: Sequence[str]) -> list[Found]:
    """Return what tools returned at these paths and below them, from memory or, after a resume, from the journal."""
    found: list[Found] = []
    for path in dict.fromkeys(paths):
        with run.lock:
            here = [item for at, items in run.found.items() if _below(at, path) for item in items]
        if run.resumed:
            known = {item.id for item in here}
            here += [item for item in _journaled(run, path) if item.id not in known]
        found += here
    return found


def evidence_for(unit: Unit) -> list[Evidence]:
    """Gather what an output may be held against: tool results of this task and those before it, and the inputs."""
    return gather_evidence(unit.run, unit.scope, [*unit.upstream, unit.path])


def gather_evidence(run: RunState, scope: CrewPlan, paths: Sequence[str]) -> list[Evidence]:
    """Gather the inputs of a crew and what tools returned at these paths, 200,000 characters at most."""
    inputs = {name: strip_marks(str(value)) for name, value in scope.inputs.items()}
    given = [Evidence(f"input/{name}", f"input {name}", value) for name, value in inputs.items()]
    found = found_by(run, paths)
    evidence = [*given, *(Evidence(item.id, item.source, item.text, item.arguments) for item in found)]
    room = _MOST_EVIDENCE
    kept: list[Evidence] = []
    for item in evidence:
        kept.append(replace(item, text=item.text[: max(0, room)]))
        room -= len(item.text)
    return kept


def _journaled(run: RunState, path: str) -> list[Found]:
    rows = [row for row in engine.steps_of(f"{run.run_id}.{path}") if isinstance(row.output, dict)]
    records = [(row.name, unpack(cast(dict[str, Any], row.output), run.folder)) for row in rows]
    return [item for name, record in records if (item := read_found(name, record)) is not None]


def _below(at: str, path: str) -> bool:
    return at == path or at.startswith(f"{path}.")
