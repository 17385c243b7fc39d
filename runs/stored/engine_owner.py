"""Who may execute a run's workflows, in DBOS's own rows: taking them over, and setting them aside.

Both are one guarded statement, so that a process which lost a run without knowing it takes nothing back and cancels
nothing of its new owner's. `tests/contracts/test_dbos.py` pins the columns.
"""

import time
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

_ACTIVE = ("PENDING", "ENQUEUED", "DELAYED")
_UNFINISHED = (*_ACTIVE, "CANCELLED")


def take(
    connection: sa.Connection, statuses: Any, run_id: str, *, executor_id: str, version: str, token: str
) -> list[str]:
    """Make this process the owner of the run's unfinished workflows; return their ids, the run's own first.

    `statuses` is DBOS's table. Every write that DBOS makes for a workflow names its owner's token: from here on whoever
    had the run is refused. A child that such a one was just starting is found by looking again, since its parent is
    locked by then: no more can come.
    """
    taken: set[str] = set()
    while True:
        values = {
            "status": "PENDING",
            "owner_xid": token,
            "executor_id": executor_id,
            "application_version": version,
            "queue_name": None,
            "deduplication_id": None,
            "workflow_deadline_epoch_ms": None,
            "started_at_epoch_ms": _now_ms(),
            "completed_at": None,
            "updated_at": _now_ms(),
        }
        others = sa.or_(statuses.c.owner_xid.is_(None), statuses.c.owner_xid != token)
        where = (*_family(statuses, run_id), statuses.c.status.in_(_UNFINISHED), others)
        change = sa.update(statuses).where(*where).values(values).returning(statuses.c.workflow_uuid)
        found = set(connection.execute(change).scalars())
        if not found - taken:
            return sorted(taken)
        taken |= found


def set_aside(connection: sa.Connection, statuses: Any, run_id: str, executor_id: str) -> None:
    """Cancel the run's workflows that this process has, and no others: they go on only when they are taken again."""
    values = {
        "status": "CANCELLED",
        "owner_xid": None,
        "queue_name": None,
        "deduplication_id": None,
        "started_at_epoch_ms": None,
        "updated_at": _now_ms(),
        "completed_at": _now_ms(),
    }
    mine = (statuses.c.executor_id == executor_id, statuses.c.status.in_(_ACTIVE))
    connection.execute(sa.update(statuses).where(*_family(statuses, run_id), *mine).values(values))


def _family(statuses: Any, run_id: str) -> Sequence[sa.ColumnElement[bool]]:
    prefix = f"{run_id}."
    child = sa.func.substr(statuses.c.workflow_uuid, 1, len(prefix)) == prefix
    return (sa.or_(statuses.c.workflow_uuid == run_id, child),)


def _now_ms() -> int:
    return int(time.time() * 1000)
