"""The SQLite file that holds the journal and the runs."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from project.settings import Settings

# One: threads then wait their turn in the pool, fairly; with more they wait in SQLite, which polls with growing sleeps.
_CONNECTIONS = 1
_WAIT_SECONDS = 120


def database_path(settings: Settings) -> Path:
    """Return the SQLite file that the settings lead to."""
    if settings.database_url:
        return Path(sa.make_url(settings.database_url).database or "muster.db")
    return settings.state_folder / "muster.db"


def open_database(path: Path) -> sa.Engine:
    """Open the SQLite file, owner-only, in WAL mode with full synchronisation."""
    _create_private(path)
    engine = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=sa.QueuePool,
        pool_size=_CONNECTIONS,
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


def _create_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
