"""`muster approvals`: what waits for a person, and the answers; no process of the run is needed for it."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.asking import open_editor
from cli.output import print_json, result, say, table
from cli.private_content import PRIVATE, at_terminal, keeps_out, question_without, runs_with_private, without_content
from cli.questions_shown import (
    CALL_HEAD,
    by_whom,
    document_of,
    fitted,
    list_line,
    state_of,
    told_state,
    told_terms,
    ways_to_answer,
)
from cli.session import Session, session
from cli.signing import sign_change
from project.errors import AppError, UsageError

if TYPE_CHECKING:
    from runs.people.inbox import Inbox, InboxRow
    from runs.people.questions import Reply
    from runs.stored.store import RunRow, RunStore

app = typer.Typer(help="See what waits for a person, and answer it.", rich_markup_mode=None)

JSON = typer.Option(False, "--json", help="Print one JSON document.")
QUESTION = typer.Argument(..., help="The question's id, or the beginning of it.")
QUESTIONS = typer.Argument(..., help="The questions' ids, or the beginnings of them.")
_LEAST_HASH = 6


@app.command("list")
def list_questions(
    context: typer.Context,
    every: bool = typer.Option(False, "--all", help="Also what is answered, or needs no answer any more."),
    run_id: str = typer.Option("", "--run", metavar="ID", help="Only questions of this run."),
    private: bool = PRIVATE,
    as_json: bool = JSON,
) -> None:
    """List what waits for a person, the oldest first."""
    rows = _listed(session(context), every, run_id)
    hidden = _hidden(session(context), rows, private)
    if as_json:
        print_json([_shown(row, hidden) for row in rows])
    elif not rows:
        say("no question was asked yet" if every else "nothing waits for a person")
    else:
        calls = any(row.question.terms is not None for row in rows)
        about = CALL_HEAD if calls else ()
        head = ("ID", "RUN", "TASK", "KIND", *about, "AGE", *(["STATE"] if every else []), "QUESTION")
        shown = [without_content(row) if row.run_id in hidden else row for row in rows]
        result(table(head, [list_line(row, every, calls) for row in shown]))


def _listed(here: Session, every: bool, run_id: str) -> "list[InboxRow]":
    from runs.stored.store import find_run

    found = _open_if_any(here)
    if found is None:
        if run_id:
            raise AppError(f"there is no run {run_id!r}", fix="none was started in this project yet")
        return []
    store, inbox = found
    only = find_run(store, run_id).run_id if run_id else None
    return inbox.all(only) if every else inbox.open(only)


def _hidden(here: Session, rows: "list[InboxRow]", asked: bool) -> set[str]:
    """Return the runs of these questions whose content is not printed here: they have read private content."""
    found = _open_if_any(here)
    if asked or found is None or not rows or at_terminal():
        return set()
    return runs_with_private(found[0].database, {row.run_id for row in rows})


def _shown(row: "InboxRow", hidden: set[str]) -> dict[str, Any]:
    document = document_of(row)
    return question_without(document) if row.run_id in hidden else document


@app.command()
def show(context: typer.Context, question_id: str = QUESTION, private: bool = PRIVATE, as_json: bool = JSON) -> None:
    """Show a question whole: what is asked, about what, and how to answer."""
    from runs.people.questions import manner_of

    store, inbox = _open(session(context), question_id)
    row = inbox.find(question_id)
    hidden = keeps_out(store.database, row.run_id, private)
    question = without_content(row).question if hidden else row.question
    manner = manner_of(question.kind, question.choices)
    if as_json:
        means = {"approve": manner.approve or None, "answer": manner.answer or None, "reject": manner.reject or None}
        document = {**document_of(row), "text": question.text, "editable": question.editable or None, "means": means}
        print_json(question_without(document) if hidden else document)
        return
    lines = [
        f"question  {row.question_id} ({question.kind})",
        f"run       {row.run_id}",
        f"task      {question.task}",
        f"state     {told_state(without_content(row) if hidden else row)}",
        f"asked     {question.prompt}",
        *([f"choices   {', '.join(question.choices)}"] if question.choices else []),
        *(told_terms(row, question.terms) if question.terms is not None else []),
    ]
    parts = ["\n".join(lines), fitted(question.text, sys.stdout)]
    if question.editable:
        parts.append(f"to edit\n\n{question.editable.rstrip()}")
    if row.state == "open":
        parts.append("\n".join(ways_to_answer(row)))
    result("\n\n".join(part for part in parts if part))


@app.command()
def approve(
    context: typer.Context,
    question_ids: list[str] = QUESTIONS,
    answer: str | None = typer.Option(None, "--answer", metavar="TEXT", help="The answer, or one of the choices."),
    file: str = typer.Option("", "--file", metavar="FILE", help="A file that holds the answer; - is stdin."),
    edit: bool = typer.Option(False, "--edit", help="Edit the answer in $EDITOR: the arguments of a call, a plan."),
    expect_hash: str | None = typer.Option(
        None, "--expect-hash", metavar="HASH", help="Approve only the call of this hash."
    ),
    as_json: bool = JSON,
) -> None:
    """Accept what is asked, or answer it. `muster approvals show ID` says what is expected."""
    from runs.people.questions import approval

    if answer is not None and file:
        raise UsageError("--answer and --file are both given", fix="give one of them")
    if edit and (answer is not None or file):
        raise UsageError("--edit is given beside --answer or --file", fix="give one of them")
    if len(question_ids) > 1 and (answer is not None or file or edit or expect_hash is not None):
        raise UsageError("several questions can't have one answer or hash", fix="answer them one by one")
    here = session(context)
    store, inbox = _open(here, question_ids[0])
    rows = _find_all_open(store, inbox, question_ids)
    _check_hash(rows[0], expect_hash)
    given = _read(file) if file else _edited(rows[0]) if edit else answer
    replies = [approval(row.question.kind, row.question.choices, given) for row in rows]
    _answer_all(here, store, inbox, rows, replies, as_json)


@app.command()
def reject(
    context: typer.Context,
    question_ids: list[str] = QUESTIONS,
    reason: str = typer.Option(..., "--reason", metavar="TEXT", help="Why; whoever asked is told."),
    as_json: bool = JSON,
) -> None:
    """Turn down what is asked, with the reason."""
    from runs.people.questions import rejection

    here = session(context)
    store, inbox = _open(here, question_ids[0])
    rows = _find_all_open(store, inbox, question_ids)
    replies = [rejection(row.question.kind, row.question.choices, reason) for row in rows]
    _answer_all(here, store, inbox, rows, replies, as_json)


def _check_hash(row: "InboxRow", expected: str | None) -> None:
    """Raises: UsageError where the question is no call; AppError where it is about another one than was expected."""
    if expected is None:
        return
    terms = row.question.terms
    if terms is None:
        raise UsageError(
            "--expect-hash is for questions about calls", fix=f"this is a question of kind {row.question.kind}"
        )
    if len(expected) < _LEAST_HASH or not terms.binding.startswith(expected.strip().lower()):
        what = f"question {row.question_id} is not about the call {expected}: its hash is {terms.binding}"
        raise AppError(what, fix=f"`muster approvals show {row.question_id}` shows the call as it is now")


def _edited(row: "InboxRow") -> str | None:
    """Return what a person makes of the answer in their editor; what was not changed is accepted as it is."""
    if not row.question.editable:
        raise UsageError("this question has nothing to edit", fix="--answer or --file")
    if not sys.stdin.isatty():
        raise UsageError("--edit needs a terminal", fix="--file takes the edited answer")
    edited = open_editor(row.question.editable, ".yaml" if row.question.terms is None else ".json")
    if edited is None:
        raise AppError("nothing was changed, and nothing approved", fix="without --edit it is approved as it is")
    return edited


def _find_all_open(store: "RunStore", inbox: "Inbox", question_ids: list[str]) -> "list[InboxRow]":
    """Return the questions, each once. Raises: AppError when one is not there, or nobody waits for its answer."""
    found = {row.question_id: row for row in (_find_open(store, inbox, one) for one in question_ids)}
    return list(found.values())


def _find_open(store: "RunStore", inbox: "Inbox", question_id: str) -> "InboxRow":
    """Return the question. Raises: AppError when there is none, or nobody waits for its answer."""
    from runs.stored.store import OVER

    row = inbox.find(question_id)
    run = store.find(row.run_id)
    if row.answer is not None:
        raise _too_late(row)
    if row.state != "open" or run is None or run.state in OVER:
        why = f"run {row.run_id} is {run.state}" if run is not None else f"run {row.run_id} is deleted"
        raise AppError(f"question {row.question_id} needs no answer any more: {why}")
    return row


def _too_late(row: "InboxRow") -> AppError:
    what = f"question {row.question_id} was answered already, {by_whom(row)}"
    return AppError(what, fix=f"the first answer stands; `muster approvals show {row.question_id}` tells it")


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file {file}: can't be read: {error}") from error


def _answer_all(
    here: Session, store: "RunStore", inbox: "Inbox", rows: "list[InboxRow]", replies: "list[Reply]", as_json: bool
) -> None:
    told = [_answer(here, store, inbox, row, reply, as_json) for row, reply in zip(rows, replies, strict=True)]
    if as_json:
        print_json(told if len(told) > 1 else told[0])


def _answer(
    here: Session, store: "RunStore", inbox: "Inbox", row: "InboxRow", reply: "Reply", as_json: bool
) -> dict[str, Any]:
    """Note the answer, queue the run when it waits, say what happens next; return it all as JSON."""
    from runs.people.inbox import queue_answered
    from runs.people.origin import person_here

    terms = row.question.terms
    taken = inbox.answer(row.question_id, reply, person_here(), terms.binding if terms is not None else "")
    row = inbox.find(row.question_id)
    if not taken:
        if row.answer is None:
            raise AppError(f"question {row.question_id} needs no answer any more")
        raise _too_late(row)
    answered = row.answer is not None
    if answered:
        sign_change(here, store.database, row.run_id)  # before it is queued: it goes on at once then
        queue_answered(store, row.run_id, time.time())
    run = store.find(row.run_id)
    state = _state_now(here, run) if run is not None else "deleted"
    if not as_json:
        said = "approved" if terms is not None and not reply.rejected else state_of(row)
        result(f"{said if answered else 'approved by one'} {row.question_id}: {_of_run(row)}")
        if not here.quiet:
            say(_next(row.run_id, state) if answered else _second(row))
    return {**_shown(row, _hidden(here, [row], False)), "run_status": state}


def _of_run(row: "InboxRow") -> str:
    return f"{row.question.task} of run {row.run_id}"


def _second(row: "InboxRow") -> str:
    from runs.governed.terms import who_may

    assert row.question.terms is not None
    return f"the run waits for a second person: {who_may(row.question.terms.approval)}"


def _state_now(here: Session, run: "RunRow") -> str:
    from runs.told.report import current_state

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
    from runs.people.inbox import Inbox
    from runs.stored.database import database_exists, open_database
    from runs.stored.store import RunStore

    settings = here.settings()
    if not database_exists(settings):
        return None
    store = RunStore(open_database(settings))
    return store, Inbox(store.database)
