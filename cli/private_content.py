"""Private content of a run on the screen: shown to a person at a terminal, kept out of pipes, files and logs."""

import sys
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from cli.output import say
from project.errors import AppError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from runs.people.inbox import InboxRow

PRIVATE = typer.Option(False, "--private", help="Print private content into a pipe or a file, too.")
_QUESTION = ("prompt", "text", "editable", "answer", "reason")
_LINE = ("text", "unsupported")


def runs_with_private(database: "sa.Engine", run_ids: Collection[str]) -> set[str]:
    """Return those of the runs that have read private content; all of them where the journal can't be read here."""
    from runs.audit.chain import read_snapshots

    try:
        return {
            str(run.row["run_id"])
            for run in read_snapshots(database, list(run_ids))
            if any(record.get("private") for lane in run.lanes.values() for _, record in lane.records())
        }
    except AppError:
        return set(run_ids)


def keeps_out(database: "sa.Engine", run_id: str, asked: bool) -> bool:
    """Say whether content of this run is to be kept out of what is printed; tell the person what becomes of it."""
    if not runs_with_private(database, [run_id]):
        return False
    if asked or at_terminal():
        say("this holds private content")
        return False
    say("private content is left out: it is shown at a terminal, and with --private")
    return True


def at_terminal() -> bool:
    """Say whether a person reads what is printed."""
    stdout = sys.__stdout__ or sys.stdout
    return stdout.isatty()


def without_content(row: "InboxRow") -> "InboxRow":
    """Return a question of which only the lengths of its texts are told."""
    from runs.governed.redaction import mask

    question = row.question
    hidden = {name: mask(getattr(question, name)) for name in ("prompt", "text", "editable")}
    answer = row.answer
    if answer is not None:
        answer = replace(answer, said=mask(answer.said), reason=mask(answer.reason))
    return replace(row, question=replace(question, **hidden), answer=answer)


def question_without(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `muster approvals` tells of a question without its content."""
    from runs.governed.redaction import mask

    told = {key: mask(value) if key in _QUESTION else value for key, value in document.items()}
    if "call" in told:
        told["call"] = {**told["call"], "arguments": mask(told["call"]["arguments"])}
    return told


def line_without(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `muster blame` tells of a line without its content."""
    from runs.governed.redaction import mask

    steps = [{**step, "arguments": mask(step["arguments"])} for step in entry["steps"]]
    return {key: mask(value) if key in _LINE else value for key, value in entry.items()} | {"steps": steps}
