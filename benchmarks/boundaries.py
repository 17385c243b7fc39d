"""kill -9 at every boundary of the journal: before a step, in it, after its effect, after it was written.

    python -m benchmarks.boundaries [--shapes line,probe,asks,lanes,person,boss] [--databases sqlite,postgres]
                                    [--stride 1]

Each shape is a crew with a `safe`, a `keyed` and a `once` tool. It is run once undisturbed, which counts the boundaries
of all its steps, and those within its tools' calls; then, for each of them, anew: killed there, resumed, questions
answered from the inbox (an unknown outcome by what the effects file says), until it ends. A tool in whose call Muster
is killed still has its effect a moment later. The parent imports CrewAI once and forks a child for each execution,
before DBOS is launched. Counted: runs that end with the same bytes, effects of the `once` tool made twice, `keyed` ones
made under two keys, effects lost, and calls made again although they were journaled.
"""

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.boundary_shapes import SCRIPT, SHAPES, Place  # noqa: E402
from benchmarks.ticks import KILL_AT, LEDGER, PROCESS, tick  # noqa: E402
from tests.postgres import PostgresServer  # noqa: E402
from tests.scripted_server import ScriptedServer  # noqa: E402

MOST_ROUNDS = 12
_END_SECONDS = 10.0


# -- in a child


def _execute(place: Place, run_id: str) -> str:
    """Start the run, or go on with it, with all its steps' boundaries counted. Return its state."""
    from runs.stored import engine

    real = engine.step
    os.environ[PROCESS] = str(os.getpid())

    def step(name: str, body: Callable[[], Any]) -> Any:
        def counted() -> Any:
            tick("begun", name)
            made = body()
            tick("made", name)
            return made

        tick("before", name)
        journaled = real(name, counted)
        tick("recorded", name)
        return journaled

    engine.step = step
    if place.lab.runner.store.find(run_id) is None:
        return place.lab.run(run_id=run_id).status
    return place.lab.resume(run_id).status


def _in_child(place: Place, run_id: str, kill_at: int = 0) -> str:
    """Execute the run in a forked child, killed at that boundary; return its state, or "killed"."""
    read, write = os.pipe()
    os.environ["BOUNDARY_EFFECTS"] = str(place.file("effects", run_id))
    os.environ[LEDGER] = str(place.file("ledger", run_id))
    os.environ[KILL_AT] = str(kill_at)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(write, _execute(place, run_id).encode())
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "killed"
    if status != 0:
        raise SystemExit(f"run {run_id}: the child ended with status {status}")
    return said


# -- in the parent


def _hosts(place: Place, run_id: str) -> list[int]:
    """Return the processes that live and make the run's tool calls, and what keeps them."""
    mark, found = os.fsencode(f"BOUNDARY_EFFECTS={place.file('effects', run_id)}"), list[int]()
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            theirs = process.name.isdigit() and b"tools.host" in (process / "cmdline").read_bytes()
            if theirs and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def _until_hosts_end(place: Place, run_id: str) -> float:
    """Wait for the end of what a killed process has left; return how long it took, in seconds."""
    began = time.monotonic()
    while left := _hosts(place, run_id):
        if time.monotonic() - began > _END_SECONDS:
            raise SystemExit(f"run {run_id}: the tools' processes {left} outlived Muster's by {_END_SECONDS:g} s")
        time.sleep(0.005)
    return time.monotonic() - began


def _after_the_kill(place: Place, run_id: str) -> float:
    """With PostgreSQL: let the tools' processes end, and the lease run out, which takes longer. Return what they took.

    With SQLite nothing is waited for: Muster itself must.
    """
    from runs.stored.database import open_database
    from runs.stored.tables import WORKERS

    if "MUSTER_DATABASE_URL" not in os.environ:
        return 0.0
    took = _until_hosts_end(place, run_id)
    database = open_database(place.lab.settings())
    with database.begin() as connection:
        connection.execute(sa.delete(WORKERS))
    database.dispose()
    return took


def _answer(place: Place, run_id: str) -> int:
    """Answer what the run asks in the inbox; return how many outcomes were unknown."""
    from runs.people.inbox import Inbox
    from runs.stored.database import open_database

    database = open_database(place.lab.settings())
    inbox, unknown = Inbox(database), 0
    for asked in inbox.open(run_id):
        said = {"review": "", "task": "red"}.get(asked.question.kind, "")
        if asked.question.kind == "unknown_outcome":
            unknown += 1
            paid = [line for line in place.effects(run_id) if line.startswith("once")]
            said = "it happened" if any(f'"{line[5:]}"' in asked.question.text for line in paid) else "it did not"
        terms = asked.question.terms
        inbox.answer(asked.question_id, said, "benchmark@here", terms.binding if terms is not None else "")
    database.dispose()
    return unknown


def _to_the_end(place: Place, run_id: str, kill_at: int = 0) -> tuple[str, Counter[str], float]:
    """Execute the run until it ends; return its state, what happened, and how long its killed hosts lived on."""
    state, seen, lived = _in_child(place, run_id, kill_at), Counter[str](), 0.0
    for _ in range(MOST_ROUNDS):
        if state not in ("killed", "waiting"):
            break
        if state == "killed":
            seen["kills"] += 1
            lived = _after_the_kill(place, run_id)
        seen["asked"] += _answer(place, run_id)
        state = _in_child(place, run_id, 0 if seen["kills"] else kill_at)
    return state, seen, lived


