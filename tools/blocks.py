"""Lines of Markdown, reStructuredText and plain text → blocks: paragraphs, list items, table rows, code, headings."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tools.markup import one_line, sentences, strip_markup

Kind = Literal["prose", "heading", "table", "code"]

_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*$")
_UNDERLINE = re.compile(r"([=\-~^\"'`*+#.:])\1{2,}$")
_FENCE = re.compile(r"(`{3,}|~{3,})")
_ITEM = re.compile(r"(?:[-*+•–]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")
_QUOTE = re.compile(r"(?:>\s?)+")
_SKIPPED = re.compile(r"\[[^\[\]]+\]:\s|\.\.\s|<!")
_ENDED = re.compile(r"[.!?…:;,。！？][\"'”’)\]]*$")
_TITLE_WORDS = 10
_PROSE_WORDS = 8
_MAX_COMMENT = 500


@dataclass(frozen=True)
class Block:
    """Lines that belong together, under the heading they stand under. Inline markup is off, except in code."""

    kind: Kind
    start: int
    """Number of the first line, from 1; for other formats of the paragraph or page."""
    lines: tuple[str, ...]
    heading: str = ""

    def sentences(self) -> Iterator[tuple[int, int, str]]:
        """Yield (first line, last line, text) of each sentence; of each line where it is code or a table."""
        if self.kind in ("prose", "heading"):
            for first, last, text in sentences("\n".join(self.lines)):
                yield self.start + first, self.start + last, text
            return
        for number, line in enumerate(self.lines, self.start):
            if text := one_line(line):
                yield number, number, text


def text_blocks(lines: Sequence[str], suffix: str) -> list[Block]:
    """Return the blocks of a text file; `suffix` is `.md`, `.markdown`, `.rst` or, for plain text, `.txt`."""
    return _Reader(lines, suffix).read()


class _Reader:
    """Walks the lines once; `pending` are the lines of the paragraph under way."""

    def __init__(self, lines: Sequence[str], suffix: str) -> None:
        self._lines = lines
        self._markdown = suffix in (".md", ".markdown")
        self._plain = suffix == ".txt"
        self._wrapped = _is_wrapped(lines)
        self._blocks: list[Block] = []
        self._heading = ""
        self._pending: list[str] = []
        self._start = 0
        self._in_list = False

    def read(self) -> list[Block]:
        at = _after_front_matter(self._lines) if self._markdown else 0
        while at < len(self._lines):
            at = self._special(at) or self._ordinary(at)
        self._flush()
        return self._blocks

    def _special(self, at: int) -> int:
        """Take a block that is known by how it begins; return the index after it, 0 when there is none."""
        line = self._lines[at].strip()
        if self._markdown and (fence := _FENCE.match(line)):
            return self._code(at, at + 1, self._end_of_fence(at, fence[1]))
        if self._markdown and line.startswith("<!--"):
            self._flush()
            return self._end_of_comment(at)
        if self._markdown and self._is_indented(at) and not self._pending and not self._in_list:
            end = at
            while end < len(self._lines) and self._is_indented(end):
                end += 1
            return self._code(at, at, end)
        if self._markdown and (heading := _HEADING.match(line)):
            return self._titled(at, heading[1], 1)
        if not self._pending and self._has_underline(at, line):
            return self._titled(at, line, 2)
        if self._plain and self._is_title(at, line):
            return self._titled(at, line, 1)
        return 0

    def _ordinary(self, at: int) -> int:
        raw = self._lines[at]
        line = _QUOTE.sub("", raw.strip(), count=1) if self._markdown else raw.strip()
        item = _ITEM.match(line)
        if not re.search(r"\w", line) or (not self._plain and _SKIPPED.match(line)):
            self._flush()
        elif line.startswith("|") and not self._plain:
            self._flush()
            self._add("table", at, [" | ".join(cell.strip() for cell in line.strip("|").split("|"))])
        elif item or not self._pending:
            self._flush()
            self._in_list = bool(item) or (self._in_list and raw[:1].isspace())
            self._start, self._pending = at, [line[item.end() :] if item else line]
        else:
            self._pending.append(line)
        return at + 1

    def _flush(self) -> None:
        if self._pending and self._wrapped:
            self._add("prose", self._start, self._pending)
        else:
            for offset, line in enumerate(self._pending):
                self._add("prose", self._start + offset, [line])
        self._pending = []

    def _add(self, kind: Kind, at: int, lines: Sequence[str]) -> None:
        clean = lines if kind == "code" else strip_markup("\n".join(lines)).split("\n")
        if any(re.search(r"\w", line) for line in clean):
            self._blocks.append(Block(kind, at + 1, tuple(clean), self._heading))

    def _titled(self, at: int, title: str, taken: int) -> int:
        self._flush()
        self._in_list = False
        title = one_line(strip_markup(title))
        if re.search(r"\w", title):
            self._heading = title
            self._blocks.append(Block("heading", at + 1, (title,), title))
        return at + taken

    def _code(self, at: int, first: int, last: int) -> int:
        self._flush()
        self._add("code", first, self._lines[first:last])
        return max(last if first == at else last + 1, at + 1)

    def _end_of_fence(self, at: int, fence: str) -> int:
        for end in range(at + 1, len(self._lines)):
            line = self._lines[end].strip()
            if line.startswith(fence) and not line.strip(fence[0]):
                return end
        return len(self._lines)

    def _end_of_comment(self, at: int) -> int:
        for end in range(at, min(at + _MAX_COMMENT, len(self._lines))):
            if "-->" in self._lines[end]:
                return end + 1
        return at + 1  # never closed: hide its first line, not the rest of the file

    def _is_indented(self, at: int) -> bool:
        return self._lines[at].startswith(("    ", "\t")) and bool(self._lines[at].strip())

    def _has_underline(self, at: int, line: str) -> bool:
        if at + 1 >= len(self._lines) or not re.search(r"\w", line) or len(line) > 200 or line.startswith(("|", ">")):
            return False
        under = _UNDERLINE.match(self._lines[at + 1].rstrip())
        if under is None or _ITEM.match(line):
            return False
        return under[1] in "=-" if self._markdown else len(under[0]) * 2 >= len(line)

    def _is_title(self, at: int, line: str) -> bool:
        """Say whether a short line of plain text names what the long line after it begins."""
        if not line or len(line.split()) > _TITLE_WORDS or len(line) > 100 or _ENDED.search(line):
            return False
        if self._pending and not re.search(r"[.!?:]$", self._pending[-1]):
            return False
        after = next((text for text in self._lines[at + 1 : at + 3] if text.strip()), "")
        return not line[0].islower() and bool(line[0].isalnum()) and len(after.split()) >= _PROSE_WORDS


def _after_front_matter(lines: Sequence[str]) -> int:
    if not lines or lines[0].rstrip() not in ("---", "+++"):
        return 0
    fence = lines[0].rstrip()
    for at in range(1, min(len(lines), 200)):
        if lines[at].rstrip() == fence or (fence == "---" and lines[at].rstrip() == "..."):
            return at + 1
    return 0


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Say whether sentences go on from line to line, rather than each line being a paragraph of its own.

    They do where many lines end without a stop and the next one begins with a small letter.
    """
    inner = carried = 0
    for line, following in pairwise(lines):
        line, following = line.strip(), following.strip()
        if not line or not following or not line[0].isalnum() or _ITEM.match(following):
            continue
        inner += 1
        carried += not _ENDED.search(line) and following[0].isalpha() and not following[0].isupper()
    return carried * 4 >= inner
