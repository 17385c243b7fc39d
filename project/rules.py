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
    """True: its setting can be `true`, so its bare name is enough."""


def _check_true(setting: Any) -> str:
    return "" if setting is True else f"must be true, got {shown(setting)}"


def _check_texts(setting: Any) -> str:
    if not isinstance(setting, list) or not setting:
        return f"must be a list of texts, got {'an empty list' if setting == [] else shown(setting)}"
    for text in cast(list[Any], setting):
        if not isinstance(text, str) or not text.strip():
            return f"must be a list of texts, got {shown(text)} in it"
    return ""


def _check_kinds(kinds: tuple[str, ...]) -> Callable[[Any], str]:
    def check(setting: Any) -> str:
        if setting is True:
            return ""
        if not isinstance(setting, list) or not setting:
            got = "an empty list" if setting == [] else shown(setting)
            return f"must be true or a list out of {', '.join(kinds)}, got {got}"
        for kind in cast(list[Any], setting):
            if not isinstance(kind, str) or kind not in kinds:
                return f"must be true or a list out of {', '.join(kinds)}, got {shown(kind)} in it"
        return ""

    return check


def _check_glossary(setting: Any) -> str:
    if not isinstance(setting, dict) or not setting:
        return f"must name terms, each with the words it stands for, got {shown(setting) if setting else 'nothing'}"
    for term, variants in cast(dict[Any, Any], setting).items():
        if not isinstance(term, str) or not term.strip():
            return f"must have texts as terms, got {shown(term)}"
        if wrong := _check_texts(variants):
            return f"at {shown(term)} {wrong}"
        if term.strip().casefold() in (variant.strip().casefold() for variant in cast(list[str], variants)):
            return f"has {shown(term)} as a variant of itself"
    return ""


def _check_number(least: int, most: int) -> Callable[[Any], str]:
    def check(setting: Any) -> str:
        right = _is_count(setting) and least <= setting <= most
        return "" if right else f"must be a whole number from {least} to {most}, got {shown(setting)}"

    return check


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
_SUPPORTED = ("quotes", "numbers", "dates", "urls", "names")
_PERSONAL = ("email", "phone", "iban", "card", "ssn", "ip")


def _kinds_schema(kinds: tuple[str, ...]) -> Mapping[str, Any]:
    return {"anyOf": [_TRUE, {"type": "array", "items": {"enum": list(kinds)}, "minItems": 1}]}


RULES: Mapping[str, Rule] = {
    "required_sections": Rule(
        "The output has a heading for each of these, in any order.",
        "a list of headings",
        "required_sections: [Summary, Sources]",
        _check_texts,
        _TEXTS,
    ),
    "sections_in_order": Rule(
        "The output has a heading for each of these, in this order; others may stand between them.",
        "a list of headings",
        "sections_in_order: [Summary, Risks, Sources]",
        _check_texts,
        _TEXTS,
    ),
    "heading_levels": Rule(
        "No heading is deeper than this level (`##` is 2), and none skips a level.",
        "a whole number from 1 to 6",
        "heading_levels: 3",
        _check_number(1, 6),
        {"type": "integer", "minimum": 1, "maximum": 6},
    ),
    "words": Rule(
        "The output has at least `min` and at most `max` words; a number alone is the most.",
        "a whole number, or `min` and `max`",
        "words: {min: 200, max: 600}",
        _check_words,
        {"anyOf": [_COUNT, _LIMITS]},
    ),
    "sentence_words": Rule(
        "No sentence has more words than this.",
        "a whole number from 5 to 200",
        "sentence_words: 35",
        _check_number(5, 200),
        {"type": "integer", "minimum": 5, "maximum": 200},
    ),
    "cited": Rule(
        "Every line with a claim cites a place, `[path:line]` or `[path p.N]`, and that place contains the claim.",
        "true",
        "cited: true",
        _check_true,
        _TRUE,
        switch=True,
    ),
    "supported": Rule(
        "Quotes, numbers, dates, web addresses and names in the output occur in what the task was given or its tools "
        "returned; numbers and dates count by value.",
        "true, or a list out of quotes, numbers, dates, urls, names",
        "supported: [quotes, numbers, urls]",
        _check_kinds(_SUPPORTED),
        _kinds_schema(_SUPPORTED),
        switch=True,
    ),
    "claimed_calls": Rule(
        "What the output says was searched, fetched, run, sent or otherwise done with a tool was done with one.",
        "true",
        "claimed_calls: true",
        _check_true,
        _TRUE,
        switch=True,
    ),
    "consistent": Rule(
        "No quantity, date, status or yes-or-no answer is given with two values in the output.",
        "true",
        "consistent: true",
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
    "no_personal_data": Rule(
        "No e-mail address, phone number, IBAN, card number, social security number or IP address is in the output.",
        "true, or a list out of email, phone, iban, card, ssn, ip",
        "no_personal_data: [email, phone, card]",
        _check_kinds(_PERSONAL),
        _kinds_schema(_PERSONAL),
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
    "glossary": Rule(
        "A term is used in place of its variants, in upper or lower case, singular or plural.",
        "terms, each with a list of variants that are not to be used",
        "glossary: {sign in: [log in, login], customer: [client]}",
        _check_glossary,
        {"type": "object", "additionalProperties": _TEXTS, "minProperties": 1},
    ),
}

NEED_MORE = frozenset({"cited", "supported", "claimed_calls"})
"""Rules that need more than a text: what the task was given, and what its tools returned."""
