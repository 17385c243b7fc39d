"""A task done for each entry of a list: side by side within a width, joined in order, kept where others fail."""

import json
from typing import Any

import pytest

from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons
from tests.runs.scene import said_to_model, step_names, tool_file, write_project
from tests.scripted_server import ScriptedServer

STEPS = {"steps": "list[str]"}


def write_each(lab: Lab, entries: list[str], **keys: Any) -> None:
    """Write a task that plans these entries and one that is done for each; `keys` are the latter's."""
    usual: dict[str, Any] = {
        "description": "@answer: did {item} as {number}",
        "for_each": "outputs.plan.steps",
        "context": [],
    }
    plan = {"description": f"@answer: {json.dumps({'steps': entries})}", "output": STEPS}
    write_project(lab, {"plan": plan, "each": usual | keys})


def faults_for(*words: str) -> list[dict[str, Any]]:
    return [{"fault": "400", "match": word} for word in words]


def test_results_stand_in_the_order_of_the_list_whoever_ends_first(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, ["a", "b", "c"])
    server.configure(latency="30", rates={"slow": 0.4}, slow_seconds=0.2)
    outcome = lab.run()
    assert outcome.output == "## a\n\ndid a as 1\n\n## b\n\ndid b as 2\n\n## c\n\ndid c as 3"
    assert part(lab, outcome.run_id, "each")["partial"] == []


@pytest.mark.parametrize("width", [1, 2, 5])
def test_no_more_than_the_width_are_under_way_at_once(lab: Lab, server: ScriptedServer, width: int) -> None:
    write_each(lab, list("abcdef"), for_each={"items": "outputs.plan.steps", "width": width})
    server.configure(latency="60")
    assert lab.run().status == "succeeded"
    assert server.stats()["peak_in_flight"] == width


def test_four_are_under_way_at_once_where_nothing_is_said(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, list("abcdef"))
    server.configure(latency="60")
    assert lab.run().status == "succeeded"
    assert server.stats()["peak_in_flight"] == 4


def test_with_a_contract_the_result_is_a_list_of_objects(lab: Lab) -> None:
    write_each(lab, ["a", "b"], description='@answer: {"name": "{item}", "place": {number}}', output={"name": "str",
               "place": "int"})  # fmt: skip
    outcome = lab.run()
    assert json.loads(outcome.output) == [{"name": "a", "place": 1}, {"name": "b", "place": 2}]
    assert lab.summary(outcome.run_id)["data"] == json.loads(outcome.output)


def test_fields_of_entries_fill_the_texts(lab: Lab, server: ScriptedServer) -> None:
    plan = {"parts": [{"title": "Intro", "words": 50}, {"title": "End", "words": 20}]}
    parts = {"parts": {"type": "list[object]", "fields": {"title": "str", "words": "int"}}}
    write_project(
        lab,
        {
            "plan": {"description": f"@answer: {json.dumps(plan)}", "output": parts},
            "each": {
                "description": "@answer: {item.title} in {item.words}",
                "for_each": "outputs.plan.parts",
                "context": [],
                "output_file": "out/{number}.md",
            },
        },
    )
    assert lab.run().output == "## Intro\n\nIntro in 50\n\n## End\n\nEnd in 20"
    assert [(lab.root / f"out/{number}.md").read_text() for number in (1, 2)] == ["Intro in 50\n", "End in 20\n"]


def test_an_entry_is_never_read_for_placeholders_again(lab: Lab) -> None:
    write_project(
        lab,
        {"each": {"description": "@answer: did {item}", "for_each": "[inputs.given]"}},
        crews={"team": {"tasks": ["each"], "inputs": {"given": {}}}},
    )
    assert lab.run("team", {"given": "{number}"}).output == "## {number}\n\ndid {number}"


def test_an_entry_cannot_lead_its_file_out_of_the_project(lab: Lab) -> None:
    write_each(lab, ["fine", "../../lost"], output_file="out/{item}.md")
    outcome = lab.run()
    assert (lab.root / "out" / "fine.md").read_text() == "did fine as 1\n"
    assert not (lab.root.parent / "lost.md").exists()
    (note,) = part(lab, outcome.run_id, "each")["partial"]
    assert note == "entry 2 (../../lost): output_file 'out/../../lost.md' leads out of the project"


def test_an_entry_that_fails_leaves_the_others_and_a_partial_result(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, ["a", "b", "c"])
    server.configure(faults=faults_for("did b"))
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "## a\n\ndid a as 1\n\n## c\n\ndid c as 3")
    (note,) = part(lab, outcome.run_id, "each")["partial"]
    assert note.startswith("entry 2 (b): the model 'default' did not answer: 400")
    assert lab.summary(outcome.run_id)["partial"] == [f"each: {note}"]


def test_with_a_contract_an_entry_that_fails_is_null(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, ["a", "b"], description='@answer: {"name": "{item}"}', output={"name": "str"})
    server.configure(faults=faults_for('{"name": "b"}'))
    assert json.loads(lab.run().output) == [{"name": "a"}, None]


