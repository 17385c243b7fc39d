"""The values among a call's arguments, however deep they lie."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

_JOINED = r"\w@.\-+/\\:%&=#~"
"""Characters that make an address, a path or a number longer: a value between them is only a piece of one."""


@dataclass(frozen=True)
class Leaf:
    """One value that holds no others."""

    place: str
    """Where it stands, such as `order.items.0.name`."""
    name: str
    """The name it goes by: its own key, or for an entry of a list that of the list."""
    value: Any
    is_key: bool = False
    """Whether it is the key of an inner mapping, and no value."""


def leaves(arguments: Mapping[str, Any]) -> Iterator[Leaf]:
    """Yield every value among `arguments` that holds no others, and the keys of inner mappings, which may say anything.

    Works without recursion: arguments may be nested as deep as the model likes.
    """
    waiting: list[tuple[str, str, Any]] = [(key, key, value) for key, value in reversed(list(arguments.items()))]
    while waiting:
        place, name, value = waiting.pop()
        if isinstance(value, Mapping):
            entries = list(cast("Mapping[Any, Any]", value).items())
            yield from (Leaf(place, name, key, is_key=True) for key, _ in entries)
            waiting += [(f"{place}.{key}", str(key), inner) for key, inner in reversed(entries)]
        elif isinstance(value, list | tuple):
            items = cast("Sequence[Any]", value)
            waiting += [(f"{place}.{at}", name, items[at]) for at in reversed(range(len(items)))]
        else:
            yield Leaf(place, name, value)


def values_at(arguments: Mapping[str, Any], name: str) -> list[Any]:
    """Return what stands at a name such as `order.amount`; of a list on the way, what stands in each entry.

    Where a key with the dot in it is there, too, both are returned: nobody knows which the tool reads.
    """
    found = [arguments[name]] if name in arguments else []
    if "." not in name:
        return found
    reached: list[Any] = [arguments]
    for part in name.split("."):
        inner: list[Any] = []
        for value in reached:
            inner += _step(value, part)
        reached = inner
    return found + reached


def _step(value: Any, part: str) -> list[Any]:
    if isinstance(value, Mapping):
        entries = cast("Mapping[str, Any]", value)
        return [entries[part]] if part in entries else []
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        if part.isascii() and part.isdecimal():
            return [items[int(part)]] if len(part) < 10 and int(part) < len(items) else []
        return [found for item in items if isinstance(item, Mapping) for found in _step(item, part)]
    return []


def all_given(arguments: Mapping[str, Any], given: Sequence[str]) -> bool:
    """Say whether every value stands word for word in a text of `given`, as a whole and not as a piece of a longer one.

    A call without any value is not given: nobody wrote it.
    """
    values = [leaf.value for leaf in leaves(arguments) if leaf.value is not None and leaf.value != ""]
    return bool(values) and all(_is_given(value, given) for value in values)


def _is_given(value: Any, given: Sequence[str]) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return False
    text = str(value).strip()
    if not text:
        return False
    if any(text == whole.strip() for whole in given):
        return True
    alone = re.compile(rf"(?<![{_JOINED}]){re.escape(text)}(?!\.?[{_JOINED}]|,\d)")
    ended = re.compile(rf"(?<![{_JOINED}]){re.escape(text)}(?=[.:](?:\s|$))")
    return any(alone.search(whole) or ended.search(whole) for whole in given)
