"""Tools by name: the built-in ones, one a file in this folder, and the project's own."""

import functools
import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from project.code import read_code
from project.errors import AppError, Where
from project.hints import suggest
from project.spec import ToolUse
from tools.load import GUARDRAIL_MARK, TOOL_MARK, load_file, load_functions, sources_of
from tools.tool import Home, Tool, make_tool, unset_parameters

BUILTIN = (
    "calculator",
    "http_get",
    "list_documents",
    "read_document",
    "run_python",
    "search_documents",
    "shell",
    "write_file",
)
_IN_HOSTS = ("http_get", "run_python", "shell")
"""Built-in tools that wait for others: they run in a process that can be ended, as a project's own do."""


def builtin_tools_folder() -> Path:
    """Return the folder of the built-in tools."""
    return Path(__file__).resolve().parent


def is_builtin(name: str) -> bool:
    """Say whether a built-in tool has this name."""
    return name in BUILTIN


def load_tools(project_root: Path, uses: Sequence[ToolUse]) -> dict[str, Tool]:
    """Make the tools that `uses` names, by name. User files are loaded only when a tool is not built in.

    Raises: AppError (exit 3) for an unknown tool, a wrong or missing setting, a user tool called like a built-in one,
    or a user file that fails while it is loaded.
    """
    made: dict[str, Tool] = {}
    own: dict[str, Callable[..., Any]] | None = None
    for use in uses:
        if is_builtin(use.name):
            function = _builtin(use.name)
        else:
            own = _user_tools(project_root) if own is None else own
            if use.name not in own:
                known = [*BUILTIN, *own]
                fix = suggest(use.name, known, "tools")
                raise AppError(f"unknown tool {use.name!r}", fix=fix, exit_code=3)
            function = own[use.name]
        tool = _made(function, json.dumps(use.settings))
        builtin = is_builtin(use.name)
        made[use.name] = replace(tool, builtin=builtin, knows_run=builtin or tool.knows_run)
        if use.name in _IN_HOSTS or (not is_builtin(use.name) and getattr(function, TOOL_MARK).get("process", True)):
            made[use.name] = replace(made[use.name], home=home_of(function))
        if unset := [name for name in unset_parameters(function) if name not in use.settings]:
            what = f"the tool `{use.name}` needs `{unset[0]}`, which no agent may choose"
            raise AppError(what, fix=f'write `- {use.name}: {{{unset[0]}: "..."}}`', exit_code=3)
    return made


def _builtin(name: str) -> Callable[..., Any]:
    if name in _IN_HOSTS:
        return load_file(builtin_tools_folder() / f"{name}.py", TOOL_MARK)[name]
    return getattr(importlib.import_module(f"tools.{name}"), name)


def home_of(function: Callable[..., Any]) -> Home | None:
    """Return where another process finds a function of the user's; None when it came from no file of theirs."""
    sources = sources_of(function)
    if sources is None:
        return None
    file = str(next(iter(sources)))
    digest = hashlib.sha256(json.dumps([file, function.__name__]).encode())
    for path, content in sources.items():
        digest.update(f"{path} {len(content)} ".encode() + content)
    return Home(file, function.__name__, {str(path): content for path, content in sources.items()}, digest.hexdigest())


@functools.lru_cache(maxsize=256)
def _made(function: Callable[..., Any], settings: str) -> Tool:
    # A pydantic class for each tool of each run would cost more than all of the run's bookkeeping.
    return make_tool(function, json.loads(settings))


def load_guardrails(project_root: Path) -> dict[str, Callable[[str], Any]]:
    """Return the `@guardrail` functions of the project by name. Raises: AppError as `load_tools`."""
    return load_functions(project_root / "guardrails", GUARDRAIL_MARK)


def _user_tools(project_root: Path) -> dict[str, Callable[..., Any]]:
    folder = project_root / "tools"
    if folder.resolve() == builtin_tools_folder():
        return _tools_beside_ours(folder)
    own = load_functions(folder, TOOL_MARK)
    for name in own:
        if is_builtin(name):
            code = inspect.unwrap(own[name]).__code__
            where = Where(f"tools/{Path(code.co_filename).name}", code.co_firstlineno, 1, name)
            fix = "give the function another name"
            raise AppError(f"`{name}` is the name of a built-in tool", where=where, fix=fix, exit_code=3)
    return own


def _tools_beside_ours(folder: Path) -> dict[str, Callable[..., Any]]:
    """Return the tools that a user put into the checkout's own tools/, without running our files a second time."""
    declared = read_code(folder, folder.name, "tool").tools.values()
    paths = dict.fromkeys(folder.parent / tool.path for tool in declared if not is_builtin(tool.name))
    return {name: function for path in paths for name, function in load_file(path, TOOL_MARK).items()}
