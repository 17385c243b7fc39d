"""The script alone: what is said to which conversation."""

import json
from typing import Any

import pytest

from tests.server_script import Json, Reply, ScriptError, example, scripted_reply

SEARCH: Json = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
SAVE: Json = {"properties": {"text": {"type": "string"}, "draft": {"type": "boolean", "default": False}}}
TOOLS = [{"function": {"name": "search", "parameters": SEARCH}}, {"function": {"name": "save", "parameters": SAVE}}]
QUERY = '{"query": "x"}'
RIGHT = [f"search {QUERY}"]


def _user(text: str) -> Json:
    return {"role": "user", "content": text}


def _said(reply: Reply) -> Json:
    calls = [{"id": "1", "function": {"name": call.name, "arguments": call.arguments}} for call in reply.calls]
    return {"role": "assistant", "content": reply.text, "tool_calls": calls}


def _reply(messages: list[Json], **more: Any) -> Reply:
    return scripted_reply({"messages": messages, **more})


def _with_tools(prompt: str, rounds: int = 6) -> list[Any]:
    """Play an agent: answer every tool call until a text comes. A text is a string, a reply with calls a list."""
    messages, replies = [_user(prompt)], list[Any]()
    for _ in range(rounds):
        reply = _reply(messages, tools=TOOLS)
        if not reply.calls:
            return [*replies, reply.text]
        replies.append([f"{call.name} {call.arguments}" for call in reply.calls])
        results = [{"role": "tool", "tool_call_id": "1", "content": f"result of {call.name}"} for call in reply.calls]
        messages += [_said(reply), *results]
    return replies


def _asked_again(prompt: str, times: int) -> list[str]:
    messages, replies = [_user(prompt)], list[str]()
    for _ in range(times):
        reply = _reply(messages)
        replies.append(reply.text)
        messages += [_said(reply), _user("said")]
    return replies


def test_tools_the_task_asks_for_are_called_once_in_order_and_then_it_answers() -> None:
    first, second, text = _with_tools("Use the tools to write about moss.")
    assert first == ['search {"query": "query of moss"}']
    assert second == ['save {"text": "text of moss", "draft": false}']
    assert text.startswith("Model result for moss. Inputs ")


@pytest.mark.parametrize("prompt", ["Report about moss.", "Do research about moss.", "@answer: use the tools"])
def test_tools_the_task_does_not_ask_for_are_not_called(prompt: str) -> None:
    assert len(_with_tools(prompt)) == 1


def test_a_tool_that_is_named_is_asked_for() -> None:
    assert len(_with_tools("First search, then report about moss.")) == 3


def test_a_schema_in_the_prompt_is_answered_with_an_example() -> None:
    prompt = f"Report about moss. Like {{this}}:\n```json\n{json.dumps(SAVE, indent=2)}\n```\nAnd {{that}}."
    assert json.loads(_reply([_user(prompt)]).text) == {"text": "text of moss", "draft": False}


def test_a_schema_in_crewai_s_wrapping_is_found() -> None:
    wrapped = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SEARCH}}
    prompt = f"about moss\nFormat your final answer according to the following OpenAPI schema: {json.dumps(wrapped)}"
    assert json.loads(_reply([_user(prompt)]).text) == {"query": "query of moss"}


def test_a_json_object_without_a_schema_holds_the_plain_answer() -> None:
    text = _reply([_user("about moss")], response_format={"type": "json_object"}).text
    assert json.loads(text)["result"].startswith("Model result for moss.")


def test_an_example_keeps_to_what_the_schema_demands() -> None:
    rest: Json = {"type": "object", "properties": {"x": {"type": ["null", "string"]}, "y": {}}, "required": ["x"]}
    schema: Json = {
        "$defs": {"Day": {"type": "string", "format": "date"}},
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "day": {"$ref": "#/$defs/Day"},
            "count": {"type": "integer", "minimum": 3},
            "share": {"type": "number", "maximum": 0.5},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
            "names": {"type": "array", "items": {"type": "string", "maxLength": 5}, "minItems": 2},
            "rest": rest,
        },
    }
    assert example(schema, "moss") == {
        "kind": "a",
        "day": "2026-01-02",
        "count": 3,
        "share": 0.5,
        "maybe": True,
        "names": ["names", "names"],
        "rest": {"x": "x of moss"},
    }


def test_an_example_of_a_schema_that_holds_itself_ends() -> None:
    tree: Json = {"properties": {"left": {"$ref": "#/$defs/Tree"}}, "required": ["left"]}
    assert json.dumps(example({**tree, "$defs": {"Tree": tree}})).count("left") == 8


