"""Conditions: what they read, what they come to, and what is said of those that are wrong."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from project.conditions import check_condition, condition_inputs, condition_state, condition_tasks, evaluate
from project.errors import AppError, Where
from project.expressions import MOST_CHARACTERS
from project.spec import ForEachSpec, TaskSpec

_ROOT = Path(__file__).resolve().parents[2]
_INPUTS: dict[str, Any] = {"kind": "refund", "tags": ["x"], "count": 3, "share": 2.5, "my-name": "Ada"}
_OUTPUTS: dict[str, Any] = {
    "triage": {"urgency": 3, "score": 1, "urgent": True, "note": None},
    "plan": {"steps": [{"title": "a", "done": True}, {"title": "b", "done": False}]},
    "check": "all ok",
}
_STATE: dict[str, Any] = {"facts": ["one", "two"]}


def _evaluate(text: str) -> Any:
    return evaluate(text, _INPUTS, _OUTPUTS, _STATE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("inputs.kind == 'refund' && outputs.triage.urgency > 2", True),
        ("size(outputs.plan.steps) > 0", True),
        ("outputs.check.contains('ok')", True),
        ("'x' in inputs.tags", True),
        ("has(outputs.triage.urgency) && !has(outputs.triage.other)", True),
        ("outputs.plan.steps.all(step, step.done)", False),
        ("outputs.plan.steps.exists(step, step.done)", True),
        ("outputs.plan.steps.filter(step, step.done).map(step, step.title)", ["a"]),
        ("outputs.plan.steps[1]", {"title": "b", "done": False}),
        ("outputs['plan'].steps[0].title", "a"),
        ('inputs["my-name"] == "Ada"', True),
        ("state.facts", ["one", "two"]),
        ("outputs.triage.note == null", True),
        ("outputs.triage.note", None),
        ("inputs.count + 1", 4),
        ("inputs.share * 2.0", 5.0),
        ("outputs.triage.urgent ? 'now' : 'later'", "now"),
        ("inputs.kind.matches('^re')", True),
        ("type(inputs.count) == int", True),
        ("'kind' in inputs && size(inputs) > 2", True),
        ("inputs.count > 2 || outputs.missing", True),
    ],
)
def test_an_expression_comes_to_plain_data(text: str, value: object) -> None:
    assert check_condition(text)[0] == ""
    found = _evaluate(text)
    assert found == value
    assert type(found) is type(value)
    assert json.loads(json.dumps(found)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("outputs.triage.score < 1.5", True),
        ("outputs.triage.score == 1.0", True),
        ("outputs.triage.score != 1.0", False),
        ("inputs.share >= 2", True),
        ("inputs.share + 1 == 3.5", True),
        ("inputs.count * 0.5 > 1", True),
        ("inputs.kind == 1", False),
        ("inputs.kind != null", True),
    ],
)
def test_numbers_of_both_kinds_and_values_of_all_kinds_are_compared(text: str, value: bool) -> None:
    assert _evaluate(text) is value


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("inputs.a == outputs.b.c && state.d > outputs.b.e", ["inputs.a", "outputs.b", "state.d"]),
        ("has(outputs.a.b)", ["outputs.a"]),
        ("outputs.a.all(x, x.y == inputs.z)", ["outputs.a", "inputs.z"]),
        ("outputs['my-task'][inputs.n].x", ["outputs.my-task", "inputs.n"]),
        ("size(inputs) > 1", []),
        ("outputs.a.map(outputs, outputs.b)", ["outputs.a"]),
        ("'outputs.a' == \"inputs.b\"", []),
    ],
)
def test_what_an_expression_reads_is_named_once_and_in_order(text: str, names: list[str]) -> None:
    assert check_condition(text) == ("", names)


def test_a_task_waits_for_the_outputs_that_its_conditions_read() -> None:
    items = ForEachSpec(items="outputs.plan.steps.filter(s, s.kind == inputs.kind)")
    when = "outputs.check.ok && outputs.plan.ready && inputs.topic != state.last"
    task = TaskSpec(description="D", expected_output="E", when=when, for_each=items)
    assert condition_tasks(task) == ["check", "plan"]
    assert condition_inputs(task) == ["topic", "kind"]
    assert condition_state(task) == ["last"]
    assert condition_tasks(TaskSpec(description="D", expected_output="E")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("outputs.missing.x", "there is no `missing`"),
        ("outputs.triage.missing > 1", "there is no `missing`"),
        ("outputs.plan.steps[7].title", "the list has no such entry"),
        ("inputs.kind > 1", "a text cannot be compared with a number"),
        ("outputs.triage.note > 1", "nothing cannot be compared with a number"),
        ("inputs.count / 0 > 1", "a number is divided by zero"),
        ("size(inputs.count) > 1", "its values are of the wrong types"),
        ("int(inputs.kind) > 1", "its values are of the wrong types"),
    ],
)
def test_what_cannot_be_decided_is_said_in_plain_words(text: str, said: str) -> None:
    with pytest.raises(AppError) as caught:
        evaluate(text, _INPUTS, _OUTPUTS, _STATE, Where("config/tasks.yaml", 3, 9, "write.when"))
    what = f"config/tasks.yaml:3:9: write.when: the condition `{text}` cannot be decided: {said}"
    assert str(caught.value) == what
    assert caught.value.fixes()
    assert "all ok" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "a and b", "outputs", "x" * (MOST_CHARACTERS + 1), "(" * 40 + "1" + ")" * 40])
def test_a_wrong_expression_is_not_worked_out(text: str) -> None:
    assert check_condition(text)[0]
    with pytest.raises(AppError) as caught:
        _evaluate(text)
    assert caught.value.fixes()


def test_a_number_that_cel_cannot_hold_is_an_error_and_no_traceback() -> None:
    with pytest.raises(AppError, match="cannot be decided"):
        evaluate("inputs.big > 1", {"big": 2**70}, {}, {})


def test_only_what_is_read_is_looked_at() -> None:
    assert evaluate("outputs.a == 1", {}, {"a": 1, "b": object()}, {}) is True


_CEL = st.text(alphabet="inputs.ou =&|!<>()[]{}'x1,?:+-*/%\\\"\n", max_size=40)


@settings(max_examples=300, deadline=None)
@given(_CEL)
@example("!" * 400 + "true")
@example("true" + " && true" * 120)
@example("inputs" + ".a" * 300)
@example("inputs.x.map(a, inputs.x.map(b, inputs.x.map(c, c)))")
@example("[1,2,3].map(x)")
@example("''''''")
@example("b'\\xff'")
@example("-9223372036854775809")
@example("1u == 1")
@example("{1: 2}")
@example("has()")
@example(".inputs.x")
@example("Foo{a: 1}")
@example("r'\\d' == ''")
def test_no_text_breaks_it(text: str) -> None:
    problem, names = check_condition(text)
    assert all(name.split(".")[0] in ("inputs", "outputs", "state") for name in names)
    values: tuple[dict[str, Any], ...] = ({"x": [1, 2]}, {"x": {"x": 1}}, {})
    if problem:
        with pytest.raises(AppError) as caught:
            evaluate(text, *values)
        assert caught.value.fixes()
        assert "\n" not in str(caught.value)
    else:
        with contextlib.suppress(AppError):
            json.dumps(evaluate(text, *values))


def test_a_project_without_conditions_does_not_import_cel() -> None:
    code = (
        "import sys, project.load, project.conditions, project.schema\n"
        "assert 'celpy' not in sys.modules and 'lark' not in sys.modules\n"
        "project.conditions.check_condition('1 < 2')\n"
        "print('celpy' in sys.modules, 'crewai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
