"""`muster runs fork`, `replay`, `diff`, `set`, `delete` and `prune`: time travel and repair on the journal."""

import contextlib
import sys
import time
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.output import duration, money, print_json, result, say, table
from cli.run import go_on, open_runner, read_pairs
from cli.runs import JSON, RUN, open_store, open_store_if_any
from cli.session import Session, session
from project.errors import AppError, UsageError

if TYPE_CHECKING:
    from runs.audit.tombstones import Gravedigger
    from runs.repair.retention import Deleted


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_MOST_NAMED = 20
DRY_RUN = typer.Option(False, "--dry-run", help="Only say what would be deleted.")


def fork(
    context: typer.Context,
    run_id: str = RUN,
    task: str = typer.Option(..., "--from", metavar="TASK", help="The task from which on all is done anew."),
    changed: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Another input. May be repeated."),
    project_now: bool = typer.Option(False, "--project-now", help="Take the project as it is on disk now."),
    new_id: str = typer.Option("", "--id", help="Id of the new run."),
    as_json: bool = JSON,
) -> None:
    """Start a new run from an old one: what was done before a task comes from its journal, the rest is done anew."""
    from runs.people.origin import started_by
    from runs.repair.fork import fork_run
    from runs.repair.forked_plan import plan_of_fork
    from runs.stored.store import find_run

    here = session(context)
    store, folder = open_store(here)
    row = find_run(store, run_id)
    plan = plan_of_fork(row, here.load, here.settings().environment, read_pairs("--set", changed), reread=project_now)
    with open_runner(here) as runner:
        from runs.ids import check_run_id, new_run_id

        new_id = check_run_id(new_id) if new_id else new_run_id(plan.crew)
        forked = fork_run(store.database, folder, row, plan, task, new_id, by=started_by(), now=time.time())
        store.database.dispose()
        if not (here.quiet or as_json):
            kept = ", ".join(forked.kept) or "nothing"
            say(f"forked from {row.run_id} at {task}: {forked.steps} steps were taken over ({kept})")
            if forked.again:
                say(f"done again, since the change reaches them: {', '.join(forked.again)}")
        raise typer.Exit(go_on(runner, here, new_id, None, False, as_json))


def replay(context: typer.Context, run_id: str = RUN, as_json: bool = JSON) -> None:
    """Execute a run again from a copy of its journal, without model, tool, file or network, and compare the bytes."""
    from runs.stored.store import find_run
    from runs.told.report import current_state

    here = session(context)
    store, folder = open_store(here)
    row = find_run(store, run_id)
    if current_state(row, folder / row.run_id) in ("running", "queued"):
        raise AppError(f"run {row.run_id} is {row.state}", fix="replay it when it has ended")
    with _quietly(here):
        from runs.repair.replay import Replayer
        from runs.stored.journal_rows import JournalRows

        with Replayer() as replayer:
            found = replayer.replay(JournalRows(store.database), row, folder / row.run_id)
    if as_json:
        print_json(asdict(found))
    elif found.identical:
        result(f"identical: {found.steps} steps, hash {found.hash}")
    else:
        result(f"not identical: {found.difference}")
    for warning in found.warnings if not as_json else []:
        say(f"warning: {warning}")
    raise typer.Exit(0 if found.identical else 1)


@contextlib.contextmanager
def _quietly(here: Session) -> Generator[None]:
    """Import CrewAI with everything off; what it and user code print goes to stderr."""
    from runs import quiet

    with contextlib.redirect_stdout(sys.stderr):
        quiet.prepare(here.settings().state_folder)
        yield


def diff(
    context: typer.Context,
    one: str = typer.Argument(..., metavar="A", help="A run's id, or the beginning of it."),
    other: str = typer.Argument(..., metavar="B", help="The other run's."),
    as_json: bool = JSON,
) -> None:
    """Show in what two runs differ: inputs, models, plan, and the first step at which each task parts."""
    from runs.repair.diff import Side, diff_runs
    from runs.stored.journal_rows import JournalRows
    from runs.stored.store import find_run

    store, folder = open_store(session(context))
    sides = [Side(row, folder / row.run_id) for row in (find_run(store, one), find_run(store, other))]
    found = diff_runs(JournalRows(store.database), *sides)
    if as_json:
        print_json(found)
    else:
        result(_told(found))


def _told(found: dict[str, Any]) -> str:
    lines = [f"a  {_run_line(found['a'])}", f"b  {_run_line(found['b'])}"]
    if found["crew"]["a"] != found["crew"]["b"]:
        lines.append(f"crew: {found['crew']['a']} | {found['crew']['b']}")
    for title in ("inputs", "models"):
        lines += [f"{title}: {entry['name']}: {entry['a']} | {entry['b']}" for entry in found[title]]
    lines += [f"plan: {entry['task']}: {', '.join(entry['changes'])}" for entry in found["plan"]]
    for task in found["tasks"]:
        if not task["same"]:
            at = f" at {task['at']}" if task["at"] else ""
            a, b = (task[side] if task[side] is not None else "–" for side in ("a", "b"))
            lines += [f"{task['task']}: {task['what']} differs{at}", f"  a  {a}", f"  b  {b}"]
    lines.append(f"{found['equal']} tasks are equal, {found['different']} differ")
    lines.append(f"the results are {'the same' if found['result']['same'] else 'not the same'}")
    return "\n".join(lines)


