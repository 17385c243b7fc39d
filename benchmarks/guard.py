"""What the guard costs a tool call: the decision and the journal, SQLite on disk, beside a bare commit to SQLite.

    python -m benchmarks.guard [--calls 200] [--rules 60] [--folder DIR]

One real run: a task whose model asks for so many calls of a tool that does nothing, first of a `safe` one, then of a
`once` one, under a policy of so many rules and two order rules. Timed is `ToolCalls.make` as a whole: checking the
arguments, looking at paths, deciding, the intent where there is one, the step in the journal, and noting what was done.
The tool runs in this process and does nothing, so all of it is the guard. After every call one row is committed to
another SQLite file in the same folder with the same settings (WAL, synchronous FULL): what the disk takes at least.
The CPU is that of the lane's own thread; on a busy machine the rest is waiting, for the disk and for a processor.

Prints a table and, as the last line, one JSON object; exit 1 when a median is above its target: 3 ms, `once` 5 ms.
"""

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab import Lab
from tests.runs.scene import write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall

TARGETS_MS = {"safe": 3.0, "once": 5.0}
TOOLS = '''
from muster import tool


@tool(effect="write", repeat="safe", process=False)
def nod(number: int, path: str) -> str:
    """Do nothing."""
    return "nodded"


@tool(effect="send", repeat="once", process=False)
def wave(number: int, to: str) -> str:
    """Do nothing, once."""
    return "waved"
'''
_ROW = "x" * 700
"""About what a tool's step takes in the journal."""


def script(calls: int) -> Callable[[list[Any], list[Any]], Reply]:
    """Return a model that asks for all calls of a tool in one reply, then answers."""

    def reply(messages: list[Any], tools: list[Any]) -> Reply:
        if messages[-1]["role"] == "tool":
            return Reply("done")
        name = "nod" if '"nod"' in json.dumps(tools) else "wave"
        more = {"path": "notes/a.md"} if name == "nod" else {"to": "ann@example.com"}
        wanted = (ToolCall(name, json.dumps({"number": number, **more})) for number in range(calls))
        return Reply("", tuple(wanted))

    return reply


def write(lab: Lab, rules: int, calls: int) -> None:
    """Write the project: one task for each tool, and the policy."""
    lab.write(tools__nods_py=TOOLS)
    usual: dict[str, Any] = {"expected_output": "A line.", "agent": "worker", "context": []}
    write_project(
        lab,
        {
            "safe": {"description": "Nod", "tools": ["nod"], **usual},
            "once": {"description": "Wave", "tools": ["wave"], **usual, "context": ["safe"]},
        },
        {"max_iter": calls + 10},
    )
    kinds: list[dict[str, Any]] = [
        {"tools": ["nod", "wave"], "arguments": {"number": {"min": 10_000}}},
        {"tools": ["wave"], "domains": ["*.example.org"]},
        {"tools": ["n*"], "paths": ["secrets/**"]},
        {"effects": ["spend"]},
    ]
    denying = [{"decide": "deny", **kinds[number % len(kinds)]} for number in range(rules - 1)]
    order = [{"tool": "wave", "at_most": calls}, {"tool": "nod", "before": ["wave"]}]
    allowing = [
        {"decide": "allow", "tools": ["wave"], "domains": ["example.com"]},
        {"decide": "allow", "tools": ["nod"]},
    ]
    policy = {"rules": [*denying[:-1], *allowing], "order": order}
    lab.write(policy=json.dumps(policy))


class Stopwatch:
    """Times every tool call of a run, and a bare commit after each."""

    def __init__(self, folder: Path) -> None:
        self.guard: dict[str, list[float]] = {}
        self.used: dict[str, list[float]] = {}
        self.commit: dict[str, list[float]] = {}
        self._database = sqlite3.connect(folder / "bare.db", isolation_level=None, check_same_thread=False)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = full")
        self._database.execute("create table rows (number integer primary key, text text)")

    def watch(self) -> None:
        """Time the calls from now on, in this process."""
        from runs.calls.tool_calls import ToolCalls

        make, watch = ToolCalls.make, self

        def timed(self: ToolCalls, call: Any, attempt: int = 1) -> tuple[str, dict[str, Any]]:
            began, busy = time.perf_counter(), time.thread_time()
            result = make(self, call, attempt)
            kind = "safe" if call.name == "nod" else "once"
            watch.used.setdefault(kind, []).append((time.thread_time() - busy) * 1000)
            watch.guard.setdefault(kind, []).append((time.perf_counter() - began) * 1000)
            watch.commit.setdefault(kind, []).append(watch.commit_one())
            if "refused" in result[1] or "error" in result[1]:
                raise SystemExit(f"a call was not made: {result[0]}")
            return result

        ToolCalls.make = timed

    def commit_one(self) -> float:
        """Commit a row; return milliseconds."""
        began = time.perf_counter()
        self._database.execute("insert into rows (text) values (?)", (_ROW,))
        return (time.perf_counter() - began) * 1000


def measure(calls: int, rules: int, folder: Path) -> dict[str, dict[str, float]]:
    """Return milliseconds by kind of call: of the guard and of a bare commit."""
    with ScriptedServer(script(calls)) as server:
        server.configure(latency="0", faults=[])
        lab = Lab(folder / "project")
        write(lab, rules, calls)
        lab.models(server.base_url)
        watch = Stopwatch(folder)
        _ = lab.runner  # it tells CrewAI to be quiet before it is imported
        watch.watch()
        outcome = lab.run()
        lab.close()
    if outcome.status != "succeeded":
        raise SystemExit(f"the run {outcome.status}: {outcome.reason}")
    found: dict[str, dict[str, float]] = {}
    for kind, times in watch.guard.items():
        if len(times) != calls:
            raise SystemExit(f"{len(times)} of {calls} calls were made")
        found[kind] = {
            "median_ms": round(statistics.median(times), 3),
            "p90_ms": round(statistics.quantiles(times, n=10)[8], 3),
            "cpu_median_ms": round(statistics.median(watch.used[kind]), 3),
            "commit_median_ms": round(statistics.median(watch.commit[kind]), 3),
            "commit_p90_ms": round(statistics.quantiles(watch.commit[kind], n=10)[8], 3),
        }
    return found


def main() -> None:
    """Measure, print, and exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rules", type=int, default=60)
    parser.add_argument("--folder", default=None, help="Where the files stand; must be on a disk.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        found = measure(asked.calls, asked.rules, Path(folder))
    print("calls   median ms   p90 ms   of that CPU ms   bare commit: median ms   p90 ms   target ms")
    for kind, of in found.items():
        guard = f"{of['median_ms']:>10.2f}  {of['p90_ms']:>7.2f}  {of['cpu_median_ms']:>15.2f}"
        commit = f"{of['commit_median_ms']:>23.2f}  {of['commit_p90_ms']:>7.2f}"
        print(f"{kind:5}  {guard}  {commit}  {TARGETS_MS[kind]:>10.1f}")
    passed = all(of["median_ms"] <= TARGETS_MS[kind] for kind, of in found.items())
    print(json.dumps({"calls": asked.calls, "rules": asked.rules, **found, "passed": passed}))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
