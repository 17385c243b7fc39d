"""What is done in place of a task that failed: in order, journaled with its reason, and told in the result."""

import json
import re
from typing import Any

import pytest

from project.spec import BudgetSpec
from tests.lab import Lab
from tests.runs.boss import AGENTS, boss, plan, subtask
from tests.runs.crash_points import assert_survives_crashes, chosen, part, reasons, rewind
from tests.runs.scene import database, said_to_model, step_names, write_project
from tests.scripted_server import Reply, ScriptedServer
from tests.server_script import scripted_reply

ROLES = {"worker": "Worker", "other": "Other", "third": "Third"}
RULE: dict[str, Any] = {"guardrails": [{"matches": "good"}], "guardrail_max_retries": 0}
BAD = "the output was not accepted: must match `good`"


def script(messages: list[Any], tools: list[Any]) -> Reply:
    """Answer as the line `ROLE: text` of the task says."""
    asked = "\n".join(str(message["content"]) for message in messages if message["role"] == "user")
    role = re.search(r"You are (\w+)", str(messages[0]["content"]))
    said = re.findall(rf"^{role[1] if role else ''}: (.*)$", asked, re.MULTILINE)
    if not said:
        body = {"messages": messages, "tools": [{"type": "function", "function": tool} for tool in tools]}
        return scripted_reply(body)
    return Reply(said[0].replace("\\n", "\n"))


SCRIPT = script


def write_work(lab: Lab, *said: str, after: Any = "", crews: Any = None, **keys: Any) -> None:
    """Write a task `work` with these keys, after which the task `next` echoes what it reads."""
    agents = {name: {"role": role, "goal": "Work", "backstory": "You work."} for name, role in ROLES.items()}
    tasks: dict[str, Any] = {"work": {"description": "\n".join(["Do it.", *said, ""]), **keys}}
    if after:
        tasks["next"] = after
    write_project(lab, tasks, agents=agents, **({"crews": crews} if crews else {}))


def test_another_agent_does_it_when_the_attempts_are_used_up(lab: Lab, model: ScriptedServer) -> None:
    write_work(lab, "Worker: bad", "Other: good", retry=2, fallback=[{"agent": "other"}], **RULE)
    outcome = lab.run()
    assert (outcome.output, outcome.partial) == ("good", ())
    paths = [name.partition("/")[0] for name in step_names(lab, outcome.run_id) if "/model#" in name]
    assert paths == ["work.a1", "work.a2", "work.f1"]
    (told,) = reasons(lab, outcome.run_id, "fallback", "work")
    assert (told["chosen"], told["among"]) == ("agent other", ["agent other", "fail"])
    assert told["why"].startswith("2 attempts failed: worker: the output was not accepted")
    assert told["evidence"] == ["workflow work.a2"]
    found = part(lab, outcome.run_id, "work")
    assert (found["agent"], found["fallback"]["did"]) == ("other", "agent other")
    assert "Earlier attempts at this task were not good enough" in said_to_model(model.requests[-1])


def test_the_same_agent_does_it_with_another_model(lab: Lab, model: ScriptedServer, server: ScriptedServer) -> None:
    models = {
        "default": {"model": "openai/own", "base_url": model.base_url, "max_attempts": 1},
        "backup": {"model": "openai/backup", "base_url": server.base_url},
    }
    write_work(lab, "@answer: good", fallback=[{"model": "backup"}])
    lab.write(models=json.dumps(models))
    model.configure(faults=[{"fault": "503"}])
    outcome = lab.run()
    assert outcome.output == "good"
    assert server.requests[0].body["model"] == "backup"
    assert "You are Worker" in str(server.requests[0].messages[0]["content"])


@pytest.mark.parametrize("way", [{"text": "Nothing on {topic}."}, "skip"])
def test_a_task_may_degrade_and_the_result_says_so(lab: Lab, model: ScriptedServer, way: Any) -> None:
    write_work(lab, "Worker: bad", after="@answer: done with {topic}", fallback=[way], **RULE)
    run_id = lab.start(lab.plan(inputs={"topic": "solar"}))
    outcome = lab.runner.wait(run_id)
    assert (outcome.status, outcome.output) == ("succeeded", "done with solar")
    (note,) = outcome.partial
    found = part(lab, run_id, "work")
    assert note == f"work: {found['partial'][0]}"
    if way == "skip":
        assert note.startswith("work: skipped: worker: the output was not accepted")
        assert found["status"] == "skipped"
        assert "context" not in said_to_model(model.requests[-1])
    else:
        assert note.startswith("work: a fixed text stands for it: worker: the output was not accepted")
        assert (found["output"], found["status"]) == ("Nothing on solar.", "done")
        assert "Nothing on solar." in said_to_model(model.requests[-1])


