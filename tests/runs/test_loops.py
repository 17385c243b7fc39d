"""Agents that go round in circles: seen by the same call with the same result, warned, stopped, and told of."""

import json
from typing import Any

import pytest

from models.marks import strip_marks
from tests.lab import Lab
from tests.runs.crash_points import assert_survives_crashes, part, reasons
from tests.runs.scene import model_spec, said_to_model, tool_file, write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall

SAME = 'return f"noted {text}"'
KEEP = '@keep-calling note {"text": "a"}\n@answer: best so far'
STALLED = "note was called 4 times with the same arguments and the same result"


def write_caller(
    lab: Lab, description: str, body: str = SAME, worker: dict[str, Any] | None = None, **keys: Any
) -> None:
    lab.write(tools__note_py=tool_file(body, 'effect="read"'))
    write_project(lab, {"work": {"description": description, **keys}}, {"tools": ["note"]} | (worker or {}))


def results(server: ScriptedServer) -> list[str]:
    """Return the results of tools that the last request showed."""
    return [
        strip_marks(str(message["content"])) for message in server.requests[-1].messages if message["role"] == "tool"
    ]


def test_the_same_call_four_times_ends_the_calling_and_the_best_answer_is_taken(
    lab: Lab, server: ScriptedServer
) -> None:
    write_caller(lab, KEEP)
    outcome = lab.run()
    assert (outcome.status, outcome.output) == ("succeeded", "best so far")
    assert server.stats()["attempts"] == 5
    assert not server.requests[-1].body.get("tools")
    found = part(lab, outcome.run_id, "work")
    assert found["partial"] == [STALLED]
    assert found["usage"]["tool_calls"] == 4


def test_the_agent_is_warned_before_it_is_stopped(lab: Lab, server: ScriptedServer) -> None:
    write_caller(lab, KEEP)
    lab.run()
    assert results(server) == [
        "noted a",
        "noted a",
        "noted a\n[You made this call 3 times with the same result. Do something else, or give your answer.]",
        "noted a\n[This call changes nothing any more. No tool can be called now: give your best final answer.]",
    ]


def test_why_it_was_stopped_is_journaled(lab: Lab) -> None:
    write_caller(lab, KEEP)
    (told,) = reasons(lab, lab.run().run_id, "loop")
    assert (told["task"], told["chosen"], told["why"], told["by"]) == ("work", "best answer so far", STALLED, "rule")


def test_what_could_have_been_done_instead_is_journaled(lab: Lab) -> None:
    write_caller(lab, KEEP)
    (told,) = reasons(lab, lab.run().run_id, "loop")
    assert told["among"] != []


def test_a_call_whose_result_changes_is_no_loop(lab: Lab, server: ScriptedServer) -> None:
    body = 'path = os.path.join(os.environ["COUNTED"], "n")\n'
    body += 'with open(path, "a") as file:\n    file.write("x")\nreturn str(os.path.getsize(path))'
    counted = lab.root / "counted"
    counted.mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COUNTED", str(counted))
        write_caller(lab, KEEP, body, {"max_iter": 7})
        run_id = lab.run().run_id
    assert results(server) == ["1", "2", "3", "4", "5", "6"]
    assert part(lab, run_id, "work")["partial"] == []


def test_calls_with_other_arguments_are_no_loop(lab: Lab) -> None:
    calls = "\n".join(f'@call note {{"text": "{letter}"}}' for letter in "abcdef")
    write_caller(lab, f"{calls}\n@answer: done", 'return "always the same"')
    outcome = lab.run()
    assert (outcome.output, part(lab, outcome.run_id, "work")["partial"]) == ("done", [])


def test_two_calls_in_turn_are_a_loop_too(lab: Lab) -> None:
    def script(messages: list[Any], tools: list[Any]) -> Reply:
        if not tools:
            return Reply("enough")
        made = sum(message["role"] == "tool" for message in messages)
        return Reply(calls=(ToolCall("note", json.dumps({"text": "ab"[made % 2]})),))

    write_caller(lab, "Go round")
    with ScriptedServer(script) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert outcome.output == "enough"
        assert part(lab, outcome.run_id, "work")["usage"]["tool_calls"] == 7


