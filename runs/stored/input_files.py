"""Files and folders that are a run's inputs, for machines that do not have them; and where paths of a run lead here.

A plan, its prompts and its journal keep the paths as they were on the machine where the run was started. Only where
something is opened does a path become one of this machine: `RunPaths.here`; what a tool says is told in the old paths.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crews.planned import Plan
from project.errors import AppError
from project.fill import map_texts
from project.settings import Settings
from runs.stored.files import bring, content_key, hash_file, place_of, put, retried, write_atomically
from runs.stored.journal import digest
from runs.stored.places import Place

_END = r"(?![^/\s\"'`,;:)\]}>])"
"""What may follow a folder's path in a text."""


@dataclass(frozen=True)
class RunPaths:
    """Where the paths of a run lead on this machine. Empty: where they say."""

    root: Path | None = None
    """The project folder here; None: the plan's."""
    started_in: str = ""
    """The project folder on the machine where the run was started."""
    folder: Path | None = None
    """The run's own folder."""
    moved: tuple[tuple[str, str], ...] = ()
    """Paths as the plan has them, and as they are here; the longest first."""

    def here(self, path: str) -> str:
        """Return a path as it is on this machine; a text that is no path of the run stays as it is."""
        if self.folder is not None and path.startswith("/"):  # what a tool on another machine said of the run's files
            _, found, rest = path.partition(f"/runs/{self.folder.name}/")
            if found and ".." not in rest.split("/"):
                return f"{self.folder}/{rest}"
        for old, new in self.moved:
            if path == old or path.startswith(f"{old}/"):
                return new + path[len(old) :]
        return path

    def all_here(self, value: Any) -> Any:
        """Return plain data with each text that is a path of the run as it is on this machine."""
        return map_texts(value, self.here) if self.moved or self.folder is not None else value

    def told(self, text: str) -> str:
        """Return a text with the paths of this machine as the plan has them: it is the same wherever it is made."""
        for old, new in sorted(self.moved, key=lambda pair: -len(pair[1])):
            if new in text:
                text = re.sub(rf"(?<![\w./-]){re.escape(new)}{_END}", lambda _found, old=old: old, text)
        return text


def local_root(settings: Settings, plan: Plan) -> Path:
    """Return the project folder in which this machine finds the run's code: its own checkout of the project."""
    there = Path(plan.project)
    return settings.root if there.name == settings.root.name or not there.is_dir() else there


def store_inputs(folder: Path, plan: Plan, max_bytes: int) -> None:
    """Put the files and folders that are inputs of the run into the shared place, where there is one.

    Raises: AppError when they are too large, cannot be read, or the place does not take them.
    """
    place = place_of(folder)
    wanted = _travelling(plan)
    if place is None or not wanted:
        return
    place.check()
    found = {name: list(_files_of(Path(path))) for name, path in wanted.items()}
    total = sum(size for files in found.values() for _, _, size in files)
    if total > max_bytes:
        raise AppError(
            f"the inputs {', '.join(wanted)} hold {total / 1e6:.0f} MB; at most {max_bytes / 1e6:.0f} MB go with a run",
            fix="raise MUSTER_FILES_MAX_MB, or give a smaller folder",
        )
    listed = {name: _store(place, folder, path, found[name]) for name, path in wanted.items()}
    _keep_list(place, folder, plan, listed)


def bring_inputs(folder: Path, plan: Plan, root: Path, max_bytes: int) -> RunPaths:
    """Lay the run's inputs into its folder, under `inputs/NAME`; return where its paths lead here.

    A run from before files were shared is given its inputs now, where they are on this machine. Raises: AppError.
    """
    place = place_of(folder)
    moved = {} if str(root) == plan.project else {plan.project: str(root)}
    if place is not None:
        place.check()
    if place is not None and (wanted := _travelling(plan)):
        listed = _read_list(place, folder, plan)
        if listed is None:
            _see_them_here(wanted)
            store_inputs(folder, plan, max_bytes)
            listed = _read_list(place, folder, plan)
            assert listed is not None
        moved |= {path: _lay(place, folder, name, path, listed[name]) for name, path in wanted.items()}
    longest_first = tuple(sorted(moved.items(), key=lambda pair: -len(pair[0])))
    return RunPaths(root, plan.project, Path(folder) if place is not None else None, longest_first)


def _travelling(plan: Plan) -> dict[str, str]:
    """Return the inputs that are paths; those that are the project's own, by a default in it, are in every checkout."""
    found: dict[str, str] = {}
    for name, spec in plan.wanted.items():
        value = plan.inputs.get(name)
        if spec.type not in ("file", "folder") or not isinstance(value, str):
            continue
        own = isinstance(spec.default, str) and os.path.abspath(Path(plan.project, spec.default)) == value
        if not (own and value.startswith(f"{plan.project}/")):
            found[name] = value
    return found


def _files_of(path: Path) -> Iterator[tuple[Path, str, int]]:
    """Yield each file with its path below the input and its size; hidden ones and links that lead out are left out."""
    if path.is_file():
        yield path, path.name, path.stat().st_size
        return
    root = path.resolve()
    for here, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(here, name)
            if not name.startswith(".") and file.is_file() and file.resolve().is_relative_to(root):
                yield file, file.relative_to(path).as_posix(), file.stat().st_size


def _store(place: Place, folder: Path, path: str, files: list[tuple[Path, str, int]]) -> dict[str, Any]:
    accounts: list[dict[str, Any]] = []
    for file, name, size in files:
        try:
            sha256 = hash_file(file)
            put(place, file, content_key(folder, sha256))
        except OSError as error:
            raise AppError(f"the input file {file} can't be read: {error.strerror}") from error
        accounts.append({"path": name, "bytes": size, "sha256": sha256})
    return {"path": path, "files": accounts, "folder": Path(path).is_dir()}


def _list_name(plan: Plan) -> str:
    # Named by what it lists: a fork with other inputs has a list of its own.
    return f"inputs-{digest(_travelling(plan))}.json"


def _keep_list(place: Place, folder: Path, plan: Plan, listed: Mapping[str, Any]) -> None:
    file = Path(folder, _list_name(plan))
    write_atomically(file, json.dumps(listed, indent=1).encode())
    put(place, file, f"{folder.name}/{file.name}", again=True)


def _read_list(place: Place, folder: Path, plan: Plan) -> dict[str, Any] | None:
    file = Path(folder, _list_name(plan))
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = file.with_suffix(".tmp")
        if not retried(lambda: place.fetch(f"{folder.name}/{file.name}", temporary)):
            return None
        os.replace(temporary, file)
    return json.loads(file.read_bytes())


def _see_them_here(wanted: Mapping[str, str]) -> None:
    for name, path in wanted.items():
        if not Path(path).exists():
            raise AppError(
                f"input `{name}` of the run, {path}, is neither on this machine nor in the shared place",
                fix="set the same MUSTER_FILES on every machine, also where runs are started",
            )


def _lay(place: Place, folder: Path, name: str, path: str, listed: Mapping[str, Any]) -> str:
    """Bring one input; return where it is."""
    target = Path(folder, "inputs", name)
    for account in listed["files"]:
        file = target / account["path"]
        if not (file.is_file() and hash_file(file) == account["sha256"]) and not bring(
            place, content_key(folder, account["sha256"]), file, account["sha256"]
        ):
            raise AppError(f"input `{name}`: {account['path']} is not in the shared place {place.name}")
    return str(target) if listed["folder"] else str(target / Path(path).name)
