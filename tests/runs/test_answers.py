"""What models answer: empty, cut off, too long, in JSON, or anything: it ends in an answer or a clear failure."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.marks import strip_marks
from tests.lab import Lab
from tests.runs.scene import model_spec, said_to_model, tool_file, write_project
from tests.scripted_server import Reply, ScriptedServer, ToolCall

LONG = 'return "".join(f"line {number:05d}\\n" for number in range(2000))'


def test_an_empty_answer_is_asked_for_again(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"work": "@empty\n@answer: done"})
    assert lab.run().output == "done"
    assert said_to_model(server.requests[-1]).endswith(
        "Your answer was empty. Give your complete final answer as text."
    )


def test_an_answer_that_was_cut_off_is_asked_for_again(lab: Lab, server: ScriptedServer) -> None:
    write_project(lab, {"work": "@cut-off\n@answer: all of it"})
    assert lab.run().output == "all of it"
    assert said_to_model(server.requests[-1]).endswith(
        "Your answer was cut off at the output limit. Give the whole answer again, shorter."
    )


@pytest.mark.parametrize(
    ("reply", "reason", "fix"),
    [
        (Reply(""), "the model answered with nothing, also when asked again", "try another model (`--model`)"),
        (
            Reply("half of", finish="length"),
            "the model's answer was cut off at its output limit, also when asked again",
            "raise `max_tokens` of the model",
        ),
    ],
)
def test_a_model_that_never_answers_fails_clearly(lab: Lab, reply: Reply, reason: str, fix: str) -> None:
    write_project(lab, {"work": "Answer"})
    with ScriptedServer(lambda _messages, _tools: reply) as poor:
        lab.models(poor.base_url)
        outcome = lab.run()
        assert (outcome.status, outcome.reason, outcome.fix) == ("failed", f"work: {reason}", fix)
        assert poor.stats()["attempts"] == 4


def test_a_model_without_function_calling_calls_tools_in_json(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    model_spec(lab, server.base_url, tool_calling="json")
    work = '@text-tool-json\n@call note {"text": "a"}\n@call note {"text": "b"}\n@echo'
    write_project(lab, {"work": work}, {"tools": ["note"]})
    outcome = lab.run()
    assert outcome.output == "Result of note:\nnoted a\nResult of note:\nnoted b"
    assert "tools" not in server.requests[0].body
    assert '"name": "note"' in server.requests[0].messages[0]["content"]
    assert lab.summary(outcome.run_id)["usage"]["tool_calls"] == 2


def test_in_json_mode_a_reply_in_another_form_is_asked_for_again(lab: Lab) -> None:
    def answer(messages: list[Any], _tools: list[Any]) -> Reply:
        return Reply("The answer is 4" if len(messages) == 2 else '{"answer": "4"}')

    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    write_project(lab, {"work": "Add"}, {"tools": ["note"]})
    with ScriptedServer(answer) as chatty:
        model_spec(lab, chatty.base_url, tool_calling="json")
        assert lab.run().output == "4"
        assert said_to_model(chatty.requests[-1]).endswith(
            'Your reply was not one JSON object. Reply with exactly one JSON object: {"answer": "..."} or {"tool": '
            '"<name>", "arguments": {...}}.'
        )


def test_a_model_that_does_not_keep_to_the_protocol_fails_clearly(lab: Lab) -> None:
    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    write_project(lab, {"work": "Add"}, {"tools": ["note"]})
    with ScriptedServer(lambda _messages, _tools: Reply("I would call a tool")) as chatty:
        model_spec(lab, chatty.base_url, tool_calling="json")
        outcome = lab.run()
    assert (outcome.status, outcome.reason) == ("failed", "work: the model does not keep to the JSON protocol")
    assert outcome.fix == "use a model with function calling, or another one"


def test_a_long_result_is_cut_with_a_note_and_can_be_read_on(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file(LONG))
    model_spec(lab, server.base_url, context_window=4000)
    work = '@call note {"text": "a"}\n@call read_more {"call": 1, "start": 15000}\n@echo'
    write_project(lab, {"work": work}, {"tools": ["note"]})
    outcome = lab.run()
    assert outcome.status == "succeeded", outcome
    offered = [[tool["function"]["name"] for tool in request.body["tools"]] for request in server.requests]
    assert offered[0] == ["note"]
    assert offered[1] == ["note", "read_more"]
    cut, more = (message["content"] for message in server.requests[2].messages if message["role"] == "tool")
    assert strip_marks(cut).startswith("line 00000\nline 00001\n")
    assert "read_more(call=1, start=" in cut
    assert len(cut) < 5000
    assert "line 01400" in more
    assert lab.summary(outcome.run_id)["usage"]["tool_calls"] == 1


@pytest.mark.parametrize("arguments", ['{"call": 9, "start": 0}', '{"call": 0, "start": 0}', '{"start": "x"}'])
def test_a_wrong_place_to_read_on_is_answered_with_the_right_form(
    lab: Lab, server: ScriptedServer, arguments: str
) -> None:
    lab.write(tools__note_py=tool_file(LONG))
    model_spec(lab, server.base_url, context_window=4000)
    write_project(
        lab, {"work": f'@call note {{"text": "a"}}\n@call read_more {arguments}\n@answer: x'}, {"tools": ["note"]}
    )
    assert lab.run().output == "x"
    assert server.requests[-1].messages[-1]["content"] != ""
    assert "line" not in server.requests[-1].messages[-1]["content"]


def test_the_whole_result_is_in_the_journal(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file(LONG))
    model_spec(lab, server.base_url, context_window=4000)
    write_project(lab, {"work": '@call note {"text": "a"}\n@answer: x'}, {"tools": ["note"]})
    run_id = lab.run().run_id
    (record,) = [step.record for step in lab.steps(run_id) if step.kind == "tool"]
    assert record["result"].rstrip().endswith("line 01999")


def test_old_results_make_room_for_new_ones(lab: Lab, server: ScriptedServer) -> None:
    lab.write(tools__note_py=tool_file('return text + " " + "word " * 500'))
    model_spec(lab, server.base_url, context_window=3000)
    calls = "\n".join(f'@call note {{"text": "{number}"}}' for number in range(8))
    write_project(lab, {"work": f"{calls}\n@answer: done"}, {"tools": ["note"]})
    server.configure(context_window=3000)
    assert lab.run().output == "done"
    results = [message["content"] for message in server.requests[-1].messages if message["role"] == "tool"]
    assert "left out to make room]" in results[0]
    assert len(results[-1]) > 2000


_NAMES = st.sampled_from(["note", "notes", "", "read_more", "x" * 70])
_ARGUMENTS = st.one_of(
    st.text(max_size=30),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["text", "y"]), inner)),
        max_leaves=5,
    ).map(json.dumps),
)
_REPLIES = st.builds(
    Reply,
    st.one_of(
        st.text(max_size=60), st.sampled_from(['{"n": 1}', '{"answer": "x"}', '{"tool": "note"}', "```json\n{}"])
    ),
    st.lists(st.builds(ToolCall, _NAMES, _ARGUMENTS), max_size=3).map(tuple),
    st.sampled_from(["", "length", "content_filter"]),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(replies=st.lists(_REPLIES, min_size=1, max_size=5), protocol=st.sampled_from(["native", "json"]))
def test_no_answer_of_a_model_ever_loses_a_run(lab: Lab, replies: list[Reply], protocol: str) -> None:
    def answer(messages: list[Any], _tools: list[Any]) -> Reply:
        return replies[sum(message["role"] == "assistant" for message in messages) % len(replies)]

    lab.write(tools__note_py=tool_file('return f"noted {text}"'))
    task = {"description": "Do it", "output": {"n": "int"}, "guardrail_max_retries": 1}
    write_project(lab, {"work": task}, {"tools": ["note"], "max_iter": 4})
    with ScriptedServer(answer) as wild:
        model_spec(lab, wild.base_url, tool_calling=protocol, max_attempts=1)
        outcome = lab.run()
        assert outcome.status in ("succeeded", "failed")
        assert "unexpected" not in outcome.reason
        assert lab.summary(outcome.run_id)["usage"]["model_calls"] == wild.stats()["attempts"]
