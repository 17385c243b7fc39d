"""Numbers with units and dates, as people and models write them, read into values that can be compared."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SMALL = "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_WORDS = {
    **{word: float(value) for value, word in enumerate(f"{_SMALL} eighteen nineteen".split(), 2)},
    **{word: float(value * 10) for value, word in enumerate(_TENS.split(), 2)},
}
_SCALES = {
    **dict.fromkeys(("thousand", "k"), 1e3),
    **dict.fromkeys(("million", "millions", "mn", "mio", "m"), 1e6),
    **dict.fromkeys(("billion", "billions", "bn", "b"), 1e9),
    **dict.fromkeys(("trillion", "tn"), 1e12),
}
_MEASURES = """
    % 1 % percent, per cent, pct
    points 1 percentage point, percentage points, pp
    USD 1 $, us$, usd, dollar, dollars, us dollars
    EUR 1 €, eur, euro, euros
    GBP 1 £, gbp
    JPY 1 ¥, jpy, yen
    CHF 1 chf, francs, swiss francs
    SEK 1 sek, kronor
    m 0.001 mm, millimetre, millimetres, millimeter, millimeters
    m 0.01 cm, centimetre, centimetres, centimeter, centimeters
    m 1 m, metre, metres, meter, meters
    m 1000 km, kilometre, kilometres, kilometer, kilometers
    m 1609.344 mile, miles
    m 0.3048 ft, foot, feet
    g 0.001 mg, milligram, milligrams
    g 1 g, gram, grams
    g 1000 kg, kilo, kilos, kilogram, kilograms
    g 1000000 t, tonne, tonnes, metric tons
    s 0.001 ms, millisecond, milliseconds
    s 1 s, sec, second, seconds
    s 60 min, mins, minute, minutes
    s 3600 h, hour, hours
    s 86400 day, days
    s 604800 week, weeks
    months 1 month, months
    months 12 year, years
    m2 1 m2, m², sqm, square metres, square meters
    m2 10000 ha, hectare, hectares
    m2 1000000 km2, km², square kilometres, square kilometers
    m3 0.001 l, litre, litres, liter, liters
    m3 0.000001 ml, millilitres, milliliters
    m3 1 m3, m³, cubic metres, cubic meters
    W 1 w, watt, watts
    W 1e3 kw, kilowatt, kilowatts
    W 1e6 mw, megawatt, megawatts
    W 1e9 gw, gigawatt, gigawatts
    Wh 1 wh, watt hours, watt-hours
    Wh 1e3 kwh, kilowatt hours, kilowatt-hours
    Wh 1e6 mwh, megawatt hours, megawatt-hours
    Wh 1e9 gwh, gigawatt hours, gigawatt-hours
    Wh 1e12 twh, terawatt hours, terawatt-hours
    B 1e3 kb, kilobytes
    B 1e6 mb, megabytes
    B 1e9 gb, gigabytes
    B 1e12 tb, terabytes
    °C 1 °c, degrees celsius, degree celsius, celsius
    °F 1 °f, degrees fahrenheit, fahrenheit
    km/h 1 km/h, kph, kilometres per hour, kilometers per hour
    km/h 1.609344 mph, miles per hour