def test_a_fixed_output_keeps_the_contract_and_writes_file_and_state(lab: Lab, model: ScriptedServer) -> None:
    crews = {"default": {"tasks": ["work", "next"], "state": {"title": "str"}}}
    write_work(lab, "Worker: no object", after="@answer: done", crews=crews, output={"title": "str", "pages": "int"},
               guardrail_max_retries=0, output_file="out.json", writes=["title"],
               fallback=[{"text": {"title": "On {topic}", "pages": 0}}])  # fmt: skip
    run_id = lab.start(lab.plan(inputs={"topic": "solar"}))
    assert lab.runner.wait(run_id).status == "succeeded"
    assert json.loads((lab.root / "out.json").read_text()) == {"title": "On solar", "pages": 0}


def test_ways_are_taken_in_order_until_one_works(lab: Lab, model: ScriptedServer) -> None:
    ways = [{"agent": "other"}, {"agent": "third"}, {"text": "None."}]
    write_work(lab, "Worker: bad", "Other: worse", "Third: good", fallback=ways, **RULE)
    outcome = lab.run()
    assert outcome.output == "good"
    assert chosen(lab, outcome.run_id, "fallback") == ["agent other", "agent third"]
    attempts = part(lab, outcome.run_id, "work")["attempts"]
    assert [entry["agent"] for entry in attempts] == ["worker", "agent other"]


@pytest.mark.parametrize("ways", [[{"agent": "other"}], [{"agent": "other"}, "stop"]])
def test_when_no_way_works_the_run_fails_with_every_reason(lab: Lab, model: ScriptedServer, ways: Any) -> None:
    write_work(lab, "Worker: bad", "Other: worse", fallback=ways, **RULE)
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: 2 attempts failed: worker and agent other: the output was not accepted")
    assert chosen(lab, outcome.run_id, "give up") == ["the task fails"]


def test_a_resume_gives_a_failed_task_its_attempts_and_fallbacks_again(lab: Lab, model: ScriptedServer) -> None:
    write_work(lab, "Worker: good", "Other: good", fallback=[{"agent": "other"}])
    model.configure(faults=[{"fault": "400"}])
    run_id = lab.run().run_id
    model.configure(faults=[{"fault": "400", "match": "You are Worker"}])
    outcome = lab.resume(run_id)
    assert outcome.output == "good"
    assert {name.partition("/")[0] for name in step_names(lab, run_id) if "model#" in name} == {
        "work.a1",
        "work.f1",
        "work.a2",
        "work.f2",
    }


def test_a_person_gives_the_output_and_is_told_what_failed(lab: Lab, model: ScriptedServer) -> None:
    asked: list[Any] = []

    def ask(question: Any) -> str:
        asked.append(question)
        return "a good one"

    write_work(lab, "Worker: bad", fallback=["ask"], output_file="out.md", **RULE)
    outcome = lab.run(ask=ask)
    assert (outcome.output, outcome.partial) == ("a good one", ())
    assert "This task was tried and failed: worker: the output was not accepted" in asked[0].text
    assert asked[0].prompt.startswith("work failed: worker: the output was not accepted")
    assert asked[0].prompt.endswith("; your answer")
    assert (lab.root / "out.md").read_text() == "a good one\n"
    assert part(lab, outcome.run_id, "work")["agent"] == "human"


def test_a_run_waits_for_the_person_who_is_to_take_over(lab: Lab, model: ScriptedServer) -> None:
    write_work(lab, "Worker: bad", fallback=["ask"], **RULE)
    outcome = lab.run()
    assert outcome.status == "waiting"
    model.reset()
    assert lab.resume(outcome.run_id, ask=lambda _question: "good").output == "good"
    assert model.stats()["attempts"] == 0


