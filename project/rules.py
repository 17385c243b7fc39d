"""The guardrail rules: names, what they demand, what their setting must be. `tasks/guardrails.py` applies them."""

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from project.hints import shown

_LONGEST_PATTERN = 1000


@dataclass(frozen=True)
class Rule:
    """One rule that a task's output can be held to."""

    description: str
    """What it demands, for people."""
    setting: str
    """What stands after its name, for people."""
    example: str
    """An entry of `guardrails:` as YAML."""
    check: Callable[[Any], str]
    """Takes the setting; returns "" or what is wrong with it."""
    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """JSON Schema of the setting."""
    switch: bool = False
    """True: its only setting is `true`, so its bare name is enough."""


def _check_true(setting: Any) -> str:
    return "" if setting is True else f"must be true, got {shown(setting)}"


def _check_texts(setting: Any) -> str:
    if not isinstance(setting, list) or not setting:
        return f"must be a list of texts, got {'an empty list' if setting == [] else shown(setting)}"
    for text in cast(list[Any], setting):
        if not isinstance(text, str) or not text.strip():
            return f"must be a list of texts, got {shown(text)} in it"
    return ""


def _check_words(setting: Any) -> str:
    if _is_count(setting):
        return ""
    if not isinstance(setting, dict):
        return f"must be a whole number (the most words) or `min:` and `max:`, got {shown(setting)}"
    limits = cast(dict[str, Any], setting)
    for key, limit in limits.items():
        if key not in ("min", "max"):
            return f"takes `min` and `max`, got `{key}`"
        if not _is_count(limit):
            return f"must have `{key}` as a whole number >= 0, got {shown(limit)}"
    if not limits:
        return "needs `min:` or `max:`"
    if "min" in limits and "max" in limits and limits["min"] > limits["max"]:
        return f"must have min <= max, got {limits['min']} and {limits['max']}"
    return ""


def _check_pattern(setting: Any) -> str:
    if not isinstance(setting, str) or not setting:
        return f"must be a regular expression, got {shown(setting)}"
    if len(setting) > _LONGEST_PATTERN:
        return f"must be at most {_LONGEST_PATTERN} characters long, got {len(setting)}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(setting)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    return ""


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_TEXTS: Mapping[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
_TRUE: Mapping[str, Any] = {"const": True}
_COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
_LIMITS: Mapping[str, Any] = {
    "type": "object",
    "properties": {"min": _COUNT, "max": _COUNT},
    "additionalProperties": False,
    "minProperties": 1,
}

RULES: Mapping[str, Rule] = {
    "required_sections": Rule(
        "The output has a heading for each of these, in any order.",
        "a list of headings",
        "required_sections: [Summary, Sources]",
        _check_texts,
        _TEXTS,
    ),
    "words": Rule(
        "The output has at least `min` and at most `max` words; a number alone is the most.",
        "a whole number, or `min` and `max`",
        "words: {min: 200, max: 600}",
        _check_words,
        {"anyOf": [_COUNT, _LIMITS]},
    ),
    "cited": Rule(
        "Every line with a claim cites a place, `[path:line]` or `[path p.N]`, and that place contains the claim.",
        "true",
        "cited: true",
        _check_true,
        _TRUE,
        switch=True,
    ),
    "no_repeats": Rule(
        "No sentence or paragraph stands in the output twice.",
        "true",
        "no_repeats: true",
        _check_true,
        _TRUE,
        switch=True,
    ),
    "no_placeholders": Rule(
        "Nothing is left to be filled in, such as `TODO`, `[insert …]` or `{name}`.",
        "true",
        "no_placeholders: true",
        _check_true,
        _TRUE,
        switch=True,
    ),
    "valid_json": Rule("The output is a JSON document.", "true", "valid_json: true", _check_true, _TRUE, switch=True),
    "matches": Rule(
        "The regular expression is found in the output.",
        "a regular expression",
        "matches: '^# '",
        _check_pattern,
        {"type": "string", "minLength": 1, "maxLength": _LONGEST_PATTERN, "format": "regex"},
    ),
    "forbidden_words": Rule(
        "None of these words or phrases is in the output, in upper or lower case.",
        "a list of words",
        "forbidden_words: [synergy, leverage]",
        _check_texts,
        _TEXTS,
    ),
}
