"""How long a run and its tasks have been worked at, and what is left of their limits. Read only inside steps."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

PIECE = re.compile(r"[acfi]\d+(r\d+)?")
"""What a path has after its task: attempts, candidates, fallbacks, entries of a list."""

_RAISE = "raise `timeout_seconds` of the task or `max_execution_time` of the agent"

Interval = tuple[float, float]
"""Two instants of one clock, in seconds."""


@dataclass(frozen=True)
class Limit:
    """A limit that a call must keep."""

    seconds_left: float
    reason: str
    """What is said when nothing is left."""
    fix: str = ""
    cause: str = "timeout"
    """`timeout`: of one agent; `task time`: of the whole task; `deadline`: of the run."""


class Clock:
    """Adds up the seconds in which at least one call was under way: of each task and, in it, of each agent.

    Calls side by side count once. A limit is only looked at when a call is about to be made, inside its step, so a
    replay does not depend on it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self._since: dict[str, float] = {}
        self._spent: dict[str, float] = {}
        self._limits: dict[str, float] = {}
        self._deadline_seconds: float | None = None
        self._began = 0.0
        self._waited = 0.0

    def limit(self, path: str, seconds: float | None) -> None:
        """Set what a task may take, everything below its path included; None: no limit."""
        if seconds is not None:
            with self._lock:
                self._limits[path] = seconds

    def set_deadline(self, seconds: float | None, used: float = 0.0) -> None:
        """Set the seconds of the whole run, of which `used` are over. They run on, but not while `waited`."""
        with self._lock:
            self._deadline_seconds, self._began = seconds, time.monotonic() - used

    def waited(self, seconds: float) -> None:
        """Leave out the time in which a person was waited for."""
        with self._lock:
            self._waited += seconds

    def begin(self, path: str, agent: str) -> None:
        """Note that a call begins."""
        now = time.monotonic()
        with self._lock:
            for key in _keys(path, agent):
                if not self._under_way[key]:
                    self._since[key] = now
                self._under_way[key] += 1

    def end(self, path: str, agent: str) -> None:
        """Note that a call has ended."""
        now = time.monotonic()
        with self._lock:
            for key in _keys(path, agent):
                self._under_way[key] -= 1
                if not self._under_way[key]:
                    self._spent[key] = self._spent.get(key, 0.0) + now - self._since.pop(key)

    def seconds(self, path: str, agent: str = "") -> float:
        """Return how long was worked at a task, or by one agent at it."""
        with self._lock:
            return self._seconds(_agent_key(path, agent) if agent else path)

    def seed(self, calls: Iterable[tuple[str, str, Interval]]) -> None:
        """Take over what was worked before: path, agent and time of each call."""
        found: dict[str, list[Interval]] = {}
        for path, agent, interval in calls:
            for key in _keys(path, agent):
                found.setdefault(key, []).append(interval)
        with self._lock:
            self._spent = {key: covered(intervals) for key, intervals in found.items()}

    def limits(self, path: str, agent: str, agent_seconds: float | None) -> list[Limit]:
        """Return every limit that a call at `path` must keep."""
        with self._lock:
            return list(self._found(path, agent, agent_seconds))

    def _found(self, path: str, agent: str, agent_seconds: float | None) -> Iterator[Limit]:
        for above in _paths(path):
            if (most := self._limits.get(above)) is not None:
                used = self._seconds(above)
                reason = f"the task's time is up: {used:.1f} s of {most:g} s"
                yield Limit(most - used, reason, _RAISE, "task time")
        if agent_seconds is not None:
            used = self._seconds(_agent_key(path, agent))
            reason = f"the time of {agent} is up: {used:.1f} s of {agent_seconds:g} s"
            yield Limit(agent_seconds - used, reason, "raise `max_execution_time` of the agent")
        if self._deadline_seconds is not None:
            used = time.monotonic() - self._began - self._waited
            reason = f"the run's deadline of {self._deadline_seconds:g} s has passed"
            fix = "resume the run: it is given its time again; or raise `deadline_seconds` of the crew"
            yield Limit(self._deadline_seconds - used, reason, fix, "deadline")

    def _seconds(self, key: str) -> float:
        since = self._since.get(key)
        return self._spent.get(key, 0.0) + (time.monotonic() - since if since is not None else 0.0)


def task_of(path: str) -> str:
    """Return the task that a path is a piece of: `crew.write` of `crew.write.a2`."""
    names = path.split(".")
    while len(names) > 1 and PIECE.fullmatch(names[-1]):
        names.pop()
    return ".".join(names)


def covered(intervals: Sequence[Interval]) -> float:
    """Return the seconds that lie in at least one of these intervals."""
    total, end = 0.0, float("-inf")
    for first, last in sorted(intervals):
        if last > end:
            total += last - max(first, end)
            end = last
    return total


def seconds_used(now: float, first_start: float, waits: Sequence[Interval]) -> float:
    """Return the seconds of a run from its first start, without those in which a person was waited for."""
    inside = [(max(begin, first_start), min(end, now)) for begin, end in waits if end > first_start and begin < now]
    return max(0.0, now - first_start - covered(inside))


def calls_in(steps: Iterable[tuple[str, Mapping[str, object], float, float]]) -> Iterator[tuple[str, str, Interval]]:
    """Read path, agent and time of each call out of journaled steps: task, record, started at, seconds."""
    for path, record, started_at, seconds in steps:
        if record.get("kind") in ("model", "tool", "verdict", "backoff"):
            yield path, str(record.get("agent", "")), (started_at, started_at + seconds)


def _paths(path: str) -> list[str]:
    names = path.split(".")
    return [".".join(names[: number + 1]) for number in range(len(names))]


def _agent_key(path: str, agent: str) -> str:
    return f"{task_of(path)}/{agent}"


def _keys(path: str, agent: str) -> list[str]:
    return [*_paths(path), _agent_key(path, agent)]
