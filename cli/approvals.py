"""`muster approvals`: what waits for a person, and the answers; no process of the run is needed for it."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.output import duration, print_json, result, say, table
from cli.session import Session, session
from project.errors import AppError, UsageError

if TYPE_CHECKING:
    from runs.inbox import Inbox, InboxRow
    from runs.questions import Question, Reply
    from runs.store import RunRow, RunStore

app = typer.Typer(help="See what waits for a person, and answer it.", rich_markup_mode=None)

JSON = typer.Option(False, "--json", help="Print one JSON document.")
QUESTION = typer.Argument(..., help="The question's id, or the beginning of it.")
_MOST_SHOWN = 80


@app.command("list")
def list_questions(
    context: typer.Context,
    every: bool = typer.Option(False, "--all", help="Also what is answered, or needs no answer any more."),
    run_id: str = typer.Option("", "--run", metavar="ID", help="Only questions of this run."),
    as_json: bool = JSON,
) -> None:
    """List what waits for a person, the oldest first."""
    rows = _listed(session(context), every, run_id)
    if as_json:
        print_json([_document(row) for row in rows])
    elif not rows:
        say("no question was asked yet" if every else "nothing waits for a person")
    else:
        head = ("ID", "RUN", "TASK", "KIND", "AGE", *(["STATE"] if every else []), "QUESTION")
        result(table(head, [_line(row, every) for row in rows]))


def _listed(here: Session, every: bool, run_id: str) -> "list[InboxRow]":
    from runs.store import find_run

    found = _open_if_any(here)
    if found is None:
        if run_id:
            raise AppError(f"there is no run {run_id!r}", fix="none was started in this project yet")
        return []
    store, inbox = found
    only = find_run(store, run_id).run_id if run_id else None
    return inbox.all(only) if every else inbox.open(only)


def _gist(question: "Question") -> str:
    """Tell in a line what is wanted: of a task what is to be done, since all of them are asked for "your answer"."""
    first = question.text.strip().partition("\n")[0]
    return first if question.kind == "task" and question.prompt.startswith("your answer") and first else question.prompt


def _line(row: "InboxRow", every: bool) -> tuple[str, ...]:
    age = duration(max(0.0, time.time() - row.asked_at))
    prompt = " ".join(_gist(row.question).split())
    short = prompt if len(prompt) <= _MOST_SHOWN else f"{prompt[: _MOST_SHOWN - 1]}…"
    head = (row.question_id, row.run_id, row.question.task, row.question.kind, age)
    return (*head, *([_state(row)] if every else []), short)


def _state(row: "InboxRow") -> str:
    return "rejected" if row.answer is not None and row.answer.rejected else row.state


def _document(row: "InboxRow") -> dict[str, Any]:
    from runs.report import instant

    answer = row.answer
    return {
        "question_id": row.question_id,
        "run_id": row.run_id,
        "task": row.question.task,
        "kind": row.question.kind,
        "state": _state(row),
        "prompt": row.question.prompt,
        "choices": list(row.question.choices),
        "asked_at": instant(row.asked_at),
        "answer": answer.said if answer is not None else None,
        "reason": answer.reason or None if answer is not None else None,
        "answered_by": answer.by if answer is not None else None,
        "answered_at": instant(answer.at) if answer is not None else None,
    }


@app.command()
def show(context: typer.Context, question_id: str = QUESTION, as_json: bool = JSON) -> None:
    """Show a question whole: what is asked, about what, and how to answer."""
    from runs.questions import manner_of

    _, inbox = _open(session(context), question_id)
    row = inbox.find(question_id)
    question = row.question
    manner = manner_of(question.kind, question.choices)
    if as_json:
        means = {"approve": manner.approve or None, "answer": manner.answer or None, "reject": manner.reject or None}
        print_json({**_document(row), "text": question.text, "editable": question.editable or None, "means": means})
        return
    lines = [
        f"question  {row.question_id} ({question.kind})",
        f"run       {row.run_id}",
        f"task      {question.task}",
        f"state     {_told_state(row)}",
        f"asked     {question.prompt}",
        *([f"choices   {', '.join(question.choices)}"] if question.choices else []),
    ]
    parts = ["\n".join(lines), question.text]
    if question.editable:
        parts.append(f"to edit\n\n{question.editable.rstrip()}")
    if row.state == "open":
        parts.append("\n".join(_ways(row)))
    result("\n\n".join(part for part in parts if part))


def _told_state(row: "InboxRow") -> str:
    if row.answer is None:
        return row.state if row.state == "open" else "void: nobody needs to answer it any more"
    said = row.answer.reason or row.answer.said or "accepted"
    return f"{_state(row)} {_by_whom(row)}: {said}"


def _by_whom(row: "InboxRow") -> str:
    from runs.report import instant

    assert row.answer is not None
    return f"by {row.answer.by} at {instant(row.answer.at)}"


def _ways(row: "InboxRow") -> list[str]:
    """Tell how the question is answered."""
    from runs.questions import manner_of

    choices = row.question.choices
    manner = manner_of(row.question.kind, choices)
    base = f"muster approvals approve {row.question_id}"
    lines: list[str] = []
    if manner.approve:
        lines.append(f"{base}: {manner.approve}")
    if manner.answer and choices:
        lines.append(f"{base} --answer CHOICE: {manner.answer}")
    elif manner.answer:
        lines.append(f"{base} --answer TEXT, or --file FILE: {manner.answer}")
    if manner.reject:
        lines.append(f"muster approvals reject {row.question_id} --reason TEXT: {manner.reject}")
    return lines


@app.command()
def approve(
    context: typer.Context,
    question_id: str = QUESTION,
    answer: str | None = typer.Option(None, "--answer", metavar="TEXT", help="The answer, or one of the choices."),
    file: str = typer.Option("", "--file", metavar="FILE", help="A file that holds the answer; - is stdin."),
    as_json: bool = JSON,
) -> None:
    """Accept what is asked, or answer it. `muster approvals show ID` says what is expected."""
    from runs.questions import approval

    if answer is not None and file:
        raise UsageError("--answer and --file are both given", fix="give one of them")
    here = session(context)
    store, inbox = _open(here, question_id)
    row = _find_open(store, inbox, question_id)
    given = _read(file) if file else answer
    _answer(here, store, inbox, row, approval(row.question.kind, row.question.choices, given), as_json)


@app.command()
def reject(
    context: typer.Context,
    question_id: str = QUESTION,
    reason: str = typer.Option(..., "--reason", metavar="TEXT", help="Why; whoever asked is told."),
    as_json: bool = JSON,
) -> None:
    """Turn down what is asked, with the reason."""
    from runs.questions import rejection

    here = session(context)
    store, inbox = _open(here, question_id)
    row = _find_open(store, inbox, question_id)
    _answer(here, store, inbox, row, rejection(row.question.kind, row.question.choices, reason), as_json)


def _find_open(store: "RunStore", inbox: "Inbox", question_id: str) -> "InboxRow":
    """Return the question. Raises: AppError when there is none, or nobody waits for its answer."""
    from runs.store import OVER

    row = inbox.find(question_id)
    run = store.find(row.run_id)
    if row.answer is not None:
        raise _too_late(row)
    if row.state != "open" or run is None or run.state in OVER:
        why = f"run {row.run_id} is {run.state}" if run is not None else f"run {row.run_id} is deleted"
        raise AppError(f"question {row.question_id} needs no answer any more: {why}")
    return row


def _too_late(row: "InboxRow") -> AppError:
    what = f"question {row.question_id} was answered already, {_by_whom(row)}"
    return AppError(what, fix=f"the first answer stands; `muster approvals show {row.question_id}` tells it")


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file {file}: can't be read: {error}") from error


def _answer(here: Session, store: "RunStore", inbox: "Inbox", row: "InboxRow", reply: "Reply", as_json: bool) -> None:
    """Note the answer, queue the run when it waits, and say what happens next."""
    from runs.inbox import queue_answered
    from runs.origin import started_by

    taken = inbox.answer(row.question_id, reply, started_by())
    row = inbox.find(row.question_id)
    if not taken:
        if row.answer is None:
            raise AppError(f"question {row.question_id} needs no answer any more")
        raise _too_late(row)
    queue_answered(store, row.run_id, time.time())
    run = store.find(row.run_id)
    state = _state_now(here, run) if run is not None else "deleted"
    if as_json:
        print_json({**_document(row), "run_status": state})
        return
    result(f"{_state(row)} {row.question_id}: {row.question.task} of run {row.run_id}")
    if not here.quiet:
        say(_next(row.run_id, state))


def _state_now(here: Session, run: "RunRow") -> str:
    from runs.report import current_state

    return current_state(run, here.settings().state_folder / "runs" / run.run_id)


def _next(run_id: str, state: str) -> str:
    if state == "queued":
        return f"run {run_id} is queued: `muster serve` goes on with it, or `muster runs resume {run_id}` now"
    if state == "running":
        return f"run {run_id} is under way, and takes the answer when it asks"
    return f"run {run_id} is {state}; `muster runs resume {run_id}` goes on with it"


def _open(here: Session, question_id: str) -> "tuple[RunStore, Inbox]":
    """Open the runs and the inbox. Raises: AppError when nothing was ever run."""
    found = _open_if_any(here)
    if found is None:
        raise AppError(f"there is no question {question_id!r}", fix="no run was started in this project yet")
    return found


def _open_if_any(here: Session) -> "tuple[RunStore, Inbox] | None":
    from runs.database import database_exists, open_database
    from runs.inbox import Inbox
    from runs.store import RunStore

    settings = here.settings()
    if not database_exists(settings):
        return None
    store = RunStore(open_database(settings))
    return store, Inbox(store.database)
