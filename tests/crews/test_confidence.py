"""What a result's confidence is made of, and how far independent answers agree."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crews.confidence import agreement, measure
from project.spec import FieldSpec

PASSED, FAILED = {"check": "words", "passed": True}, {"check": "cited", "passed": False}
CONTRACT = {
    "severity": FieldSpec(type="str", choices=["low", "high"]),
    "count": FieldSpec(type="int"),
    "note": FieldSpec(),
    "confidence": FieldSpec(type="float"),
}


def _answer(severity: str, count: int, note: str = "", confidence: float = 0.5) -> str:
    return json.dumps({"severity": severity, "count": count, "note": note, "confidence": confidence})


def test_nothing_known_is_no_value() -> None:
    assert measure([], None, None, None, None, []) == {"value": None, "measured": False, "from": []}


def test_what_the_agent_says_counts_only_alone() -> None:
    own = {"value": 0.8, "measured": False, "from": ["said by the agent itself"]}
    assert measure([], None, None, None, 0.8, []) == own
    assert measure([PASSED], None, None, None, 0.1, []) == {
        "value": 1.0,
        "measured": True,
        "from": ["1 of 1 checks passed"],
    }


def test_the_least_part_is_the_value_and_all_are_told() -> None:
    review = {"approved": True, "score": 0.9}
    assert measure([PASSED, FAILED], (8, 9), 0.75, review, None, []) == {
        "value": 0.5,
        "measured": True,
        "from": [
            "1 of 2 checks passed",
            "8 of 9 claims supported",
            "75 % of independent answers agree",
            "approved by reviewer with 0.9",
        ],
    }


@pytest.mark.parametrize(
    ("told", "value", "source"),
    [
        ({"checks": [PASSED, PASSED | {"warned": True}]}, 0.75, "2 of 2 checks passed, 1 with a warning"),
        ({"support": (8, 9)}, 0.889, "8 of 9 claims supported"),
        ({"agreement": 2 / 3}, 0.667, "67 % of independent answers agree"),
        ({"review": {"approved": True, "score": None}}, 1.0, "approved by reviewer"),
        ({"review": {"approved": False, "score": 0.8}}, 0.5, "not approved by reviewer with 0.8"),
        ({"review": {"approved": False}}, 0.0, "not approved by reviewer"),
    ],
)
def test_each_part_has_its_value_and_words(told: dict[str, Any], value: float, source: str) -> None:
    given: dict[str, Any] = {"checks": [], "support": None, "agreement": None, "review": None} | told
    assert measure(**given, self_reported=None, partial=[]) == {"value": value, "measured": True, "from": [source]}


def test_what_was_not_judged_does_not_count() -> None:
    unjudged = {"check": "text", "passed": True, "not_judged": True}
    review = {"approved": True, "score": 1.0, "judged": False}
    assert measure([unjudged], (0, 0), None, review, None, [])["value"] is None
    assert measure([unjudged, FAILED], None, None, None, None, [])["value"] == 0.0


def test_a_partial_result_is_worth_half() -> None:
    assert measure([PASSED], None, None, None, None, ["no prices"]) == {
        "value": 0.5,
        "measured": True,
        "from": ["1 of 1 checks passed", "partial: no prices"],
    }


@given(
    st.lists(st.booleans(), max_size=5),
    st.none() | st.floats(allow_nan=True),
    st.none() | st.floats(allow_nan=True),
    st.none() | st.tuples(st.integers(-3, 20), st.integers(-3, 20)),
)
def test_a_value_is_between_0_and_1(
    passed: list[bool], agreed: float | None, said: float | None, support: tuple[int, int] | None
) -> None:
    checks = [{"check": "x", "passed": one} for one in passed]
    value = measure(checks, support, agreed, None, said, [])["value"]
    assert value is None or 0 <= value <= 1


def test_answers_to_a_contract_agree_by_what_is_closed_in_it() -> None:
    answers = [_answer("high", 3, "a note", 0.9), _answer("high", 3, "other words", 0.4), _answer("low", 3)]
    assert agreement(answers, CONTRACT) == pytest.approx(2 / 3)


def test_an_answer_that_breaks_the_contract_agrees_with_nobody() -> None:
    assert agreement([_answer("high", 3), "no JSON"], CONTRACT) == 0.5
    assert agreement(["no JSON", "no JSON"], CONTRACT) == 0.0


def test_a_contract_of_texts_is_compared_by_its_words() -> None:
    fields = {"answer": FieldSpec()}
    answers = ['{"answer": "The Rhine"}', '{"answer": "the  rhine"}', '{"answer": "The Elbe"}']
    assert agreement(answers, fields) == pytest.approx(2 / 3)


def test_texts_agree_when_they_say_alike_things_and_contradict_each_other_nowhere() -> None:
    one = "The dam is 92 metres high and was completed in 1974."
    same = "Completed in 1974, the dam is 92 metres high."
    other = "The dam is 96 metres high and was completed in 1974."
    assert agreement([one, same], None) == 1.0
    assert agreement([one, other], None) == 0.5
    assert agreement([one, same, other], None) == pytest.approx(2 / 3)
    assert agreement([one, "Bees make honey."], None) == 0.5


def test_one_answer_agrees_with_itself_and_none_with_nobody() -> None:
    assert agreement(["Any text."], None) == 1.0
    assert agreement([], None) == 0.0