"""


def _units() -> dict[str, tuple[str, float]]:
    found: dict[str, tuple[str, float]] = {"%": ("%", 1.0)}
    for row in _MEASURES.strip().splitlines():
        base, factor, names = row.strip().split(" ", 2)
        found |= {name.strip(): (base, float(factor)) for name in names.removeprefix("% ").split(",")}
    return found


_UNITS = _units()
_UNIT_NAMES = "|".join(re.escape(name) for name in sorted(_UNITS, key=len, reverse=True))
_SCALE_NAMES = "|".join(sorted((s for s in _SCALES if len(s) > 1), key=len, reverse=True))
_DIGITS = r"\d{1,3}(?:[,\u00a0\u202f '’]\d{3})+(?:\.\d+)?(?!\d)|\d+(?:,\d{1,2}(?![\d,])|\.\d+)?"
_BY_TENS = rf"(?:{'|'.join(_TENS.split())})-(?:one|{'|'.join(_SMALL.split()[:8])})"
_IN_WORDS = f"{_BY_TENS}|{'|'.join(sorted(_WORDS, key=len, reverse=True))}"
_QUANTITY = re.compile(
    rf"(?<![\w.,/#:-])(?P<sign>[-−](?=\d))?(?P<before>US\$|[$€£¥]|(?:USD|EUR|GBP|CHF|SEK|JPY)\s)?"
    rf"(?:(?P<digits>{_DIGITS})|\b(?P<word>{_IN_WORDS})\b)"
    rf"(?!:\d)(?:(?:\s|-)?(?P<scale>{_SCALE_NAMES})\b|(?P<short>[kKmMbB])(?![\w/²³]))?"
    rf"(?:(?:\s|-)?(?P<unit>{_UNIT_NAMES})(?![\w²³]))?(?P<rest>/\w+[²³]?)?",
    re.IGNORECASE,
)
_ANY_DIGIT = re.compile(r"\d")
_ANY_WORD = re.compile(rf"\b(?:{_IN_WORDS})\b", re.IGNORECASE)
_APPROXIMATE = re.compile(
    r"(?:\b(?:about|around|circa|approximately|approx\.?|roughly|some|nearly|almost|ca\.?|c\.|close to"
    r"|(?:just|slightly) (?:over|under|above|below)|an estimated|estimated at|in the order of)|[~≈])\s*$",
    re.IGNORECASE,
)
_AT_LEAST = re.compile(
    r"(?:\b(?:more than|over|at least|above|exceed(?:s|ed|ing)?|upwards of|no fewer than)|[>≥])\s*$", re.IGNORECASE
)
_AT_MOST = re.compile(
    r"(?:\b(?:less than|fewer than|under|at most|below|up to|no more than|within)|[<≤])\s*$", re.IGNORECASE
)
# What the three above end in: a quick look spares most numbers the long one.
_QUALIFIED_TEXT = """
    about around circa approximately approx approx. roughly some nearly almost ca ca. c. to over under above below
    estimated at of than least exceed exceeds exceeded exceeding most within ~ ≈ > ≥ < ≤
"""
_QUALIFIED = tuple(_QUALIFIED_TEXT.split())
_JOIN = re.compile(r"\s*(?:[-–—]|to|and|or)\s*", re.IGNORECASE)
_BEFORE_RANGE = re.compile(r"\b(?P<word>between|from)\s+$", re.IGNORECASE)
_LEAD = 24

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_MONTH = r"(?P<month>" + "|".join(rf"{m}|{m[:3]}\b\.?" for m in _MONTHS) + r"|sept\b\.?)"
_YEAR = r"(?P<year>1\d{3}|20\d{2}|21\d{2})"
_DAY = r"(?P<day>[0-2]?\d|3[01])"
_COUNTED = r"%|percent|per cent|km|kg|euros?|dollars|million|people|metres|meters"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<![\d.-]){_YEAR}-(?P<month>\d\d)-(?P<day>\d\d)(?:T[\d:.]+Z?)?(?![\d-])",
        rf"(?<![\d.]){_DAY}\.\s?(?P<month>0?[1-9]|1[0-2])\.\s?{_YEAR}(?!\d)",
        rf"(?<![\w.,]){_DAY}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?(?!\w)",
        rf"\b{_MONTH}\s+{_DAY}(?:st|nd|rd|th)?(?:,?\s+{_YEAR})?(?!\w|,?\d)",
        rf"\b{_MONTH},?\s+{_YEAR}(?!\w)",
        rf"(?<![\w.,/$€£#-]){_YEAR}(?![\w/]|[.,-]\d|\s?(?:{_COUNTED})\b)",
    )
]
_TWO_DIGITS = re.compile(r"\d\d")
_MONTH_NAME = re.compile(r"\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)", re.IGNORECASE)
_BEFORE_YEAR = re.compile(
    r"\b(?:in|since|by|until|from|of|around|circa|between|to|and|year|before|after)\s+$", re.IGNORECASE
)
_ROUGHLY, _MOST_ROUNDING = 0.1, 0.025


@dataclass(frozen=True)
class Quantity:
    """A number in a text, with its unit. Values are in the unit's base: metres, grams, seconds, months, US dollars."""

    start: int
    end: int
    written: str
    unit: str
    """What is measured: `%`, `USD`, `m`; "" for a count."""
    low: float
    high: float
    slack: float
    """Half of the last digit that is given; for `about`, a tenth of the value."""
    moved_from: bool = False
    """It is the first of a pair such as `from 4.1 to 4.5`: what was before."""


