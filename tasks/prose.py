"""A Markdown text as its readers take it: numbered lines with their kinds."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from tasks.citations import find_citations, strip_citations

Kind = Literal["blank", "heading", "prose", "item", "quote", "aside", "table", "code", "sources", "offline"]

_FENCE = re.compile(r"\s*(`{3,}|~{3,})([^`]*)")
_ITEM = re.compile(r"(?:[-–*+•‣]|\d{1,9}[.)]|[a-zA-Z][.)])\s+(?:\[[ xX]\]\s+)?")
_ASIDE = re.compile(r"\[!\w+\]|[*_]{0,3}(?:note|hint|tip|warning|important|caution|disclaimer)[*_]{0,3}\s*[:–—-]")
_NUMBERING = re.compile(r"(?:section|chapter|part)?\s*(?:\d+(?:\.\d+)*|[ivxlc]+(?=[.)])|[a-z](?=[.)]))[.):]*\s+")
_SOURCES = {
    *("source", "sources", "sources cited", "list of sources", "source list", "reference", "references"),
    *("sources and references", "references and sources", "bibliography", "works cited", "citations"),
}
_WRAPPED_AT = 50


@dataclass(frozen=True)
class Line:
    """A line as read: hard-wrapped rows are joined, marks of lists, quotes and headings taken away."""

    label: str
    """Where it stands, for messages: `line 12`, or the path of a field."""
    kind: Kind
    """`aside` is a quoted note, `sources` whatever belongs to a list of sources, `offline` the offline model's note."""
    text: str
    """What it says, citations included."""
    level: int = 0
    """Depth of a heading, 1 to 6."""
    beside: tuple[str, ...] = ()
    """Citations in sibling fields of the same object; only in a contract's output."""
    rows: tuple[tuple[str, str], ...] = ()
    """The joined rows, each with its own label; empty when it is a single one."""

    def labels_where(self, holds: Callable[[str], bool]) -> list[str]:
        """Return the labels of the rows for which `holds` is true, or of the line when it is only of the whole."""
        found = [label for label, text in self.rows if holds(text)]
        return found or ([self.label] if holds(self.text) else [])


def read_lines(text: str) -> list[Line]:
    """Return the lines of a Markdown text, blank ones included; any of LF, CRLF and CR ends a row."""
    rows = _unwrapped(re.split(r"\r\n|\r|\n", text.replace("\x00", " ")))
    lines = (Line(f"line {i + 1}", kind, said, level) for i, (kind, said, level) in enumerate(_kinds(rows)))
    return list(_joined(_with_sources(lines), rows))


def read_fields(value: Mapping[str, object]) -> list[Line]:
    """Return the lines of every text in an object, labelled by path: `claims[0].claim`, `body, line 3`."""
    return list(_field_lines(value, "", ()))


def excerpt(text: str, length: int = 60) -> str:
    """Return the first `length` characters in double quotes, whitespace folded, with an ellipsis when cut."""
    folded = " ".join(text.split())
    return f'"{folded}"' if len(folded) <= length else f'"{folded[:length].rstrip()}…"'


def first_reasons(reasons: Sequence[str], most: int = 20) -> list[str]:
    """Return the first `most` reasons, and how many more there are."""
    hidden = len(reasons) - most
    return [*reasons[:most], f"and {hidden} more"] if hidden > 0 else list(reasons)


def heading_key(text: str) -> str:
    """Return a heading for comparing: casefolded, without numbering, punctuation and symbols."""
    folded = unicodedata.normalize("NFKC", text).casefold().strip("#*_ \t")
    numbering = _NUMBERING.match(folded)
    return _letters(folded[numbering.end() :] if numbering else folded) or _letters(folded) or folded


def _letters(text: str) -> str:
    return " ".join("".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in text).split())


def _unwrapped(rows: list[str]) -> list[str]:
    """Blank the fence around a whole answer: models wrap Markdown in one, and nothing would be judged."""
    filled = [i for i, row in enumerate(rows) if row.strip()]
    first, last = (filled[0], filled[-1]) if len(filled) > 1 else (0, 0)
    opening, closing = _FENCE.fullmatch(rows[first]), _FENCE.fullmatch(rows[last])
    if first == last or not opening or not closing or closing[2].strip() or closing[1][0] != opening[1][0]:
        return rows
    language = opening[2].strip().casefold()
    inner = sum(1 for row in rows[first + 1 : last] if _FENCE.fullmatch(row))
    if inner == 0 if language in ("", "text", "txt") else inner % 2 == 0 and language in ("markdown", "md"):
        return ["" if i in (first, last) else row for i, row in enumerate(rows)]
    return rows


