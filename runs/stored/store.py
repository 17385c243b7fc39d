"""The runs themselves: the plan each one carries, written once, and what became of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from crews.planned import Plan
from policy.budget import Added, Spent
from project.errors import AppError
from runs.executing.owners import database_now
from runs.stored.database import is_sqlite
from runs.stored.sealing import is_sealed, open_text, seal_text, show_text
from runs.stored.tables import RUNS, WORKERS, make_tables

State = Literal["queued", "running", "succeeded", "failed", "stopped", "waiting", "interrupted", "paused", "cancelled"]
"""queued: a worker will take it. failed, stopped (at a ceiling), waiting (for a person), interrupted and paused runs go
on when they are resumed; succeeded and cancelled ones are over."""

OVER = ("succeeded", "cancelled")
"""States from which a run does not go on."""


@dataclass(frozen=True)
class RunRow:
    """One run as stored. Instants are seconds since 1970, UTC; `budget` the ceilings now in force and
    `spent` what was spent when it last stopped, as JSON text."""

    run_id: str
    crew: str
    created_at: float
    plan: str
    digest: str
    versions: str
    offline: bool
    budget: str
    state: State
    reason: str
    updated_at: float
    worked_seconds: float
    segment_started_at: float
    starts: int
    spent: str
    project: str
    """Name of the project; a worker takes only runs of its own."""
    worker: str
    """Who executes it, on PostgreSQL; "" for nobody."""
    wanted: str
    """What an operator wants of its process: "", pause or cancel."""
    queue: str
    max_running: int
    """Most runs of its queue at once, over all workers; 0: no limit."""
    priority: int
    """The highest is taken first."""
    queued_at: float
    not_before: float
    """A queued run is not taken before."""
    origin: str
    """Where it comes from, as JSON: `by` (user@host), `schedule`, `fork_of`, `from`."""
    takeovers: int = 0
    """How often in a row it was taken over from a process that died before it journaled anything."""
    added: str = "{}"
    """What people added to every ceiling that applies to it, as JSON."""
    is_private: bool = False
    """Whether the reason of its state may hold private content."""
    alive: bool | None = None
    """Whether the worker that has it lives; None where the kernel's lock says it (SQLite)."""

    @property
    def shown_reason(self) -> str:
        """The reason of its state, as anybody may read it."""
        return f"[private: {len(self.reason)} characters]" if self.is_private else self.reason

    def read_origin(self) -> dict[str, Any]:
        return json.loads(self.origin)

    def read_plan(self) -> Plan:
        """Return the plan. Raises: AppError when it is not what was stored, or no key here opens it."""
        if digest_of(self.plan) != self.digest:
            raise AppError(f"the stored plan of run {self.run_id} was changed")
        return Plan.model_validate_json(open_text(self.plan))

    def read_added(self) -> Added:
        """Return what people added to every ceiling that applies to it."""
        return Added.from_json(json.loads(self.added))

    def read_spent(self) -> Spent:
        """Return what was spent when the run last stopped."""
        return Spent.from_json(json.loads(self.spent))

    def read_versions(self) -> dict[str, str]:
        return json.loads(self.versions)


# A plan is tens of kilobytes: ten thousand of them are not read for a list.
_WITHOUT_PLAN = [sa.literal("").label(name) if name == "plan" else column for name, column in RUNS.c.items()]


