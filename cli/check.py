"""`muster check`: read the whole project and say everything that is wrong, before anything runs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import typer

from cli.output import print_json, result, say
from cli.session import session

if TYPE_CHECKING:
    from project.load import Project


def check(
    context: typer.Context,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Check every file of the project, and every name across them. Runs nothing, asks no model."""
    from crews.open_ended import open_ended

    here = session(context)
    project = here.load()
    private = _unsealed(project, here.settings().environment)
    private += list(dict.fromkeys(note for crew in project.crews for note in plain_files(project, crew)))
    private += open_ended(project, here.settings().environment).values()
    if as_json:
        notes = [{"where": str(note.where) if note.where else None, "text": note.what} for note in project.notes]
        notes += [{"where": None, "text": text} for text in private]
        print_json({"project": str(project.root), "crews": list(project.crews), "notes": notes})
        return
    for note in [*project.notes, *private]:
        if not here.quiet:
            say(f"note: {note}")
    counts = (
        _count(len(project.agents), "agent"),
        _count(len(project.tasks), "task"),
        _count(len(project.crews), "crew"),
        _count(len(project.models), "model"),
        *([_count(len(project.policy.rules), "rule")] if project.policy.rules else []),
    )
    result(f"ok: {', '.join(counts)} in {project.root}")


def _unsealed(project: "Project", environ: Mapping[str, str]) -> list[str]:
    """Name tools in use whose results are private, where no key is set that encrypts the journal."""
    if environ.get("MUSTER_JOURNAL_KEY"):
        return []
    lists = [agent.tools for agent in project.agents.values()] + [task.tools or [] for task in project.tasks.values()]
    used = sorted({use.name for uses in lists for use in uses})
    what = "returns private content: a run with it needs MUSTER_JOURNAL_KEY; `muster audit new-key` prints one"
    return [f"`{name}` {what}" for name in used if _is_private(project, name)]


def plain_files(project: "Project", crew: str) -> list[str]:
    """Name tasks of a crew whose output file may hold private content: their own tools', or that of tasks they read."""
    private: dict[str, str] = {}
    told: list[str] = []
    for name in project.crews[crew].tasks or project.tasks:
        task = project.tasks[name]
        agent = project.agents.get(task.agent or "")
        uses = task.tools if task.tools is not None else agent.tools if agent is not None else []
        read = list(private) if task.context is None else [one for one in task.context if one in private]
        found = next((use.name for use in uses if _is_private(project, use.name)), "")
        if tool := found or next((private[one] for one in read), ""):
            private[name] = tool
            if task.output_file:
                what = f"output_file {task.output_file!r} is written in plain text, and may hold what `{tool}` returns"
                told.append(f"task {name}: {what}, which is private")
    return told


def _is_private(project: "Project", tool: str) -> bool:
    declared, said = project.tools.get(tool), project.policy.tools.get(tool)
    if said is not None and said.private is not None:
        return said.private
    return declared is not None and declared.private


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
