"""Crews in order, and crews that do a task as an agent would: inputs, outputs, failures, crashes."""

import json
from typing import Any

import pytest

from project.errors import ConfigErrors
from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons
from tests.runs.scene import said_to_model, step_names, write_project
from tests.scripted_server import ScriptedServer

PLAN = {
    "description": '@answer: {"title": "About {topic}", "parts": ["a", "b"], "meta": {"depth": 2}}',
    "output": {"title": "str", "parts": "list[str]", "meta": {"depth": "int"}},
}
WRITE = "@answer: written: {outline}"


def write_pipeline(lab: Lab, given: dict[str, Any] | None = None, write: Any = WRITE) -> None:
    """Write a pipeline of two crews; `given` maps the inputs of the second."""
    write_project(
        lab,
        {"plan": PLAN, "write": write},
        crews={
            "first": {"tasks": ["plan"]},
            "second": {"tasks": ["write"]},
            "both": {"crews": ["first", {"crew": "second", "inputs": given or {"outline": "{first.title}"}}]},
        },
    )


def test_the_result_of_a_crew_goes_into_the_next(lab: Lab, server: ScriptedServer) -> None:
    write_pipeline(lab)
    outcome = lab.run("both", {"topic": "rain"})
    assert (outcome.status, outcome.output) == ("succeeded", "written: About rain")
    assert step_names(lab, outcome.run_id) == [
        "first/inputs",
        "first.plan/worker/model#1",
        "first.plan/judge/verdict#1",
        "second/inputs",
        "second.write/worker/model#1",
    ]
    assert [task["name"] for task in lab.summary(outcome.run_id)["tasks"]] == ["first.plan", "second.write"]


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{first.meta.depth} of {topic}", "2 of rain"),
        ("{first.parts}", '["a", "b"]'),
        ("only text", "only text"),
    ],
)
def test_inputs_of_a_stage_may_be_fields_inputs_and_texts(lab: Lab, text: str, filled: str) -> None:
    write_pipeline(lab, {"outline": text})
    assert lab.run("both", {"topic": "rain"}).output == f"written: {filled}"


def test_a_whole_result_may_be_given_on(lab: Lab, server: ScriptedServer) -> None:
    write_pipeline(lab, {"outline": "{first}"}, "Write from {outline}\n@answer: done")
    assert lab.run("both", {"topic": "rain"}).output == "done"
    assert '"title": "About rain"' in said_to_model(server.requests[-1])


def test_inputs_of_the_same_name_pass_by_themselves(lab: Lab) -> None:
    write_pipeline(lab, write="@answer: {outline} and {topic}")
    assert lab.run("both", {"topic": "rain"}).output == "About rain and rain"


def test_an_output_is_never_read_for_placeholders(lab: Lab) -> None:
    write_pipeline(lab, {"outline": "{topic}!"})
    assert lab.run("both", {"topic": "{first.title}"}).output == "written: {first.title}!"


def test_a_failure_names_the_crew_and_the_task_and_a_resume_goes_on_there(lab: Lab, server: ScriptedServer) -> None:
    write_pipeline(lab)
    server.configure(faults=[{"fault": "400", "match": "written"}])
    outcome = lab.run("both", {"topic": "rain"})
    assert outcome.status == "failed"
    assert outcome.reason.startswith("second.write: the model 'default' did not answer")
    server.configure(faults=[])
    lab.restart()
    assert lab.resume(outcome.run_id).output == "written: About rain"
    stats = server.stats()
    assert (stats["ok"], stats["paid_twice"]) == (2, 0)


def test_a_failure_names_its_place_once(lab: Lab, server: ScriptedServer) -> None:
    write_pipeline(lab)
    server.configure(faults=[{"fault": "400", "match": "written"}])
    assert lab.run("both", {"topic": "rain"}).reason.startswith("second.write: the model")


def test_a_stage_whose_input_does_not_fit_says_which(lab: Lab) -> None:
    write_project(
        lab,
        {"plan": PLAN, "write": "@answer: {count}"},
        crews={
            "first": {"tasks": ["plan"]},
            "second": {"tasks": ["write"], "inputs": {"count": {"type": "integer"}}},
            "both": {"crews": ["first", {"crew": "second", "inputs": {"count": "{first.title}"}}]},
        },
    )
    outcome = lab.run("both", {"topic": "rain"})
    assert outcome.status == "failed"
    assert "count" in outcome.reason
    assert "About rain" in outcome.reason


