"""What a call carries out of this machine although it only reads: the words of which its question is made."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy.places import NOWHERE, places_in
from policy.values import Leaf, leaves

_MOST_DIGITS = 8
"""A longer number can hold words."""


def words_sent(arguments: Mapping[str, Any], folder: Path, base: str | None = None) -> dict[str, Any]:
    """Return the texts and long numbers among `arguments`, by where they stand, but for names of files that are there.

    `folder` is the run's own, `base` from where relative paths are meant, else that. Looks at the disk, so it is called
    inside a step only. Raises: nothing.
    """
    found: dict[str, Any] = {}
    for leaf in leaves(arguments):
        if _holds_words(leaf.value) and not _names_a_file(leaf, folder, base):
            place = leaf.place
            while place in found:
                place += "'"
            found[place] = leaf.value
    return found


def _holds_words(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and not isinstance(value, bool) and len(str(value)) > _MOST_DIGITS


def _names_a_file(leaf: Leaf, folder: Path, base: str | None) -> bool:
    """Say whether a value is the path of something that is there, written in no other way than the usual one."""
    if leaf.is_key or not isinstance(leaf.value, str):
        return False
    places = places_in({leaf.name: leaf.value}, folder, base)
    if not places or NOWHERE in places.values():
        return False
    path = leaf.value.removeprefix("./")
    return os.path.normpath(path) == path and os.path.exists(os.path.join(base or folder, os.path.expanduser(path)))
