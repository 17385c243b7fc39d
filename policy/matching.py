"""Whether a rule fits a call: each of its conditions, made ready once.

A condition that cannot be told for sure must never make a call more permitted: it counts as not met for a rule that
allows, and as met for one that asks or denies. For the same reason a rule that allows wants every path, address and
entry of a list to fit, while one of them is enough for a rule that asks or denies.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, cast
from zoneinfo import ZoneInfo

from policy.addresses import Unclear, canonical_host, hosts_in
from policy.decide import Call
from policy.places import NOWHERE, is_outside
from policy.values import values_at
from project.cron import read_zone
from project.hints import listed, quoted
from project.hours import read_hours
from project.regex import what_is_wrong
from project.spec_policy import ArgumentSpec, Plain, RuleSpec

_MOST_CHARACTERS = 10_000
"""Of a text that is held against a pattern."""
_MOST_WAYS = 10**8
"""Ways in which a text may be shared out among the repeats of a pattern: about a second."""
_FLAGS = {
    **dict.fromkeys(("1", "true", "t", "yes", "y", "on"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n", "off"), False),
}
"""Words that are read as true or false."""
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}")
_GLOBS = {"/**": "(?:/.*)?", "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)


class Facts:
    """What the rules look at in one call, worked out when it is first needed."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.arguments = {**call.arguments, **call.fixed}
        """All with which the tool is called: those of the agent, and those that YAML fixes."""
        self._times: dict[ZoneInfo, datetime] = {}
        self._values: dict[str, list[Any]] = {}

    @cached_property
    def _hosts(self) -> tuple[str, ...] | Unclear:
        try:
            return hosts_in(self.arguments)
        except Unclear as unclear:
            return unclear

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return the hosts of all addresses. Raises: Unclear."""
        if isinstance(self._hosts, Unclear):
            raise self._hosts
        return self._hosts

    def values(self, name: str) -> list[Any]:
        """Return what stands at the name of an argument."""
        found = self._values.get(name)
        if found is None:
            found = self._values[name] = values_at(self.arguments, name)
        return found

    def local_time(self, zone: ZoneInfo) -> datetime:
        """Return when the call is made, by the clock of a time zone. Raises: Unclear."""
        at = self.call.at
        if at is None:
            raise Unclear("the time is not known")
        if zone not in self._times:
            self._times[zone] = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(zone)
        return self._times[zone]


Why = Callable[[], str]
"""Tells why a call does not meet a condition: words that only an explanation needs, and that take their time."""
Condition = Callable[[Facts], Why | None]
"""Returns None when a call meets it. Raises: Unclear; any other exception makes the rule deny."""


@dataclass(frozen=True)
class Rule:
    """One rule, made ready."""

    spec: RuleSpec
    name: str
    number: int
    """Its place among the rules, from 1."""
    agents: Callable[[str], bool]
    """Says whether it is for an agent."""
    tools: Callable[[str], bool]
    """Says whether it is for a tool."""
    conditions: tuple[Condition, ...]

    def why_not(self, facts: Facts) -> Why | None:
        """Return None when it fits a call of its tools and agents, else what tells the first condition not met.

        Raises: whatever goes wrong in a condition.
        """
        for condition in self.conditions:
            try:
                why = condition(facts)
            except Unclear as unclear:
                why = partial(str, unclear) if self.spec.decide == "allow" else None
            if why is not None:
                return why
        return None


def make_ready(spec: RuleSpec, number: int) -> Rule:
    """Return a rule ready to be held against calls. Raises: nothing; a broken condition raises when it is asked."""
    conditions = [
        _guarded(make, spec)
        for wanted, make in (
            (spec.crews, _crews),
            (spec.effects, _effects),
            (spec.tainted is not None, _tainted),
            (spec.confidence_below is not None, _confidence),
            (spec.hours, _hours),
            (spec.methods, _methods),
            (spec.arguments, _arguments),
            (spec.paths, _paths),
            (spec.domains, _domains),
        )
        if wanted
    ]
    name = spec.name or f"rule {number}"
    return Rule(spec, name, number, named(spec.agents), named(spec.tools), tuple(conditions))


def named(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return what says whether a name is one of these, `*` standing for any text."""
    if not patterns:
        return lambda name: True
    exact = frozenset(pattern for pattern in patterns if not is_pattern(pattern))
    wild = [_wildcards(pattern) for pattern in patterns if is_pattern(pattern)]
    if not wild:
        return exact.__contains__
    joined = re.compile("|".join(wild), re.DOTALL)
    return lambda name: name in exact or joined.fullmatch(name) is not None


