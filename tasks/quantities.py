"""Numbers, dates and times in a text, by value: `1,250`, `1250` and `1.25 thousand` are one number."""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

Day = tuple[int | None, int, int | None]
"""Year, month, day; None for what is not written."""

_GROUPED = "[ \u00a0\u2009\u202f'’_]"
_DIGITS = rf"\d{{1,3}}(?:{_GROUPED}\d{{3}}){{1,6}}(?!\d)|\d{{1,30}}(?:[.,'’]\d{{1,20}}){{0,8}}"
_SCALE = r"(?:hundred|thousand|million|billion|trillion|lakh|crore|mio|mrd|mn|bn|tn|[kKMmB])(?![\w])\.?"
_PERCENT = r"(?:%|per ?cent\b|pct\b|percentage points?\b|pp\b)"
_AFTER = rf"(?:[ \u00a0\u202f-]?(?P<scale>{_SCALE}))?(?:[ \u00a0\u202f-]?(?P<percent>{_PERCENT}))?"
_BEFORE = "(?:(?<!\\w)(?<!\\w[.])|(?<=USD)|(?<=EUR)|(?<=GBP)|(?<=CHF)|(?<=NOK)|(?<=SEK)|(?<=DKK)|(?<=JPY)|(?<=US))"
_CLAIMED = re.compile(rf"{_BEFORE}(?P<digits>{_DIGITS}){_AFTER}", re.IGNORECASE)
_ANYWHERE = re.compile(
    rf"(?P<digits>{_DIGITS})(?:[ \u00a0\u202f-]?(?:(?P<scale>{_SCALE})|(?P<cent>(?:cents?|ct|¢|pence|p)(?!\w))))?",
    re.IGNORECASE,
)
_RANGE = re.compile(rf"\s?(?:-|–|to|and|or)\s?[$€£]?\s?(?:{_DIGITS})\s?(?P<scale>{_SCALE})", re.IGNORECASE)
_TABLE_SCALE = re.compile(
    r"\bin (thousand|million|billion)s?\b|\([$€£ ]{0,2}(?:USD |EUR )?(k|m|mn|bn)\)", re.IGNORECASE
)
_TABLE_HINTS = ("n thousand", "n million", "n billion", "k)", "m)", "M)", "mn)", "bn)")
_SCALES = {
    word: power
    for power, words in (
        (2, "hundred"),
        (3, "k thousand"),
        (5, "lakh"),
        (6, "m mn mio million"),
        (7, "crore"),
        (9, "b bn mrd billion"),
        (12, "tn trillion"),
    )
    for word in words.split()
}
_CENTS = re.compile(r"[ \u00a0]?(?:cents?|ct|¢|pence|p)\b", re.IGNORECASE)
_PREFIXED = re.compile(
    r"[ \u00a0-]?(?:[kMGTP](?:W|Wh|B|Hz|V|m|g|J|bit)s?|(?:kilo|mega|giga|tera)\w{2,12}|tons?|tonnes?|litres?|ml)\b"
)
_DECADE = re.compile(r"(?:19|20)\d0s\b")
_UNITS_TEXT = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_UNITS = _UNITS_TEXT.split()
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {**{word: i for i, word in enumerate(_UNITS)}, **{word: 10 * i + 20 for i, word in enumerate(_TENS)}}
_DECADE_WORDS = {word.removesuffix("y") + "ies": _WORDS[word] for word in _TENS}
_SPELLED_ON = {"and", "hundred", "thousand", "million", "billion"}
_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_SPELLED = re.compile(
    rf"(?<![\w-])(?:{_WORD})(?:[ -](?:and )?(?:{_WORD}|hundred|thousand|million|"
    rf"billion)(?![\w])){{0,8}}(?P<half> and a half)?"
    rf"(?![\w])(?:[ -]?(?P<percent>{_PERCENT}))?",
    re.IGNORECASE,
)
_MONTHS = (
    "January|February|March|April|May|June|July|August|September|October|November|December|"
    "Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec"
)
_MONTH = rf"(?:{_MONTHS}|(?:{_MONTHS.upper()}))\b\.?"
_MONTH_STARTS = "janfebmaraprmayjunjulaugsepoctnovdec"
_TH = "(?:st|nd|rd|th)?"
_TILL = r"\s{0,2}(?:-|–|to|and|until)\s{0,2}"
_DATES = (
    re.compile(r"(?<![\d.])(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})(?!\d)"),
    re.compile(r"(?<![\d.])(?P<a>\d{1,2})(?P<s>[./-])(?P<b>\d{1,2})(?P=s)(?P<y>\d{4}|\d\d)(?![\d.]\d|\d)"),
    re.compile(
        rf"(?<![\w.,])(?:(?P<from>\d{{1,2}}){_TH}{_TILL})?(?P<d>\d{{1,2}})(?:{_TH}(?: of)?|\.)[ \u00a0-](?P<m>{_MONTH})"
        r"(?:,?[ \u00a0-](?P<y>\d{4})(?!\d))?"
    ),
    re.compile(
        rf"\b(?P<m>{_MONTH}) (?P<d>\d{{1,2}})(?!\d|[.,]\d){_TH}(?:{_TILL}(?P<from>\d{{1,2}})(?!\d){_TH})?"
        r"(?:,? (?P<y>\d{4})(?!\d))?"
    ),
    re.compile(rf"\b(?P<m>{_MONTH}),? (?:of )?(?P<y>\d{{4}})(?!\d)"),
    re.compile(r"(?<![\w.-])(?P<y>(?:19|20)\d\d)-(?P<m>0[1-9]|1[0-2])(?![\w-])"),
)
_TIME_HINT = re.compile(r"\d:[0-5]\d")
_DATE_HINT = re.compile(
    r"[JFMASOND](?:an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec|AN|EB|AR|PR|AY|UN|UL|UG|EP|CT|OV|EC)|"
    r"\d[-/.]\d\d?(?:[-/.]\d|(?!\d))"
)
_TIME = re.compile(
    r"(?<![\d:])(?P<h>[01]?\d|2[0-4])[:](?P<m>[0-5]\d)(?::[0-5]\d)?(?![\d:])(?: ?(?P<half>[ap])\.?m\b)?", re.I
)
_NAMED_BEFORE = re.compile(
    r"(?:(?:\b(?:section|sect|chapter|ch|table|figure|fig|step|phase|part|appendix|annex|option|item|point|question|page|"
    r"paragraph|footnote|note|equation|eq|stage|level|version|release|task|claim|finding|recommendation|article|row|line|"
    r"column|slide|day|week|tier|round|session|module|exercise|group|team|scenario|example|no|p|pp)s?\b\.?|§|#|"
    r"\b(?-i:[QH]))\s?(?:\d{1,3}\s?(?:-|–|and|to|,)\s?)?)$",
    re.IGNORECASE,
)
_IDIOM = re.compile(r"(?:24/7|50[/-]50)(?!\d)")
_MONEY = re.compile(r"(?:[$€£¥]|\b(?:USD|EUR|GBP|CHF|NOK|SEK|DKK|JPY))\s?$")
_CURRENCY = r"\s?(?:USD |EUR |GBP )?[$€£]?\s?$"
_ROUGHLY = re.compile(
    rf"(?:\b(?:about|around|roughly|approximately|approx\.|circa|ca\.|some|or so)|[~≈]){_CURRENCY}", re.I
)
_BEYOND = re.compile(
    r"(?:\b(?:nearly|almost|over|under|below|above|(?:more|less|fewer|higher|lower) than|close to|up to|at least|"
    r"at most)|"
    rf"[≥≤<>]){_CURRENCY}",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Quantity:
    """A number as a text has it."""

    written: str
    values: frozenset[Decimal]
    """What it may mean: `1.250` is two numbers."""
    step: Decimal
    """How far it may be from what was rounded to it; 0 when it stands as exact."""
    bare: bool
    """True: a whole number without a unit, such as a count."""


def find_quantities(text: str) -> Iterator[Quantity]:
    """Yield the numbers that a text claims: no dates, times, ordinals, nor numbers of sections and the like.

    Words count when they are above ten or stand before a percent or scale.
    """
    for match in _CLAIMED.finditer(text):
        if not _is_name(text, match.start(), match.end("digits"), match.end()):
            yield _quantity(text, match)
    for match in _SPELLED.finditer(text):
        value = _spelled(match[0], half=bool(match["half"]))
        if value > 10 or match["percent"]:
            yield Quantity(
                match[0], frozenset((value,)), Decimal(0), match["percent"] is None and "half" not in match[0]
            )


def values_of(text: str) -> set[Decimal]:
    """Return every value that digits in a text can mean, those in names, dates and tables included."""
    tables = _TABLE_SCALE.finditer(text) if any(hint in text for hint in _TABLE_HINTS) else ()
    powers = {_SCALES[(match[1] or match[2]).casefold()] for match in tables}
    found: set[tuple[str, str, bool]] = set()
    earlier, end = "", 0
    for match in _ANYWHERE.finditer(text):
        digits, scale, start = match["digits"], (match["scale"] or "").casefold().rstrip("."), match.start()
        cut = "," in digits and "," in (text[start - 1 : start], text[match.end("digits") : match.end("digits") + 1])
        found.add((digits, scale or ("cent" if match["cent"] else ""), cut))
        if scale and earlier and start - end < 7 and text[end:start].strip(" $€£") in ("-", "–", "to", "and", "or"):
            found.add((earlier, scale, False))  # 3 to 4 million
        earlier, end = digits, match.end()
    return {value for digits, scale, cut in found for value in _meanings(digits, scale, cut, powers)}


def spelled_values(words: Sequence[str]) -> set[Decimal]:
    """Return the values of the numbers and decades among the words of a text, all of them in lower case."""
    values: set[Decimal] = set()
    end = 0
    for i in [i for i, word in enumerate(words) if word in _WORDS or word in _DECADE_WORDS]:
        if words[i] in _DECADE_WORDS:
            values |= {Decimal(_DECADE_WORDS[words[i]]), Decimal(1900 + _DECADE_WORDS[words[i]])}
        elif i >= end:
            end = i + 1
            while end < len(words) and end < i + 12 and (words[end] in _WORDS or words[end] in _SPELLED_ON):
                end += 1
            written = " ".join(words[i:end])
            values.add(_spelled(written, half=False))
            if list(words[end - 1 : end + 2]) == ["and", "a", "half"]:
                values.add(_spelled(written, half=True))
    return values


def find_days(text: str) -> Iterator[tuple[int, int, frozenset[Day]]]:
    """Yield where each date stands, from and to, and the days it may mean: `01/03/2026` is two."""
    for pattern in _DATES:
        spans: list[tuple[int, int]] = []
        for match in pattern.finditer(text):
            if days := _days(match.groupdict()):
                spans.append(match.span())
                yield match.start(), match.end(), days
        text = blanked(text, spans)


def days_of(text: str) -> set[Day]:
    """Return the days that a long text may mean: only what stands near a month or two joined numbers is looked at."""
    return {day for _, _, days in find_days(_near(text, _DATE_HINT)) for day in days}


def minutes_of(text: str) -> set[int]:
    """Return the times of day in a long text as minutes since midnight."""
    return {minutes for _, _, minutes in find_times(_near(text, _TIME_HINT))}


def _near(text: str, hints: re.Pattern[str]) -> str:
    """Return what stands around the hints, which are cheap to find."""
    parts: list[str] = []
    position = 0
    for hint in hints.finditer(text):
        start, end = max(position, hint.start() - 16), min(len(text), hint.end() + 24)
        if end > position:
            parts += ["\n" if start > position else "", text[start:end]]
            position = end
    return "".join(parts)


def blanked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return the text with spaces in place of these parts, which must be in order and apart."""
    parts: list[str] = []
    position = 0
    for start, end in spans:
        parts += [text[position:start], " " * (end - start)]
        position = end
    return "".join(parts) + text[position:]


def find_times(text: str) -> Iterator[tuple[int, int, int]]:
    """Yield where each time of day stands, from and to, and its minutes since midnight."""
    for match in _TIME.finditer(text):
        hours = int(match["h"]) % 12 + 12 * (match["half"] in "pP") if match["half"] else int(match["h"])
        yield match.start(), match.end(), 60 * hours + int(match["m"])


def _meanings(digits: str, scale: str, cut: bool, powers: Collection[int]) -> Iterator[Decimal]:
    found = _readings(digits)
    if "," in digits and (cut or not found or digits.count(",") > 2):  # a row of a table
        found = found | {value for piece in digits.split(",") for value in _readings(piece)}
    for value in found:
        yield value
        if scale:
            yield value.scaleb(-2 if scale == "cent" else _SCALES[scale])
        yield from (value.scaleb(power) for power in powers)


def _quantity(text: str, match: re.Match[str]) -> Quantity:
    digits, scale, percent = match["digits"], match["scale"], match["percent"]
    found = set(_readings(digits))
    before = text[max(0, match.start() - 24) : match.start()]
    point = digits.rfind(".")
    fine = len(digits) - point - 1 if point >= 0 and digits.count(".") == 1 else 0
    plain = "".join(filter(str.isdecimal, digits))
    zeros = 0 if fine else len(plain) - len(plain.rstrip("0"))
    step = Decimal(1).scaleb(zeros - fine)
    money = bool(_MONEY.search(before))
    if scale == "m" and not money:  # metres, more likely than millions
        found = found | {value.scaleb(6) for value in found}
    elif scale:
        power = _SCALES[scale.casefold().rstrip(".")]
        found = {value.scaleb(power) for value in found}
        step = step.scaleb(power)
    elif (ranged := _RANGE.match(text, match.end())) is not None:
        found = found | {value.scaleb(_SCALES[ranged["scale"].casefold().rstrip(".")]) for value in found}
    if _PREFIXED.match(text, match.end("digits")):  # 1.25 GW = 1250 MW
        found = found | {value.scaleb(power) for value in found for power in (-3, 3)}
    if _CENTS.match(text, match.end("digits")):  # 21 cents = €0.21
        found = found | {value.scaleb(-2) for value in found}
    decade = _DECADE.match(text, match.start()) is not None
    if not (decade or _BEYOND.search(before)):
        rounded = _ROUGHLY.search(before) or (scale and fine > 0 and len(digits) > 2)
        step = step / 2 if rounded else Decimal(0)
    whole = digits.isdecimal() and not scale and not percent and not money
    return Quantity(match[0].rstrip(" ."), frozenset(found), step, whole)


def _is_name(text: str, start: int, end: int, whole_end: int) -> bool:
    """Say whether digits are part of a name or a place in a text, and so no quantity."""
    before, after = text[max(0, start - 24) : start], text[end : end + 8]
    digits = text[start:end]
    if re.search(r"[^\W\d_][-–‑/]$", before) and not before.casefold().endswith(("mid-", "pre-", "post-", "non-")):
        return True
    if before.endswith(("[", "[^", "#")) or (before.endswith("(") and after.startswith(")") and len(digits) < 3):
        return True
    if len(digits) <= 5 and _NAMED_BEFORE.search(before):
        return True
    if re.match(r"(?:st|nd|rd|th)\b", after):
        return int(digits) <= 31 if digits.isdecimal() and len(digits) < 4 else False
    if digits.count(".") > 1 and not re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", digits):
        return True  # a version or the number of a section
    if re.match(r"[A-Z]\b", after) and end == whole_end:
        return len(digits) == 1  # 3D, 5G
    return bool(_IDIOM.match(digits + after[:3]) or _IDIOM.match(before[-3:] + digits))


def _readings(written: str) -> set[Decimal]:
    """Return what digits with points, commas and gaps can mean; nothing for what is no number."""
    if written.isdecimal():
        return {Decimal(written)}
    digits = "".join(c if c in ".,'’" or c.isascii() else _ascii(c) for c in written)
    digits = re.sub(r"[ \u00a0\u2009\u202f'’_]", "", digits)
    if digits.isdecimal():
        return {Decimal(digits)}
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits):
        return {Decimal(digits.replace(",", ""))}
    if re.fullmatch(r"\d{1,3}(?:,\d\d)+,\d{3}(?:\.\d+)?", digits):
        return {Decimal(digits.replace(",", ""))}  # lakhs
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", digits):
        whole = Decimal(digits.replace(".", "").replace(",", "."))
        return {whole, Decimal(digits)} if digits.count(".") == 1 and "," not in digits else {whole}
    if re.fullmatch(r"\d+[.,]\d+", digits):
        return {Decimal(digits.replace(",", "."))}
    return set()


def _ascii(character: str) -> str:
    return str(unicodedata.decimal(character)) if character.isdecimal() else " "


def _spelled(words: str, *, half: bool) -> Decimal:
    total = current = 0
    for word in re.findall("[a-z]+", words.casefold().removesuffix(" and a half")):
        if word in _WORDS:
            current += _WORDS[word]
        elif word == "hundred":
            current = (current or 1) * 100
        elif word in _SCALES:
            total += (current or 1) * 10 ** _SCALES[word]
            current = 0
    value = Decimal(total + current)
    return value + Decimal("0.5") if half else value


def _days(found: dict[str, str | None]) -> frozenset[Day]:
    year = int(written_year) if (written_year := found.get("y")) else None
    if year is not None and year < 100:
        year += 2000 if year < 70 else 1900
    if found.get("a"):
        a, b = int(found["a"] or 0), int(found["b"] or 0)
        orders = [(b, a)] if found["s"] == "." else [(b, a), (a, b)]
        return frozenset((year, month, day) for month, day in orders if 1 <= month <= 12 and 1 <= day <= 31)
    written = found["m"] or ""
    month = int(written) if written.isdecimal() else _MONTH_STARTS.find(written[:3].casefold()) // 3 + 1
    days: list[int | None] = [int(day) for day in (found.get("d"), found.get("from")) if day]
    days = days or [None]
    return frozenset((year, month, day) for day in days if 1 <= month <= 12 and (day is None or 1 <= day <= 31))