def stored_plan(plan: Plan) -> str:
    """Return the plan as it is stored."""
    return seal_text(plan.model_dump_json())


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class RunStore:
    """The table of runs, beside the journal in the same database."""

    def __init__(self, database: sa.Engine) -> None:
        self.database = database
        make_tables(database)

    def insert(self, run_id: str, plan: Plan, versions: Mapping[str, str], now: float, **more: Any) -> bool:
        """Store a new run; False when the id is taken. `more` are other columns than those of a run that starts now."""
        text = stored_plan(plan)
        values = {
            "run_id": run_id,
            "crew": plan.crew,
            "created_at": now,
            "plan": text,
            "digest": digest_of(text),
            "versions": json.dumps(dict(versions)),
            "offline": plan.offline,
            "budget": plan.budget.model_dump_json(),
            "state": "running",
            "reason": "",
            "updated_at": now,
            "worked_seconds": 0.0,
            "segment_started_at": now,
            "starts": 1,
            "spent": "{}",
            "project": Path(plan.project).name,
            **more,
        }
        try:
            with self.database.begin() as connection:
                connection.execute(RUNS.insert(), values)
        except IntegrityError:
            return False
        return True

    def find(self, run_id: str) -> RunRow | None:
        with self.database.connect() as connection:
            row = connection.execute(self._select().where(RUNS.c.run_id == run_id)).mappings().first()
        return _read(row) if row else None

    def list(self, limit: int = 50, *, crew: str | None = None) -> "list[RunRow]":
        """Return runs without their plans, newest first."""
        query = self._select(_WITHOUT_PLAN).order_by(RUNS.c.created_at.desc(), RUNS.c.run_id).limit(limit)
        if crew:
            query = query.where(RUNS.c.crew == crew)
        with self.database.connect() as connection:
            return [_read(row) for row in connection.execute(query).mappings()]

    def in_state(self, state: State, project: str) -> "list[RunRow]":
        """Return the runs of a project in this state, without their plans, the oldest first."""
        query = self._select(_WITHOUT_PLAN).where(RUNS.c.state == state, RUNS.c.project == project)
        with self.database.connect() as connection:
            return [_read(row) for row in connection.execute(query.order_by(RUNS.c.created_at)).mappings()]

    def _select(self, columns: Sequence[Any] = tuple(RUNS.c)) -> Any:
        if is_sqlite(self.database):
            return sa.select(*columns)
        living = sa.select(WORKERS.c.worker_id).where(WORKERS.c.expires_at > database_now())
        return sa.select(*columns, RUNS.c.worker.in_(living).label("alive"))

    def named(self, prefix: str) -> "list[str]":
        """Return the ids that start with `prefix`, newest first, at most ten."""
        like = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = sa.select(RUNS.c.run_id).where(RUNS.c.run_id.like(like, escape="\\"))
        with self.database.connect() as connection:
            return list(connection.execute(query.order_by(RUNS.c.created_at.desc()).limit(10)).scalars())

    def set(self, run_id: str, **values: Any) -> None:
        """Change what is known of a run; its plan never changes."""
        self.change(run_id, values)

    def change(self, run_id: str, values: Mapping[str, Any], **only_if: Any) -> bool:
        """Change what is known of a run where its columns are as `only_if` says; say whether they were.

        A list or tuple among `only_if` is a choice: the column has one of its values.
        """
        assert not values.keys() & {"plan", "digest", "run_id", "crew", "created_at", "versions"}
        where = [RUNS.c.run_id == run_id]
        for name, value in only_if.items():
            column = RUNS.c[name]
            where.append(column.in_(cast(Sequence[Any], value)) if isinstance(value, list | tuple) else column == value)
        with self.database.begin() as connection:
            return connection.execute(RUNS.update().where(*where).values(**values)).rowcount == 1


def _read(row: Mapping[Any, Any]) -> RunRow:
    columns: dict[str, Any] = {**row, "reason": show_text(row["reason"]), "is_private": is_sealed(row["reason"])}
    return RunRow(**columns)


def find_run(store: RunStore, run_id: str) -> RunRow:
    """Return the run of that id, or the only one whose id starts so. Raises: AppError with the nearest ids."""
    row = store.find(run_id)
    if row is not None:
        return row
    named = store.named(run_id) if run_id else []
    if len(named) == 1:
        found = store.find(named[0])
        assert found is not None
        return found
    if named:
        raise AppError(f"several runs start with {run_id!r}", fix=f"one of: {', '.join(named)}")
    known = ", ".join(row.run_id for row in store.list(5)) or "none yet"
    raise AppError(f"there is no run {run_id!r}", fix=f"the latest: {known}")