def _kinds(rows: list[str]) -> Iterator[tuple[Kind, str, int]]:
    fixed = _code(rows)
    _mark_tables(rows, fixed)
    _mark_offline(rows, fixed)
    _mark_asides(rows, fixed)
    for i, row in enumerate(rows):
        if i in fixed:
            yield fixed[i], row if fixed[i] == "code" else row.strip("> \t"), 0
        elif i and i - 1 not in fixed and _underlined(rows, i - 1):
            yield "blank", "", 0
        elif i + 1 not in fixed and _underlined(rows, i):
            yield "heading", row.strip(), 1 if rows[i + 1].strip()[0] == "=" else 2
        else:
            yield _kind(row.strip())


def _kind(row: str) -> tuple[Kind, str, int]:
    marks = len(row) - len(row.lstrip("#"))
    if 1 <= marks <= 6 and row[marks : marks + 1] in ("", " ", "\t"):
        return "heading", row.strip("#").strip(), marks
    if row.startswith(">"):
        inner = row.lstrip("> \t")
        return ("quote", _without_mark(inner), 0) if inner and not _is_rule(inner) else ("blank", "", 0)
    if _is_rule(row) or not row or (row.startswith("<!--") and row.endswith("-->")):
        return "blank", "", 0
    return ("item" if _ITEM.match(row) else "prose"), _without_mark(row), 0


def _without_mark(row: str) -> str:
    mark = _ITEM.match(row)
    return row[mark.end() :] if mark else row


def _is_rule(row: str) -> bool:
    packed = row.replace(" ", "").replace("\t", "")
    return len(packed) >= 3 and packed[0] in "-*_=" and packed == packed[0] * len(packed)


def _underlined(rows: list[str], i: int) -> bool:
    """Say whether the row after `i` makes row `i` a heading; a sentence before a ruler stays a sentence."""
    if i + 1 >= len(rows) or (i and rows[i - 1].strip()):
        return False
    row, under = rows[i].strip(), rows[i + 1].strip()
    if not row or not under or under != under[0] * len(under) or under[0] not in "=-" or len(under) < 2:
        return False
    return _kind(row)[0] == "prose" and row[-1] not in ".!?:;" and not find_citations(row)


def _code(rows: list[str]) -> dict[int, Kind]:
    """Find the rows of fenced code. A fence that nothing closes hides nothing."""
    kinds: dict[int, Kind] = {}
    hopeless: dict[str, int] = {}
    i = 0
    while i < len(rows):
        fence = _FENCE.fullmatch(rows[i])
        end = i
        if fence and len(fence[1]) < hopeless.get(fence[1][0], len(fence[1]) + 1):
            closing = (j for j in range(i + 1, len(rows)) if _closes(rows[j], fence[1]))
            end = next(closing, i)
            if end == i:
                hopeless[fence[1][0]] = len(fence[1])
        if end > i:
            kinds.update(dict.fromkeys(range(i + 1, end), "code"))
            kinds[i] = kinds[end] = "blank"
        i = end + 1
    return kinds


def _closes(row: str, fence: str) -> bool:
    stripped = row.strip()
    return len(stripped) >= len(fence) and stripped == fence[0] * len(stripped)


def _mark_tables(rows: list[str], fixed: dict[int, Kind]) -> None:
    i = 0
    while i < len(rows):
        ruled = i + 1 < len(rows) and "|" in rows[i] and set("|-") <= set(rows[i + 1]) <= set("|:- \t")
        if i in fixed or not (ruled or rows[i].lstrip().startswith("|")):
            i += 1
            continue
        head = {heading_key(cell) for cell in rows[i].split("|")}
        kind: Kind = "sources" if ruled and head & _SOURCES else "table"
        while i < len(rows) and i not in fixed and (rows[i].lstrip().startswith("|") or (ruled and "|" in rows[i])):
            fixed[i] = kind
            i += 1


