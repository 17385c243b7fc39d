"""No text makes a rule raise, and a text that says nothing is known as such."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from project.rules import RULES
from project.spec import FieldSpec
from tasks.evidence import Evidence, support_of
from tasks.guardrails import check_rule, is_empty


def _nowhere(place: str) -> str | None:
    return None


def _check(rule: str, setting: object, text: str) -> list[str]:
    return check_rule(rule, setting, text, _nowhere)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \r\n\t\u00a0\ufeff\u200b",
        "---\n***",
        "```\n```",
        "...",
        "This needs a language model",
        "**This needs a language model.**",
        "This needs a language model: Compare the two\n\nThe offline model selects sentences. Set a key and run again.",
        "_Offline: no language model is configured._",
        "> _Offline: no language model is configured,\n> set a key._\n\nThis needs a language model",
    ],
)
def test_a_text_that_says_nothing_is_empty(text: str) -> None:
    assert is_empty(text)


@pytest.mark.parametrize(
    "text",
    [
        "No",
        "0",
        "👍",
        "# Title",
        "{}x",
        "猫",
        "_Offline: no model._\n\nThe sun is warm [a.md:1]",
        "Why this needs a language model",
    ],
)
def test_a_text_that_says_something_is_not_empty(text: str) -> None:
    assert not is_empty(text)


_SETTINGS: dict[str, object] = {
    "required_sections": ["Summary", "1. Ü"],
    "words": {"min": 2, "max": 5},
    "cited": True,
    "no_repeats": True,
    "no_placeholders": True,
    "valid_json": True,
    "matches": "^## [A-Z]",
    "forbidden_words": ["foo bar", "é", "c++"],
    "sections_in_order": ["Summary", "1. Ü"],
    "heading_levels": 2,
    "sentence_words": 5,
    "supported": True,
    "claimed_calls": True,
    "no_personal_data": True,
    "glossary": {"foo": ["bar", "c++"], "é": ["ß x"]},
    "consistent": True,
}
_PIECES = st.sampled_from(
    [
        *("# ", "## Sources\n", "- ", "> ", "```", "~~~\n", "| a | b |\n|---|---|\n", "[a.md:1]", "[b p.2; c:3]"),
        *("**", "_Offline: ", "\n===\n", "A sentence of words. ", "“", "…", "{name}", "<x>", '{"a": "', '"}', "1. "),
        *("\r\n", "\n", "猫は。", "🎉"),
        *(
            "1,250",
            "12 %",
            "$3.5M",
            "2026-03-01",
            "31 June ",
            "March 1, ",
            "٣٫٥",
            "9:59 pm",
            "twelve and a half ",
            "1970s",
        ),
        *(
            "https://a.example/x)",
            "Dr. Jane Doe ",
            "I searched ",
            "was sent to ",
            "the x_y tool ",
            "a@b.org",
            "+49 30 123456",
        ),
        *(
            "DE89 3704 0044 0532 0130 00",
            "4111 1111 1111 1111",
            "::1",
            "1.2.3.4",
            "'a b",
            " … ",
            "\\u12",
            "&#1;",
            "²",
            "Ⅷ",
        ),
    ]
)
_MARKDOWN = st.lists(_PIECES | st.text(max_size=6), max_size=25).map("".join)
_ANY_TEXT = st.text(st.characters(exclude_categories=[])) | _MARKDOWN
_CONTRACT = {"a": FieldSpec(), "b": FieldSpec(type="list[str]", optional=True)}


@settings(max_examples=300, deadline=None)
@given(_ANY_TEXT, st.sampled_from(sorted(set(_SETTINGS) - {"matches"})), st.booleans(), st.none() | _ANY_TEXT)
def test_no_text_raises_and_verdicts_do_not_change(text: str, rule: str, bound: bool, source: str | None) -> None:
    contract = _CONTRACT if bound else None
    read = [Evidence("1", "search", source or text[::-1], text), Evidence("2", "task a", text[: len(text) // 2])]
    verdicts = [
        check_rule(
            rule, _SETTINGS[rule], text, lambda _: source, contract=contract, evidence=read, calls={"x"}, tools={"x_y"}
        )
        for _ in range(2)
    ]
    assert verdicts[0] == verdicts[1]
    assert len(verdicts[0]) <= 21
    assert all(reason.strip() for reason in verdicts[0])


@settings(max_examples=200, deadline=None)
@given(_ANY_TEXT, st.none() | _ANY_TEXT)
def test_support_adds_up_for_any_text(text: str, source: str | None) -> None:
    support = support_of(text, [] if source is None else [Evidence("1", "search", source)])
    assert support.claims == support.supported + len(support.unsupported)


@settings(max_examples=10, deadline=None)
@given(_ANY_TEXT)
def test_no_text_makes_a_pattern_raise(text: str) -> None:
    assert len(_check("matches", "^## [A-Z]+", text)) <= 1


@settings(deadline=None)
@given(_ANY_TEXT)
def test_no_text_makes_is_empty_raise(text: str) -> None:
    assert isinstance(is_empty(text), bool)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["Sun shines on all.", "Rain is wet here.", "- Wind blows from west."]), min_size=1))
def test_line_ends_do_not_change_a_verdict(rows: list[Any]) -> None:
    verdicts = [_check("cited", True, end.join(rows)) for end in ("\n", "\r\n", "\r")]
    assert verdicts[0] == verdicts[1] == verdicts[2]
    assert len(verdicts[0]) == min(len(rows), 21)


def test_every_rule_of_the_project_can_be_applied() -> None:
    assert set(_SETTINGS) == set(RULES)
    for rule, setting in _SETTINGS.items():
        assert isinstance(_check(rule, setting, "A text.\n"), list)
