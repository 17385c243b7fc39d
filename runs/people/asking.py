"""How a run asks a person: at the terminal that attends to it, or through the inbox, whichever answers first."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from models.make import clean
from runs.executing.state import Parked, RunState
from runs.governed.redaction import clean_question
from runs.governed.terms import Terms, who_may, why_not_now
from runs.people.inbox import DoesNotCount, Inbox, Told
from runs.people.notify import Notice, Outbox
from runs.people.origin import person_here
from runs.people.questions import Answer, Question, Reply, find_choice, read_typed
from runs.stored import engine
from runs.stored.journal import pack, unpack

_TRIES = 20


@dataclass(frozen=True)
class Asked:
    """What a person said; None when nobody could be asked. `now` unless it was said in an earlier execution."""

    said: str | None
    now: bool
    rejected: bool = False
    """Whether the person turned down what was asked; `said` is then their reason, or the choice that means no."""
    by: str = ""
    """Who said it, as user@host; "" where nobody did, or an older Muster asked at a terminal."""
    at: float = 0.0
    """When, in seconds since 1970, UTC."""


Judge = Callable[[Question, Answer, float], Mapping[str, Any]]
"""Says what an answer about a call comes to: the question as stored, the answer, when it was asked."""


def ask_person(run: RunState, name: str, question: Question, *, needed: bool) -> Asked:
    """Ask a person in the step `name` of the calling workflow. With nobody to ask that is journaled.

    An answer that waits in the inbox is taken. The time of a person is no time of work.

    Raises: Parked (waiting) with nobody to ask where an answer is `needed`; the question then stands in the inbox.
    """
    now = False

    def ask() -> dict[str, Any]:
        nonlocal now
        now = True
        record: dict[str, Any] = {"kind": "answer", "task": question.task, "prompt": question.prompt, "seconds": 0.0}
        answer = _answered(run, name) or _ask_anyone(run, name, question, needed)
        if answer is None:
            return record | {"said": None}
        return pack(record | _said(answer), run.folder)

    record = unpack(engine.step(name, ask), run.folder)
    by, at = record.get("by", ""), record.get("at", 0.0)
    return Asked(record["said"], now, record.get("rejected", False), by, at)


def ask_about_call(run: RunState, name: str, make: Callable[[], Question], judge: Judge) -> dict[str, Any]:
    """Ask in the step `name` whether a call may be made; return what was journaled of it.

    `make` and `judge` are called within the step, and may look at clock and files; a replay reads what they said.

    Raises: Parked (waiting) with nobody to ask, or nobody who may answer.
    """

    def ask() -> dict[str, Any]:
        question = make()
        answer = _answered(run, name) or _ask_anyone(run, name, question, needed=True)
        assert answer is not None
        row = run.inbox.row_of(run.run_id, name) if run.inbox is not None else None
        asked_at = row.asked_at if row is not None else answer.at
        stored = row.question if row is not None else question
        record: dict[str, Any] = {"kind": "answer", "task": question.task, "prompt": question.prompt, "seconds": 0.0}
        record |= _said(answer) | {"voices": [voice.to_json() for voice in answer.voices]}
        return pack(record | dict(judge(stored, answer, asked_at)), run.folder)

    return unpack(engine.step(name, ask), run.folder)


def _said(answer: Answer) -> dict[str, Any]:
    told: dict[str, Any] = {"said": clean(answer.said).strip(), "by": answer.by, "at": answer.at}
    if answer.rejected:
        told |= {"rejected": True, "reason": clean(answer.reason).strip()}
    return told


def _answered(run: RunState, name: str) -> Answer | None:
    return run.inbox.answer_for(run.run_id, name) if run.inbox is not None else None


def _ask_anyone(run: RunState, name: str, question: Question, needed: bool) -> Answer | None:
    """Ask who is there; None when nobody is and no answer is needed. Raises: Parked."""
    question = clean_question(run.run_id, question)
    if run.asker is not None:
        if run.stopping:
            raise Parked("interrupted", run.stopping)
        return _ask_here(run, name, question)
    if needed:
        raise _wait(run, name, question)
    if run.inbox is not None:  # asked at a terminal in an earlier execution
        run.inbox.withdraw(run.run_id, name)
    return _answered(run, name)


def _wait(run: RunState, name: str, question: Question) -> Parked:
    fix = f"`muster runs resume {run.run_id}` at a terminal asks"
    if run.inbox is not None:
        told = _notice(run, question)
        question_id = run.inbox.put(run.run_id, name, question, *([told] if told is not None else []))
        fix = (
            f"`muster approvals show {question_id}` tells how to answer; `muster runs resume {run.run_id}` then goes on"
        )
    named = question.terms is not None and (question.terms.approval.approvers or question.terms.approval.four_eyes)
    who = f"; who may answer: {who_may(question.terms.approval)}" if question.terms is not None and named else ""
    return Parked("waiting", f"{question.waits}{who}", fix)


def _notice(run: RunState, question: Question) -> Told | None:
    """Return what tells people that a call waits for approval; None where nobody is to be told."""
    policy = run.plan.policy
    if question.terms is None or policy is None or not policy.approvals.notify:
        return None
    channels, project = policy.approvals.notify, run.project.name

    def told(connection: Any, question_id: str, asked_at: float) -> None:
        document = {
            "event": "approval",
            "project": project,
            "crew": run.plan.crew,
            "run_id": run.run_id,
            "question_id": question_id,
            "task": question.task,
            "prompt": question.prompt,
            "at": _instant(asked_at),
            "text": f"Run {run.run_id} waits for approval: {question.prompt} `muster approvals show {question_id}`",
        }
        notice = Notice(f"approval/{run.run_id}/{question_id}/{asked_at!r}", document)
        Outbox(connection.engine, project).put(connection, notice, channels, asked_at)

    return told


def _instant(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _ask_here(run: RunState, name: str, question: Question) -> Answer:
    """Ask at the terminal, and note the answer in the inbox; one from elsewhere that came first stands."""
    inbox = run.inbox
    if question.terms is not None:
        return _ask_about_call_here(run, name, question)
    if inbox is None:
        return _said_here(run, question)
    question_id = inbox.put(run.run_id, name, question)
    here = _said_here(run, replace(question, answered=lambda: inbox.news(run.run_id, name)))
    inbox.note(question_id, here.said, here.by)
    stands = inbox.answer_for(run.run_id, name)
    if stands is None:
        raise Parked("interrupted", run.stopping or "the question was withdrawn")
    return stands


def _ask_about_call_here(run: RunState, name: str, question: Question) -> Answer:
    """Ask at the terminal about a call, where the person there may answer. Raises: Parked (waiting)."""
    inbox, me = run.inbox, person_here()
    if inbox is None:
        raise Parked("waiting", question.waits)
    question_id = inbox.put(run.run_id, name, question)
    row = inbox.row_of(run.run_id, name)
    terms = row.question.terms if row is not None else None
    if row is None or terms is None or why_not_now(terms, me, time.time(), terms.binding):
        raise _wait(run, name, question)
    here = _said_here(run, replace(row.question, answered=lambda: inbox.news(run.run_id, name)))
    try:
        reply = Reply(here.said, here.rejected, here.reason)
        inbox.note(question_id, reply, me, terms.binding)
    except DoesNotCount as error:
        raise Parked("waiting", str(error), "; ".join(error.fixes())) from error
    stands = inbox.answer_for(run.run_id, name)
    if stands is None:
        raise _second(run, inbox, question_id, terms)
    return stands


def _second(run: RunState, inbox: Inbox, question_id: str, terms: Terms) -> Parked:
    """Return what lets the run wait for the second of two people, or for one since the question was withdrawn."""
    if inbox.find(question_id).state != "open":
        return Parked("interrupted", run.stopping or "the question was withdrawn")
    what = f"a second person must approve the call of `{terms.call['tool']}`: {who_may(terms.approval)}"
    return Parked("waiting", what, f"`muster approvals show {question_id}` tells how to answer")


def _said_here(run: RunState, question: Question) -> Answer:
    """Return what the person at the terminal says, asked again while it means nothing. Raises: Parked."""
    assert run.asker is not None
    asked = question
    for _ in range(_TRIES):
        began = time.monotonic()
        said = clean(run.asker(asked)).strip()
        run.waited(time.monotonic() - began)
        elsewhere = question.answered()
        if elsewhere is not None:
            return elsewhere
        if run.stopping and not said:  # nobody has accepted anything: the run was told to stop while it was asked
            raise Parked("interrupted", run.stopping)
        reply = _read(question, said)
        if reply == "wait":
            raise Parked("waiting", question.waits, f"`muster runs resume {run.run_id}` asks again")
        if reply is not None:
            return Answer(reply.said, person_here(), time.time(), reply.rejected, reply.reason)
        asked = replace(question, prompt=f"not taken: {said!r} is none of the choices; {question.prompt}")
    choices = question.choices or ("y", "n REASON", "w")
    raise Parked("waiting", question.waits, f"answer with one of: {', '.join(choices)}")


def _read(question: Question, said: str) -> Reply | Literal["wait"] | None:
    """Return what was meant; None where that is nothing."""
    if question.terms is not None:
        return read_typed(said)
    chosen = find_choice(said, question.choices) if question.choices else said
    return Reply(chosen) if chosen is not None else None
