"""Order rules in real runs: what is out of order is not called, also not after a crash; what must be called is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.scene import crash_after, effects, step_names, write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall

TOOLS = '''
import os

from muster import tool


def _note(word: str) -> str:
    with open(os.environ["NOTED"], "a") as file:
        file.write(word + "\\n")
    return f"done {word}"


@tool(effect="write", repeat="safe")
def check(text: str) -> str:
    """Check it."""
    if text == "bad":
        raise ValueError("it cannot be checked")
    return _note("check")


@tool(effect="write", repeat="once")
def post(text: str) -> str:
    """Post it."""
    return _note("post")


@tool(effect="write", repeat="safe")
def draft(text: str) -> str:
    """Draft it."""
    return _note("draft")
'''
WORKER = {"tools": ["check", "post", "draft"]}


@pytest.fixture
def noted(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which the tools append what was done."""
    path = lab.root / "noted.txt"
    monkeypatch.setenv("NOTED", str(path))
    lab.write(tools__order_py=TOOLS)
    return path


def script(*calls: str, end: str = "@answer: ready") -> str:
    """Return a description that makes the model call these tools; `check:bad` gives the text `bad`."""
    lines = [call.partition(":") for call in calls]
    return "\n".join([*(f"@call {tool} {json.dumps({'text': text or 'x'})}" for tool, _, text in lines), end])


def order(lab: Lab, *rules: dict[str, Any]) -> None:
    lab.write(policy=json.dumps({"order": list(rules)}))


def refusals(lab: Lab, run_id: str) -> list[str]:
    return [step.record["refused"] for step in lab.steps(run_id) if step.record.get("refused") and step.kind == "tool"]


@pytest.mark.parametrize(
    ("rule", "calls", "done", "blocked"),
    [
        ({"tool": "post", "at_most": 1}, ["post", "post"], ["post"], "at most in this run"),
        ({"tool": "post", "after": ["check"]}, ["post", "check", "post"], ["check", "post"], "only after `check`"),
        ({"tool": "post", "after": ["check"]}, ["check:bad", "post"], [], "only after `check`"),
        ({"tool": "draft", "before": ["post"]}, ["draft", "post", "draft"], ["draft", "post"], "only before post"),
        ({"tool": "post", "never_with": ["draft"]}, ["post", "draft"], ["post"], "together with post"),
        ({"tool": "post", "never_with": ["draft"]}, ["draft", "post"], ["draft"], "together with draft"),
    ],
)
def test_a_call_out_of_order_is_not_made_and_the_agent_goes_on(
    lab: Lab, noted: Path, rule: dict[str, Any], calls: Sequence[str], done: list[str], blocked: str
) -> None:
    order(lab, rule)
    write_project(lab, {"work": script(*calls)}, WORKER)
    outcome = lab.run()
    assert (outcome.status, effects(noted)) == ("succeeded", done)
    (refused,) = refusals(lab, outcome.run_id)
    assert blocked in refused


def test_calls_of_other_tasks_count_within_the_run_and_not_within_the_task(lab: Lab, noted: Path) -> None:
    tasks = {"one": script("post"), "two": {"description": script("post"), "context": ["one"]}}
    order(lab, {"tool": "post", "at_most": 1})
    write_project(lab, tasks, WORKER)
    lab.run()
    assert effects(noted) == ["post"]
    order(lab, {"tool": "post", "at_most": 1, "per": "task"})
    lab.run()
    assert effects(noted) == ["post"] * 3


def test_after_a_crash_the_calls_made_before_still_count(lab: Lab, noted: Path) -> None:
    order(lab, {"tool": "check", "at_most": 2})
    write_project(lab, {"work": script("check", "check", "check")}, WORKER)
    run_id = lab.run().run_id
    names = [name for name in step_names(lab, run_id) if name.startswith("work/worker")]
    for steps in (names.index("work/worker/check#1") + 1, names.index("work/worker/check#2") + 2):
        crash_after(lab, run_id, "work", steps)
        assert lab.resume(run_id).status == "succeeded"
        assert len(refusals(lab, run_id)) == 1


# -- what must be called


def answering_too_early(messages: list[Any], _tools: list[Any]) -> Reply:
    """Answer at once; when that is not accepted, call the tool, then answer."""
    last = messages[-1]
    if last["role"] == "tool":
        return Reply("second")
    if "must be called" in str(last["content"]):
        return Reply("", (ToolCall("check", json.dumps({"text": "x"})),))
    return Reply("first")


def test_an_answer_is_sent_back_until_the_tool_was_called(lab: Lab, noted: Path) -> None:
    order(lab, {"tool": "check", "must_call": True})
    write_project(lab, {"work": "Write"}, WORKER)
    with ScriptedServer(answering_too_early) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert (outcome.status, outcome.output, effects(noted)) == ("succeeded", "second", ["check"])
        names = [name for name in step_names(lab, outcome.run_id) if "verdict" in name]
        assert names == ["work/judge/verdict#1", "work/judge/verdict#2"]
        noted.unlink()
        for steps in range(1, 6):
            crash_after(lab, outcome.run_id, "work", steps)
            assert lab.resume(outcome.run_id).output == "second"


def test_an_agent_that_never_calls_it_fails(lab: Lab, noted: Path) -> None:
    order(lab, {"tool": "check", "must_call": True})
    write_project(lab, {"work": {"description": "@answer: no", "guardrail_max_retries": 1}}, WORKER)
    outcome = lab.run()
    assert outcome.status == "failed"
    assert "the tool `check` must be called with success before you answer" in outcome.reason


def test_nothing_new_is_journaled_where_nothing_must_be_called(lab: Lab, noted: Path) -> None:
    order(lab, {"tool": "check", "must_call": True, "tasks": ["other"]}, {"tool": "post", "at_most": 3})
    write_project(lab, {"work": script("check"), "other": {"description": "@answer: b", "agent": "idle"}},
                  agents={"worker": {"role": "W", "goal": "G", "backstory": "B", **WORKER},
                          "idle": {"role": "I", "goal": "G", "backstory": "B"}})  # fmt: skip
    outcome = lab.run()
    assert outcome.status == "succeeded"
    assert not [name for name in step_names(lab, outcome.run_id) if "verdict" in name]
