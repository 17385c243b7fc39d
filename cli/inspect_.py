"""`muster agents|crews|tools|models`: what the project has."""

from typing import TYPE_CHECKING

import typer

from cli.output import print_json, result, table
from cli.session import session

if TYPE_CHECKING:
    from project.spec import CrewSpec

_JSON = typer.Option(False, "--json", help="Print one JSON document.")


def agents(
    context: typer.Context, name: str = typer.Argument("", help="Only this agent, in full."), as_json: bool = _JSON
) -> None:
    """List the agents, or show one in full."""
    from project.errors import AppError

    project = session(context).load()
    if name and name not in project.agents:
        raise AppError(f"unknown agent {name!r}", fix=f"one of: {', '.join(project.agents)}", exit_code=3)
    chosen = {name: project.agents[name]} if name else project.agents
    if as_json:
        print_json({key: spec.model_dump(mode="json") for key, spec in chosen.items()})
    elif name:
        shown = chosen[name].model_dump(mode="json")
        result(f"{name}\n" + "\n".join(f"  {key}: {value}" for key, value in shown.items() if value not in (None, [])))
    else:
        rows = [
            (key, spec.role.strip(), spec.llm or "default", ", ".join(use.name for use in spec.tools) or "–")
            for key, spec in chosen.items()
        ]
        result(table(("AGENT", "ROLE", "MODEL", "TOOLS"), rows))


def crews(context: typer.Context, as_json: bool = _JSON) -> None:
    """List the crews, their inputs and tasks."""
    from project.inputs import crew_inputs

    project = session(context).load()
    if as_json:
        print_json(
            {
                key: {
                    **spec.model_dump(mode="json"),
                    "inputs": {name: i.model_dump(mode="json") for name, i in crew_inputs(project, key).items()},
                }
                for key, spec in project.crews.items()
            }
        )
        return
    rows = [
        (key, ", ".join(crew_inputs(project, key)) or "–", _work(spec), spec.description.strip())
        for key, spec in project.crews.items()
    ]
    result(table(("CREW", "INPUTS", "TASKS", "WHAT FOR"), rows))


def _work(spec: "CrewSpec") -> str:
    """Tell what a crew does in a line: its tasks, its crews, or what its manager is given."""
    if spec.crews:
        return " → ".join(f"crew {stage.crew}" for stage in spec.crews)
    if spec.process == "hierarchical":
        return "a manager plans" + (f": {', '.join(spec.tasks)}" if spec.tasks else "")
    return " → ".join(spec.tasks)


def tools(context: typer.Context, as_json: bool = _JSON) -> None:
    """List the tools: built in, the project's own, and the classes of crewai-tools."""
    project = session(context).load()
    if as_json:
        ours = {
            key: {
                "effect": tool.effect,
                "repeat": tool.repeat,
                "returns": tool.returns,
                "parameters": list(tool.parameters),
                "doc": tool.doc,
                "path": tool.path,
            }
            for key, tool in project.tools.items()
        }
        print_json({"tools": ours, "crewai_tools": sorted(project.crewai_tools)})
        return
    rows = [
        (key, tool.effect, tool.repeat, ", ".join(tool.parameters) or "–", tool.doc.strip().splitlines()[0])
        for key, tool in project.tools.items()
    ]
    result(table(("TOOL", "EFFECT", "REPEAT", "PARAMETERS", "WHAT IT DOES"), rows))
    names = ", ".join(sorted(project.crewai_tools)) or "not installed"
    result(f"\ncrewai-tools, by class name ({len(project.crewai_tools)}): {names}")


def models(context: typer.Context, as_json: bool = _JSON) -> None:
    """List the models and which one `auto` chooses now."""
    from models.choose import choose_model
    from models.keys import key_variable

    here = session(context)
    project, environ = here.load(), here.settings().environment
    rows: list[tuple[str, str, str, str]] = []
    for name in project.models:
        choice = choose_model(name, None, project.models, environ)
        variable = choice.spec.api_key_env or key_variable(choice.spec.model.partition("/")[0])
        key = "–" if not variable else f"{variable} is set" if environ.get(variable) else f"{variable} is not set"
        rows.append((name, choice.spec.model, key, choice.spec.base_url or "–"))
    if as_json:
        keys = ("name", "model", "key", "base_url")
        print_json([dict(zip(keys, row, strict=True)) for row in rows])
    else:
        result(table(("NAME", "MODEL", "KEY", "SERVER"), rows))
