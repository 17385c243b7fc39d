"""Models without `max_tokens` under a ceiling: what was reserved for an answer is what the provider is told."""

import json
from decimal import Decimal
from typing import Any

import pytest

from project.spec import BudgetSpec
from runs.stored.tables import RUNS, TOTALS
from tests.cli.conftest import Muster
from tests.lab import Lab
from tests.runs.scene import crash_after, model_spec, write_project
from tests.scripted_server import Reply, ScriptedServer

ONE = {"work": "@answer: one"}
TWO = {"first": "@answer: one", "second": "@answer: two"}
PRICED = {"price": {"input": 1000, "output": 1000}}


@pytest.fixture(autouse=True)
def alone(lab: Lab) -> None:
    """Let no run of another test count into the totals of today and this month."""
    with lab.runner.database.begin() as connection:
        connection.execute(TOTALS.delete())
        connection.execute(RUNS.update().values(project="earlier"))


def limits(server: ScriptedServer) -> list[Any]:
    return [request.body.get("max_tokens") for request in server.requests]


def model_records(lab: Lab, run_id: str) -> list[dict[str, Any]]:
    return [dict(step.record) for step in lab.steps(run_id) if step.kind == "model"]


@pytest.mark.parametrize("ceiling", [{"max_usd": Decimal(100)}, {"max_tokens": 100_000}])
def test_the_request_carries_what_was_reserved(lab: Lab, server: ScriptedServer, ceiling: dict[str, Any]) -> None:
    model_spec(lab, server.base_url, **PRICED)
    write_project(lab, ONE)
    outcome = lab.run(budget=BudgetSpec(**ceiling))
    (record,) = model_records(lab, outcome.run_id)
    assert (outcome.output, limits(server), record["most_tokens"]) == ("one", [4096], 4096)


@pytest.mark.parametrize("ceiling", [{}, {"max_model_calls": 9, "max_tool_calls": 9, "max_seconds": 600}])
def test_without_a_ceiling_that_depends_on_it_nothing_is_sent(
    lab: Lab, server: ScriptedServer, ceiling: dict[str, Any]
) -> None:
    write_project(lab, ONE)
    outcome = lab.run(budget=BudgetSpec(**ceiling))
    assert (limits(server), "most_tokens" in model_records(lab, outcome.run_id)[0]) == ([None], False)


@pytest.mark.parametrize("more", [{"max_tokens": 700}, {"parameters": {"max_tokens": 700}}])
def test_what_models_yaml_says_holds(lab: Lab, server: ScriptedServer, more: dict[str, Any]) -> None:
    model_spec(lab, server.base_url, **more)
    write_project(lab, ONE)
    outcome = lab.run(budget=BudgetSpec(max_tokens=1000))
    assert (outcome.status, limits(server)) == ("succeeded", [700])
    assert "most_tokens" not in model_records(lab, outcome.run_id)[0]


def test_where_less_is_left_the_answer_is_shorter_and_then_refused(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO | {"third": "@answer: three"})
    outcome = lab.run(budget=BudgetSpec(max_tokens=460))
    first, second = limits(server)
    used = [sum(record["usage"][name] for name in ("input_tokens", "output_tokens")) for record in
            model_records(lab, outcome.run_id)]  # fmt: skip
    assert 256 <= second < first < 460
    assert second + used[0] < 460
    assert outcome.status == "stopped"
    assert outcome.reason.startswith("third: max_tokens: ")
    assert int(outcome.reason.partition("the next call may use ")[2].partition(",")[0]) - 256 in range(30, 256)


@pytest.mark.parametrize(
    "ceilings",
    [
        {"budgets": {"call": {"max_tokens": 1000}}},
        {"budgets": {"day": {"max_tokens": 1000}}},
        {"budgets": {"month": {"max_usd": 1}}},
    ],
)
def test_the_narrowest_ceiling_of_any_scope_says_how_long(
    lab: Lab, server: ScriptedServer, ceilings: dict[str, Any]
) -> None:
    model_spec(lab, server.base_url, **PRICED)
    write_project(lab, ONE)
    lab.write(policy=json.dumps(ceilings))
    assert lab.run(budget=BudgetSpec(max_tokens=50_000)).status == "succeeded"
    (limit,) = limits(server)
    assert 800 < limit < 1000


def test_the_window_has_room_for_the_answer(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, context_window=4000)
    write_project(lab, ONE)
    lab.run(budget=BudgetSpec(max_tokens=50_000))
    assert 3700 < limits(server)[0] < 4000


def test_tasks_side_by_side_wait_rather_than_cut_their_answers(lab: Lab, server: ScriptedServer) -> None:
    tasks: dict[str, Any] = {name: {"description": f"@answer: {name}", "context": []} for name in ("a", "b", "c")}
    write_project(lab, tasks)
    server.configure(latency="200")
    outcome = lab.run(budget=BudgetSpec(max_tokens=5000))
    assert (outcome.reason, outcome.status) == ("", "succeeded")
    assert limits(server) == [4096] * 3


def test_a_crash_makes_the_call_again_with_what_is_left_then(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    run_id = lab.run(budget=BudgetSpec(max_tokens=800)).run_id
    before = limits(server)
    crash_after(lab, run_id, "second", 0)
    assert lab.resume(run_id).output == "two"
    assert limits(server)[:2] == before
    assert 256 <= limits(server)[2] <= before[1]


def test_an_answer_that_was_cut_says_so_and_what_to_set(lab: Lab) -> None:
    write_project(lab, ONE)
    with ScriptedServer(lambda _messages, _tools: Reply("half of", finish="length")) as poor:
        lab.models(poor.base_url)
        outcome = lab.run(budget=BudgetSpec(max_tokens=100_000))
    assert outcome.reason == "work: the model's answer was cut off at its output limit, also when asked again"
    assert outcome.fix == "raise `max_tokens` of the model"
    assert list(outcome.warnings) == [
        "an answer of openai/scripted in work was cut off at 4096 tokens, which is what was reserved for it under a "
        "ceiling; set `max_tokens` of default in models.yaml"
    ]


def test_check_and_plan_tell_of_it(lab: Lab, muster: Muster) -> None:
    write_project(lab, ONE)
    assert "max_tokens" not in muster("check").err
    lab.write(policy=json.dumps({"budgets": {"month": {"max_tokens": 1000}}}))
    note = (
        "note: model default has no `max_tokens`: its answers end where what is reserved for them does, at 4096 tokens or "
        "earlier, under max_usd and max_tokens"
    )
    assert note in muster("check").err.splitlines()
    assert note in muster("plan", "default").err.splitlines()
    lab.models("http://127.0.0.1:1/v1", max_tokens=700)
    assert "max_tokens" not in muster("check").err
