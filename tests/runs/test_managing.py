"""A hierarchical crew: what the manager is asked, what it decides, and what becomes of work that is not good enough."""

import json
from typing import Any

import pytest
import yaml

from tests.lab import Lab
from tests.runs.boss import AGENTS, BRIEF, boss, plan, subtask
from tests.runs.scene import said_to_model
from tests.scripted_server import ScriptedServer

ONE = plan(subtask("one"))


def write_crew(lab: Lab, server: ScriptedServer, given: Any = None, **more: Any) -> None:
    """Write a crew `team` led by a manager, with these keys; `given` are its given tasks."""
    crew = {"process": "hierarchical", "goal": "Get it done", "agents": ["worker", "helper"], **more}
    if given is not None:
        crew["tasks"] = list(given)
    unused = {"unused": {"description": "x", "expected_output": "y", "agent": "worker"}}
    files = {"agents": AGENTS, "tasks": given or unused, "crews": {"team": crew}}
    lab.write(**{name: json.dumps(value) for name, value in files.items()})
    lab.models(server.base_url)


def decisions(lab: Lab, run_id: str, *kinds: str) -> list[dict[str, Any]]:
    from runs.told.why import reasons_of

    row = lab.runner.find(run_id)
    found = reasons_of(lab.runner.source(), row, lab.runner.folder(run_id))
    return [entry for entry in found if entry["decision"] in kinds]


def chosen(lab: Lab, run_id: str, *kinds: str) -> list[tuple[str, str]]:
    return [(entry["task"], entry["chosen"]) for entry in decisions(lab, run_id, *kinds)]


def status(lab: Lab, run_id: str) -> dict[str, str]:
    return {task["name"]: task["status"] for task in lab.summary(run_id)["tasks"]}


def test_the_manager_plans_routes_and_makes_one_result(lab: Lab) -> None:
    work = plan(subtask("one"), subtask("two", agent="helper", depends_on=["one"]), result=["one", "two"])
    with ScriptedServer(boss([work])) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
    assert (outcome.status, outcome.output) == ("succeeded", "The whole.")
    assert chosen(lab, outcome.run_id, "route") == [("one", "worker"), ("two", "helper")]
    assert chosen(lab, outcome.run_id, "aggregate", "done") == [("manager", "synthesize"), ("manager", "met")]
    assert status(lab, outcome.run_id) == {"manager": "done", "one": "done", "two": "done"}


def test_every_routing_decision_has_its_reason_and_what_it_was_chosen_among(lab: Lab) -> None:
    with ScriptedServer(boss([plan(subtask("one"), subtask("two"))])) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
    routes = decisions(lab, outcome.run_id, "route")
    assert [entry["task"] for entry in routes] == ["one", "two"]
    assert all(entry["why"] and entry["among"] == ["worker", "helper"] and entry["by"] for entry in routes)


def test_load_is_spread_over_those_who_can_do_it(lab: Lab) -> None:
    with ScriptedServer(boss([plan(*(subtask(name) for name in "abcd"))])) as model:
        write_crew(lab, model)
        model.configure(latency="200")
        outcome = lab.run("team")
    agents = [entry["chosen"] for entry in decisions(lab, outcome.run_id, "route")]
    assert agents == ["worker", "helper", "worker", "helper"]


def test_a_subtask_reads_a_packet_of_what_it_depends_on(lab: Lab) -> None:
    work = plan(subtask("one"), subtask("two", "Go on", depends_on=["one"]))
    with ScriptedServer(boss([work])) as model:
        write_crew(lab, model)
        lab.run("team")
        asked = next(said_to_model(request) for request in model.requests if "Go on" in said_to_model(request))
    assert "## one (by worker)" in asked
    assert "Asked for: A line." in asked
    assert "result of one" in asked


def test_a_bad_plan_goes_back_with_the_reasons(lab: Lab) -> None:
    bad = plan(subtask("one", agent="nobody", depends_on=["none"]))
    with ScriptedServer(boss(["I would start with research.", bad, ONE])) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
        told = [said_to_model(request) for request in model.requests]
    assert outcome.output == "result of one"
    assert any("nobody" in text and "none" in text and "earlier answer" not in text for text in told)
    assert [step.task for step in lab.steps(outcome.run_id) if step.kind == "model"].count("one.a1") == 1


