"""Whether an output is accepted: contracts, rules, functions, demands in plain language, a person."""

import json
from typing import Any

import pytest

from tests.lab import Lab
from tests.runs.scene import said_to_model, step_names, write_project
from tests.scripted_server import Reply, ScriptedServer

GUARDRAIL = '''
from muster import guardrail


@guardrail
def short(text: str) -> str:
    """At most ten characters."""
    return "" if len(text) <= 10 else f"{len(text)} characters are too many"


@guardrail
def broken(text: str) -> str:
    """Never works."""
    raise RuntimeError("no idea")


@guardrail
def flag(text: str):
    """Answer with a flag."""
    return text == "yes"
'''


def one_task(lab: Lab, description: str, **keys: Any) -> None:
    write_project(lab, {"work": {"description": description, **keys}})


def test_a_contract_makes_the_output_a_json_object_in_its_own_order(lab: Lab) -> None:
    one_task(lab, '@answer: Here: {"b": "x", "a": 2}', output={"a": "int", "b": "str"})
    outcome = lab.run(run_id="contract")
    assert list(json.loads(outcome.output).items()) == [("a", 2), ("b", "x")]
    found = lab.summary("contract")
    assert found["data"] == {"a": 2, "b": "x"}
    assert found["tasks"][0]["checks"] == [{"check": "contract", "passed": True, "reasons": []}]


def test_a_broken_contract_is_repaired_by_showing_what_was_wrong(lab: Lab, server: ScriptedServer) -> None:
    one_task(lab, '@answer: {"count": "many"}\n@after-refusal: {"count": 4}', output={"count": "int"})
    outcome = lab.run()
    assert json.loads(outcome.output) == {"count": 4}
    shown = server.requests[-1].messages[-1]
    assert shown["role"] == "user"
    assert "count" in shown["content"]
    assert step_names(lab, outcome.run_id) == [
        "work/worker/model#1",
        "work/judge/verdict#1",
        "work/worker/model#2",
        "work/judge/verdict#2",
    ]


def test_a_contract_that_stays_broken_fails_after_its_retries(lab: Lab, server: ScriptedServer) -> None:
    one_task(lab, "@answer: nothing of the kind", output={"count": "int"}, guardrail_max_retries=2)
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: the output was not accepted: ")
    assert server.stats()["attempts"] == 3


def test_what_a_contract_wants_stands_in_the_prompt(lab: Lab, server: ScriptedServer) -> None:
    one_task(lab, '@answer: {"count": 1}', output={"count": {"type": "int", "description": "how many lines"}})
    assert json.loads(lab.run().output) == {"count": 1}
    assert "how many lines" in said_to_model(server.requests[0])


def test_a_rule_sends_its_reasons_back(lab: Lab, server: ScriptedServer) -> None:
    one_task(
        lab,
        "@answer: one two three four five\n@after-refusal: one two",
        guardrails=[{"words": {"max": 3}}, {"forbidden_words": ["five"]}],
    )
    outcome = lab.run()
    assert outcome.output == "one two"
    shown = said_to_model(server.requests[-1])
    assert "the text has 5 words, citations and sources not counted; at most 3 are allowed, 2 fewer" in shown
    assert 'the word "five" is forbidden' in shown
    verdicts = [step.record for step in lab.steps(outcome.run_id) if step.kind == "verdict"]
    assert [(verdict["passed"], len(verdict["reasons"])) for verdict in verdicts] == [(False, 2), (True, 0)]


def test_a_function_of_the_project_judges(lab: Lab, server: ScriptedServer) -> None:
    lab.write(guardrails__mine_py=GUARDRAIL)
    one_task(lab, "@answer: much too long for it\n@after-refusal: brief", guardrails=["short"])
    assert lab.run().output == "brief"
    assert "20 characters are too many" in said_to_model(server.requests[-1])


def test_a_function_that_fails_refuses(lab: Lab) -> None:
    lab.write(guardrails__mine_py=GUARDRAIL)
    one_task(lab, "@answer: x", guardrails=["broken"], guardrail_max_retries=0)
    assert lab.run().reason == ("work: the output was not accepted: the guardrail broken failed: RuntimeError: no idea")


def test_a_function_may_answer_with_a_flag(lab: Lab) -> None:
    lab.write(guardrails__mine_py=GUARDRAIL)
    one_task(lab, "@answer: no\n@after-refusal: yes", guardrails=["flag"])
    assert lab.run().output == "yes"


def judging(verdicts: dict[str, str]) -> Any:
    """Make a script: the judge says of each text what is given; the worker answers `first`, when refused `second`."""

    def script(messages: list[Any], _tools: list[Any]) -> Reply:
        last = messages[-1]["content"]
        if messages[0]["content"].startswith("You check a text"):
            return Reply(next((said for text, said in verdicts.items() if text in messages[1]["content"]), "?"))
        return Reply("second" if "says too little" in last else "first")

    return script


