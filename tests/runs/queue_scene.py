"""A project whose runs leave marks in a file, so that who did what, when and how often is counted from outside."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import Lab

TOOL = '''
import os
import time

from muster import tool


def _mark(text: str, what: str) -> None:
    file = os.open(os.environ["EFFECTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f'{{"text": "{text}", "what": "{what}", "at": {time.monotonic()}, "pid": {os.getpid()}}}\\n'.encode())
    os.fsync(file)
    os.close(file)


@tool(effect="send", repeat="once", if_unknown="tell", timeout_seconds=100, process=False)
def send(text: str, seconds: float) -> str:
    """Send a text, which takes so long."""
    _mark(text, "begin")
    time.sleep(seconds)
    _mark(text, "end")
    return f"sent {text}"


@tool(effect="read", repeat="safe", timeout_seconds=100, process=False)
def look(text: str, seconds: float) -> str:
    """Look something up, which takes so long."""
    _mark(text, "begin")
    time.sleep(seconds)
    _mark(text, "end")
    return f"saw {text}"


@tool(effect="read", repeat="safe", process=False)
def die(text: str) -> str:
    """Kill the process that calls it."""
    _mark(text, "begin")
    os._exit(9)
'''
AGENTS = "worker: {role: Worker, goal: Do the work, backstory: You work., tools: [send, look, die]}"


@dataclass(frozen=True)
class Mark:
    text: str
    what: str
    at: float
    pid: int


def write_scene(lab: Lab, tasks: dict[str, str], queue: dict[str, Any] | None = None, base_url: str = "") -> None:
    """Write a project with these tasks, name → description, and the queue of its crew."""
    lab.write(agents=AGENTS, tools__marks_py=TOOL)
    lab.allow_all()
    (lab.root / "config" / "tasks.yaml").write_text(
        json.dumps(
            {
                name: {"description": text, "expected_output": "A line.", "agent": "worker"}
                for name, text in tasks.items()
            }
        )
    )
    crew: dict[str, Any] = {"agents": ["worker"], "tasks": list(tasks)}
    if queue:
        crew["queue"] = queue
    (lab.root / "config" / "crews.yaml").write_text(json.dumps({"default": crew}))
    if base_url:
        lab.models(base_url)


def read_marks(path: Path) -> list[Mark]:
    return [Mark(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def begun(marks: Iterable[Mark]) -> Counter[str]:
    """Count how often each call began."""
    return Counter(mark.text for mark in marks if mark.what == "begin")


def most_at_once(marks: Iterable[Mark]) -> int:
    """Return how many calls were under way at the same time, at most."""
    most = now = 0
    for mark in sorted(marks, key=lambda mark: (mark.at, mark.what == "begin")):
        now += 1 if mark.what == "begin" else -1
        most = max(most, now)
    return most
