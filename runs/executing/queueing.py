"""Queued runs: which one a worker takes next, and which runs are left by a process that died."""

import time
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from runs.executing.owners import Owners
from runs.stored.database import is_sqlite
from runs.stored.store import RunStore
from runs.stored.tables import RUNS

_LOOK_AT = 200
_LOCK = 0x6D757175  # "muqu": one of PostgreSQL's advisory locks, held for the length of a claim


class RunQueue:
    """The queued runs of one project, given out one by one; safe over any number of workers."""

    def __init__(self, store: RunStore, owners: Owners, project: str) -> None:
        self._store, self._owners, self._project = store, owners, project
        self._mine = RUNS.c.project == project

    def claim(self, queues: Sequence[str] = (), besides: Collection[str] = ()) -> str | None:
        """Take the next run, of these queues where any is named: highest priority, then longest queued.

        None when nothing is queued, or `max_running` runs of each queue are under way. The run is this process's then.
        Those `besides` are left alone: this process is just leaving them.
        """
        database, now = self._store.database, time.time()
        ready = self._ready(now, queues).where(RUNS.c.run_id.not_in(sorted(besides)))
        with database.connect() as connection:  # an idle worker takes no lock to see that there is nothing
            if connection.execute(ready.limit(1)).first() is None:
                return None
        with database.begin() as connection:
            if not is_sqlite(database):  # SQLite's transactions are exclusive as they are
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            for run_id in self._with_room(connection, ready):
                if self._take(connection, run_id, now):
                    return run_id
        return None

    def left_behind(self, queues: Sequence[str] = ()) -> list[str]:
        """Return the runs said to be running that no living process has, of these queues where any is named."""
        return self._owners.left_behind(self._project, queues)

    def is_empty(self, queues: Sequence[str] = ()) -> bool:
        """Say whether nothing is queued, in these queues where any is named."""
        with self._store.database.connect() as connection:
            return connection.execute(self._ready(float("inf"), queues).limit(1)).first() is None

    def _ready(self, now: float, queues: Sequence[str]) -> Any:
        where = [RUNS.c.state == "queued", self._mine, RUNS.c.not_before <= now]
        if queues:
            where.append(RUNS.c.queue.in_(queues))
        return sa.select(RUNS.c.run_id, RUNS.c.queue, RUNS.c.max_running).where(*where)

    def _with_room(self, connection: sa.Connection, query: Any) -> list[str]:
        under_way = sa.select(RUNS.c.queue, sa.func.count()).where(RUNS.c.state == "running", self._mine)
        running = {row[0]: row[1] for row in connection.execute(under_way.group_by(RUNS.c.queue))}
        full = [(queue, most) for queue, most in self._limits(connection) if running.get(queue, 0) >= most]
        for queue, most in full:  # a thousand runs of a full queue do not stand before one of another
            query = query.where(sa.not_(sa.and_(RUNS.c.queue == queue, RUNS.c.max_running == most)))
        query = query.order_by(RUNS.c.priority.desc(), RUNS.c.queued_at, RUNS.c.run_id).limit(_LOOK_AT)
        return [row.run_id for row in connection.execute(query)]

    def _limits(self, connection: sa.Connection) -> list[tuple[str, int]]:
        limits = sa.select(RUNS.c.queue, RUNS.c.max_running).distinct()
        limited = limits.where(RUNS.c.state == "queued", self._mine, RUNS.c.max_running > 0)
        return [(row.queue, row.max_running) for row in connection.execute(limited)]

    def _take(self, connection: sa.Connection, run_id: str, now: float) -> bool:
        """Make a queued run this process's; False when somebody has it: who resumes it by hand, or just leaves it."""
        if not self._owners.acquire_in(connection, run_id):
            return False
        mine = {"state": "running", "worker": self._owners.worker_id, "updated_at": now, "segment_started_at": now}
        queued = (RUNS.c.run_id == run_id, RUNS.c.state == "queued")
        if connection.execute(RUNS.update().where(*queued).values(mine)).rowcount == 1:
            return True
        self._owners.settled(run_id)
        return False