def _mark_offline(rows: list[str], fixed: dict[int, Kind]) -> None:
    """Mark the rows of the offline model's note: the first, and those up to the closing `_` in its paragraph."""
    held: list[int] | None = None
    for i, row in enumerate(rows):
        if i not in fixed and row.strip("> \t").casefold().startswith("_offline:"):
            fixed[i] = "offline"
            held = None if row.rstrip().endswith("_") else []
        elif held is not None and row.strip():
            held.append(i)
            if row.rstrip().endswith("_"):
                fixed.update(dict.fromkeys(held, "offline"))
                held = None
        else:
            held = None


def _mark_asides(rows: list[str], fixed: dict[int, Kind]) -> None:
    inside = False
    for i, row in enumerate(rows):
        quoted = i not in fixed and row.lstrip().startswith(">")
        begins = quoted and (i == 0 or not rows[i - 1].lstrip().startswith(">"))
        inside = quoted and (bool(_ASIDE.match(row.strip("> \t").casefold())) if begins else inside)
        if inside:
            fixed[i] = "aside"


def _with_sources(lines: Iterable[Line]) -> Iterator[Line]:
    """Mark what stands below a heading such as "Sources", or below a line that says only "Sources:"."""
    level = 0
    for line in lines:
        if line.kind == "heading":
            if not level or line.level <= level:
                level = line.level if heading_key(line.text) in _SOURCES else 0
        elif line.kind == "prose" and (line.text.rstrip("*_ ").endswith(":") or line.text.startswith(("**", "__"))):
            level = level or (7 if heading_key(line.text) in _SOURCES else 0)
        yield replace(line, kind="sources") if level and line.kind not in ("blank", "offline", "heading") else line


def _joined(lines: Iterable[Line], rows: list[str]) -> Iterator[Line]:
    """Join the rows of a hard-wrapped paragraph; a row that ends a sentence or a citation stands for itself."""
    parts: list[Line] = []
    for row, line in zip(rows, lines, strict=True):
        if parts and not _goes_on(parts[0], parts[-1].text, line, row):
            yield _one(parts)
            parts = []
        parts.append(line)
    if parts:
        yield _one(parts)


def _one(parts: Sequence[Line]) -> Line:
    if len(parts) == 1:
        return parts[0]
    rows = tuple((part.label, part.text) for part in parts)
    return replace(parts[0], text=" ".join(text for _, text in rows), rows=rows)


def _goes_on(held: Line, last: str, line: Line, row: str) -> bool:
    same = (held.kind, line.kind) in (("prose", "prose"), ("item", "prose"), ("quote", "quote"))
    if not same or not last or (line.kind == "quote" and _ITEM.match(row.lstrip("> \t"))):
        return False
    if not strip_citations(line.text).strip(" .,;"):
        return True
    if last.rstrip("\"'*_)”’»")[-1:] in ".!?:;…。！？]" or last.endswith(("\\", "<br>")):
        return False
    return len(last) >= _WRAPPED_AT or line.text[:1].islower()


def _field_lines(value: object, path: str, beside: tuple[str, ...]) -> Iterator[Line]:
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, object]", value)
        own = tuple(c for part in fields.values() for c in _only_citations(part))
        for name, part in fields.items():
            yield from _field_lines(part, f"{path}.{name}" if path else name, own or beside)
    elif isinstance(value, list):
        for i, part in enumerate(cast("list[object]", value)):
            yield from _field_lines(part, f"{path}[{i}]", beside)
    elif isinstance(value, str) and not _only_citations(value):
        lines = read_lines(value)
        for line in lines:
            rows = tuple((f"{path}, {label}", text) for label, text in line.rows)
            yield replace(line, label=path if len(lines) == 1 else f"{path}, {line.label}", beside=beside, rows=rows)


def _only_citations(value: object) -> list[str]:
    """Return the citations in a field that holds nothing else: `a.md:3`, `[a.md:3]`, or a list of these."""
    texts = cast("list[object]", value) if isinstance(value, list) else [value]
    found: list[str] = []
    for text in texts:
        bare = text.strip() if isinstance(text, str) else ""
        bracketed = bare if bare.startswith("[") else f"[{bare}]"
        if not bare or strip_citations(bracketed).strip(" ,;"):
            return []
        found += find_citations(bracketed)
    return found
