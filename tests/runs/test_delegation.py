"""Agents who ask a coworker for a part, and agents who hand the whole task over."""

import json
from typing import Any

import pytest

from models.marks import strip_marks
from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, chosen, part, reasons
from tests.runs.scene import said_to_model, step_names, tool_file, write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall

OTHERS = {
    "other": {"role": "Other", "goal": "Know numbers", "backstory": "You know."},
    "third": {"role": "Third", "goal": "Know words", "backstory": "You know."},
}


def call(tool: str, **arguments: Any) -> str:
    return f"@call {tool} {json.dumps(arguments)}"


def asking(*requests: str, to: str = "other") -> str:
    return "\n".join(call("ask_coworker", coworker=to, request=request) for request in requests)


def handing(to: str = "other", **more: str) -> str:
    return call("hand_over", **({"to": to, "reason": "knows more", "done": "read it", "open": "the end"} | more))


def write_crew(lab: Lab, description: str, worker: dict[str, Any], **more: Any) -> None:
    """Write one task of `worker` in a crew of three; `more` are keys of the task, or `others` in place of the usual."""
    others = more.pop("others", OTHERS)
    agents = {"worker": {"role": "Worker", "goal": "Work", "backstory": "You work."} | worker, **others}
    crews = {"default": {"agents": list(agents), "tasks": ["work"]}}
    write_project(lab, {"work": {"description": description, **more}}, agents=agents, crews=crews)


def write_asking(lab: Lab, *requests: str, **more: Any) -> None:
    write_crew(lab, f"{asking(*requests)}\n@echo", {"allow_delegation": True}, **more)


# -- asking


def test_a_coworker_answers_and_the_agent_goes_on(lab: Lab, server: ScriptedServer) -> None:
    write_asking(lab, "@answer: forty-two")
    outcome = lab.run()
    assert outcome.output == "forty-two"
    assert step_names(lab, outcome.run_id) == [
        "work/worker/model#1",
        "work/delegate#1",
        "work/worker>other#1/model#1",
        "work/worker/model#2",
    ]
    assert part(lab, outcome.run_id, "work")["agent"] == "worker"


def test_a_coworker_knows_only_what_it_is_told_and_can_ask_nobody(lab: Lab, server: ScriptedServer) -> None:
    description = call("ask_coworker", coworker="other", request="@answer: yes", context="It rains") + "\n@echo"
    write_crew(lab, description, {"allow_delegation": True})
    lab.run()
    request = server.requests[1]
    assert "@answer: yes\n\nContext:\nIt rains" in said_to_model(request)
    assert "@echo" not in json.dumps(request.messages)
    assert not request.body.get("tools")


def test_why_and_whom_an_agent_asks_is_journaled(lab: Lab) -> None:
    write_asking(lab, "@answer: yes")
    (told,) = reasons(lab, lab.run().run_id, "delegate")
    assert (told["task"], told["chosen"], told["among"], told["by"]) == ("work", "other", ["other", "third"], "worker")
    assert told["why"] == "worker asks for: @answer: yes"


def test_a_coworker_uses_its_own_tools(lab: Lab) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"', 'effect="read"'))
    others = OTHERS | {"other": OTHERS["other"] | {"tools": ["note"]}}
    write_asking(lab, '@call note {"text": "x"}\n@echo', others=others)
    outcome = lab.run()
    assert outcome.output == "noted x"
    assert "work/worker>other#1/note#1" in step_names(lab, outcome.run_id)


def test_an_agent_without_leave_is_offered_nobody(lab: Lab, server: ScriptedServer) -> None:
    write_crew(lab, "@answer: alone", {})
    lab.run()
    assert not server.requests[0].body.get("tools")


def test_the_agent_itself_and_people_and_crews_cannot_be_asked(lab: Lab, server: ScriptedServer) -> None:
    write_asking(lab, "@answer: yes")
    lab.run()
    (tool,) = server.requests[0].body["tools"]
    assert tool["function"]["parameters"]["properties"]["coworker"]["enum"] == ["other", "third"]


