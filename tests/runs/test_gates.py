"""What a broken check does: fail the task, send the output back, or only warn; and drift from the crew's goal."""

import json
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, chosen, part, reasons
from tests.runs.scene import said_to_model, step_names, write_project
from tests.scripted_server import Reply, ScriptedServer
from tests.server_script import scripted_reply

GUARDRAIL = '''
from muster import guardrail


@guardrail
def polite(text: str) -> str:
    """Say please."""
    return "" if "please" in text else "say please"
'''


def script(messages: list[Any], _tools: list[Any]) -> Reply:
    """Judge that a text meets a demand when it has the demand's last word in it; write as directed."""
    if "You check a text against one demand" not in str(messages[0]["content"]):
        return scripted_reply({"messages": messages})
    demand, _, text = str(messages[1]["content"]).partition("\n\nThe text:\n")
    if "unjudgeable" in demand:
        return Reply("I cannot say")
    passed = demand.split()[-1] in text
    return Reply(json.dumps({"passed": passed, "reasons": [] if passed else [f"{demand.split()[-1]} is missing"]}))


SCRIPT = script


def write_gated(lab: Lab, description: str, *guardrails: Any, **keys: Any) -> None:
    write_project(lab, {"work": {"description": description, "guardrails": list(guardrails), **keys}})


# Each kind of check, broken by "bad" and kept by "please good".
CHECKS = {
    "rule": {"matches": "good"},
    "function": {"function": "polite"},
    "demand": {"text": "The text says good"},
}


@pytest.fixture(params=list(CHECKS))
def check(request: pytest.FixtureRequest, lab: Lab) -> dict[str, Any]:
    lab.write(guardrails__mine_py=GUARDRAIL)
    return CHECKS[request.param]


def test_fail_fails_the_task_at_once(lab: Lab, model: ScriptedServer, check: dict[str, Any]) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: please good", check | {"gate": "fail"})
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: the output was not accepted: ")
    assert outcome.fix == f"`muster runs trace {outcome.run_id}` shows every answer and verdict"
    assert len([name for name in step_names(lab, outcome.run_id) if "worker/model" in name]) == 1


def test_a_resume_after_fail_asks_the_agent_again_with_the_reasons(
    lab: Lab, model: ScriptedServer, check: dict[str, Any]
) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: please good", check | {"gate": "fail"})
    run_id = lab.run().run_id
    lab.restart()
    assert lab.resume(run_id).output == "please good"
    assert model.stats()["paid_twice"] == 0


def test_revise_sends_the_output_back(lab: Lab, model: ScriptedServer, check: dict[str, Any]) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: please good", check | {"gate": "revise"})
    assert lab.run().output == "please good"


def test_revise_is_what_happens_where_nothing_is_said(lab: Lab, model: ScriptedServer, check: dict[str, Any]) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: please good", check)
    assert lab.run().output == "please good"


def test_warn_takes_the_output_and_tells_the_warning(lab: Lab, model: ScriptedServer, check: dict[str, Any]) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: please good", check | {"gate": "warn"})
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "bad")
    (found,) = part(lab, outcome.run_id, "work")["checks"]
    assert (found["gate"], found["warned"], found["passed"], len(found["reasons"])) == ("warn", True, False, 1)


def test_a_warning_that_was_not_needed_is_none(lab: Lab, model: ScriptedServer, check: dict[str, Any]) -> None:
    write_gated(lab, "@answer: please good", check | {"gate": "warn"})
    (found,) = part(lab, lab.run().run_id, "work")["checks"]
    assert (found["passed"], found.get("warned")) == (True, None)


@pytest.mark.parametrize(
    ("gate", "told"),
    [("fail", ["failed"]), ("revise", ["sent back", "accepted"]), ("warn", ["accepted with warnings"])],
)
def test_what_a_gate_did_is_told_with_the_reason(lab: Lab, model: ScriptedServer, gate: str, told: list[str]) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: good", {"matches": "good", "gate": gate})
    found = reasons(lab, lab.run().run_id, "gate")
    assert [entry["chosen"] for entry in found] == told
    assert found[0]["why"] == "nothing in the text matches the regular expression 'good'; it must"
    assert found[0]["evidence"] == ["matches: not passed"]


