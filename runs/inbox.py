"""The inbox: all that waits for a person, in one table, so that it can be answered while no process runs."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from project.errors import AppError
from runs.database import Patience
from runs.questions import Answer, Question, Reply, find_choice
from runs.store import OVER, RunStore
from runs.tables import QUESTIONS, RUNS

_ID_LENGTHS = (8, 12, 20, 64)
"""Digits of a question's id: as few as tell it from all others."""
_NEAREST = 10
_PATIENCE_SECONDS = 900.0

_T = TypeVar("_T")


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

    def put(self, run_id: str, step: str, question: Question) -> str:
        """Put a question in and return its id; the question of a step is put in once, however often it is asked."""
        question_id = self._insist(lambda: self._put(run_id, step, question))
        with self._lock:
            self._left_open.setdefault(run_id, set()).add(question_id)
        return question_id

    def _put(self, run_id: str, step: str, question: Question) -> str:
        with self._database.begin() as connection:
            found = connection.execute(sa.select(QUESTIONS).where(*_of(run_id, step))).mappings().first()
            question_id = str(found["question_id"]) if found is not None else _new_id(connection, run_id, step)
            values: dict[str, Any] = {**_columns(question), "asked_at": time.time(), **_UNANSWERED}
            if found is None:
                keys = {"question_id": question_id, "run_id": run_id, "step": step}
                connection.execute(QUESTIONS.insert().values(**keys, **values))
            elif found["state"] == "void":
                connection.execute(QUESTIONS.update().where(*_of(run_id, step)).values(**values))
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
        with self._database.connect() as connection:
            found = connection.execute(sa.select(QUESTIONS).where(*_of(run_id, step))).mappings().first()
        row = _row(found) if found is not None else None
        if row is None or row.answer is None:
            return None
        with self._lock:
            self._left_open.get(run_id, set()).discard(row.question_id)
        return row.answer

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

    def note(self, question_id: str, said: str, by: str) -> None:
        """Note what was said at the terminal that attends to the run, unless another answer came first."""
        self._insist(lambda: self.answer(question_id, said, by))

    def _insist(self, body: Callable[[], _T]) -> _T:
        return body() if self._patience is None else self._patience.insist(body, _PATIENCE_SECONDS)

    # -- for people

    def answer(self, question_id: str, said: str | Reply, by: str) -> bool:
        """Answer the question of that id or beginning of one; False when it is not open any more.

        The first answer stands, whoever gives it. Raises: AppError when there is no such question, or `said` is none of
        its choices.
        """
        row = self.find(question_id)
        reply = said if isinstance(said, Reply) else Reply(said)
        choices = row.question.choices
        if choices and find_choice(reply.said, choices) != reply.said:
            raise AppError(f"{reply.said!r} is none of the choices", fix=f"one of: {', '.join(choices)}")
        told = {"said": reply.said, "rejected": reply.rejected, "reason": reply.reason}
        values = {"state": "answered", "answer": json.dumps(told), "answered_by": by}
        where = (QUESTIONS.c.question_id == row.question_id, QUESTIONS.c.state == "open")
        with self._database.begin() as connection:
            change = QUESTIONS.update().where(*where).values(**values, answered_at=time.time())
            return connection.execute(change).rowcount == 1

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
            return [_row(row) for row in connection.execute(query).mappings()]


def queue_answered(store: RunStore, run_id: str, now: float) -> bool:
    """Queue a run that waits, since a person has answered; False when it does not wait."""
    return store.change(run_id, {"state": "queued", "queued_at": now, "reason": ""}, state="waiting")


_UNANSWERED = {"state": "open", "answer": "", "answered_by": "", "answered_at": 0.0}


def _of(run_id: str, step: str) -> tuple[Any, Any]:
    return QUESTIONS.c.run_id == run_id, QUESTIONS.c.step == step


def _new_id(connection: sa.Connection, run_id: str, step: str) -> str:
    digest = hashlib.sha256(f"{run_id}\n{step}".encode()).hexdigest()
    ids = [digest[:length] for length in _ID_LENGTHS]
    taken = set(
        connection.execute(sa.select(QUESTIONS.c.question_id).where(QUESTIONS.c.question_id.in_(ids))).scalars()
    )
    return next(one for one in ids if one not in taken)


def _columns(question: Question) -> dict[str, str]:
    return {
        "kind": question.kind,
        "task": question.task,
        "prompt": _storable(question.prompt),
        "text": _storable(question.text),
        "more": json.dumps({"editable": question.editable, "choices": list(question.choices)}),
    }


def _row(found: sa.RowMapping) -> InboxRow:
    more: dict[str, Any] = json.loads(found["more"])
    question = Question(
        found["task"], found["prompt"], found["text"], more["editable"], found["kind"], tuple(more["choices"])
    )
    answer = None
    if found["state"] == "answered":
        answer = Answer(by=found["answered_by"], at=found["answered_at"], **json.loads(found["answer"]))
    keys = {key: found[key] for key in ("question_id", "run_id", "step", "asked_at", "state")}
    return InboxRow(**keys, question=question, answer=answer)


def _storable(text: str) -> str:
    """Replace what a database can't hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
