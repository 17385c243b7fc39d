"""The narrow seam to DBOS Transact: launch, workflows, steps, resuming, reading. Nothing else of Muster knows DBOS.

Private uses, all under contract tests: pickles are refused on reading; values are stored and read through
`sealing.py`; `engine_sqlite.py`; `engine_owner.py` and the
way in which DBOS's own queue executes a workflow that it has claimed.
"""

import concurrent.futures
import contextvars
import json
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, SetWorkflowID
from dbos._core import execute_dequeued_workflow
from dbos._dbos import _get_dbos_instance as _dbos  # pyright: ignore[reportPrivateUsage]
from dbos._error import DBOSWorkflowCancelledError, DBOSWorkflowConflictIDError
from dbos._serialization import DefaultSerializer

from project.errors import Stop
from runs.governed.redaction import redactor_of
from runs.stored.engine_owner import set_aside, take
from runs.stored.engine_sqlite import use_plain_sql
from runs.stored.journal import Cleaned
from runs.stored.rows import Recorded, StepRow
from runs.stored.sealing import is_sealed, open_text, seal_text

_R = TypeVar("_R")

Owned = Callable[[sa.Connection], bool]
"""Says whether the run is this process's, and locks its row, so that this stays so until the transaction ends."""

JOURNAL_FORMAT = "2"
"""Version of names, order and shape of steps. Only runs of the same format are executed."""

_APP = "muster"
_as_json = DBOSPortableJSONSerializer.serialize
_RECORD_POLL_SECONDS = 0.005
_ACTIVE = ("PENDING", "ENQUEUED", "DELAYED")


def workflow(name: str) -> Callable[[Callable[..., _R]], Callable[..., _R]]:
    """Register a durable function under `name`; its arguments and result are JSON."""
    return DBOS.workflow(name=name, max_recovery_attempts=None)


def step(name: str, body: Callable[[], _R]) -> _R:
    """Run `body` once and journal its JSON result under `name`, without secrets; on replay return what was journaled.

    What `body` raises is raised and not journaled, so the step is made again when the run goes on. Errors that are to
    be kept are returned as data.
    """

    def run() -> _R:
        try:
            return _without_secrets(body())
        except Exception as error:
            raise _Carried(error) from error

    try:
        return DBOS.run_step({"name": name}, run)
    except _Carried as carried:
        raise carried.error from None


def _without_secrets(value: _R) -> _R:
    # The one way into the journal: what a run goes on with is what stands there.
    if isinstance(value, Cleaned):
        return value
    return redactor_of((DBOS.workflow_id or "").partition(".")[0]).value(value)


