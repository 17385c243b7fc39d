"""Rules about the form of a text: its sections, their order, its length, the length of its sentences."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from project.hints import listed, nearest
from project.spec import FieldSpec
from tasks.citations import strip_citations
from tasks.prose import Line, excerpt, heading_key, read_fields, read_lines
from tasks.strict_json import find_object
from tasks.wording import count_words, split_sentences

_MOST_PADDED = 200
_SPOKEN = ("prose", "item", "quote", "aside")


def read_output(text: str, contract: Mapping[str, FieldSpec] | None) -> list[Line]:
    """Return the lines of an output; under a contract those of the object's fields, labelled by their paths."""
    value = find_object(text)[0] if contract is not None else None
    return read_lines(text) if value is None else read_fields(value)


def sections(text: str) -> dict[str, str]:
    """Divide a text at its headings; what stands before the first, or has none, is `the beginning`.

    An object is one section: its fields are told apart by their paths.
    """
    if find_object(text)[0] is not None:
        return {"the object": text}
    rows = re.split(r"\r\n|\r|\n", text)
    starts = {
        int(line.label.removeprefix("line ")) - 1: line.text for line in read_lines(text) if line.kind == "heading"
    }
    parts: dict[str, list[str]] = {}
    padded = len(starts) <= _MOST_PADDED
    name = "the beginning"
    for i, row in enumerate(rows):
        if i in starts:
            name = (
                f"section {starts[i]}" if f"section {starts[i]}" not in parts else f"section {starts[i]}, line {i + 1}"
            )
        parts.setdefault(name, [""] * (i * padded)).append(row)  # so that its lines keep their numbers
    return {name: "\n".join(part) for name, part in parts.items()}


def required_sections(lines: Sequence[Line], setting: object) -> list[str]:
    """Return which of the headings in `setting` are missing or have nothing below them."""
    headings: dict[str, str] = {}
    filled: set[str] = set()
    above: list[tuple[int, str]] = []
    for line in lines:
        if line.kind == "heading":
            key = heading_key(line.text)
            headings.setdefault(key, line.text)
            above = [*(one for one in above if one[0] < line.level), (line.level, key)]
        elif line.kind != "blank" and line.text.strip():
            filled.update(key for _, key in above)
    wanted = {heading_key(name): name for name in cast("list[str]", setting)}
    reasons: list[str] = []
    for key, name in wanted.items():
        if key not in headings:
            reasons.append(f'section "{name}" is missing; {_headings_instead(name, list(headings.values()))}')
        elif key not in filled:
            reasons.append(f'section "{name}" is empty; write it')
    return reasons


def sections_in_order(lines: Sequence[Line], setting: object) -> list[str]:
    """Return which of the headings in `setting` are missing or stand before one that is named earlier."""
    first: dict[str, tuple[int, Line]] = {}
    for i, line in enumerate(lines):
        if line.kind == "heading":
            first.setdefault(heading_key(line.text), (i, line))
    headings = [line.text for _, line in first.values()]
    wanted = {heading_key(name): name for name in cast("list[str]", setting)}
    reasons: list[str] = []
    latest: tuple[int, str] | None = None
    for key, name in wanted.items():
        if key not in first:
            reasons.append(f'section "{name}" is missing; {_headings_instead(name, headings)}')
            continue
        position, line = first[key]
        if latest is not None and position < latest[0]:
            reasons.append(f'{line.label}: section "{name}" stands before "{latest[1]}"; put it after that section')
        else:
            latest = (position, name)
    return reasons


def words(lines: Sequence[Line], setting: object) -> list[str]:
    """Return whether the text is too short or too long."""
    limits = cast("dict[str, int]", setting) if isinstance(setting, dict) else {"max": cast("int", setting)}
    counted = (line for line in lines if line.kind not in ("blank", "offline", "sources"))
    count = sum(count_words(strip_citations(line.text)) for line in counted)
    said = f"the text has {count} word{'s' * (count != 1)}, citations and sources not counted"
    if count < limits.get("min", 0):
        return [f"{said}; at least {limits['min']} are needed, {limits['min'] - count} more"]
    if count > limits.get("max", count):
        return [f"{said}; at most {limits['max']} are allowed, {count - limits['max']} fewer"]
    return []


def sentence_words(lines: Sequence[Line], setting: object) -> list[str]:
    """Return the sentences with more words than `setting`."""
    most = cast("int", setting)
    reasons: list[str] = []
    for line in lines:
        for sentence in split_sentences(strip_citations(line.text)) if line.kind in _SPOKEN else ():
            count = count_words(sentence)
            if count > most:
                reasons.append(f"{line.label}: {excerpt(sentence)} has {count} words; at most {most}, so divide it")
    return reasons


def heading_levels(lines: Sequence[Line], setting: object) -> list[str]:
    """Return the headings that are deeper than `setting`, or deeper by more than one than the heading before."""
    deepest = cast("int", setting)
    reasons: list[str] = []
    above = 0
    for line in lines:
        if line.kind != "heading":
            continue
        shown = f"{line.label}: the heading {excerpt(line.text)}"
        if line.level > deepest:
            reasons.append(f"{shown} has level {line.level}; the deepest allowed is {deepest}")
        elif above and line.level > above + 1:
            reasons.append(f"{shown} has level {line.level} below level {above}; make it level {above + 1}")
        above = line.level
    return reasons


def _headings_instead(name: str, headings: Sequence[str]) -> str:
    if not headings:
        return f'the text has no Markdown headings; write it below "## {name}"'
    close = nearest(name, headings)
    return f'is "{close}" meant? The heading must read "{name}"' if close else f"the headings are: {listed(headings)}"
