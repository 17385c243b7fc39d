"""Read JSON as it is written: nothing is repaired, guessed or dropped, and no input crashes."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import cast

MOST_CHARACTERS = 5_000_000
DEEPEST = 100
_LONGEST_INTEGER = 1000
_BRACE = re.compile("[{}]")
_PLACEHOLDER = re.compile(r"\{[\w.-]+\}")
_INSIDE = re.compile(r'(?:[\[,]|"\s*:)\s*\Z')
_GOES_ON = re.compile(r"\s*[,\]:]")


def parse(text: str) -> tuple[object, list[str]]:
    """Return the one JSON value that the text is, and what is wrong with it; the value counts only without problems.

    Refused beside broken JSON: keys that stand twice, NaN and infinities, numbers beyond any use, halves of
    characters, more than 5,000,000 characters, more than 100 levels.
    """
    bare = text.strip().removeprefix("\ufeff").strip()
    if len(bare) > MOST_CHARACTERS:
        return None, [f"the text has {len(bare)} characters; at most {MOST_CHARACTERS} are read"]
    if bare.startswith("```"):
        return None, ["the JSON stands in a code fence; give it bare"]
    value, end, problems = _decode(bare, 0)
    if not problems and bare[end:].strip():
        problems = [f"{_place(bare, end)}: something follows after the end of the JSON"]
    return value, problems


def find_object(text: str) -> tuple[Mapping[str, object] | None, list[str]]:
    """Return the one JSON object in a text, bare, fenced or among prose, and what is wrong with it.

    A second object, a brace outside of it that is not part of a `{placeholder}`, or a comma or square bracket right
    beside it make the answer ambiguous: refused.
    """
    bare = text.strip().removeprefix("\ufeff").strip()
    value, problems = parse(bare)
    if not problems and isinstance(value, dict):
        return cast("dict[str, object]", value), []
    if not problems:
        return None, [f"the answer is {short(value)}; it must be one JSON object"]
    if len(bare) > MOST_CHARACTERS or (bare.startswith("[") and "{" not in bare):
        return None, problems
    return _only_object(bare)


def short(value: object) -> str:
    """Describe a JSON value in a few words: texts in quotes, cut at 40 characters, lists by their length."""
    if isinstance(value, list):
        length = len(cast("list[object]", value))
        return f"a list of {length}"
    if isinstance(value, dict):
        return "an object"
    cut = value[:40] + "…" if isinstance(value, str) and len(value) > 40 else value
    written = json.dumps(cut, ensure_ascii=False)
    return (written if len(written) <= 80 else written[:40] + "…").encode("utf-8", "backslashreplace").decode()


def _only_object(text: str) -> tuple[Mapping[str, object] | None, list[str]]:
    found: Mapping[str, object] | None = None
    position = 0
    while (brace := _BRACE.search(text, position)) is not None:
        placeholder = _PLACEHOLDER.match(text, brace.start())
        if placeholder:
            position = placeholder.end()
            continue
        if brace[0] == "}":
            return None, [f"{_place(text, brace.start())}: this }} closes nothing"]
        value, position, problems = _decode(text, brace.start())
        if problems:
            return None, problems
        if _INSIDE.search(text[max(0, brace.start() - 40) : brace.start()]) or _GOES_ON.match(text, position):
            return None, [f"{_place(text, brace.start())}: the object is a part of something; give one JSON object"]
        if found is not None:
            return None, ["the answer holds more than one JSON object; it must be exactly one"]
        found = cast("dict[str, object]", value)
    return found, [] if found is not None else ["the answer holds no JSON object; it must be exactly one"]


def _decode(text: str, start: int) -> tuple[object, int, list[str]]:
    flaws: list[str] = []
    try:
        value, end = cast("tuple[object, int]", _decoder(flaws).raw_decode(text, start))
    except json.JSONDecodeError as error:
        return None, start, [*flaws, _broken(error)]
    except RecursionError:
        return None, start, [f"the JSON has more than {DEEPEST} levels"]
    return value, end, list(dict.fromkeys([*flaws, *_flaws(value)]))


def _decoder(flaws: list[str]) -> json.JSONDecoder:
    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        unique = dict(items)
        if len(unique) < len(items):
            twice = [key for key, times in Counter(key for key, _ in items).items() if times > 1]
            flaws.extend(f"the key {short(key)} stands twice in one object" for key in twice)
        return unique

    def integer(digits: str) -> int:
        if len(digits) > _LONGEST_INTEGER:
            flaws.append(f"a number of {len(digits)} digits is too long")
            return 0
        return int(digits)

    def real(digits: str) -> float:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            flaws.append(f"the number {digits[:40]} is too large")
        return value

    def constant(name: str) -> None:
        flaws.append(f"{name} is not JSON; null says that there is no value")

    return json.JSONDecoder(object_pairs_hook=pairs, parse_int=integer, parse_float=real, parse_constant=constant)


def _flaws(value: object) -> list[str]:
    """Look at every value, level by level: recursion is what the depth would break."""
    level = [value]
    depth = 0
    flaws: list[str] = []
    while level:
        flaws += [f"{short(text)} holds half of a character" for text in level if isinstance(text, str) and _torn(text)]
        below: list[object] = []
        for part in level:
            if isinstance(part, dict):
                fields = cast("dict[str, object]", part)
                below += [*fields, *fields.values()]
            elif isinstance(part, list):
                below += cast("list[object]", part)
        depth += any(isinstance(part, dict | list) for part in level)
        if depth > DEEPEST:
            return [*flaws, f"the JSON has more than {DEEPEST} levels"]
        level = below
    return flaws


def _torn(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)


def _broken(error: json.JSONDecodeError) -> str:
    rest = error.doc[error.pos : error.pos + 40].strip()
    if not rest or error.msg.startswith("Unterminated string"):
        return f"{_place(error.doc, error.pos)}: the JSON is not finished: {error.msg}"
    return f"{_place(error.doc, error.pos)}: not JSON: {error.msg}, at {short(rest)}"


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    return f"line {line}, column {position - text.rfind(chr(10), 0, position)}"
