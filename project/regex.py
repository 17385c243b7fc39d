"""Regular expressions that people write: whether they compile, and whether some text would keep them busy for ever."""

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, cast

LONGEST_PATTERN = 1000
"""Characters of a pattern at most."""
_SAMPLE = [chr(code) for code in range(256)]
_parser: Any = getattr(re, "_parser")  # noqa: B009  # the parse tree has no public door; absent, nothing is refused


def what_is_wrong(pattern: str) -> str:
    """Return "" or why `pattern` cannot be a regular expression here, as the end of a sentence.

    Refused are also repeats inside of repeats that can share out one text in many ways, such as `(a+)+`: time then
    doubles with each character. Not every slow pattern is found.
    """
    if len(pattern) > LONGEST_PATTERN:
        return f"must be at most {LONGEST_PATTERN} characters long, got {len(pattern)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
            tree = list(_parser.parse(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    if _explodes(tree):
        return "repeats what repeats already, so that some texts would keep it busy for ever"
    return ""


_Item = tuple[Any, Any]


def _explodes(items: Sequence[_Item]) -> bool:
    """Say whether a repeat without end holds one that can take over its neighbours' characters."""
    for kind, value in items:
        if _is_repeat(kind) and value[1] > 1 and _shares(list(value[2])):
            return True
        if any(_explodes(inner) for inner in _inner(kind, value)):
            return True
    return False


def _shares(body: list[_Item]) -> bool:
    """Say whether what is repeated could be cut into rounds in several ways."""
    body = list(_unwrapped(body))
    for place, (kind, value) in enumerate(body):
        if str(kind) == "BRANCH" and any(_shares(list(branch)) for branch in value[1]) and len(body) == 1:
            return True
        if not _is_repeat(kind) or value[1] <= 1 or value[0] == value[1]:
            continue
        own = _characters(list(value[2]))
        others = [item for at, item in enumerate(body) if at != place and not _may_be_empty(item)]
        if all(own & _characters([item]) for item in others):
            return True
    return False


def _unwrapped(items: Sequence[_Item]) -> Iterator[_Item]:
    for kind, value in items:
        if str(kind) == "SUBPATTERN":
            yield from _unwrapped(list(value[-1]))
        elif str(kind) != "AT":
            yield kind, value


def _is_repeat(kind: Any) -> bool:
    return str(kind) in ("MAX_REPEAT", "MIN_REPEAT")


def _may_be_empty(item: _Item) -> bool:
    kind, value = item
    if _is_repeat(kind) or str(kind) == "POSSESSIVE_REPEAT":
        return value[0] == 0
    return str(kind) in ("ASSERT", "ASSERT_NOT", "AT")


def _inner(kind: Any, value: Any) -> Iterator[Sequence[_Item]]:
    """Yield the sequences inside an element."""
    name = str(kind)
    if _is_repeat(kind) or name == "POSSESSIVE_REPEAT":
        yield list(value[2])
    elif name == "SUBPATTERN":
        yield list(value[-1])
    elif name == "BRANCH":
        yield from (list(branch) for branch in value[1])
    elif name in ("ASSERT", "ASSERT_NOT"):
        yield list(value[1])
    elif name == "ATOMIC_GROUP":
        yield list(value)
    elif name == "GROUPREF_EXISTS":
        yield from (list(part) for part in value[1:] if part)


def _characters(items: Sequence[_Item]) -> set[str]:
    """Return which of the first 256 characters an element may hold anywhere."""
    found: set[str] = set()
    for kind, value in items:
        name = str(kind)
        if name == "LITERAL":
            found.add(chr(value))
        elif name == "NOT_LITERAL":
            found.update(char for char in _SAMPLE if ord(char) != value)
        elif name == "ANY":
            found.update(char for char in _SAMPLE if char != "\n")
        elif name == "GROUPREF":
            found.update(_SAMPLE)
        elif name == "IN":
            found.update(_of_class(cast("list[_Item]", value)))
        for inner in _inner(kind, value):
            found |= _characters(inner)
    return found


def _of_class(parts: Sequence[_Item]) -> set[str]:
    negated = any(str(kind) == "NEGATE" for kind, _ in parts)
    found: set[str] = set()
    for kind, value in parts:
        if str(kind) == "LITERAL":
            found.add(chr(value))
        elif str(kind) == "RANGE":
            found.update(char for char in _SAMPLE if value[0] <= ord(char) <= value[1])
        elif str(kind) == "CATEGORY":
            found.update(char for char in _SAMPLE if re.fullmatch(_CATEGORIES.get(str(value), "."), char, re.DOTALL))
    return set(_SAMPLE) - found if negated else found


_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}
