"""Who executes a run: on one machine the kernel's file locks say it, on several a lease that its worker renews."""

import os
import socket
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from runs.executing.locks import RunLock, calls_under_way, holder
from runs.stored.database import is_sqlite
from runs.stored.tables import RUNS, WORKERS

LEASE_SECONDS = 30.0


class Owners(Protocol):
    """Gives out runs: at most one living process has one."""

    worker_id: str
    """This process, as `muster_runs.worker` names it."""

    def acquire(self, run_id: str) -> bool:
        """Take the run, or keep it; False when another living process has it."""
        ...

    def acquire_in(self, connection: sa.Connection, run_id: str) -> bool:
        """Take a run that nobody has, as part of a transaction that changes its row."""
        ...

    def release(self, run_id: str) -> None:
        """Let the run go, where this process still has it."""
        ...

    def settled(self, run_id: str) -> None:
        """Note that the row of the run names this process no longer: whoever has it now is not disturbed."""
        ...

    def holds(self, run_id: str) -> bool:
        """Say whether this process still has the run: a worker that was stopped for long may have lost it."""
        ...

    def holds_in(self, connection: sa.Connection, run_id: str) -> bool:
        """Say whether this process has the run, and that it keeps it until the transaction ends."""
        ...

    def mine(self) -> dict[str, str]:
        """Return what the row of a run holds while this process has it, as a condition of `RunStore.change`."""
        ...

    def holder(self, run_id: str) -> str:
        """Name the living process that has the run: `process 12`, `worker NAME`; "" when there is none.

        A run is not free either while calls are ended that a dead process had begun.
        """
        ...

    def left_behind(self, project: str, queues: Sequence[str]) -> list[str]:
        """Return the runs of a project that are said to be running and that no living process has.

        Of these queues, where any is named.
        """
        ...


def open_owners(database: sa.Engine, runs_folder: Path, worker_id: str = "") -> Owners:
    """Return what says who executes a run in this database."""
    if is_sqlite(database):
        return FileOwners(database, runs_folder)
    return LeaseOwners(database, worker_id or new_worker_id())


def new_worker_id() -> str:
    """Make the id of this process among all that work on one database."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


class FileOwners:
    """The kernel's lock on a file in each run's folder, let go at once when its process dies."""

    def __init__(self, database: sa.Engine, runs_folder: Path) -> None:
        self.worker_id = f"process {os.getpid()}"
        self._database, self._folder = database, runs_folder
        self._locks: dict[str, RunLock] = {}
        self._guard = threading.Lock()

    def acquire(self, run_id: str) -> bool:
        with self._guard:
            if run_id in self._locks:
                return True
            lock = RunLock(self._folder / run_id)
            if not lock.acquire():
                return False
            self._locks[run_id] = lock
            return True

    def acquire_in(self, connection: sa.Connection, run_id: str) -> bool:
        return not self.holds(run_id) and self.acquire(run_id)

    def settled(self, run_id: str) -> None:
        self.release(run_id)

    def release(self, run_id: str) -> None:
        with self._guard:
            lock = self._locks.pop(run_id, None)
        if lock is not None:
            lock.release()

    def holds(self, run_id: str) -> bool:
        return run_id in self._locks

    def holds_in(self, connection: sa.Connection, run_id: str) -> bool:
        return self.holds(run_id)

    def mine(self) -> dict[str, str]:
        return {}

    def holder(self, run_id: str) -> str:
        process = holder(self._folder / run_id)
        if process is not None:
            return f"process {process}"
        return "a tool call that is still to end" if calls_under_way(self._folder / run_id) else ""

    def left_behind(self, project: str, queues: Sequence[str]) -> list[str]:
        query = sa.select(RUNS.c.run_id).where(*_running(project, queues)).order_by(RUNS.c.created_at)
        with self._database.connect() as connection:
            ids = list(connection.execute(query).scalars())
        return [run_id for run_id in ids if not self.holds(run_id) and not self.holder(run_id)]


class LeaseOwners:
    """A row for each worker that it renews in time; a run is its worker's while that row has not expired.

    All instants are the database's own, so that the clocks of the machines do not matter.
    """

    def __init__(self, database: sa.Engine, worker_id: str) -> None:
        self.worker_id = worker_id
        self._database = database

    def acquire(self, run_id: str) -> bool:
        with self._database.begin() as connection:
            there = connection.execute(sa.select(RUNS.c.run_id).where(RUNS.c.run_id == run_id)).first()
            return there is None or self.acquire_in(connection, run_id)  # of a new run the insert decides who has it

    def acquire_in(self, connection: sa.Connection, run_id: str) -> bool:
        free = sa.or_(RUNS.c.worker.in_(("", self.worker_id)), RUNS.c.worker.not_in(_alive()))
        taken = connection.execute(RUNS.update().where(RUNS.c.run_id == run_id, free).values(worker=self.worker_id))
        return taken.rowcount == 1

    def settled(self, run_id: str) -> None:
        pass

    def release(self, run_id: str) -> None:
        mine = (RUNS.c.run_id == run_id, RUNS.c.worker == self.worker_id)
        with self._database.begin() as connection:
            connection.execute(RUNS.update().where(*mine).values(worker=""))

    def holds(self, run_id: str) -> bool:
        with self._database.connect() as connection:
            worker = connection.execute(sa.select(RUNS.c.worker).where(RUNS.c.run_id == run_id)).scalar()
        return worker == self.worker_id

    def holds_in(self, connection: sa.Connection, run_id: str) -> bool:
        # Whoever takes the run over changes this row, and waits for the lock until this transaction has ended.
        query = sa.select(RUNS.c.worker).where(RUNS.c.run_id == run_id).with_for_update()
        return connection.execute(query).scalar() == self.worker_id

    def mine(self) -> dict[str, str]:
        return {"worker": self.worker_id}

    def holder(self, run_id: str) -> str:
        query = (
            sa.select(WORKERS.c.name)
            .join(RUNS, RUNS.c.worker == WORKERS.c.worker_id)
            .where(RUNS.c.run_id == run_id, WORKERS.c.expires_at > database_now())
        )
        with self._database.connect() as connection:
            name = connection.execute(query).scalar()
        return f"worker {name}" if name else ""

    def left_behind(self, project: str, queues: Sequence[str]) -> list[str]:
        dead = (*_running(project, queues), RUNS.c.worker != self.worker_id, RUNS.c.worker.not_in(_alive()))
        with self._database.connect() as connection:
            return list(connection.execute(sa.select(RUNS.c.run_id).where(*dead).order_by(RUNS.c.created_at)).scalars())


def _running(project: str, queues: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    where = [RUNS.c.state == "running", RUNS.c.project == project]
    return [*where, RUNS.c.queue.in_(queues)] if queues else where


def _alive() -> sa.Select[Any]:
    return sa.select(WORKERS.c.worker_id).where(WORKERS.c.expires_at > database_now())


def database_now() -> sa.ColumnElement[float]:
    """Return the database's own clock, in seconds since 1970; PostgreSQL only."""
    return sa.extract("epoch", sa.func.clock_timestamp()).cast(sa.Float(53))
