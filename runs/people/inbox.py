"""The inbox: all that waits for a person, in one table, so that it can be answered while no process runs."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import sqlalchemy as sa

from project.errors import AppError
from project.spec_policy import ApprovalSpec
from runs.governed.redaction import clean_question, redactor_of
from runs.governed.terms import Terms, Voice, expiry, read_terms, read_voices, who_may, why_not_now
from runs.people.questions import Answer, Question, Reply, find_choice
from runs.stored.database import Patience
from runs.stored.sealing import open_text, seal_text, stored_forms
from runs.stored.store import OVER, RunStore
from runs.stored.tables import QUESTIONS, RUNS

_ID_LENGTHS = (8, 12, 20, 64)
"""Digits of a question's id: as few as tell it from all others."""
_NEAREST = 10
_PATIENCE_SECONDS = 900.0
_TRIES = 10
_ENCRYPTED = "[encrypted]"
_TAMPERED = "what is stored of the call was changed after it was asked about"

_T = TypeVar("_T")
Told = Callable[[sa.Connection, str, float], None]
"""Stores what is to be told of a question: its id, and when it was put in. The same may be told again."""


class DoesNotCount(AppError):
    """The answer would not count."""


@dataclass(frozen=True)
class InboxRow:
    """One question as stored. Instants are seconds since 1970, UTC."""

    question_id: str
    run_id: str
    step: str
    question: Question
    asked_at: float
    state: str
    """open, answered, or void: nobody needs to answer it any more."""
    answer: Answer | None