def test_where_every_entry_counts_a_failed_one_fails_the_task_and_a_resume_does_only_that(
    lab: Lab, server: ScriptedServer
) -> None:
    write_each(lab, ["a", "b", "c"], for_each={"items": "outputs.plan.steps", "on_failure": "fail"})
    server.configure(faults=faults_for("did b"))
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("each: entry 2: the model 'default' did not answer: 400")
    assert outcome.fix == f"`muster runs resume {outcome.run_id}` tries the failed ones again"
    lab.restart()
    assert lab.resume(outcome.run_id).reason == outcome.reason
    server.configure(faults=[])
    assert lab.resume(outcome.run_id).output == "## a\n\ndid a as 1\n\n## b\n\ndid b as 2\n\n## c\n\ndid c as 3"
    stats = server.stats()
    assert (stats["attempts"], stats["paid_twice"]) == (4 + 2, 0)


def test_where_all_entries_fail_the_task_fails_and_a_resume_does_them_again(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, ["a", "b"])
    server.configure(faults=faults_for("did a", "did b"))
    outcome = lab.run()
    assert outcome.status == "failed"
    server.configure(faults=[])
    assert lab.resume(outcome.run_id).output == "## a\n\ndid a as 1\n\n## b\n\ndid b as 2"
    assert server.stats()["attempts"] == 5


def test_an_empty_list_gives_an_empty_result(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, [])
    assert lab.run().output == "(no entries)"
    assert server.stats()["attempts"] == 1


def test_what_is_no_list_fails_and_says_what_it_is(lab: Lab) -> None:
    write_each(lab, ["a"], for_each="outputs.plan.steps[0]")
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.endswith("each: `for_each` must give a list, got a text")
    assert outcome.fix == "name a field of type list"


def test_what_is_no_list_is_told_in_plain_words(lab: Lab) -> None:
    write_each(lab, ["a"], for_each="outputs.plan.steps[0]")
    assert lab.run().reason == "each: `for_each` must give a list, got a text"


def test_more_than_a_thousand_entries_are_refused_before_any_is_done(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, [str(number) for number in range(1001)])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.endswith("`for_each` gives 1001 entries; at most 1000")
    assert server.stats()["attempts"] == 1


def test_entries_of_a_list_written_in_the_expression_or_made_from_an_output(lab: Lab) -> None:
    write_each(lab, ["a", "b"], for_each="outputs.plan.steps.map(step, step + '!')")
    assert lab.run().output.startswith("## a!\n\ndid a! as 1")


def test_the_results_of_entries_are_a_list_for_what_comes_after(lab: Lab, server: ScriptedServer) -> None:
    plan = {"description": '@answer: {"steps": ["a", "b"]}', "output": STEPS}
    each: dict[str, Any] = {
        "description": '@answer: {"good": true}',
        "for_each": "outputs.plan.steps",
        "output": {"good": "bool"},
        "context": [],
    }
    after = {"description": "@answer: all good", "when": "outputs.each.all(one, one.good)", "context": ["each"]}
    write_project(lab, {"plan": plan, "each": each, "after": after})
    assert lab.run().output == "all good"
    assert '"good": true' in said_to_model(server.requests[-1]).partition("This is the context")[2]


def test_entries_may_be_tried_again_each_on_its_own(lab: Lab, server: ScriptedServer) -> None:
    write_each(
        lab,
        ["a", "b"],
        retry={"attempts": 2},
        guardrails=[{"matches": "did"}],
        guardrail_max_retries=0,
        description="@answer: {item}",
    )
    outcome = lab.run()
    assert outcome.status == "failed"
    assert [name for name in step_names(lab, outcome.run_id) if "model#" in name and "i2" in name] == [
        "each.i2.a1/worker/model#1",
        "each.i2.a2/worker/model#1",
    ]
    assert {entry["task"] for entry in reasons(lab, outcome.run_id, "retry")} == {"each"}


def test_a_crash_between_entries_does_no_entry_twice(lab: Lab, server: ScriptedServer) -> None:
    write_each(lab, ["a", "b", "c"], for_each={"items": "outputs.plan.steps", "width": 2})
    assert_survives_crashes(lab, server, most=6)


def test_a_crash_keeps_what_the_tools_of_entries_found(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    write_project(
        lab,
        {
            "each": {
                "description": '@call note {"text": "{item}"}\n@echo',
                "for_each": "['x', 'y']",
                "guardrails": ["claimed_calls"],
            }
        },
        {"tools": ["note"]},
    )
    assert part(lab, lab.run().run_id, "each")["output"] == "## x\n\nnoted x\n\n## y\n\nnoted y"
    assert_survives_crashes(lab, server)


def test_a_ceiling_reached_among_entries_stops_the_run_and_a_higher_one_goes_on(
    lab: Lab, server: ScriptedServer
) -> None:
    write_each(lab, ["a", "b", "c"], for_each={"items": "outputs.plan.steps", "width": 1})
    outcome = lab.run(budget=BudgetSpec(max_model_calls=2))
    assert outcome.status == "stopped"
    assert lab.resume(outcome.run_id, budget=BudgetSpec(max_model_calls=9)).status == "succeeded"
    stats = server.stats()
    assert (stats["attempts"], stats["paid_twice"]) == (4, 0)
