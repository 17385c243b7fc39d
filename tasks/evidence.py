"""The rule `supported`: what can be looked up in an output occurs in what the task was given and its tools said."""

import html
import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice

from project.spec import FieldSpec
from tasks.citations import strip_citations
from tasks.names import find_names
from tasks.prose import Line, excerpt, first_reasons
from tasks.quantities import (
    Day,
    Quantity,
    blanked,
    days_of,
    find_days,
    find_quantities,
    find_times,
    minutes_of,
    spelled_values,
    values_of,
)
from tasks.structure import read_output
from tasks.wording import count_words, normalise

KINDS = ("quotes", "numbers", "dates", "urls", "names")

_URL = re.compile(r"(?:https?://|www\.)[^\s<>\"'`|\\^{}\[\]“”«»]{2,2000}", re.IGNORECASE)
_DOUBLE = dict.fromkeys(map(ord, "“”„‟«»″〝〞「」『』"), '"')
_QUOTED = re.compile(r'(?<!\w)"([^"]{1,1500})"(?!\w)')
_SINGLE = re.compile(r"(?<!\w)['‘‚](\w[^'’‘\n]{8,600}(?:['’]\w[^'’‘\n]{1,600}){0,8})['’](?!\w)")
_GAP = re.compile(r"\[?(?:\.\.\.|…)\]?|\[[^\[\]]{1,80}\]")
_ATTRIBUTED = re.compile(
    r"\b(?:said|says?|saying|wrote|writes?|states?|stated|according to|notes?|noted|calls?|called|describe[sd]?|reads?|"
    r"adds?|added|put it|puts it|quot\w+|words of|explain(?:s|ed)|argue[sd]?|warn(?:s|ed)|told)\b|[:—–]\s{0,2}$",
    re.IGNORECASE,
)
_BY = re.compile(r"(?:^|\s)(?:—|–|--)\s?\w")
_WORD = re.compile(r"[^\W_]+")
_CODE = re.compile(r"(`{1,3})([^`\n]{1,400})\1")
_FILE = re.compile(
    r"(?<![\w./-])[\w./-]{1,120}\.(?:md|pdf|txt|csv|json|ya?ml|py|docx?|xlsx?|pptx?|html?|xml|log)\b", re.IGNORECASE
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w.-]{1,120}")
_ESCAPED = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([nrt/\"]))")
_IDENTIFIER = re.compile(
    r"\b(?!mid|pre|post|non|early|late|sub)[A-Za-z]{1,8}-\d{4,20}\b|(?-i:\b(?!FY|CY|HY|Q)[A-Z]{1,6}\d{3,12}\b)",
    re.IGNORECASE,
)
_ROW_NUMBER = re.compile(r"\s*\|\s*(\d{1,2})\.?\s*(?=\|)")
_COUNTED_UP_TO = 50
_MOST_ITEMS = 5000
_FEWEST_QUOTED = 4


@dataclass(frozen=True)
class Evidence:
    """One text that an agent was given, or that a tool returned to it."""

    id: str
    source: str
    """A tool's name, `input NAME`, `task NAME` or `person`."""
    text: str
    arguments: str = ""
    """Arguments of the tool call as JSON."""


@dataclass(frozen=True)
class Support:
    """How much of what can be looked up in an output occurs in the evidence."""

    claims: int
    supported: int
    unsupported: tuple[str, ...]
    """Reasons, each with its place."""


def support_of(text: str, evidence: Sequence[Evidence], contract: Mapping[str, FieldSpec] | None = None) -> Support:
    """Count the quotes, numbers, dates, addresses and names of an output, and those that occur in the evidence."""
    found = list(islice(_checked(read_output(text, contract), evidence, KINDS), _MOST_ITEMS))
    reasons = [reason for reason in found if reason]
    return Support(len(found), len(found) - len(reasons), tuple(reasons))


def unsupported(lines: Sequence[Line], evidence: Sequence[Evidence], kinds: Collection[str]) -> list[str]:
    """Return what in an output does not occur in the evidence, in order; `kinds` out of KINDS."""
    return first_reasons([reason for reason in islice(_checked(lines, evidence, kinds), _MOST_ITEMS) if reason])


def find_urls(text: str) -> list[str]:
    """Return the web addresses in a text, each once, without the punctuation behind them."""
    found: list[str] = []
    for match in _URL.finditer(text):
        url = match[0].rstrip(".,;:!?*_")
        while url.endswith(")") and url.count("(") < url.count(")"):
            url = url[:-1].rstrip(".,;:!?*_")
        found.append(url)
    return list(dict.fromkeys(found))


def holds_url(url: str, haystack: str) -> bool:
    """Say whether an address stands in a casefolded text, whatever its scheme, fragment and last slash."""
    needle = re.sub(r"^(?:https?://)?(?:www\.)?", "", url.casefold()).split("#")[0].rstrip("/")
    start = haystack.find(needle) if needle else -1
    while start >= 0:
        rest = haystack[start + len(needle) : start + len(needle) + 2]
        whole = "/" not in needle or not re.match(r"[\w%=&+~-]|/[\w%]|\.\w|\?\w", rest)
        if whole and not re.match(r"[\w-]", haystack[start - 1 : start]):
            return True
        start = haystack.find(needle, start + 1)
    return False


class _Known:
    """The evidence, read as far as it is asked for."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        self._evidence = evidence

    @cached_property
    def texts(self) -> list[str]:
        return [_unescaped(one.text) for one in self._evidence]

    @cached_property
    def streams(self) -> list[str]:
        return [_stream(text) for text in self.texts]

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(word for stream in self.streams for word in stream.split())

    @cached_property
    def values(self) -> set[Decimal]:
        return {value for text in self.texts for value in values_of(text)}

    @cached_property
    def spelled(self) -> set[Decimal]:
        return {value for stream in self.streams for value in spelled_values(stream.split())}

    @cached_property
    def ordered(self) -> list[float]:
        return sorted(map(float, self.values | self.spelled))

    @cached_property
    def days(self) -> set[Day]:
        return {day for text in self.texts for day in days_of(text)}

    @cached_property
    def parts_of_days(self) -> set[Day]:
        return {part for year, month, day in self.days for part in ((year, month, None), (None, month, day))}

    @cached_property
    def minutes(self) -> set[int]:
        return {minutes for text in self.texts for minutes in minutes_of(text)}

    @cached_property
    def addresses(self) -> str:
        return "\n".join([*self.texts, *(_unescaped(one.arguments) for one in self._evidence)]).casefold()

    def holds_quote(self, parts: Sequence[str]) -> bool:
        if any(_in_order(parts, stream) for stream in self.streams):
            return True
        packed = [part.replace(" ", "") for part in parts]
        if any(_in_order(packed, stream.replace(" ", ""), "") for stream in self.streams):
            return True  # words that a line break has cut
        return any("](" in text and _in_order(parts, _stream(normalise(text))) for text in self.texts)

    def holds_quantity(self, quantity: Quantity) -> bool:
        share = "%" in quantity.written or "cent" in quantity.written.casefold()
        wanted = set(quantity.values)
        wanted |= {value.scaleb(-2) for value in quantity.values if share and value < 100}  # 0.064, as programs have it
        return bool(wanted & self.values or wanted & self.spelled) or (
            bool(quantity.step) and any(self._is_near(float(value), float(quantity.step)) for value in quantity.values)
        )

    def _is_near(self, value: float, step: float) -> bool:
        at = bisect_left(self.ordered, value - step)
        while at < len(self.ordered) and self.ordered[at] <= value - step:
            at += 1
        return at < len(self.ordered) and self.ordered[at] < value + step

    def holds_day(self, day: Day) -> bool:
        year, month, date = day
        if day in self.days or ((date is None or year is None) and day in self.parts_of_days):
            return True
        return (None, month, date) in self.days and Decimal(year or 0) in self.values  # the year stands elsewhere


def _checked(lines: Sequence[Line], evidence: Sequence[Evidence], kinds: Collection[str]) -> Iterator[str]:
    """Yield "" for each checkable item that the evidence has, a reason for each that it does not have."""
    known = _Known(evidence)
    counts = _counts(lines)
    lower = frozenset(word for line in lines for word in _WORD.findall(line.text) if word.islower())
    ways: dict[str, Callable[[Line], Iterator[str]]] = {
        "quotes": lambda line: _quotes(line, known),
        "numbers": lambda line: _numbers(line, known, counts),
        "dates": lambda line: _dates(line, known),
        "urls": lambda line: _urls(line, known),
        "names": lambda line: _names(line, known, lower),
    }
    before: Line | None = None
    for line in lines:
        if line.kind in ("blank", "offline", "code"):
            continue
        if line.kind == "quote" and "quotes" in kinds:
            yield from _block_quote(line, before, known)
        for kind in KINDS:
            if kind in kinds and (line.kind != "sources" or kind == "urls"):
                yield from ways[kind](line)
        before = line


def _reason(label: str, what: str, mend: str) -> str:
    return f"{label}: {what} in the evidence; {mend}"


def _quotes(line: Line, known: _Known) -> Iterator[str]:
    text = strip_citations(_CODE.sub(" ", line.text)).translate(_DOUBLE)
    singles = [match for match in _SINGLE.finditer(text) if _attributed(text, match)]
    for match in (*_QUOTED.finditer(text), *singles):
        fewest = _FEWEST_QUOTED - _attributed(text, match)
        if count_words(match[1]) >= fewest:
            yield _quote_reason(line.label, match[1], known)


def _attributed(text: str, match: re.Match[str]) -> bool:
    around = text[max(0, match.start() - 60) : match.start()], text[match.end() : match.end() + 40]
    return any(_ATTRIBUTED.search(part) for part in around)


def _block_quote(line: Line, before: Line | None, known: _Known) -> Iterator[str]:
    """Judge a block quote that somebody is said to have said; others are callouts."""
    said = _BY.split(line.text)[0]
    introduced = before is not None and before.kind in ("prose", "item") and before.text.rstrip("*_ ").endswith(":")
    if (
        (introduced or said != line.text)
        and '"' not in line.text.translate(_DOUBLE)
        and count_words(said) >= _FEWEST_QUOTED
    ):
        yield _quote_reason(line.label, strip_citations(said), known)


def _quote_reason(label: str, quote: str, known: _Known) -> str:
    parts = [part for piece in _GAP.split(quote) if (part := _stream(piece))]
    if not parts or known.holds_quote(parts):
        return ""
    mend = "quote word for word what was read, or say it without quotation marks"
    return _reason(label, f"the quoted words {excerpt(quote)} do not occur", mend)


def _numbers(line: Line, known: _Known, counts: Collection[int]) -> Iterator[str]:
    text = _measured(line)
    text = blanked(text, sorted((start, end) for start, end, _ in find_days(text)))
    mend = "give the number that was found, or leave it out"
    for start, end, minutes in find_times(text):
        written = text[start:end]
        held = (
            {minutes, (minutes + 720) % 1440} & known.minutes if "m" in written.casefold() else minutes in known.minutes
        )
        yield "" if held else _reason(line.label, f"the time {written} does not occur", mend)
    text = blanked(text, [(start, end) for start, end, _ in find_times(text)])
    for match in _IDENTIFIER.finditer(text):
        held = any(match[0].casefold() in one.casefold() for one in known.texts)
        yield "" if held else _reason(line.label, f"{match[0]} does not occur", mend)
    row = _ROW_NUMBER.match(text) if line.kind == "table" else None
    if row and int(row[1]) <= max(counts, default=0):
        text = text[row.end() :]
    for quantity in find_quantities(text):
        if quantity.bare and any(value in counts for value in quantity.values):
            continue
        if known.holds_quantity(quantity):
            yield ""
        else:
            yield _reason(line.label, f"the number {quantity.written} does not occur", mend)


def _measured(line: Line) -> str:
    """Return the line without what holds digits and is no number: citations, addresses, files, code."""
    text = strip_citations(line.text)
    if line.kind == "heading":
        text = re.sub(r"^\s*(?:\d{1,3}(?:\.\d{1,3}){0,4}|[IVX]{1,5})[.):]?\s", " ", text)
    for pattern in (_URL, _EMAIL, _FILE):
        text = pattern.sub(" ", text)
    text = _CODE.sub(lambda code: " " if re.search("[^\\W\\d]", code[2]) else f" {code[2]} ", text)
    return re.sub(r"[*~]+|(?<!\w)_+|_+(?!\w)", "", text)


def _dates(line: Line, known: _Known) -> Iterator[str]:
    text = _measured(line)
    for start, end, days in sorted(find_days(text), key=lambda found: found[0]):
        # Two days of one month are a range, `01/03` and `03/01` two readings.
        holds = all if len({month for _, month, _ in days}) == 1 else any
        if holds(known.holds_day(day) for day in days):
            yield ""
        else:
            mend = "give the date that was found, or leave it out"
            yield _reason(line.label, f"the date {text[start:end].strip()} does not occur", mend)


def _urls(line: Line, known: _Known) -> Iterator[str]:
    for url in find_urls(line.text):
        held = holds_url(url, known.addresses)
        yield (
            "" if held else _reason(line.label, f"{url} does not occur", "name only addresses that were given or found")
        )


def _names(line: Line, known: _Known, lower: Collection[str]) -> Iterator[str]:
    if line.kind == "heading":
        return
    text = _EMAIL.sub(" ", _URL.sub(" ", _CODE.sub(" ", strip_citations(line.text))))
    for name, words in find_names(text, table=line.kind == "table"):
        needed = [word.casefold() for word in words if word.casefold() not in lower]
        if not needed:
            continue
        absent = [word for word in needed if word not in known.words and word.removesuffix("s") not in known.words]
        mend = "keep to the names that were found, as they were found"
        yield _reason(line.label, f'the name "{name}" does not occur', mend) if absent else ""


def _counts(lines: Sequence[Line]) -> set[int]:
    """Return the numbers of things that stand in the text itself: items of its lists, rows of tables, headings."""
    counts: set[int] = set()
    held, run = "", 0
    for line in [*lines, Line("", "offline", "")]:
        if line.kind == "blank":
            continue
        if line.kind != held:
            if held in ("item", "table"):
                counts |= {run, run - 1} if held == "table" else {run}
            held, run = line.kind, 0
        run += 1
    for level in range(1, 7):
        counts.add(sum(1 for line in lines if line.kind == "heading" and line.level == level))
    return {count for count in counts if 1 < count <= _COUNTED_UP_TO}


def _stream(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold()))


def _in_order(parts: Sequence[str], stream: str, edge: str = " ") -> bool:
    position = 0
    text = f"{edge}{stream}{edge}"
    for part in parts:
        found = text.find(f"{edge}{part}{edge}", position)
        if found < 0:
            return False
        position = found + len(part)
    return True


def _unescaped(text: str) -> str:
    """Return a tool's text with the escapes of JSON and HTML read."""
    if "\\" in text:
        text = _ESCAPED.sub(lambda e: chr(int(e[1], 16)) if e[1] else ("\n" if e[2] in "nrt" else e[2]), text)
    return html.unescape(text) if "&" in text else text