class Inbox:
    """The table of questions, beside the runs and the journal in the same database."""

    def __init__(self, database: sa.Engine, patience: Patience | None = None) -> None:
        """Take the database; with `patience` the steps that ask go on when it is back after an outage."""
        self._database = database
        self._patience = patience
        self._lock = threading.Lock()
        self._left_open: dict[str, set[str]] = {}

    # -- for the run that asks

    def put(self, run_id: str, step: str, question: Question, told: Told | None = None) -> str:
        """Put a question in and return its id; the question of a step is put in once, however often it is asked.

        One about a call is put anew when it has expired, and under another id when it is about another call. `told`
        is called in the transaction that puts it in.
        """
        question_id = self._insist(lambda: self._put(run_id, step, question, told))
        with self._lock:
            self._left_open.setdefault(run_id, set()).add(question_id)
        return question_id

    def _put(self, run_id: str, step: str, question: Question, told: Told | None) -> str:
        now, question = time.time(), clean_question(run_id, question)
        with self._database.begin() as connection:
            found = connection.execute(_latest(run_id, step)).mappings().first()
            if found is not None and _is_another(_row(found).question.terms, question.terms):
                connection.execute(
                    QUESTIONS.update().where(_is(found), QUESTIONS.c.state == "open").values(state="void")
                )
                found = None
            content = question.terms.binding if question.terms is not None else ""
            question_id = str(found["question_id"]) if found is not None else _new_id(connection, run_id, step, content)
            values: dict[str, Any] = {**_columns(question, now), "asked_at": now, **_UNANSWERED}
            if found is None:
                keys = {"question_id": question_id, "run_id": run_id, "step": step}
                connection.execute(QUESTIONS.insert().values(**keys, **values))
            elif found["state"] == "void" or _has_expired(found, now):
                connection.execute(QUESTIONS.update().where(_is(found)).values(**values))
            else:
                now = found["asked_at"]
            if told is not None:
                told(connection, question_id, now)
        return question_id

    def answer_for(self, run_id: str, step: str) -> Answer | None:
        """Return what was answered to the question of this step; None while nobody has."""
        return self._insist(lambda: self._answer_for(run_id, step))

    def news(self, run_id: str, step: str) -> Answer | None:
        """Return the same, for who looks again and again: while the database is gone, there is no news."""
        if self._patience is None:
            return self._answer_for(run_id, step)
        return self._patience.try_now(lambda: self._answer_for(run_id, step))

    def _answer_for(self, run_id: str, step: str) -> Answer | None:
        row = self.row_of(run_id, step)
        if row is None or row.answer is None:
            return None
        with self._lock:
            self._left_open.get(run_id, set()).discard(row.question_id)
        return row.answer

    def row_of(self, run_id: str, step: str) -> "InboxRow | None":
        """Return the question of this step as it is stored, the latest one; None where none was put in."""
        with self._database.connect() as connection:
            found = connection.execute(_latest(run_id, step)).mappings().first()
        return _row(found) if found is not None else None

    def withdraw(self, run_id: str, step: str) -> None:
        """Take the question of a step out, where nobody has answered it."""
        self._insist(lambda: self._void(*_of(run_id, step)))

    def answered_meanwhile(self, run_id: str) -> bool:
        """Say whether a question that this process left open for the run was answered before the run was set aside.

        Whoever sets a run aside as waiting asks this after it, since an answer that came earlier did not queue the run.
        """
        with self._lock:
            left = sorted(self._left_open.get(run_id, ()))
        if not left:
            return False
        where = (QUESTIONS.c.question_id.in_(left), QUESTIONS.c.state == "answered")
        with self._database.connect() as connection:
            found = connection.execute(sa.select(QUESTIONS.c.question_id).where(*where)).first()
        if found is None:
            with self._lock:
                self._left_open.pop(run_id, None)
        return found is not None

    def void(self, run_id: str) -> None:
        """Close the open questions of a run that is cancelled."""
        self._void(QUESTIONS.c.run_id == run_id)

    def _void(self, *which: Any) -> None:
        with self._database.begin() as connection:
            connection.execute(QUESTIONS.update().where(*which, QUESTIONS.c.state == "open").values(state="void"))

    def forget(self, run_id: str) -> None:
        """Delete all questions of a run that is deleted: another run may be given its id."""
        with self._database.begin() as connection:
            connection.execute(QUESTIONS.delete().where(QUESTIONS.c.run_id == run_id))

    def note(self, question_id: str, said: str | Reply, by: str, seen: str = "") -> None:
        """Note what was said at the terminal that attends to the run, unless another answer came first.

        Raises: DoesNotCount.
        """
        self._insist(lambda: self.answer(question_id, said, by, seen))

    def _insist(self, body: Callable[[], _T]) -> _T:
        return body() if self._patience is None else self._patience.insist(body, _PATIENCE_SECONDS)

    # -- for people

    def answer(self, question_id: str, said: str | Reply, by: str, seen: str = "") -> bool:
        """Answer the question of that id or beginning of one; False when it is not open any more.

        The first answer stands, whoever gives it. `seen` is the hash of the call that they saw, where it is about one;
        "" is the one that is stored. Where two people must approve, the question stays open after the first.

        Raises: AppError when there is no such question, or `said` is none of its choices; DoesNotCount.
        """
        row = self.find(question_id)
        hide = redactor_of(row.run_id).text
        reply = said if isinstance(said, Reply) else Reply(said)
        reply = replace(reply, said=hide(reply.said), reason=hide(reply.reason))
        if row.question.terms is not None:
            return self._answer_call(row.question_id, reply, by, seen)
        choices = row.question.choices
        if choices and find_choice(reply.said, choices) != reply.said:
            raise AppError(f"{reply.said!r} is none of the choices", fix=f"one of: {', '.join(choices)}")
        told = {"said": reply.said, "rejected": reply.rejected, "reason": reply.reason}
        values = {"state": "answered", "answer": seal_text(json.dumps(told)), "answered_by": by}
        where = (QUESTIONS.c.question_id == row.question_id, QUESTIONS.c.state == "open")
        with self._database.begin() as connection:
            change = QUESTIONS.update().where(*where).values(**values, answered_at=time.time())
            return connection.execute(change).rowcount == 1

    def _answer_call(self, question_id: str, reply: Reply, by: str, seen: str) -> bool:
        """Answer a question about a call, unless it changes meanwhile: then look at it again."""
        for _ in range(_TRIES):
            row, now = self.find(question_id), time.time()
            terms = row.question.terms
            if row.state != "open" or terms is None:
                return False
            if reply.said and not reply.rejected and json.loads(reply.said) == terms.call["arguments"]:
                reply = Reply("")  # what was edited is as it was
            seen = seen or terms.binding
            why = why_not_now(terms, by, now, seen, rejects=reply.rejected) if row.question.is_whole else _TAMPERED
            if why:
                raise DoesNotCount(f"question {question_id} can't be answered so: {why}", fix=_instead(row, why))
            unchanged = (QUESTIONS.c.state == "open", QUESTIONS.c.more.in_(stored_forms(_more(row.question))))
            with self._database.begin() as connection:
                change = QUESTIONS.update().where(QUESTIONS.c.question_id == question_id, *unchanged)
                if connection.execute(change.values(**_answered_call(row, terms, reply, by, now))).rowcount == 1:
                    return True
        raise DoesNotCount(f"question {question_id} changes all the time", fix="try again")

    def open(self, run_id: str | None = None) -> list[InboxRow]:
        """Return what waits for an answer, the oldest first; of one run or of all that are not over."""
        query = sa.select(QUESTIONS).join(RUNS, RUNS.c.run_id == QUESTIONS.c.run_id)
        query = query.where(QUESTIONS.c.state == "open", RUNS.c.state.not_in(OVER))
        return self._list(query, run_id)

    def all(self, run_id: str | None = None) -> list[InboxRow]:
        """Return every question that was ever put in, the oldest first; of one run or of all."""
        return self._list(sa.select(QUESTIONS), run_id)

    def find(self, question_id: str) -> InboxRow:
        """Return the question of that id, or the only one whose id starts so. Raises: AppError with the nearest ids."""
        wanted = question_id.strip().lower()
        begins = QUESTIONS.c.question_id.startswith(wanted, autoescape=True)
        query = sa.select(QUESTIONS).where(begins).order_by(QUESTIONS.c.asked_at.desc()).limit(_NEAREST)
        with self._database.connect() as connection:
            found = [_row(row) for row in connection.execute(query).mappings()] if wanted else []
        exact = [row for row in found if row.question_id == wanted]
        if len(found) == 1 or exact:
            return (exact or found)[0]
        if found:
            ids = ", ".join(row.question_id for row in found)
            raise AppError(f"several questions start with {question_id!r}", fix=f"one of: {ids}")
        ids = ", ".join(row.question_id for row in self.open()[:_NEAREST]) or "none"
        raise AppError(f"there is no question {question_id!r}", fix=f"those that wait: {ids}")

    def _list(self, query: Any, run_id: str | None) -> list[InboxRow]:
        if run_id is not None:
            query = query.where(QUESTIONS.c.run_id == run_id)
        query = query.order_by(QUESTIONS.c.asked_at, QUESTIONS.c.question_id)
        with self._database.connect() as connection:
            return [_listed(row) for row in connection.execute(query).mappings()]


