"""What Muster leans on in DBOS: public behaviour that it counts on, and its few private uses."""

import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from project.errors import Stop
from runs.stored import engine
from runs.stored.database import open_sqlite
from runs.stored.engine import Engine, Reader, active, unfinished

_told: dict[str, Any] = {}


@engine.workflow("contract.steps")
def _steps(name: str) -> dict[str, Any]:
    first = engine.step("one", lambda: {"n": 1})
    engine.start_child(_child, f"{name}.child", name).get_result()
    return {"sum": first["n"] + engine.step("two", lambda: {"n": 2})["n"]}


@engine.workflow("contract.child")
def _child(name: str) -> dict[str, Any]:
    return engine.step("inner", lambda: {"of": name})


@engine.workflow("contract.looks")
def _looks(name: str) -> dict[str, Any]:
    return {"found": engine.find(name) is not None}


@engine.workflow("contract.stops")
def _stops(name: str) -> dict[str, Any]:
    _told["entered"] = _told.get("entered", 0) + 1
    count = engine.step("counted", _count)
    try:
        if _told.get("stop"):
            raise Stop("now")
        return count
    finally:
        _told["left"].set()


def _count() -> dict[str, Any]:
    _told["counted"] = _told.get("counted", 0) + 1
    return {"n": _told["counted"]}


@engine.workflow("contract.fails")
def _fails(name: str) -> dict[str, Any]:
    try:
        return engine.step("fails", _fail)
    except OSError as error:
        _told["error"] = error
        raise Stop("failed") from error
    finally:
        _told["left"].set()


def _fail() -> dict[str, Any]:
    if _told.get("broken"):
        raise OSError("disk full")
    return {"fine": True}


def _mine(_connection: Any) -> bool:
    return True


@engine.workflow("contract.taken")
def _taken(name: str) -> dict[str, Any]:
    _told["entered"] = _told.get("entered", 0) + 1
    first = _told["entered"] == 1
    engine.step("one", lambda: {"n": 1})
    if first:
        _told["at_gate"].set()
        assert _told["gate"].wait(60)
    try:
        return engine.step("two", _count)
    finally:
        if first:
            _told["left"].set()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Engine]:
    _told.clear()
    _told["left"] = threading.Event()
    made = Engine(open_sqlite(tmp_path / "journal.db"))
    made.launch()
    yield made
    made.close()


def test_steps_and_children_are_listed_with_name_number_output_and_times(running: Engine) -> None:
    running.start(_steps, "w", "w")
    assert running.result("w") == {"sum": 3}
    rows = running.steps("w")
    assert [(row.number, row.name) for row in rows if row.output is not None and "n" in row.output] == [
        (1, "one"),
        (rows[-1].number, "two"),
    ]
    assert [row.child_id for row in rows if row.child_id] == ["w.child"] * sum(bool(row.child_id) for row in rows)
    assert rows[0].output == {"n": 1}
    assert rows[0].started_at is not None
    assert rows[0].completed_at is not None
    assert rows[0].started_at <= rows[0].completed_at
    assert sorted(record.id for record in running.family("w")) == ["w", "w.child"]


def test_a_family_is_no_other_run_whose_id_begins_alike(running: Engine) -> None:
    for name in ("w", "w1"):
        running.start(_steps, name, name)
        running.result(name)
    assert sorted(record.id for record in running.family("w")) == ["w", "w.child"]


def test_a_reader_sees_the_same_without_taking_part(running: Engine, tmp_path: Path) -> None:
    running.start(_steps, "w", "w")
    running.result("w")
    reader = Reader(open_sqlite(tmp_path / "journal.db"))
    try:
        assert reader.steps("w") == running.steps("w")
        assert {record.id for record in reader.family("w")} == {"w", "w.child"}
        assert reader.find("nobody") is None
    finally:
        reader.close()


def test_a_base_exception_leaves_a_workflow_pending_and_a_resume_replays_its_steps(running: Engine) -> None:
    _told["stop"] = True
    running.start(_stops, "w", "w")
    assert _told["left"].wait(60)
    found = running.find("w")
    assert found is not None
    assert active(found)
    running.park("w")
    parked = running.find("w")
    assert parked is not None
    assert parked.status == "CANCELLED"
    assert unfinished(parked)
    _told["stop"] = False
    running.resume("w", _mine)
    assert running.result("w") == {"n": 1}
    assert (_told["entered"], _told["counted"]) == (2, 1)


def test_an_exception_of_a_step_is_raised_as_it_is_and_not_journaled(running: Engine) -> None:
    _told["broken"] = True
    running.start(_fails, "w", "w")
    assert _told["left"].wait(60)
    assert str(_told["error"]) == "disk full"
    assert running.steps("w") == []
    _told["broken"] = False
    running.park("w")
    running.resume("w", _mine)
    assert running.result("w") == {"fine": True}


