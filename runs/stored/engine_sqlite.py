"""What stands in for DBOS's own statements: plain SQL on SQLite; on PostgreSQL one look more before each step.

DBOS builds its statements for every step and task as trees of objects and compiles them anew: a third of a run's CPU,
under one interpreter lock with all other runs (benchmarks/throughput.py). Ours say the same, or are its own and built
once; tests/contracts compares the rows they leave.
"""

import sqlite3
import time
from typing import Any

import sqlalchemy as sa
from dbos._context import current_owner_xid
from dbos._error import DBOSStepNondeterminismError, DBOSWorkflowConflictIDError
from dbos._sys_db import SystemDatabase

_STEP_IS_NEW = """
    select s.status, o.function_id from workflow_status s
    left join operation_outputs o on o.workflow_uuid = s.workflow_uuid and o.function_id = ?
    where s.workflow_uuid = ?"""
# A write, so that the transaction takes the lock here and nobody else can take the workflow before the step is in.
_OWNER = "update workflow_status set owner_xid = owner_xid where workflow_uuid = ? returning owner_xid"
_RECORD = """
    insert into operation_outputs (workflow_uuid, function_id, function_name, started_at_epoch_ms,
        completed_at_epoch_ms, output, error, child_workflow_id, serialization, application_name, retention_timestamp)
    values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    on conflict (workflow_uuid, function_id)
    do update set completed_at_epoch_ms = operation_outputs.completed_at_epoch_ms
    returning completed_at_epoch_ms"""
_FINISH = """
    update workflow_status set status = ?, deduplication_id = null, owner_xid = null, updated_at = ?, completed_at = ?
    where workflow_uuid = ? and status = 'PENDING' and (? is null or owner_xid = ?)"""
_OUTPUT = """
    insert into workflow_output (workflow_uuid, output, error) values (?, ?, ?)
    on conflict (workflow_uuid) do update set output = excluded.output, error = excluded.error"""


def use_plain_sql() -> None:
    """Put the plain statements in place of DBOS's, for SQLite. Safe to call again."""
    if getattr(SystemDatabase, "muster_plain_sql", False):
        return
    kind: Any = SystemDatabase
    look_up, record, finish, check_owner, execute = (
        kind._check_operation_execution_txn,
        kind._record_operation_result_txn,
        kind._update_workflow_outcome_in_transaction,
        kind._check_owner_txn,
        kind._execute_prepared,
    )

    def look_up_plainly(self: Any, workflow_id: str, function_id: int, function_name: str, conn: Any) -> Any:
        raw = _sqlite(conn)
        if raw is not None:
            row = raw.execute(_STEP_IS_NEW, (function_id, workflow_id)).fetchone()
            if row is not None and row[0] != "CANCELLED" and row[1] is None:
                return None
        found = look_up(self, workflow_id, function_id, function_name, conn)
        if found is None and raw is None:
            _refuse_the_lost(self, workflow_id, conn)
        return found

    def record_plainly(self: Any, result: Any, completed_at_epoch_ms: int, conn: Any, **more: Any) -> None:
        raw = _sqlite(conn)
        if raw is None or self.sharded:
            return record(self, result, completed_at_epoch_ms, conn, **more)
        return _record(raw, result, completed_at_epoch_ms, more.get("owner_xid"), self.app_name)

    def finish_plainly(self: Any, workflow_id: str, status: str, *, output: Any, error: Any, owner_xid: Any) -> bool:
        if not self._is_sqlite or self.sharded:
            return finish(self, workflow_id, status, output=output, error=error, owner_xid=owner_xid)
        now = _now_ms()
        with self.engine.begin() as conn:
            raw = conn.connection.dbapi_connection
            if not raw.execute(_FINISH, (status, now, now, workflow_id, owner_xid, owner_xid)).rowcount:
                return False
            raw.execute(_OUTPUT, (workflow_id, output, error))
        return True

    def check_owner_plainly(self: Any, conn: Any, workflow_id: str, owner_xid: str) -> None:
        raw = _sqlite(conn)
        if raw is None or self.sharded:
            return check_owner(self, conn, workflow_id, owner_xid)
        return _refuse_others(raw, workflow_id, owner_xid)

    def execute_once_built(self: Any, conn: Any, name: str, values: Any, build: Any, **more: Any) -> Any:
        if not self._is_sqlite:
            return execute(self, conn, name, values, build, **more)
        key = (name, tuple(values))
        statement = self._prepared_statements.get(key)
        if statement is None:
            statement = self._prepared_statements[key] = build()
        return conn.execute(statement, values)

    kind._check_operation_execution_txn = look_up_plainly
    kind._record_operation_result_txn = record_plainly
    kind._update_workflow_outcome_in_transaction = finish_plainly
    kind._check_owner_txn = check_owner_plainly
    kind._execute_prepared = execute_once_built
    kind.muster_plain_sql = (look_up, record, finish, check_owner, execute)


def _refuse_the_lost(system: Any, workflow_id: str, conn: Any) -> None:
    """Refuse a new step of an execution that lost its workflow, before its call and not only when it is recorded.

    On SQLite the kernel's lock says who executes a run: nobody loses it without dying.
    """
    owner = current_owner_xid(workflow_id)
    statuses = system.tables.workflow_status
    held = conn.execute(sa.select(statuses.c.owner_xid).where(statuses.c.workflow_uuid == workflow_id)).scalar()
    if owner is not None and held != owner:
        raise DBOSWorkflowConflictIDError(workflow_id)


def _refuse_others(raw: sqlite3.Connection, workflow_id: str, owner: str) -> None:
    held = raw.execute(_OWNER, (workflow_id,)).fetchall()
    if not held or held[0][0] != owner:
        raise DBOSWorkflowConflictIDError(workflow_id)


def _record(raw: sqlite3.Connection, result: Any, completed_at_ms: int, owner: str | None, app_name: str) -> None:
    workflow_id = result["workflow_uuid"]
    owner = current_owner_xid(workflow_id) if owner is None else owner
    if owner is not None:
        _refuse_others(raw, workflow_id, owner)
    values = (
        workflow_id,
        result["function_id"],
        result["function_name"],
        result["started_at_epoch_ms"],
        completed_at_ms,
        result["output"],
        result["error"],
        result["child_workflow_id"],
        result["serialization"],
        app_name,
        _now_ms(),
    )
    kept = raw.execute(_RECORD, values).fetchall()
    if kept and kept[0][0] != completed_at_ms:
        raise DBOSStepNondeterminismError(workflow_id, result["function_id"])


def _sqlite(conn: Any) -> sqlite3.Connection | None:
    raw = conn.connection.dbapi_connection
    return raw if isinstance(raw, sqlite3.Connection) else None


def _now_ms() -> int:
    return int(time.time() * 1000)