def _run_line(side: dict[str, Any]) -> str:
    usage = side["usage"]
    tokens = usage["input_tokens"] + usage["output_tokens"]
    calls = f"{usage['model_calls']} model calls, {usage['tool_calls']} tool calls, {tokens} tokens"
    cost = money(side["cost_usd"], unknown=side["unpriced_calls"] > 0)
    return f"{side['run_id']}: {side['status']}, {duration(side['seconds'])}, {calls}, cost {cost}"


def set_(
    context: typer.Context,
    run_id: str = RUN,
    task: str = typer.Argument(..., help="The task whose output is given, as `muster runs show` names it."),
    output: str = typer.Option(..., "--output", metavar="FILE", help="A file with the output; `-` reads stdin."),
    reason: str = typer.Option("", "--reason", metavar="TEXT", help="Why, for the journal."),
    as_json: bool = JSON,
) -> None:
    """Give the output of a task that is stuck, in your name; `muster runs resume` then goes on from there."""
    from runs.audit.heads import open_audit
    from runs.people.origin import started_by
    from runs.stored.store import find_run

    here = session(context)
    text = _read_text(output)
    store, folder = open_store(here)
    row = find_run(store, run_id)
    with _quietly(here):
        from runs.repair.given_output import set_output

        audit = open_audit(store.database, here.settings())
        done = set_output(store.database, folder, row, task, text, reason=reason, by=started_by(), audit=audit)
    if as_json:
        print_json(asdict(done))
        return
    for warning in done.warnings:
        say(f"warning: {warning}")
    say(f"{task} of run {row.run_id} has the output you gave ({done.characters} characters)")
    say(f"hint: `muster runs resume {row.run_id}` goes on with it")


def _read_text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"--output {file}: can't be read: {why}") from error


def delete(
    context: typer.Context,
    run_ids: list[str] = typer.Argument(..., help="Ids of runs, or the beginnings of them."),
    dry_run: bool = DRY_RUN,
    as_json: bool = JSON,
) -> None:
    """Delete runs that have ended, with their journals, questions and files. Unfinished ones are refused."""
    from runs.repair.retention import delete_runs
    from runs.stored.store import find_run

    store, folder = open_store(session(context))
    named = list(dict.fromkeys(find_run(store, run_id).run_id for run_id in run_ids))
    digger = _gravedigger(session(context))
    _tell(delete_runs(store.database, store, folder, named, dry_run=dry_run, gravedigger=digger), as_json)


def prune(
    context: typer.Context,
    older_than: str = typer.Option("", "--older-than", metavar="TIME", help="Age, such as 30d or 12h."),
    max_mb: float = typer.Option(0.0, "--max-mb", help="Most megabytes for everything.", show_default=False),
    failed: bool = typer.Option(False, "--failed", help="Failed and stopped runs, too: they can't be resumed then."),
    dry_run: bool = DRY_RUN,
    as_json: bool = JSON,
) -> None:
    """Delete old runs that are over, then the oldest until the rest is small enough. Never unfinished ones."""
    from runs.repair.retention import Deleted, prune, read_limits

    here = session(context)
    age, most = read_limits(here.settings().environment)
    age = _seconds(older_than) if older_than else age
    most = int(max_mb * 1_000_000) if max_mb > 0 else most
    if age is None and most is None:
        raise UsageError("nothing says what to delete", fix="--older-than 30d, --max-mb 500, or MUSTER_KEEP_DAYS=30")
    store, folder = open_store_if_any(here)
    if store is None:
        _tell(Deleted([], 0, 0, dry_run=dry_run), as_json)
        return
    digger = _gravedigger(session(context))
    _tell(prune(store.database, store, folder, age, most, failed=failed, dry_run=dry_run, gravedigger=digger), as_json)


def _gravedigger(here: Session) -> "Gravedigger":
    from runs.audit.heads import audit_keys
    from runs.audit.tombstones import Gravedigger
    from runs.people.origin import started_by

    return Gravedigger(started_by(), audit_keys(here.settings()))


def _seconds(text: str) -> float:
    unit = _UNITS.get(text[-1:].lower())
    try:
        number = float(text[:-1]) if unit else -1.0
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e6:
        raise UsageError(f"--older-than takes a number and a unit, got {text!r}", fix="30d, 12h, 90m, 2w")
    return number * (unit or 0.0)


def _tell(found: "Deleted", as_json: bool) -> None:
    if as_json:
        print_json(asdict(found))
        return
    for note in found.notes:
        say(note)
    verb = "would be deleted" if found.dry_run else "deleted"
    runs = "1 run" if len(found.run_ids) == 1 else f"{len(found.run_ids)} runs"
    rows = [(run_id,) for run_id in found.run_ids[:_MOST_NAMED]]
    if rows:
        more = len(found.run_ids) - len(rows)
        result(table(("RUN",), rows) + (f"\nand {more} more" if more else ""))
    before, after = (f"{size / 1_000_000:.1f} MB" for size in (found.bytes_before, found.bytes_after))
    say(f"{runs} {verb}; {before} → {after}")