def test_a_coworker_who_does_not_exist_is_told_to_the_agent(lab: Lab) -> None:
    write_crew(lab, f"{asking('What?', to='nobody')}\n@echo", {"allow_delegation": True})
    outcome = lab.run()
    assert outcome.output == "There is no coworker 'nobody'; there are: other, third"


def test_a_role_names_a_coworker_too(lab: Lab) -> None:
    write_crew(lab, f"{asking('@answer: yes', to='OTHER')}\n@echo", {"allow_delegation": True})
    assert lab.run().output == "yes"


def test_a_request_that_says_nothing_is_not_passed_on(lab: Lab, server: ScriptedServer) -> None:
    write_crew(lab, f"{asking(' ')}\n@echo", {"allow_delegation": True})
    assert lab.run().output == "ask_coworker: request must say something; nothing was passed on. Call it again."
    assert server.stats()["attempts"] == 2


def test_the_same_question_is_answered_once(lab: Lab, server: ScriptedServer) -> None:
    write_asking(lab, "@answer: yes", "@answer: yes")
    assert lab.run().output == "yes\nYou have asked this already. The answer was:\nyes"
    assert server.stats()["attempts"] == 4


def test_questions_are_bounded(lab: Lab, server: ScriptedServer) -> None:
    write_asking(lab, *(f"@answer: {number}" for number in range(11)))
    outcome = lab.run()
    *answers, last = outcome.output.splitlines()
    assert answers == [str(number) for number in range(10)]
    assert last == "You have asked 10 times; that is the most. Finish the work yourself."
    assert len(reasons(lab, outcome.run_id, "delegate")) == 10


def test_an_offline_coworker_cannot_be_asked(lab: Lab, server: ScriptedServer) -> None:
    others = {name: agent | {"llm": "offline"} for name, agent in OTHERS.items()}
    write_asking(lab, "@answer: yes", others=others)
    assert lab.run().output == "Nobody can be asked: this needs a language model"


def test_a_coworker_whose_model_fails_fails_the_task_and_a_resume_asks_only_it_again(
    lab: Lab, server: ScriptedServer
) -> None:
    write_asking(lab, "@answer: yes")
    server.configure(faults=[{"fault": "400", "match": "You are Other"}])
    outcome = lab.run()
    assert outcome.status == "failed"
    assert outcome.reason.startswith("work: the model 'default' did not answer")
    server.configure(faults=[])
    lab.restart()
    assert lab.resume(outcome.run_id).output == "yes"
    stats = server.stats()
    assert (stats["ok"], stats["paid_twice"], stats["attempts"]) == (3, 0, 4)


def test_two_questions_in_one_reply_are_both_answered(lab: Lab) -> None:
    description = f"@parallel\n{asking('@answer: one')}\n{asking('@answer: two', to='third')}\n@echo"
    write_crew(lab, description, {"allow_delegation": True})
    assert lab.run().output == "one\ntwo"


