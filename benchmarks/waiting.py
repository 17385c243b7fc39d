"""Runs that wait for a person: what they cost a worker, and how soon an answer sets one going.

    python benchmarks/waiting.py [--runs 300] [--answers 60] [--sqlite]

A real `muster worker` parks the runs; they are then answered one after another, and the time is taken from the answer
to the run being under way again, as its row says.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.server import Server  # noqa: E402
from benchmarks.workers import enqueue, prepare, status_of, until  # noqa: E402
from runs.people.inbox import Inbox, queue_answered  # noqa: E402
from tests.farm import Farm  # noqa: E402
from tests.postgres import PostgresServer  # noqa: E402

AGENTS = "worker: {role: Worker, goal: Do the work, backstory: You work.}"
TASKS = """
    draft: {description: "@answer: a draft about {topic}", expected_output: A line., agent: worker}
    accept: {description: "@answer: the text about {topic}", expected_output: A line., agent: worker, human_input: true}
"""


def measure(runs: int, answers: int, database: str | None) -> dict[str, Any]:
    with Server(latency="0") as server, Farm() as farm, tempfile.TemporaryDirectory() as folder:
        lab, _ = prepare(Path(folder), database)
        lab.write(agents=AGENTS, tasks=TASKS)
        lab.models(server.base_url)
        enqueue(lab, 3)
        worker = farm.start(lab.root, "worker", "--runs", "4")
        project = lab.root.name
        until(lambda: len(lab.runner.store.in_state("waiting", project)) == 3, 120)  # all is imported and warm
        time.sleep(2)
        idle = status_of(worker.pid, "VmRSS")
        enqueue(lab, runs - 3)
        until(lambda: len(lab.runner.store.in_state("waiting", project)) == runs, 900)
        time.sleep(5)
        waiting, threads = status_of(worker.pid, "VmRSS"), status_of(worker.pid, "Threads")
        took = [_answer(lab, question) for question in Inbox(lab.runner.database).open()[:answers]]
        lab.close()
        return {
            "waiting": runs,
            "database": "postgresql" if database else "sqlite",
            "threads": threads,
            "resident_mb_idle": idle // 1024,
            "resident_mb_waiting": waiting // 1024,
            "more_mb": round((waiting - idle) / 1024, 1),
            "answers": len(took),
            "answer_to_running_seconds": {
                "median": round(statistics.median(took), 2),
                "p95": round(statistics.quantiles(took, n=20)[-1], 2),
                "max": round(max(took), 2),
            },
        }


def _answer(lab: Any, question: Any) -> float:
    """Answer a question; return the seconds until its run is under way again."""
    began = time.monotonic()
    Inbox(lab.runner.database).answer(question.question_id, "", "bench")
    queue_answered(lab.runner.store, question.run_id, time.time())
    until(lambda: lab.runner.find(question.run_id).state not in ("waiting", "queued"), 60)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--answers", type=int, default=60)
    parser.add_argument("--sqlite", action="store_true")
    chosen = parser.parse_args()
    with PostgresServer() as server:
        found = measure(chosen.runs, chosen.answers, None if chosen.sqlite else server.new_database())
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
