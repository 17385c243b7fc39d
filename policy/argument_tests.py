"""What one argument of a call must be for a rule to fit it, and whether that can be told for sure."""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from policy.addresses import Unclear
from project.hints import quoted
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
_CLASS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)

Why = Callable[[], str]
"""Tells why a call does not meet a condition: words that only an explanation needs, and that take their time."""


def held(rule: RuleSpec, found: Iterable[bool]) -> bool:
    """Say whether enough of what was found fits: all for a rule that allows, any for others; of nothing, none."""
    if rule.decide != "allow":
        return any(found)
    held = list(found)
    return bool(held) and all(held)


class ArgumentTest:
    """What one argument must be, made ready once. Raises: ValueError for a pattern that is none."""

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
        fitting: list[bool] = []
        unclear: Unclear | None = None
        for entry in (entry for value in values for entry in self._entries(value)):
            try:
                fitting.append(self._fits(entry, name))
            except Unclear as found:
                unclear = found
        if self._of_entries and unclear is not None and (rule.decide == "allow" or not any(fitting)):
            raise unclear
        sizes = held(rule, (self._short_enough(value, name) for value in values))
        return sizes and (not self._of_entries or held(rule, fitting))

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