def test_a_crash_while_asking_asks_nobody_twice(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"', 'effect="read"'))
    others = OTHERS | {"other": OTHERS["other"] | {"tools": ["note"]}}
    write_asking(lab, '@call note {"text": "x"}\n@echo', "@answer: two", others=others)
    assert_survives_crashes(lab, server, most=6)


# -- handing over


def write_handing(lab: Lab, description: str = "", **more: Any) -> None:
    write_crew(lab, f"{handing()}\n{description or '@answer: done'}", {"handoffs": ["other"]}, **more)


def test_the_one_who_takes_over_does_the_task(lab: Lab, server: ScriptedServer) -> None:
    write_handing(lab)
    outcome = lab.run()
    assert outcome.output == "done"
    assert step_names(lab, outcome.run_id) == ["work/worker/model#1", "work/handoff#1", "work/other~2/model#1"]
    assert part(lab, outcome.run_id, "work")["agent"] == "other"


def test_the_packet_tells_what_was_done_and_what_is_open(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"', 'effect="read"'))
    write_crew(
        lab,
        f'@call note {{"text": "x"}}\n{handing()}\n@answer: done',
        {"handoffs": ["other"], "tools": ["note"]},
    )
    lab.run()
    told = strip_marks(said_to_model(server.requests[-1]))
    assert told.endswith(
        "This task was handed to you by worker. Reason: knows more\n\nWhat was done so far:\nread it\n\n"
        'Still open:\nthe end\n\nTool calls made so far:\n- note({"text": "x"}) returned:\nnoted x'
    )


def test_why_a_task_was_handed_over_is_journaled_with_the_packet(lab: Lab) -> None:
    write_handing(lab)
    run_id = lab.run().run_id
    (told,) = reasons(lab, run_id, "handoff")
    assert (told["task"], told["chosen"], told["why"], told["among"], told["by"]) == (
        "work",
        "other",
        "knows more",
        ["other"],
        "worker",
    )
    (step,) = [step for step in lab.steps(run_id) if step.kind == "decision"]
    assert (step.record["packet"]["goal"], step.record["packet"]["open_questions"]) == ("A line.", "the end")


@pytest.mark.parametrize("left_out", ["reason", "done"])
def test_a_handoff_without_a_reason_or_what_was_done_is_refused(
    lab: Lab, server: ScriptedServer, left_out: str
) -> None:
    write_crew(lab, f"{handing(**{left_out: ''})}\n@echo", {"handoffs": ["other"]})
    outcome = lab.run()
    assert outcome.output == f"hand_over: {left_out} must say something; nothing was passed on. Call it again."
    assert part(lab, outcome.run_id, "work")["agent"] == "worker"


def test_a_task_goes_only_to_those_whom_yaml_names(lab: Lab) -> None:
    write_crew(lab, f"{handing('third')}\n@echo", {"handoffs": ["other"]})
    assert lab.run().output == "The task cannot be handed to 'third'; there are: other"


def test_two_who_hand_it_to_and_fro_are_stopped_after_four_handoffs(lab: Lab) -> None:
    def script(_messages: list[Any], tools: list[Any]) -> Reply:
        if not tools:
            return Reply("enough")
        (to,) = tools[0]["parameters"]["properties"]["to"]["enum"]
        return Reply(calls=(ToolCall("hand_over", json.dumps({"to": to, "reason": "you do it", "done": "nothing"})),))

    others = {"other": OTHERS["other"] | {"handoffs": ["worker"]}}
    write_crew(lab, "Do it", {"handoffs": ["other"]}, others=others)
    with ScriptedServer(script) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert outcome.output == "enough"
        assert model.stats()["attempts"] == 5
    assert chosen(lab, outcome.run_id, "handoff") == ["other", "worker", "other", "worker"]
    assert [name for name in step_names(lab, outcome.run_id) if "model#" in name] == [
        "work/worker/model#1",
        "work/other~2/model#1",
        "work/worker~3/model#1",
        "work/other~4/model#1",
        "work/worker~5/model#1",
    ]


def test_the_contract_holds_for_whoever_takes_over(lab: Lab) -> None:
    write_handing(lab, '@answer: none\n@after-refusal: {"count": 3}', output={"count": "int"})
    outcome = lab.run()
    assert json.loads(outcome.output) == {"count": 3}
    assert "work/judge~2/verdict#2" in step_names(lab, outcome.run_id)


def test_a_crash_around_a_handoff_repeats_nothing(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"', 'effect="read"'))
    write_crew(
        lab,
        f'@call note {{"text": "x"}}\n{handing()}\n@answer: bad\n@after-refusal: done',
        {"handoffs": ["other"], "tools": ["note"]},
        guardrails=[{"matches": "done"}],
    )
    assert_survives_crashes(lab, server, most=6)


def test_a_model_that_fails_after_a_handoff_goes_on_with_whoever_took_over(lab: Lab, server: ScriptedServer) -> None:
    write_handing(lab)
    server.configure(faults=[{"fault": "400", "match": "You are Other"}])
    outcome = lab.run()
    assert outcome.status == "failed"
    server.configure(faults=[])
    assert lab.resume(outcome.run_id).output == "done"
    stats = server.stats()
    assert (stats["ok"], stats["paid_twice"]) == (2, 0)
