"""Two machines that share a database and a place for files, and a crew that makes and reads files on them."""

import json
import shutil
from pathlib import Path
from typing import Any

from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.scene import model_spec, write_project

STOP, GO = BudgetSpec(max_tool_calls=3), BudgetSpec(max_tool_calls=50, max_model_calls=50)
LATE = BudgetSpec(max_tool_calls=5)
"""Stops when all is done but the last task."""
TOOLS = '''
import threading

from muster import ToolContext, tool


@tool(effect="write", repeat="safe")
def note(name: str, text: str, context: ToolContext) -> str:
    """Add a line to a file of the run."""
    context.output_folder.mkdir(parents=True, exist_ok=True)
    path = context.output_folder / name
    before = path.read_text() if path.exists() else ""
    path.write_text(f"{before}{text}\\n")
    return f"{path.name} has {len(path.read_text())} characters"


@tool(effect="read")
def open_file(path: str, context: ToolContext) -> str:
    """Read any file by its path, from the project where it is relative."""
    return f"{path}: {(context.project / path).read_text().strip()}"


@tool(effect="write", repeat="once")
def lose(context: ToolContext, file: str = "") -> str:
    """Do something that happens once; meanwhile the shared folder goes away."""
    tmp = context.project.parent.parent
    with open(tmp / "done.txt", "a") as done:
        done.write("done\\n")
    if file:
        context.output_folder.mkdir(parents=True, exist_ok=True)
        (context.output_folder / file).write_text("made once")
    (tmp / "shared").rename(tmp / "away")
    return "it is done"


@tool(effect="read", timeout_seconds=120)
def wait_here(context: ToolContext) -> str:
    """Wait for ever on a machine that is told to."""
    if (context.project.parent / "block").exists():
        (context.project.parent / "blocked").touch()
        threading.Event().wait()
    return "went on"
'''
GATHER = """About {documents}.
@call note {"name": "list.txt", "text": "one"}
@call note {"name": "list.txt", "text": "two"}
@call read_document {"path": "sun.md"}
@call open_file {"path": "{documents}/deep/moon.md"}
@call note {"name": "list.txt", "text": "three"}
@echo"""


class Machines:
    """Two machines: folders of their own, one database, one shared place. Only one is on at a time."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        self.a, self.b = Lab(folder / "a" / "project"), Lab(folder / "b" / "deeper" / "project")
        self.documents = folder / "a" / "documents"
        (self.documents / "deep").mkdir(parents=True)
        (self.documents / "sun.md").write_text("# The sun\n\nThe sun rises.\n")
        (self.documents / "deep" / "moon.md").write_text("The moon sets.\n")
        self.model = model

    def write(self, tasks: dict[str, Any], tools: list[Any], **inputs: Any) -> None:
        for lab in (self.a, self.b):
            wanted = {"documents": {"type": "folder"}, **inputs}
            crews = {"default": {"tasks": list(tasks), "inputs": wanted}}
            write_project(lab, tasks, {"tools": tools}, crews=crews)
            (lab.root / "tools").mkdir(exist_ok=True)
            (lab.root / "tools" / "own.py").write_text(TOOLS)
            model_spec(lab, self.model, context_window=4_000_000)

    def start(self, run_id: str, budget: BudgetSpec = STOP, **inputs: str) -> Any:
        given = {"documents": str(self.documents), **inputs}
        return self.a.run(inputs=given, run_id=run_id, budget=budget)

    def lose_a(self) -> None:
        """Machine A is gone, with its disk."""
        self.a.close()
        shutil.rmtree(self.folder / "a")

    def close(self) -> None:
        self.a.close()
        self.b.close()


def gather(machines: Machines) -> None:
    """Write a crew that reads a folder it is given, writes a file in pieces, and delivers one that is read later."""
    machines.write(
        {
            "gather": {"description": GATHER, "output_file": "out/list.md"},
            "big": "Tell a long story",
            "close": {"description": '@call open_file {"path": "out/list.md"}\n@echo', "context": ["gather"]},
        },
        ["note", "open_file", {"read_document": {"folder": "{documents}"}}],
    )


def told(lab: Lab, run_id: str) -> list[Any]:
    """Return what the journal says of a run, prompts and all, without seconds, keys and reservations."""
    left_out = ("seconds", "key", "reservation")
    return sorted(
        (step.name, json.dumps({key: value for key, value in step.record.items() if key not in left_out}))
        for step in lab.steps(run_id)
        if step.kind != "join"
    )


def kept(lab: Lab, run_id: str) -> dict[str, str]:
    folder = Path(lab.runner.folder(run_id), "files")
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def shared(machines: Machines) -> list[str]:
    """Return what stands in the shared folder."""
    folder = machines.folder / "shared"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
