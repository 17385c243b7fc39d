"""`hours:` of a rule, such as `mon-fri 09:00-17:00`, and moments written down: pure readers, without a clock."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FULL = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIME = re.compile(r"(\d{1,2}):(\d{2})")
_MIDNIGHT = 24 * 60
_MOST_CHARACTERS = 500

HOURS_FIX = "write it like `mon-fri 09:00-17:00`, `sat,sun`, or `22:00-06:00`; several with `, ` between them"
"""How hours are written, for people."""


@dataclass(frozen=True)
class _Span:
    """Minutes of certain days; one that ends before it begins goes on over midnight."""

    days: frozenset[int]
    """The days on which it begins; Monday is 0."""
    start: int
    """Minutes from midnight; the first that counts."""
    end: int
    """Minutes from midnight; the first that does not count any more."""

    def holds(self, day: int, minute: int) -> bool:
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        return (day in self.days and minute >= self.start) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True)
class Hours:
    """Times of the week, as `read_hours` reads them."""

    spans: tuple[_Span, ...]

    def holds(self, at: datetime) -> bool:
        """Say whether `at` lies in these hours, by its own wall clock: bring it into the rule's time zone first."""
        return any(span.holds(at.weekday(), at.hour * 60 + at.minute) for span in self.spans)


def read_hours(text: str) -> Hours:
    """Read `hours:`: spans with `, ` between them, each of days (`mon-fri`, `sat,sun`), a time, or both.

    A time without days counts for the days before it, else for every day; one that ends before it begins goes on
    over midnight and belongs to the day on which it begins. The end of a span does not count.

    Raises: ValueError that says what is wrong.
    """
    parts = re.split(r",\s+", text.strip().lower().replace("–", "-")) if len(text) <= _MOST_CHARACTERS else []
    if not parts or not all(parts):
        raise ValueError("is empty" if parts else "is too long")
    read = [_read_span(part) for part in parts]
    if any(time for _, time in read) and not all(time for _, time in read):
        bare = next(part for part, (_, time) in zip(parts, read, strict=True) if time is None)
        raise ValueError(f"gives `{bare}` no time, but others: write `{bare} 00:00-24:00`, or join days by `,` alone")
    spans: list[_Span] = []
    known = frozenset(range(7))
    for days, time in read:
        known = known if days is None else days
        start, end = time or (0, _MIDNIGHT)
        spans.append(_Span(known, start, end))
    return Hours(tuple(spans))


def read_instant(text: str) -> datetime:
    """Read a moment such as `2026-11-20 14:30`; without a zone it is UTC. Raises: ValueError."""
    at = datetime.fromisoformat(text.strip())
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _read_span(text: str) -> tuple[frozenset[int] | None, tuple[int, int] | None]:
    words = text.split()
    if len(words) > 2:
        raise ValueError(f"cannot be read at `{text}`")
    time = _read_time(words[-1]) if ":" in words[-1] else None
    if len(words) == 2 and time is None:
        raise ValueError(f"has no time in `{text}`: `{words[1]}` is none")
    return (None if time and len(words) == 1 else _read_days(words[0])), time


def _read_days(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        start = _day(first)
        end = _day(last) if dash else start
        days.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(days)


def _day(name: str) -> int:
    for names in (_DAYS, _FULL):
        if name in names:
            return names.index(name)
    raise ValueError(f"has `{name}`, which is no day: {', '.join(_DAYS)}" if name else "has a day too few")


def _read_time(text: str) -> tuple[int, int]:
    start, dash, end = text.partition("-")
    if not dash:
        raise ValueError(f"has `{text}`, which has no end")
    begins, ends = _minutes(start), _minutes(end)
    if begins in (ends, _MIDNIGHT):
        raise ValueError(f"has `{text}`, which is no time at all: the whole day is `00:00-24:00`")
    return begins, ends


def _minutes(text: str) -> int:
    found = _TIME.fullmatch(text)
    minutes = int(found[1]) * 60 + int(found[2]) if found and int(found[2]) < 60 else _MIDNIGHT + 1
    if minutes > _MIDNIGHT:
        raise ValueError(f"has `{text}`, which is no time of the day such as 09:30")
    return minutes
