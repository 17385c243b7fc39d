"""The table of rooms in AGENTS.md, enforced: who may import whom, where the fences run, how long a file may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BELOW = {
    "project": set(),
    "models": {"project"},
    "tools": {"project"},
    "policy": {"project"},
    "agents": {"project", "models", "tools", "policy"},
    "tasks": {"project", "models", "tools", "policy"},
    "crews": {"project", "models", "tools", "policy", "agents", "tasks"},
    "runs": {"project", "models", "tools", "policy", "agents", "tasks", "crews"},
    "cli": {"project", "models", "tools", "policy", "agents", "tasks", "crews", "runs"},
}
FENCES = {
    "crewai": ("models/make.py", "agents/", "tasks/build.py", "runs/calls/seams.py", "runs/executing/workflow.py"),
    "dbos": ("runs/stored/engine.py", "runs/stored/engine_sqlite.py"),
    "typer": ("cli/", "main.py"),
}
# Heavy or optional: imported inside the function that needs them. Everything else stands at the top, but in cli/.
LAZY = {"genai_prices", "bs4", "celpy", "fsspec", "pydantic_monty", "pypdf", "docx", "tempfile", "traceback"}
MOST_LINES = 600
FILES = sorted(path for room in BELOW for path in (ROOT / room).rglob("*.py"))


def _imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield the top name of each import and whether it stands inside a function."""
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], id(node) in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0], id(node) in inside


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    room = name.split("/")[0]
    for imported, inside in _imports(ast.parse(path.read_text())):
        if imported in BELOW and imported != room:
            assert imported in BELOW[room], f"{name} imports {imported}"
        if imported in FENCES:
            assert name.startswith(FENCES[imported]), f"{name} imports {imported}"
        if inside and room != "cli":
            assert imported in LAZY, f"{name} imports {imported} inside a function"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_the_map_names_every_folder_of_the_largest_room() -> None:
    table = (ROOT / "AGENTS.md").read_text()
    folders = sorted(path.parent for path in (ROOT / "runs").glob("*/__init__.py"))
    assert [folder.name for folder in folders if f"| `{folder.name}/` |" not in table] == []
    assert sorted(path.name for path in (ROOT / "runs").glob("*.py")) == ["__init__.py", "ids.py", "quiet.py"]
