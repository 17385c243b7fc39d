"""Conditions: what is done, what is skipped, what a skipped task leaves to those after it, and why."""

import json
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, chosen, part, reasons
from tests.runs.scene import said_to_model, write_project
from tests.scripted_server import ScriptedServer

KINDS = {"kind": ["bug", "praise", "spam"]}


def write_router(lab: Lab, kind: str) -> None:
    """Write a crew that sorts, goes one of three ways, and brings the ways together."""
    write_project(
        lab,
        {
            "sort": {"description": f'@answer: {{"kind": "{kind}"}}', "output": KINDS},
            "mend": {"description": "@answer: mended", "when": "outputs.sort.kind == 'bug'", "context": []},
            "thank": {"description": "@answer: thanked", "when": "outputs.sort.kind == 'praise'", "context": []},
            "note": {"description": "@answer: noted", "context": ["mend", "thank"]},
        },
    )


@pytest.mark.parametrize(
    ("kind", "done", "read"),
    [("bug", ["mend"], "mended"), ("praise", ["thank"], "thanked"), ("spam", [], "")],
)
def test_a_router_takes_one_way_and_the_ways_meet_again(
    lab: Lab, server: ScriptedServer, kind: str, done: list[str], read: str
) -> None:
    write_router(lab, kind)
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "noted")
    status = {task["name"]: task["status"] for task in lab.summary(outcome.run_id)["tasks"]}
    assert status == {"sort": "done", "note": "done"} | {
        name: "done" if name in done else "skipped" for name in ("mend", "thank")
    }
    assert server.stats()["attempts"] == 2 + len(done)
    context = said_to_model(server.requests[-1]).partition("This is the context you're working with:")[2]
    assert [word for word in ("mended", "thanked") if word in context] == ([read] if read else [])


def test_each_branch_says_why_it_was_taken_or_not(lab: Lab) -> None:
    write_router(lab, "bug")
    told = reasons(lab, lab.run().run_id, "branch")
    assert [(entry["task"], entry["chosen"], entry["why"]) for entry in sorted(told, key=lambda one: one["task"])] == [
        ("mend", "run", "`outputs.sort.kind == 'bug'` is true"),
        ("thank", "skip", "`outputs.sort.kind == 'praise'` is false"),
    ]
    assert {tuple(entry["among"]) for entry in told} == {("run", "skip")}
    assert {tuple(entry["evidence"]) for entry in told} == {('outputs.sort = {"kind": "bug"}',)}
    assert {entry["by"] for entry in told} == {"rule"}


def test_a_crash_in_a_router_takes_the_same_way_again(lab: Lab, server: ScriptedServer) -> None:
    write_router(lab, "praise")
    assert_survives_crashes(lab, server, most=6)


def test_a_skipped_task_has_no_output_and_asks_no_model(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"first": "@answer: one", "second": {"description": "@answer: two", "when": "1 > 2"}})
    outcome = lab.run()
    assert outcome.output == "one"
    skipped = part(lab, outcome.run_id, "second")
    assert (skipped["status"], skipped["output"], skipped["usage"]["model_calls"]) == ("skipped", "", 0)
    assert server.stats()["attempts"] == 1


def test_a_run_whose_tasks_are_all_skipped_says_nothing(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"only": {"description": "@answer: one", "when": "1 > 2"}})
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "")
    assert server.stats()["attempts"] == 0


def test_the_output_of_a_skipped_task_is_null_in_later_conditions(lab: Lab) -> None:
    write_project(
        lab,
        {
            "sort": {"description": '@answer: {"kind": "spam"}', "output": KINDS, "when": "1 > 2"},
            "yes": {"description": "@answer: yes", "when": "outputs.sort == null"},
            "no": {"description": "@answer: no", "when": "outputs.sort != null && outputs.sort.kind == 'bug'"},
        },
    )
    outcome = lab.run()
    assert outcome.output == "yes"
    assert chosen(lab, outcome.run_id, "branch", "no") == ["skip"]


