"""The paths that the arguments of a call name, with the links of the real file system followed."""

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from policy.values import Leaf, leaves

NOWHERE = "/\0"
"""In place of a path that cannot be told: it lies outside every folder, and no rule that allows covers it."""

_NAMES = re.compile(r"(?:.*[_-])?(?:(?:path|file|folder|dir)s?|file_?names?|director(?:y|ies))", re.IGNORECASE)
"""Arguments that hold paths by their name."""
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SHAPE = re.compile(r"[/\\]|\.{1,2}[/\\]|\.\.$|~|[A-Za-z]:[/\\]|file:", re.IGNORECASE)
_UPWARDS = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")
_URL = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.\-]{1,30}://", re.IGNORECASE)
_AUTHORITY = re.compile(r"^//[^/]*")
_VARIABLE = re.compile(r"\$[A-Za-z_{(]|%[A-Za-z_]+%")
_MOST_CHARACTERS = 4096


def places_in(arguments: Mapping[str, Any], folder: Path, base: str | None = None) -> dict[str, str]:
    """Return the paths among `arguments` by argument, links resolved: relative inside `folder`, absolute elsewhere.

    A path is what an argument such as `path`, `file` or `report_path` holds, and any text that looks like one. A path
    that is not there yet is resolved as far as it is. One that cannot be told is NOWHERE. Relative ones are meant from
    `base`, else from `folder`. Looks at the disk, so it is called inside a step only. Raises: nothing.
    """
    root = os.path.realpath(folder)
    found: dict[str, str] = {}
    for leaf in leaves(arguments):
        if _is_path(leaf):
            place = leaf.place
            while place in found:  # nested names can read like others: none may hide another
                place += "'"
            found[place] = place_of(leaf.value, root, root if base is None else base)
    return found


def _is_path(leaf: Leaf) -> bool:
    value = leaf.value
    if value is None:
        return False
    if _NAMES.fullmatch(_HUMP.sub("_", leaf.name)):
        return True
    if not isinstance(value, str) or _URL.match(value.strip()):
        return False
    text = value.strip()
    if "\n" in text or len(text) > _MOST_CHARACTERS:  # a text, unless it begins like a path that is there
        return text.startswith("/") and os.path.isdir(_first_folder(text))
    return _SHAPE.match(text) is not None or _UPWARDS.search(text) is not None


def _first_folder(text: str) -> str:
    first = re.split(r"[/\s\0]", text.lstrip("/"), maxsplit=1)[0]
    return f"/{first[:255]}" if first else "/\1"


def place_of(value: Any, root: str, base: str) -> str:
    """Return one path as `places_in` does. `root` is the real folder; relative ones are taken from `base`."""
    if not isinstance(value, str) or "\0" in value or len(value) > _MOST_CHARACTERS:
        return NOWHERE
    text = value.strip()
    if text.lower().startswith("file:"):
        text = unquote(_AUTHORITY.sub("", text[5:], count=1))
    if _VARIABLE.search(text) or (os.name != "nt" and _is_foreign(text)):
        return NOWHERE
    try:
        given = os.path.expanduser(text)
        if given.startswith("~"):
            return NOWHERE
        path = _real(os.path.join(base, given))
        # Some programs take `link/..` for the folder that holds the link, others for the one above its target.
        if _UPWARDS.search(given) and _real(os.path.normpath(os.path.join(base, given))) != path:
            return NOWHERE
    except (OSError, ValueError, RuntimeError):
        return NOWHERE
    return _told(path, root)


def _is_foreign(text: str) -> bool:
    """Say whether it is a path of Windows, which other systems take for a name."""
    return re.match(r"[A-Za-z]:[/\\]|\\\\", text) is not None or ("\\" in text and _UPWARDS.search(text) is not None)


def _real(path: str) -> str:
    """Return a path with all links followed, as far as it is there. Raises: OSError for links that go in a circle."""
    try:
        return os.path.realpath(path, strict=True)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise
        return os.path.realpath(path)


def _told(path: str, root: str) -> str:
    if path == root:
        return "."
    inside = path.startswith(root.rstrip(os.sep) + os.sep)
    return (path[len(root.rstrip(os.sep)) + 1 :] if inside else path).replace(os.sep, "/")


def is_outside(place: str) -> bool:
    """Say whether a path of `places_in` lies outside the folder."""
    return place.startswith("/") or re.match(r"[A-Za-z]:/", place) is not None
