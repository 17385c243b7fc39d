"""Files below the folder of a run: which there are, and which were written since."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TEMPORARY = re.compile(r"\.muster-.*\.tmp|\..{1,40}\.\d+\.\d+\.tmp|\.[0-9a-f]{32}\.tmp")
"""Names of Muster's own temporary files; each is renamed when it is whole."""
MOST_FILES = 5000
"""How many are looked at; none of those beyond is known."""


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
    for path, entry in files_below(folder):
        with contextlib.suppress(OSError):
            state = entry.stat(follow_symlinks=False)
            found[path] = _Seen(state.st_size, state.st_mtime_ns, state.st_ino)
    return found


def written_since(before: Snapshot, folder: Path) -> list[dict[str, Any]]:
    """Return the files below a folder that were made or changed: path, bytes, sha256."""
    now = look_at(folder)
    found = [account_of(folder, path) for path, seen in now.items() if before.get(path) != seen]
    return [account for account in found if account is not None]


def account_of(folder: Path, path: str) -> dict[str, Any] | None:
    """Return path, bytes and sha256 of a file; None where there is none."""
    try:
        with open(folder / path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return {"path": path, "bytes": os.fstat(file.fileno()).st_size, "sha256": digest}
    except OSError:  # gone meanwhile: a call side by side with this one removed it
        return None


def files_below(folder: Path) -> Iterator[tuple[str, "os.DirEntry[str]"]]:
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
            elif entry.is_file(follow_symlinks=False) and not is_temporary(entry.name):
                count += 1
                if count > MOST_FILES:
                    return
                yield path, entry


def is_temporary(name: str) -> bool:
    """Say whether a file of this name is half of one that Muster is writing."""
    return _TEMPORARY.fullmatch(name) is not None
