"""Schedules fired by several processes at once, and by processes that are killed while they fire.

    python benchmarks/schedules.py [--firings 200] [--processes 2] [--kills 20] [--database sqlite|postgres|both]

The clock is simulated: every process is told the same instants, all at once, and ticks its own scheduler on one
database. First, each minute four schedules are due: as many runs as firings must be stored, each once, whoever stores
it. Then nothing ticks while three firings of a daily schedule are missed: with `catch_up: latest` all processes
together make one run of them. Last, a process is killed (kill -9) between claiming a firing and storing its run, or
right after storing it, again and again; the next ticks of another process must leave exactly one run each time. Prints
one JSON line for each database; exit 1 when something is not as promised.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from project.settings import Settings  # noqa: E402
from runs.scheduled.schedules import CLAIM_SECONDS  # noqa: E402
from runs.stored.database import open_database  # noqa: E402
from tests.runs.timed import Enqueuer, Timed, at  # noqa: E402

AT_ONCE = 4
START = at("2026-11-16 08:00", "UTC")
EACH_MINUTE = '{crew: brief, cron: "* * * * *", overlap: allow}'
DAILY = "{crew: brief, cron: 0 7 * * *, overlap: allow, catch_up: latest}"


def open_timed(root: Path, schedules: str, address: str) -> Timed:
    """Open the project under `root`; `address` is that of a PostgreSQL database, "" for a file of SQLite."""
    settings = Settings(root, root / ".muster", {}, address or None)
    return Timed(root, schedules, open_database(settings))


class Process:
    """A process of its own with a scheduler; it ticks when it is told an instant."""

    def __init__(self, root: Path, schedules: str, address: str, dies: str = "") -> None:
        command = [sys.executable, __file__, "--child", str(root), schedules, address, dies]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._hear()

    def tell(self, now: float) -> None:
        """Tell it what time it is."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{now!r}\n")
        self._child.stdin.flush()

    def fired(self) -> list[str]:
        """Return the runs that its tick stored."""
        return json.loads(self._hear())

    def end(self) -> int:
        """Wait for its end; return the exit code."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        return self._child.wait(60)

    def _hear(self) -> str:
        assert self._child.stdout is not None
        return self._child.stdout.readline()


class _Dying(Enqueuer):
    """Is killed when it should store a run: `before` that, or right `after`."""

    def __init__(self, timed: Timed, when: str) -> None:
        super().__init__(timed.store)
        self._when = when

    def __call__(self, *given: Any, **more: Any) -> str:
        if self._when == "after":
            super().__call__(*given, **more)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("nobody outlives kill -9")


def be_child(root: str, schedules: str, address: str, dies: str) -> None:
    """Tick at every instant that comes in; print the runs that were stored."""
    timed = open_timed(Path(root), schedules, address)
    scheduler = timed.another(_Dying(timed, dies)) if dies else timed.scheduler
    print("ready", flush=True)
    for line in sys.stdin:
        fired = [firing.run_id for firing in scheduler.tick(float(line)) if firing.state == "fired"]
        while timed.said:
            print(timed.said.pop(), file=sys.stderr)
        print(json.dumps(fired), flush=True)


def tick_all(processes: Sequence[Process], now: float) -> list[list[str]]:
    """Tell every process the time at once; return what each fired."""
    for process in processes:
        process.tell(now)
    return [process.fired() for process in processes]


def fire_many(root: Path, address: str, firings: int, count: int) -> dict[str, Any]:
    """Let `count` processes fire schedules minute by minute."""
    schedules = "schedules:\n" + "".join(f"  s{number}: {EACH_MINUTE}\n" for number in range(AT_ONCE))
    timed = open_timed(root, schedules, address)
    processes = [Process(root, schedules, address) for _ in range(count)]
    tick_all(processes, START)
    began = time.monotonic()
    by_process: list[Counter[str]] = [Counter() for _ in processes]
    for minute in range(1, firings // AT_ONCE + 1):
        for counted, fired in zip(by_process, tick_all(processes, START + 60 * minute), strict=True):
            counted.update(fired)
    seconds = time.monotonic() - began
    for process in processes:
        process.end()
    told = sum(by_process, Counter[str]())
    rows = timed.store.list(10_000)
    origins = Counter(row.origin for row in rows)
    return {
        "firings": firings,
        "runs": len(rows),
        "duplicates": sum(count - 1 for count in [*origins.values(), *told.values()]),
        "fired_by": [counted.total() for counted in by_process],
        "firings_not_fired": sum(firing.state != "fired" for firing in _every(timed)),
        "ms_a_minute": round(seconds * 1000 / (firings // AT_ONCE), 1),
    }


def catch_up(root: Path, address: str, count: int) -> dict[str, Any]:
    """Miss three firings, then tick in all processes at once."""
    schedules = f"schedules:\n  daily: {DAILY}\n"
    timed = open_timed(root, schedules, address)
    timed.scheduler.tick(START)
    processes = [Process(root, schedules, address) for _ in range(count)]
    tick_all(processes, START + 3 * 86_400)
    tick_all(processes, START + 3 * 86_400 + 60)
    for process in processes:
        process.end()
    states = Counter(firing.state for firing in _every(timed))
    return {"missed_three": len(timed.store.list(100)), "missed_states": dict(states)}


def kill(root: Path, address: str, kills: int) -> dict[str, Any]:
    """Kill a process while it fires, each day anew; let another go on."""
    schedules = f"schedules:\n  daily: {DAILY}\n"
    timed = open_timed(root, schedules, address)
    timed.scheduler.tick(START)
    lost = doubled = not_killed = 0
    for day in range(1, kills + 1):
        due = START - 3600 + day * 86_400
        dying = Process(root, schedules, address, ("before", "after")[day % 2])
        dying.tell(due)
        not_killed += dying.end() != -signal.SIGKILL
        timed.scheduler.tick(due + 1)
        timed.scheduler.tick(due + CLAIM_SECONDS + 2)
        timed.scheduler.tick(due + CLAIM_SECONDS + 60)
        runs = sum(row.read_origin()["due_at"] == due for row in timed.store.list(10_000))
        lost += runs == 0
        doubled += runs > 1
    return {"kills": kills, "not_killed": not_killed, "lost": lost, "doubled": doubled}


def _every(timed: Timed) -> Sequence[Any]:
    return timed.firings.in_state("claimed", "fired", "held", "skipped", "missed", "failed", "done")


def broken_promises(found: Mapping[str, Any]) -> list[str]:
    """Name what is not as promised."""
    promises = {
        "every firing makes a run": found["runs"] == found["firings"] and found["firings_not_fired"] == 0,
        "no firing makes two": found["duplicates"] == 0,
        "three missed with latest make one run": found["missed_three"] == 1,
        "every process that should be killed was": found["not_killed"] == 0,
        "a kill loses nothing": found["lost"] == 0,
        "a kill doubles nothing": found["doubled"] == 0,
    }
    return [promise for promise, kept in promises.items() if not kept]


def measure(database: str, firings: int, processes: int, kills: int) -> dict[str, Any]:
    """Try everything on one kind of database."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        addresses = ["", "", ""]
        if database == "postgres":
            from tests.postgres import PostgresServer

            server = stack.enter_context(PostgresServer())
            addresses = [server.new_database() for _ in addresses]
        found = fire_many(folder / "many", addresses[0], firings, processes)
        found |= catch_up(folder / "late", addresses[1], processes)
        return {"database": database} | found | kill(folder / "killed", addresses[2], kills)


def main() -> int:
    """Try what was asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--firings", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--database", choices=("sqlite", "postgres", "both"), default="both")
    options = parser.parse_args()
    broken: list[str] = []
    for database in ("sqlite", "postgres") if options.database == "both" else (options.database,):
        found = measure(database, options.firings, options.processes, options.kills)
        broken += broken_promises(found)
        print(json.dumps(found), flush=True)
    for promise in broken:
        print(f"not so: {promise}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        be_child(*sys.argv[2:6])
    else:
        raise SystemExit(main())
