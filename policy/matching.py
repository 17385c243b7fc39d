"""Whether a rule fits a call: each of its conditions, made ready once.

A condition that cannot be told for sure must never make a call more permitted: it counts as not met for a rule that
allows, and as met for one that asks or denies. For the same reason a rule that allows wants every path, address and
entry of a list to fit, while one of them is enough for a rule that asks or denies.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any, cast
from zoneinfo import ZoneInfo

from policy.addresses import Unclear, canonical_host, hosts_in
from policy.argument_tests import ArgumentTest, Why, held
from policy.decide import Call
from policy.places import NOWHERE, is_outside
from policy.values import values_at
from project.cron import read_zone
from project.hints import listed, quoted
from project.hours import read_hours
from project.spec_policy import RuleSpec

_GLOBS = {"/**": "(?:/.*)?", "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Facts:
    """What the rules look at in one call, worked out when it is first needed."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.arguments = {**call.taken, **call.arguments, **call.fixed}
        """All with which the tool is called: those of the agent, those that YAML fixes, and its own where both are
        silent."""
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

    def has(self, needs: str) -> bool:
        """Say whether there is what a rule needs."""
        if needs == "path":
            return bool(self.call.places)
        if needs == "address":
            return self._may_have_hosts()
        return needs[1:] in self.arguments

    def _may_have_hosts(self) -> bool:
        try:
            return bool(self._hosts)  # an Unclear is true, too: there may be one
        except Exception:  # the rule that asks for them is to fail, not this
            return True

    @cached_property
    def domains(self) -> frozenset[str]:
        """The hosts, and for each the domains above it, with a dot before them."""
        above = (host[at:] for host in self.hosts for at, sign in enumerate(host) if sign == ".")
        return frozenset((*self.hosts, *above))

    def values(self, name: str) -> list[Any]:
        """Return what stands at the name of an argument, or what the tool takes there by itself."""
        found = self._values.get(name)
        if found is None:
            found, taken = values_at(self.arguments, name), values_at(self.call.taken, name) if "." in name else []
            self._values[name] = found = found if len(found) >= len(taken) else [*found, *taken]
        return found

    def values_within(self, name: str) -> list[Any]:
        """Return as `values`. Raises: Unclear for what lies in a text that the tool may read as JSON."""
        found = self.values(name)
        outer = name.rpartition(".")[0]
        while outer and not found:
            if any(isinstance(value, str) for value in self.values(outer)):
                raise Unclear(f"`{outer}` is a text, in which `{name}` may stand")
            outer = outer.rpartition(".")[0]
        return found

    def local_time(self, zone: ZoneInfo) -> datetime:
        """Return when the call is made, by the clock of a time zone. Raises: Unclear."""
        at = self.call.at
        if at is None:
            raise Unclear("the time is not known")
        if zone not in self._times:
            self._times[zone] = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(zone)
        return self._times[zone]


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
    crews: Callable[[str], bool]
    """Says whether it is for a crew."""
    needs: str = ""
    """What a call must have lest the rule is passed over: an argument `.NAME`, `path`, `address`; "": nobody knows."""

    def is_for(self, call: Call, agent: str) -> bool:
        """Say whether it is for such calls, by who makes them and their effect."""
        effects = self.spec.effects
        return self.agents(agent) and self.crews(call.principal.crew) and (not effects or effect_of(call) in effects)

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
    needs = "" if any(isinstance(condition, _Broken) for condition in conditions) else _needs(spec)
    of = named(spec.agents), named(spec.tools), tuple(conditions), named(spec.crews)
    return Rule(spec, name, number, *of, needs)


def _needs(spec: RuleSpec) -> str:
    """Name what the first condition on what stands in a call wants to find there."""
    if spec.methods:
        return ".method"
    if spec.arguments:
        name = next(iter(spec.arguments))
        return "" if "." in name else f".{name}"
    return "path" if spec.paths else "address" if spec.domains else ""


def effect_of(call: Call) -> str:
    """Return what a call does to the world; of one that nobody has told, the worst is supposed."""
    return call.effect or "send"


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
        return _Broken(ValueError(str(error)) if isinstance(error, Unclear) else error)


class _Broken:
    """A condition that raises whenever it is asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, _facts: Facts) -> None:
        raise self._error


def _wildcards(pattern: str) -> str:
    return ".*".join(re.escape(part) for part in re.split(r"\*+", pattern))


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

    return lambda facts: None if effect_of(facts.call) in rule.effects else why


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
    tests = {name: ArgumentTest(spec) for name, spec in rule.arguments.items()}

    def check(facts: Facts) -> Why | None:
        unclear: Unclear | None = None
        for name, test in tests.items():
            try:
                why = test.why_not(rule, name, facts.values_within(name))
            except Unclear as found:  # another argument may rule the rule out for sure
                why, unclear = None, found
            if why is not None:
                return why
        if unclear is not None:
            raise unclear
        return None

    return check


# -- where


def _paths(rule: RuleSpec) -> Condition:
    patterns = [re.compile(glob(pattern), re.DOTALL) for pattern in rule.paths]
    # `**/*.md` must not let an agent write all over the disk, but a ban on `**/.env` is meant for everywhere.
    absolute = [re.compile(glob(pattern), re.DOTALL) for pattern in rule.paths if is_outside(pattern)]
    outer = absolute if rule.decide == "allow" else patterns

    def check(facts: Facts) -> Why | None:
        places = list(facts.call.places.values())
        if rule.decide != "allow":
            places += facts.call.other_places.values()
        if not places:
            return lambda: "there is no path among the arguments"
        if NOWHERE in places:
            raise Unclear("a path among the arguments cannot be told")
        outside = [place for place in places if not _lies_in(place, outer if is_outside(place) else patterns)]
        if held(rule, [place not in outside for place in places]):
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
    every, wanted = "*" in rule.domains, exact.union(below)
    if odd := [pattern for pattern in rule.domains if pattern.startswith("*") and pattern[1:2] not in ("", ".")]:
        raise ValueError(f"{odd[0]!r} is no pattern of domains")

    def fits(host: str) -> bool:
        return every or host in exact or (host.endswith(below) and not _is_ip(host))

    def check(facts: Facts) -> Why | None:
        hosts = facts.hosts
        if not hosts:
            return lambda: "there is no address among the arguments"
        # One look at all of them: of a thousand rules nearly all are about other domains.
        if (every or not wanted.isdisjoint(facts.domains)) and held(rule, map(fits, hosts)):
            return None
        return lambda: (
            f"the address of {quoted(next(host for host in hosts if not fits(host)))} is not at {listed(rule.domains)}"
        )

    return check


def _is_ip(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdecimal()
