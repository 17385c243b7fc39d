"""`muster approvals`: what waits for a person, and the answers; no process of the run is needed for it."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.asking import open_editor
from cli.output import duration, print_json, result, say, table
from cli.session import Session, session
from project.errors import AppError, UsageError

if TYPE_CHECKING:
    from runs.governed.terms import Terms
    from runs.people.inbox import Inbox, InboxRow
    from runs.people.questions import Question, Reply
    from runs.stored.store import RunRow, RunStore

app = typer.Typer(help="See what waits for a person, and answer it.", rich_markup_mode=None)

JSON = typer.Option(False, "--json", help="Print one JSON document.")
QUESTION = typer.Argument(..., help="The question's id, or the beginning of it.")
QUESTIONS = typer.Argument(..., help="The questions' ids, or the beginnings of them.")
_MOST_SHOWN = 80
_LEAST_HASH = 6


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
        calls = any(row.question.terms is not None for row in rows)
        about = _CALL_HEAD if calls else ()
        head = ("ID", "RUN", "TASK", "KIND", *about, "AGE", *(["STATE"] if every else []), "QUESTION")
        result(table(head, [_line(row, every, calls) for row in rows]))


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


def _gist(question: "Question") -> str:
    """Tell in a line what is wanted: of a task what is to be done, since all of them are asked for "your answer"."""
    first = question.text.strip().partition("\n")[0]
    return first if question.kind == "task" and question.prompt.startswith("your answer") and first else question.prompt


_CALL_HEAD = ("TOOL", "AGENT", "RULE", "EXPIRES", "HAS READ")


def _line(row: "InboxRow", every: bool, calls: bool) -> tuple[str, ...]:
    age = duration(max(0.0, time.time() - row.asked_at))
    prompt = " ".join(_gist(row.question).split())
    short = prompt if len(prompt) <= _MOST_SHOWN else f"{prompt[: _MOST_SHOWN - 1]}…"
    about = _about_call(row) if calls else ()
    head = (row.question_id, row.run_id, row.question.task, row.question.kind, *about, age)
    return (*head, *([_state(row)] if every else []), short)


def _about_call(row: "InboxRow") -> tuple[str, ...]:
    """Tell of a call what it is, who makes it, which rule asks, until when, and what was read before."""
    terms = row.question.terms
    if terms is None:
        return ("–",) * len(_CALL_HEAD)
    read = ", ".join(what for what, steps in (("untrusted", terms.untrusted), ("private", terms.private)) if steps)
    until = _expires(terms) if row.state == "open" else "–"
    return terms.call["tool"], terms.call.get("agent", "?"), terms.rule or "–", until, read or "–"


def _expires(terms: "Terms") -> str:
    left = terms.expires_at - time.time()
    return f"in {duration(left)}" if left > 0 else "expired"


def _state(row: "InboxRow") -> str:
    return "rejected" if row.answer is not None and row.answer.rejected else row.state


def _document(row: "InboxRow") -> dict[str, Any]:
    from runs.told.report import instant

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
        **({"call": _call(row, row.question.terms)} if row.question.terms is not None else {}),
    }


def _call(row: "InboxRow", terms: "Terms") -> dict[str, Any]:
    from runs.told.report import instant

    voices = row.answer.voices if row.answer is not None else terms.voices
    keys = ("tool", "effect", "agent", "chain", "step", "arguments")
    return {
        **{key: terms.call.get(key) for key in keys},
        "rule": terms.rule,
        "binding": terms.binding,
        "unchanged": row.question.is_whole,
        "expires_at": instant(terms.expires_at),
        "approvers": terms.approval.approvers,
        "four_eyes": terms.approval.four_eyes,
        "voices": [{"by": voice.by, "at": instant(voice.at)} for voice in voices],
        "untrusted": list(terms.untrusted),
        "private": list(terms.private),
    }


@app.command()
def show(context: typer.Context, question_id: str = QUESTION, as_json: bool = JSON) -> None:
    """Show a question whole: what is asked, about what, and how to answer."""
    from runs.people.questions import manner_of

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
        *(_told_terms(row, question.terms) if question.terms is not None else []),
    ]
    parts = ["\n".join(lines), question.text]
    if question.editable:
        parts.append(f"to edit\n\n{question.editable.rstrip()}")
    if row.state == "open":
        parts.append("\n".join(_ways(row)))
    result("\n\n".join(part for part in parts if part))


def _told_terms(row: "InboxRow", terms: "Terms") -> list[str]:
    """Tell of a question about a call until when it may be answered, by whom, and what exactly is approved."""
    from runs.governed.terms import who_may
    from runs.told.report import instant

    approved = [voice.by for voice in terms.voices]
    changed = "what is stored of this call was changed after it was asked about: it can't be approved"
    return [
        *([f"CHANGED   {changed}"] if not row.question.is_whole else []),
        f"answers   {who_may(terms.approval)}",
        *([f"approved  by {', '.join(approved)}: {len(approved)} of {terms.needed}"] if approved else []),
        *([f"expires   {instant(terms.expires_at)}, {_expires(terms)}"] if row.state == "open" else []),
        f"hash      {terms.binding}",
    ]


def _told_state(row: "InboxRow") -> str:
    if row.answer is None:
        return row.state if row.state == "open" else "void: nobody needs to answer it any more"
    said = row.answer.reason or row.answer.said or "accepted"
    return f"{_state(row)} {_by_whom(row)}: {said}"


def _by_whom(row: "InboxRow") -> str:
    from runs.told.report import instant

    assert row.answer is not None
    return f"by {row.answer.by} at {instant(row.answer.at)}"


def _ways(row: "InboxRow") -> list[str]:
    """Tell how the question is answered."""
    from runs.people.questions import manner_of

    choices = row.question.choices
    manner = manner_of(row.question.kind, choices)
    base = f"muster approvals approve {row.question_id}"
    lines: list[str] = []
    if manner.approve:
        lines.append(f"{base}: {manner.approve}")
    if manner.answer and choices:
        lines.append(f"{base} --answer CHOICE: {manner.answer}")
    elif manner.answer:
        editor = ", or --edit" if row.question.editable else ""
        lines.append(f"{base} --answer TEXT, or --file FILE{editor}: {manner.answer}")
    if manner.reject:
        lines.append(f"muster approvals reject {row.question_id} --reason TEXT: {manner.reject}")
    return lines


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
    what = f"question {row.question_id} was answered already, {_by_whom(row)}"
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
    from runs.people.origin import person_here, started_by

    terms = row.question.terms
    by = started_by() if terms is None else person_here()
    taken = inbox.answer(row.question_id, reply, by, terms.binding if terms is not None else "")
    row = inbox.find(row.question_id)
    if not taken:
        if row.answer is None:
            raise AppError(f"question {row.question_id} needs no answer any more")
        raise _too_late(row)
    answered = row.answer is not None
    if answered:
        queue_answered(store, row.run_id, time.time())
    run = store.find(row.run_id)
    state = _state_now(here, run) if run is not None else "deleted"
    if not as_json:
        said = "approved" if terms is not None and not reply.rejected else _state(row)
        result(f"{said if answered else 'approved by one'} {row.question_id}: {_of_run(row)}")
        if not here.quiet:
            say(_next(row.run_id, state) if answered else _second(row))
    return {**_document(row), "run_status": state}


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
