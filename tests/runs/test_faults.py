"""What providers do wrong: each attempt is a step with its reason, waits are kept, attempts are bounded."""

from typing import Any

import pytest

from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.scene import model_spec, said_to_model, step_names, write_project
from tests.scripted_server import ScriptedServer

WORK = {"work": "@answer: done"}
RETRIED = ("429", "429-date", "429-ms", "429-bare", "500", "502", "503", "drop", "truncate", "short", "malformed")


def errors(lab: Lab, run_id: str) -> list[dict[str, Any]]:
    return [step.record["error"] for step in lab.steps(run_id) if "error" in step.record]


@pytest.mark.parametrize("fault", [*RETRIED, "error-body", "empty-choices"])
def test_a_passing_fault_is_met_with_another_attempt(lab: Lab, server: ScriptedServer, fault: str) -> None:
    write_project(lab, WORK)
    server.configure(faults=[{"fault": fault, "attempts": [1]}], retry_after_seconds=0.05)
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "done")
    assert step_names(lab, outcome.run_id) == [
        "work/worker/model#1",
        "work/worker/backoff#1.1",
        "work/worker/model#1.2",
    ]
    (error,) = errors(lab, outcome.run_id)
    assert error["retryable"]
    assert error["message"]
    assert lab.summary(outcome.run_id)["tasks"][0]["retries"] == 1


def test_each_attempt_is_a_step_with_its_reason(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, WORK)
    server.configure(
        faults=[
            {"fault": "429-ms", "attempts": [1]},
            {"fault": "503", "attempts": [2]},
            {"fault": "drop", "attempts": [3]},
        ]
    )
    outcome = lab.run()
    assert outcome.output == "done"
    assert [(error["kind"], error["message"]) for error in errors(lab, outcome.run_id)] == [
        ("rate_limit", "429: Rate limit reached"),
        ("server", "503: The engine is currently overloaded"),
        ("connection", errors(lab, outcome.run_id)[2]["message"]),
    ]
    waits = [step.record for step in lab.steps(outcome.run_id) if step.kind == "backoff"]
    assert [wait["reason"] for wait in waits] == [error["message"] for error in errors(lab, outcome.run_id)]


def test_the_wait_that_a_provider_asks_for_is_kept(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, WORK)
    server.configure(faults=[{"fault": "429", "attempts": [1]}], retry_after_seconds=0.7)
    outcome = lab.run()
    (wait,) = [step.record for step in lab.steps(outcome.run_id) if step.kind == "backoff"]
    first, second = server.requests
    assert wait["seconds"] == 0.7
    assert first.answered_at is not None
    assert second.received_at - first.answered_at >= 0.7


def test_attempts_are_bounded(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, max_attempts=3)
    write_project(lab, WORK)
    server.configure(faults=[{"fault": "429-ms"}])
    outcome = lab.run()
    assert (outcome.status, outcome.reason) == (
        "failed",
        "work: the model 'default' did not answer after 3 attempts: 429: Rate limit reached",
    )
    assert server.stats()["attempts"] == 3


@pytest.mark.parametrize(
    ("fault", "reason", "fix"),
    [
        (
            "401",
            "the provider refused the key (401): Incorrect API key provided",
            "check OPENAI_API_KEY in the environment or .env",
        ),
        (
            "404",
            "the provider does not know openai/scripted: The model does not exist or is not yours to use",
            "check `model:` in models.yaml",
        ),
        ("400", "400: Invalid request", ""),
    ],
)
def test_what_no_waiting_mends_is_not_tried_again(
    lab: Lab, server: ScriptedServer, fault: str, reason: str, fix: str
) -> None:
    write_project(lab, WORK)
    server.configure(faults=[{"fault": fault}])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason == f"work: the model 'default' did not answer: {reason}"
    assert outcome.fix == fix
    assert server.stats()["attempts"] == 1


@pytest.mark.parametrize("fault", ["context-length", "context-size"])
def test_a_prompt_longer_than_the_window_says_what_to_change(lab: Lab, server: ScriptedServer, fault: str) -> None:
    model_spec(lab, server.base_url, context_window=900)
    write_project(lab, WORK)
    server.configure(faults=[{"fault": fault}])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert "the prompt is longer than the model's context window: " in outcome.reason
    assert outcome.fix == (
        "the window is taken to be 900 tokens (`context_window:` in models.yaml): use a model with a larger one, "
        "give the task less context (`context: [...]`), or its tools a smaller `limit`"
    )
    assert server.stats()["attempts"] == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_an_answer_that_never_ends_is_given_up_in_time(lab: Lab, server: ScriptedServer, fault: str) -> None:
    model_spec(lab, server.base_url, timeout_seconds=0.4)
    write_project(lab, WORK)
    server.configure(faults=[{"fault": fault, "attempts": [1]}], drip_seconds=0.05)
    outcome = lab.run()
    assert outcome.output == "done"
    (error,) = errors(lab, outcome.run_id)
    assert (error["kind"], error["message"]) == ("timeout", "no answer within 0.4 s")
    assert lab.steps(outcome.run_id)[0].seconds < 3


def test_the_time_of_a_task_is_kept(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"work": {"description": "@answer: done", "timeout_seconds": 1}})
    server.configure(faults=[{"fault": "hang"}])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: the task's time is up: 1")
    assert outcome.fix == "raise `timeout_seconds` of the task or `max_execution_time` of the agent"


def test_usage_of_failed_attempts_is_not_made_up(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, WORK)
    server.configure(faults=[{"fault": "429-ms", "attempts": [1, 2]}])
    found = lab.summary(lab.run().run_id)["usage"]
    stats = server.stats()
    assert found["model_calls"] == 3
    assert (found["input_tokens"], found["output_tokens"]) == (stats["prompt_tokens"], stats["completion_tokens"])


def test_a_third_of_faults_loses_no_run(lab: Lab, server: ScriptedServer) -> None:
    tasks = {f"task_{number}": f"@answer: {number} of {{topic}}" for number in range(5)}
    model_spec(lab, server.base_url, timeout_seconds=0.5, max_attempts=8)
    write_project(lab, tasks)
    server.configure(rates={"429-ms": 0.15, "429": 0.1, "drop": 0.05}, seed=3)
    ids = [lab.start(lab.plan(inputs={"topic": f"topic {number}"})) for number in range(4)]
    outcomes = [lab.runner.wait(run_id) for run_id in ids]
    assert [outcome.output for outcome in outcomes] == [f"4 of topic {number}" for number in range(4)]
    assert server.stats()["retried"] > 0
    attempts = sum("model#" in name for run_id in ids for name in step_names(lab, run_id))
    assert attempts == server.stats()["attempts"]


def test_a_retry_sends_the_same_prompt(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, WORK)
    server.configure(faults=[{"fault": "429-ms", "attempts": [1]}])
    lab.run(budget=BudgetSpec(max_model_calls=5))
    first, second = server.requests
    assert said_to_model(first) == said_to_model(second)
    assert first.call == second.call
