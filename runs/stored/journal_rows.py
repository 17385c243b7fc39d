"""The journal row by row, beside DBOS: workflows of a run are copied under another id, closed, counted and deleted.

DBOS's tables are read from the database itself (reflection), so that its own names and columns count.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa

from project.errors import AppError
from runs.stored.database import is_sqlite
from runs.stored.journal import unpack
from runs.stored.rows import Recorded, StepRow
from runs.stored.sealing import open_text, to_json

OPERATOR = "operator"
"""Who gave the output of a task that `muster runs set` closed; last part of the name of the step that says so."""

_BELONGS = {"workflow_uuid": "", "destination_uuid": ""}
"""Columns by which a row hangs on a workflow."""
_SOME = 400
"""So many ids, at most, in one statement: SQLite counts the terms of an expression."""
_NOBODYS = ("owner_xid", "queue_name", "deduplication_id", "forked_from", "workflow_deadline_epoch_ms")
_WHOLE_ROW: sa.ColumnElement[Any] = sa.literal_column("whole")
"""A row of the table that is called so in the query, as one value."""
_PORTABLE = "portable_json"

Row = dict[str, Any]


@dataclass(frozen=True)
class Taken:
    """A workflow to be copied: whole, or, where `before` is given, left open with only its steps below that number."""

    workflow_id: str
    before: int | None = None


class JournalRows:
    """DBOS's tables in one database. `there` is False before anything was ever executed."""

    def __init__(self, database: sa.Engine) -> None:
        self.database = database
        self._sqlite = is_sqlite(database)
        schema = None if self._sqlite else "dbos"
        meta = sa.MetaData()
        meta.reflect(bind=database, schema=schema, resolve_fks=False)
        self._tables = {table.name: table for table in meta.tables.values()}
        self.there = "workflow_status" in self._tables

    # -- reading

    def family(self, run_id: str) -> list[Recorded]:
        """Return the workflows of a run, sorted, with their outputs."""
        status, output = self._tables["workflow_status"], self._tables["workflow_output"]
        query = sa.select(status, output.c.output.label("result"), output.c.error.label("wrong"))
        query = query.select_from(status.outerjoin(output, output.c.workflow_uuid == status.c.workflow_uuid)).where(
            self._of_runs(status.c.workflow_uuid, [run_id])
        )
        with self.database.connect() as connection:
            rows = [cast(Row, dict(row)) for row in connection.execute(query).mappings()]
        return sorted((_recorded(row) for row in rows), key=lambda found: found.id)

    def steps(self, workflow_id: str) -> list[StepRow]:
        """Return the steps of a workflow by their numbers."""
        table = self._tables["operation_outputs"]
        query = sa.select(table).where(table.c.workflow_uuid == workflow_id).order_by(table.c.function_id)
        with self.database.connect() as connection:
            return [_step(cast(Row, dict(row))) for row in connection.execute(query).mappings()]

    def lanes_as_stored(self, connection: sa.Connection, run_ids: Sequence[str]) -> Iterator[Row]:
        """Yield the workflows of these runs with `inputs`, `result` and `wrong` as their texts stand, by their ids."""
        status, given, output = (self._tables[f"workflow_{name}"] for name in ("status", "input", "output"))
        mine = status.c.workflow_uuid
        joined = status.outerjoin(given, given.c.workflow_uuid == mine).outerjoin(
            output, output.c.workflow_uuid == mine
        )
        keys = ("workflow_uuid", "status", "name", "parent_workflow_id", "created_at", "serialization")
        columns = [*(status.c[key] for key in keys), given.c.inputs.label("given")]
        columns += [output.c.output.label("result"), output.c.error.label("wrong")]
        for some in _in_parts(run_ids):
            query = sa.select(*columns).select_from(joined).where(self._of_runs(mine, some)).order_by(mine)
            yield from (cast(Row, dict(row)) for row in connection.execute(query).mappings())

    def steps_as_stored(self, connection: sa.Connection, run_ids: Sequence[str]) -> Iterator[Row]:
        """Yield the steps of these runs as their rows stand, by workflow and number."""
        table = self._tables["operation_outputs"]
        for some in _in_parts(run_ids):
            query = sa.select(table).where(self._of_runs(table.c.workflow_uuid, some))
            query = query.order_by(table.c.workflow_uuid, table.c.function_id)
            yield from (cast(Row, dict(row)) for row in connection.execute(query).mappings())

    def result_text(self, workflow_id: str) -> str | None:
        """Return the result of a workflow as the text that was journaled."""
        table = self._tables["workflow_output"]
        with self.database.connect() as connection:
            query = sa.select(table.c.output).where(table.c.workflow_uuid == workflow_id)
            text = connection.execute(query).scalar()
        return None if text is None else open_text(text)

    def work(self, workflow_id: str, folder: Path) -> dict[str, Any]:
        """Return the work that a task's workflow was given; {} where there is none."""
        table = self._tables["workflow_input"]
        with self.database.connect() as connection:
            text = connection.execute(sa.select(table.c.inputs).where(table.c.workflow_uuid == workflow_id)).scalar()
        arguments: list[Any] = json.loads(open_text(text))["positionalArgs"] if text else []
        return unpack(cast(dict[str, Any], arguments[2]), folder) if len(arguments) > 2 else {}

    # -- copying

    def copy_to(
        self,
        target: "JournalRows",
        connection: sa.Connection,
        taken: Sequence[Taken],
        old: str,
        new: str,
        reading: sa.Connection | None = None,
    ) -> int:
        """Put these workflows of run `old` into the journal behind `connection` as those of `new`; count their steps.

        Steps that only start another workflow are not counted. `reading` is the connection to read by, where it is
        not that of `target`.
        """
        counted = 0
        whole = {one.workflow_id: one.before for one in taken}
        for name in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs"):
            for rows in self._rows_of(reading or connection, name, list(whole)):
                kept = [row for row in rows if _is_kept(name, row, whole[row["workflow_uuid"]])]
                counted += sum(name == "operation_outputs" and row["child_workflow_id"] is None for row in kept)
                target.insert(
                    connection, name, [_as_copy(name, row, whole[row["workflow_uuid"]], old, new) for row in kept]
                )
        return counted

    def _rows_of(self, connection: sa.Connection, name: str, ids: Sequence[str]) -> Iterator[list[Row]]:
        table = self._tables[name]
        order = [table.c[key] for key in ("workflow_uuid", "function_id") if key in table.c]
        for some in _in_parts(ids):
            query = sa.select(table).where(table.c.workflow_uuid.in_(some)).order_by(*order)
            yield [cast(Row, dict(row)) for row in connection.execute(query).mappings()]

    def insert(self, connection: sa.Connection, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Put rows into one of DBOS's tables."""
        if rows:
            table = self._tables[name]
            connection.execute(table.insert(), [{key: row[key] for key in row if key in table.c} for row in rows])

    # -- closing

    def close(self, connection: sa.Connection, workflow_id: str, parent: str, result: Mapping[str, Any]) -> None:
        """Write down a task's workflow as done with this result, whether it was ever started or not."""
        status, output = self._tables["workflow_status"], self._tables["workflow_output"]
        now = int(time.time() * 1000)
        done = {"status": "SUCCESS", "updated_at": now, "completed_at": now, "owner_xid": None, "queue_name": None}
        here = status.c.workflow_uuid == workflow_id
        if not connection.execute(status.update().where(here).values(done)).rowcount:
            new = self._blank(connection, parent) | {"workflow_uuid": workflow_id, "name": "muster.task"}
            new |= {"parent_workflow_id": parent, "created_at": now, "creator_xid": str(uuid.uuid4()), **done}
            self.insert(connection, "workflow_status", [new])
            path = workflow_id.partition(".")[2]
            arguments: dict[str, Any] = {
                "namedArgs": {},
                "positionalArgs": [parent.partition(".")[0], path, {"outputs": {}}],
            }
            given = {"workflow_uuid": workflow_id, "inputs": _written(arguments), "retention_timestamp": now}
            self.insert(connection, "workflow_input", [given])
        connection.execute(output.delete().where(output.c.workflow_uuid == workflow_id))
        row = {"workflow_uuid": workflow_id, "output": _written(result), "error": None, "retention_timestamp": now}
        self.insert(connection, "workflow_output", [row])

    def _blank(self, connection: sa.Connection, parent: str) -> Row:
        """Return the row of a workflow as DBOS fills it, without what is this one's own."""
        status = self._tables["workflow_status"]
        run_id = parent.partition(".")[0]
        any_of_run = sa.select(status).where(self._of_runs(status.c.workflow_uuid, [run_id])).limit(1)
        found = connection.execute(any_of_run).mappings().first()
        if found is not None:
            return cast(Row, dict(found)) | dict.fromkeys(_NOBODYS)
        raise AppError(f"run {run_id} was not executed yet", fix=f"`muster runs resume {run_id}` starts it")

    def add_step(self, connection: sa.Connection, workflow_id: str, name: str, record: Mapping[str, Any]) -> None:
        """Journal a step at the end of a workflow that nobody executes."""
        table = self._tables["operation_outputs"]
        last = connection.execute(
            sa.select(sa.func.max(table.c.function_id)).where(table.c.workflow_uuid == workflow_id)
        ).scalar()
        now = int(time.time() * 1000)
        row = {
            "workflow_uuid": workflow_id,
            "function_id": (last or 0) + 1,
            "function_name": name,
            "output": _written(record),
            "error": None,
            "child_workflow_id": None,
            "started_at_epoch_ms": now,
            "completed_at_epoch_ms": now,
            "serialization": _PORTABLE,
            "retention_timestamp": now,
        }
        self.insert(connection, "operation_outputs", [row])

    # -- deleting and measuring

    def delete(self, connection: sa.Connection, run_ids: Sequence[str]) -> None:
        """Delete all that DBOS keeps of these runs."""
        for table in self._tables.values():
            for column in (table.c[key] for key in _BELONGS if key in table.c):
                for some in _in_parts(run_ids):
                    connection.execute(table.delete().where(self._of_runs(column, some)))

    def sizes(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Return roughly how many bytes of the journal each of these runs takes."""
        found = dict.fromkeys(run_ids, 0)
        for name, column in (
            ("operation_outputs", "output"),
            ("workflow_output", "output"),
            ("workflow_input", "inputs"),
        ):
            table = self._tables[name]
            lengths = sa.select(table.c.workflow_uuid, sa.func.sum(sa.func.length(table.c[column]) + 200))
            with self.database.connect() as connection:
                for workflow_id, length in connection.execute(lengths.group_by(table.c.workflow_uuid)):
                    run_id = str(workflow_id).partition(".")[0]
                    if run_id in found:
                        found[run_id] += int(length or 0)
        return found

    def filled_bytes(self, *more: sa.Table) -> int:
        """Return what the rows of DBOS's tables of runs, and of `more`, take; on PostgreSQL only."""
        named = ("workflow_status", "workflow_input", "workflow_output", "operation_outputs")
        total = 0
        with self.database.connect() as connection:
            for table in [*(self._tables[name] for name in named if name in self._tables), *more]:
                size = sa.func.sum(sa.func.pg_column_size(_WHOLE_ROW))
                query = sa.select(sa.func.coalesce(size, 0)).select_from(table.alias("whole"))
                total += int(connection.execute(query).scalar() or 0)
        return total

    def _of_runs(self, column: sa.ColumnElement[Any], run_ids: Sequence[str]) -> sa.ColumnElement[bool]:
        """Match the workflows of these runs. A run's id has no dot; ids below it begin with it and a dot."""
        if not self._sqlite:
            return sa.func.split_part(column, ".", 1).in_(run_ids)
        # SQLite compares bytes, and `/` follows `.`: a range, so that the index is used.
        below = [sa.and_(column > f"{run_id}.", column < f"{run_id}/") for run_id in run_ids]
        return sa.or_(column.in_(run_ids), *below)


def _in_parts(ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _SOME):
        yield list(ids[start : start + _SOME])


def _is_kept(table: str, row: Row, before: int | None) -> bool:
    if before is None:
        return True
    return table != "workflow_output" and (table != "operation_outputs" or row["function_id"] < before)


def _as_copy(table: str, row: Row, before: int | None, old: str, new: str) -> Row:
    """Return the row as that of another run: its ids renamed, nobody's, and open where it is cut."""
    copy = dict(row)
    for key in ("workflow_uuid", "child_workflow_id", "parent_workflow_id"):
        if key in copy:
            copy[key] = _renamed(copy[key], old, new)
    if table == "workflow_input" and copy["inputs"]:
        copy["inputs"] = _renamed_input(copy["inputs"], old, new)
    if table == "workflow_status":
        copy |= dict.fromkeys(key for key in _NOBODYS if key in copy)
        copy["creator_xid"] = str(uuid.uuid4())
        if before is not None:
            copy |= {"status": "CANCELLED", "completed_at": None}
    return copy


def _renamed(value: str | None, old: str, new: str) -> str | None:
    if value is None or not (value == old or value.startswith(f"{old}.")):
        return value
    return new + value[len(old) :]


def _renamed_input(text: str, old: str, new: str) -> str:
    """Rename the run in the arguments of a workflow: the first one is its id. Texts of tasks stay as they are."""
    found: dict[str, Any] = json.loads(open_text(text))
    arguments = cast(list[Any], found["positionalArgs"])
    return _written(found | {"positionalArgs": [_renamed(arguments[0], old, new), *arguments[1:]]})


def _written(value: Any) -> str:
    return to_json(value)


def read_stored(text: str | None, serialization: str | None) -> Any:
    """Return a value of the journal from its text as stored. Raises: ValueError, AppError."""
    return _read(text, serialization)


def _read(text: str | None, serialization: str | None) -> Any:
    if text is None:
        return None
    if serialization not in (None, _PORTABLE):
        raise AppError("the journal holds a value that Muster did not write")
    return json.loads(open_text(text))


def _recorded(row: Row) -> Recorded:
    return Recorded(
        id=row["workflow_uuid"],
        status=row["status"],
        output=_read(row["result"], row["serialization"]) if row["status"] == "SUCCESS" else None,
        error=str(row["wrong"] or ""),
        executor=row["executor_id"] or "",
        created_at=(row["created_at"] or 0) / 1000,
        updated_at=(row["updated_at"] or 0) / 1000,
    )


def _step(row: Row) -> StepRow:
    def seconds(value: int | None) -> float | None:
        return value / 1000 if value is not None else None

    return StepRow(
        row["workflow_uuid"],
        row["function_id"],
        row["function_name"],
        _read(row["output"], row["serialization"]),
        row["child_workflow_id"],
        seconds(row["started_at_epoch_ms"]),
        seconds(row["completed_at_epoch_ms"]),
    )