def test_a_demand_in_plain_language_is_judged_by_the_model(lab: Lab) -> None:
    one_task(lab, "Write", guardrails=["It must say enough"])
    verdicts = {"first": '{"passed": false, "reasons": ["it says too little"]}', "second": 'Well: {"passed": true}'}
    with ScriptedServer(judging(verdicts)) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert outcome.output == "second"
        assert model.stats()["attempts"] == 4
    names = [name for name in step_names(lab, outcome.run_id) if "model" in name]
    assert names == ["work/worker/model#1", "work/judge/model#1", "work/worker/model#2", "work/judge/model#2"]
    checks = lab.summary(outcome.run_id)["tasks"][0]["checks"]
    assert checks == [{"check": "It must say enough", "passed": True, "reasons": []}]


def test_a_judge_that_gives_no_verdict_refuses(lab: Lab) -> None:
    one_task(lab, "Write", guardrails=["It must say enough"], guardrail_max_retries=0)
    with ScriptedServer(judging({})) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert outcome.reason == "work: the output was not accepted: could not be judged: It must say enough"
        assert model.stats()["attempts"] == 4


def test_the_judges_calls_count_like_all_others(lab: Lab) -> None:
    one_task(lab, "Write", guardrails=["It must say enough"])
    with ScriptedServer(judging({"first": '{"passed": true, "reasons": []}'})) as model:
        lab.models(model.base_url)
        found = lab.summary(lab.run().run_id)
        assert found["usage"]["model_calls"] == model.stats()["attempts"] == 2
        assert found["usage"]["input_tokens"] == model.stats()["prompt_tokens"]


def test_offline_a_demand_in_plain_language_is_reported_as_not_judged(lab: Lab) -> None:
    lab.write(models="default: {model: offline}\n")
    one_task(lab, "Say what durable execution is", guardrails=["It must say enough"])
    (task,) = lab.summary(lab.run().run_id)["tasks"]
    assert {"check": "It must say enough", "passed": True, "not_judged": True, "reasons": []} in task["checks"]


def test_a_person_sees_the_output_and_accepts_it(lab: Lab) -> None:
    one_task(lab, "@answer: one", human_input=True)
    asked: list[Any] = []

    def accept(question: Any) -> str:
        asked.append(question)
        return ""

    assert lab.run(ask=accept).output == "one"
    (question,) = asked
    assert (question.task, question.text) == ("work", "one")
    assert question.prompt == "Accept the output of work? Enter accepts; or say what should change"


def test_a_person_asks_for_a_change_and_is_asked_again(lab: Lab, server: ScriptedServer) -> None:
    one_task(lab, "@answer: one\n@after-refusal: two", human_input=True)
    replies = iter(["say two", "  "])
    outcome = lab.run(ask=lambda question: next(replies))
    assert outcome.output == "two"
    assert said_to_model(server.requests[-1]).endswith(
        "A person has read your answer and wants this changed:\nsay two\n\nGive the complete answer again."
    )
    answers = [step.record["said"] for step in lab.steps(outcome.run_id) if step.kind == "answer"]
    assert answers == ["say two", ""]


def test_what_a_person_said_is_not_asked_again_after_a_restart(lab: Lab, server: ScriptedServer) -> None:
    one_task(lab, "@answer: one\n@after-refusal: two", human_input=True)
    server.configure(faults=[{"fault": "400", "match": "say two"}])
    outcome = lab.run(ask=lambda question: "say two")
    assert outcome.status == "failed"
    server.configure(faults=[])
    asked: list[str] = []
    lab.restart()
    assert lab.resume(outcome.run_id, ask=lambda question: asked.append(question.text) or "").output == "two"
    assert asked == ["two"]


def test_a_change_that_a_person_asked_for_must_pass_the_rules_too(lab: Lab, server: ScriptedServer) -> None:
    one_task(
        lab,
        "@answer: one\n@after-refusal: one two three four\n@after-refusal: two",
        human_input=True,
        guardrails=[{"words": {"max": 2}}],
    )
    replies = iter(["say two", ""])
    assert lab.run(ask=lambda question: next(replies)).output == "two"


def test_two_tasks_may_ask_at_the_same_time(lab: Lab) -> None:
    tasks = {name: {"description": f"@answer: {name}", "context": [], "human_input": True} for name in ("a", "b")}
    write_project(lab, tasks)
    asked: list[str] = []
    assert lab.run(ask=lambda question: asked.append(question.task) or "").status == "succeeded"
    assert sorted(asked) == ["a", "b"]


@pytest.mark.parametrize("blank", ["   ", "---", "\n\n"])
def test_an_answer_that_says_nothing_is_not_accepted(lab: Lab, blank: str) -> None:
    def script(messages: list[Any], _tools: list[Any]) -> Reply:
        return Reply("something" if len(messages) > 2 else blank)

    one_task(lab, "Write", guardrails=[{"words": {"max": 9}}])
    with ScriptedServer(script) as model:
        lab.models(model.base_url)
        assert lab.run().output == "something"