@pytest.mark.parametrize(
    ("said", "fault", "on", "attempts"),
    [
        ("Worker: bad", None, ["model"], 1),
        ("Worker: bad", None, ["guardrail"], 3),
        ("Worker: bad", None, ["failed"], 3),
        ("Worker: good", "400", ["guardrail"], 1),
        ("Worker: good", "400", ["model"], 3),
    ],
)
def test_only_what_retry_names_is_tried_again(
    lab: Lab, model: ScriptedServer, said: str, fault: str | None, on: list[str], attempts: int
) -> None:
    write_work(lab, said, retry={"attempts": 3, "on": on}, fallback=[{"text": "None."}], **RULE)
    model.configure(faults=[{"fault": fault}] if fault else [])
    outcome = lab.run()
    assert outcome.output == "None."
    assert model.stats()["attempts"] == attempts


def test_an_attempt_waits_before_the_next_one(lab: Lab, model: ScriptedServer) -> None:
    write_work(lab, "Worker: bad", retry={"attempts": 3, "backoff_seconds": 0.05}, fallback=["skip"], **RULE)
    outcome = lab.run()
    waits = [step for step in lab.steps(outcome.run_id) if step.kind == "backoff"]
    assert [step.name for step in waits] == ["work/backoff#1", "work/backoff#2"]
    assert waits[0].seconds >= 0.05
    assert waits[1].seconds >= 0.1
    assert "every task was skipped" in outcome.partial[-1]


def test_an_entry_of_a_list_has_its_own_fallback(lab: Lab, model: ScriptedServer) -> None:
    crews = {"default": {"tasks": ["work"], "inputs": {"bad": "bad"}}}
    write_work(lab, "Worker: {item}", crews=crews, for_each="['good', 'poor', 'good 2']",
               fallback=[{"text": "none for {item}"}], **RULE)  # fmt: skip
    outcome = lab.run()
    assert "none for poor" in outcome.output
    assert len(outcome.partial) == 1
    assert "a fixed text stands for it" in outcome.partial[0]


def test_partial_reaches_the_end_of_a_pipeline(lab: Lab, model: ScriptedServer) -> None:
    crews = {
        "one": {"tasks": ["work"]},
        "two": {"tasks": ["next"]},
        "both": {"crews": ["one", {"crew": "two", "inputs": {"text": "{one}"}}]},
    }
    write_work(lab, "Worker: bad", after="@answer: read {text}", crews=crews, fallback=[{"text": "None."}], **RULE)
    outcome = lab.run("both")
    assert outcome.output == "read None."
    assert [note[:45] for note in outcome.partial] == ["one: work: a fixed text stands for it: worker"]


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ([{"agent": "other"}], ["Worker: bad", "Other: good"]),
        ([{"agent": "other"}, {"text": "good"}], ["Worker: bad", "Other: bad"]),
        (["skip"], ["Worker: bad"]),
    ],
    ids=["agent", "text", "skip"],
)
def test_a_crash_anywhere_repeats_nothing(lab: Lab, model: ScriptedServer, ways: Any, said: list[str]) -> None:
    write_work(lab, *said, after="@answer: done", retry=2, fallback=ways, output_file="out.md", **RULE)
    assert_survives_crashes(lab, model, most=7)


def test_a_crash_around_the_question_to_a_person_repeats_nothing(lab: Lab, model: ScriptedServer) -> None:
    write_work(lab, "Worker: bad", after="@answer: done", fallback=["ask"], **RULE)
    assert_survives_crashes(lab, model, most=5, ask=lambda _question: "good")


# -- time


def test_a_task_has_its_time_for_all_its_attempts_together(lab: Lab, model: ScriptedServer) -> None:
    write_work(lab, "Worker: good", retry=5, timeout_seconds=1, fallback=[{"agent": "other"}, {"text": "No time."}])
    model.configure(faults=[{"fault": "hang"}])
    outcome = lab.run()
    assert outcome.output == "No time."
    assert chosen(lab, outcome.run_id, "fallback") == ["fixed text"]
    assert "the task's time is up: 1" in outcome.partial[0]
    assert sum(step.seconds for step in lab.steps(outcome.run_id) if step.kind == "model") < 2


