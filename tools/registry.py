"""Tools by name: the built-in ones, one a file in this folder, and the project's own."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from project.errors import AppError
from project.hints import listed, suggest
from project.spec import ToolUse
from tools.load import load_functions
from tools.tool import Tool, make_tool

_TOOL_MARK = "__muster_tool__"
_GUARDRAIL_MARK = "__muster_guardrail__"
BUILTIN = ("calculator", "list_documents", "read_document", "search_documents", "write_file")


def builtin_tools_folder() -> Path:
    """Return the folder of the built-in tools."""
    return Path(__file__).resolve().parent


def is_builtin(name: str) -> bool:
    """Say whether a built-in tool has this name."""
    return name in BUILTIN


def load_tools(project_root: Path, uses: Sequence[ToolUse]) -> dict[str, Tool]:
    """Make the tools that `uses` names, by name. User files are loaded only when a tool is not built in.

    Raises: AppError for an unknown tool, a wrong setting, or a user file that fails while it is loaded.
    """
    made: dict[str, Tool] = {}
    own: dict[str, Callable[..., Any]] | None = None
    for use in uses:
        if is_builtin(use.name):
            function = getattr(importlib.import_module(f"tools.{use.name}"), use.name)
        else:
            own = _user_tools(project_root) if own is None else own
            if use.name not in own:
                known = [*BUILTIN, *own]
                raise AppError(f"unknown tool {use.name!r}", fix=suggest(use.name, known, f"one of: {listed(known)}"))
            function = own[use.name]
        made[use.name] = make_tool(function, use.settings)
    return made


def load_guardrails(project_root: Path) -> dict[str, Callable[[str], Any]]:
    """Return the `@guardrail` functions of the project by name. Raises: AppError as `load_tools`."""
    return load_functions(project_root / "guardrails", _GUARDRAIL_MARK)


def _user_tools(project_root: Path) -> dict[str, Callable[..., Any]]:
    folder = project_root / "tools"
    if folder.resolve() == builtin_tools_folder():  # the checkout is itself a project; its tools/ is the built-in room
        return {}
    return load_functions(folder, _TOOL_MARK)