def is_pattern(name: str) -> bool:
    """Say whether a name in a rule stands for several."""
    return "*" in name


def _guarded(make: Callable[[RuleSpec], Condition], spec: RuleSpec) -> Condition:
    """Make a condition; one that cannot be made is one that raises, so that its rule denies."""
    try:
        return make(spec)
    except Exception as error:  # fails closed, when it is asked
        broken = ValueError(str(error)) if isinstance(error, Unclear) else error

        def fail(_facts: Facts) -> None:
            raise broken

        return fail


def _wildcards(pattern: str) -> str:
    return ".*".join(re.escape(part) for part in re.split(r"\*+", pattern))


def _held(rule: RuleSpec, found: Iterable[bool]) -> bool:
    """Say whether enough of what was found fits: all for a rule that allows, any for others; of nothing, none."""
    if rule.decide != "allow":
        return any(found)
    held = list(found)
    return bool(held) and all(held)


# -- who and what


def _crews(rule: RuleSpec) -> Condition:
    fits = named(rule.crews)

    def check(facts: Facts) -> Why | None:
        crew = facts.call.principal.crew
        return None if fits(crew) else lambda: f"it is for the crews {listed(rule.crews)}, not {quoted(crew)}"

    return check


def _effects(rule: RuleSpec) -> Condition:
    def why() -> str:
        return f"it is for tools that {' or '.join(rule.effects)}"

    return lambda facts: None if (facts.call.effect or "send") in rule.effects else why


def _tainted(rule: RuleSpec) -> Condition:
    def why() -> str:
        return f"it holds only {'after' if rule.tainted else 'before'} untrusted content was read"

    return lambda facts: None if bool(facts.call.taint.untrusted) is rule.tainted else why


def _confidence(rule: RuleSpec) -> Condition:
    least = cast(float, rule.confidence_below)

    def check(facts: Facts) -> Why | None:
        known = facts.call.confidence
        if known is None or math.isnan(known):
            raise Unclear("the confidence is not known")
        return None if known < least else lambda: f"the confidence {known:g} is not below {least:g}"

    return check


def _hours(rule: RuleSpec) -> Condition:
    hours, zone = read_hours(rule.hours), read_zone(rule.timezone)
    if zone is None:
        raise ValueError(f"unknown time zone {rule.timezone!r}")

    def check(facts: Facts) -> Why | None:
        at = facts.local_time(zone)
        return None if hours.holds(at) else lambda: f"it holds {rule.hours} ({rule.timezone}), and it is {at:%a %H:%M}"

    return check


def _methods(rule: RuleSpec) -> Condition:
    methods = {method.upper() for method in rule.methods}

    def check(facts: Facts) -> Why | None:
        method = facts.arguments.get("method")
        if method is None:
            return lambda: "there is no argument `method`"
        if not isinstance(method, str):
            raise Unclear("`method` is no text")
        if method.strip().upper() in methods:
            return None
        return lambda: f"`method` is {quoted(method)}, not {listed(rule.methods)}"

    return check


# -- arguments


def _arguments(rule: RuleSpec) -> Condition:
    tests = {name: _Test(spec) for name, spec in rule.arguments.items()}

    def check(facts: Facts) -> Why | None:
        unclear: Unclear | None = None
        for name, test in tests.items():
            try:
                why = test.why_not(rule, name, facts.values(name))
            except Unclear as found:  # another argument may rule the rule out for sure
                why, unclear = None, found
            if why is not None:
                return why
        if unclear is not None:
            raise unclear
        return None

    return check


