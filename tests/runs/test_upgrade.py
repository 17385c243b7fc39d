"""Runs parked by an older Muster, CrewAI and DBOS go on; `journals/` holds what `benchmarks/upgrades.py --park` left."""

import gzip
import hashlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from project.spec import BudgetSpec
from runs.stored.database import open_sqlite
from runs.stored.store import RunStore
from runs.stored.tables import RUNS
from tests.lab import Lab
from tests.scripted_server import ScriptedServer

JOURNALS = sorted(Path(__file__).with_name("journals").glob("*.sql.gz"))
NEW_COLUMNS = ("project", "worker", "wanted", "queue", "max_running", "priority", "queued_at", "not_before", "origin")


def restore(journal: Path, database: Path, root: Path, base_url: str) -> None:
    """Make the database of a journal that another version wrote; its project and server are these ones."""
    text = gzip.decompress(journal.read_bytes()).decode()
    text = text.replace("/PROJECT", str(root)).replace("http://127.0.0.1:1/v1", base_url)
    database.parent.mkdir(parents=True)
    with sqlite3.connect(database) as connection:
        connection.executescript(text)
        for run_id, plan in connection.execute("select run_id, plan from muster_runs").fetchall():
            digest = hashlib.sha256(plan.encode()).hexdigest()
            connection.execute("update muster_runs set digest = ? where run_id = ?", (digest, run_id))
    connection.close()


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda path: path.name.removesuffix(".sql.gz"))
def test_runs_that_an_older_version_left_end_as_its_own_would_have(
    journal: Path, tmp_path: Path, server: ScriptedServer
) -> None:
    lab = Lab(tmp_path / "project")
    lab.models(server.base_url)
    restore(journal, lab.root / ".muster" / "muster.db", lab.root, server.base_url)

    def answer(question: Any) -> str:
        return "red" if "answer" in question.prompt else ""

    rows = lab.runner.store.list(100)
    whole = {row.crew: lab.summary(row.run_id)["output"] for row in rows if row.run_id.startswith("whole-")}
    parked = sorted(row.run_id for row in rows if not row.run_id.startswith("whole-"))
    assert len(parked) == 20
    for run_id in parked:
        outcome = lab.resume(run_id, budget=BudgetSpec(max_model_calls=100), ask=answer)
        assert (outcome.status, outcome.output) == ("succeeded", whole[re.sub(r"^\w+-\d+-", "", run_id)]), run_id
    lab.close()


def test_the_table_of_an_older_version_gets_the_columns_it_lacks(tmp_path: Path) -> None:
    database = tmp_path / "state" / "muster.db"
    restore(JOURNALS[0], database, tmp_path, "http://127.0.0.1:1/v1")
    before = {column["name"] for column in sa.inspect(open_sqlite(database)).get_columns("muster_runs")}
    assert not before & set(NEW_COLUMNS)
    store = RunStore(open_sqlite(database))
    assert {column["name"] for column in sa.inspect(store.database).get_columns("muster_runs")} == set(RUNS.c.keys())
    row = store.find("waiting-0-reviewed")
    assert row is not None
    assert (row.project, row.queue, row.priority, row.wanted) == (tmp_path.name, "default", 0, "")
    assert row.read_origin() == {}
    RunStore(store.database)  # once more changes nothing


def test_looking_at_runs_does_not_wait_for_a_process_that_writes(tmp_path: Path) -> None:
    database = tmp_path / "muster.db"
    RunStore(open_sqlite(database))
    with sqlite3.connect(database, isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert RunStore(open_sqlite(database)).list() == []  # else: the database is locked, after a minute
        writer.execute("ROLLBACK")
    writer.close()
