"""Further attempts at a whole task: how many, by whom, with which reasons, and how sure an output must be."""

import re
from typing import Any

import pytest

from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons, rewind, rewind_to, set_pending
from tests.runs.scene import database, said_to_model, step_names, tool_file, write_project
from tests.scripted_server import Reply, ScriptedServer
from tests.server_script import scripted_reply

ROLES = {"worker": "Worker", "other": "Other", "third": "Third"}
RULE = {"guardrails": [{"matches": "good"}], "guardrail_max_retries": 0}


def script(messages: list[Any], tools: list[Any]) -> Reply:
    """Answer as the line `ROLE: text` of the task says; with two such lines, the second after failed attempts."""
    asked = str(next(message["content"] for message in messages if message["role"] == "user"))
    role = re.search(r"You are (\w+)", str(messages[0]["content"]))
    said = re.findall(rf"^{role[1] if role else ''}: (.*)$", asked, re.MULTILINE)
    if not said:
        body = {"messages": messages, "tools": [{"type": "function", "function": tool} for tool in tools]}
        return scripted_reply(body)
    failed = asked.partition("Earlier attempts")[2].count("\n- ")
    return Reply(said[min(failed, len(said) - 1)].replace("\\n", "\n"))


SCRIPT = script


def write_tried(lab: Lab, *said: str, **keys: Any) -> None:
    agents = {name: {"role": role, "goal": "Work", "backstory": "You work."} for name, role in ROLES.items()}
    write_project(lab, {"work": {"description": "\n".join(["Do it.", *said, ""]), **keys}}, agents=agents)


