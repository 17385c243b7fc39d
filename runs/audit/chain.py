"""The audit trail's arithmetic: a chain of hashes over each lane of a run, and the run's head over all of them.

Hashed is what the journal says, decoded: neither the key that encrypts it nor the database that holds it plays a part.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa

from project.errors import AppError
from runs.stored.journal_rows import JournalRows, read_stored
from runs.stored.sealing import is_on, is_sealed, open_text
from runs.stored.tables import QUESTIONS, RESERVATIONS, RUNS

FORMAT = 1
_SOME = 100
_MARK = 8
"""Digits of a row's own hash that a head keeps: enough to say which row differs. What proves it is the chain."""
_FIXED = ("run_id", "crew", "created_at", "offline", "project")
_MOVING = ("state", "reason", "updated_at", "worked_seconds", "spent", "budget", "added", "starts")
_ASKED = ("question_id", "run_id", "step", "kind", "task", "prompt", "text", "more", "asked_at")

Head = dict[str, Any]
"""What a head says, as JSON."""


@dataclass(frozen=True)
class ChainedStep:
    """One row of a lane. `row` is its own hash, `chain` that of the lane up to it."""

    number: int
    name: str
    row: str
    chain: str
    output: Any
    child: str | None
    began_ms: int | None
    ended_ms: int | None
    readable: bool = True


@dataclass
class ChainedLane:
    """One workflow of a run: the run's own (`path` "") or that of a task, stage or part."""

    path: str
    status: str
    start: str
    """Hash from which the chain begins."""
    head: Head
    """What identifies it but its chain: name, parent, digests of what it was given and of its result."""
    steps: list[ChainedStep] = field(default_factory=list[ChainedStep])
    result: Any = None

    def records(self) -> Iterator[tuple[ChainedStep, dict[str, Any]]]:
        """Yield the steps that have a record, with it."""
        for step in self.steps:
            output: Any = step.output
            if isinstance(output, dict):
                yield step, cast(dict[str, Any], output)

    def chain_at(self, count: int) -> str:
        return self.steps[count - 1].chain if count else self.start

    def to_head(self) -> Head:
        marks = " ".join(f"{step.number}:{step.row[:_MARK]}" for step in self.steps)
        count = len(self.steps)
        return {**self.head, "status": self.status, "count": count, "last": self.chain_at(count), "marks": marks}


@dataclass
class Snapshot:
    """A run as it stands, with every hash."""

    row: Mapping[str, Any]
    lanes: dict[str, ChainedLane] = field(default_factory=dict[str, ChainedLane])
    questions: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])
    reservations: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    """What is set aside for its calls, by id: most of all for those of which nobody knows how they ended."""

    def to_head(self, moving: Mapping[str, Any] | None = None, note: Mapping[str, Any] | None = None) -> Head:
        """Return the run's head. `moving` are columns of its row that are about to be written."""
        row = {**self.row, **(moving or {})}
        head: Head = {
            "format": FORMAT,
            "run": {name: row[name] for name in _FIXED}
            | {
                "plan": _sha256(row["plan"]),
                "versions": json.loads(row["versions"]),
                "origin": _origin(row["origin"]),
            },
            "state": {name: row[name] for name in _MOVING},
            "lanes": {path: self.lanes[path].to_head() for path in sorted(self.lanes)},
            "questions": [_question_head(question) for question in self.questions],
        }
        # A part that is empty is left out: heads of older versions have none.
        rows = sorted((one, row) for one, row in self.reservations.items() if row["state"] != "settled")
        head |= {"reservations": {one: reservation_mark(row) for one, row in rows}} if rows else {}
        return head | ({"note": dict(note)} if note else {})


def digest_of_head(head: Head) -> str:
    """Return the hash that stands for a run: over its lanes, plan, origin and questions."""
    return _sha256(canonical(head, sort=True))


