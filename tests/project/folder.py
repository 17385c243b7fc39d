"""Project folders made of texts, and the built-in tools of a small application beside them."""

from collections.abc import Mapping
from pathlib import Path

from project.errors import AppError
from project.load import Project, load_project

AGENTS = """\
researcher:
  role: Researcher
  goal: Find what matters
  backstory: You read.
"""
TASKS = """\
research:
  description: Find out about it
  expected_output: Facts
  agent: researcher
"""
BUILT_IN = '''\
from typing import Annotated

from muster import ToolContext, tool
from tools.tool import FIXED


@tool(effect="read")
def search_documents(query: str, folder: Annotated[str, FIXED], context: ToolContext, limit: int = 10) -> str:
    """Search the documents."""
    return ""


@tool(effect="write", repeat="safe")
def list_notes() -> str:
    """List the notes."""
    return ""
'''


def write(root: Path, files: Mapping[str, str | bytes | None] | None = None) -> Path:
    """Write files by their paths, over an agents.yaml and a tasks.yaml that are right; None leaves one out."""
    every: dict[str, str | bytes | None] = {"config/agents.yaml": AGENTS, "config/tasks.yaml": TASKS, **(files or {})}
    for name, content in every.items():
        if content is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def load(root: Path) -> Project:
    """Load the project with the small application's tools."""
    tools = root.parent / "application" / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    (tools / "built_in.py").write_text(BUILT_IN)
    return load_project(root, tools)


def complaints(root: Path) -> list[str]:
    """Return what loading the project prints: its problems, one a line, then its hints."""
    try:
        load(root)
    except AppError as error:
        if error.exit_code != 3:
            raise
        return [*map(str, error.problems), *(f"hint: {fix}" for fix in error.fixes())]
    return []
