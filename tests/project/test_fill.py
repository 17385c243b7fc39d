"""Placeholders are found as CrewAI finds them and filled once."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from project.errors import AppError
from project.fill import (
    ITEM_NAMES,
    dotted_placeholders,
    fill,
    fill_item,
    fill_item_settings,
    fill_settings,
    placeholders,
    placeholders_in_settings,
)

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


@pytest.mark.parametrize(
    ("text", "item", "filled"),
    [
        ("{item}", "solar", "solar"),
        ("{item} is {number}", 3, "3 is 2"),
        ("{item}", {"title": "Ä", "n": [1]}, '{"title": "Ä", "n": [1]}'),
        ("{item.title}: {item.by.name}", {"title": "T", "by": {"name": "Ada"}}, "T: Ada"),
        ("{item.done} {item.none}", {"done": True, "none": None}, "true null"),
        ("{items} {item-x} {number.x} { item }", "a", "{items} {item-x} {number.x} { item }"),
        ("{item}", "{number} {item}", "{number} {item}"),
    ],
)
def test_an_entry_is_put_into_a_text(text: str, item: object, filled: str) -> None:
    assert fill_item(text, item, 2) == filled


def test_without_a_position_its_placeholder_stays() -> None:
    assert fill_item("{item} of {number}", "a") == "a of {number}"


@pytest.mark.parametrize(
    ("item", "said", "fix"),
    [
        ({"title": "x"}, "`{item.titel}` cannot be filled: the entry has no field `titel`",
         "did you mean `title` instead of `titel`? it has: title"),
        ({}, "`{item.titel}` cannot be filled: the entry has no field `titel`", "it has no fields: write `{item}`"),
        ("x", "`{item.titel}` cannot be filled: the entry is no mapping with fields", "write `{item}`"),
    ],
)  # fmt: skip
def test_a_field_that_an_entry_does_not_have_is_named(item: object, said: str, fix: str) -> None:
    with pytest.raises(AppError) as caught:
        fill_item("a {item.titel}", item)
    assert str(caught.value) == said
    assert caught.value.fixes() == [fix]


def test_what_is_left_alone_is_filled_later_and_values_are_not_read_then_either() -> None:
    text = "{topic}: {item.title} {number}"
    planned = fill(text, {"topic": "{item.title} {number} {topic}"}, ITEM_NAMES)
    assert fill_item(planned, {"title": "T"}, 7) == "{item.title} {number} {topic}: T 7"
    settings = fill_settings({"a": ["{topic}", "{item}", 1]}, {"topic": "{item}"}, ITEM_NAMES)
    assert fill_item_settings(settings, "x") == {"a": ["{item}", "x", 1]}


def test_a_name_that_is_left_alone_needs_no_value_and_others_do() -> None:
    assert fill("{item} {number}", {}, ITEM_NAMES) == "{item} {number}"
    with pytest.raises(AppError, match="no value for `topic`"):
        fill("{item} {topic}", {}, ITEM_NAMES)


def test_placeholders_with_fields_are_named_with_them() -> None:
    assert dotted_placeholders("{a} {a.b-c.d} {a} {1} {x.}") == [("a", ()), ("a", ("b-c", "d"))]


@given(st.text(), st.text())
def test_planning_and_filling_an_entry_keep_every_other_character(value: str, item: str) -> None:
    planned = fill("<{topic}|{item}>", {"topic": value}, ITEM_NAMES)
    assert fill_item(planned, item) == f"<{value}|{item}>"