class _Carried(Stop):
    """Carries an Exception past DBOS, which would journal it: a full disk would fail the run for ever."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def start_child(function: Callable[..., Any], workflow_id: str, *arguments: Any) -> Any:
    """Start `function` under `workflow_id`; called from a workflow, as its child and one of its steps."""
    with SetWorkflowID(workflow_id):
        return DBOS.start_workflow(function, *arguments)


def await_recorded(handle: Any) -> None:
    """Wait until the outcome of a child whose function has returned is written down. No step."""
    future: Future[Any] | None = getattr(handle, "future", None)
    if future is not None:
        concurrent.futures.wait([future])
        return
    while (found := find(handle.get_workflow_id())) is not None and active(found):
        time.sleep(_RECORD_POLL_SECONDS)


def find(workflow_id: str) -> Recorded | None:
    """Return a workflow as stored, or None. No step, wherever it is called."""
    # In an empty context: inside a workflow DBOS would make the look-up one of its steps.
    status = contextvars.Context().run(DBOS.get_workflow_status, workflow_id)
    return _recorded(status) if status is not None else None


def steps_of(workflow_id: str) -> list[StepRow]:
    """Return what a workflow and its children have journaled. No step, wherever it is called."""
    return contextvars.Context().run(_steps_of, workflow_id)


def _steps_of(workflow_id: str) -> list[StepRow]:
    found = DBOS.list_workflows(workflow_id_prefix=workflow_id, load_input=False, load_output=False)
    ids = sorted(item.workflow_id for item in found if _belongs(item.workflow_id, workflow_id))
    return [row for one in ids for row in _step_rows(one, DBOS.list_workflow_steps(one))]


def is_lost(error: BaseException) -> bool:
    """Say whether DBOS refuses this execution: the workflow was set aside, or another process has taken it over."""
    return isinstance(error, DBOSWorkflowCancelledError | DBOSWorkflowConflictIDError)


def _refuse_pickles() -> None:
    # DBOS unpickles any row marked so, even when it only lists: whoever can write the file could run code.
    def refuse(self: Any, serialized_data: str) -> Any:
        raise ValueError("the journal holds a pickled value, which Muster never writes and does not read")

    DefaultSerializer.deserialize = refuse  # type: ignore[method-assign]


def _seal() -> None:
    """Have DBOS store and read values through runs/stored/sealing.py: plain JSON where there is no key."""

    def serialize(self: Any, value: Any) -> str:
        return seal_text(_as_json(self, value))

    def deserialize(self: Any, text: str | None) -> Any:
        return None if text is None else json.loads(open_text(text))

    DBOSPortableJSONSerializer.serialize = serialize  # type: ignore[method-assign]
    DBOSPortableJSONSerializer.deserialize = deserialize  # type: ignore[method-assign]


def _stop_polling(dbos: Any) -> None:
    # Its queues, delays, schedules and notifications are not used; asking for them costs 2 % of a core, for ever.
    for event in (*dbos.background_thread_stop_events, dbos._background_jobs_stop_event):
        event.set()
    dbos._sys_db._run_background_processes = False


class Engine:
    """DBOS in this process. One at a time; `close` before another is launched."""

    def __init__(self, database: sa.Engine) -> None:
        self.database = database
        self.executor_id = f"p{uuid.uuid4().hex[:16]}"
        self._handles: dict[str, Any] = {}

    def launch(self) -> None:
        """Start DBOS. It executes only what this process starts or resumes."""
        _refuse_pickles()
        _seal()
        use_plain_sql()
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        DBOS(
            config={
                "name": _APP,
                "system_database_url": _address(self.database),
                "system_database_engine": self.database,
                "serializer": DBOSPortableJSONSerializer(),
                "executor_id": self.executor_id,
                "application_version": JOURNAL_FORMAT,
                "log_level": "CRITICAL",
                "console_log_level": "CRITICAL",
                "enable_otlp": False,
                "use_listen_notify": False,
                "scheduler_polling_interval_sec": 3600.0,
                # Its thread sleeps so long before it sees that DBOS is closed; nobody waits for notifications here.
                "notification_listener_polling_interval_sec": 0.05,
            }
        )
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        DBOS.listen_queues([])
        DBOS.launch()
        _stop_polling(_dbos())

    def close(self) -> None:
        """Stop DBOS. What still runs here stays unfinished in the journal."""
        DBOS.destroy(workflow_completion_timeout_sec=0)
        self.database.dispose()

    def start(self, function: Callable[..., Any], workflow_id: str, *arguments: Any) -> None:
        """Start `function` under `workflow_id`."""
        self._handles[workflow_id] = start_child(function, workflow_id, *arguments)

    def result(self, workflow_id: str) -> Any:
        """Wait until the outcome of a workflow whose function has returned is written down; return its result.

        One that was finished before this process is read from the journal.
        """
        handle = self._handles.pop(workflow_id, None)
        if handle is not None:
            return handle.get_result(polling_interval_sec=0.01)
        found = find(workflow_id)
        if found is None or found.status != "SUCCESS":
            raise KeyError(workflow_id)
        return found.output

    def resume(self, run_id: str, owned: Owned) -> list[str] | None:
        """Take the run's unfinished workflows, whoever had them, and execute them here, from their journals.

        Returns their ids; None, and nothing is changed, when `owned` says that the run is another process's. It is
        asked in the transaction of the change.
        """
        system, token = self._system, uuid.uuid4().hex
        with system.engine.begin() as connection:
            if not owned(connection):
                return None
            ids = take(
                connection,
                system.tables.workflow_status,
                run_id,
                executor_id=self.executor_id,
                version=JOURNAL_FORMAT,
                token=token,
            )
        for status in sorted(system.get_workflow_statuses(ids), key=lambda status: status["workflow_uuid"]):
            handle = contextvars.Context().run(execute_dequeued_workflow, _dbos(), status, token)
            if status["workflow_uuid"] == run_id:
                self._handles[run_id] = handle
        return ids

    def park(self, run_id: str) -> None:
        """Set the run's workflows aside that are executed here: they go on only when they are resumed."""
        with self._system.engine.begin() as connection:
            set_aside(connection, self._system.tables.workflow_status, run_id, self.executor_id)

    def is_here(self, run_id: str) -> bool:
        """Say whether the run's workflow is this process's to execute."""
        found = find(run_id)
        return found is not None and found.executor == self.executor_id

    @property
    def _system(self) -> Any:
        return _dbos()._sys_db  # pyright: ignore[reportPrivateUsage]

    def find(self, workflow_id: str) -> Recorded | None:
        """Return the workflow as stored, or None."""
        return find(workflow_id)

    def family(self, run_id: str) -> list[Recorded]:
        """Return the run's workflow and its tasks', with their outputs."""
        found = DBOS.list_workflows(workflow_id_prefix=run_id, load_input=False)
        return [_recorded(item) for item in found if _belongs(item.workflow_id, run_id)]

    def steps(self, workflow_id: str) -> list[StepRow]:
        """Return what the workflow has journaled so far."""
        return _step_rows(workflow_id, DBOS.list_workflow_steps(workflow_id))