def test_a_field_of_a_skipped_task_cannot_be_read_and_the_reason_says_so(lab: Lab) -> None:
    write_project(
        lab,
        {
            "sort": {"description": '@answer: {"kind": "spam"}', "output": KINDS, "when": "1 > 2"},
            "yes": {"description": "@answer: yes", "when": "outputs.sort.kind == 'bug'"},
        },
    )
    outcome = lab.run()
    assert outcome.status == "failed"
    assert "`sort` was skipped" in outcome.reason
    assert "outputs.sort != null" in outcome.fix


def write_no_condition(lab: Lab) -> None:
    write_project(
        lab,
        {"first": "@answer: one {topic}", "work": {"description": "@answer: two", "when": "inputs.topic"}},
    )


def test_the_reason_of_a_wrong_condition_names_its_task_once(lab: Lab) -> None:
    write_no_condition(lab)
    assert lab.run(inputs={"topic": "solar"}).reason == 'work: `when` must come to true or false, got "solar"'


def test_a_condition_that_is_no_condition_fails_with_the_value_and_a_fix(lab: Lab, server: ScriptedServer) -> None:
    write_no_condition(lab)
    outcome = lab.run(inputs={"topic": "solar"})
    assert (outcome.status, outcome.fix) == ("failed", "compare with `==`, `!=`, `<` or `>`")
    assert outcome.reason.endswith('work: `when` must come to true or false, got "solar"')
    lab.restart()
    assert lab.resume(outcome.run_id).reason == outcome.reason
    assert server.stats()["attempts"] == 1


def test_a_condition_reads_inputs_as_their_types(lab: Lab) -> None:
    write_project(
        lab,
        {"work": "@answer: {depth}", "deep": {"description": "@answer: deep", "when": "inputs.depth >= 1.5"}},
        crews={"team": {"tasks": ["work", "deep"], "inputs": {"depth": {"type": "integer"}}}},
    )
    assert lab.run("team", {"depth": "2"}).output == "deep"
    assert lab.run("team", {"depth": "1"}).output == "1"


def test_a_skipped_task_writes_no_file_asks_nobody_and_is_not_done_for_entries(lab: Lab) -> None:
    never: dict[str, Any] = {"when": "1 > 2", "context": []}
    write_project(
        lab,
        {
            "file": {"description": "@answer: x", "output_file": "out.md", **never},
            "person": {"description": "Say it", "agent": "human", **never},
            "each": {"description": "@answer: {item}", "for_each": "[1, 2]", **never},
            "last": {"description": "@answer: end", "context": ["file", "person", "each"]},
        },
    )
    outcome = lab.run()
    assert outcome.output == "end"
    assert not (lab.root / "out.md").exists()
    statuses = [task["status"] for task in lab.summary(outcome.run_id)["tasks"]]
    assert statuses == ["skipped", "skipped", "skipped", "done"]


def test_a_task_does_not_wait_for_branches_that_it_does_not_read(lab: Lab) -> None:
    write_project(
        lab,
        {
            "slow": {"description": "Say it", "agent": "human", "async_execution": True},
            "quick": {"description": "@answer: quick", "context": []},
        },
    )
    outcome = lab.run()
    assert outcome.status == "waiting"
    assert part(lab, outcome.run_id, "quick")["output"] == "quick"


def test_the_contract_of_a_router_is_an_object_in_conditions(lab: Lab) -> None:
    steps = {"steps": "list[str]", "score": "float"}
    write_project(
        lab,
        {
            "plan": {"description": f"@answer: {json.dumps({'steps': ['a', 'b'], 'score': 1})}", "output": steps},
            "many": {"description": "@answer: many", "when": "size(outputs.plan.steps) > 1 && outputs.plan.score < 2"},
        },
    )
    assert lab.run().output == "many"
