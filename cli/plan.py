"""`muster plan`: what a run of a crew would do, without doing it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.check import plain_files
from cli.output import print_json, result, say, table
from cli.plan_governed import tell_ceilings, tell_gates, tell_unpriced
from cli.run import gather_inputs
from cli.session import Session, session

if TYPE_CHECKING:
    from crews.planned import CrewPlan, Member, Plan, PlannedTask
    from project.load import Project
    from project.spec import FallbackSpec, InputSpec


def plan(
    context: typer.Context,
    crew: str = typer.Argument(..., help="The crew: a name in crews.yaml."),
    inputs: list[str] = typer.Option([], "-i", "--input", metavar="KEY=VALUE", help="An input. May be repeated."),
    inputs_file: str = typer.Option("", "--inputs", metavar="FILE", help="A YAML or JSON file of inputs."),
    model: str = typer.Option("", "--model", help="Model for every agent, as with run."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Show the tasks of a crew in order, who does them, with which model and tools, and what they read."""
    here = session(context)
    project = here.load()
    resolved, missing = _resolve(here, project, crew, gather_inputs(inputs, inputs_file), model)
    if as_json:
        print_json({**resolved.model_dump(mode="json"), "missing_inputs": missing})
        return
    result(_tell(project, resolved))
    for note in _open_ended(here, project, resolved) if not here.quiet else ():
        say(f"note: {note}")
    for name in missing:
        say(f"input {name!r} must be given: -i {name}=...")


def _open_ended(here: Session, project: "Project", resolved: "Plan") -> list[str]:
    """Tell of the models of the crew whose answers a ceiling ends, since models.yaml does not say how long they are."""
    from crews.open_ended import open_ended

    found = open_ended(project, here.settings().environment)
    return [note for name, note in found.items() if name in resolved.models]


def _resolve(here: Session, project: "Project", crew: str, given: Any, model: str) -> "tuple[Plan, list[str]]":
    """Plan the crew; an input that is missing stands in the plan as its placeholder."""
    from crews.plan import plan_crew
    from project.inputs import crew_inputs, read_inputs

    wanted = crew_inputs(project, crew)
    missing = [name for name, spec in wanted.items() if spec.default is None and name not in given]
    if missing:
        values: dict[str, Any] = {name: given.get(name, _default(name, spec)) for name, spec in wanted.items()}
    else:
        values = read_inputs(project, crew, given, Path.cwd())
    environ = here.settings().environment
    return plan_crew(project, crew, values, environ, model=model or None, unset=missing), missing


def _default(name: str, spec: "InputSpec") -> str | int | float:
    return f"{{{name}}}" if spec.default is None else spec.default


def _tell(project: "Project", resolved: "Plan") -> str:
    from project.inputs import crew_inputs

    lines = [f"crew {resolved.crew}: {project.crews[resolved.crew].description}".rstrip(": ")]
    for name, spec in crew_inputs(project, resolved.crew).items():
        default = "required" if spec.default is None else f"default {spec.default}"
        lines.append(f"  input {name} ({spec.type}, {default})  {spec.description}".rstrip())
    lines += tell_ceilings(resolved)
    if resolved.deadline_seconds is not None:
        lines.append(f"  deadline {resolved.deadline_seconds:g} s after the first start")
    lines += _queue(resolved)
    for name, reason in resolved.model_reasons.items():
        spec = resolved.models[name]
        lines.append(f"  model {name}: {spec.model} ({reason})")
        if spec.fallback:
            lines.append(f"  model {name}, when it fails: {', '.join(spec.fallback)}")
    lines += tell_unpriced(resolved)
    lines += tell_gates(project, resolved)
    lines += [f"  {note}" for note in plain_files(project, resolved.crew)]
    return "\n".join([*lines, "", *_work(resolved, resolved)])


def _queue(resolved: "Plan") -> list[str]:
    """Tell where the run waits when it is queued; nothing where that is as usual."""
    queue = resolved.queue
    told = [f"at most {queue.max_running} at once"] if queue.max_running is not None else []
    told += [f"priority {queue.priority}"] if queue.priority else []
    if queue.name == "default" and not told:
        return []
    return [f"  queue {queue.name}" + (f": {', '.join(told)}" if told else "")]