def test_a_manager_without_a_usable_plan_fails_and_nothing_is_run(lab: Lab) -> None:
    with ScriptedServer(boss([plan(subtask("one", depends_on=["two"]), subtask("two", depends_on=["one"]))])) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
    assert outcome.status == "failed"
    assert "one → two → one" in outcome.reason
    assert {step.task for step in lab.steps(outcome.run_id)} == {""}


def test_who_resumes_after_a_bad_plan_gets_another_one(lab: Lab) -> None:
    with ScriptedServer(boss(["no"])) as model:
        write_crew(lab, model)
        run_id = lab.run("team").run_id
    lab.close()
    with ScriptedServer(boss(["no", "no", "no", "no", ONE]), port=model.port) as model:
        outcome = lab.resume(run_id)
    assert outcome.output == "result of one"


def test_failed_work_goes_to_another_agent_with_the_reasons(lab: Lab) -> None:
    picky = subtask(
        "one",
        "@answer: too short\n@after-refusal: too short",
        done=[{"rule": "words", "value": {"min": 5}, "text": "Five words"}],
    )
    with ScriptedServer(boss([plan(picky)], again=plan(subtask("other")))) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
    (entry,) = decisions(lab, outcome.run_id, "reassign")
    assert (entry["task"], entry["chosen"]) == ("one", "helper")
    assert entry["why"].startswith("worker: the output was not accepted: the text has 2 words")
    told = [said_to_model(request) for request in model.requests]
    assert any("Earlier attempts at this task were not good enough" in text for text in told)


def test_work_of_low_confidence_goes_to_another_agent(lab: Lab) -> None:
    def script(messages: Any, tools: Any) -> Any:
        from tests.server_script import Reply

        text = str(messages)
        if "You are Worker" in text:
            return Reply("I think it is 4.\nConfidence: 0.2")
        if "You are Helper" in text:
            return Reply("It is 5.\nConfidence: 0.9")
        return boss([ONE])(messages, tools)

    with ScriptedServer(script) as model:
        write_crew(lab, model, manager={"min_confidence": 0.6})
        outcome = lab.run("team")
    assert outcome.output == "It is 5."
    (entry,) = decisions(lab, outcome.run_id, "reassign")
    assert entry["why"] == "worker: confidence 0.2 (by its own word: said by the agent itself) is below 0.6"
    (task,) = [task for task in lab.summary(outcome.run_id)["tasks"] if task["name"] == "one"]
    assert task["agent"] == "helper"
    assert task["confidence"] == {"value": 0.9, "measured": False, "from": ["said by the agent itself"]}


FAILING = subtask("one", "@answer: no", done=[{"rule": "words", "value": {"min": 5}, "text": "Five words"}])


def test_what_nobody_could_do_is_planned_anew_once(lab: Lab) -> None:
    after = subtask("two", depends_on=["one"])
    again = plan(subtask("one"), subtask("three", depends_on=["one"]))
    with ScriptedServer(boss([plan(FAILING, after)], again=again)) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
    assert (outcome.status, outcome.output) == ("succeeded", "result of three")
    assert list(status(lab, outcome.run_id).items()) == [
        ("manager", "done"),
        ("one", "failed"),
        ("two", "left out"),
        ("again.one", "done"),
        ("again.three", "done"),
    ]
    (entry,) = decisions(lab, outcome.run_id, "replan")
    assert entry["chosen"] == "one, three"
    assert "one: 2 attempts failed: worker and helper: the output was not accepted" in entry["why"]
    assert "two: it waited for what failed" in entry["why"]
    (refused,) = decisions(lab, outcome.run_id, "handoff")
    assert (refused["task"], refused["chosen"], refused["why"]) == ("two", "refused", "one has no output to hand over")


def test_what_still_fails_leaves_the_result_partial(lab: Lab) -> None:
    good = subtask("good")
    work = plan(FAILING, good, result=["one", "good"])
    again = plan({**FAILING, "id": "anew"}, result=["anew", "good"])
    with ScriptedServer(boss([work], again=again)) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
    assert (outcome.status, outcome.output) == ("succeeded", "result of good")
    partial = lab.summary(outcome.run_id)["partial"]
    assert partial[0].startswith("anew: not done: 2 attempts failed: worker and helper: the output was not accepted")
    assert chosen(lab, outcome.run_id, "escalate") == [("anew", "partial")]