def queue_answered(store: RunStore, run_id: str, now: float) -> bool:
    """Queue a run that waits, since a person has answered; False when it does not wait."""
    return store.change(run_id, {"state": "queued", "queued_at": now, "reason": ""}, state="waiting")


_UNANSWERED = {"state": "open", "answer": "", "answered_by": "", "answered_at": 0.0}


def _of(run_id: str, step: str) -> tuple[Any, Any]:
    return QUESTIONS.c.run_id == run_id, QUESTIONS.c.step == step


def _is(found: sa.RowMapping) -> Any:
    return QUESTIONS.c.question_id == found["question_id"]


def _latest(run_id: str, step: str) -> Any:
    return sa.select(QUESTIONS).where(*_of(run_id, step)).order_by(QUESTIONS.c.asked_at.desc())


def _is_another(stored: Terms | None, wanted: Terms | None) -> bool:
    """Say whether what is stored for a step is about another call than the one that is asked about now."""
    return (stored.binding if stored else "") != (wanted.binding if wanted else "")


def _has_expired(found: sa.RowMapping, now: float) -> bool:
    terms = _row(found).question.terms
    return found["state"] == "open" and terms is not None and now >= terms.expires_at


def _answered_call(row: InboxRow, terms: Terms, reply: Reply, by: str, now: float) -> dict[str, Any]:
    """Return what changes in the row of a question about a call: it is answered, or one of two has approved it.

    Who changes the arguments has the last word on this question: where two must approve, they are asked about the new
    ones.
    """
    edited: dict[str, Any] | None = json.loads(reply.said) if reply.said and not reply.rejected else None
    binding = terms.with_arguments(edited) if edited is not None else terms.binding
    mine = Voice(by, now, binding)
    voices = (mine,) if reply.rejected or edited is not None else (*terms.voices, mine)
    if len(voices) < terms.needed and not reply.rejected and edited is None:
        return {"more": seal_text(_more(replace(row.question, terms=replace(terms, voices=voices))))}
    told = {"said": reply.said, "rejected": reply.rejected, "reason": reply.reason, "seen": terms.binding}
    told |= {"voices": [voice.to_json() for voice in voices]}
    return {"state": "answered", "answer": seal_text(json.dumps(told)), "answered_by": by, "answered_at": now}


