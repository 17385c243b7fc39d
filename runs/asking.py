"""How a run asks a person: at the terminal that attends to it, or through the inbox, whichever answers first."""

import time
from dataclasses import dataclass, replace
from typing import Any

from models.make import clean
from runs import engine
from runs.journal import pack, unpack
from runs.origin import started_by
from runs.questions import Answer, Question, find_choice
from runs.state import Parked, RunState

_TRIES = 20


@dataclass(frozen=True)
class Asked:
    """What a person said; None when nobody could be asked. `now` unless it was said in an earlier execution."""

    said: str | None
    now: bool
    rejected: bool = False
    """Whether the person turned down what was asked; `said` is then their reason, or the choice that means no."""


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
        record |= {"said": clean(answer.said).strip(), "by": answer.by, "at": answer.at}
        if answer.rejected:
            record |= {"rejected": True, "reason": clean(answer.reason).strip()}
        return pack(record, run.folder)

    record = unpack(engine.step(name, ask), run.folder)
    return Asked(record["said"], now, record.get("rejected", False))


def _answered(run: RunState, name: str) -> Answer | None:
    return run.inbox.answer_for(run.run_id, name) if run.inbox is not None else None


def _ask_anyone(run: RunState, name: str, question: Question, needed: bool) -> Answer | None:
    """Ask who is there; None when nobody is and no answer is needed. Raises: Parked."""
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
        question_id = run.inbox.put(run.run_id, name, question)
        fix = (
            f"`muster approvals show {question_id}` tells how to answer; `muster runs resume {run.run_id}` then goes on"
        )
    return Parked("waiting", question.waits, fix)


def _ask_here(run: RunState, name: str, question: Question) -> Answer:
    """Ask at the terminal, and note the answer in the inbox; one from elsewhere that came first stands."""
    inbox = run.inbox
    if inbox is None:
        return _said_here(run, question)
    question_id = inbox.put(run.run_id, name, question)
    here = _said_here(run, replace(question, answered=lambda: inbox.news(run.run_id, name)))
    inbox.note(question_id, here.said, here.by)
    stands = inbox.answer_for(run.run_id, name)
    if stands is None:
        raise Parked("interrupted", run.stopping or "the question was withdrawn")
    return stands


def _said_here(run: RunState, question: Question) -> Answer:
    """Return what the person at the terminal says, asked again while it is none of the choices. Raises: Parked."""
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
        chosen = find_choice(said, question.choices) if question.choices else said
        if chosen is not None:
            return Answer(chosen, started_by(), time.time())
        asked = replace(question, prompt=f"not taken: {said!r} is none of the choices; {question.prompt}")
    raise Parked("waiting", question.waits, f"answer with one of: {', '.join(question.choices)}")