def test_a_person_may_do_what_nobody_could(lab: Lab) -> None:
    asked: list[Any] = []

    def ask(question: Any) -> str:
        asked.append(question)
        return "A person wrote these five words"

    with ScriptedServer(boss([plan(FAILING)], again=plan({**FAILING, "id": "anew"}))) as model:
        write_crew(lab, model)
        run_id = lab.start(lab.plan("team"))
        outcome = lab.runner.wait(run_id, ask=ask)
    assert outcome.output == "A person wrote these five words"
    assert [question.task for question in asked] == ["again.anew"]
    assert asked[0].prompt == "anew could not be done. Write its output; Enter goes on without it"
    assert chosen(lab, run_id, "escalate") == [("anew", "a person did it")]


def test_a_crew_may_be_told_to_fail_instead(lab: Lab) -> None:
    with ScriptedServer(boss([plan(FAILING)], again=plan({**FAILING, "id": "anew"}))) as model:
        write_crew(lab, model, manager={"on_failure": "fail"})
        outcome = lab.run("team")
    assert outcome.status == "failed"
    assert outcome.reason.startswith("anew: 2 attempts failed: worker and helper: the output was not accepted")


def test_a_reviewer_judges_every_subtask_and_its_verdict_counts(lab: Lab) -> None:
    review = {
        "approved": False,
        "score": 0.2,
        "issues": [{"criterion": "depth", "problem": "it is shallow", "where": "all", "fix": "dig deeper"}],
    }
    with ScriptedServer(boss([ONE], review=review, again=plan(subtask("two")))) as model:
        write_crew(lab, model, manager={"reviewer": "critic", "on_failure": "partial"})
        outcome = lab.run("team")
    assert outcome.status == "succeeded"
    sent_back = decisions(lab, outcome.run_id, "review")
    assert {entry["by"] for entry in sent_back} == {"critic"}
    assert {entry["why"] for entry in sent_back} == {"it is shallow"}
    (first, *_) = decisions(lab, outcome.run_id, "reassign")
    assert "critic does not approve" in first["why"]


def test_an_open_question_is_asked_or_assumed_and_recorded(lab: Lab) -> None:
    question = {"question": "For whom?", "why": "the tone differs", "assumption": "for experts"}
    with ScriptedServer(boss([ONE], brief={**BRIEF, "questions": [question]})) as model:
        write_crew(lab, model)
        alone = lab.run("team")
        run_id = lab.start(lab.plan("team"))
        lab.runner.wait(run_id, ask=lambda _question: "for children")
        told = [said_to_model(request) for request in model.requests if "You make the plan" in said_to_model(request)]
    assert chosen(lab, alone.run_id, "question")[-1] == ("manager", "for experts")
    assert "For whom? = for experts (assumed, nobody answered)" in told[0]
    assert "For whom? = for children" in told[1]
    assert ("manager", "for children") in chosen(lab, run_id, "question")


@pytest.mark.parametrize("edit", [False, True])
def test_a_person_may_change_the_plan_before_it_is_run(lab: Lab, edit: bool) -> None:
    def ask(question: Any) -> str:
        assert question.editable
        if "second" in question.text:
            return ""
        edited = yaml.safe_load(question.editable)
        edited["subtasks"][0]["description"] = "@answer: second"
        return yaml.safe_dump(edited) if edit else "Do the second thing"

    def script(messages: Any, tools: Any) -> Any:
        wanted = "A person has seen your plan" in str(messages)
        return boss([plan(subtask("one", "@answer: second")) if wanted else ONE])(messages, tools)

    with ScriptedServer(script) as model:
        write_crew(lab, model, manager={"review_plan": True})
        run_id = lab.start(lab.plan("team"))
        outcome = lab.runner.wait(run_id, ask=ask)
    assert outcome.output == "second"
    assert chosen(lab, run_id, "plan review") == [("manager", "changes wanted"), ("manager", "accepted")]


