"""Classes of crewai-tools by name, made into our tools. The package is imported only when YAML names one."""

import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from crewai.tools import BaseTool
from crewai.utilities.string_utils import sanitize_tool_name
from pydantic import BaseModel, ValidationError

from agents.crewai_declared import DECLARED, UNDECLARED, Declared
from muster import ToolContext
from project.errors import AppError
from project.spec import ToolUse
from tools.load import load_modules
from tools.registry import builtin_tools_folder
from tools.tool import Tool

_TIMEOUT_SECONDS = 120.0


def load_crewai_tool(use: ToolUse, project: Path) -> Tool:
    """Make the crewai-tools class that `use` names, with its settings as constructor arguments, into a tool.

    Never prompts: a missing package or key is an AppError that says so.
    """
    with _no_questions():
        try:
            package = importlib.import_module("crewai_tools")
            made = getattr(package, use.name)(**use.settings)
        except AttributeError as error:
            raise AppError(f"crewai-tools has no {use.name}", fix="`muster tools` lists what there is") from error
        except (SystemExit, EOFError, ImportError) as error:
            text = _first_line(error) or "a package it needs is not installed"
            raise AppError(f"tool {use.name} can't be used: {text}", fix=f"install what {use.name} needs") from error
        except ValidationError as error:
            shown = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise AppError(f"tool {use.name}: {shown}", fix="give it as a setting of the tool in YAML") from error
        except Exception as error:
            raise AppError(f"tool {use.name} can't be made: {_first_line(error)}") from error
    return _wrap(DECLARED.get(use.name, UNDECLARED), cast(BaseTool, made), use)


def find_own_tools(project: Path) -> dict[str, Callable[..., Any]]:
    """Return what makes each tool of the project that is written for CrewAI, by the name of its class or function.

    Raises: AppError (exit 3) with file and line when a file fails while it is loaded.
    """
    folder = project / "tools"
    if folder.resolve() == builtin_tools_folder():
        return {}
    found: dict[str, Callable[..., Any]] = {}
    for module in load_modules(folder, "crewai"):
        for name, value in vars(module).items():
            if isinstance(value, BaseTool):
                found[name] = _given(value)
            elif isinstance(value, type) and issubclass(value, BaseTool) and value.__module__ == module.__name__:
                found[name] = value
    return found


def _given(tool: BaseTool) -> Callable[..., BaseTool]:
    return lambda: tool


def make_own_tool(use: ToolUse, make: Callable[..., Any], project: Path) -> Tool:
    """Make one of `find_own_tools`, with the settings as constructor arguments. Raises: AppError."""
    with _no_questions():
        try:
            made: BaseTool = make(**use.settings)
        except Exception as error:
            raise AppError(f"tool {use.name} can't be made: {_first_line(error)}", exit_code=3) from error
    return _wrap(UNDECLARED, made, use)  # also where it is called like one that is known


def _wrap(declared: Declared, made: BaseTool, use: ToolUse) -> Tool:
    schema: dict[str, Any] = made.args_schema.model_json_schema()
    parameters = {key: schema[key] for key in ("type", "properties", "required", "$defs") if key in schema}

    def check(arguments: object) -> list[str]:
        try:
            made.args_schema.model_validate(arguments)
        except ValidationError as error:
            return [f"{'.'.join(map(str, item['loc'])) or 'arguments'}: {item['msg']}" for item in error.errors()]
        return []

    def call(arguments: dict[str, Any], _context: ToolContext) -> str:
        result: Any = made.run(**arguments)
        return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False, default=str)

    return Tool(
        name=sanitize_tool_name(made.name),
        description=made.description,
        parameters=parameters,
        effect=declared.effect,
        repeat=declared.repeat,
        returns=declared.returns,
        private=declared.private,
        timeout_seconds=_TIMEOUT_SECONDS,
        checker=check,
        runner=call,
        knows_run=False,
        afar=declared.afar,
        settings=dict(use.settings),
        taken=functools.partial(_taken, made.args_schema),
    )


def _taken(schema: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments with those that the tool takes by itself, as JSON; {} where they are wrong."""
    try:
        written: dict[str, Any] = schema.model_validate(dict(arguments)).model_dump(mode="json", exclude_none=True)
    except (TypeError, ValueError, RecursionError):
        return {}
    return written


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else ""


@contextmanager
def _no_questions() -> Generator[None]:
    # Seventeen of these classes ask on the terminal, when they are made, whether to install a package.
    kept = sys.stdin
    with open(os.devnull) as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = kept