class _Test:
    """What one argument must be."""

    def __init__(self, spec: ArgumentSpec) -> None:
        self._spec = spec
        if spec.pattern is not None and (wrong := what_is_wrong(spec.pattern)):
            raise ValueError(f"the pattern {spec.pattern!r} {wrong}")
        self._pattern = re.compile(spec.pattern) if spec.pattern is not None else None
        self._most = _most_characters(spec.pattern or "")
        self._of_entries = any(part is not None for part in (spec.one_of, spec.pattern, spec.min, spec.max))

    def why_not(self, rule: RuleSpec, name: str, values: Sequence[Any]) -> Why | None:
        """Return None when what stands at `name` fits, else what tells why not. Raises: Unclear."""
        if not values:
            return lambda: f"there is no argument `{name}`"
        if len(values) == 1 and not isinstance(values[0], list | tuple):
            fits = self._short_enough(values[0], name) and self._fits(values[0], name)
        else:
            fits = self._fits_entries(rule, name, values)
        return None if fits else lambda: f"`{name}` is {_told(values[0])}, not {self._wanted()}"

    def _fits_entries(self, rule: RuleSpec, name: str, values: Sequence[Any]) -> bool:
        """Say whether lists, or what stands at several places, fits. Raises: Unclear."""
        held: list[bool] = []
        unclear: Unclear | None = None
        for entry in (entry for value in values for entry in self._entries(value)):
            try:
                held.append(self._fits(entry, name))
            except Unclear as found:
                unclear = found
        if self._of_entries and unclear is not None and (rule.decide == "allow" or not any(held)):
            raise unclear
        sizes = _held(rule, (self._short_enough(value, name) for value in values))
        return sizes and (not self._of_entries or _held(rule, held))

    def _entries(self, value: Any) -> Sequence[Any]:
        return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else [value]

    def _short_enough(self, value: Any, name: str) -> bool:
        most = self._spec.max_length
        if most is None:
            return True
        if not isinstance(value, str | list | tuple | Mapping):
            raise Unclear(f"`{name}` has no length")
        return len(cast("Sequence[Any]", value)) <= most

    def _fits(self, value: Any, name: str) -> bool:
        spec = self._spec
        if spec.one_of is not None and not _among(value, spec.one_of, name):
            return False
        if (spec.min is not None or spec.max is not None) and not _between(value, spec.min, spec.max, name):
            return False
        return self._pattern is None or self._matches(self._pattern, value, name)

    def _matches(self, pattern: re.Pattern[str], value: Any, name: str) -> bool:
        if not isinstance(value, str):
            raise Unclear(f"`{name}` is no text")
        if len(value) > self._most:
            raise Unclear(f"`{name}` is longer than the {self._most} characters that this pattern is tried on")
        fits, bare = pattern.fullmatch(value) is not None, value.strip()
        if not fits and bare != value and pattern.fullmatch(bare) is not None:
            raise Unclear(f"`{name}` has spaces around it, which the tool may leave out")
        return fits

    def _wanted(self) -> str:
        spec = self._spec
        parts = (
            f"one of {', '.join(map(str, spec.one_of))}" if spec.one_of is not None else "",
            f"text of the pattern {quoted(spec.pattern)}" if spec.pattern is not None else "",
            f"at least {spec.min:g}" if spec.min is not None else "",
            f"at most {spec.max:g}" if spec.max is not None else "",
            f"at most {spec.max_length} long" if spec.max_length is not None else "",
        )
        return " and ".join(filter(None, parts)) or "as wanted"


def _most_characters(pattern: str) -> int:
    """Return how long a text may be that a pattern is tried on: the more repeats share it out, the shorter."""
    repeats = len(_REPEAT.findall(_CLASS.sub("x", pattern)))
    if repeats < 2:
        return _MOST_CHARACTERS
    low, high = 1, _MOST_CHARACTERS
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if math.comb(middle, repeats) <= _MOST_WAYS else (low, middle - 1)
    return low


def _among(value: Any, wanted: Sequence[Plain], name: str) -> bool:
    if any(_kind(entry) == _kind(value) and entry == value for entry in wanted):
        return True
    if isinstance(value, Mapping | list) or any(_may_mean(value, entry) for entry in wanted):
        raise Unclear(f"`{name}` may stand for one of the values, written in another way")
    return False