@dataclass(frozen=True)
class Day:
    """A date in a text; what is not given is None."""

    start: int
    end: int
    written: str
    year: int | None
    month: int | None = None
    day: int | None = None


def find_dates(text: str) -> list[Day]:
    """Return the dates of a text in order: days, months of a year, and years on their own from 1000 to 2199."""
    if not _TWO_DIGITS.search(text) and not _MONTH_NAME.search(text):
        return []
    found: list[Day] = []
    for pattern in _DATES if _MONTH_NAME.search(text) else (*_DATES[:2], _DATES[-1]):
        for match in pattern.finditer(text):
            if any(day.start < match.end() and match.start() < day.end for day in found):
                continue
            read = _read_day(match)
            if read and (read.month or _is_year(text, read)):
                found.append(read)
    return sorted(found, key=lambda day: day.start)


def find_quantities(text: str, dates: Sequence[Day]) -> list[Quantity]:
    """Return the numbers of a text in order, none that belongs to one of the dates; a range is one quantity."""
    if not _ANY_DIGIT.search(text) and not _ANY_WORD.search(text):
        return []
    matches = (
        match
        for match in _QUANTITY.finditer(text)
        if not any(day.start < match.end() and match.start() < day.end for day in dates)
    )
    return list(_with_ranges(text, [_read_quantity(text, match) for match in matches]))


def quantity_of(value: float, unit_name: str = "") -> Quantity:
    """Return a number that stands alone, such as a field's value; `unit_name` may be `mw`, `eur`, `percent`."""
    unit, factor = _UNITS.get(unit_name.casefold(), ("", 1.0))
    written = f"{value:.15g}"
    return Quantity(0, len(written), written, unit, value * factor, value * factor, _slack(written, 1.0) * factor)


def is_unit(name: str) -> bool:
    """Say whether `name` is a unit, as in the last part of `capacity_mw`."""
    return name.casefold() in _UNITS


def same_quantity(one: Quantity, other: Quantity) -> bool:
    """Say whether two numbers of one unit can both be true: rounded, approximate or ranges that meet."""
    return _holds(one, other) or _holds(other, one)


def same_day(one: Day, other: Day) -> bool:
    """Say whether two dates can both be true: what both of them give is equal."""
    pairs = ((one.year, other.year), (one.month, other.month), (one.day, other.day))
    return all(a is None or b is None or a == b for a, b in pairs)


def _holds(rough: Quantity, exact: Quantity) -> bool:
    tiny = 1e-9 * max(1.0, abs(exact.low) if math.isfinite(exact.low) else 1.0)
    top = max(rough.high + rough.slack - tiny, rough.high + tiny)
    return rough.low - rough.slack - tiny <= exact.high and exact.low < top


def _read_day(match: re.Match[str]) -> Day | None:
    parts = match.groupdict()
    month, day, year = parts.get("month"), parts.get("day"), parts.get("year")
    number = (int(month) if month.isdecimal() else _month(month)) if month else None
    if (number is not None and not 1 <= number <= 12) or (day and not 1 <= int(day) <= 31):
        return None
    if month and month.isalpha() and month.islower():
        return None
    written = match[0].strip()
    return Day(match.start(), match.end(), written, int(year) if year else None, number, int(day) if day else None)


def _is_year(text: str, day: Day) -> bool:
    """Say whether four digits are a year rather than a count: `1200 users`."""
    return day.year is not None and (
        1900 <= day.year <= 2099 or bool(_BEFORE_YEAR.search(text[max(0, day.start - _LEAD) : day.start]))
    )


