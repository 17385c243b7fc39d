"""`muster check`: read the whole project and say everything that is wrong, before anything runs."""

import typer

from cli.output import print_json, result, say
from cli.session import session


def check(
    context: typer.Context,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Check every file of the project, and every name across them. Runs nothing, asks no model."""
    here = session(context)
    project = here.load()
    if as_json:
        notes = [{"where": str(note.where) if note.where else None, "text": note.what} for note in project.notes]
        print_json({"project": str(project.root), "crews": list(project.crews), "notes": notes})
        return
    for note in project.notes:
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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
