"""Which files hold what a run has read: a file that was written after untrusted or private content carries that on.

All of it stands in the records of the calls that wrote: `files` in the run's own folder, `outside` elsewhere, and what
they carry as `carries`. So a run that goes on, on whatever machine, and a fork find the same. What a call has read of
such files is journaled with the call itself. What an earlier run left is not known.
"""

import itertools
import os
import re
import threading
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy.decide import Taint
from policy.places import NOWHERE, is_outside, place_of
from policy.values import leaves
from runs.stored.left_files import MOST_FILES, look_at
from tools.tool import Tool

_MOST_NAMES = 20
_MOST_CHARACTERS = 1000
"""Of a text that may be a path."""
_PLAIN = re.compile(r"[\w@.\-/ ]*")
"""A text that every program takes for the same path, if it is one."""
_DOCUMENTS = ("list_documents", "read_document", "search_documents")
NO_TAINT = Taint()
"""What a line of work begins with that has read nothing."""


def taint_json(taint: Taint) -> dict[str, list[str]]:
    """Return a taint by name, at most 20 names of each kind; {} when there is none."""
    kinds = {"untrusted": taint.untrusted, "private": taint.private}
    return {kind: list(names[:_MOST_NAMES]) for kind, names in kinds.items() if names}


def read_taint(value: Mapping[str, Any]) -> Taint:
    """Read what `taint_json` returned."""
    return Taint(tuple(value.get("untrusted", ())), tuple(value.get("private", ())))


@dataclass(frozen=True)
class Ground:
    """Where a call is made: folders on this machine."""

    files: Path
    """The run's own folder."""
    project: Path
    working: str
    """From where a tool that does not know the run takes relative paths."""
    here: Callable[[str], str] = str
    """Returns a path of a record as it is on this machine."""


class Carried:
    """What the files of one run carry. Its lanes share it."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._inside: dict[str, Taint] = {}
        self._outside: dict[str, Taint] = {}
        self._doubtful: set[str] = set()
        self._at_work: dict[int, Taint] = {}
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def note(self, record: Mapping[str, Any]) -> None:
        """Take up what the record of a call, or of a task's output file, says of the files that it left."""
        paths = [str(account["path"]) for account in record.get("files", ())]
        carries = read_taint(record.get("carries") or {})
        with self._lock:
            self._known.update(paths)
            if carries != NO_TAINT:
                _add(self._inside, paths, carries)
                _add(self._outside, record.get("outside", ()), carries)

    def doubt(self, paths: Collection[str]) -> None:
        """Take files in the run's folder for what no finished call has written so."""
        with self._lock:
            self._doubtful.update(paths)

    @contextmanager
    def at_work(self, taint: Taint) -> Generator[None]:
        """Count what a call leaves while it is under way as carrying what its lane has read."""
        number = next(self._numbers)
        with self._lock:
            self._at_work[number] = taint
        try:
            yield
        finally:
            with self._lock:
                self._at_work.pop(number)

    def read_by(
        self,
        tool: Tool,
        arguments: Mapping[str, Any],
        ground: Ground,
        places: Callable[[], Mapping[str, str]],
        but: Collection[str] = frozenset(),
    ) -> Taint:
        """Return what a call may read of the run's files, those left out that are new through the call itself (`but`).

        `places` gives the paths among its arguments. Looks at the disk, so it is called inside a step only. Raises:
        nothing.
        """
        if tool.builtin and tool.name not in (*_DOCUMENTS, "shell"):
            return NO_TAINT
        there = look_at(ground.files)  # before the records: what is known by then accounts for it
        with self._lock:
            found = self._all(there, but, ground)
        if not found:
            return NO_TAINT
        if tool.builtin and tool.name in _DOCUMENTS:
            wanted = [taint for path, taint in found if _is_document(path, tool, arguments, ground)]
        elif _sees_all(tool, places()):
            wanted = [taint for _, taint in found]
        else:
            awaited = {name for path, _ in found for name in path.split(os.sep)}
            named = _named(tool, arguments, ground, awaited)
            wanted = [taint for path, taint in found if any(_lies_in(path, one) for one in named)]
        taint = NO_TAINT
        for one in wanted:
            taint = taint.plus(one)
        return taint

    def _all(self, there: Mapping[str, Any], but: Collection[str], ground: Ground) -> list[tuple[str, Taint]]:
        """Return the files that carry something, by their real path."""
        root = os.path.realpath(ground.files)
        inside = {path: taint for path, taint in self._inside.items() if path not in but}
        beside = NO_TAINT
        for taint in self._at_work.values():
            beside = beside.plus(taint)
        unknown = [path for path in there if path not in self._known and path not in but]
        if len(there) >= MOST_FILES:
            unknown.append("")
        doubtful = set(self._doubtful)
        if self._at_work:
            _add(inside, unknown, beside)
        else:
            doubtful.update(unknown)
        for path in doubtful:
            _add(inside, [path], Taint((f"files/{path}",), (f"files/{path}",)))
        found = [(os.path.join(root, path).rstrip(os.sep), taint) for path, taint in inside.items()]
        outside = [(os.path.realpath(ground.here(path)), taint) for path, taint in self._outside.items()]
        return [(path, taint) for path, taint in [*found, *outside] if taint != NO_TAINT]


def left_by(tool: Tool, places: Mapping[str, str]) -> list[str]:
    """Return the paths outside of the run's folder that a call names which does more than read."""
    if tool.effect == "read":
        return []
    return sorted({place for place in places.values() if is_outside(place) and place != NOWHERE})


def _add(carried: dict[str, Taint], paths: Collection[str], taint: Taint) -> None:
    for path in paths:
        carried[path] = carried.get(path, NO_TAINT).plus(taint)


def _sees_all(tool: Tool, places: Mapping[str, str]) -> bool:
    """Say whether a call may read the run's folder whatever its arguments name."""
    return tool.effect == "execute" or tool.knows_run or NOWHERE in places.values()


def _named(tool: Tool, arguments: Mapping[str, Any], ground: Ground, awaited: Collection[str]) -> list[str]:
    """Return the real paths for which the values of a call could stand, from wherever they are meant.

    `awaited` are the names of what carries something, there already or not.
    """
    values = [leaf.value for leaf in leaves(tool.whole(arguments))]
    texts = {text for value in values if isinstance(value, str) and (text := value.strip())}
    root, found = os.path.realpath(ground.files), set[str]()
    for text in (text for text in texts if len(text) <= _MOST_CHARACTERS and "\n" not in text):
        plain, name = _PLAIN.fullmatch(text) is not None, os.path.basename(os.path.normpath(text))
        for base in (root, ground.working, str(ground.project)):
            if plain and name not in awaited and not os.path.lexists(os.path.join(base, text)):
                continue  # it names nothing that is there, nor what another call is about to write
            place = place_of(text, root, base)
            if place != NOWHERE:
                found.add(place if is_outside(place) else os.path.normpath(os.path.join(root, place)))
    return sorted(found)


def _is_document(path: str, tool: Tool, arguments: Mapping[str, Any], ground: Ground) -> bool:
    """Say whether a tool that reads documents shows a file, or tells of it."""
    folder = os.path.realpath(ground.project / str(tool.settings.get("folder", "")))
    if not _lies_in(path, folder):
        return False
    if tool.name == "read_document":
        asked = arguments.get("path")
        return isinstance(asked, str) and _lies_in(path, os.path.realpath(os.path.join(folder, asked)))
    hidden: Sequence[str] = os.path.relpath(path, folder).split(os.sep)
    return not any(part.startswith(".") for part in hidden if part != ".")


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
