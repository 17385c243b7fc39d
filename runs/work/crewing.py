"""A crew at work: its tasks in their order, its stages, or its manager's plan; also a crew that does a task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crews.input_checks import check_inputs
from crews.pipeline import crew_task_inputs, stage_inputs
from crews.planned import CrewPlan, PlannedTask
from crews.state import ancestors, fold_state, written_by
from project.conditions import condition_state
from project.errors import AppError
from project.inputs import read_values
from project.spec import StageSpec
from runs.calls.toolbox import sources_of
from runs.executing.state import RunState
from runs.governed.tainting import Reading, apart_if, taint_in
from runs.stored import engine
from runs.stored.journal import pack, unpack
from runs.work.attempt import deliver
from runs.work.judging import check_by_rules
from runs.work.unit import Decisions, Start, Unit, shown_outputs, work_of
from runs.work.walking import Child, Done, Walk
from tasks.contracts import canonical, read_contract

_A_NAME = 120
"""Most characters of an input that may be a name rather than a text."""
NOT_KNOWN: dict[str, Any] = {"value": None, "measured": False, "from": []}
"""The confidence of what nothing was measured of."""


@dataclass(frozen=True)
class CrewRun:
    """One crew under way, at a path of the run: "" for the run's own, `name.` below it."""

    run: RunState
    scope: CrewPlan
    prefix: str
    start: Start
    decisions: Decisions
    reading: Reading
    """What the workflow has read in which it works."""
    crew: str | None = None
    upstream: Sequence[str] = ()
    moved: dict[str, str] = field(default_factory=dict[str, str])
    """Subtasks that were planned anew, and their paths below the crew's."""

    def path(self, name: str) -> str:
        return f"{self.prefix}{self.moved.get(name, name)}"

    def unit(self, planned: PlannedTask, done: Done, before: Sequence[str], **more: Any) -> Unit:
        """Make the unit of a task from the results so far; `before` are the tasks whose work it may build on."""
        given = {name: done[name]["output"] for name in planned.waits_for if has_output(done[name])}
        writes = [write for name in before if name in done for write in writes_of(done[name])]
        folded = fold_state(self.scope.state, writes)
        basis = self.reading.before([done[name] for name in before if name in done])
        chain: tuple[str, ...] = more.pop("chain", self.reading.chain)
        supervised: bool = more.pop("supervised", False) or self.reading.supervised
        return Unit(
            run=self.run,
            path=self.path(planned.name),
            scope=self.scope,
            planned=planned,
            start=self.start,
            decisions=self.decisions,
            crew=self.crew,
            outputs=given,
            state={name: value for name, value in folded.items() if name in _state_read(planned)},
            upstream=[*self.upstream, *(self.path(name) for name in before)],
            reading=Reading(self.run.plan.policy, basis, self.scope.crew),
            untrusted=[name for name in given if taint_in(done[name]).untrusted],
            chain=chain,
            supervised=supervised,
            **more,
        )


def _state_read(planned: PlannedTask) -> list[str]:
    return [*planned.task.reads, *condition_state(planned.task)]


def has_output(result: Mapping[str, Any]) -> bool:
    """Say whether there is something to hand over."""
    return "output" in result and not result.get("skipped")


def writes_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a task wrote into the state, in order."""
    return result.get("writes_of_entries") or ([result["writes"]] if result.get("writes") else [])


def walk_tasks(crew: CrewRun) -> dict[str, Any]:
    """Do the tasks of a sequential crew: one starts when what it waits for is done. Returns the crew's result."""
    tasks = crew.scope.tasks
    children = [
        Child(task.name, crew.path(task.name), task.waits_for, _work(crew, task), task.agent_name) for task in tasks
    ]
    done = Walk(crew.run, crew.start, crew.reading, crew.prefix).go(children)
    last = next((task for task in reversed(tasks) if has_output(done[task.name])), tasks[-1])
    result = crew_result(done, last.name, json_output=last.contract is not None, order=[task.name for task in tasks])
    if not has_output(done[last.name]):
        result["partial"] = [*result["partial"], "every task was skipped: none of the conditions held"]
    return result


def _work(crew: CrewRun, planned: PlannedTask) -> Callable[[Done, Sequence[str]], dict[str, Any]]:
    before = ancestors(crew.scope.tasks, planned.name)

    def work(done: Done, _under_way: Sequence[str]) -> dict[str, Any]:
        return work_of(crew.unit(planned, done, before))

    return work


def crew_result(done: Done, last: str, *, json_output: bool, order: Sequence[str]) -> dict[str, Any]:
    """Make a crew's result of those of its tasks; the output is that of `last`."""
    partial = [f"{name}: {note}" for name in order for note in done[name].get("partial", [])]
    return {
        "output": done[last].get("output", ""),
        "json": json_output,
        "tasks": {name: done[name] for name in order},
        "partial": partial,
        "confidence": done[last].get("confidence") or NOT_KNOWN,
    }


