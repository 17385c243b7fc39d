"""`muster audit`: export what runs did, verify that nothing of it was changed, say who is answerable for what."""

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.output import print_json, result, say, table
from cli.runs import JSON, RUN, open_store
from cli.session import Session, session
from project.errors import AppError, UsageError

if TYPE_CHECKING:
    from runs.audit.compare import Finding
    from runs.audit.export import Exporter
    from runs.audit.verify import Verified

app = typer.Typer(help="Show and prove what runs did.", rich_markup_mode=None, no_args_is_help=True)

_KEY_BYTES = 32
_MOST_SHOWN = 200
_FINDING_HEAD = ("RUN", "LANE", "STEP", "WHAT")
FILE = typer.Option("", "-o", "--output", metavar="FILE", help="Write to this file instead of stdout.")


@app.command("export")
def export(
    context: typer.Context,
    run_ids: list[str] = typer.Argument(None, metavar="[RUN]...", help="Ids of runs, or the beginnings of them."),
    every: bool = typer.Option(False, "--all", help="All runs."),
    since: str = typer.Option("", "--since", metavar="DATE", help="Runs started on this day or later, UTC."),
    full: bool = typer.Option(False, "--full", help="Leave private content in, and add each run's whole plan."),
    output: str = FILE,
) -> None:
    """Write runs as JSON lines: each step with its hash, approvals, refusals, heads. Private content is left out."""
    exporter, chosen = _open(session(context), run_ids or [], every, since, full)
    _write(exporter, exporter.steps_and_heads(chosen, time.time()), output)


@app.command("heads")
def heads(context: typer.Context, output: str = FILE) -> None:
    """Write only the heads of all runs: a small file to keep elsewhere, which `verify` takes."""
    exporter, chosen = _open(session(context), [], True, "", False)
    _write(exporter, exporter.heads(chosen, time.time()), output)


@app.command("verify")
def verify(
    context: typer.Context,
    file: str = typer.Argument("", help="What `export` or `heads` wrote. Default: the heads in the database."),
    as_json: bool = JSON,
) -> None:
    """Find whatever was changed, removed, put in or reordered since heads were made. Exit 1 when something was."""
    from runs.audit.file import read_file
    from runs.audit.heads import audit_keys
    from runs.audit.verify import Verifier

    here = session(context)
    store, folder = _open_store(here)
    filed = None
    if file:
        try:
            with open(file, encoding="utf-8", errors="surrogateescape", newline="") as lines:
                filed = read_file(lines)
        except OSError as error:
            raise UsageError(f"{file}: can't be read: {error.strerror}") from error
    found = Verifier(store.database, folder, audit_keys(here.settings())).verify(filed)
    if as_json:
        print_json({"verified": not found.problems, **asdict(found)})
    else:
        _tell(found)
    raise typer.Exit(1 if found.problems else 0)


@app.command("accept")
def accept(
    context: typer.Context,
    run_id: str = RUN,
    reason: str = typer.Option(..., "--reason", metavar="TEXT", help="Why; `verify` and `report` tell it ever after."),
    as_json: bool = JSON,
) -> None:
    """Answer for what `verify` finds of a run, in your name: it is a note then. Later changes are found as before."""
    from runs.audit.accepting import accept as accept_findings
    from runs.audit.heads import audit_keys
    from runs.people.origin import started_by
    from runs.stored.store import find_run

    here = session(context)
    if not reason.strip():
        raise UsageError("--reason is empty", fix="say why what was found is no tampering")
    store, folder = _open_store(here)
    row = find_run(store, run_id)
    by = started_by()
    found = accept_findings(store.database, folder, audit_keys(here.settings()), row.run_id, by=by, why=reason)
    if as_json:
        print_json({"run_id": row.run_id, "by": by, "reason": reason, "accepted": [asdict(one) for one in found]})
        return
    result(table(_FINDING_HEAD, [_finding(finding) for finding in found]))
    say(f"accepted by {by}, and signed: `muster audit verify` and `report` tell it")


@app.command("report")
def report(context: typer.Context, run_id: str = RUN, as_json: bool = JSON) -> None:
    """Say who is answerable for a run: who started it, and for each call with an effect by whom, by which rule."""
    from runs.audit.chain import read_snapshots
    from runs.audit.export import answerable
    from runs.audit.heads import stored_heads
    from runs.stored.store import find_run

    store, folder = _open_store(session(context))
    row = find_run(store, run_id)
    (snapshot,) = read_snapshots(store.database, [row.run_id])
    heads = [head for head in stored_heads(store.database, row.run_id) if head.run_created_at == row.created_at]
    found = answerable(snapshot, folder / row.run_id, heads)
    if as_json:
        print_json(found)
        return
    result("\n".join(_told_report(found)))
    say(f"hint: `muster blame TASK --run {row.run_id}` tells which sentence of the result rests on which source")


@app.command("new-key")
def new_key() -> None:
    """Print a random key, for MUSTER_AUDIT_KEY or MUSTER_JOURNAL_KEY in .env."""
    import base64

    result(base64.urlsafe_b64encode(os.urandom(_KEY_BYTES)).decode())


