import difflib
from pathlib import Path

from muster import ToolContext, tool

_MOST_CHARACTERS = 60_000


@tool(effect="read", returns="untrusted", cache=True)
def show_diff(folder: str, context: ToolContext) -> str:
    """Show what a change does, as a unified diff of all Python files.

    Args:
        folder: Folder of the change, with `before` and `after` in it.
    """
    root = _inside(context.project, folder)
    names = sorted({path.name for side in ("before", "after") for path in (root / side).glob("*.py")})
    if not names:
        raise ValueError(f"there is no Python file in {folder}/before or {folder}/after")
    parts = [_diff(root, name) for name in names]
    return "\n".join(part for part in parts if part)[:_MOST_CHARACTERS] or "The change changes nothing."


@tool(effect="read", returns="untrusted", cache=True)
def read_source(folder: str, path: str, context: ToolContext) -> str:
    """Read a file as it is after the change, with line numbers.

    Args:
        folder: Folder of the change.
        path: Name of the file, such as basket.py.
    """
    lines = source_of(context.project, folder, path).splitlines()
    return "\n".join(f"{number:>4}  {line}" for number, line in enumerate(lines, 1))[:_MOST_CHARACTERS]


def source_of(project: Path, folder: str, path: str) -> str:
    """Return a file as it is after the change. Raises: ValueError for one that is not there or outside."""
    root = _inside(project, folder) / "after"
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()) or file.suffix != ".py" or not file.is_file():
        raise ValueError(f"there is no Python file {path!r} in the change")
    return file.read_text(encoding="utf-8")


def _inside(project: Path, folder: str) -> Path:
    root = (project / folder).resolve()
    if not root.is_relative_to(project.resolve()) or not root.is_dir():
        raise ValueError(f"there is no folder {folder!r} in the project")
    return root


def _diff(root: Path, name: str) -> str:
    before, after = (_lines(root / side / name) for side in ("before", "after"))
    return "\n".join(difflib.unified_diff(before, after, f"before/{name}", f"after/{name}", lineterm=""))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
