"""`muster doctor`: what this machine and this project have, and what is missing."""

import importlib.metadata
import os
import platform
import shutil
import socket
import sqlite3
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.output import print_json, result
from cli.session import Session, session

if TYPE_CHECKING:
    from project.settings import Settings

_LOCAL_SERVERS = (
    ("Ollama", 11434, "ollama/…"),
    ("llama.cpp", 8080, "openai/… with base_url"),
    ("vLLM", 8000, "hosted_vllm/…"),
)
_LEAST_FREE_BYTES = 200_000_000


def doctor(
    context: typer.Context, as_json: bool = typer.Option(False, "--json", help="Print one JSON document.")
) -> None:
    """Look at Python, packages, the project, keys, local model servers and the disk. Asks nobody but this machine."""
    here = session(context)
    found = [*_machine(), *_project(here)]
    if as_json:
        print_json([{"what": what, "ok": ok, "detail": detail} for what, ok, detail in found])
    else:
        result("\n".join(f"{'ok  ' if ok else 'look'}  {what}: {detail}" for what, ok, detail in found))


def _machine() -> list[tuple[str, bool, str]]:
    found = [("python", True, f"{platform.python_version()} on {platform.system()}")]
    for package in ("crewai", "crewai-tools", "dbos"):
        try:
            found.append((package, True, importlib.metadata.version(package)))
        except importlib.metadata.PackageNotFoundError:
            found.append((package, False, "not installed: pip install -r requirements.txt"))
    with sqlite3.connect(":memory:") as database:
        options = {row[0] for row in database.execute("pragma compile_options")}
    fts = "ENABLE_FTS5" in options
    found.append(("sqlite", fts, f"{sqlite3.sqlite_version}, full-text search {'there' if fts else 'missing'}"))
    for name, port, model in _LOCAL_SERVERS:
        if _listens(port):
            found.append((name, True, f"answers on port {port}: name it in config/models.yaml as {model}"))
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _project(here: Session) -> list[tuple[str, bool, str]]:
    from project.errors import AppError

    try:
        project, settings = here.load(), here.settings()
    except AppError as error:
        return [("project", False, f"{len(error.problems)} problems; `muster check` shows them: {error.problems[0]}")]
    return [
        ("project", True, f"{project.root}: {len(project.crews)} crews"),
        _key(settings.environment),
        _disk(settings.state_folder),
        _database(settings),
        *_governed(settings.environment),
    ]


def _governed(environ: Mapping[str, str]) -> list[tuple[str, bool, str]]:
    """Tell which keys are set, and what can run code that models write."""
    keys = {
        "MUSTER_JOURNAL_KEY": ("the journal is encrypted", "tools that return private content are refused"),
        "MUSTER_AUDIT_KEY": ("the end of each run is signed", "runs are not signed; `muster audit new-key` makes one"),
    }
    found = [(name, True, f"set: {yes}" if environ.get(name) else f"not set: {no}") for name, (yes, no) in keys.items()]
    there = [
        name for name, yes in (("monty", find_spec("pydantic_monty")), ("bubblewrap", shutil.which("bwrap"))) if yes
    ]
    missing = "none of monty (the extra `sandbox`) and bubblewrap is installed: run_python does not work"
    return [*found, ("run_python", True, ", ".join(there) if there else missing)]


def _database(settings: "Settings") -> tuple[str, bool, str]:
    from project.errors import AppError
    from runs.stored.database import database_exists, is_sqlite, open_database

    if not database_exists(settings):
        return ("database", True, "SQLite; the first run makes it")
    try:
        database = open_database(settings)
    except AppError as error:
        return ("database", False, str(error.problems[0]))
    if not is_sqlite(database):
        return ("database", True, f"{database.url.set(drivername='postgresql').render_as_string()} answers")
    return ("database", True, f"SQLite: {database.url.database}")


def _key(environ: Mapping[str, str]) -> tuple[str, bool, str]:
    from models.choose import choose_model

    choice = choose_model("auto", None, {}, environ)
    return ("model", True, f"auto is {choice.spec.model} now ({choice.reason})")


def _disk(state: Path) -> tuple[str, bool, str]:
    there = next(folder for folder in (state, *state.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    what = f"{free // 1_000_000} MB free, {'writable' if writable else 'not writable'}: {state}"
    return ("state folder", writable and free > _LEAST_FREE_BYTES, what)
