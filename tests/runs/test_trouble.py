"""What goes wrong around a run: a full disk, a folder that became read-only, the clock, two processes at once."""

import json
import time

import pytest
from sqlalchemy.exc import OperationalError

from runs.calls.rates import Rates
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.scene import write_project
from tests.scripted_server import ScriptedServer

THREE = {"first": "@answer: one", "second": "@long 300", "third": "@answer: three"}


def _pages(lab: Lab, most: int | None) -> None:
    """Let the database grow by so many pages only, as on a full disk; None: as it likes."""
    with lab.runner.database.connect() as connection:
        count = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {count + most if most is not None else 2**30}")


@pytest.mark.parametrize("room", [0, 1, 2, 4])
def test_a_full_disk_stops_the_run_and_loses_nothing(lab: Lab, server: ScriptedServer, room: int) -> None:
    write_project(lab, THREE)
    calm = lab.run()
    server.reset()
    run_id = f"full-{room}"
    _pages(lab, room)
    said = ""
    try:
        said = lab.run(run_id=run_id).reason
    except OperationalError as error:
        said = str(error)
    assert "disk is full" in said
    assert "unexpected" not in said
    _pages(lab, None)
    lab.restart()
    made = server.stats()["attempts"]
    if lab.runner.store.find(run_id) is None:  # not even the run itself could be stored
        assert made == 0
        return
    journaled = sum(step.kind == "model" for step in lab.steps(run_id))
    outcome = lab.resume(run_id)
    assert (outcome.status, outcome.output) == ("succeeded", calm.output)
    assert server.stats()["attempts"] - made == 3 - journaled


def test_the_command_line_says_that_the_disk_is_full(lab: Lab, farm: Farm) -> None:
    write_project(lab, THREE, models={"default": {"model": "offline"}})
    lab.run()
    script = (
        "import sys; sys.argv = ['muster', 'run', 'default']\n"
        "import sqlite3, runs.stored.database as database\n"
        "real = database.open_sqlite\n"
        "def small(path):\n"
        "    engine = real(path)\n"
        "    with engine.connect() as connection:\n"
        "        connection.exec_driver_sql('PRAGMA max_page_count = 1')\n"  # SQLite makes it what there is already
        "    return engine\n"
        "database.open_sqlite = small\n"
        "import main; main.main()\n"
    )
    done = farm.execute(script, MUSTER_PROJECT=str(lab.root))
    assert done.wait() == 1, done.text()
    assert "the disk is full" in done.text()
    assert "Traceback" not in done.text()


def test_a_clock_set_back_does_not_block_a_rate_limit(lab: Lab) -> None:
    rates, began = Rates(lab.runner.database), time.time()
    real = time.time

    def ahead() -> float:
        return real() + 3600

    time.time = ahead
    try:
        rates.wait("server", 1, 60.0, lambda: None)
    finally:
        time.time = real
    rates.wait("server", 1, 60.0, lambda: None)  # an hour earlier: the call of the future does not count
    assert time.time() - began < 30


def test_two_processes_that_start_one_run_id_make_one_run(lab: Lab, farm: Farm) -> None:
    write_project(lab, THREE, models={"default": {"model": "offline"}})
    both = [farm.start(lab.root, "run", "default", "--id", "x", "--json") for _ in range(2)]
    ended = [(process.wait(), process.text()) for process in both]
    assert sorted(code for code, _ in ended) in ([0, 0], [0, 1], [0, 2]), ended
    outputs = {json.loads(text)["output"] for code, text in ended if code == 0}
    assert len(outputs) == 1
    for code, text in ended:
        if code != 0:
            assert "run x" in text
            assert "Traceback" not in text