def test_what_a_demand_decided_is_told(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: good", {"text": "The text says good"})
    assert chosen(lab, lab.run().run_id, "gate") == ["sent back", "accepted"]


def test_rules_and_demands_are_told_as_one_verdict(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: good", {"words": {"max": 9}}, {"text": "The text says good"})
    assert chosen(lab, lab.run().run_id, "gate") == ["sent back", "accepted"]


def test_a_check_that_fails_the_task_outweighs_one_that_sends_back(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad", {"words": {"min": 3}}, {"matches": "good", "gate": "fail"})
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith(
        "work: the output was not accepted: nothing in the text matches the regular expression 'good'; it must; "
    )


def test_only_what_sends_back_is_told_to_the_agent(lab: Lab, model: ScriptedServer) -> None:
    write_gated(
        lab,
        "@answer: bad\n@after-refusal: good",
        {"matches": "good"},
        {"forbidden_words": ["bad"], "gate": "warn"},
    )
    assert lab.run().output == "good"
    assert "forbidden" not in said_to_model(model.requests[-1])


def test_no_model_is_asked_about_a_text_that_broke_a_rule(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad\n@after-refusal: please good", {"matches": "good"}, {"text": "The text says please"})
    run_id = lab.run().run_id
    assert [name for name in step_names(lab, run_id) if "judge/model" in name] == ["work/judge/model#1"]


def test_a_demand_that_cannot_be_judged_is_not_met(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad", {"text": "It is unjudgeable"}, guardrail_max_retries=0)
    outcome = lab.run()
    assert outcome.reason == "work: the output was not accepted: could not be judged: It is unjudgeable"
    assert model.stats()["attempts"] == 4


def test_a_demand_that_cannot_be_judged_and_only_warns_is_told(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad", {"text": "It is unjudgeable", "gate": "warn"})
    outcome = lab.run()
    assert outcome.output == "bad"
    (found,) = part(lab, outcome.run_id, "work")["checks"]
    assert found["reasons"] == ["could not be judged: It is unjudgeable"]


def test_refused_answers_are_bounded(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad", {"matches": "good"}, guardrail_max_retries=2)
    assert lab.run().status == "failed"
    assert model.stats()["attempts"] == 3


def test_a_warning_halves_the_confidence(lab: Lab, model: ScriptedServer) -> None:
    write_gated(lab, "@answer: bad", {"matches": "good", "gate": "warn"})
    assert part(lab, lab.run().run_id, "work")["confidence"]["value"] == 0.5


def test_a_crash_around_gates_judges_alike(lab: Lab, model: ScriptedServer) -> None:
    write_gated(
        lab,
        "@answer: bad\n@after-refusal: please\n@after-refusal: please good",
        {"matches": "please|good"},
        {"text": "The text says good"},
        {"forbidden_words": ["good"], "gate": "warn"},
    )
    assert_survives_crashes(lab, model, most=5)


# -- the crew's goal


def write_goal(lab: Lab, description: str, goal: str = "Say all about {topic}", **keys: Any) -> None:
    write_project(
        lab,
        {"work": {"description": description, "check_goal": True, **keys}},
        crews={"team": {"tasks": ["work"], "goal": goal}},
    )


def test_an_output_that_drifts_from_the_goal_is_sent_back(lab: Lab, model: ScriptedServer) -> None:
    write_goal(lab, "@answer: about snow\n@after-refusal: about rain")
    outcome = lab.run("team", {"topic": "rain"})
    assert outcome.output == "about rain"
    assert "rain is missing" in said_to_model(model.requests[2])
    assert "does not drift from it: Say all about rain" in said_to_model(model.requests[1])


def test_an_output_that_keeps_to_the_goal_is_taken_at_once(lab: Lab, model: ScriptedServer) -> None:
    write_goal(lab, "@answer: about rain")
    outcome = lab.run("team", {"topic": "rain"})
    assert (outcome.output, model.stats()["attempts"]) == ("about rain", 2)
    (found,) = part(lab, outcome.run_id, "work")["checks"]
    assert found["passed"] is True


def test_drift_that_does_not_end_fails_the_task(lab: Lab, model: ScriptedServer) -> None:
    write_goal(lab, "@answer: about snow", guardrail_max_retries=1)
    outcome = lab.run("team", {"topic": "rain"})
    assert outcome.reason == "work: the output was not accepted: rain is missing"
    assert model.stats()["attempts"] == 4


def test_a_task_that_does_not_ask_for_it_is_not_held_against_the_goal(lab: Lab, model: ScriptedServer) -> None:
    write_goal(lab, "@answer: about snow", check_goal=False)
    assert lab.run("team", {"topic": "rain"}).output == "about snow"
    assert model.stats()["attempts"] == 1


def test_the_offline_model_judges_no_goal_and_says_so(lab: Lab, model: ScriptedServer) -> None:
    write_goal(lab, "Write about {topic}")
    run_id = lab.run("team", {"topic": "rain"}, model="offline").run_id
    (found,) = part(lab, run_id, "work")["checks"]
    assert found["not_judged"] is True


def test_each_entry_is_held_against_the_goal(lab: Lab, model: ScriptedServer) -> None:
    write_goal(lab, "@answer: {item}\n@after-refusal: rain", for_each="['rain', 'snow']")
    assert lab.run("team", {"topic": "rain"}).output == "## rain\n\nrain\n\n## snow\n\nrain"


def test_a_crash_while_the_goal_is_checked_judges_alike(lab: Lab, model: ScriptedServer) -> None:
    write_goal(lab, "@answer: about snow\n@after-refusal: about rain", "Say all about rain")
    assert_survives_crashes(lab, model, crew="team", most=5)


@pytest.mark.parametrize(("handed", "accepted"), [("", False), ("a text " * 100, True)])
def test_who_says_that_they_read_a_document_was_handed_one(
    lab: Lab, model: ScriptedServer, handed: str, accepted: bool
) -> None:
    tasks: dict[str, Any] = {"work": {"description": "@answer: I read the document about {topic}."}}
    tasks["work"] |= {"guardrails": [{"claimed_calls": True, "gate": "fail"}], "context": []}
    if handed:
        tasks = {"notes": f"@answer: {handed}", "work": tasks["work"] | {"context": ["notes"]}}
    write_project(lab, tasks)
    outcome = lab.run(inputs={"topic": "rain"})
    assert (outcome.status == "succeeded") is accepted, outcome.reason