def _month(name: str) -> int:
    return next(i for i, month in enumerate(_MONTHS, 1) if month.startswith(name.casefold().strip(".")[:3]))


def _read_quantity(text: str, match: re.Match[str]) -> Quantity:
    plain = _plain(match["digits"]) if match["digits"] else ""
    words = (match["word"] or "").casefold().split("-")
    value = float(plain) if plain else sum(_WORDS.get(part, 1.0) for part in words)
    unit, factor, scale = _unit_of(match)
    factor *= scale * (-1 if match["sign"] else 1)
    slack = _slack(plain or f"{value:g}", scale) * abs(factor)
    low = high = value * factor
    lead = text[max(0, match.start() - _LEAD) : match.start()]
    qualified = lead.rstrip().lower().endswith(_QUALIFIED)
    if (qualified and _APPROXIMATE.search(lead)) or text[match.end() : match.end() + 6].startswith(" or so"):
        slack = max(slack, abs(low) * _ROUGHLY)
    elif qualified and _AT_LEAST.search(lead):
        high = math.inf
    elif qualified and _AT_MOST.search(lead):
        low = -math.inf
    return Quantity(match.start(), match.end(), match[0].strip(), unit, low, high, slack)


def _unit_of(match: re.Match[str]) -> tuple[str, float, float]:
    """Return the unit, its factor, and the scale such as a million."""
    name, before = (match["unit"] or "").casefold(), (match["before"] or "").strip().casefold()
    scale = _SCALES.get((match["scale"] or "").casefold(), 1.0)
    if short := match["short"]:
        # "12m long" is metres; "$12m" and "12M dollars" are millions.
        if short == "m" and not before and not name:
            name = "m"
        else:
            scale = _SCALES[short.casefold()]
    unit, factor = _UNITS.get(before or name, ("", 1.0))
    return unit + (match["rest"] or "").casefold(), factor, scale


def _plain(digits: str) -> str:
    packed = re.sub(r"[\u00a0\u202f '’]", "", digits)
    return packed.replace(",", "" if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", packed) else ".")


def _slack(written: str, scale: float) -> float:
    """Return half of the last digit's worth; whole numbers that end in zeros may be rounded, by at most 2.5 %."""
    whole, _, decimals = written.partition(".")
    if decimals or scale > 1 or not whole.isdecimal():
        return 0.5 * 10.0 ** -len(decimals)
    zeros = len(whole) - len(whole.rstrip("0"))
    rounding = min(0.5 * 10.0 ** min(zeros, 15), float(whole) * _MOST_ROUNDING) if zeros else 0.0
    return max(0.5, rounding)


def _with_ranges(text: str, read: Sequence[Quantity]) -> Iterator[Quantity]:
    i = 0
    while i < len(read):
        first, second = read[i], read[i + 1] if i + 1 < len(read) else None
        joint = text[first.end : second.start] if second else ""
        lead = _BEFORE_RANGE.search(text[max(0, first.start - _LEAD) : first.start])
        word, joined = lead["word"].casefold() if lead else "", joint.strip().casefold()
        unit = first.unit or (second.unit if second else "")
        apart = joined in ("and", "or") and word != "between"
        if second is None or not _JOIN.fullmatch(joint) or unit != second.unit or apart:
            yield first
            i += 1
            continue
        if word == "from" and joined == "to":
            yield Quantity(first.start, first.end, first.written, unit, first.low, first.high, first.slack, True)
            yield second
        else:
            yield _range(text, first, second)
        i += 2


def _range(text: str, first: Quantity, second: Quantity) -> Quantity:
    low = first.low
    if not first.unit and second.unit:
        # "10–12 km", "4–5 million euros": the unit and the scale are given once.
        given = re.search(_DIGITS, second.written)
        value = float(_plain(given[0])) if given else 0.0
        low *= abs(second.low) / value if value and math.isfinite(second.low) else 1.0
    low, high = sorted((low, second.high))
    written = text[first.start : second.end].strip()
    return Quantity(first.start, second.end, written, second.unit, low, high, second.slack)
