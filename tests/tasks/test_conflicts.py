"""Conflicts between outputs, found without a model: the sets of benchmarks/conflicts.py, and how one is told."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.conflicts import SETS, conflicts_of, matches, read_sets, sets_named
from project.spec import FieldSpec
from tasks.conflicts import Conflict, Said, find_conflicts
from tests.pace import cpu_of

CASES = [pytest.param(case, id=f"{name}: {case['name']}") for name in (*SETS, "blind a") for case in sets_named(name)]


def _texts(*outputs: str) -> list[str]:
    named = dict(zip("abcd", outputs, strict=False))
    return [conflict.text for conflict in find_conflicts(named, {})]


@pytest.mark.parametrize("case", CASES)
def test_what_is_planted_is_found_and_nothing_else(case: dict[str, Any]) -> None:
    found = conflicts_of(case)
    planted = case.get("planted", [])
    assert [one for one in planted if not any(matches(conflict, one) for conflict in found)] == []
    assert [conflict.text for conflict in found if not any(matches(conflict, one) for one in planted)] == []


def test_each_file_of_sets_has_enough_of_both() -> None:
    for path in SETS.values():
        cases = read_sets(path)
        assert sum(1 for case in cases if case.get("planted")) >= 10
        assert sum(1 for case in cases if not case.get("planted")) >= 10


def test_a_conflict_is_told_in_one_line() -> None:
    first, second = "Revenue in 2025 was $4.2 million.", "Intro.\n\n2025 revenue came to 4.5M dollars."
    assert _texts(first, second) == ["revenue of 2025: $4.2 million (a, line 1) but 4.5M dollars (b, line 3)"]


def test_the_halves_of_the_blind_sets_are_alike() -> None:
    for half in ("blind a", "blind b"):
        cases = sets_named(half)
        assert (len(cases), sum(1 for case in cases if case.get("planted"))) == (20, 10)


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [
        ("Go-live: 2026-05-04", "Go-live is scheduled for 6 May 2026.", 1),
        ("Launch: 3 May 2024", "The launch was scheduled for 1 March 2024.", 0),
        ("Go-live is scheduled for 4 May 2026.", "Go-live is scheduled for 6 May 2026.", 1),
        ("Sales were 310 units in Q1 2025.", "In the first quarter of 2025, sales were 370 units.", 1),
        ("Sales were 310 units in Q1 2025.", "In the second quarter of 2025, sales were 370 units.", 0),
        ("We read it. Verdict: approved. More later.", "Verdict: rejected", 1),
        ("We saw one thing: high winds. Trees fell.", "We saw one thing: low winds.", 0),
        ("We audited the office in Leith. Risk rating: high.", "We audited the office in Bath. Risk rating: low.", 0),
        ("Alpha is a bank. Employees: 410. It is old.", "Beta is a bank. Employees: 380. It is new.", 0),
        ("We read the first draft. Score: 7.", "We read the second draft. Score: 4.", 0),
    ],
)
def test_plans_quarters_and_labels_inside_prose_are_read(one: str, other: str, found: int) -> None:
    assert len(_texts(one, other)) == found


@pytest.mark.parametrize(
    ("one", "other", "found"),
    [("Stone curlew", "Stone marten", 0), ("Stone curlew", "stone curlew", 1), ("Okto Ltd", "Okto Limited", 1)],
)
def test_objects_with_names_of_their_own_are_not_compared(one: str, other: str, found: int) -> None:
    fields = {"species": FieldSpec(), "pairs": FieldSpec(type="int")}
    outputs = {"a": f'{{"species": "{one}", "pairs": 61}}', "b": f'{{"species": "{other}", "pairs": 1900}}'}
    assert len(find_conflicts(outputs, dict.fromkeys(outputs, fields))) == found


def test_a_conflict_is_plain_json() -> None:
    outputs = {"a": '{"limits": {"count": 3}}', "b": '{"limits": {"count": 4}}'}
    fields = {"limits": FieldSpec(type="object", fields={"count": FieldSpec(type="int")})}
    assert [one.to_json() for one in find_conflicts(outputs, {"a": fields, "b": fields})] == [
        {
            "kind": "number",
            "subject": "limits count",
            "said": [
                {"source": "a", "value": "3", "where": "limits.count", "quote": "count: 3"},
                {"source": "b", "value": "4", "where": "limits.count", "quote": "count: 4"},
            ],
        }
    ]


def test_those_who_agree_stand_with_their_side() -> None:
    high = "The dam is {} metres high."
    (conflict,) = find_conflicts({"a": high.format(92), "b": high.format(96), "c": high.format(92)}, {})
    assert [(said.source, said.value) for said in conflict.said] == [
        ("a", "92 metres"),
        ("b", "96 metres"),
        ("c", "92 metres"),
    ]


def test_how_sure_an_agent_is_of_itself_is_no_fact() -> None:
    fields = {"count": FieldSpec(type="int"), "confidence": FieldSpec(type="float")}
    outputs = {"a": '{"count": 3, "confidence": 0.9}', "b": '{"count": 3, "confidence": 0.2}'}
    assert find_conflicts(outputs, dict.fromkeys(outputs, fields)) == []


def test_an_answer_that_breaks_its_contract_is_read_as_text() -> None:
    fields = {"count": FieldSpec(type="int")}
    outputs = {"a": "The dam is 92 metres high.", "b": "The dam is 96 metres high."}
    assert len(find_conflicts(outputs, dict.fromkeys(outputs, fields))) == 1


@pytest.mark.parametrize("outputs", [{}, {"a": ""}, {"a": "", "b": "{}"}, {"a": "```\n```", "b": "|||\n|-|\n|"}])
def test_nothing_said_is_no_conflict(outputs: dict[str, str]) -> None:
    assert find_conflicts(outputs, {}) == []


def test_the_same_text_twice_is_no_conflict() -> None:
    for path in SETS.values():
        for case in read_sets(path):
            if not case.get("planted"):
                text = next(iter(case["outputs"].values()))
                assert find_conflicts({"a": text, "b": text}, {}) == []


@given(st.text(max_size=400), st.text(max_size=400))
def test_no_text_crashes_it(one: str, other: str) -> None:
    for conflict in find_conflicts({"a": one, "b": other}, {"a": None}):
        assert isinstance(conflict, Conflict)
        assert all(isinstance(said, Said) for said in conflict.said)
        assert "\n" not in conflict.text


@given(st.lists(st.sampled_from([*"0123456789.,:;-–|#*%$€ \n", "million", "May ", "from ", " to ", "was ", "The "])))
def test_no_row_of_numbers_and_marks_crashes_it(parts: list[str]) -> None:
    assert len(find_conflicts({"a": "".join(parts), "b": "The dam was 3 m high."}, {})) < 200


@pytest.mark.parametrize(
    "piece",
    [
        "The dam is {} metres high. ",
        "{} ",
        "| {} ",
        "not supported {}, ",
        "Label: {}\n",
        "{},",
        "- ",
        "from {} to ",
        "May ",
    ],
)
def test_long_outputs_of_one_kind_take_no_time(piece: str) -> None:
    text = "".join(piece.format(1000 + i) for i in range(200_000 // len(piece.format(1000))))
    taken = cpu_of(lambda: find_conflicts({"a": text[:100_000], "b": text[100_000:]}, {}))
    assert taken < 500  # far above what it takes, far below what quadratic work would
