"""The lease of this process: renewed by a thread while it lives; who stops renewing it loses its runs to others."""

import contextlib
import os
import socket
import threading
import time

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

import muster
from runs.executing.owners import database_now
from runs.stored.tables import WORKERS

_FORGOTTEN_SECONDS = 86_400.0
_TRY_AGAIN_SECONDS = 1.0


class Lease:
    """One worker's row in PostgreSQL, renewed every quarter of its time."""

    def __init__(self, database: sa.Engine, worker_id: str, seconds: float, name: str = "") -> None:
        self._database, self._worker_id, self._seconds = database, worker_id, seconds
        self._name = name or f"{socket.gethostname()} ({os.getpid()})"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="muster-lease")
        self._renewed_at = -float("inf")
        self._unbroken_since = float("inf")

    def start(self) -> None:
        """Take the lease; it is renewed until `stop`."""
        self._renew()
        self._thread.start()

    def stop(self) -> None:
        """Give the lease back: this process executes nothing any more."""
        self._ended.set()
        with contextlib.suppress(SQLAlchemyError), self._database.begin() as connection:  # it will expire then
            connection.execute(WORKERS.delete().where(WORKERS.c.worker_id == self._worker_id))

    def may_judge(self) -> bool:
        """Say whether this process may call another one dead.

        Not when it has just lost sight of the database itself, or was stopped: where the database was gone for all, the
        leases of the living have expired, too, and they get the time to renew them.
        """
        now = time.monotonic()
        return now - self._renewed_at < self._seconds and now - self._unbroken_since >= self._seconds / 4

    def _keep(self) -> None:
        wait = self._seconds / 4
        while not self._ended.wait(wait):
            try:
                self._renew()
                wait = self._seconds / 4
            except SQLAlchemyError:  # the database is gone for a while
                self._unbroken_since = float("inf")
                wait = min(_TRY_AGAIN_SECONDS, self._seconds / 4)

    def _renew(self) -> None:
        expires = database_now() + self._seconds
        values = {
            "worker_id": self._worker_id,
            "name": self._name,
            "started_at": time.time(),
            "expires_at": expires,
            "lease_seconds": self._seconds,
            "version": muster.__version__,
        }
        statement = insert(WORKERS).values(values)
        with self._database.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["worker_id"], set_={"expires_at": expires})
            )
            connection.execute(WORKERS.delete().where(WORKERS.c.expires_at < database_now() - _FORGOTTEN_SECONDS))
        now = time.monotonic()
        if self._unbroken_since == float("inf") or now - self._renewed_at > self._seconds / 2:
            self._unbroken_since = now
        self._renewed_at = now
