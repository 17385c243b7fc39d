"""An approval given in a second process while the one that asked is dead: how soon the call is made.

    python -m benchmarks.approvals [--runs 20] [--most-seconds 4]

Each run asks at a terminal of its own process, which is then killed (`kill -9`); `muster approvals approve` in another
process approves the call. In half of the runs a worker is there all the time, and the time is taken from the end of the
approving command to the call; in the other half it is started after the answer, and the time is taken from when it says
that it executes runs. Prints a line of JSON; exit 1 when one took longer, or a call was not made exactly once.
"""

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402
from tests.farm import Farm  # noqa: E402
from tests.lab import Lab  # noqa: E402
from tests.runs.gate_scene import asks, inbox_of, made, watch, write_gate  # noqa: E402
from tests.runs.scene import until  # noqa: E402

_ASKING = """
import sys, time
from pathlib import Path
from tests.lab import Lab
lab = Lab(Path(sys.argv[1]))
run_id = lab.start(lab.plan(inputs={"to": sys.argv[2]}), sys.argv[2], attended=True)
lab.runner.wait(run_id, ask=lambda question: time.sleep(600) or "")
"""
_THERE = "executes queued runs"


def measure(runs: int) -> dict[str, Any]:
    """Make the runs one after another; return how long each took."""
    with Server(latency="0") as server, Farm() as farm, tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "project")
        root.mkdir()
        lab = Lab(root)
        lab.models(server.base_url)
        assert lab.runner is not None  # makes the tables
        lab.close()
        watch(Path(folder))
        write_gate(lab, '@call send {"to": "{to}", "text": "x"}', policy=asks(expires_hours=1))
        before = [_approved_first(lab, farm, Path(folder), f"first-{number}") for number in range(runs - runs // 2)]
        worker = farm.start(root, "worker")
        worker.wait_for(_THERE)
        there = [_worker_first(lab, farm, Path(folder), f"there-{number}") for number in range(runs // 2)]
        worker.signal(signal.SIGTERM)
        worker.wait()
        calls = made(Path(folder))
        return {
            "runs": runs,
            "made": len(calls),
            "made_once": len(set(calls)),
            "worker_there_to_call_seconds": _told(before),
            "answer_to_call_seconds": _told(there),
            "slowest_seconds": round(max([*before, *there]), 2),
            "load_average": [round(load, 1) for load in os.getloadavg()],
        }


def _told(took: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(took), 2), "max": round(max(took), 2)} if took else {}


def _approved_first(lab: Lab, farm: Farm, folder: Path, run_id: str) -> float:
    """Answer, then start a worker; return the seconds from when it is there to the call."""
    _ask_and_die(lab, farm, run_id)
    _approve(lab, farm, run_id)
    worker = farm.start(lab.root, "worker", "--once")
    worker.wait_for(_THERE)
    return _until_made(folder, run_id, time.monotonic())


def _worker_first(lab: Lab, farm: Farm, folder: Path, run_id: str) -> float:
    """Answer while a worker is there; return the seconds from the end of the answering command to the call."""
    _ask_and_die(lab, farm, run_id)
    _approve(lab, farm, run_id)
    return _until_made(folder, run_id, time.monotonic())


def _ask_and_die(lab: Lab, farm: Farm, run_id: str) -> None:
    process = farm.execute(_ASKING, str(lab.root), run_id)
    until(lambda: _question_of(lab, run_id))
    process.signal(signal.SIGKILL)
    process.wait()


def _question_of(lab: Lab, run_id: str) -> str:
    rows = inbox_of(lab).open(run_id)
    return rows[0].question_id if rows else ""


def _approve(lab: Lab, farm: Farm, run_id: str) -> None:
    done = farm.start(lab.root, "approvals", "approve", _question_of(lab, run_id))
    if done.wait() != 0:
        raise RuntimeError(done.text())


def _until_made(folder: Path, run_id: str, began: float) -> float:
    until(lambda: f"send {run_id} x" in made(folder))
    return time.monotonic() - began


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--runs", type=int, default=20)
    asked.add_argument("--most-seconds", type=float, default=4.0)
    given = asked.parse_args()
    found = measure(given.runs)
    print(json.dumps(found), flush=True)
    if found["slowest_seconds"] > given.most_seconds or not found["made"] == found["made_once"] == given.runs:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