def walk_stages(crew: CrewRun) -> dict[str, Any]:
    """Run the crews of a pipeline in order. Returns the pipeline's result."""
    names = [stage.crew for stage in crew.scope.stages]
    children: list[Child] = []
    for number, stage in enumerate(crew.scope.stages):
        scope = crew.run.plan.crews[stage.crew]

        def work(done: Done, _under_way: Sequence[str], stage: Any = stage, scope: CrewPlan = scope) -> dict[str, Any]:
            outputs = {name: str(result["output"]) for name, result in done.items()}
            work: dict[str, Any] = {"stage": stage.crew}
            given = stage_inputs(stage, scope, crew.scope.inputs, outputs)
            work["given"] = {key: _as_read(stage, scope, key, text, done) for key, text in given.items()}
            basis = crew.reading.before(done.values()).to_json()
            work |= {"basis": basis} if basis else {}
            work |= {"supervised": True} if crew.reading.supervised else {}
            return work | ({"chain": list(crew.reading.chain)} if crew.reading.chain else {})

        children.append(Child(stage.crew, crew.path(stage.crew), names[:number], work, f"crew {stage.crew}"))
    done = Walk(crew.run, crew.start, crew.reading, crew.prefix).go(children)
    return crew_result(done, names[-1], json_output=bool(done[names[-1]].get("json")), order=names)


def _as_read(stage: StageSpec, scope: CrewPlan, name: str, text: str, done: Done) -> str:
    """Return an input of a stage: a longer text that comes from untrusted content is set apart.

    A short one may be a name or a number, which conditions, settings and paths are made of: it stays as it is.
    """
    mapping = stage.inputs.get(name)
    if scope.wanted[name].type != "text" or not isinstance(mapping, str) or len(text) <= _A_NAME:
        return text
    for crew, result in done.items():
        if f"{{{crew}" in mapping:
            text = apart_if(taint_in(result), text, crew)
    return text


def enter_crew(
    run: RunState,
    name: str,
    path: str,
    given: Mapping[str, str],
    start: Start,
    reading: Reading,
    upstream: Sequence[str] = (),
) -> CrewRun:
    """Give a crew its inputs, checked as those of a run, in a step. Raises: AppError for an input that does not fit."""

    def read() -> dict[str, Any]:
        root = Path(run.paths.started_in or run.plan.project)  # prompts have the paths of the machine that started it
        wanted = run.plan.crews[name].wanted
        values = read_values(wanted, name, given, root, root, here=run.paths.here)
        check_inputs(wanted, values)
        return {"kind": "inputs", "crew": name, "values": values, "seconds": 0.0}

    values = engine.step(f"{path}/inputs", read)["values"]
    scope = run.scope(name, values)
    return CrewRun(run, scope, f"{path}.", start, Decisions(path, run.folder), reading.inside(name), name, upstream)


def crew_for(unit: Unit, number: int) -> CrewRun:
    """Enter the crew that does a task, for the n-th time: the task's description becomes its one input."""
    planned = unit.planned
    name = planned.agent_name
    texts = [planned.task.description, f"Expected: {planned.task.expected_output}"]
    texts += [unit.context] if unit.context else list(shown_outputs(unit).values())
    given = crew_task_inputs(unit.run.plan.crews[name], "\n\n".join([*texts, *([unit.extra] if unit.extra else [])]))
    path = unit.path if number == 1 else f"{unit.path}.again{number}"
    return enter_crew(unit.run, name, path, given, unit.start, unit.reading, unit.upstream)


def as_task_result(unit: Unit, result: Mapping[str, Any], number: int = 1) -> dict[str, Any]:
    """Make a task's result of the result of the crew that did it, for the n-th time.

    Raises: AppError where it breaks the contract or a rule: the crew's run is over, so it cannot be revised.
    """
    output, name = str(result["output"]), unit.planned.agent_name
    fix = "with `retry:` the crew tries again; or mend the tasks of the crew"
    value: dict[str, Any] | None = None
    if unit.planned.contract is not None:
        value, problems = read_contract(output, unit.planned.contract)
        if value is None or problems:
            raise AppError(f"the crew {name} broke the contract: {'; '.join(problems[:3])}", fix=fix)
        output = canonical(value)
    checks = _judge(unit, output, number)
    broken = [reason for check in checks if not check.get("warned") for reason in check["reasons"]]
    if broken:
        raise AppError(f"the output of the crew {name} was not accepted: {'; '.join(broken[:5])}", fix=fix)
    made: dict[str, Any] = {
        "output": output,
        "agent": name,
        "model": "",
        "offline": False,
        "checks": checks,
        "confidence": result["confidence"],
        "partial": result["partial"],
        "json": unit.planned.contract is not None or bool(result["json"]),
    }
    if unit.planned.task.writes:
        made["writes"] = written_by(unit.planned, value)
    return deliver(unit, made)


def _judge(unit: Unit, output: str, number: int) -> list[dict[str, Any]]:
    def judge() -> list[dict[str, Any]]:
        return check_by_rules(unit, output, sources_of(unit.run, unit.scope))

    if not any(guardrail.function for guardrail in unit.planned.task.guardrails):
        return judge()

    def verdict() -> dict[str, Any]:  # user code is run once, as anywhere else
        checks = judge()
        reasons = [reason for check in checks for reason in check["reasons"]]
        head = {"kind": "verdict", "task": unit.path, "agent": unit.planned.agent_name, "text": output}
        return pack(
            head | {"passed": not reasons, "reasons": reasons, "checks": checks, "seconds": 0.0}, unit.run.folder
        )

    return unpack(engine.step(f"{unit.path}/verdict#{number}", verdict), unit.run.folder)["checks"]
