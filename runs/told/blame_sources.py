"""What a line may come from: the inputs, tool calls with their results, and what a person said."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from runs.told.blame_matching import FEWEST_WORDS, NUMBERED, needle_of
from runs.told.report import Step
from tasks.citations import find_citations, strip_citations
from tasks.wording import split_sentences

_LINES_OF_A_PLACE = 6
_MARKUP = re.compile(r"^[\s>#*+\-•|\d.)_`]+|[*_`\[|].*")
_FIELD = re.compile(r'\s*(?:"[^"]{1,200}":\s*)?("(?:[^"\\]|\\.)*")\s*,?\s*')
_PLACE = re.compile(r"\[([^\[\]\n]{1,300}?)(?::(\d+)(?:[-–](\d+))?|,? pp?\. ?(\d+)(?:[-–](\d+))?)(?=[\];, ])")
CITED = re.compile(r"(.+?)(?::| p\.)(\d+)(?:-(\d+))?")
_URL = re.compile(r"https?://[^\s<>\"'`|\\^{}\[\]()]{2,2000}")
_FILE = re.compile(r"[\w./-]{1,120}\.[A-Za-z]\w{1,4}\b")
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{12,1000})[\"”“»]")


@dataclass(frozen=True)
class Line:
    number: int
    text: str
    needle: bytes
    sentences: Mapping[bytes, str]
    """What is looked up, and how it is written."""
    quotes: Mapping[bytes, str]
    places: tuple[str, ...]
    """Places that it cites, and addresses and files that it names."""


def read_line(number: int, row: str) -> Line:
    said = row
    if (found := _FIELD.fullmatch(row)) is not None:  # of a contract's output
        said = str(json.loads(found[1]))
        said = f"[{said}]" if find_citations(f"[{said}]") else said
    bare = strip_citations(said, "\x00")
    parts = {needle: part for part in split_sentences(bare) if (needle := needle_of(part))}
    long = {needle: part for needle, part in parts.items() if needle.count(b" ") >= FEWEST_WORDS - 1}
    urls = [url.rstrip(".,;:") for url in _URL.findall(bare)]
    quotes = {needle_of(part): part for part in (*_QUOTED.findall(bare), *urls)}
    quotes = {needle: part for needle, part in quotes.items() if needle.count(b" ") >= FEWEST_WORDS - 1}
    places = (*find_citations(said), *urls) or tuple(_FILE.findall(bare))
    long = long or ({needle_of(bare): bare} if parts else {})
    return Line(number, row, needle_of(strip_citations(row)), long, quotes, places)


@dataclass
class Source:
    """Something a line may come from: an input, a tool call with its result, what a person said."""

    origin: Literal["input", "tool", "person"]
    step: str | None
    tool: str | None
    arguments: dict[str, Any] | None
    text: str
    place: str = ""

    def told(self, place: str) -> dict[str, Any]:
        return {"step": self.step, "tool": self.tool, "arguments": self.arguments, "place": self.place or place}

    @cached_property
    def given(self) -> set[str]:
        """The values of a call's arguments, and the ends of those that are paths."""
        values = [str(value) for value in (self.arguments or {}).values()]
        short = [value for value in values if len(value) <= 2000]
        return {value[at:] for value in short for at in (0, *(m.end() for m in re.finditer("/", value)))}

    @cached_property
    def cited(self) -> dict[tuple[str, int], int]:
        """Where in the result what stands behind each `[path:12]` of it begins."""
        found: dict[tuple[str, int], int] = {}
        for match in _PLACE.finditer(self.text):
            first = int(match[2] or match[4])
            for number in range(first, min(int(match[3] or match[5] or first), first + 200) + 1):
                found.setdefault((match[1], number), match.end())
        return found

    @cached_property
    def numbers(self) -> dict[int, int]:
        """Where each numbered line of the result begins; each line, where they are not numbered."""
        numbered = {int(match[1]): match.end() for match in reversed(list(NUMBERED.finditer(self.text)))}
        if numbered and NUMBERED.match(self.text):
            return numbered
        return {number: match.end() for number, match in enumerate(re.finditer(r"^|\n", self.text), 1)}

    def at(self, place: str) -> str | None:
        """Return what the result says at a place; None where it has no such place."""
        parts = None if "://" in place else CITED.fullmatch(place)
        if parts is None:
            return self.text if place in self.given else None
        path, first, last = parts[1], int(parts[2]), int(parts[3] or parts[2])
        here = [self.cited[path, number] for number in range(first, last + 1) if (path, number) in self.cited]
        if here:
            return self.text[here[0] : here[-1] + 1000].split("\n[")[0]
        if path not in self.given or first not in self.numbers:
            return None
        after = 1 if f"{path} p." in place else _LINES_OF_A_PLACE
        return self.text[self.numbers[first] : self.numbers.get(last + after)]

    def place_of(self, sentence: str) -> str:
        """Return where in the result a sentence stands, as it can be cited; else the file or address; "" if unknown."""
        start = self.text.find(_MARKUP.sub("", sentence).replace("\x00", "").strip()[:80])
        begin = self.text.rfind("\n", 0, start) + 1
        path = next((value for value in self.given if _FILE.fullmatch(value) or _URL.fullmatch(value)), "")
        if start >= 0:
            head = self.text[begin:start]
            if places := find_citations(head) or find_citations(f"{head}]"):
                return places[-1]
            if path and (numbered := NUMBERED.match(self.text, begin)) is not None:
                return f"{path}:{numbered[1]}"
        return path


def source_in(step: Step) -> Source | None:
    """Return what a step found out or was told; None for other steps, and for calls that were refused or failed."""
    record = step.record
    if step.kind == "answer" and record["said"]:
        return Source("person", step.name, None, None, str(record["said"]), "what a person said")
    if step.kind != "tool" or any(key in record for key in ("refused", "error", "unknown_outcome")):
        return None
    given: Any = record["arguments"]
    arguments = cast(dict[str, Any], given) if isinstance(given, dict) else {"": given}
    return Source("tool", step.name, record["tool"], arguments, str(record["result"]))
