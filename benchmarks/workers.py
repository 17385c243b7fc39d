"""Workers: nothing lost, nothing twice, limits exact, the runs of the dead taken over.

    python benchmarks/workers.py [--queued 1000] [--workers 3] [--sqlite]
    python benchmarks/workers.py --takeover [--lease 8]
    python benchmarks/workers.py --idle

A real PostgreSQL server of its own, real `muster worker` processes, one scripted model server in a process of its own.
Each run calls a `once` tool, which marks its begin and end in a file: what happened is counted there. The first runs'
calls last a second, so that the limit of the queue must be reached; the others' are short. Exit 1 when something is
lost, made twice or late, or when the limit is passed or not reached.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402
from crews.plan import plan_crew  # noqa: E402
from project.code import code_hashes  # noqa: E402
from project.load import load_project  # noqa: E402
from tests.farm import Farm  # noqa: E402
from tests.lab import APPLICATION, Lab  # noqa: E402
from tests.postgres import PostgresServer  # noqa: E402
from tests.runs.queue_scene import begun, most_at_once, read_marks, write_scene  # noqa: E402

MOST_RUNNING = 5
_LONG = 20
"""So many runs have calls of a second."""


def measure_queue(queued: int, workers: int, database: str | None) -> dict[str, Any]:
    """Queue runs, let workers execute them all, and count what happened."""
    with Server(latency="0") as server, Farm() as farm, tempfile.TemporaryDirectory() as folder:
        lab, effects = prepare(Path(folder), database)
        work = '@call send {"text": "{topic}", "seconds": {seconds}}\n@answer: done {topic}'
        write_scene(lab, {"work": work}, {"name": "busy", "max_running": MOST_RUNNING}, server.base_url)
        ids = enqueue(lab, min(_LONG, queued), "long", seconds="1")
        ids += enqueue(lab, max(0, queued - _LONG), seconds="0.02")
        began = time.monotonic()
        under_way = [farm.start(lab.root, "worker", "--runs", "4", "--once") for _ in range(workers)]
        codes = [worker.wait(3600) for worker in under_way]
        took = time.monotonic() - began
        marks = read_marks(effects)
        rows = [lab.runner.find(run_id) for run_id in ids]
        lab.close()
        return {
            "queued": queued,
            "workers": workers,
            "database": "postgresql" if database else "sqlite",
            "seconds": round(took, 1),
            "exit_codes": codes,
            "succeeded": sum(row.state == "succeeded" for row in rows),
            "reasons": sorted({row.reason for row in rows if row.reason})[:3],
            "started_more_than_once": sum(row.starts != 1 for row in rows),
            "effects": sum(begun(marks).values()),
            "effects_twice": sum(count > 1 for count in begun(marks).values()),
            "model_requests": server.get("/_stats")["attempts"],
            "limit": MOST_RUNNING,
            "most_at_once": most_at_once(marks),
            "processes_that_worked": len({mark.pid for mark in marks}),
        }


def measure_takeover(lease: float, database: str) -> dict[str, Any]:
    """Kill one of three workers, stop another one past its lease, let it go on."""
    with Server(latency="100") as server, Farm() as farm, tempfile.TemporaryDirectory() as folder:
        lab, effects = prepare(Path(folder), database)
        calls = [f'@call {"send" if n == 3 else "look"} {{"text": "{{topic}} {n}", "seconds": 1.0}}' for n in range(6)]
        write_scene(lab, {"work": "\n".join([*calls, "@answer: done {topic}"])}, None, server.base_url)
        ids = enqueue(lab, 12)
        options = ("worker", "--lease", str(lease), "--runs")
        killed, stopped = [farm.start(lab.root, *options, "4") for _ in range(2)]
        until(lambda: len(_held_by(lab)) == 8)
        steady = farm.start(lab.root, *options, "16")  # has room for all
        began = time.monotonic()
        pids = {killed.pid, stopped.pid, steady.pid}
        until(lambda: {mark.pid for mark in read_marks(effects)} == pids and _steady_since(began, lease))
        mine = _held_by(lab)
        killed.signal(signal.SIGKILL)
        stopped.signal(signal.SIGSTOP)
        at = time.monotonic()
        lost = [run_id for run_id in ids if mine.get(run_id) in (killed.pid, stopped.pid)]
        until(lambda: all(_held_by(lab).get(run_id, steady.pid) == steady.pid for run_id in lost), 120)
        taken = time.monotonic() - at
        before = len(read_marks(effects))
        stopped.signal(signal.SIGCONT)
        more = enqueue(lab, 6, "later")
        until(lambda: all(lab.runner.find(run_id).state not in ("queued", "running") for run_id in [*ids, *more]), 120)
        marks = read_marks(effects)
        for worker in (stopped, steady):
            worker.signal(signal.SIGTERM)
        states = [lab.runner.find(run_id).state for run_id in [*ids, *more]]
        found = {
            "lease_seconds": lease,
            "allowed_seconds": round(1.25 * lease + 10, 1),
            "taken_over_after_seconds": round(taken, 1),
            "runs_lost_by_the_two": len(lost),
            "states": {state: states.count(state) for state in sorted(set(states))},
            "once_twice": sum(count > 1 for text, count in begun(marks).items() if text.endswith(" 3")),
            "other_calls_again": sum(count - 1 for text, count in begun(marks).items() if not text.endswith(" 3")),
            "calls_in_flight_at_most": len(lost),
            "worked_on_after_being_stopped": any(mark.pid == stopped.pid for mark in marks[before:]),
            "exit_codes": [stopped.wait(60), steady.wait(60)],
            "refused": [line for line in stopped.text().splitlines() if "another process" in line][:20],
        }
        lab.close()
        return found


def measure_idle(database: str | None) -> dict[str, Any]:
    """Say what a worker with nothing to do costs."""
    with Server() as server, Farm() as farm, tempfile.TemporaryDirectory() as folder:
        lab, _ = prepare(Path(folder), database)
        write_scene(lab, {"work": "@answer: done {topic}"}, None, server.base_url)
        worker = farm.start(lab.root, "worker")
        worker.wait_for("executes queued runs")
        time.sleep(3)
        began, used = time.monotonic(), cpu_seconds(worker.pid)
        time.sleep(20)
        share = (cpu_seconds(worker.pid) - used) / (time.monotonic() - began)
        return {
            "database": "postgresql" if database else "sqlite",
            "cpu_percent_of_a_core": round(100 * share, 2),
            "threads": status_of(worker.pid, "Threads"),
            "resident_mb": status_of(worker.pid, "VmRSS") // 1024,
        }


def _promised(found: dict[str, Any]) -> dict[str, bool]:
    """Say of each promise whether it was kept."""
    if "queued" in found:
        return {
            "each run succeeded": found["succeeded"] == found["effects"] == found["queued"],
            "nothing twice": not found["effects_twice"] and not found["started_more_than_once"],
            "the limit": found["most_at_once"] == min(found["limit"], found["queued"]),
            "the exit codes": not any(found["exit_codes"]),
        }
    if "taken_over_after_seconds" in found:
        return {
            "taken over in time": found["taken_over_after_seconds"] <= found["allowed_seconds"],
            "each run succeeded": list(found["states"]) == ["succeeded"],
            "no `once` call twice": not found["once_twice"],
            "only calls in flight again": found["other_calls_again"] <= found["calls_in_flight_at_most"],
            "the exit codes": not any(found["exit_codes"]),
        }
    return {}


def _steady_since(began: float, lease: float) -> bool:
    """Say whether a worker has seen the database for long enough to call others dead."""
    return time.monotonic() - began > lease / 4


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_of(pid: int, name: str) -> int:
    """Return a number of /proc/PID/status; sizes are in kilobytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def prepare(folder: Path, database: str | None) -> tuple[Lab, Path]:
    effects = folder / "effects"
    os.environ["EFFECTS"] = str(effects)
    os.environ.pop("MUSTER_DATABASE_URL", None)
    if database:
        os.environ["MUSTER_DATABASE_URL"] = database
    return Lab(folder / "project"), effects


