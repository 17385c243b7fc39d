"""What benchmarks/boundaries.py kills: crews with a `safe`, a `keyed` and a `once` tool, and what they leave behind."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab import Lab
from tests.runs.boss import AGENTS, boss, plan, subtask

_TOOLS = '''
import os
import time
from pathlib import Path

from benchmarks.ticks import tick
from muster import tool


def _act(line: str) -> str:
    """Note a line. Where Muster is killed in the middle of it, it is noted a moment later, however this is ended."""
    try:
        if tick("inside", line):
            time.sleep(0.05)
    finally:
        _note(line)
    tick("acted", line)
    return _told(line)


def _note(line: str) -> None:
    file = os.open(os.environ["BOUNDARY_EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{line}\\n".encode())
    os.fsync(file)
    os.close(file)


def _told(line: str) -> str:
    return f"noted {line.partition('|')[0]}"


def was_paid(text: str) -> str | None:
    """Look into the file of effects."""
    file = Path(os.environ["BOUNDARY_EFFECTS"])
    lines = file.read_text().splitlines() if file.exists() else []
    return _told(f"once {text}") if f"once {text}" in lines else None


@tool(effect="write", repeat="safe")
def put(text: str) -> str:
    """Note a line; noting it again changes nothing."""
    return _act(f"safe {text}")


@tool(effect="send", repeat="keyed")
def post(text: str, idempotency_key: str = "") -> str:
    """Post a line under a key."""
    return _act(f"keyed {text}|{idempotency_key}")


@tool(effect="spend", repeat="once"PROBE)
def pay(text: str) -> str:
    """Pay once."""
    return _act(f"once {text}")
'''
_CALLS = """@call put {{"text": "{0}"}}
@call post {{"text": "{0}"}}
@call pay {{"text": "{0}"}}
@answer: did {0}"""
_NAMES = ["put", "post", "pay"]
_WORKER = {"role": "Worker", "goal": "Do the work", "backstory": "You work.", "tools": _NAMES}


def _task(name: str, **more: Any) -> dict[str, Any]:
    return {"description": _CALLS.format(name), "expected_output": "A line.", "agent": "worker", **more}


def _line() -> dict[str, Any]:
    return {"tasks": {"first": _task("one"), "last": _task("two", guardrails=[{"matches": "did"}])}}


def _lanes() -> dict[str, Any]:
    sides = {name: _task(name, context=[]) for name in ("east", "west")}
    return {"tasks": {**sides, "both": _task("both", context=["east", "west"])}}


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
    agents = {name: {**AGENTS[name], "tools": _NAMES} for name in ("worker", "critic")}
    unused = {"description": "x", "expected_output": "y", "agent": "worker"}
    return {"agents": agents, "tasks": {"unused": unused}, "crews": {"default": crew}}


SHAPES: dict[str, Callable[[], dict[str, Any]]] = {
    "line": _line,
    "probe": _line,
    "asks": _line,
    "lanes": _lanes,
    "person": _person,
    "boss": _boss,
}
SCRIPT = boss(
    [plan(subtask("find", _CALLS.format("find")), subtask("make", _CALLS.format("make"), depends_on=["find"]))]
)


class Place:
    """One shape in a project folder of its own, on one database."""

    def __init__(self, shape: str, folder: Path, base_url: str) -> None:
        self.lab, self.shape = Lab(folder), shape
        files = {"agents": {"worker": _WORKER}, **SHAPES[shape]()}
        self.lab.write(**{name: json.dumps(value) for name, value in files.items()})
        if shape != "asks":  # there a person approves each call of `post` and `pay`
            self.lab.allow_all()
        self.lab.write(tools__effects_py=_TOOLS.replace("PROBE", ", probe=was_paid" if shape == "probe" else ""))
        self.lab.models(base_url)

    def file(self, kind: str, run_id: str) -> Path:
        return self.lab.root / f"{kind}-{run_id}.txt"

    def effects(self, run_id: str) -> list[str]:
        return _lines(self.file("effects", run_id))

    def ledger(self, run_id: str) -> list[str]:
        return _lines(self.file("ledger", run_id))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
