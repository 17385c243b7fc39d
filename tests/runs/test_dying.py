"""A run whose process was killed is nobody's before the tools' processes it left have ended."""

import os
import signal
from pathlib import Path

from runs.executing.owners import FileOwners
from runs.stored.database import open_database
from tests.farm import Farm
from tests.lab import Lab
from tests.runs.scene import until, write_project

LATE = '''
import os
import time

from muster import tool


@tool(effect="spend", repeat="once", timeout_seconds=60)
def pay() -> str:
    """Pay, a moment after this is ended."""
    with open("begun", "w") as file:
        file.write(str(os.getpid()))
    os.rename("begun", "host")
    try:
        time.sleep(60)
    finally:
        time.sleep(0.2)
        open("paid", "w").close()
    return "paid"
'''
RUN = """
import os
import sys
from pathlib import Path
from tests.lab import Lab
os.chdir(sys.argv[1])
Lab(Path(sys.argv[1])).run(run_id=sys.argv[2])
"""


def killed_in_the_call(lab: Lab, farm: Farm, run_id: str, *, keeper_stopped: bool = False) -> int:
    """Kill a process in the middle of a run's tool call; return the process that keeps its tools' processes."""
    lab.write(tools__pay_py=LATE)
    write_project(lab, {"work": "@call pay {}\n@answer: done"}, {"tools": ["pay"]})
    process = farm.execute(RUN, str(lab.root), run_id)
    until((lab.root / "host").exists)
    host = int((lab.root / "host").read_text())
    keeper = int(Path(f"/proc/{host}/stat").read_text().rpartition(")")[2].split()[1])
    if keeper_stopped:
        os.kill(keeper, signal.SIGSTOP)
    process.signal(signal.SIGKILL)
    process.wait()
    return keeper


def owners_of(lab: Lab) -> FileOwners:
    return FileOwners(open_database(lab.settings()), lab.settings().state_folder / "runs")


def test_a_call_ends_before_anybody_else_has_the_run(lab: Lab, farm: Farm) -> None:
    killed_in_the_call(lab, farm, "late")
    owners = owners_of(lab)
    assert owners.acquire("late")
    assert (lab.root / "paid").exists()


def test_a_call_that_does_not_end_keeps_the_run(lab: Lab, farm: Farm) -> None:
    keeper = killed_in_the_call(lab, farm, "later", keeper_stopped=True)
    owners = owners_of(lab)
    try:
        assert owners.holder("later") == "a tool call that is still to end"
        assert owners.left_behind(lab.root.name, ()) == []
        assert not owners.acquire("later")
    finally:
        os.kill(keeper, signal.SIGCONT)
    assert owners.acquire("later")
    assert (lab.root / "paid").exists()
    assert owners.holder("later") == f"process {os.getpid()}"