# -- parts


def _open_store(here: Session) -> Any:
    from runs.stored import sealing

    sealing.use(here.settings().environment)
    return open_store(here)


def _open(
    here: Session, run_ids: Sequence[str], every: bool, since: str, full: bool
) -> "tuple[Exporter, list[str] | None]":
    from runs.audit.export import Exporter
    from runs.audit.heads import audit_keys
    from runs.people.origin import started_by
    from runs.stored.store import find_run

    if not run_ids and not every and not since:
        raise UsageError("nothing says which runs", fix="name them, or --all, or --since 2026-01-31")
    began = _day(since) if since else 0.0
    store, folder = _open_store(here)
    keys = audit_keys(here.settings())
    if keys is None:
        say("hint: without MUSTER_AUDIT_KEY this is not signed; `muster audit new-key` makes a key")
    exporter = Exporter(store.database, folder, keys, started_by(), full)
    if run_ids:
        return exporter, list(dict.fromkeys(find_run(store, run_id).run_id for run_id in run_ids))
    if not since:
        return exporter, None
    return exporter, [row.run_id for row in store.list(1_000_000) if row.created_at >= began]


def _day(text: str) -> float:
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since takes a day, got {text!r}", fix="--since 2026-01-31") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _write(exporter: "Exporter", lines: "Iterable[dict[str, Any]]", output: str) -> None:
    from runs.audit.file import written

    texts = written(lines, exporter.keys)
    if not output:
        stdout = sys.__stdout__ or sys.stdout
        for text in texts:
            stdout.write(text)
        stdout.flush()
        return
    path = Path(output)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            count = sum(1 for text in texts if file.write(text))
    except OSError as error:
        raise AppError(f"{output}: can't be written: {error.strerror}") from error
    say(f"{count} lines written to {output}")


def _tell(found: "Verified") -> None:
    problems = found.problems
    told = problems + [finding for finding in found.findings if not finding.problem]
    if told:
        result(table(_FINDING_HEAD, [_finding(finding) for finding in told[:_MOST_SHOWN]]))
    if len(told) > _MOST_SHOWN:
        say(f"and {len(told) - _MOST_SHOWN} more; --json shows all")
    covered = f"{found.runs} runs, {found.steps} steps, {found.deleted} deleted runs"
    noun = "problem" if len(problems) == 1 else "problems"
    result(f"{len(problems)} {noun} in {covered}" if problems else f"nothing was changed: {covered}")
    if found.uncovered:
        say(f"{len(found.uncovered)} runs have no head yet: they did not end since there is a key")


def _finding(finding: "Finding") -> tuple[str, ...]:
    step = "–" if finding.step is None else str(finding.step)
    mark = "" if finding.problem else "note: "
    return finding.run_id or "–", finding.lane or "–", step, f"{mark}{finding.what}"


def _told_report(found: dict[str, Any]) -> list[str]:
    origin = found["started_by"]
    who = origin.get("by") or (f"the schedule {origin['schedule']}" if "schedule" in origin else "nobody known")
    forked = f", forked from {origin['fork_of']}" if "fork_of" in origin else ""
    lines = [f"run      {found['run_id']} ({found['crew']}), {found['state']}"]
    lines += [f"started  {found['started_at']} by {who}{forked}"]
    counts = f"{found['approved']} approved, {found['refused']} refused"
    lines += [f"calls    {len(found['calls'])} with an effect or refused: {counts}"]
    if found["calls"]:
        head = ("STEP", "TOOL", "EFFECT", "FOR", "RULE", "APPROVED BY", "CAME TO")
        lines += ["", table(head, [_call(call) for call in found["calls"]])]
    if found["answers"]:
        rows = [_answer(answer) for answer in found["answers"]]
        lines += ["", table(("QUESTION", "STEP", "STATE", "BY", "AT"), rows)]
    if found["changes"]:
        rows = [(change["at"], change["told"]) for change in found["changes"]]
        lines += ["", table(("AT", "CHANGED FROM OUTSIDE"), rows)]
    return lines


def _call(call: dict[str, Any]) -> tuple[str, ...]:
    principal = call.get("principal", {})
    chain = " → ".join([*principal.get("chain", ()), str(call["agent"])])
    approved = ", ".join(call.get("approved_by", ())) + (" (edited)" if call.get("edited") else "")
    came = f"failed: {call['failed']}" if "failed" in call else "done"
    came = f"refused: {call['refused']}" if "refused" in call else came
    came = "nobody knows" if call.get("unknown_outcome") else came
    approved = f"rejected by {call['rejected_by']}" if call.get("rejected_by") else approved
    rule = call.get("asked_by_rule") or call.get("rule") or "–"
    return call["step"], call["tool"], call.get("effect", "–"), chain, rule, approved or "–", came


def _answer(answer: dict[str, Any]) -> tuple[str, ...]:
    when = answer["answered_at"] or "–"
    return answer["question_id"], answer["step"], answer["state"], answer["answered_by"] or "–", when