def test_the_same_arguments_written_otherwise_are_the_same_call(lab: Lab) -> None:
    def script(messages: list[Any], tools: list[Any]) -> Reply:
        made = sum(message["role"] == "tool" for message in messages)
        if not tools or made > 5:
            return Reply("enough")
        return Reply(calls=(ToolCall("note", '{"text":' + " " * made + '"a"}'),))

    write_caller(lab, "Go round")
    with ScriptedServer(script) as model:
        lab.models(model.base_url)
        outcome = lab.run()
        assert part(lab, outcome.run_id, "work")["usage"]["tool_calls"] == 4


def test_a_loop_in_the_json_protocol_is_seen_as_well(lab: Lab, server: ScriptedServer) -> None:
    model_spec(lab, server.base_url, tool_calling="json")

    def script(messages: list[Any], _tools: list[Any]) -> Reply:
        last = str(messages[-1]["content"])
        if "No tool can be called" in last:
            return Reply('{"answer": "enough"}')
        return Reply('{"tool": "note", "arguments": {"text": "a"}}')

    write_caller(lab, "Go round")
    with ScriptedServer(script) as model:
        model_spec(lab, model.base_url, tool_calling="json")
        outcome = lab.run()
        assert outcome.output == "enough"
        assert part(lab, outcome.run_id, "work")["partial"] == [STALLED]


def test_refused_calls_that_are_repeated_are_a_loop(lab: Lab, server: ScriptedServer) -> None:
    write_caller(lab, '@keep-calling note {"wrong": 1}\n@answer: best so far')
    outcome = lab.run()
    assert outcome.output == "best so far"
    assert server.stats()["attempts"] == 5


def test_a_model_that_calls_tools_when_it_may_not_fails_the_task(lab: Lab) -> None:
    write_caller(lab, "Go round")
    with ScriptedServer(lambda messages, tools: Reply(calls=(ToolCall("note", '{"text": "a"}'),))) as model:
        lab.models(model.base_url)
        outcome = lab.run()
    assert (outcome.status, outcome.reason, outcome.fix) == (
        "failed",
        "work: note was called 4 times with the same arguments and the same result",
        "say in the task what to do when a tool gives nothing new, or try another model",
    )


def test_the_fix_of_a_loop_is_not_to_allow_more_of_it(lab: Lab) -> None:
    write_caller(lab, "Go round")
    with ScriptedServer(lambda messages, tools: Reply(calls=(ToolCall("note", '{"text": "a"}'),))) as model:
        lab.models(model.base_url)
        assert "max_iter" not in lab.run().fix


def test_an_answer_after_a_loop_that_breaks_a_rule_may_be_mended_without_tools(
    lab: Lab, server: ScriptedServer
) -> None:
    write_caller(lab, f"{KEEP}\n@after-refusal: good", guardrails=[{"matches": "good"}])
    outcome = lab.run()
    assert outcome.output == "good"
    assert all(not request.body.get("tools") for request in server.requests[4:])
    assert part(lab, outcome.run_id, "work")["partial"] == [STALLED]


def test_what_came_of_a_loop_is_half_as_sure(lab: Lab) -> None:
    write_caller(lab, KEEP, guardrails=[{"matches": "best"}])
    confidence = part(lab, lab.run().run_id, "work")["confidence"]
    assert (confidence["value"], confidence["from"]) == (0.5, ["1 of 1 checks passed", f"partial: {STALLED}"])


def test_the_steps_of_an_agent_are_bounded_by_its_max_iter(lab: Lab, server: ScriptedServer) -> None:
    calls = "\n".join(f'@call note {{"text": "{number}"}}' for number in range(9))
    write_caller(lab, f"{calls}\n@answer: done", worker={"max_iter": 4})
    assert lab.run().output == "done"
    assert server.stats()["attempts"] == 4
    assert "You have used all your steps" in said_to_model(server.requests[-1])


def test_a_crash_in_a_loop_counts_what_was_called_before_it(lab: Lab, server: ScriptedServer) -> None:
    write_caller(lab, KEEP)
    assert_survives_crashes(lab, server, most=5)