def _end_of(place: Place, run_id: str) -> dict[str, Any]:
    from runs.stored.database import open_database
    from runs.stored.engine import Reader
    from runs.stored.store import RunStore
    from runs.told.report import summarise

    settings = place.lab.settings()
    database = open_database(settings)
    row = RunStore(database).find(run_id)
    assert row is not None
    summary = summarise(Reader(database), row, settings.state_folder / "runs" / run_id)
    database.dispose()
    return {"output": summary["output"], "tasks": [(task["name"], task["output"]) for task in summary["tasks"]]}


def _again(ledger: list[str]) -> int:
    """Count the steps that were made again after they had been journaled."""
    recorded: set[str] = set()
    again = 0
    for line in ledger:
        what, _, name = line.partition(" ")
        if what == "recorded":
            recorded.add(name)
        elif what == "made" and name in recorded:
            again += 1
    return again


def _count(place: Place, run_id: str, expected: Counter[str]) -> Counter[str]:
    """Count what must not have happened, and the probes."""
    effects = Counter(place.effects(run_id))
    plain = Counter(line.partition("|")[0] for line in effects.elements())
    ledger = place.ledger(run_id)
    return Counter(
        probed=sum(line.startswith("made ") and "/probe" in line for line in ledger),
        once_twice=sum(count > 1 for line, count in plain.items() if line.startswith("once")),
        two_keys=sum(
            len({line for line in effects if line.partition("|")[0] == one}) > 1 for one in plain if one[:5] == "keyed"
        ),
        lost_effects=len(expected.keys() - plain.keys()),
        journaled_again=_again(ledger),
    )


def trial(place: Place, stride: int, first: int, note: Callable[[str], None]) -> dict[str, Any]:
    """Kill the shape at every boundary from the `first`, or at every `stride`-th; return what came of it."""
    state, _, _ = _to_the_end(place, "calm")
    assert state == "succeeded", state
    calm, boundaries = _end_of(place, "calm"), len(place.ledger("calm"))
    expected = Counter(line.partition("|")[0] for line in place.effects("calm"))
    found, longest = Counter[str](dict.fromkeys(_COLUMNS, 0)), 0.0
    assert _again(place.ledger("calm")) == 0
    for number in range(first, boundaries + 1, stride):
        run_id = f"kill-{number}"
        state, seen, lived = _to_the_end(place, run_id, number)
        same = state == "succeeded" and _end_of(place, run_id) == calm
        seen += _count(place, run_id, expected)
        longest = max(longest, lived, _until_hosts_end(place, run_id))
        found += seen + Counter(ended=state == "succeeded", same_bytes=same)
        if not same or seen["kills"] != 1 or any(seen[name] for name in _NEVER):
            at = place.ledger(run_id)[number - 1]
            note(f"{place.shape} boundary {number}: {state}: {at}: {dict(seen)} {place.effects(run_id)}")
    counts = {name: found[name] for name in _COLUMNS}
    return {"boundaries": boundaries, **counts, "hosts_ended_within": round(longest, 2)}


_NEVER = ("once_twice", "two_keys", "lost_effects", "journaled_again")
_COLUMNS = ("kills", "ended", "same_bytes", "asked", "probed", *_NEVER)


@contextlib.contextmanager
def _database(kind: str) -> Generator[None]:
    if kind == "sqlite":
        yield
        return
    with PostgresServer() as server:
        os.environ["MUSTER_DATABASE_URL"] = server.new_database()
        try:
            yield
        finally:
            del os.environ["MUSTER_DATABASE_URL"]


def measure(
    shapes: list[str], databases: list[str], stride: int, note: Callable[[str], None], first: int = 1
) -> list[dict[str, Any]]:
    """Return one row for each shape on each database."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="muster-boundaries-") as folder:
        from runs import quiet

        quiet.prepare(Path(folder) / "crewai")
        for name in ("runs.executing.control", "openai.resources"):
            importlib.import_module(name)
        for kind in databases:
            with _server() as base_url:
                for shape in shapes:
                    with _database(kind):  # each shape's own, since the runs' ids are the same
                        began = time.monotonic()
                        row = trial(Place(shape, Path(folder, kind, shape), base_url), stride, first, note)
                    row = {"shape": shape, "database": kind, **row, "seconds": round(time.monotonic() - began)}
                    note(json.dumps(row))
                    found.append(row)
    return found


@contextlib.contextmanager
def _server() -> Generator[str]:
    """Run the scripted server in a forked process: this one must have no threads when it forks."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with ScriptedServer(SCRIPT) as server:
            os.write(write, server.base_url.encode())
            os.close(write)
            signal.pause()
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        base_url = pipe.read()
    try:
        yield base_url
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def is_as_promised(row: dict[str, Any]) -> bool:
    """Say whether every kill of a row ended as if it had not been, and no probe left a question."""
    return (
        row["kills"] == row["same_bytes"] > 0
        and not any(row[name] for name in _NEVER)
        and (row["shape"] != "probe" or not row["asked"])
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--shapes", default=",".join(SHAPES))
    asked.add_argument("--databases", default="sqlite,postgres")
    asked.add_argument("--stride", type=int, default=1)
    given = asked.parse_args()
    rows = measure(
        given.shapes.split(","), given.databases.split(","), given.stride, lambda line: print(line, flush=True)
    )
    bad = [row for row in rows if not is_as_promised(row)]
    if bad:
        raise SystemExit(f"not as promised: {bad}")


if __name__ == "__main__":
    main()
