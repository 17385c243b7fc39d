"""Files that a crash may have left half written: found when a run goes on, and reported."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from runs.executing.state import RunState
from runs.stored import engine
from runs.stored.journal import unpack

_TEMPORARY = re.compile(r"\.muster-.*\.tmp|\..{1,40}\.\d+\.\d+\.tmp|\.[0-9a-f]{32}\.tmp")
"""Names of Muster's own temporary files; each is renamed when it is whole."""
_OF_A_WHOLE = re.compile(r"\..{1,40}\.[a-z0-9_]{8}")
"""Those of `write_atomically`, which could be a tool's in the folder of tools."""
_MOST_FILES = 5000


@dataclass(frozen=True)
class _Seen:
    """A file as it can be seen without reading it: what differs was written."""

    bytes: int
    changed_at: int
    number: int


Snapshot = Mapping[str, _Seen]


def look_at(folder: Path) -> Snapshot:
    """Return the files below a folder, by path; none of a folder that is not there."""
    found: dict[str, _Seen] = {}
    for path, entry in _files(folder):
        with contextlib.suppress(OSError):
            state = entry.stat(follow_symlinks=False)
            found[path] = _Seen(state.st_size, state.st_mtime_ns, state.st_ino)
    return found


def written_since(before: Snapshot, folder: Path) -> list[dict[str, Any]]:
    """Return the files below a folder that were made or changed: path, bytes, sha256."""
    now = look_at(folder)
    found = [_account(folder, path) for path, seen in now.items() if before.get(path) != seen]
    return [account for account in found if account is not None]


def find_half_written(run: RunState) -> list[str]:
    """Say which files in the run's folder no finished call accounts for; a line each, for people.

    Called when a run goes on after a crash, before anything is executed. Temporary files of Muster's own are removed;
    what tools wrote is left as it is: the calls that were under way are made again, or asked about.
    """
    removed = [path for path in _temporaries(run.folder) if _remove(path)]
    lines = [f"removed {_shown(run, path)}: half of a file that Muster was writing" for path in removed]
    accounted = _accounted(run)
    for path, _ in _files(run.folder / "files"):
        found = _account(run.folder / "files", path)
        if found is not None and found["sha256"] not in accounted.get(path, set()):
            what = "changed since a finished call wrote it" if path in accounted else "no finished call wrote it"
            lines.append(f"files/{path} ({found['bytes']} bytes) may be half written: {what}")
    if lines:
        _journal(run, lines)
    return lines


@engine.workflow("muster.note")
def note_workflow(run_id: str, lines: Sequence[str]) -> None:
    """Journal what was found, for the trace."""
    note = {
        "kind": "decision",
        "decision": "half-written files",
        "about": run_id,
        "chosen": "reported",
        "among": ["reported"],
        "why": "; ".join(lines),
        "evidence": [],
        "by": "rule",
        "seconds": 0.0,
    }
    engine.step("half-written files", lambda: note)


def _journal(run: RunState, lines: Sequence[str]) -> None:
    # A workflow of its own: the steps of the run's own workflow must not depend on what lay on the disk.
    number = 1
    while engine.find(f"{run.run_id}.~files{number}") is not None:
        number += 1
    handle = engine.start_child(note_workflow, f"{run.run_id}.~files{number}", run.run_id, list(lines))
    engine.await_recorded(handle)


def _accounted(run: RunState) -> dict[str, set[str]]:
    """Return the digests that finished calls have left of each file, by path."""
    found: dict[str, set[str]] = {}
    for row in engine.steps_of(run.run_id):
        output: Any = row.output
        record = cast(dict[str, Any], output) if isinstance(output, dict) else {}
        if "files" in record:
            for account in unpack(record, run.folder)["files"]:
                found.setdefault(account["path"], set()).add(account["sha256"])
    return found


def _account(folder: Path, path: str) -> dict[str, Any] | None:
    try:
        with open(folder / path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"path": path, "bytes": os.fstat(file.fileno()).st_size, "sha256": digest}
    except OSError:  # gone meanwhile: a call side by side with this one removed it
        return None


def _files(folder: Path) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
    """Yield the files below a folder, links left out, by their path from it; 5,000 at most."""
    waiting, count = [""], 0
    while waiting:
        below = waiting.pop()
        try:
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{path}/")
            elif entry.is_file(follow_symlinks=False) and not _is_temporary(entry.name):
                count += 1
                if count > _MOST_FILES:
                    return
                yield path, entry


def _temporaries(folder: Path) -> list[Path]:
    of_tools = folder / "files"
    return [
        path
        for path in sorted(folder.rglob(".*"))
        if path.is_file()
        and (_is_temporary(path.name) or (of_tools not in path.parents and _OF_A_WHOLE.fullmatch(path.name)))
    ]


def _is_temporary(name: str) -> bool:
    return _TEMPORARY.fullmatch(name) is not None


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _shown(run: RunState, path: Path) -> str:
    return str(path.relative_to(run.folder))
