"""Projects in a line or two, and a journal cut short as a crash would leave it."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.lab import Lab

WORKER = {"role": "Worker", "goal": "Do the work", "backstory": "You work."}


def write_project(lab: Lab, tasks: Mapping[str, Any], worker: Mapping[str, Any] | None = None, **more: Any) -> None:
    """Write a project of one agent `worker`. A task is its description, or its keys in place of the usual ones."""
    usual = {"expected_output": "A line.", "agent": "worker"}
    written = {
        name: usual | ({"description": task} if isinstance(task, str) else dict(task)) for name, task in tasks.items()
    }
    files = {"agents": {"worker": WORKER | dict(worker or {})}, "tasks": written, **more}
    # JSON is YAML, and needs no thought about indentation.
    lab.write(**{name: json.dumps(value) if not isinstance(value, str) else value for name, value in files.items()})


def model_spec(lab: Lab, base_url: str, **more: Any) -> None:
    """Make the scripted server the default model, with these keys of models.yaml."""
    lab.write(models=json.dumps({"default": {"model": "openai/scripted", "base_url": base_url, **more}}))


def step_names(lab: Lab, run_id: str) -> list[str]:
    return [step.name for step in lab.steps(run_id)]


def said_to_model(request: Any) -> str:
    """Return what the user side of a request said, in one text."""
    return "\n".join(str(message["content"]) for message in request.messages if message["role"] == "user")


def database(lab: Lab) -> sqlite3.Connection:
    return sqlite3.connect(lab.root / ".muster" / "muster.db", isolation_level=None)


def crash_after(lab: Lab, run_id: str, task: str, steps: int) -> None:
    """Rewind a finished run to where a crash after so many steps of `task`, its last one, would have left it.

    The runner is closed first, as at the end of its process.
    """
    lab.close()
    child = f"{run_id}.{task}"
    with database(lab) as journal:
        journal.execute("delete from operation_outputs where workflow_uuid = ? and function_id > ?", (child, steps))
        journal.execute(
            "update workflow_status set status = 'PENDING', output = null where workflow_uuid in (?, ?)",
            (run_id, child),
        )
        journal.execute("update muster_runs set state = 'running' where run_id = ?", (run_id,))
    journal.close()


def tool_file(body: str, declaration: str = 'effect="write", repeat="safe"', signature: str = "text: str") -> str:
    """Return the text of a tool file with one tool `note`, whose body is given."""
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    return f'''import os
import threading

from muster import ToolContext, tool


@tool({declaration})
def note({signature}) -> str:
    """Note a line."""
{indented}
'''


def until(state: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait until `state` returns something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := state()):
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
    return found


def effects(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


READ_AND_TELL = '''
from muster import tool


@tool(effect="read", returns="untrusted")
def page() -> str:
    """Read a page of the web."""
    return "the page says so"


@tool(effect="read", returns="trusted", private=True)
def file() -> str:
    """Read a private file."""
    return "the file says so"


@tool(effect="send", repeat="safe", returns="trusted")
def tell(text: str) -> str:
    """Tell the world."""
    return "told"
'''
