"""The database that holds the journal and the runs: an SQLite file in the project, or PostgreSQL by URL."""

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError, TimeoutError

from project.errors import AppError
from project.settings import Settings
from runs.governed import redaction
from runs.stored import sealing

_T = TypeVar("_T")

# One: threads then wait their turn in the pool, fairly; with more they wait in SQLite, which polls with growing sleeps.
_SQLITE_CONNECTIONS = 1
_POSTGRES_CONNECTIONS = 20
_WAIT_SECONDS = 120
_CONNECT_SECONDS = 10
# A process that was stopped in the middle of a transaction holds its locks no longer than this.
_SILENT_SECONDS = 10
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0
_NOT_THE_CONNECTION = ("53", "40001", "40P01")
_OUTAGES = ("08", "53", "57P", "25P03", "25006", "40001", "40P01")
"""SQLSTATEs, or beginnings of them: no connection, no resources, shut down or starting, ended while silent, read-only
since another server is taking over, to be tried again."""


def database_exists(settings: Settings) -> bool:
    """Say whether there may be runs: PostgreSQL is there, a file of SQLite is made by the first run."""
    path = _sqlite_path(settings)
    return path is None or path.exists()


def open_database(settings: Settings) -> sa.Engine:
    """Open the database that the settings lead to; from now on secrets are kept out of it, as the environment says.

    Raises: AppError when PostgreSQL does not answer, or a key of the journal is too short.
    """
    sealing.use(settings.environment)
    redaction.use(settings.environment)
    path = _sqlite_path(settings)
    return open_sqlite(path) if path is not None else _open_postgres(settings.database_url or "")


def open_sqlite(path: Path) -> sa.Engine:
    """Open the SQLite file, owner-only, in WAL mode with full synchronisation."""
    _create_private(path)
    engine = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=sa.QueuePool,
        pool_size=_SQLITE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=_WAIT_SECONDS,
        connect_args={"check_same_thread": False, "cached_statements": 512},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = "IMMEDIATE"
        connection.execute("PRAGMA busy_timeout=60000")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def is_sqlite(database: sa.Engine) -> bool:
    """Say whether the database is a file on this machine."""
    return database.dialect.name == "sqlite"


def _sqlite_path(settings: Settings) -> Path | None:
    if not settings.database_url:
        return settings.state_folder / "muster.db"
    url = sa.make_url(settings.database_url)
    return Path(url.database or "muster.db") if url.get_backend_name() == "sqlite" else None


def _open_postgres(address: str) -> sa.Engine:
    url = sa.make_url(address).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(
        url,
        pool_size=_POSTGRES_CONNECTIONS,
        max_overflow=_POSTGRES_CONNECTIONS,
        pool_timeout=_WAIT_SECONDS,
        pool_pre_ping=True,  # a connection that the server closed meanwhile is replaced, not handed out
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            # A machine that is gone without a word is noticed, and its transactions do not hold locks for ever.
            "tcp_user_timeout": _SILENT_SECONDS * 1000,
            "options": f"-c idle_in_transaction_session_timeout={_SILENT_SECONDS}s",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
        },
    )

    @event.listens_for(engine, "handle_error")
    def note(context: sa.engine.ExceptionContext) -> None:  # pyright: ignore[reportUnusedFunction]
        # DBOS knows an outage by its words, and not all of them; what is marked so it tries again until it succeeds.
        error = context.sqlalchemy_exception
        if error is not None and is_outage(error) and not _state_of(error).startswith(_NOT_THE_CONNECTION):
            context.is_disconnect = True

    try:
        with engine.connect():
            pass
    except OperationalError as error:
        raise _not_there(url, error) from error
    return engine


def _not_there(url: sa.URL, error: OperationalError) -> AppError:
    said = first_line(error)
    fix = "see that the server is up, and that MUSTER_DATABASE_URL names it"
    if any(word in said for word in ("password", "authentication", "role ", "pg_hba")):
        fix = "give user and password in MUSTER_DATABASE_URL: postgresql://USER:PASSWORD@HOST/NAME"
    elif "database" in said and "does not exist" in said:
        fix = f"make it first: createdb {url.database}"
    shown = url.set(drivername="postgresql").render_as_string()
    return AppError(f"the database {shown} does not answer: {said}", fix=fix)


def is_outage(error: BaseException) -> bool:
    """Say whether this is the database being gone or locked for a while: the same statement may succeed later."""
    if isinstance(error, TimeoutError):  # no connection of the pool came free
        return True
    if not isinstance(error, DBAPIError):
        return False
    if state := _state_of(error):
        return state.startswith(_OUTAGES)
    if isinstance(error.orig, sqlite3.Error):
        return "is locked" in str(error.orig)
    return error.connection_invalidated or isinstance(error, OperationalError)


def _state_of(error: BaseException) -> str:
    return str(getattr(getattr(error, "orig", None), "sqlstate", None) or "")


def first_line(error: BaseException) -> str:
    """Return what the database said, in one line."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:200]


class Patience:
    """Tries again what fails while the database is gone; tells once that it is, and once that it is back."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._lock = threading.Lock()
        self._gone_since = 0.0

    def insist(self, body: Callable[[], _T], seconds: float = math.inf) -> _T:
        """Return what `body` returns, which may be called again. Raises: what it raises, an outage after so long."""
        until, pause = time.monotonic() + seconds, _FIRST_PAUSE
        while True:
            try:
                found = body()
            except SQLAlchemyError as error:
                if not is_outage(error) or time.monotonic() + pause > until:
                    raise
                self.gone(error)
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                self.back()
                return found

    def try_now(self, body: Callable[[], _T]) -> _T | None:
        """Return what `body` returns; None while the database is gone."""
        try:
            found = body()
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            self.gone(error)
            return None
        self.back()
        return found

    def gone(self, error: BaseException) -> None:
        with self._lock:
            first, self._gone_since = not self._gone_since, self._gone_since or time.monotonic()
        if first:
            self.tell(f"the database does not answer, trying again: {first_line(error)}")

    def back(self) -> None:
        with self._lock:
            since, self._gone_since = self._gone_since, 0.0
        if since:
            self.tell(f"the database answers again, after {time.monotonic() - since:.0f} s")


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