def _instead(row: InboxRow, why: str) -> str:
    if "expired" in why or "another call" in why or why == _TAMPERED:
        return f"`muster runs resume {row.run_id}` asks anew"
    assert row.question.terms is not None
    return f"who may answer: {who_may(row.question.terms.approval)}"


def _new_id(connection: sa.Connection, run_id: str, step: str, content: str = "") -> str:
    """Return the id of a question; `content` tells two of the same step apart."""
    digest = hashlib.sha256("\n".join([run_id, step, *([content] if content else [])]).encode()).hexdigest()
    ids = [digest[:length] for length in _ID_LENGTHS]
    taken = set(
        connection.execute(sa.select(QUESTIONS.c.question_id).where(QUESTIONS.c.question_id.in_(ids))).scalars()
    )
    return next(one for one in ids if one not in taken)


def _columns(question: Question, now: float) -> dict[str, str]:
    terms = question.terms
    if terms is not None:
        question = replace(question, terms=replace(terms, expires_at=expiry(terms.approval, now)))
    return {
        "kind": question.kind,
        "task": question.task,
        "prompt": seal_text(_storable(question.prompt)),
        "text": seal_text(_storable(question.text)),
        "more": seal_text(_more(question)),
    }


def _more(question: Question) -> str:
    found: dict[str, Any] = {"editable": question.editable, "choices": list(question.choices)}
    if question.terms is not None:
        found["terms"] = question.terms.to_json()
    return json.dumps(found)


def _row(found: sa.RowMapping) -> InboxRow:
    more: dict[str, Any] = json.loads(open_text(found["more"]))
    question = Question(
        found["task"],
        open_text(found["prompt"]),
        open_text(found["text"]),
        more["editable"],
        found["kind"],
        tuple(more["choices"]),
        _read_terms_of(found, more),
    )
    answer = None
    if found["state"] == "answered":
        told: dict[str, Any] = json.loads(open_text(found["answer"]))
        voices = read_voices(told.pop("voices", ()))
        answer = Answer(by=found["answered_by"], at=found["answered_at"], voices=voices, **told)
    keys = {key: found[key] for key in ("question_id", "run_id", "step", "asked_at", "state")}
    return InboxRow(**keys, question=question, answer=answer)


def _listed(found: sa.RowMapping) -> InboxRow:
    """Return a question for a list: one that no key here opens does not keep the others from being seen."""
    try:
        return _row(found)
    except AppError:
        question = Question(found["task"], _ENCRYPTED, _ENCRYPTED, kind=found["kind"])
        keys = {key: found[key] for key in ("question_id", "run_id", "step", "asked_at", "state")}
        return InboxRow(**keys, question=question, answer=None)


def _read_terms_of(found: sa.RowMapping, more: Mapping[str, Any]) -> Terms | None:
    """Read the terms of a question about a call; where they were taken away or spoilt, no answer counts."""
    if found["kind"] != "approval":
        return None
    try:
        return read_terms(more["terms"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return Terms({"tool": "?", "arguments": {}}, "unreadable", ApprovalSpec())


def _storable(text: str) -> str:
    """Replace what a database can't hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
