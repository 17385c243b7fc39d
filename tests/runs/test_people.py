"""Tasks that a person does: what is asked, what is not taken and why, waiting, and going on without asking twice."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons
from tests.runs.scene import said_to_model, step_names, write_project
from tests.scripted_server import ScriptedServer

FORM = {"name": "str", "age": {"type": "int", "minimum": 0}}
GUARDRAIL = '''
from muster import guardrail


@guardrail
def short(text: str) -> str:
    """At most ten characters."""
    return "" if len(text) <= 10 else "too long"
'''


def write_person(lab: Lab, **keys: Any) -> None:
    """Write a task of an agent, one of a person who reads it, and one of the agent that reads the person."""
    write_project(
        lab,
        {
            "draft": "@answer: a draft",
            "decide": {"description": "Say yes or no.", "expected_output": "One word.", "agent": "human"} | keys,
            "use": {"description": "@answer: used", "context": ["decide"]},
        },
    )


def answering(*said: str) -> tuple[Callable[[Any], str], list[Any]]:
    """Return a person who says this, the last again and again, and the questions that they are asked."""
    asked: list[Any] = []

    def answer(question: Any) -> str:
        asked.append(question)
        return said[min(len(asked), len(said)) - 1]

    return answer, asked


def test_a_person_is_asked_with_all_that_is_needed_and_the_answer_is_the_output(
    lab: Lab, server: ScriptedServer
) -> None:
    write_person(lab)
    person, asked = answering("  yes ")
    outcome = lab.run(ask=person)
    assert outcome.output == "used"
    (question,) = asked
    assert (question.task, question.prompt) == ("decide", "your answer")
    assert question.text.startswith("Say yes or no.\n\nExpected: One word.\n\n")
    assert question.text.endswith("a draft")
    assert "yes" in said_to_model(server.requests[-1]).partition("This is the context")[2]
    found = part(lab, outcome.run_id, "decide")
    assert (found["agent"], found["output"], found["model"]) == ("human", "yes", "")
    assert found["confidence"] == {"value": None, "measured": False, "from": ["given by a person"]}


def test_with_nobody_there_the_run_waits_and_asks_when_it_is_resumed(lab: Lab, server: ScriptedServer) -> None:
    write_person(lab)
    outcome = lab.run()
    assert (outcome.status, outcome.reason) == ("waiting", "decide: a person is asked: your answer")
    lab.restart()
    assert lab.resume(outcome.run_id).status == "waiting"
    person, asked = answering("no")
    assert lab.resume(outcome.run_id, ask=person).output == "used"
    assert len(asked) == 1
    stats = server.stats()
    assert (stats["attempts"], stats["paid_twice"]) == (2, 0)


def test_a_waiting_run_says_how_to_answer(lab: Lab) -> None:
    write_person(lab)
    outcome = lab.run()
    assert outcome.reason == "decide: a person is asked: your answer"
    assert f"`muster runs resume {outcome.run_id}`" in outcome.fix


def test_what_a_person_said_is_told_as_theirs(lab: Lab) -> None:
    write_person(lab)
    told = reasons(lab, lab.run(ask=lambda question: "yes").run_id, "question")
    assert [(entry["task"], entry["chosen"], entry["by"]) for entry in told] == [("decide", "yes", "person")]


def test_an_empty_answer_is_asked_for_again(lab: Lab) -> None:
    write_person(lab)
    person, asked = answering("", "  ", "yes")
    assert lab.run(ask=person).status == "succeeded"
    assert [question.prompt for question in asked] == [
        "your answer",
        "not taken: the answer is empty; your answer",
        "not taken: the answer is empty; your answer",
    ]


@pytest.mark.parametrize("said", ["name: Ada\nage: 36", '{"name": "Ada", "age": 36}', "{name: Ada, age: 36}"])
def test_a_form_may_be_filled_as_lines_or_as_json(lab: Lab, said: str) -> None:
    write_person(lab, output=FORM)
    person, asked = answering(said)
    run_id = lab.run(ask=person).run_id
    assert json.loads(part(lab, run_id, "decide")["output"]) == {"name": "Ada", "age": 36}
    assert asked[0].prompt == "your answer as {key: value, ...}"


@pytest.mark.parametrize("said", ["yes", "{sure: yes}", "sure: yes"])
def test_what_a_person_writes_is_what_they_mean_and_not_what_yaml_makes_of_it(lab: Lab, said: str) -> None:
    write_person(lab, output={"sure": {"choices": ["yes", "no"]}})
    person, asked = answering(said)
    run_id = lab.run(ask=person).run_id
    assert json.loads(part(lab, run_id, "decide")["output"]) == {"sure": "yes"}
    assert "- sure: yes or no" in asked[0].text
    assert "JSON" not in asked[0].text


def test_a_form_that_is_filled_wrongly_goes_back_with_the_reasons(lab: Lab) -> None:
    write_person(lab, output=FORM)
    person, asked = answering("name: Ada\nage: -1", "name: Ada\nage: 36")
    assert lab.run(ask=person).status == "succeeded"
    assert asked[1].prompt.startswith("not taken: ")
    assert "age" in asked[1].prompt
    assert asked[1].prompt.endswith("; your answer as {key: value, ...}")


def test_rules_hold_for_people_too(lab: Lab) -> None:
    write_person(lab, guardrails=[{"words": {"max": 2}}, {"forbidden_words": ["maybe"]}])
    person, asked = answering("maybe or maybe not", "yes")
    assert lab.run(ask=person).status == "succeeded"
    assert 'the word "maybe" is forbidden' in asked[1].prompt


def test_a_rule_that_only_warns_takes_the_answer(lab: Lab) -> None:
    write_person(lab, guardrails=[{"words": {"max": 1}, "gate": "warn"}])
    person, asked = answering("far too many words")
    assert lab.run(ask=person).status == "succeeded"
    assert len(asked) == 1


def test_a_rule_that_only_warns_is_told(lab: Lab) -> None:
    write_person(lab, guardrails=[{"words": {"max": 1}, "gate": "warn"}])
    run_id = lab.run(ask=lambda question: "far too many words").run_id
    assert part(lab, run_id, "decide")["checks"] != []


def test_functions_hold_for_people_too(lab: Lab) -> None:
    lab.write(guardrails__mine_py=GUARDRAIL)
    write_person(lab, guardrails=["short"])
    person, asked = answering("much too long for it", "short")
    lab.run(ask=person)
    assert len(asked) == 2


def test_the_answer_of_a_person_is_written_to_the_file_of_the_task(lab: Lab) -> None:
    write_person(lab, output_file="out.md")
    assert lab.run(ask=lambda question: "yes").status == "succeeded"
    assert (lab.root / "out.md").read_text() == "yes\n"


def test_the_answer_of_a_person_is_written_into_the_state(lab: Lab, server: ScriptedServer) -> None:
    write_project(
        lab,
        {
            "decide": {"description": "Say.", "agent": "human", "output": {"verdict": "str"}, "writes": ["verdict"]},
            "use": {"description": "@answer: used", "reads": ["verdict"], "context": []},
        },
        crews={"default": {"tasks": ["decide", "use"], "state": {"verdict": "str"}}},
    )
    assert lab.run(ask=lambda question: "verdict: fine").output == "used"
    assert '"verdict": "fine"' in said_to_model(server.requests[-1])


def test_answers_that_can_never_be_taken_end_the_run_and_a_resume_asks_again(lab: Lab) -> None:
    write_person(lab, output=FORM)
    person, asked = answering("never")
    outcome = lab.run(ask=person)
    assert outcome.status == "failed"
    assert "20 answers of a person could not be taken" in outcome.reason
    assert len(asked) == 20


def test_a_resume_asks_again_after_answers_that_could_not_be_taken(lab: Lab) -> None:
    write_person(lab, output=FORM)
    run_id = lab.run(ask=lambda question: "never").run_id
    assert lab.resume(run_id, ask=lambda question: "name: Ada\nage: 36").output == "used"


def test_two_people_are_asked_side_by_side(lab: Lab) -> None:
    tasks: dict[str, Any] = {
        name: {"description": f"Say {name}.", "agent": "human", "context": []} for name in ("a", "b")
    }
    write_project(lab, tasks)
    asked: list[str] = []
    outcome = lab.run(ask=lambda question: asked.append(question.task) or question.task)
    assert sorted(asked) == ["a", "b"]
    assert [task["output"] for task in lab.summary(outcome.run_id)["tasks"]] == ["a", "b"]


def test_a_person_may_be_asked_for_each_entry_of_a_list(lab: Lab) -> None:
    write_project(lab, {"each": {"description": "About {item}?", "agent": "human", "for_each": "['x', 'y']"}})
    outcome = lab.run(ask=lambda question: question.text.splitlines()[0])
    assert outcome.output == "## x\n\nAbout x?\n\n## y\n\nAbout y?"
    assert sorted(step_names(lab, outcome.run_id))[:2] == ["each.i1/human/answer#1", "each.i2/human/answer#1"]


def test_a_person_is_not_asked_again_after_a_crash(lab: Lab, server: ScriptedServer) -> None:
    write_person(lab, output=FORM)
    person, asked = answering("name: Ada\nage: 36")
    assert_survives_crashes(lab, server, most=6, ask=person)
    # By the run itself, and again by those of the six copies that were crashed before the answer was written.
    assert 1 < len(asked) < 6


def test_the_time_of_a_person_is_not_time_of_work(lab: Lab) -> None:
    write_person(lab)
    pause = threading.Event()
    outcome = lab.run(ask=lambda question: "yes" if not pause.wait(1.0) else "")
    assert lab.summary(outcome.run_id)["seconds"] < 0.95