@pytest.mark.parametrize(
    ("prompt", "replies"),
    [
        ("@answer: one line", ["one line"]),
        ("Do it.\n  @answer:\n# Title\n\ntwo\n@end\nGood luck.", ["# Title\n\ntwo"]),
        ("\nCurrent Task: @answer: as CrewAI puts it", ["as CrewAI puts it"]),
        ("@answer: mine\n\nThis is the context you're working with:\n@answer: another task's", ["mine"]),
        ("@long 4", ["the findings agree with"]),
        ("@empty", [""]),
        (f"@call search {QUERY}\n@answer: ok", [RIGHT, "ok"]),
        ("about moss\n@call search\n@answer: ok", [['search {"query": "query of moss"}'], "ok"]),
        (f'@call search {{"query": 1}}\n@call search {QUERY}\n@answer: ok', [['search {"query": 1}'], RIGHT, "ok"]),
        (f"@parallel\n@call save {{}}\n@call search {QUERY}\n\n@call save {{}}\n@answer: ok",
         [["save {}", *RIGHT], ["save {}"], "ok"]),
        (f"@malformed search {QUERY}\n@answer: ok", [['search {"query": "x"'], RIGHT, "ok"]),
        (f"@list-arguments search {QUERY}\n@answer: ok", [['search ["x"]'], RIGHT, "ok"]),
        ("@malformed save {}\n@answer: ok", [["save {"], ["save {}"], "ok"]),
        ("@unknown-tool\n@answer: ok", [["no_such_tool {}"], "ok"]),
        ("@unknown-tool guess\n@answer: ok", [["guess {}"], "ok"]),
        (f"@keep-calling search {QUERY}", [RIGHT] * 6),
        (f"@call search {QUERY}\n@call save {{}}\n@echo", [RIGHT, ["save {}"], "result of search\nresult of save"]),
    ],
)  # fmt: skip
def test_directives_in_the_task_say_what_is_replied(prompt: str, replies: list[Any]) -> None:
    assert _with_tools(prompt) == replies


def test_directives_may_stand_in_the_system_message() -> None:
    system = {"role": "system", "content": "You are a writer.\n@answer: from the backstory"}
    assert _reply([system, _user("about moss")]).text == "from the backstory"


def test_a_cut_off_answer_says_so() -> None:
    assert _reply([_user("@answer: abcdef\n@cut-off")]) == Reply("abc", finish="length")


def test_a_plan_ends_when_no_tools_are_offered_any_more() -> None:
    assert _reply([_user("@keep-calling search\n@answer: enough")]).text == "enough"
    assert _reply([_user("@keep-calling search\n@answer: enough")], tools=TOOLS, tool_choice="none").text == "enough"


def test_a_tool_choice_is_obeyed() -> None:
    forced = {"type": "function", "function": {"name": "save"}}
    assert _reply([_user("about moss")], tools=TOOLS, tool_choice=forced).calls[0].name == "save"
    assert _reply([_user("about moss")], tools=TOOLS, tool_choice="required").calls[0].name == "search"


@pytest.mark.parametrize(
    ("prompt", "replies"),
    [
        ("@answer: a\n@after-refusal: b\n@after-refusal: c", ["a", "b", "c", "c"]),
        ("@empty\n@answer: a", ["", "a", "a", "a"]),
        ("@answer: abcdef\n@cut-off", ["abc", "abcdef", "abcdef", "abcdef"]),
    ],
)
def test_asking_again_gets_another_answer(prompt: str, replies: list[str]) -> None:
    assert _asked_again(prompt, 4) == replies


def test_a_retry_in_a_fresh_conversation_counts_as_asking_again() -> None:
    retried = "\n\nThis is the context you're working with:\n### Previous attempt failed validation: too short"
    assert _reply([_user("@answer: a\n@after-refusal: b" + retried)]).text == "b"


@pytest.mark.parametrize("directive", ["@malformed", "@list-arguments"])
@pytest.mark.parametrize("kept", ['{"query": "x"', "{}", None])
def test_a_wrong_call_is_corrected_however_the_caller_keeps_it(directive: str, kept: str | None) -> None:
    messages = [_user(f"{directive} search {QUERY}\n@answer: ok")]
    if kept is None:
        messages.append(_user("broken arguments"))
    else:
        call = {"id": "1", "function": {"name": "search", "arguments": kept}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "1", "content": "broken arguments"})
    reply = _reply(messages, tools=TOOLS)
    assert [call.arguments for call in reply.calls] == [QUERY]
    messages += [_said(reply), {"role": "tool", "tool_call_id": "1", "content": "found"}]
    assert _reply(messages, tools=TOOLS).text == "ok"


@pytest.mark.parametrize(
    ("directives", "replies"),
    [
        (f"@call search {QUERY}\n@answer: ok", [f'{{"tool": "search", "arguments": {QUERY}}}', '{"answer": "ok"}']),
        (f"@malformed search {QUERY}\n@answer: ok\n@after-refusal: never",
         ['{"tool": "search", "arguments": {"query": "x"}', f'{{"tool": "search", "arguments": {QUERY}}}',
          '{"answer": "ok"}']),
        ("@unknown-tool\n@empty\n@echo", ['{"tool": "no_such_tool", "arguments": {}}', "", '{"answer": "said"}']),
        ("@answer: a\n@after-refusal: b", ['{"answer": "a"}', '{"answer": "b"}']),
    ],
)  # fmt: skip
def test_a_model_without_function_calling_speaks_the_json_protocol(directives: str, replies: list[str]) -> None:
    assert _asked_again(f"@text-tool-json\n{directives}", len(replies)) == replies


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("@anwser: x", "no such directive: @anwser"),
        ("@long many", "@long: not a number: 'many'"),
        ("@call", "@call: which tool?"),
        ("@call search {", "@call search: arguments are not JSON: "),
        ("@call search []", "@call search: arguments must be a JSON object"),
        ("@answer:\nno end", "a block has no @end"),
    ],
)
def test_a_wrong_directive_is_an_error(line: str, problem: str) -> None:
    with pytest.raises(ScriptError) as raised:
        _reply([_user(line)], tools=TOOLS)
    assert str(raised.value).startswith(problem)