def enqueue(lab: Lab, count: int, stem: str = "run", **inputs: str) -> list[str]:
    """Queue so many runs; each has a topic of its own."""
    project, code = load_project(lab.root, APPLICATION / "tools"), code_hashes(lab.root)
    topics = [{"topic": f"{stem} {number}", **inputs} for number in range(count)]
    plans = [plan_crew(project, "default", topic, lab.settings().environment, code=code) for topic in topics]
    return [lab.runner.enqueue(plan) for plan in plans]


def _held_by(lab: Lab) -> dict[str, int]:
    """Return the process of each run under way, as its worker's id names it."""
    rows = lab.runner.store.in_state("running", lab.root.name)
    return {row.run_id: int(row.worker.rsplit("-", 2)[1]) for row in rows if row.worker}


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        if time.monotonic() > until:
            raise SystemExit("it did not come to pass")
        time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queued", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--sqlite", action="store_true")
    parser.add_argument("--takeover", action="store_true")
    parser.add_argument("--idle", action="store_true")
    parser.add_argument("--lease", type=float, default=8.0)
    chosen = parser.parse_args()
    with PostgresServer() as server:
        database = None if chosen.sqlite else server.new_database()
        if chosen.takeover:
            found = measure_takeover(chosen.lease, database or "")
        elif chosen.idle:
            found = measure_idle(database)
        else:
            found = measure_queue(chosen.queued, chosen.workers, database)
    print(json.dumps(found, indent=2))
    if wrong := [name for name, right in _promised(found).items() if not right]:
        raise SystemExit(f"not as promised: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