def test_a_first_attempt_that_is_good_is_the_only_one(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: good", retry={"attempts": 5}, **RULE)
    outcome = lab.run()
    assert (outcome.output, model.stats()["attempts"]) == ("good", 1)
    assert part(lab, outcome.run_id, "work")["attempts"] == [{"agent": "worker", "why": ""}]


def test_a_further_attempt_knows_why_the_one_before_it_failed(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Worker: good", retry=2, **RULE)
    outcome = lab.run()
    assert outcome.output == "good"
    told = said_to_model(model.requests[1])
    assert "Earlier attempts at this task were not good enough:\n- worker: the output was not accepted: " in told
    assert told.rstrip().endswith("Do better where they failed.")


def test_another_agent_tries_next_and_the_reason_is_journaled(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Other: good", retry={"attempts": 3, "agents": ["other", "third"]}, **RULE)
    outcome = lab.run()
    assert outcome.output == "good"
    (told,) = reasons(lab, outcome.run_id, "reassign")
    assert (told["task"], told["chosen"]) == ("work", "other")
    assert set(told["among"]) >= {"other", "third"}
    assert told["why"].startswith("worker: the output was not accepted: ")
    found = part(lab, outcome.run_id, "work")
    assert (found["agent"], [entry["agent"] for entry in found["attempts"]]) == ("other", ["worker", "other"])


def test_who_has_just_failed_is_not_among_those_to_choose_from(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Other: good", retry={"attempts": 3, "agents": ["other", "third"]}, **RULE)
    (told,) = reasons(lab, lab.run().run_id, "reassign")
    assert told["among"] == ["other", "third"]


def test_attempts_are_bounded_and_the_reasons_of_all_are_told(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Other: worse", retry={"attempts": 3, "agents": ["other"]}, **RULE)
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: 3 attempts failed: worker and other: the output was not accepted: ")
    assert [name for name in step_names(lab, outcome.run_id) if "model" in name] == [
        "work.a1/worker/model#1",
        "work.a2/other/model#1",
        "work.a3/worker/model#1",
    ]


def test_attempts_that_all_failed_say_what_can_be_done(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", retry=2, **RULE)
    outcome = lab.run()
    assert f"`muster runs resume {outcome.run_id}`" in outcome.fix


def test_a_reason_that_all_attempts_share_is_told_once(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", retry=3, **RULE)
    assert lab.run().reason.count("the output was not accepted") == 1


def test_a_resume_tries_again_as_often_and_repeats_no_attempt(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, *["Worker: bad"] * 3, "Worker: good", retry=2, **RULE)
    run_id = lab.run().run_id
    lab.restart()
    assert lab.resume(run_id).output == "good"
    assert model.stats()["attempts"] == 4
    assert [entry["chosen"] for entry in reasons(lab, run_id, "retry")] == ["worker"] * 3


def test_a_model_that_does_not_answer_is_a_failed_attempt(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Other: good", retry={"attempts": 2, "agents": ["other"]})
    model.configure(faults=[{"fault": "400", "match": "You are Worker"}])
    outcome = lab.run()
    assert outcome.output == "good"
    assert "did not answer" in reasons(lab, outcome.run_id, "reassign")[0]["why"]


def test_only_the_accepted_attempt_writes_the_file(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Other: good", retry={"agents": ["other"]}, output_file="out.md", **RULE)
    outcome = lab.run()
    assert (lab.root / "out.md").read_text() == "good\n"
    assert len([name for name in step_names(lab, outcome.run_id) if "file#" in name]) == 1


def test_a_crash_between_attempts_repeats_none(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: x\nConfidence: 0.1", r"Other: y\nConfidence: 0.2", r"Third: z\nConfidence: 0.9",
                output_file="out.md", min_confidence=0.5, retry={"attempts": 3, "agents": ["other", "third"]})  # fmt: skip
    assert_survives_crashes(lab, model, most=6)


def test_a_crash_right_after_a_refusal_gives_the_attempt_no_further_try(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Other: good", retry={"attempts": 2, "agents": ["other"]}, **RULE)
    run_id = lab.run().run_id
    lab.close()
    assert rewind_to(lab, run_id, "work.a1/judge/verdict#1") == 1
    model.reset()
    assert lab.resume(run_id).output == "good"
    assert model.stats()["attempts"] == 1


def test_a_crash_gives_no_further_attempts(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Worker: bad", "Worker: good", retry=2, **RULE)
    run_id = lab.run().run_id
    lab.close()
    # Its process died right before it gave up: its attempts are finished, it is not.
    with database(lab) as journal:
        journal.execute("delete from operation_outputs where function_name = 'work/give up#1'")
        set_pending(journal, run_id)
        set_pending(journal, f"{run_id}.work")
        journal.execute("update muster_runs set state = 'running', reason = '' where run_id = ?", (run_id,))
    journal.close()
    assert lab.resume(run_id).status == "failed"


def test_a_ceiling_is_no_failed_attempt(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: bad", "Other: good", retry={"attempts": 2, "agents": ["other"]}, **RULE)
    outcome = lab.run(budget=BudgetSpec(max_model_calls=1))
    assert outcome.status == "stopped"
    assert lab.resume(outcome.run_id, budget=BudgetSpec(max_model_calls=2)).output == "good"
    assert model.stats()["attempts"] == 2


# -- confidence


def test_an_agent_says_how_sure_it_is_and_the_line_is_taken_off(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: good\nConfidence: 0.8", min_confidence=0.5)
    outcome = lab.run()
    assert outcome.output == "good"
    assert "As the last line of your answer write `Confidence: N`" in said_to_model(model.requests[0])
    assert part(lab, outcome.run_id, "work")["confidence"] == {
        "value": 0.8,
        "measured": False,
        "from": ["said by the agent itself"],
    }


def test_too_little_confidence_goes_to_another_agent(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: one\nConfidence: 30%", r"Other: two\nConfidence: 0.9", min_confidence=0.6,
                retry={"agents": ["other"]})  # fmt: skip
    outcome = lab.run()
    assert outcome.output == "two"
    (told,) = reasons(lab, outcome.run_id, "reassign")
    assert told["why"] == "worker: confidence 0.3 (by its own word: said by the agent itself) is below 0.6"


def test_without_retry_too_little_confidence_fails_the_task(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: one\nConfidence: 0.3", min_confidence=0.6)
    outcome = lab.run()
    assert outcome.status == "failed"
    assert "confidence 0.3 (by its own word: said by the agent itself) is below 0.6" in outcome.reason
    assert model.stats()["attempts"] == 1


def test_one_attempt_is_told_in_the_singular(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: one\nConfidence: 0.3", min_confidence=0.6)
    assert "1 attempts" not in lab.run().reason


def test_what_was_measured_counts_and_not_what_the_agent_says(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: one bad\nConfidence: 1", min_confidence=0.6,
                guardrails=[{"matches": "good", "gate": "warn"}])  # fmt: skip
    outcome = lab.run()
    assert outcome.status == "failed"
    assert "confidence 0.5 (measured: 1 of 1 checks passed, 1 with a warning)" in outcome.reason


def test_an_agent_that_says_nothing_of_its_confidence_is_not_refused(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: good", min_confidence=0.6)
    outcome = lab.run()
    assert outcome.output == "good"
    assert part(lab, outcome.run_id, "work")["confidence"]["value"] is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("Confidence: 0.9", 0.9),
        ("**Confidence:** 90%", 0.9),
        ("confidence = 1", 1.0),
        ("Confidence: 0.9.", 0.9),
        ("_Confidence: 85 %_", 0.85),
    ],
)
def test_the_line_may_be_written_in_several_ways(lab: Lab, model: ScriptedServer, line: str, value: float) -> None:
    write_tried(lab, f"Worker: good\\n{line}", min_confidence=0.5)
    outcome = lab.run()
    assert (outcome.output, part(lab, outcome.run_id, "work")["confidence"]["value"]) == ("good", value)


def test_a_number_out_of_range_is_no_statement_and_does_not_stay_in_the_text(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: good\nConfidence: 7", min_confidence=0.5)
    outcome = lab.run()
    assert (outcome.output, part(lab, outcome.run_id, "work")["confidence"]["value"]) == ("good", None)


def test_a_contract_has_its_own_field_for_confidence(lab: Lab, model: ScriptedServer) -> None:
    fields = {"answer": "str", "confidence": {"type": "float", "minimum": 0, "maximum": 1}}
    write_tried(lab, 'Worker: {"answer": "x", "confidence": 0.2}', min_confidence=0.5, output=fields)
    outcome = lab.run()
    assert "Confidence: N" not in said_to_model(model.requests[0])
    assert outcome.status == "failed"
    assert "confidence 0.2" in outcome.reason


def test_unsupported_claims_lower_the_confidence(lab: Lab, model: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return "The bridge is 120 metres long."', 'effect="read"'))
    agents = {"worker": {"role": "W", "goal": "g", "backstory": "b", "tools": ["note"]}}
    work = '@call note {"text": "bridge"}\n@answer: The bridge is 120 metres long. The tower has 340 steps.'
    write_project(lab, {"work": work}, agents=agents)
    confidence = part(lab, lab.run().run_id, "work")["confidence"]
    assert confidence == {"value": 0.5, "measured": True, "from": ["1 of 2 claims supported"]}


def test_a_crash_around_confidence_decides_alike(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, r"Worker: one\nConfidence: 0.3", r"Other: two\nConfidence: 0.9", min_confidence=0.6,
                retry={"agents": ["other"]})  # fmt: skip
    assert_survives_crashes(lab, model, most=6)


def test_a_crash_before_the_first_attempt_makes_it_once(lab: Lab, model: ScriptedServer) -> None:
    write_tried(lab, "Worker: good", retry=2)
    run_id = lab.run().run_id
    lab.close()
    assert rewind(lab, run_id, 0) == 0
    assert lab.resume(run_id).output == "good"
    assert model.stats()["attempts"] == 2