class Reader:
    """Reads the journal without taking part: nothing is launched, recovered or polled."""

    def __init__(self, database: sa.Engine) -> None:
        _refuse_pickles()
        _seal()
        logging.getLogger("dbos").setLevel(logging.CRITICAL)
        self.database = database
        self._client = DBOSClient(
            system_database_url=_address(database),
            system_database_engine=self.database,
            serializer=DBOSPortableJSONSerializer(),
        )

    def close(self) -> None:
        self._client.destroy()
        self.database.dispose()

    def find(self, workflow_id: str) -> Recorded | None:
        found = self._client.list_workflows(workflow_ids=[workflow_id], load_input=False)
        return _recorded(found[0]) if found else None

    def family(self, run_id: str) -> list[Recorded]:
        """Return the run's workflow and its tasks', with their outputs."""
        found = self._client.list_workflows(workflow_id_prefix=run_id, load_input=False)
        return [_recorded(item) for item in found if _belongs(item.workflow_id, run_id)]

    def steps(self, workflow_id: str) -> list[StepRow]:
        return _step_rows(workflow_id, self._client.list_workflow_steps(workflow_id))


def _address(database: sa.Engine) -> str:
    return database.url.set(drivername=database.dialect.name).render_as_string(hide_password=False)


def active(record: Recorded) -> bool:
    """Say whether the workflow would go on if its process lived."""
    return record.status in _ACTIVE


def unfinished(record: Recorded) -> bool:
    """Say whether the workflow has no outcome yet: under way, interrupted or parked."""
    return record.status in (*_ACTIVE, "CANCELLED")


def _belongs(workflow_id: str, run_id: str) -> bool:
    return workflow_id == run_id or workflow_id.startswith(f"{run_id}.")


def _recorded(item: Any) -> Recorded:
    return Recorded(
        id=item.workflow_id,
        status=item.status,
        output=_opened(item.output),
        error=str(item.error) if item.error is not None else "",
        executor=item.executor_id or "",
        created_at=(item.created_at or 0) / 1000,
        updated_at=(item.updated_at or 0) / 1000,
    )


def _opened(value: Any) -> Any:
    # What DBOS cannot read when it lists, it gives as the text that is stored. Raises: AppError for a sealed one.
    return json.loads(open_text(value)) if is_sealed(value) else value


def _step_rows(workflow_id: str, found: Sequence[Any]) -> list[StepRow]:
    def seconds(value: int | None) -> float | None:
        return value / 1000 if value is not None else None

    return [
        StepRow(
            workflow_id,
            row["function_id"],
            row["function_name"],
            _opened(row["output"]),
            row["child_workflow_id"],
            seconds(row.get("started_at_epoch_ms")),
            seconds(row.get("completed_at_epoch_ms")),
        )
        for row in found
    ]