def test_a_plan_to_review_waits_for_a_person(lab: Lab) -> None:
    with ScriptedServer(boss([ONE])) as model:
        write_crew(lab, model, manager={"review_plan": True})
        outcome = lab.run("team")
        assert outcome.status == "waiting"
        assert outcome.reason == "a person is asked: Run this plan? Enter runs it; or say what should change"
        later = lab.resume(outcome.run_id, ask=lambda _question: "")
    assert later.output == "result of one"


CONFLICTING = plan(
    subtask("one", "@answer: The revenue of 2025 was 4.2 million dollars."),
    subtask("two", "@answer: The revenue of 2025 was 6.8 million dollars."),
    result=["one", "two"],
)


def test_conflicts_between_outputs_are_reported(lab: Lab) -> None:
    with ScriptedServer(boss([CONFLICTING], conflicts=[])) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
        told = [
            said_to_model(request) for request in model.requests if "Make one complete text" in said_to_model(request)
        ]
    (conflict,) = lab.summary(outcome.run_id)["conflicts"]
    assert conflict["kind"] == "number"
    assert conflict["settled"] is None
    assert "4.2 million" in conflict["text"]
    assert "6.8 million" in conflict["text"]
    assert "## Open conflicts" in outcome.output
    assert conflict["text"] in told[0]


def test_the_manager_may_name_further_conflicts(lab: Lab) -> None:
    named = {
        "subject": "the cause",
        "between": ["one", "two"],
        "difference": "wind or rain",
        "settled": "one",
        "why": "x",
    }
    with ScriptedServer(boss([plan(subtask("one"), subtask("two"))], conflicts=[named])) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
    (conflict,) = lab.summary(outcome.run_id)["conflicts"]
    assert (conflict["text"], conflict["settled"], conflict["by"]) == ("the cause: wind or rain", "one", "manager")


@pytest.mark.parametrize(
    ("how", "output"),
    [
        ("concatenate", "## One\n\nresult of one\n\n## Two\n\nresult of two\n"),
        ("rank", "result of one"),
        ("summarize", "The whole."),
        ("synthesize", "The whole."),
    ],
)
def test_the_outputs_become_one_result_as_the_crew_says(lab: Lab, how: str, output: str) -> None:
    with ScriptedServer(boss([plan(subtask("one"), subtask("two"))])) as model:
        write_crew(lab, model, manager={"aggregate": how})
        outcome = lab.run("team")
    assert outcome.output == output


def test_the_whole_is_held_to_the_rules_of_the_brief(lab: Lab) -> None:
    brief = {**BRIEF, "done": [{"rule": "words", "value": {"min": 50}, "text": "Fifty words"}]}
    work = plan(subtask("one", covers=["d1"]), subtask("two"), result=["one", "two"])
    with ScriptedServer(boss([work], brief=brief)) as model:
        write_crew(lab, model)
        outcome = lab.run("team")
        tries = [request for request in model.requests if "Make one complete text" in said_to_model(request)]
    assert outcome.status == "succeeded", outcome
    assert len(tries) == 3
    assert lab.summary(outcome.run_id)["partial"][0].startswith("not met: the text has 2 words")
    assert chosen(lab, outcome.run_id, "done") == [("manager", "not met")]


def test_given_tasks_are_carried_out_with_what_yaml_says_of_them(lab: Lab) -> None:
    tasks = {
        "count": {
            "description": '@answer: {"number": 3}',
            "expected_output": "A number",
            "output": {"number": "int"},
        },
        "tell": {"description": "@answer: three", "expected_output": "A word", "agent": "helper", "context": ["count"]},
    }
    work = plan(
        subtask("count", task="count"),
        subtask("tell", agent="helper", task="tell", depends_on=["count"]),
    )
    with ScriptedServer(boss([work])) as model:
        write_crew(lab, model, given=tasks)
        outcome = lab.run("team")
    assert outcome.output == "three"
    summary = {task["name"]: task for task in lab.summary(outcome.run_id)["tasks"]}
    assert json.loads(summary["count"]["output"]) == {"number": 3}
    assert (summary["count"]["agent"], summary["tell"]["agent"]) == ("worker", "helper")