def test_the_time_of_an_agent_ends_its_attempts_and_another_has_its_own(lab: Lab, model: ScriptedServer) -> None:
    write_work(lab, "Worker: good", "Other: good", fallback=[{"agent": "other"}])
    agents = {name: {"role": role, "goal": "Work", "backstory": "You work."} for name, role in ROLES.items()}
    agents["worker"]["max_execution_time"] = 1  # type: ignore[assignment]
    lab.write(agents=json.dumps(agents))
    model.configure(faults=[{"fault": "hang", "match": "You are Worker"}])
    outcome = lab.run()
    assert outcome.output == "good"
    assert "the time of worker is up: 1" in reasons(lab, outcome.run_id, "fallback")[0]["why"]


def test_at_the_deadline_a_run_can_end_partial_in_time(lab: Lab, model: ScriptedServer) -> None:
    crews = {"default": {"tasks": ["work", "next"], "deadline_seconds": 1}}
    ways = [{"agent": "other"}, {"text": "None."}]
    after: Any = {"description": "Other task", "fallback": "skip"}
    write_work(lab, "Worker: good", after=after, crews=crews, retry=3, fallback=ways)
    model.configure(faults=[{"fault": "hang"}])
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "None.")
    assert all("the run's deadline of 1 s has passed" in note for note in outcome.partial)
    assert len(outcome.partial) == 2
    assert model.stats()["attempts"] == 1


def test_at_the_deadline_a_task_without_a_fallback_fails_the_run(lab: Lab, model: ScriptedServer) -> None:
    crews = {"default": {"tasks": ["work"], "deadline_seconds": 1}}
    write_work(lab, "Worker: good", crews=crews)
    model.configure(faults=[{"fault": "hang"}])
    outcome = lab.run()
    assert (outcome.status, outcome.reason) == ("failed", "work: the run's deadline of 1 s has passed")
    assert "given its time again" in outcome.fix
    model.configure(faults=[])
    assert lab.resume(outcome.run_id, budget=BudgetSpec()).output == "good"


# -- a manager's tasks


@pytest.mark.parametrize("way", [{"text": "None."}, "skip"])
def test_a_given_task_of_a_manager_may_degrade(lab: Lab, way: Any) -> None:
    plans = [plan(subtask("given", task="given"), subtask("two", depends_on=["given"]))]
    task = {"description": "Do it.\n@answer: bad", "expected_output": "A line.", "fallback": [way], **RULE}
    crew = {"process": "hierarchical", "goal": "Get it done", "agents": ["worker", "helper"], "tasks": ["given"],
            "manager": {"max_attempts": 1, "aggregate": "concatenate"}}  # fmt: skip
    with ScriptedServer(boss(plans)) as server:
        lab.models(server.base_url)
        write_project(lab, {"given": task}, agents=AGENTS, crews={"team": crew})
        outcome = lab.run("team")
    assert outcome.status == "succeeded", outcome.reason
    assert "result of two" in outcome.output
    word = "skipped" if way == "skip" else "a fixed text stands for it"
    assert any(word in note for note in outcome.partial)
    assert chosen(lab, outcome.run_id, "replan") == []


def test_the_deadline_goes_on_over_a_crash_and_not_while_a_person_is_waited_for(
    lab: Lab, model: ScriptedServer
) -> None:
    look = {"description": "Look", "agent": "human"}
    crews = {"default": {"tasks": ["look", "work"], "deadline_seconds": 60}}
    write_project(lab, {"look": look, "work": "@answer: done"}, crews=crews)
    run_id = lab.run().run_id
    lab.restart()
    with database(lab) as rows:  # it has waited for an hour
        rows.execute("update muster_questions set asked_at = asked_at - 3600 where run_id = ?", (run_id,))
        rows.execute("update workflow_status set created_at = created_at - 3600000 where workflow_uuid = ?", (run_id,))
    rows.close()
    assert lab.resume(run_id, ask=lambda _question: "seen").output == "done"


def test_a_run_that_no_process_executes_uses_its_deadline_up(lab: Lab, model: ScriptedServer) -> None:
    write_project(lab, {"work": "@answer: done"}, crews={"default": {"tasks": ["work"], "deadline_seconds": 60}})
    run_id = lab.run().run_id
    lab.close()
    rewind(lab, run_id, 0)
    with database(lab) as rows:
        rows.execute("update workflow_status set created_at = created_at - 3600000 where workflow_uuid = ?", (run_id,))
    rows.close()
    outcome = lab.resume(run_id)
    assert outcome.reason == "work: the run's deadline of 60 s has passed"
