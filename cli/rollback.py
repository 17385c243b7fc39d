"""`muster runs rollback`: take back what the tools of a run did."""

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from cli.output import print_json, result, say, table
from cli.run import open_runner
from cli.runs import JSON, RUN, find_in_journal
from cli.session import Session, session
from project.errors import AppError

if TYPE_CHECKING:
    from pathlib import Path

    from runs.executing.control import Runner
    from runs.repair.rollback import Undo, Undone
    from runs.stored.store import RunRow

_LONGEST = 100


def rollback(
    context: typer.Context,
    run_id: str = RUN,
    to: str = typer.Option("", "--to", metavar="TASK", help="Only what was done after this task was done."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be taken back."),
    force: bool = typer.Option(False, "--force", help="Go on although some calls can't be taken back."),
    as_json: bool = JSON,
) -> None:
    """Take back what a run's tools did, the latest first, as each tool's `undo` says. The run is over then."""
    from runs.repair.rollback import find_undos

    here = session(context)
    row, folder, reader = find_in_journal(here, run_id)
    try:
        undos = find_undos(reader, row, folder, _project(here, row), to)
    finally:
        reader.close()
    if dry_run:
        _show(row, undos, as_json)
        return
    if not as_json and not here.quiet:
        for undo in undos:
            say(_line(undo))
    _confirm(undos, force)
    raise typer.Exit(_roll_back(here, row.run_id, to, force, as_json))


def _roll_back(here: Session, run_id: str, to: str, force: bool, as_json: bool) -> int:
    from runs.audit.heads import ROLLBACK_BEGUN
    from runs.people.origin import started_by
    from runs.repair.rollback import find_undos, roll_back

    with open_runner(here) as runner:
        if not runner.owners.acquire(run_id):
            holder = runner.owners.holder(run_id) or "another process"
            raise AppError(f"run {run_id} is under way in {holder}", fix=f"`muster runs cancel {run_id}`, then again")
        try:
            row = runner.find(run_id)
            by = started_by()
            # First of all: what is taken back must not be gone on with as if it were done.
            _set(runner, row, f"being rolled back by {by}")
            if runner.audit is not None:
                runner.audit.append(row.run_id, note={"edit": ROLLBACK_BEGUN, "by": by, "to": to})
            source = runner.source()
            folder, project = runner.folder(run_id), _project(here, row)
            undos = find_undos(source, row, folder, project, to)
            came = roll_back(source, row, folder, project, undos, by, go_on=force)
            if not came.failed or force:
                _set(runner, row, f"rolled back{f' to {to}' if to else ''} by {by}")
            if runner.audit is not None:
                runner.audit.append(row.run_id, note={"edit": "rollback", "by": by, "to": to})
        finally:
            runner.owners.release(run_id)
    return _tell(row, undos, came, to, force, as_json)


def _project(here: Session, row: "RunRow") -> "Path":
    from runs.stored.input_files import local_root

    return local_root(here.settings(), row.read_plan())


def _set(runner: "Runner", row: "RunRow", reason: str) -> None:
    values = {"state": "cancelled", "reason": reason, "updated_at": time.time(), "wanted": ""}
    if not runner.store.change(row.run_id, values, state=(row.state, "cancelled")):
        raise AppError(f"run {row.run_id} has just changed", fix="try again")


def _confirm(undos: "list[Undo]", force: bool) -> None:
    """Have a person agree that some calls stay as they are. Raises: AppError with nobody to ask."""
    left = [undo for undo in undos if undo.problem]
    if not left or force:
        return
    what = f"{len(left)} of {len(undos)} calls can't be taken back"
    stdin = sys.stdin
    if stdin is None or not stdin.isatty() or not sys.stderr.isatty():
        raise AppError(what, fix="--force goes on past them; --dry-run names them")
    if not typer.confirm(f"{what}. Take back the others?", err=True):
        raise typer.Abort


def _show(row: "RunRow", undos: "list[Undo]", as_json: bool) -> None:
    if as_json:
        print_json({"run_id": row.run_id, "calls": [_told(undo) for undo in undos]})
    elif not undos:
        say("there is nothing to take back")
    else:
        head = ("STEP", "TOOL", "TAKEN BACK")
        result(table(head, [(undo.call.step, undo.call.tool, undo.problem or "yes") for undo in undos]))


def _told(undo: "Undo") -> dict[str, Any]:
    call = undo.call
    told = {"step": call.step, "task": call.task, "tool": call.tool, "arguments": dict(call.arguments)}
    return told | {"undo": not undo.problem, "problem": undo.problem, "outcome_known": not call.open}


def _line(undo: "Undo") -> str:
    return f"{undo.call.step}: {f'stays as it is: {undo.problem}' if undo.problem else 'will be taken back'}"


def _tell(row: "RunRow", undos: "list[Undo]", came: "Undone", to: str, force: bool, as_json: bool) -> int:
    """Print what came of it; return the exit code."""
    failed = bool(came.failed) and not force
    if as_json:
        calls = [_told(undo) | _came(undo, came) for undo in undos]
        status = "cancelled" if not failed else "failed"
        print_json({"run_id": row.run_id, "status": status, "to": to, "calls": calls})
    else:
        for step, said in came.undone.items():
            result(f"{step}: {said[:_LONGEST]}")
        for step, why in came.failed.items():
            say(f"{step}: {why}")
        if failed:
            say("it stops here: the calls before it may rest on it")
            say(f"hint: `muster runs rollback {row.run_id}` tries again; --force goes on past it")
        else:
            say(f"run {row.run_id} was rolled back{f' to {to}' if to else ''}")
        if to and not failed:
            say(f"hint: `muster runs fork {row.run_id} --from TASK` makes a new run that goes on after {to}")
    return 1 if failed else 0


def _came(undo: "Undo", came: "Undone") -> dict[str, str]:
    step = undo.call.step
    if step in came.undone:
        return {"came": "undone", "said": came.undone[step]}
    if step in came.failed:
        return {"came": "failed", "said": came.failed[step]}
    return {"came": "left", "said": undo.problem}