def _may_mean(value: Any, entry: Plain) -> bool:
    """Say whether a tool could take a value for `entry`: schemas read numbers in texts, and 1 and "yes" as true."""
    if value is None or (_kind(value) == _kind(entry) and not isinstance(value, str)):
        return False
    if isinstance(value, str):
        return _bare(value) == _bare(str(entry)) or (not isinstance(entry, str) and _reads_as(value, entry))
    if isinstance(entry, str):  # a day may be given as a number, too
        return any(char.isdecimal() for char in entry) or _bare(entry) in _FLAGS or _bare(entry) == _bare(str(value))
    return value == entry


def _reads_as(text: str, entry: bool | float) -> bool:
    if isinstance(entry, bool):
        return _FLAGS.get(_bare(text)) is entry or _reads_as(text, int(entry))
    try:
        return float(text.strip().replace("_", "")) == float(entry)
    except OverflowError:
        return True
    except ValueError:
        return _FLAGS.get(_bare(text)) == entry


def _bare(text: str) -> str:
    """Return a text without what the eye does not see or tell apart; of a long one only its ends are looked at."""
    if len(text) <= _MOST_CHARACTERS:
        text = "".join(char for char in unicodedata.normalize("NFKC", text) if char.isprintable())
    return text.strip().casefold()


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "flag"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _between(value: Any, least: float | None, most: float | None, name: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unclear(f"`{name}` is no number")
    if isinstance(value, float) and not math.isfinite(value):
        raise Unclear(f"`{name}` is no number")
    return (least is None or value >= least) and (most is None or value <= most)


def _told(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else quoted(repr(value)[:80])


# -- where


def _paths(rule: RuleSpec) -> Condition:
    patterns = [re.compile(glob(pattern), re.DOTALL) for pattern in rule.paths]
    # `**/*.md` must not let an agent write all over the disk, but a ban on `**/.env` is meant for everywhere.
    absolute = [re.compile(glob(pattern), re.DOTALL) for pattern in rule.paths if is_outside(pattern)]
    outer = absolute if rule.decide == "allow" else patterns

    def check(facts: Facts) -> Why | None:
        places = list(facts.call.places.values())
        if not places:
            return lambda: "there is no path among the arguments"
        if NOWHERE in places:
            raise Unclear("a path among the arguments cannot be told")
        outside = [place for place in places if not _lies_in(place, outer if is_outside(place) else patterns)]
        if _held(rule, [place not in outside for place in places]):
            return None
        return lambda: f"the path {quoted(outside[0])} is not under {listed(rule.paths)}"

    return check


def _lies_in(place: str, patterns: Sequence[re.Pattern[str]]) -> bool:
    return any(pattern.fullmatch(place) for pattern in patterns)


def glob(pattern: str) -> str:
    """Return the regular expression of a pattern of paths: `*` and `?` stay within a folder, `**` goes through any.

    `reports/**` is the folder `reports` and all that lies in it.
    """
    parts = re.split(r"(/\*\*$|(?<![^/])\*\*/|\*\*|\*|\?)", pattern.removeprefix("./"))
    return "".join(_GLOBS.get(part) or re.escape(part) for part in parts)


def _domains(rule: RuleSpec) -> Condition:
    exact = frozenset(canonical_host(pattern) for pattern in rule.domains if not pattern.startswith("*"))
    below = tuple(f".{canonical_host(pattern[2:])}" for pattern in rule.domains if pattern.startswith("*."))
    every = "*" in rule.domains
    if odd := [pattern for pattern in rule.domains if pattern.startswith("*") and pattern[1:2] not in ("", ".")]:
        raise ValueError(f"{odd[0]!r} is no pattern of domains")

    def fits(host: str) -> bool:
        return every or host in exact or (host.endswith(below) and not _is_ip(host))

    def check(facts: Facts) -> Why | None:
        hosts = facts.hosts
        if not hosts:
            return lambda: "there is no address among the arguments"
        if _held(rule, map(fits, hosts)):
            return None
        return lambda: (
            f"the address of {quoted(next(host for host in hosts if not fits(host)))} is not at {listed(rule.domains)}"
        )

    return check


def _is_ip(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdecimal()
