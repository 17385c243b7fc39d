"""Evidence: sentences with the place they stand at, read from tool results and from the outputs of earlier tasks."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from models.offline.language import tokens
from models.offline.sentences import is_closed, is_prose, split
from models.offline.transcript import ToolResult

MAX_SENTENCES = 600
_UNRANKED = 12
_MAX_LINES = 20_000
_MAX_LINE_CHARACTERS = 20_000

_PLACE = r"[^\[\]\n§]{1,300}?(?::\d{1,7}(?:-\d{1,7})?|\sp\.\s?\d{1,6})|https?://[^\s\[\]]{1,300}|[\w.-]{1,80}#\d{1,4}"
CITATION = re.compile(rf"\[({_PLACE})(?: § [^\[\]\n]{{1,300}})?\]")
"""A citation as tools give it and answers repeat it; group 1 is the place."""
_LEADING = re.compile(rf"^\s*(?:[-*•]\s+|\d+[.)]\s+)?\[({_PLACE})(?: § ([^\n]{{0,300}}?))?\]\s+(\S.*)$")
_TRAILING = re.compile(rf"^(.*\S)\s*\[({_PLACE})\](?:\s*,?\s*\[(?:{_PLACE})\])*\s*[.;]?\s*$")
_HEADING = re.compile(r"^\s{0,3}#{1,6}\s+(.*?)\s*#*\s*$")
_NUMBERED = re.compile(r"^\s*(\d{1,7})(?:\s?[:|→\t]|\s{1,4})\s?(.*)$")
_NOTHING = re.compile(r"\s*(?:no|nothing|none|0|not found|there (?:is|are) no)\b", re.IGNORECASE)
_TEXT_KEYS = ("content", "text", "snippet", "passage", "body", "description", "abstract", "quote", "claim")
_PLACE_KEYS = ("source", "url", "link", "href", "path", "file", "document", "citation")


@dataclass(frozen=True)
class Sentence:
    """One sentence as it stands at `cite` (`path:line`, `path p.3` or a URL); `rank` is its passage's, 0 the best."""

    text: str
    cite: str
    heading: str = ""
    rank: int = 0

    @property
    def path(self) -> str:
        """Return the document of the citation, without line or page."""
        return path_of(self.cite)

    @property
    def line(self) -> int:
        """Return the line or page of the citation; 0 where it has none."""
        number = re.search(r"(\d+)(?:-\d+)?$", self.cite)
        return int(number[1]) if number and not self.cite.startswith("http") else 0

    @property
    def key(self) -> str:
        """Return the words alone, by which two sentences are the same."""
        return key_of(self.text)


def path_of(cite: str) -> str:
    """Return the document of a citation, without line or page."""
    return cite if cite.startswith("http") else re.sub(r":\d+(?:-\d+)?$|\sp\.\s?\d+$", "", cite)


def key_of(text: str) -> str:
    """Return the words of `text` alone, by which two sentences are the same."""
    return " ".join(tokens(text))


def from_tools(results: Iterable[ToolResult]) -> list[Sentence]:
    """Read the evidence of tool results: cited passages, numbered lines, JSON records, else plain text."""
    found: list[Sentence] = []
    for result in results:
        if not result.failed:
            found.extend(_from_tool(result))
    return unique(found)


def from_text(text: str) -> list[Sentence]:
    """Read the cited lines of an earlier task's output; a line's heading is the one it stands under."""
    found: list[Sentence] = []
    heading = ""
    for rank, line in enumerate(_lines(text)):
        title = _HEADING.match(line)
        if title:
            heading = title[1]
        else:
            found.extend(_cited(line, heading, rank))
    return found


