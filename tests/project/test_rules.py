"""Settings of rules: what is right passes, what is wrong is named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.rules import RULES

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["min", "max", "x"]), inner, max_size=3)
    ),
)


@pytest.mark.parametrize(
    ("rule", "setting"),
    [
        ("words", 0),
        ("words", {"min": 5, "max": 5}),
        ("words", {"max": 9}),
        ("required_sections", ["A"]),
        ("cited", True),
        ("matches", r"^\d+$"),
        ("forbidden_words", ["a b"]),
        ("supported", True),
        ("supported", ["names", "dates"]),
        ("no_personal_data", ["ip"]),
        ("heading_levels", 1),
        ("sentence_words", 200),
        ("glossary", {"sign in": ["log in"]}),
    ],
)
def test_a_right_setting_passes(rule: str, setting: Any) -> None:
    assert RULES[rule].check(setting) == ""


@pytest.mark.parametrize(
    ("rule", "setting", "wrong"),
    [
        ("words", True, "must be a whole number (the most words) or `min:` and `max:`, got true"),
        ("words", -1, "must be a whole number (the most words) or `min:` and `max:`, got -1"),
        ("words", {}, "needs `min:` or `max:`"),
        ("words", {"min": "5"}, "must have `min` as a whole number >= 0, got '5'"),
        ("words", {"min": 2, "max": 1}, "must have min <= max, got 2 and 1"),
        ("required_sections", [], "must be a list of texts, got an empty list"),
        ("required_sections", ["A", " "], "must be a list of texts, got ' ' in it"),
        ("forbidden_words", [1], "must be a list of texts, got 1 in it"),
        ("cited", 1, "must be true, got 1"),
        ("supported", [], "must be true or a list out of quotes, numbers, dates, urls, names, got an empty list"),
        ("supported", ["nums"], "must be true or a list out of quotes, numbers, dates, urls, names, got 'nums' in it"),
        ("no_personal_data", False, "must be true or a list out of email, phone, iban, card, ssn, ip, got false"),
        ("heading_levels", 7, "must be a whole number from 1 to 6, got 7"),
        ("sentence_words", True, "must be a whole number from 5 to 200, got true"),
        ("glossary", {}, "must name terms, each with the words it stands for, got nothing"),
        ("glossary", {"a": "b"}, "at 'a' must be a list of texts, got 'b'"),
        ("glossary", {"a": ["A"]}, "has 'a' as a variant of itself"),
        ("matches", "", "must be a regular expression, got ''"),
        ("matches", "a{99999999999999}", "is not a regular expression: the repetition number is too large"),
        ("matches", "a" * 1001, "must be at most 1000 characters long, got 1001"),
    ],
)
def test_a_wrong_setting_is_named(rule: str, setting: Any, wrong: str) -> None:
    assert RULES[rule].check(setting) == wrong


@given(st.sampled_from(sorted(RULES)), _ANYTHING)
def test_no_setting_breaks_the_check(rule: str, setting: Any) -> None:
    assert isinstance(RULES[rule].check(setting), str)
