"""Ceilings of a run: the call that would pass one is not made; with a higher one the run goes on."""

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from project.errors import AppError
from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.scene import effects, tool_file, write_project
from tests.scripted_server import ScriptedServer

TWO = {"first": "@answer: one", "second": "@answer: two"}


def stop_and_go_on(lab: Lab, low: dict[str, Any], high: dict[str, Any]) -> tuple[str, Any]:
    """Run under the low ceiling, which must stop it, then resume under the high one; return the reason and the end."""
    outcome = lab.run(budget=BudgetSpec(**low))
    assert outcome.status == "stopped", outcome
    return outcome.reason, lab.resume(outcome.run_id, budget=BudgetSpec(**high))


def test_at_the_ceiling_of_model_calls_no_further_one_is_made(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    reason, outcome = stop_and_go_on(lab, {"max_model_calls": 1}, {"max_model_calls": 2})
    assert reason == (
        "second: max_model_calls: 1 of 1 used; raise it with --max-model-calls or `budget:` in crews.yaml"
    )
    assert (outcome.status, outcome.output, server.stats()["attempts"]) == ("succeeded", "two", 2)


def test_failed_attempts_count_as_model_calls(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    server.configure(faults=[{"fault": "429-ms"}])
    outcome = lab.run(budget=BudgetSpec(max_model_calls=2))
    assert (outcome.status, server.stats()["attempts"]) == ("stopped", 2)


def test_what_a_stopped_run_has_is_kept(lab: Lab) -> None:
    write_project(lab, TWO)
    run_id = lab.run(budget=BudgetSpec(max_model_calls=1)).run_id
    found = lab.summary(run_id)
    assert (found["status"], found["output"]) == ("stopped", None)
    assert [(task["status"], task["output"]) for task in found["tasks"]] == [("done", "one"), ("stopped", None)]
    assert (lab.runner.folder(run_id) / "outputs" / "first.md").read_text() == "one\n"


def test_at_the_ceiling_of_tool_calls_the_tool_is_not_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(noted))
    body = 'with open(os.environ["NOTED"], "a") as file:\n    file.write(text + "\\n")\nreturn "noted"'
    lab.write(tools__note_py=tool_file(body))
    work = '@call note {"text": "a"}\n@call note {"text": "b"}\n@answer: done'
    write_project(lab, {"work": work}, {"tools": ["note"]})
    outcome = lab.run(budget=BudgetSpec(max_tool_calls=1))
    assert (outcome.status, effects(noted)) == ("stopped", ["a"])
    assert outcome.reason == (
        "work: max_tool_calls: 1 of 1 used; raise it with --max-tool-calls or `budget:` in crews.yaml"
    )
    assert lab.resume(outcome.run_id, budget=BudgetSpec(max_tool_calls=2)).output == "done"
    assert effects(noted) == ["a", "b"]


def test_the_ceiling_of_tokens_reserves_prompt_and_answer_of_the_next_call(lab: Lab, server: ScriptedServer) -> None:
    lab.models(server.base_url, max_tokens=100)
    write_project(lab, TWO)
    # A call uses about 60 and may use 180: the second would pass the ceiling.
    reason, outcome = stop_and_go_on(lab, {"max_tokens": 200}, {"max_tokens": 100_000})
    used = server.stats()
    assert reason.startswith("second: max_tokens: ")
    assert reason.endswith("ceiling 200; raise it with --max-tokens or `budget:` in crews.yaml")
    assert (outcome.output, used["attempts"]) == ("two", 2)


def test_the_ceiling_in_dollars_reserves_the_worst_case(lab: Lab, server: ScriptedServer) -> None:
    lab.models(server.base_url, price="{input: 1000, output: 1000}", max_tokens=100)
    write_project(lab, TWO)
    # A call costs about 0.06 and may cost 0.16: the second would pass the ceiling.
    reason, outcome = stop_and_go_on(lab, {"max_usd": Decimal("0.2")}, {"max_usd": Decimal(10)})
    assert reason.startswith("second: max_usd: ")
    assert (outcome.output, server.stats()["attempts"]) == ("two", 2)


def test_a_ceiling_in_dollars_below_the_first_call_makes_none(lab: Lab, server: ScriptedServer) -> None:
    lab.models(server.base_url, price="{input: 1000, output: 1000}")
    write_project(lab, TWO)
    assert lab.run(budget=BudgetSpec(max_usd=Decimal("0.01"))).status == "stopped"
    assert server.stats()["attempts"] == 0


def test_a_ceiling_in_dollars_without_a_price_is_refused_before_anything_is_stored(lab: Lab) -> None:
    write_project(lab, TWO)
    with pytest.raises(AppError) as caught:
        lab.run(budget=BudgetSpec(max_usd=Decimal(1)), run_id="unpriced")
    assert str(caught.value) == "the price of openai/scripted is not known, so max_usd can't be kept"
    assert caught.value.fixes() == [
        "write `price: {input: N, output: N}` at default in models.yaml, in US dollars per million tokens"
    ]
    assert lab.runner.store.find("unpriced") is None


def test_a_ceiling_in_dollars_does_not_hold_up_the_offline_model(lab: Lab) -> None:
    lab.write(models='default: {model: "offline"}\n')
    write_project(lab, {"work": "Say what durable execution is"})
    assert lab.run(budget=BudgetSpec(max_usd=Decimal(1))).status == "succeeded"


def test_at_the_ceiling_of_seconds_the_run_stops(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    server.configure(slow_seconds=0.6, faults=[{"fault": "slow"}])
    outcome = lab.run(budget=BudgetSpec(max_seconds=0.9))
    assert outcome.status == "stopped"
    assert ": max_seconds: " in outcome.reason
    server.configure(faults=[])
    assert lab.resume(outcome.run_id, budget=BudgetSpec(max_seconds=60)).output == "two"


def test_no_call_may_last_longer_than_the_seconds_left(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, TWO)
    server.configure(faults=[{"fault": "hang"}])
    outcome = lab.run(budget=BudgetSpec(max_seconds=0.5))
    assert outcome.status == "stopped"
    assert lab.summary(outcome.run_id)["seconds"] < 5


def test_waiting_for_a_person_is_no_work(lab: Lab) -> None:
    write_project(lab, {"first": {"description": "@answer: one", "human_input": True}, "second": "@answer: two"})

    def think(_question: Any) -> str:
        until = time.monotonic() + 2.1
        while time.monotonic() < until:
            time.sleep(0.05)
        return ""

    assert lab.run(budget=BudgetSpec(max_seconds=2), ask=think).status == "succeeded"


def test_the_ceilings_of_the_crew_hold_without_an_option(lab: Lab, server: ScriptedServer) -> None:
    crews = json.dumps({"default": {"tasks": ["first", "second"], "budget": {"max_model_calls": 1}}})
    write_project(lab, TWO, crews=crews)
    assert lab.run().status == "stopped"
    assert server.stats()["attempts"] == 1


def test_tasks_side_by_side_share_the_ceiling(lab: Lab, server: ScriptedServer) -> None:
    tasks: dict[str, Any] = {name: {"description": f"@answer: {name}", "context": []} for name in ("a", "b", "c", "d")}
    write_project(lab, tasks)
    server.configure(latency="200")
    outcome = lab.run(budget=BudgetSpec(max_model_calls=2))
    assert outcome.status == "stopped"
    assert server.stats()["attempts"] == 2