def test_a_look_up_inside_a_workflow_is_no_step(running: Engine) -> None:
    running.start(_looks, "w", "w")
    assert running.result("w") == {"found": True}
    assert running.steps("w") == []


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_check_operation_execution_txn", ["self", "workflow_id", "function_id", "function_name", "conn"]),
        (
            "_record_operation_result_txn",
            ["self", "result", "completed_at_epoch_ms", "conn", "owner_xid", "child_values"],
        ),
        ("_update_workflow_outcome_in_transaction", ["self", "workflow_id", "status", "output", "error", "owner_xid"]),
        ("_check_owner_txn", ["self", "conn", "workflow_id", "owner_xid"]),
        ("_execute_prepared", ["self", "conn", "name", "values", "build", "insert_columns"]),
    ],
)
def test_a_method_that_plain_sql_stands_in_for_has_its_signature(
    running: Engine, name: str, parameters: list[str]
) -> None:
    from dbos._sys_db import SystemDatabase

    kept = {method.__name__: method for method in SystemDatabase.muster_plain_sql}  # type: ignore[attr-defined]
    assert list(inspect.signature(kept[name]).parameters) == parameters


def test_plain_sql_leaves_the_rows_that_dbos_would(running: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from dbos._sys_db import SystemDatabase

    running.start(_steps, "plain", "plain")
    running.result("plain")
    for method in SystemDatabase.muster_plain_sql:  # type: ignore[attr-defined]
        monkeypatch.setattr(SystemDatabase, method.__name__, method)
    running.start(_steps, "slow", "slow")
    running.result("slow")
    assert _rows(running, "plain") == _rows(running, "slow")


def _rows(running: Engine, workflow_id: str) -> list[tuple[Any, ...]]:
    """Return what is stored of a workflow and its child, without times, tokens and its own name."""
    found: list[tuple[Any, ...]] = []
    with running.database.connect() as connection:
        for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs"):
            query = f"select * from {table} where workflow_uuid in (?, ?) order by workflow_uuid, 2"
            rows = connection.exec_driver_sql(query, (workflow_id, f"{workflow_id}.child")).mappings()
            found += [
                tuple(
                    (
                        key,
                        type(value)
                        if key.endswith(("_at", "_ms", "timestamp", "xid"))
                        else str(value).replace(workflow_id, "W"),
                    )
                    for key, value in row.items()
                )
                for row in rows
            ]
    assert len(found) == 11
    return found


def test_the_serializer_that_reads_pickles_is_the_one_that_refuses_them(running: Engine) -> None:
    from dbos._serialization import DefaultSerializer

    with pytest.raises(ValueError, match="the journal holds a pickled value"):
        DefaultSerializer().deserialize("gASVAAAAAAAAAA==")


def test_the_tables_that_our_look_up_reads_have_its_columns(running: Engine) -> None:
    with running.database.connect() as connection:
        for table, wanted in (
            ("workflow_status", {"workflow_uuid", "status"}),
            ("operation_outputs", {"workflow_uuid", "function_id", "function_name", "output"}),
        ):
            columns = {row[1] for row in connection.exec_driver_sql(f"pragma table_info({table})")}
            assert wanted <= columns


def test_a_workflow_that_is_taken_goes_on_from_its_journal_and_its_old_execution_makes_no_step(running: Engine) -> None:
    _told["gate"], _told["at_gate"] = threading.Event(), threading.Event()
    running.start(_taken, "w", "w")
    assert _told["at_gate"].wait(60)
    assert running.resume("w", _mine) == ["w"]
    assert running.result("w") == {"n": 1}
    _told["gate"].set()
    assert _told["left"].wait(60)
    assert _told["counted"] == 1


def test_a_run_that_is_another_process_s_is_not_taken(running: Engine) -> None:
    _told["stop"] = True
    running.start(_stops, "w", "w")
    assert _told["left"].wait(60)
    assert running.resume("w", lambda _connection: False) is None
    assert _told["entered"] == 1


def test_only_workflows_of_this_process_are_set_aside(running: Engine) -> None:
    _told["stop"] = True
    running.start(_stops, "w", "w")
    assert _told["left"].wait(60)
    with running.database.begin() as connection:
        connection.exec_driver_sql("update workflow_status set executor_id = 'another'")
    running.park("w")
    found = running.find("w")
    assert found is not None
    assert found.status == "PENDING"
    assert not running.is_here("w")


def test_a_launched_engine_asks_the_database_for_nothing_by_itself(running: Engine) -> None:
    from dbos._dbos import _get_dbos_instance  # pyright: ignore[reportPrivateUsage]

    dbos: Any = _get_dbos_instance()
    for thread in dbos._background_threads:
        thread.join(60)
    assert [thread.name for thread in dbos._background_threads if thread.is_alive()] == []
    running.start(_steps, "w", "w")
    assert running.result("w") == {"sum": 3}


def test_what_taking_a_run_leans_on_is_there(running: Engine) -> None:
    from dbos._core import execute_dequeued_workflow
    from dbos._sys_db import SystemDatabase

    assert list(inspect.signature(execute_dequeued_workflow).parameters) == ["dbos", "status", "owner_xid"]
    assert callable(SystemDatabase.get_workflow_statuses)
    assert {
        "workflow_uuid",
        "status",
        "owner_xid",
        "executor_id",
        "application_version",
        "queue_name",
        "deduplication_id",
        "workflow_deadline_epoch_ms",
        "started_at_epoch_ms",
        "completed_at",
        "updated_at",
    } <= set(SystemDatabase.tables.workflow_status.c.keys())
