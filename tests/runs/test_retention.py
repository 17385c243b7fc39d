"""Runs that are over are deleted by name, by age and by size; what is not over stays."""

import itertools
import os
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from project.errors import AppError
from runs.repair.retention import delete_runs, prune, read_limits, size_of
from runs.stored.journal_rows import JournalRows, Taken
from runs.stored.tables import QUESTIONS, RUNS
from tests.lab import ONE_AGENT, Lab
from tests.scripted_server import ScriptedServer

_DAY = 86_400.0
_NUMBERS = itertools.count()


@pytest.fixture
def ran(lab: Lab, server: ScriptedServer) -> str:
    """A finished run of one task, the only one."""
    runner = lab.runner
    with runner.database.begin() as connection:
        connection.execute(RUNS.delete())
    lab.write(**ONE_AGENT, crews="default: {agents: [worker], tasks: [work]}")
    run_id = lab.run(inputs={"topic": "rain"}).run_id
    (runner.folder(run_id) / "files").mkdir()
    (runner.folder(run_id) / "files" / "made").write_text("x" * 1000)
    return run_id


def copies(lab: Lab, run_id: str, number: int, state: str = "succeeded", age_seconds: float = 0.0) -> list[str]:
    """Put a run into the journal again, as if it had been done so often."""
    database, now = lab.runner.database, time.time()
    journal = JournalRows(database)
    taken = [Taken(one.id) for one in journal.family(run_id)]
    names = [f"{state}-{next(_NUMBERS)}" for _ in range(number)]
    with database.begin() as connection:
        row = dict(connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).mappings().one())
        for name in names:
            connection.execute(
                RUNS.insert().values(row | {"run_id": name, "state": state, "updated_at": now - age_seconds})
            )
            journal.copy_to(journal, connection, taken, run_id, name)
            folder = lab.runner.folder(name) / "files"
            folder.mkdir(parents=True)
            (folder / "made").write_text("x" * 1000)
    return names


def left(lab: Lab) -> set[str]:
    return {row.run_id for row in lab.runner.store.list(1000)}


def workflows(lab: Lab) -> set[str]:
    with lab.runner.database.connect() as connection:
        rows = connection.exec_driver_sql("select workflow_uuid from operation_outputs").scalars()
        return {str(row).partition(".")[0] for row in rows}


def pruned(lab: Lab, *limits: Any, **more: Any) -> Any:
    return prune(lab.runner.database, lab.runner.store, lab.runner.folder("x").parent, *limits, **more)


def test_a_deleted_run_leaves_nothing(lab: Lab, ran: str) -> None:
    (other,) = copies(lab, ran, 1)
    near = copies(lab, ran, 12)[-1]  # one whose id begins like the other's is among them
    with lab.runner.database.begin() as connection:
        question = {column.name: "" for column in QUESTIONS.columns} | {"asked_at": 0.0, "answered_at": 0.0}
        connection.execute(QUESTIONS.insert().values(question | {"question_id": "q", "run_id": other}))
    folder = lab.runner.folder("x").parent
    gone = delete_runs(lab.runner.database, lab.runner.store, folder, [other])
    assert gone.run_ids == [other]
    assert gone.bytes_after < gone.bytes_before
    assert left(lab) >= {ran, near}
    assert len(left(lab)) == 13
    assert workflows(lab) >= {ran, near}
    assert other not in workflows(lab)
    assert not (folder / other).exists()
    assert (folder / near / "files" / "made").exists()
    with lab.runner.database.connect() as connection:
        assert connection.execute(sa.select(QUESTIONS)).first() is None


@pytest.mark.parametrize("state", ["running", "queued", "waiting", "paused", "interrupted"])
def test_an_unfinished_run_is_not_deleted(lab: Lab, ran: str, state: str) -> None:
    (other,) = copies(lab, ran, 1, state)
    folder = lab.runner.folder("x").parent
    with pytest.raises(AppError, match=f"run {other} is {state}"):
        delete_runs(lab.runner.database, lab.runner.store, folder, [ran, other])
    assert pruned(lab, 0.0, 1, failed=True, now=time.time() + _DAY).run_ids == [ran]
    assert left(lab) == {other}


def test_a_dry_run_says_what_would_go_and_deletes_nothing(lab: Lab, ran: str) -> None:
    old = copies(lab, ran, 3, age_seconds=40 * _DAY)
    found = pruned(lab, 30 * _DAY, dry_run=True)
    assert (found.run_ids, found.dry_run) == (old, True)
    assert found.bytes_after < found.bytes_before
    assert left(lab) == {ran, *old}


def test_age_counts_from_the_last_change_and_failed_runs_stay_unless_asked_for(lab: Lab, ran: str) -> None:
    old = copies(lab, ran, 2, age_seconds=40 * _DAY)
    failed = copies(lab, ran, 1, "failed", age_seconds=40 * _DAY)
    assert pruned(lab, 30 * _DAY).run_ids == old
    assert left(lab) == {ran, *failed}
    assert pruned(lab, 30 * _DAY, failed=True).run_ids == failed


def test_the_oldest_go_until_the_rest_is_small_enough(lab: Lab, ran: str) -> None:
    newest = copies(lab, ran, 100, age_seconds=_DAY)
    oldest = copies(lab, ran, 100, age_seconds=2 * _DAY)
    whole = pruned(lab, 300 * _DAY, dry_run=True).bytes_after
    database = Path(str(lab.runner.database.url.database))
    wanted = whole - 300_000
    found = pruned(lab, None, wanted)
    assert found.compacted
    assert found.bytes_after <= wanted
    assert found.bytes_after == size_of(lab.runner.database, lab.runner.folder("x").parent)
    assert set(found.run_ids) <= set(oldest)
    assert left(lab) >= {ran, *newest}
    assert database.stat().st_size < whole
    assert lab.run(inputs={"topic": "snow"}).status == "succeeded"  # while the same engine goes on


def test_what_cannot_become_small_enough_is_said(lab: Lab, ran: str) -> None:
    found = pruned(lab, None, 1)
    assert found.run_ids == [ran]
    assert "are left: what is not over is never deleted" in found.notes[-1]


def test_folders_of_runs_deleted_earlier_are_removed(lab: Lab, ran: str) -> None:
    folder = lab.runner.folder("gone")
    folder.mkdir()
    os.utime(folder, (0, 0))
    assert pruned(lab, 300 * _DAY).notes == ["folders of runs deleted earlier were removed: 1"]
    assert not folder.exists()
    assert lab.runner.folder(ran).exists()


def test_limits_come_from_the_environment() -> None:
    assert read_limits({}) == (None, None)
    assert read_limits({"MUSTER_KEEP_DAYS": "30", "MUSTER_MAX_MB": "0.5"}) == (30 * _DAY, 500_000)
    with pytest.raises(AppError, match="MUSTER_KEEP_DAYS must be a number above 0, got 'week'"):
        read_limits({"MUSTER_KEEP_DAYS": "week"})
