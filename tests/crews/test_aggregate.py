"""Outputs put together, rivals ranked, a side of a conflict preferred."""

import json
from typing import Any

import pytest

from crews.aggregate import concatenate, prefer, rank
from tasks.conflicts import Conflict, Said


def _result(name: str, **told: Any) -> dict[str, Any]:
    unknown = {"value": None, "measured": False, "from": []}
    return {"name": name, "output": name, "confidence": unknown, "review": None, "support": None, "partial": []} | told


def _confidence(value: float, measured: bool) -> dict[str, Any]:
    return {"value": value, "measured": measured, "from": []}


def _conflict(*sides: tuple[str, str]) -> Conflict:
    said = tuple(Said(source, value, "line 1", f"The dam is {value} high.") for source, value in sides)
    return Conflict("number", "dam high", said)


def test_outputs_become_sections_in_their_order_with_headings_one_level_deeper() -> None:
    outputs = {"b_first": "# Report\n\nText.\n\n## Part\n\nMore.", "a_second": "Plain."}
    assert concatenate(outputs, {"b_first": "Research", "a_second": "Finance"}) == (
        "## Research\n\n### Report\n\nText.\n\n#### Part\n\nMore.\n\n## Finance\n\nPlain.\n"
    )


def test_a_heading_that_repeats_the_title_is_dropped() -> None:
    assert concatenate({"a": "# Research\n\nText."}, {"a": "Research"}) == "## Research\n\nText.\n"


def test_a_hash_in_fenced_code_is_no_heading() -> None:
    text = "# Top\n\n```sh\n# a comment\n```\n\n## Below"
    assert concatenate({"a": text}, {}) == "## a\n\n### Top\n\n```sh\n# a comment\n```\n\n#### Below\n"


def test_headings_never_pass_the_sixth_level() -> None:
    assert concatenate({"a": "# One\n\n###### Six"}, {}) == "## a\n\n### One\n\n###### Six\n"


def test_headings_that_are_deep_enough_stay() -> None:
    assert concatenate({"a": "### Three\n\nText."}, {}) == "## a\n\n### Three\n\nText.\n"


def test_objects_become_one_object() -> None:
    assert json.loads(concatenate({"a": '{"x": 1}', "b": '{"y": [2]}'}, {"a": "A"})) == {"a": {"x": 1}, "b": {"y": [2]}}


def test_an_object_among_texts_is_shown_as_code() -> None:
    assert concatenate({"a": '{"x": 1}', "b": "Text."}, {}) == '## a\n\n```json\n{"x": 1}\n```\n\n## b\n\nText.\n'


def test_nothing_gives_nothing() -> None:
    assert concatenate({}, {}) == ""


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"support": {"claims": 9, "supported": 9}}, {"review": {"approved": True, "score": 1.0}}),
        ({"support": {"claims": 9, "supported": 9}}, {"support": {"claims": 9, "supported": 8}}),
        ({"review": {"approved": True, "score": 0.7}}, {"confidence": _confidence(1.0, True)}),
        ({"review": {"approved": True, "score": 0.9}}, {"review": {"approved": True, "score": 0.7}}),
        ({}, {"review": {"approved": False, "score": 0.9}}),
        ({"review": {"approved": True, "score": 0.7}}, {"review": {"approved": True, "score": None, "judged": False}}),
        ({}, {"partial": ["no prices"]}),
        ({"confidence": _confidence(0.5, True)}, {"confidence": _confidence(0.9, False)}),
        ({"confidence": _confidence(0.9, False)}, {"confidence": _confidence(0.8, False)}),
        ({"confidence": _confidence(0.1, False)}, {}),
    ],
)
def test_the_better_result_comes_first_wherever_it_stands(better: dict[str, Any], worse: dict[str, Any]) -> None:
    good, bad = _result("good", **better), _result("bad", **worse)
    assert [one.name for one in rank([bad, good])] == ["good", "bad"]
    assert [one.name for one in rank([good, bad])] == ["good", "bad"]


def test_results_that_stand_alike_keep_their_order() -> None:
    assert [name for name, _ in rank([_result("c"), _result("a"), _result("b")])] == ["c", "a", "b"]


def test_a_place_has_its_reason() -> None:
    told = _result(
        "a",
        support={"claims": 9, "supported": 9},
        review={"approved": True, "score": 0.9},
        confidence=_confidence(0.9, True),
        partial=["no prices"],
    )
    assert [one.reason for one in rank([told, _result("b")])] == [
        "approved by reviewer; 9 of 9 claims supported; confidence 0.9, measured; partial: no prices",
        "nothing measured",
    ]


def test_the_source_that_stands_better_is_believed() -> None:
    results = [_result("a", support={"claims": 4, "supported": 2}), _result("b", support={"claims": 4, "supported": 4})]
    assert prefer(_conflict(("a", "92 m"), ("b", "96 m")), results) == (
        "b",
        "b: 4 of 4 claims supported; a: 2 of 4 claims supported",
    )


def test_a_source_that_says_the_same_does_not_stand_against() -> None:
    results = [
        _result(name, confidence=_confidence(value, True)) for name, value in (("a", 0.9), ("b", 0.9), ("c", 0.2))
    ]
    conflict = _conflict(("a", "92 m"), ("b", "92 m"), ("c", "96 m"))
    assert prefer(conflict, results) == ("a", "a: confidence 0.9, measured; c: confidence 0.2, measured")


def test_nothing_decides_between_sources_that_stand_alike() -> None:
    assert prefer(_conflict(("a", "92 m"), ("b", "96 m")), [_result("a"), _result("b")]) == (
        None,
        "a and b stand alike",
    )


def test_nobody_is_believed_who_contradicts_himself() -> None:
    approved = _result("a", review={"approved": True, "score": 1.0})
    assert prefer(_conflict(("a", "92 m"), ("a", "96 m")), [approved]) == (None, "a contradicts itself")
    both = _conflict(("a", "92 m"), ("a", "96 m"), ("b", "92 m"))
    assert prefer(both, [approved, _result("b")]) == (None, "a contradicts itself")


def test_a_source_of_which_nothing_is_known_leaves_it_open() -> None:
    assert prefer(_conflict(("a", "92 m"), ("b", "96 m")), [_result("a")]) == (None, "nothing is known of b")