def canonical(value: Any, *, sort: bool = False) -> str:
    """Return JSON as it is hashed."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True, sort_keys=sort)


def read_snapshots(
    database: sa.Engine, run_ids: Sequence[str] | None = None, journal: JournalRows | None = None
) -> Iterator[Snapshot]:
    """Yield runs as they stand in the database, by their ids; all of them where none are named.

    A value that cannot be read is hashed as it stands. Raises: AppError (exit 3) without the key of the journal.
    """
    journal = journal or JournalRows(database)
    if run_ids is None:
        with database.connect() as connection:
            run_ids = [str(one) for one in connection.execute(sa.select(RUNS.c.run_id)).scalars()]
    ordered = sorted(run_ids)
    for start in range(0, len(ordered), _SOME):
        with database.connect() as connection:
            found = _read(connection, journal, ordered[start : start + _SOME])
        yield from (found[run_id] for run_id in sorted(found))


def read_snapshot(connection: sa.Connection, journal: JournalRows, run_id: str) -> Snapshot | None:
    """Return a run as it stands; None where there is none."""
    return _read(connection, journal, [run_id]).get(run_id)


def _read(connection: sa.Connection, journal: JournalRows, run_ids: Sequence[str]) -> dict[str, Snapshot]:
    rows = connection.execute(sa.select(RUNS).where(RUNS.c.run_id.in_(run_ids))).mappings()
    found = {str(row["run_id"]): Snapshot(_opened(row)) for row in rows}
    asked = sa.select(QUESTIONS).where(QUESTIONS.c.run_id.in_(run_ids))
    for row in connection.execute(asked.order_by(QUESTIONS.c.asked_at, QUESTIONS.c.question_id)).mappings():
        if row["run_id"] in found:
            found[row["run_id"]].questions.append(_opened(row))
    for row in connection.execute(sa.select(RESERVATIONS).where(RESERVATIONS.c.run_id.in_(run_ids))).mappings():
        if row["run_id"] in found:
            found[row["run_id"]].reservations[row["id"]] = {str(name): value for name, value in row.items()}
    if not journal.there:
        return found
    lanes: dict[str, ChainedLane] = {}
    for row in journal.lanes_as_stored(connection, run_ids):
        run_id, _, path = str(row["workflow_uuid"]).partition(".")
        if run_id in found:
            lanes[row["workflow_uuid"]] = found[run_id].lanes[path] = _lane(path, row)
    for row in journal.steps_as_stored(connection, run_ids):
        workflow_id = str(row["workflow_uuid"])
        run_id, _, path = workflow_id.partition(".")
        if workflow_id not in lanes and run_id in found:  # steps without the workflow that made them
            lanes[workflow_id] = found[run_id].lanes[path] = _without_workflow(path, workflow_id)
        if workflow_id in lanes:
            lanes[workflow_id].steps.append(_chained(lanes[workflow_id], row))
    return found


def _lane(path: str, row: Mapping[str, Any]) -> ChainedLane:
    result, _ = _value(row["result"], row["serialization"])
    given, _ = _value(row["given"], row["serialization"])
    wrong, _ = _value(row["wrong"], row["serialization"])
    head = {
        "name": row["name"],
        "parent": row["parent_workflow_id"],
        "created_at": row["created_at"],
        "given": _sha256(canonical(given)),
        "result": _sha256(canonical([result, wrong])) if row["result"] or row["wrong"] else "",
    }
    return ChainedLane(path, row["status"], _sha256(row["workflow_uuid"]), head, result=result)


def _without_workflow(path: str, workflow_id: str) -> ChainedLane:
    head = {"name": "", "parent": None, "created_at": None, "given": "", "result": ""}
    return ChainedLane(path, "missing", _sha256(workflow_id), head)


def _chained(lane: ChainedLane, row: Mapping[str, Any]) -> ChainedStep:
    output, readable = _value(row["output"], row["serialization"])
    error, _ = _value(row["error"], row["serialization"])
    number, name, child = int(row["function_id"]), str(row["function_name"]), row["child_workflow_id"]
    began, ended = row["started_at_epoch_ms"], row["completed_at_epoch_ms"]
    text = canonical([number, name, output, child, began, ended, error])
    before = lane.chain_at(len(lane.steps))
    return ChainedStep(number, name, _sha256(text), _sha256(before + text), output, child, began, ended, readable)


def _value(text: str | None, serialization: str | None) -> tuple[Any, bool]:
    """Return a value of the journal, and whether it could be read; else its text, which is hashed all the same."""
    try:
        return read_stored(text, serialization), True
    except (AppError, ValueError, RecursionError):
        _check_key(text)
        return {"unreadable": text}, False


def _opened(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return a row of ours with its texts decoded."""
    return {str(name): _opened_text(value) for name, value in row.items()}


def _opened_text(value: Any) -> Any:
    try:
        return open_text(value) if is_sealed(value) else value
    except AppError:
        _check_key(value)
        return value


def _check_key(text: Any) -> None:
    if is_sealed(text) and not is_on():
        what = "the journal is encrypted, and MUSTER_JOURNAL_KEY is not set"
        raise AppError(what, fix="put it into .env as it was when the runs were made", exit_code=3)


def _question_head(row: Mapping[str, Any]) -> Head:
    # Columns that are empty are left out: one that a later version adds changes no hash.
    answer = {name: value for name, value in row.items() if name not in (*_ASKED, "state") and value}
    return {
        "id": row["question_id"],
        "step": row["step"],
        "state": row["state"],
        "asked": _sha256(canonical({name: row[name] for name in _ASKED if name != "more"} | _without_voices(row))),
        "answer": _sha256(canonical(answer, sort=True)),
    }


def reservation_mark(row: Mapping[str, Any]) -> str:
    """Return what a head keeps of a reservation: of one that is lost its hash, of a call under way that it is there."""
    return _sha256(canonical(row, sort=True)) if row["state"] == "lost" else ""


def _without_voices(row: Mapping[str, Any]) -> Head:
    """Return what a question holds besides its text, but for who of several has approved: they come one by one."""
    more = cast(Head, json.loads(row["more"])) if row["more"] else {}
    terms: Any = more.get("terms")
    if isinstance(terms, dict):
        kept = {name: value for name, value in cast(Head, terms).items() if name != "voices"}
        more = {**more, "terms": kept}
    return {"more": more}


def _origin(text: str) -> Head:
    """Return where a run comes from; how often it was tried again is counted there later."""
    found = cast(Head, json.loads(text))
    return {name: value for name, value in found.items() if name != "retries"}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def payloads_of(outputs: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the parts of records that stand in files beside the journal."""
    for output in outputs:
        for part in cast(dict[str, Any], output).values() if isinstance(output, dict) else ():
            if isinstance(part, dict) and set(cast(dict[str, Any], part)) == {"$file", "bytes"}:
                yield cast(dict[str, Any], part)
