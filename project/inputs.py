"""The inputs of a crew: which there are, and what was given for them, checked before anything is spent."""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from project.crew_texts import inputs_of
from project.errors import AppError, ConfigErrors, Problem
from project.hints import quoted, suggest
from project.load import Project
from project.spec import CrewSpec, InputSpec

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")

_LONGEST_PATH = 400

Value = str | int | float


def crew_inputs(project: Project, crew: str) -> dict[str, InputSpec]:
    """Return the inputs of a crew: those that it lists, then each other placeholder of its texts, a required text.

    A pipeline has those of its crews, too, that it does not map. What conditions name is no input by that alone.

    Raises: AppError (exit 3) for an unknown crew.
    """
    find_crew(project, crew)
    return inputs_of(crew, project.crews, project.tasks, project.agents)


def read_inputs(project: Project, crew: str, given: Mapping[str, str], cwd: Path) -> dict[str, Value]:
    """Return the value of every input, of its own type; what is not given has its default.

    Folders and files become absolute paths, from `cwd` where given and from the project by default. They must be there,
    and a folder must hold a file.

    Raises: ConfigErrors (exit 3) naming everything that is missing, unknown or wrong.
    """
    return read_values(crew_inputs(project, crew), crew, given, project.root, cwd)


def read_values(
    specs: Mapping[str, InputSpec],
    crew: str,
    given: Mapping[str, str],
    root: Path,
    cwd: Path,
    *,
    here: Callable[[str], str] = str,
) -> dict[str, Value]:
    """Return the value of every input of `specs`, as `read_inputs` does for a crew of a project.

    `here` tells where on this machine a path leads; the value is the path as it was given.
    """
    problems = [_unknown(name, crew, specs) for name in given if name not in specs]
    values: dict[str, Value] = {}
    for name, spec in specs.items():
        value = _read(name, spec, given, root, cwd, here)
        if isinstance(value, Problem):
            problems.append(value)
        else:
            values[name] = value
    if problems:
        raise ConfigErrors(problems)
    return values


def find_crew(project: Project, name: str) -> CrewSpec:
    """Return the crew called `name`. Raises: AppError (exit 3) with the nearest names."""
    if name not in project.crews:
        raise AppError(
            f"unknown crew {quoted(name)}", fix=suggest(name, list(project.crews), "the project has"), exit_code=3
        )
    return project.crews[name]


def _unknown(name: str, crew: str, specs: Mapping[str, InputSpec]) -> Problem:
    fix = suggest(name, list(specs), f"`{crew}` takes", f"`{crew}` takes no inputs")
    return Problem(f"unknown input {quoted(name)}", None, fix)


def _read(
    name: str, spec: InputSpec, given: Mapping[str, str], root: Path, cwd: Path, here: Callable[[str], str]
) -> Value | Problem:
    if name in given:
        text, base = given[name], cwd
        if not text.strip() and not (spec.type == "text" and spec.default is not None):
            return Problem(f"input `{name}` is empty", None, f"give it by -i {name}={_example(spec)}")
    elif spec.default is None:
        about = f": {spec.description}" if spec.description else ""
        return Problem(f"input `{name}` is missing{about}", None, f"give it by -i {name}={_example(spec)}")
    elif not isinstance(spec.default, str):
        return spec.default
    else:
        text, base = spec.default, root
    if spec.type in ("folder", "file"):
        return _read_path(name, spec, text, base, here)
    return text if spec.type == "text" else _read_number(name, spec, text.strip())


def _read_number(name: str, spec: InputSpec, text: str) -> Value | Problem:
    # int() would also take "1_000" and digits of other scripts, and a prompt would then not show what was typed.
    if spec.type == "integer":
        if _WHOLE.fullmatch(text):
            return int(text)
        return Problem(
            f"input `{name}` must be a whole number, got {quoted(text)}", None, f"write digits only: -i {name}=600"
        )
    if _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return Problem(f"input `{name}` must be a number, got {quoted(text)}", None, f"write it like -i {name}=0.5")


def _read_path(name: str, spec: InputSpec, text: str, base: Path, here: Callable[[str], str]) -> str | Problem:
    given = os.path.abspath(base / _expand(text))
    path = Path(here(given))
    shown = quoted(given, _LONGEST_PATH)
    fix = f"give a {spec.type} by -i {name}=PATH"
    try:
        there = path.is_dir() if spec.type == "folder" else path.is_file()
        if not there:
            other = "a file" if path.is_file() else "a folder" if path.is_dir() else ""
            what = f"is {other}, not a {spec.type}" if other else "is not there"
            return Problem(f"input `{name}`: {shown} {what}", None, fix)
        if spec.type == "folder" and not _holds_a_file(path):
            return Problem(f"input `{name}`: the folder {shown} holds no file", None, fix)
        if not os.access(path, os.R_OK):
            return Problem(f"input `{name}`: {shown} cannot be read", None, "check its permissions")
    except (OSError, ValueError):
        return Problem(f"input `{name}`: {quoted(text)} is no path", None, fix)
    return given


def _expand(text: str) -> Path:
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError:
        return Path(text.strip())


def _holds_a_file(folder: Path) -> bool:
    """Say whether there is a file at any depth; hidden ones, such as .gitkeep, do not count."""
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(not name.startswith(".") for name in files):
            return True
    return False


def _example(spec: InputSpec) -> str:
    return {"integer": "600", "number": "0.5", "folder": "PATH", "file": "PATH"}.get(spec.type, "TEXT")
