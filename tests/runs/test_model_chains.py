"""Models that stand in for each other: in the same conversation, journaled, and at their own price."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons
from tests.runs.scene import said_to_model, step_names, write_project
from tests.scripted_server import ScriptedServer

WORK = {"work": "@answer: done"}


@pytest.fixture(scope="module")
def _first() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def first(_first: ScriptedServer) -> ScriptedServer:
    """The server of the model `default`; that of the lab answers for the others."""
    _first.configure(latency="0", rates={}, faults=[], retry_after_seconds=0.01, context_window=0)
    _first.reset()
    return _first


class Both:
    """Two servers, counted as one."""

    def __init__(self, *servers: ScriptedServer) -> None:
        self._servers = servers

    def reset(self) -> None:
        for server in self._servers:
            server.reset()

    def stats(self) -> dict[str, int]:
        return {"attempts": sum(server.stats()["attempts"] for server in self._servers)}


def write_chain(lab: Lab, first: ScriptedServer, server: ScriptedServer, **default: Any) -> None:
    other = {"model": "openai/other", "base_url": server.base_url, "backoff_seconds": 0.01}
    own = {"model": "openai/own", "base_url": first.base_url, "max_attempts": 2, "backoff_seconds": 0.01}
    models = {
        "default": own | {"fallback": ["other"]} | default,
        "other": other,
        "third": other | {"model": "openai/third"},
    }
    lab.write(models=json.dumps(models))


def test_the_next_model_goes_on_when_the_attempts_of_one_are_used_up(
    lab: Lab, first: ScriptedServer, server: ScriptedServer
) -> None:
    write_chain(lab, first, server)
    write_project(lab, WORK)
    first.configure(faults=[{"fault": "503"}])
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "done")
    assert step_names(lab, outcome.run_id) == [
        "work/worker/model#1",
        "work/worker/backoff#1.1",
        "work/worker/model#1.2",
        "work/worker/model#1.3",
    ]
    steps = [step.record for step in lab.steps(outcome.run_id) if step.kind == "model"]
    assert [(step["asked"], step.get("next")) for step in steps] == [
        ("default", "default"),
        ("default", "other"),
        ("other", None),
    ]
    assert said_to_model(first.requests[0]) == said_to_model(server.requests[0])
    (told,) = reasons(lab, outcome.run_id, "fallback", "work")
    assert (told["chosen"], told["why"]) == ("model other", "default: 503: The engine is currently overloaded")
    assert part(lab, outcome.run_id, "work")["model"] == "other"
    assert outcome.partial == ()


@pytest.mark.parametrize("fault", ["401", "404", "400"])
def test_what_no_waiting_mends_is_asked_of_the_next_model_at_once(
    lab: Lab, first: ScriptedServer, server: ScriptedServer, fault: str
) -> None:
    write_chain(lab, first, server)
    write_project(lab, WORK)
    first.configure(faults=[{"fault": fault}])
    assert lab.run().output == "done"
    assert (first.stats()["attempts"], server.stats()["attempts"]) == (1, 1)


@pytest.mark.parametrize("fault", ["hang", "drop"])
def test_a_model_that_says_nothing_is_left(lab: Lab, first: ScriptedServer, server: ScriptedServer, fault: str) -> None:
    write_chain(lab, first, server, timeout_seconds=0.3)
    write_project(lab, WORK)
    first.configure(faults=[{"fault": fault}])
    assert lab.run().output == "done"
    assert first.stats()["attempts"] == 2


def test_only_what_retry_on_names_is_tried_again(lab: Lab, first: ScriptedServer, server: ScriptedServer) -> None:
    write_chain(lab, first, server, retry_on=["rate_limit"])
    write_project(lab, WORK)
    first.configure(faults=[{"fault": "503"}])
    assert lab.run().output == "done"
    assert first.stats()["attempts"] == 1


@pytest.mark.parametrize(("window", "status"), [(100_000, "succeeded"), (800, "failed")])
def test_a_prompt_that_is_too_long_goes_to_a_larger_window_only(
    lab: Lab, first: ScriptedServer, server: ScriptedServer, window: int, status: str
) -> None:
    write_chain(lab, first, server, context_window=900)
    models = json.loads((lab.root / "config" / "models.yaml").read_text())
    models["other"]["context_window"] = window
    lab.write(models=json.dumps(models))
    write_project(lab, WORK)
    first.configure(faults=[{"fault": "context-length"}])
    outcome = lab.run()
    assert outcome.status == status
    assert server.stats()["attempts"] == (status == "succeeded")


def test_the_conversation_stays_with_the_model_that_answered(
    lab: Lab, first: ScriptedServer, server: ScriptedServer
) -> None:
    write_chain(lab, first, server)
    write_project(lab, {"work": '@call calculator {"expression": "1+1"}\n@answer: done', "next": "@answer: next"},
                  {"tools": ["calculator"]})  # fmt: skip
    first.configure(faults=[{"fault": "401", "match": "calculator"}])
    outcome = lab.run()
    asked = [step.record["asked"] for step in lab.steps(outcome.run_id) if step.kind == "model"]
    assert asked == ["default", "other", "other", "default"]
    assert [part(lab, outcome.run_id, name)["model"] for name in ("work", "next")] == ["other", "default"]


def test_when_none_answers_all_are_told_and_a_resume_begins_with_the_first(
    lab: Lab, first: ScriptedServer, server: ScriptedServer
) -> None:
    write_chain(lab, first, server)
    write_project(lab, WORK)
    first.configure(faults=[{"fault": "503"}])
    server.configure(faults=[{"fault": "401"}])
    outcome = lab.run()
    assert outcome.reason == (
        "work: the model 'default' did not answer after 2 attempts: 503: The engine is currently overloaded; "
        "the model 'other' did not answer: the provider refused the key (401): Incorrect API key provided"
    )
    first.configure(faults=[])
    first.reset()
    server.reset()
    assert lab.resume(outcome.run_id).output == "done"
    assert (first.stats()["attempts"], server.stats()["attempts"]) == (1, 0)


def test_costs_and_ceilings_are_those_of_the_model_that_is_asked(
    lab: Lab, first: ScriptedServer, server: ScriptedServer
) -> None:
    write_chain(lab, first, server, price={"input": 1, "output": 1})
    models = json.loads((lab.root / "config" / "models.yaml").read_text())
    models["other"]["price"] = {"input": 1_000_000, "output": 0}
    lab.write(models=json.dumps(models))
    write_project(lab, WORK)
    first.configure(faults=[{"fault": "401"}])
    run_id = lab.run().run_id
    summary = lab.summary(run_id)
    assert float(summary["cost_usd"]) == summary["usage"]["input_tokens"]
    assert lab.run(budget=BudgetSpec(max_usd=Decimal(1))).status == "stopped"


def test_a_crash_anywhere_in_a_chain_repeats_no_answer(lab: Lab, first: ScriptedServer, server: ScriptedServer) -> None:
    write_chain(lab, first, server)
    write_project(lab, {"work": '@call calculator {"expression": "1+1"}\n@answer: done', "next": "@answer: next"},
                  {"tools": ["calculator"]})  # fmt: skip
    first.configure(faults=[{"fault": "503"}])
    both: Any = Both(first, server)
    assert_survives_crashes(lab, both, most=8)


def test_a_judge_and_a_reviewer_have_their_chain_too(lab: Lab, first: ScriptedServer, server: ScriptedServer) -> None:
    write_chain(lab, first, server)
    agents = {name: {"role": name, "goal": "Work", "backstory": "You work."} for name in ("worker", "critic")}
    review = '{"decision": "approve", "score": 9, "issues": []}'
    work = {"description": "@answer: done", "review": {"by": "critic", "criteria": [f"@answer: {review}"]}}
    write_project(lab, {"work": work}, agents=agents)
    first.configure(faults=[{"fault": "401"}])
    outcome = lab.run()
    asked = {
        step.record["asked"] for step in lab.steps(outcome.run_id) if "answer" in step.record and step.kind == "model"
    }
    assert asked == {"other"}


def test_old_journals_have_no_more_in_them(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, WORK)
    server.configure(faults=[{"fault": "503", "attempts": [1]}])
    for step in lab.steps(lab.run().run_id):
        assert not {"asked", "next"} & set(step.record)