def test_who_does_what_in_every_crew_is_told(lab: Lab) -> None:
    write_pipeline(lab)
    routes = reasons(lab, lab.run("both", {"topic": "rain"}).run_id, "route")
    assert [(entry["task"], entry["chosen"]) for entry in routes] == [
        ("first", "crew first"),
        ("first.plan", "worker"),
        ("second", "crew second"),
        ("second.write", "worker"),
    ]


def test_one_budget_holds_for_all_crews(lab: Lab, server: ScriptedServer) -> None:
    write_pipeline(lab)
    outcome = lab.run("both", {"topic": "rain"}, budget=BudgetSpec(max_model_calls=1))
    assert outcome.status == "stopped"
    assert lab.resume(outcome.run_id, budget=BudgetSpec(max_model_calls=2)).output == "written: About rain"
    assert server.stats()["paid_twice"] == 0


def test_what_is_partial_in_one_crew_is_told_of_the_whole(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {
            "each": {"description": "@answer: did {item}", "for_each": "['a', 'b']"},
            "write": "@answer: end\nFrom {outline}",
        },
        crews={
            "first": {"tasks": ["each"]},
            "second": {"tasks": ["write"]},
            "both": {"crews": ["first", {"crew": "second", "inputs": {"outline": "{first}"}}]},
        },
    )
    server.configure(faults=[{"fault": "400", "match": "did b$"}, {"fault": "400", "match": "@answer: did b"}])
    outcome = lab.run("both")
    assert outcome.output == "end"
    (note,) = lab.summary(outcome.run_id)["partial"]
    assert note.startswith("first: each: entry 2 (b): ")


def test_a_crew_may_be_a_pipeline_of_pipelines(lab: Lab) -> None:
    write_project(
        lab,
        {"one": "@answer: 1{topic}", "two": "@answer: 2{topic}", "three": "@answer: 3{topic}"},
        crews={
            "a": {"tasks": ["one"]},
            "b": {"tasks": ["two"]},
            "ab": {"crews": ["a", {"crew": "b", "inputs": {"topic": "{a}"}}]},
            "c": {"tasks": ["three"]},
            "all": {"crews": ["ab", {"crew": "c", "inputs": {"topic": "{ab}"}}]},
        },
    )
    outcome = lab.run("all", {"topic": "x"})
    assert outcome.output == "321x"
    assert "ab.b.two/worker/model#1" in step_names(lab, outcome.run_id)


def test_a_crash_in_a_pipeline_repeats_nothing(lab: Lab, server: ScriptedServer) -> None:
    write_pipeline(lab, {"outline": "{first.title}"}, "@answer: written: {outline}")
    lab.write(crews=CREWS_WITH_DEFAULT)
    assert_survives_crashes(lab, server, crew="both", most=5)


CREWS_WITH_DEFAULT = json.dumps(
    {
        "first": {"tasks": ["plan"], "inputs": {"topic": {"default": "rain"}}},
        "second": {"tasks": ["write"]},
        "both": {
            "crews": ["first", {"crew": "second", "inputs": {"outline": "{first.title}"}}],
            "inputs": {"topic": {"default": "rain"}},
        },
    }
)


# -- a crew as an agent


def write_inner(lab: Lab, work: dict[str, Any] | None = None, inner: Any = "@answer: inner end") -> None:
    """Write a crew `team` whose task `work` is done by the crew `inner`, of two tasks."""
    usual = {"description": "Look into {topic}", "agent": "inner", "expected_output": "A report."}
    write_project(
        lab,
        {
            "before": "@answer: before",
            "work": usual | (work or {}),
            "find": "About: {task}\n@answer: found",
            "end": inner,
        },
        crews={
            "team": {"tasks": ["before", "work"], "inputs": {"topic": {"default": "rain"}}},
            "inner": {"tasks": ["find", "end"], "inputs": {"task": {}}},
        },
    )


