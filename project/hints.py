"""How names, values and suggestions are worded in messages, the same everywhere."""

import difflib
import unicodedata
from collections.abc import Collection
from typing import Any

_LONGEST = 60
_MOST_LISTED = 20
_FEW = 8
_CLOSE = 0.67
_LOOK_ALIKES = str.maketrans("аеорсухіјѕһԁԛԝвкмнтɡıοανρτυικ", "aeopcyxijshdqwbkmhtgioavptuik")
"""Cyrillic and Greek letters, and what they are easily taken for."""


def quoted(text: str, most: int = _LONGEST) -> str:
    """Return `text` in backticks, shortened, with line breaks and unprintable characters escaped."""
    return f"`{shortened(text, most)}`"


def shortened(text: str, most: int = _LONGEST) -> str:
    """Return `text` on one line of at most `most` characters."""
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def shown(value: Any, raw: str = "") -> str:
    """Say what a YAML value is: short values as they are, lists and mappings by their kind.

    `raw` is the value as written, so that `no` is not shown as `false`.
    """
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return repr(shortened(value))
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, bool):
        word = "true" if value else "false"
        return word if raw.lower() in ("", word) else f"{word} (`{shortened(raw)}` without quotes)"
    return shortened(raw or str(value))


def nearest(wrong: str, allowed: Collection[str], cutoff: float = _CLOSE) -> str | None:
    """Return the name in `allowed` that `wrong` was most likely meant to be, or None."""
    folded: dict[str, str] = {}
    for name in allowed:
        folded.setdefault(_fold(name), name)
    close = difflib.get_close_matches(_fold(wrong[:200]), list(folded), n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def listed(names: Collection[str]) -> str:
    """Join names with commas, at most 20 of them."""
    most = list(names)[:_MOST_LISTED]
    rest = len(names) - len(most)
    return ", ".join(most) + (f" and {rest} more" if rest else "")


def suggest(wrong: str, allowed: Collection[str], lead: str, nothing: str = "") -> str:
    """Word a fix for a wrong name: the nearest right one, and what is allowed after `lead`.

    Where nothing is allowed at all, the fix is `nothing`.
    """
    if not allowed:
        return nothing
    everything = f"{lead}: {listed(allowed)}"
    close = nearest(wrong, allowed)
    if close is None:
        return everything
    guess = f"did you mean `{close}` instead of {quoted(wrong)}?"
    return f"{guess} {everything}" if len(allowed) <= _FEW else guess


def _fold(name: str) -> str:
    if not name.isascii():  # full width, accents, invisible characters, letters of other scripts that look like ours
        apart = unicodedata.normalize("NFKD", name)
        name = "".join(char for char in apart if unicodedata.category(char) not in ("Cf", "Mn", "Cc"))
        name = name.lower().translate(_LOOK_ALIKES)
    return name.lower().replace("-", "_").replace(" ", "_")
