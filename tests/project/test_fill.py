"""Placeholders are found as CrewAI finds them and filled once."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.errors import AppError
from project.fill import fill, fill_settings, placeholders, placeholders_in_settings

_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_\-]{0,8}", fullmatch=True)


def test_placeholders_are_named_once_and_in_order() -> None:
    assert placeholders("{b} and {a_1} and {b} and {c-d}") == ["b", "a_1", "c-d"]


@pytest.mark.parametrize("text", ['{"a": 1}', "{ a }", "{}", "{1a}", "{a", "{a b}", "{a.b}", "{{}}", "{ä}"])
def test_other_braces_are_no_placeholders(text: str) -> None:
    assert placeholders(text) == []
    assert fill(text, {}) == text


def test_numbers_become_text() -> None:
    assert fill("{n} and {x}", {"n": 600, "x": 0.5}) == "600 and 0.5"


def test_a_value_is_not_read_for_placeholders() -> None:
    assert fill("{topic}", {"topic": "{secret}", "secret": "hunter2"}) == "{secret}"


def test_every_missing_value_is_named() -> None:
    with pytest.raises(AppError) as caught:
        fill("{a} {b} {c}", {"b": "x"})
    assert str(caught.value) == "no value for `a`, `c`"
    assert caught.value.exit_code == 3
    assert caught.value.fixes() == ["give it by -i a=VALUE"]


def test_settings_are_filled_at_any_depth_and_keys_are_not() -> None:
    settings = {"{a}": "{a}", "list": ["{a}/x", 3, None, {"deep": "{n}"}], "flag": True}
    filled = {"{a}": "docs", "list": ["docs/x", 3, None, {"deep": "7"}], "flag": True}
    assert fill_settings(settings, {"a": "docs", "n": 7}) == filled
    assert placeholders_in_settings(settings) == ["a", "n"]


@given(st.text(), st.dictionaries(_NAMES, st.text()))
def test_filling_is_one_pass_over_the_text(text: str, values: dict[str, str]) -> None:
    names = placeholders(text)
    values = {**dict.fromkeys(names, "{x}"), **values}
    parts = re.split(r"(\{[A-Za-z_][A-Za-z0-9_\-]*\})", text)
    assert fill(text, values) == "".join(values[p[1:-1]] if i % 2 else p for i, p in enumerate(parts))


@given(_NAMES, st.text())
def test_a_value_arrives_as_it_was_given(name: str, value: str) -> None:
    assert fill(f"<{{{name}}}>", {name: value}) == f"<{value}>"