def from_uncited(text: str, source: str) -> list[Sentence]:
    """Read plain text line by line, cited as `source:line`."""
    found: list[Sentence] = []
    heading = ""
    for number, line in enumerate(_lines(text), 1):
        title = _HEADING.match(line)
        if title:
            heading = title[1]
        elif not CITATION.search(line) and not line.lstrip().startswith((">", "_")):
            found.extend(_sentences(line, f"{source}:{number}", heading, number // 4))
    return found


def from_numbered(text: str, path: str) -> list[Sentence]:
    """Read numbered lines of a document; a wrapped sentence is cited by the line on which it starts."""
    found: list[Sentence] = []
    heading = ""
    paragraph: list[tuple[int, str]] = []
    place = "{path} p.{number}" if path.lower().endswith(".pdf") else "{path}:{number}"
    fenced = False
    for number, line in [*numbered_lines(text), (0, "")]:
        title = _HEADING.match(line)
        fence = line.lstrip().startswith(("```", "~~~"))
        fenced = fenced != fence
        if fenced or fence:
            line, title = "", None
        if title or not line.strip() or re.match(r"\s*(?:[-*•]|\d+[.)])\s", line):
            found.extend(_wrapped(paragraph, partial(place.format, path=path), heading))
            paragraph = []
        if title:
            heading = title[1]
        elif line.strip():
            paragraph.append((number, line.strip()))
    return found


def numbered_lines(text: str) -> list[tuple[int, str]]:
    """Read lines such as `12: text` as (12, "text"); other lines are left out."""
    matches = (_NUMBERED.match(line) for line in _lines(text))
    return [(int(match[1]), match[2]) for match in matches if match]


def unique(sentences: Iterable[Sentence]) -> list[Sentence]:
    """Keep the first of sentences with the same words, and no more than can be ranked in time."""
    found: dict[str, Sentence] = {}
    for sentence in sentences:
        known = found.setdefault(sentence.key, sentence)
        if sentence.rank < known.rank:
            found[sentence.key] = replace(known, rank=sentence.rank)
        if len(found) >= MAX_SENTENCES:
            break
    return list(found.values())


def _lines(text: str) -> list[str]:
    return [line[:_MAX_LINE_CHARACTERS] for line in text.split("\n")[:_MAX_LINES]]


def _from_tool(result: ToolResult) -> list[Sentence]:
    lines = _lines(result.text)
    cited = [sentence for rank, line in enumerate(lines) for sentence in _cited(line, "", rank)]
    if cited:
        return cited
    path = next(
        (str(value) for key, value in result.arguments.items() if key in ("path", "file", "file_path", "url")), ""
    )
    if path and len(numbered_lines(result.text)) > len(lines) // 2:
        return from_numbered(result.text, path)
    records = _from_json(result.text)
    if records:
        return records
    if path:
        return [sentence for line in lines for sentence in _sentences(line, path, "", 0)] if "://" in path else []
    if _NOTHING.match(result.text) or re.match(r"[\w./ -]+\(\d+ lines", result.text):
        return []
    return [
        sentence
        for rank, line in enumerate(lines)
        for sentence in _sentences(line, f"{result.name}#{result.number}", "", rank)
    ]


def _cited(line: str, heading: str, rank: int) -> Iterator[Sentence]:
    leading = _LEADING.match(line)
    if leading:
        yield from _sentences(leading[3], leading[1], leading[2] or heading, rank)
        return
    trailing = _TRAILING.match(line)
    if trailing and not line.lstrip().startswith(("#", "|", "_", ">")):
        yield from _sentences(trailing[1], trailing[2], heading, rank)


def _sentences(text: str, cite: str, heading: str, rank: int) -> Iterator[Sentence]:
    if CITATION.search(text):
        return
    whole = list(split(text))
    for sentence in whole:
        # An item of a list may lack its full stop; a piece of a paragraph that lacks it was cut off.
        if is_prose(sentence) and (is_closed(sentence) or len(whole) == 1):
            yield Sentence(sentence, cite, heading, rank)


def _wrapped(paragraph: list[tuple[int, str]], place: Callable[..., str], heading: str) -> Iterator[Sentence]:
    text = " ".join(line for _, line in paragraph)
    at = 0
    for sentence in split(text):
        at = max(at, text.find(sentence, at))
        seen = 0
        for number, line in paragraph:
            seen += len(line) + 1
            if at < seen:
                yield from _sentences(sentence, place(number=number), heading, _UNRANKED)
                break


def _from_json(text: str) -> list[Sentence]:
    if text.lstrip()[:1] not in ("{", "["):
        return []
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return []
    found: list[Sentence] = []
    for rank, record in enumerate(_records(value, 0)):
        place = next((str(record[key]) for key in _PLACE_KEYS if isinstance(record.get(key), str)), "")
        body = next((str(record[key]) for key in _TEXT_KEYS if isinstance(record.get(key), str)), "")
        if place and body and CITATION.fullmatch(f"[{place}]"):
            found.extend(sentence for line in _lines(body) for sentence in _sentences(line, place, "", rank))
    return found


def _records(value: object, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth > 6:
        return
    if isinstance(value, dict):
        record = cast(dict[str, Any], value)
        yield record
        for inner in record.values():
            yield from _records(inner, depth + 1)
    elif isinstance(value, list):
        for inner in cast(list[object], value):
            yield from _records(inner, depth + 1)
