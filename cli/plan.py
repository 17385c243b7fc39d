"""`muster plan`: what a run of a crew would do, without doing it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.output import print_json, result, say, table
from cli.run import gather_inputs
from cli.session import Session, session

if TYPE_CHECKING:
    from crews.plan import Plan
    from project.load import Project
    from project.spec import InputSpec


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
    for name in missing:
        say(f"input {name!r} must be given: -i {name}=...")


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
    return plan_crew(project, crew, values, here.settings().environment, model=model or None), missing


def _default(name: str, spec: "InputSpec") -> str | int | float:
    return f"{{{name}}}" if spec.default is None else spec.default


def _tell(project: "Project", resolved: "Plan") -> str:
    from crews.plan import find_waves
    from project.inputs import crew_inputs

    waves = find_waves({task.name: task.needs for task in resolved.tasks})
    when = {name: number for number, wave in enumerate(waves, 1) for name in wave}
    rows = [
        (
            str(when[task.name]),
            task.name,
            task.agent_name,
            resolved.models[task.model].model,
            ", ".join(use.name for use in task.tools) or "–",
            ", ".join(task.needs) or "–",
            _checks(task),
        )
        for task in resolved.tasks
    ]
    lines = [f"crew {resolved.crew}: {project.crews[resolved.crew].description}".rstrip(": ")]
    for name, spec in crew_inputs(project, resolved.crew).items():
        default = "required" if spec.default is None else f"default {spec.default}"
        lines.append(f"  input {name} ({spec.type}, {default})  {spec.description}".rstrip())
    ceilings = resolved.budget.model_dump(exclude_none=True)
    lines.append("  ceilings " + (", ".join(f"{key} {value}" for key, value in ceilings.items()) or "none"))
    for name, reason in resolved.model_reasons.items():
        lines.append(f"  model {name}: {resolved.models[name].model} ({reason})")
    head = ("WAVE", "TASK", "AGENT", "MODEL", "TOOLS", "READS", "CHECKS")
    return "\n".join([*lines, "", table(head, rows), "", "Tasks of one wave run side by side."])


def _checks(task: Any) -> str:
    names = ["contract"] if task.contract is not None else []
    for guardrail in task.task.guardrails:
        names.append(guardrail.rule or guardrail.function or f'"{guardrail.text}"')
    names += ["a person"] if task.task.human_input else []
    return ", ".join(names) or "–"
