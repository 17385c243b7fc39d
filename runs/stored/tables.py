"""Muster's own tables, beside the journal in the same database. DBOS's tables are touched only by `engine*.py`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

META = sa.MetaData()
_LOCK = 0x6D757462  # "mutb": an advisory lock of PostgreSQL, held while tables are made

RUNS = sa.Table(
    "muster_runs",
    META,
    sa.Column("run_id", sa.Text, primary_key=True),
    sa.Column("crew", sa.Text, nullable=False),
    sa.Column("created_at", sa.Float(53), nullable=False),
    sa.Column("plan", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("versions", sa.Text, nullable=False),
    sa.Column("offline", sa.Boolean, nullable=False),
    sa.Column("budget", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Float(53), nullable=False),
    sa.Column("worked_seconds", sa.Float(53), nullable=False),
    sa.Column("segment_started_at", sa.Float(53), nullable=False),
    sa.Column("starts", sa.Integer, nullable=False),
    sa.Column("spent", sa.Text, nullable=False),
    # Since 0.2. New columns have a default: they are added to the tables of older versions.
    sa.Column("project", sa.Text, nullable=False, server_default=""),
    sa.Column("worker", sa.Text, nullable=False, server_default=""),
    sa.Column("wanted", sa.Text, nullable=False, server_default=""),
    sa.Column("queue", sa.Text, nullable=False, server_default="default"),
    sa.Column("max_running", sa.Integer, nullable=False, server_default="0"),
    sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
    sa.Column("queued_at", sa.Float(53), nullable=False, server_default="0"),
    sa.Column("not_before", sa.Float(53), nullable=False, server_default="0"),
    sa.Column("origin", sa.Text, nullable=False, server_default="{}"),
    sa.Column("takeovers", sa.Integer, nullable=False, server_default="0"),
    # What people added to every ceiling that applies to the run, as JSON.
    sa.Column("added", sa.Text, nullable=False, server_default="{}"),
    sa.Index("muster_runs_created", "created_at"),
    sa.Index("muster_runs_state", "state"),
)

QUESTIONS = sa.Table(
    "muster_questions",
    META,
    sa.Column("question_id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("more", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Float(53), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("answered_by", sa.Text, nullable=False),
    sa.Column("answered_at", sa.Float(53), nullable=False),
    sa.Index("muster_questions_state", "state", "asked_at"),
    sa.Index("muster_questions_run", "run_id"),
)

WORKERS = sa.Table(
    "muster_workers",
    META,
    sa.Column("worker_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("started_at", sa.Float(53), nullable=False),
    sa.Column("expires_at", sa.Float(53), nullable=False),
    sa.Column("lease_seconds", sa.Float(53), nullable=False),
    sa.Column("version", sa.Text, nullable=False),
)

FIRINGS = sa.Table(
    "muster_firings",
    META,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("schedule", sa.Text, primary_key=True),
    sa.Column("due_at", sa.Float(53), primary_key=True),
    sa.Column("fired_at", sa.Float(53), nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    # Every tick asks for the open firings, which are few among all that are kept.
    sa.Index("muster_firings_state", "project", "state"),
    sa.Index("muster_firings_run", "run_id"),
)

SCHEDULES = sa.Table(
    "muster_schedules",
    META,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("schedule", sa.Text, primary_key=True),
    sa.Column("known_since", sa.Float(53), nullable=False),
    sa.Column("paused_at", sa.Float(53), nullable=False),
    sa.Column("paused_by", sa.Text, nullable=False),
)

LOOKS = sa.Table(
    "muster_schedule_looks",
    META,
    sa.Column("project", sa.Text, primary_key=True),
    sa.Column("schedule", sa.Text, primary_key=True),
    sa.Column("cron", sa.Text, nullable=False),
    sa.Column("looked_to", sa.Float(53), nullable=False),
)

NOTICES = sa.Table(
    "muster_notices",
    META,
    sa.Column("notice_id", sa.Text, primary_key=True),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("channel", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("made_at", sa.Float(53), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Float(53), nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Index("muster_notices_open", "project", "state", "next_at"),
)

CALLS = sa.Table(
    "muster_calls",
    META,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rate", sa.Text, nullable=False),
    sa.Column("at", sa.Float(53), nullable=False),
    sa.Index("muster_calls_rate", "rate", "at"),
)


# Money is in picodollars (a millionth of a millionth of a dollar), time in microseconds: whole numbers add up exactly.
RESERVATIONS = sa.Table(
    "muster_reservations",
    META,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("call", sa.Text, nullable=False),
    sa.Column("made_at", sa.Float(53), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("totals", sa.Text, nullable=False),
    sa.Column("model_calls", sa.BigInteger, nullable=False),
    sa.Column("tool_calls", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("picodollars", sa.BigInteger, nullable=False),
    sa.Column("microseconds", sa.BigInteger, nullable=False),
    sa.Index("muster_reservations_run", "run_id"),
)

TOTALS = sa.Table(
    "muster_totals",
    META,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("model_calls", sa.BigInteger, nullable=False),
    sa.Column("tool_calls", sa.BigInteger, nullable=False),
    sa.Column("tokens", sa.BigInteger, nullable=False),
    sa.Column("picodollars", sa.BigInteger, nullable=False),
    sa.Column("microseconds", sa.BigInteger, nullable=False),
)

HEADS = sa.Table(
    "muster_heads",
    META,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("run_created_at", sa.Float(53), nullable=False),
    sa.Column("made_at", sa.Float(53), nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("head", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("hmac", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Index("muster_heads_run", "run_id"),
)

TOMBSTONES = sa.Table(
    "muster_tombstones",
    META,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("crew", sa.Text, nullable=False),
    sa.Column("run_created_at", sa.Float(53), nullable=False),
    sa.Column("deleted_at", sa.Float(53), nullable=False),
    sa.Column("deleted_by", sa.Text, nullable=False),
    sa.Column("head", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("mark", sa.Text, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    # What the run had spent of totals of days and months, as JSON.
    sa.Column("share", sa.Text, nullable=False, server_default=""),
    sa.Index("muster_tombstones_run", "run_id"),
)


def make_tables(database: sa.Engine) -> None:
    """Make the tables and indexes that are not there, and add the columns that those of an older version lack.

    Safe when several processes do it at once. Where nothing is lacking it only reads: commands that look at runs do not
    wait for one that writes.
    """
    there = sa.inspect(database)
    if set(META.tables) <= set(there.get_table_names()) and not _missing(there):
        return
    with database.begin() as connection:
        if database.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        META.create_all(connection, checkfirst=True)
        missing = _missing(sa.inspect(connection))
        for column in missing:
            _add(connection, column)
        if any(column.table is RUNS for column in missing):
            _name_projects(connection)


def _missing(there: sa.Inspector) -> list[sa.Column[Any]]:
    lacking: list[sa.Column[Any]] = []
    for table in (RUNS, TOMBSTONES):
        if there.has_table(table.name):
            found = {column["name"] for column in there.get_columns(table.name)}
            lacking += [column for column in table.columns if column.name not in found]
    return lacking


def _name_projects(connection: sa.Connection) -> None:
    runs = sa.select(RUNS.c.run_id, RUNS.c.plan).where(RUNS.c.project == "")
    for run_id, plan in connection.execute(runs).all():
        name = Path(json.loads(plan)["project"]).name
        connection.execute(RUNS.update().where(RUNS.c.run_id == run_id).values(project=name))


def _add(connection: sa.Connection, column: sa.Column[Any]) -> None:
    dialect = connection.dialect
    kind = column.type.compile(dialect)
    default: Any = column.server_default
    value = str(sa.literal(default.arg).compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    statement = f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind} NOT NULL DEFAULT {value}"
    connection.exec_driver_sql(statement)


def insert_new(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Insert a row; False when there is one with its key, over all processes."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    key = next(iter(table.primary_key))
    # The row count of an insert is -1 with psycopg: what came back tells.
    new = insert(table).values(dict(values)).on_conflict_do_nothing().returning(key)
    return connection.execute(new).first() is not None
