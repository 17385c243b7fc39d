"""The real command line, where only a process of its own will do: streams, signals, kills, home folders, start-up."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Muster, files_under, finish, spawn
from tests.farm import Farm
from tests.lab import APPLICATION, Lab
from tests.runs.scene import write_project
from tests.scripted_server import ScriptedServer

TWO = {"first": "@answer: one", "second": "@answer: two"}


def test_stdout_is_the_result_progress_goes_to_stderr_and_nothing_into_the_home_folder(
    lab: Lab, server: ScriptedServer, tmp_path: Path
) -> None:
    write_project(lab, TWO)
    lab.models(server.base_url)
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    printed = finish(spawn(lab, "run", "default", "--id", "mine", HOME=str(home)))
    assert files_under(home) == []
    assert (printed.code, printed.out) == (0, "two\n"), printed.err
    lines = printed.err.splitlines()
    assert lines[:2] == ["run mine", "model default: openai/scripted (default in models.yaml)"]
    assert lines[2].startswith("first (worker): done, ")
    assert lines[3].startswith("second (worker): done, ")
    assert lines[3].endswith(" tokens, unknown")
    assert len(lines) == 4


def test_a_killed_run_is_listed_as_interrupted_and_goes_on(
    lab: Lab, server: ScriptedServer, muster: Muster, farm: Farm
) -> None:
    write_project(lab, TWO)
    lab.models(server.base_url)
    server.configure(slow_seconds=30, faults=[{"fault": "slow", "match": "@answer: two", "attempts": [1]}])
    process = farm.start(lab.root, "run", "default", "--id", "killed")
    server.wait_for(lambda stats: stats["attempts"] == 2, 90)
    process.signal(signal.SIGKILL)
    process.wait()
    listed = json.loads(muster("runs", "list", "--json").out)
    assert [(row["run_id"], row["status"]) for row in listed] == [("killed", "interrupted")]
    resumed = muster("runs", "resume", "killed")
    assert (resumed.code, resumed.out) == (0, "two\n")
    assert server.stats()["paid_twice"] == 0
    assert server.stats()["attempts"] == 3


def test_ctrl_c_parks_the_run_and_says_how_to_go_on(
    lab: Lab, server: ScriptedServer, muster: Muster, farm: Farm
) -> None:
    write_project(lab, TWO)
    lab.models(server.base_url)
    server.configure(slow_seconds=1.0, faults=[{"fault": "slow", "match": "@answer: one"}])
    process = farm.start(lab.root, "run", "default", "--id", "parked", out="apart")
    server.wait_for(lambda stats: stats["in_flight"] == 1, 90)
    process.signal(signal.SIGINT)
    assert (process.wait(), process.out) == (130, "")
    assert "run parked was interrupted: " in process.text()
    assert process.text().endswith(
        "hint: `muster runs resume parked` goes on; what is done is kept and not paid again\n"
    )
    resumed = muster("runs", "resume", "parked")
    assert (resumed.code, resumed.out) == (0, "two\n"), resumed.err
    assert server.stats()["paid_twice"] == 0


def test_nobody_reading_on_is_no_error(lab: Lab, server: ScriptedServer, farm: Farm) -> None:
    write_project(lab, TWO)
    lab.models(server.base_url)
    process = farm.start(lab.root, "run", "default", "--id", "unread", out="unread")
    assert process.wait() == 0, process.text()
    assert "Traceback" not in process.text()
    assert lab.summary("unread")["status"] == "succeeded"


def test_a_run_needs_no_home_at_all(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    lab.models(server.base_url)
    printed = finish(spawn(lab, "run", "default", "--json", HOME=None))
    assert (printed.code, printed.err) == (0, "")
    assert json.loads(printed.out)["output"] == "two"


CHEAP = """
import sys
from main import execute
looks = "--version --help check agents crews tools models doctor runs".split()
for line in (*looks, "plan default", "new made"):
    code = execute(line.split())
    assert code == 0, (line, code)
heavy = [name for name in ("crewai", "crewai_tools", "dbos", "openai", "litellm") if name in sys.modules]
assert not heavy, heavy
"""


def test_commands_that_only_look_import_neither_crewai_nor_dbos(lab: Lab) -> None:
    write_project(lab, TWO)
    env = {**os.environ, "PYTHONPATH": str(APPLICATION)}
    done = subprocess.run(
        [sys.executable, "-c", CHEAP], cwd=lab.root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_muster_run_in_python_gives_what_the_command_prints(lab: Lab, server: ScriptedServer) -> None:
    import muster as library

    write_project(lab, {"work": "@answer: about {topic}"})
    lab.models(server.base_url)
    found = library.run("default", project=lab.root, topic="solar")
    assert (found["status"], found["output"]) == ("succeeded", "about solar")