def test_a_crew_does_a_task_with_its_description_as_input(lab: Lab, server: ScriptedServer) -> None:
    write_inner(lab)
    outcome = lab.run("team")
    assert outcome.output == "inner end"
    told = said_to_model(server.requests[1])
    assert "About: Look into rain\n\nExpected: A report.\n\nbefore" in told
    assert step_names(lab, outcome.run_id) == [
        "before/worker/model#1",
        "work/inputs",
        "work.find/worker/model#1",
        "work.end/worker/model#1",
    ]
    found = part(lab, outcome.run_id, "work")
    assert (found["agent"], found["status"], found["usage"]["model_calls"]) == ("inner", "done", 2)


def test_the_contract_of_a_task_holds_for_a_crew(lab: Lab) -> None:
    write_inner(lab, {"output": {"count": "int"}}, {"description": '@answer: {"count": 3}', "output": {"count": "int"}})
    assert json.loads(lab.run("team").output) == {"count": 3}


def test_a_crew_that_breaks_the_contract_fails_with_the_reason(lab: Lab) -> None:
    write_inner(lab, {"output": {"count": "int"}})
    outcome = lab.run("team")
    assert outcome.status == "failed"
    assert "the crew inner broke the contract: " in outcome.reason


def test_a_crew_that_broke_the_contract_is_asked_again_by_a_resume(lab: Lab, server: ScriptedServer) -> None:
    write_inner(lab, {"output": {"count": "int"}})
    run_id = lab.run("team").run_id
    calls = server.stats()["attempts"]
    lab.resume(run_id)
    assert server.stats()["attempts"] > calls


def test_the_guardrails_of_a_task_hold_for_a_crew(lab: Lab) -> None:
    write_inner(lab, {"guardrails": [{"matches": "something else"}]})
    assert lab.run("team").status == "failed"


def test_the_review_of_a_task_that_a_crew_does_is_refused(lab: Lab) -> None:
    agents = {name: {"role": name.title(), "goal": "g", "backstory": "b"} for name in ("worker", "boss")}
    write_inner(lab, {"review": {"by": "boss"}})
    lab.write(agents=json.dumps(agents))
    with pytest.raises(ConfigErrors, match="a crew does this task, and `review` is for agents"):
        lab.run("team")


def test_the_file_of_a_task_that_a_crew_does_is_written(lab: Lab) -> None:
    write_inner(lab, {"output_file": "out.md"})
    assert lab.run("team").output == "inner end"
    assert (lab.root / "out.md").read_text() == "inner end\n"


def test_what_a_crew_writes_into_the_state_is_there(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {
            "work": {"description": "Count", "agent": "inner", "output": {"count": "int"}, "writes": ["count"]},
            "use": {"description": "@answer: used", "reads": ["count"], "context": []},
            "end": {"description": '@answer: {"count": 3}\nFor {task}', "output": {"count": "int"}},
        },
        crews={
            "team": {"tasks": ["work", "use"], "state": {"count": "int"}},
            "inner": {"tasks": ["end"], "inputs": {"task": {}}},
        },
    )
    assert lab.run("team").output == "used"
    assert '"count": 3' in said_to_model(server.requests[-1])


def test_a_crew_may_be_tried_again(lab: Lab, server: ScriptedServer) -> None:
    write_inner(lab, {"retry": {"attempts": 2, "agents": ["worker"]}})
    server.configure(faults=[{"fault": "400", "match": "About: "}])
    outcome = lab.run("team")
    assert outcome.status == "succeeded"
    assert part(lab, outcome.run_id, "work")["agent"] == "worker"


def test_a_crew_may_do_a_task_for_each_entry(lab: Lab) -> None:
    write_inner(lab, {"for_each": "['x', 'y']", "description": "Look into {item} of {topic}"})
    outcome = lab.run("team")
    assert outcome.output == "## x\n\ninner end\n\n## y\n\ninner end"
    assert "work.i2.find/worker/model#1" in step_names(lab, outcome.run_id)


def test_a_crash_in_a_crew_within_a_crew_repeats_nothing(lab: Lab, server: ScriptedServer) -> None:
    write_inner(lab, {"retry": {"attempts": 2, "agents": ["worker"]}})
    assert_survives_crashes(lab, server, crew="team", most=6)
