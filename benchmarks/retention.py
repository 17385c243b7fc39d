"""10,000 finished runs: how long `runs list` takes, and how long pruning, which must bring the file under a size.

    python -m benchmarks.retention [--runs 10000] [--max-mb 20]

The runs are copies of one real run of two tasks, row by row; `runs list` is the real command, as a process of its own.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from runs.repair.retention import Deleted, prune
from runs.stored.database import open_database
from runs.stored.journal_rows import JournalRows, Taken
from runs.stored.store import RunStore
from runs.stored.tables import RUNS
from tests.lab import APPLICATION, Lab
from tests.runs.scene import write_project
from tests.scripted_server import ScriptedServer

_T = TypeVar("_T")
_BATCH = 500
_AGE_SECONDS = 60.0


def make_run(lab: Lab) -> str:
    """Do one real run; return its id."""
    with ScriptedServer() as server:
        write_project(
            lab,
            {"gather": "@long 300", "write": {"description": "@long 500", "context": ["gather"]}},
            crews={"default": {"agents": ["worker"], "tasks": ["gather", "write"]}},
        )
        lab.models(server.base_url)
        run_id = str(lab.run().run_id)
        lab.close()
    return run_id


def copy_run(lab: Lab, run_id: str, number: int) -> None:
    """Put `number` copies of a finished run into the journal, each a minute older than the one before."""
    database = open_database(lab.settings())
    journal, now = JournalRows(database), time.time()
    taken = [Taken(one.id) for one in journal.family(run_id)]
    for start in range(0, number, _BATCH):
        with database.begin() as connection:
            row: dict[str, Any] = dict(
                connection.execute(sa.select(RUNS).where(RUNS.c.run_id == run_id)).mappings().one()
            )
            for at in range(start, min(number, start + _BATCH)):
                then = now - at * _AGE_SECONDS
                copy = row | {"run_id": f"copy-{at:06d}", "created_at": then, "updated_at": then}
                connection.execute(RUNS.insert().values(copy))
                journal.copy_to(journal, connection, taken, run_id, f"copy-{at:06d}")
                (lab.root / ".muster" / "runs" / f"copy-{at:06d}").mkdir(parents=True)
    database.dispose()


def timed(what: str, work: Callable[[], _T]) -> tuple[_T, float]:
    began = time.monotonic()
    found = work()
    seconds = time.monotonic() - began
    print(f"{what:52} {seconds:6.2f} s", flush=True)
    return found, seconds


def list_runs(lab: Lab, limit: int) -> int:
    """Call `muster runs list` in a process of its own; return the lines that it printed."""
    command = [sys.executable, str(APPLICATION / "main.py"), "runs", "list", "--limit", str(limit)]
    done = subprocess.run(command, cwd=lab.root, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


def pruned(lab: Lab, *limits: Any) -> Deleted:
    database = open_database(lab.settings())
    try:
        return prune(database, RunStore(database), lab.root / ".muster" / "runs", *limits)
    finally:
        database.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--max-mb", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        run_id = make_run(lab)
        timed(f"make {options.runs} copies", lambda: copy_run(lab, run_id, options.runs))
        _, short = timed("runs list", lambda: list_runs(lab, 20))
        lines, whole = timed("runs list --limit 100000", lambda: list_runs(lab, 100_000))
        half = options.runs / 2 * _AGE_SECONDS
        old, by_age = timed("prune by age: the older half", lambda: pruned(lab, half))
        _tell(old)
        most = int(options.max_mb * 1_000_000)
        large, by_size = timed(f"prune by size: {options.max_mb:g} MB", lambda: pruned(lab, None, most))
        _tell(large)
        print(f"{lines - 1} runs listed")
    good = short <= 2 and whole <= 2 and large.bytes_after <= most
    print(f"{'passed' if good else 'FAILED'}: list {max(short, whole):.2f} s, pruned in {by_age + by_size:.2f} s")
    raise SystemExit(0 if good else 1)


def _tell(found: Deleted) -> None:
    before, after = found.bytes_before / 1e6, found.bytes_after / 1e6
    print(f"  {len(found.run_ids)} runs deleted, {before:.1f} → {after:.1f} MB, compacted: {found.compacted}")
    for note in found.notes:
        print(f"  {note}")


if __name__ == "__main__":
    main()
