"""What the fields of a contract's output state: a path is a label, entries of lists are told apart by their names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from project.spec import FieldSpec
from tasks.conflict_fragments import says_nothing
from tasks.conflict_measures import find_dates
from tasks.conflict_statements import Reader, Statement
from tasks.prose import read_lines

_NAMES = ("id", "name", "title", "key", "code")
_SUBJECTS = (*_NAMES, "product", "vendor", "company", "city", "country", "subject", "item", "topic")
_NO_THING_TEXT = """
    decision verdict status state recommendation result answer conclusion outcome rating summary headline currency unit
    language owner
"""
_NO_THING = frozenset(_NO_THING_TEXT.split())
_PEOPLE_TEXT = """
    author writer reviewer reader agent analyst role source prepared_by
"""
_PEOPLE = frozenset(_PEOPLE_TEXT.split())
_LEGAL_TEXT = """
    ltd limited inc incorporated corp corporation co company gmbh ag plc llc bv nv sa
"""
_LEGAL_FORMS = frozenset(_LEGAL_TEXT.split())
_PERIODS = ("year", "quarter", "month", "period", "region")
_OWN_WORD = "confidence"
_SHORT = 60

_Fields = Mapping[str, FieldSpec]


@dataclass(frozen=True)
class _Place:
    """Where an object stands: its path, the same with names for indexes, and the names alone."""

    path: str = ""
    key: str = ""
    within: str = ""

    def field(self, name: str) -> "_Place":
        dot = "." if self.path else ""
        return _Place(f"{self.path}{dot}{name}", f"{self.key}.{name}", self.within)


def read_entries(reader: Reader, value: Mapping[str, object], fields: _Fields | None) -> Iterator[Statement]:
    """Yield what an object states. `confidence` is left out: how sure an agent is of itself is no fact."""
    for name in _SUBJECTS:
        text = value.get(name)
        if isinstance(text, str) and len(text) <= _SHORT:
            reader.about(text)
    reader.thing = _thing(value, fields or {})
    ids = [f"{name}={part}" for name, part in value.items() if _is_id(name) and isinstance(part, int | str)]
    whole = {name: part for name, part in value.items() if name != _OWN_WORD}
    yield from _read(reader, whole, fields or {}, _Place(key=" ".join(sorted(ids))))


def _read(reader: Reader, value: Mapping[str, object], fields: _Fields, place: _Place) -> Iterator[Statement]:
    for name, part in value.items():
        spec = fields.get(name)
        inner = (spec.fields if spec else None) or {}
        at = place.field(name)
        if isinstance(part, dict):
            words = f"{place.within} {_words(name)}".strip()
            yield from _read(reader, cast("dict[str, object]", part), inner, replace(at, within=words))
        elif isinstance(part, list):
            yield from _entries(reader, cast("list[object]", part), inner, at)
        elif not _is_id(name):
            yield from _single(reader, name, part, spec, at)


def _single(reader: Reader, name: str, part: object, spec: FieldSpec | None, at: _Place) -> Iterator[Statement]:
    label = _words(name)
    if isinstance(part, bool):
        yield from _keyed(
            reader, reader.choice(label, "true" if part else "false", "yes/no", at.path, at.within), label, at
        )
    elif isinstance(part, int | float):
        yield from _keyed(reader, [reader.number(label, part, at.path, at.within)], label, at)
    elif isinstance(part, str) and spec is not None and spec.choices is not None:
        yield from _keyed(reader, reader.choice(label, part, "choice", at.path, at.within), label, at)
    elif isinstance(part, str):
        days = find_dates(part)
        is_date = len(days) == 1 and days[0].written == part.strip()
        if is_date or (len(part) <= _SHORT and not part.strip().endswith(".")):
            yield from _keyed(reader, reader.label(label, part, at.path, at.within), label, at)
        else:
            yield from _prose(reader, part, at.path)


def _entries(reader: Reader, entries: list[object], inner: _Fields, at: _Place) -> Iterator[Statement]:
    """Read a list's entries; objects without a name cannot be told apart and are left out."""
    for i, entry in enumerate(entries):
        path = f"{at.path}[{i}]"
        if isinstance(entry, dict):
            fields = cast("dict[str, object]", entry)
            by = _identity(fields)
            if by:
                named = " ".join(str(fields[name]) for name in by)
                rest = {name: part for name, part in fields.items() if name not in by}
                within = f"{at.within} {named}".strip()
                yield from _read(reader, rest, inner, _Place(path, f"{at.key}[{named.casefold()}]", within))
        elif isinstance(entry, str):
            yield from _prose(reader, entry, path)


def _keyed(reader: Reader, statements: Iterable[Statement], label: str, at: _Place) -> Iterator[Statement]:
    for statement in statements:
        yield replace(statement, key=at.key, thing=reader.thing, words=(f"{at.within} {label}".strip(),))


def _prose(reader: Reader, text: str, path: str) -> Iterator[Statement]:
    lines = read_lines(text)
    single = sum(1 for line in lines if line.kind != "blank") <= 1
    yield from reader.read(
        [replace(line, label=path if single else f"{path}, {line.label}", rows=()) for line in lines]
    )


def _thing(value: Mapping[str, object], fields: _Fields) -> tuple[str, ...]:
    """Return the first text field and the words of its value when it reads like a name: what the object is about."""
    for name, part in value.items():
        if not isinstance(part, str) or name.casefold() in _PEOPLE:
            continue
        spec = fields.get(name)
        closed = spec is not None and spec.choices is not None
        words = re.findall(r"\w[\w.'’-]*\w|\w", part)
        like_name = any(word[0].isupper() or word[0].isdigit() for word in words) and not part.strip().endswith(".")
        if closed or len(part) > _SHORT or not like_name or name.casefold() in _NO_THING or find_dates(part):
            return ()
        told = [word for word in map(str.casefold, words) if word not in _LEGAL_FORMS]
        return (name, *(word for word in told if len(word) == 1 or not says_nothing(word)))
    return ()


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _is_id(name: str) -> bool:
    return name == "id" or name.endswith(("_id", "_ID"))


def _identity(entry: Mapping[str, object]) -> list[str]:
    """Return the fields that tell an entry from the others: its id, name or title, and the period it is of."""
    given = {name for name, part in entry.items() if isinstance(part, str | int) and not isinstance(part, bool)}
    names = [name for name in (*_NAMES, *sorted(given)) if name in given and (name in _NAMES or _is_id(name))][:1]
    found = names + [name for name in _PERIODS if name in given]
    return found or [name for name in ("date",) if name in given]