def _work(resolved: "Plan", scope: "CrewPlan") -> list[str]:
    """Tell what a crew does: its stages, its manager and team, or its tasks in waves."""
    lines: list[str] = []
    for number, stage in enumerate(scope.stages, 1):
        given = ", ".join(f"{name}={value}" for name, value in stage.inputs.items())
        lines += [f"stage {number}: crew {stage.crew}" + (f" with {given}" if given else "")]
        inner = "\n".join(_work(resolved, resolved.crews[stage.crew]))
        lines += [f"  {line}".rstrip() for line in inner.splitlines()]
    if scope.manager is not None and scope.manager_member is not None:
        lines += [f"goal: {scope.goal}"] if scope.goal else []
        lines += [
            f"{scope.manager_member.name} leads: plans, routes, checks, makes one result ({scope.manager.aggregate})"
        ]
        rows = [_member(resolved, scope.members[name]) for name in scope.workers]
        lines += ["", table(("TEAM", "ROLE", "MODEL", "TOOLS"), rows)]
    if scope.tasks:
        lines += ["", *_tasks(resolved, scope)] if lines else _tasks(resolved, scope)
    return lines


def _member(resolved: "Plan", member: "Member") -> tuple[str, ...]:
    model = resolved.models[member.model].model if member.model else "–"
    return member.name, member.agent.role, model, ", ".join(use.name for use in member.agent.tools) or "–"


def _tasks(resolved: "Plan", scope: "CrewPlan") -> list[str]:
    from crews.plan import find_waves

    waves = find_waves({task.name: task.waits_for for task in scope.tasks})
    when = {name: number for number, wave in enumerate(waves, 1) for name in wave}
    rows = [
        (
            str(when[task.name]),
            task.name,
            task.agent_name or "as the manager says",
            resolved.models[task.model].model if task.model else "–",
            ", ".join(use.name for use in task.tools) or "–",
            ", ".join(task.needs) or "–",
            _patterns(task),
            _checks(task),
        )
        for task in scope.tasks
    ]
    head = ["WAVE", "TASK", "AGENT", "MODEL", "TOOLS", "READS", "PATTERN", "CHECKS"]
    if not any(row[6] for row in rows):
        head.remove("PATTERN")
        rows = [(*row[:6], row[7]) for row in rows]
    note = "Tasks of one wave run side by side."
    note = note if scope.manager is None else "The tasks are given; the manager plans them."
    failing = [line for task in scope.tasks if (line := _when_it_fails(task))]
    return [table(head, rows), "", *([*failing, ""] if failing else []), note]


def _when_it_fails(task: "PlannedTask") -> str:
    """Tell a task's attempts, fallbacks and time, and those of its tools; "" where there are none."""
    spec = task.task
    told: list[str] = []
    if spec.retry is not None:
        wait = f", {spec.retry.backoff_seconds:g} s before the second" if spec.retry.backoff_seconds else ""
        told.append(f"{spec.retry.attempts} attempts{wait}")
    told += [_way(way) for way in spec.fallback]
    told += [f"at most {spec.timeout_seconds:g} s in all"] if spec.timeout_seconds is not None else []
    for use in task.tools:
        told += [f"{use.name} {use.retry.attempts} times"] if use.retry is not None else []
        told += [f"{', '.join(other.name for other in use.fallback)} for {use.name}"] if use.fallback else []
    return f"{task.name}, when it fails: {'; '.join(told)}" if told else ""


def _way(way: "FallbackSpec") -> str:
    if way.agent is not None or way.model is not None:
        return f"agent {way.agent}" if way.agent is not None else f"model {way.model}"
    named = {"skip": "skipped", "ask": "a person is asked", "stop": "the run fails"}
    return named[way.act] if way.act is not None else "a fixed text"


def _patterns(task: Any) -> str:
    spec = task.task
    told = [f"when {spec.when}"] if spec.when else []
    told += [f"for each of {spec.for_each.items}, {spec.for_each.width} at once"] if spec.for_each else []
    told += [f"{spec.candidates.count} candidates, {spec.judge.by} chooses"] if spec.candidates and spec.judge else []
    told += [f"{spec.retry.attempts} attempts"] if spec.retry else []
    told += [f"confidence >= {spec.min_confidence:g}"] if spec.min_confidence is not None else []
    told += [f"reviewed by {spec.review.by}, {spec.review.max_rounds} rounds"] if spec.review else []
    told += [f"refined, {spec.refine.max_rounds} rounds"] if spec.refine else []
    told += [f"reads {', '.join(spec.reads)}"] if spec.reads else []
    told += [f"writes {', '.join(spec.writes)}"] if spec.writes else []
    return "; ".join(told)


def _checks(task: Any) -> str:
    names = ["contract"] if task.contract is not None else []
    for guardrail in task.task.guardrails:
        name = guardrail.rule or guardrail.function or f'"{guardrail.text}"'
        names.append(name if guardrail.gate == "revise" else f"{name} ({guardrail.gate})")
    names += ["a person"] if task.task.human_input else []
    return ", ".join(names) or "–"
