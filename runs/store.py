"""The runs themselves: the plan each one carries, written once, and what became of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from crews.planned import Plan
from policy.budget import Spent
from project.errors import AppError

State = Literal["running", "succeeded", "failed", "stopped", "waiting", "interrupted"]

_META = sa.MetaData()
_RUNS = sa.Table(
    "muster_runs",
    _META,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("crew", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("versions", sa.Text, nullable=False),
    sa.Column("offline", sa.Boolean, nullable=False),
    sa.Column("budget", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
    sa.Column("worked_seconds", sa.Float, nullable=False),
    sa.Column("segment_started_at", sa.Float, nullable=False),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("spent", sa.Text, nullable=False),
    sa.Index("muster_runs_created", "created_at"),
)


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

    def read_plan(self) -> Plan:
        """Return the plan. Raises: AppError when it is not what was stored."""
        if digest_of(self.plan) != self.digest:
            raise AppError(f"the stored plan of run {self.run_id} was changed")
        return Plan.model_validate_json(self.plan)

    def read_spent(self) -> Spent:
        """Return what was spent when the run last stopped."""
        return Spent.from_json(json.loads(self.spent))

    def read_versions(self) -> dict[str, str]:
        return json.loads(self.versions)


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class RunStore:
    """The table of runs, beside the journal in the same database."""

    def __init__(self, database: sa.Engine) -> None:
        self._database = database
        _META.create_all(database, checkfirst=True)

    def insert(self, run_id: str, plan: Plan, versions: Mapping[str, str], now: float) -> bool:
        """Store a new run; False when the id is taken."""
        text = plan.model_dump_json()
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
        }
        try:
            with self._database.begin() as connection:
                connection.execute(_RUNS.insert().values(values))
        except IntegrityError:
            return False
        return True

    def find(self, run_id: str) -> RunRow | None:
        with self._database.connect() as connection:
            row = connection.execute(sa.select(_RUNS).where(_RUNS.c.run_id == run_id)).mappings().first()
        return RunRow(**row) if row else None

    def list(self, limit: int = 50, *, crew: str | None = None) -> "list[RunRow]":
        """Return runs, newest first."""
        query = sa.select(_RUNS).order_by(_RUNS.c.created_at.desc(), _RUNS.c.run_id).limit(limit)
        if crew:
            query = query.where(_RUNS.c.crew == crew)
        with self._database.connect() as connection:
            return [RunRow(**row) for row in connection.execute(query).mappings()]

    def named(self, prefix: str) -> "list[str]":
        """Return the ids that start with `prefix`, newest first, at most ten."""
        like = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = sa.select(_RUNS.c.run_id).where(_RUNS.c.run_id.like(like, escape="\\"))
        with self._database.connect() as connection:
            return list(connection.execute(query.order_by(_RUNS.c.created_at.desc()).limit(10)).scalars())

    def set(self, run_id: str, **values: Any) -> None:
        """Change what is known of a run; its plan never changes."""
        assert not values.keys() & {"plan", "digest", "run_id", "crew", "created_at", "versions"}
        with self._database.begin() as connection:
            connection.execute(_RUNS.update().where(_RUNS.c.run_id == run_id).values(**values))


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
