"""When a cron line is due in a time zone, and the words that stand for that instant. Pure: reads no clock.

The fields are read by cronsim. The instants are worked out here, day by day from the clock on the wall, since what is
due between two instants must not depend on where the search began: a schedule would fire twice, or not at all.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

_FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_OVERLAP = timedelta(hours=4)
"""No clock is set back by more at once, the date line apart: Antarctica/Casey by 3 hours."""
_LAST_DAY = date(9990, 1, 1)
_MOST_DAYS = 366 * 41
"""29 February comes on the same day of the week after 40 years at most."""
NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
PLACEHOLDERS = ("date", "time", "datetime", "year", "month", "day", "week", "yesterday", "schedule")
"""What inputs of a schedule may name."""


class Cron:
    """A cron line of five fields."""

    def __init__(self, line: str) -> None:
        """Read the line. Raises: ValueError with what is wrong with it."""
        fields = line.split()
        if len(fields) != len(_FIELDS):
            raise ValueError(f"a cron line has 5 fields ({', '.join(_FIELDS)}), this one has {len(fields)}")
        for position, name in enumerate(_FIELDS):
            alone = ["*"] * len(_FIELDS)
            alone[position] = fields[position]
            if _parse(" ".join(alone)) is None:
                raise ValueError(f"`{fields[position][:40]}` is not a {name}")
        parsed = _parse(line)
        if parsed is None:
            raise ValueError("is never due: no month has that day")
        self._parsed = parsed
        self._hours = sorted(parsed.hours)
        self._minutes = sorted(parsed.minutes)
        self._by_the_clock = fields[0].startswith("*") or fields[1].startswith("*")
        if next(self._days(date(2000, 1, 1)), None) is None:
            raise ValueError("is never due: no such day comes")

    def due_after(self, after: float, zone: tzinfo) -> Iterator[float]:
        """Yield every instant after `after` at which it is due in `zone`, each once, in order; none that never comes.

        A time that the clock skips in spring is due when the clock goes on, one that it shows twice in autumn at the
        first. A line whose minute or hour begins with `*` goes by the clock instead: what is skipped is not due, what
        is shown twice is due twice. (As in Debian's cron.)
        """
        start = datetime.fromtimestamp(after, zone).replace(tzinfo=None, minute=0, second=0, microsecond=0) - _OVERLAP
        waiting: set[float] = set()
        for day in self._days(start.date()):
            for hour in self._hours:
                wall = datetime(day.year, day.month, day.day, hour)
                if wall < start:
                    continue
                # Where the clock is set back, a later hour on it can come before this one.
                sure = wall.replace(tzinfo=zone).timestamp() - _OVERLAP.total_seconds()
                ready = sorted(at for at in waiting if at < sure)
                waiting.difference_update(ready)
                yield from ready
                waiting.update(at for at in self._instants(wall, zone) if at > after)
        yield from sorted(waiting)

    def due_between(self, after: float, until: float, zone: tzinfo) -> Iterator[float]:
        """Yield every instant after `after` and not after `until` at which it is due."""
        return takewhile(lambda at: at <= until, self.due_after(after, zone)) if until > after else iter(())

    def _days(self, start: date) -> Iterator[date]:
        """Yield the days at which it is due, from `start` on; none once so many have passed without one."""
        quiet = 0
        day = start
        while quiet < _MOST_DAYS and day < _LAST_DAY:
            quiet += 1
            if day.month in self._parsed.months and self._parsed.match_day(day):
                quiet = 0
                yield day
            day += _DAY

    def _instants(self, wall: datetime, zone: tzinfo) -> Iterator[float]:
        """Yield the instants of one hour on the wall."""
        first, second = _both(wall, zone)
        if first == second and _both(wall + _HOUR, zone) == (first + 3600, first + 3600):  # an hour like any other
            yield from (first + 60 * minute for minute in self._minutes)
            return
        for minute in self._minutes:
            at = wall.replace(minute=minute)
            first, second = _both(at, zone)
            if first <= second:
                yield first
                if self._by_the_clock:  # the same, where it is not shown twice
                    yield second
            elif not self._by_the_clock:  # skipped
                while first > second:
                    at += timedelta(minutes=1)
                    first, second = _both(at, zone)
                yield first


@lru_cache(maxsize=512)
def read_cron(line: str) -> Cron:
    """Return a cron line, read once. Raises: ValueError with what is wrong with it."""
    return Cron(line)


def read_zone(name: str) -> ZoneInfo | None:
    """Return the time zone of that name in the IANA database; None when there is none."""
    return ZoneInfo(name) if name in zone_names() else None


@cache
def zone_names() -> frozenset[str]:
    """Name all time zones."""
    return frozenset(available_timezones())


def words_of(schedule: str, due_at: float, zone: tzinfo) -> Mapping[str, str]:
    """Return the texts of the placeholders for the instant `due_at`, as the clock in `zone` shows it."""
    local = datetime.fromtimestamp(due_at, zone)
    week = local.isocalendar()
    return {
        "date": f"{local:%Y-%m-%d}",
        "time": f"{local:%H:%M}",
        "datetime": local.isoformat(timespec="minutes"),
        "year": f"{local:%Y}",
        "month": f"{local:%m}",
        "day": f"{local:%d}",
        "week": f"{week.year}-W{week.week:02d}",
        "yesterday": f"{local.date() - _DAY:%Y-%m-%d}",
        "schedule": schedule,
    }


def _both(wall: datetime, zone: tzinfo) -> tuple[float, float]:
    """Return the instants of a time on the wall: the same twice, or two; the second is earlier where it is skipped."""
    return wall.replace(tzinfo=zone, fold=0).timestamp(), wall.replace(tzinfo=zone, fold=1).timestamp()


def _parse(line: str) -> CronSim | None:
    if not line.isascii():
        return None
    try:
        return CronSim(line, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return None
