"""The agent loop by itself: what it asks, what it runs, what it does with answers of every kind."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from agents.loop import AgentFailed, Conversation
from models.answer import Answer, ToolCall
from models.marks import is_set_apart, strip_marks

NOTE = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Note a line.",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    },
}
Say = Callable[[Sequence[Mapping[str, Any]]], Answer]


class Talk:
    """A conversation with a model that is a function of the messages, and tools that repeat their arguments."""

    def __init__(self, say: Say, *, result: str = "", **keys: Any) -> None:
        self.asked: list[tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = []
        self.acted: list[ToolCall] = []
        self._say, self._result = say, result
        usual: dict[str, Any] = {"tools": [NOTE], "protocol": "native", "window": 100_000, "max_output_tokens": 100}
        messages = [{"role": "system", "content": "You work."}, {"role": "user", "content": "Do it."}]
        self.conversation = Conversation(messages, ask=self._ask, act=self._act, **(usual | keys))

    def _ask(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Answer:
        self.asked.append(([dict(message) for message in messages], list(tools)))
        return self._say(messages)

    def _act(self, call: ToolCall) -> str:
        self.acted.append(call)
        return self._result or f"noted {call.arguments}"


def turn_of(messages: Sequence[Mapping[str, Any]]) -> int:
    return sum(message["role"] == "assistant" for message in messages)


def by_turn(*answers: Answer) -> Say:
    return lambda messages: answers[min(turn_of(messages), len(answers) - 1)]


def call(text: str, ident: str = "c1") -> ToolCall:
    return ToolCall(ident, "note", json.dumps({"text": text}))


def test_an_answer_is_returned_without_blanks_around_it() -> None:
    talk = Talk(by_turn(Answer("  done\n")))
    assert talk.conversation.run(5) == "done"
    assert talk.conversation.messages[-1] == {"role": "assistant", "content": "done"}


def test_calls_run_in_their_order_and_their_results_are_sent_back() -> None:
    talk = Talk(by_turn(Answer("thinking", (call("a", "c1"), call("b", "c2"))), Answer("done")))
    assert talk.conversation.run(5) == "done"
    assert [json.loads(made.arguments)["text"] for made in talk.acted] == ["a", "b"]
    assert talk.asked[1][0][2:] == [
        {
            "role": "assistant",
            "content": "thinking",
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "note", "arguments": '{"text": "a"}'}},
                {"id": "c2", "type": "function", "function": {"name": "note", "arguments": '{"text": "b"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "name": "note", "content": 'noted {"text": "a"}'},
        {"role": "tool", "tool_call_id": "c2", "name": "note", "content": 'noted {"text": "b"}'},
    ]


def test_the_last_step_offers_no_tools_and_says_so() -> None:
    talk = Talk(lambda messages: Answer("", (call("a"),)) if turn_of(messages) < 2 else Answer("best"))
    assert talk.conversation.run(3) == "best"
    assert [len(tools) for _, tools in talk.asked] == [1, 1, 0]
    assert talk.asked[-1][0][-1]["content"] == (
        "You have used all your steps. No tool can be called any more: give your best final answer now."
    )


def test_one_step_is_one_answer_without_tools() -> None:
    talk = Talk(by_turn(Answer("done")))
    assert talk.conversation.run(1) == "done"
    assert talk.asked[0][1] == []
    assert len(talk.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said", "fix"),
    [
        (Answer(" "), "the model answered with nothing, also when asked again", "try another model (`--model`)"),
        (
            Answer("half", cut_off=True),
            "the model's answer was cut off at its output limit, also when asked again",
            "raise `max_tokens` of the model",
        ),
    ],
)
def test_a_useless_answer_is_complained_about_three_times_and_then_given_up(
    answer: Answer, said: str, fix: str
) -> None:
    talk = Talk(lambda _messages: answer)
    with pytest.raises(AgentFailed) as caught:
        talk.conversation.run(25)
    assert (str(caught.value), caught.value.fix, len(talk.asked)) == (said, fix, 4)


def test_a_model_that_only_calls_tools_is_given_up_at_the_last_step() -> None:
    talk = Talk(lambda _messages: Answer("", (call("a"),)))
    with pytest.raises(AgentFailed) as caught:
        talk.conversation.run(4)
    assert str(caught.value) == "the model went on calling tools instead of answering"
    assert (len(talk.asked), len(talk.acted)) == (4, 3)


def test_refused_answers_stay_in_the_conversation_with_the_reasons() -> None:
    talk = Talk(lambda messages: Answer("better" if messages[-1]["content"] == "too short" else "first"))
    assert talk.conversation.run(5) == "first"
    talk.conversation.refuse("too short")
    assert talk.conversation.run(5) == "better"
    assert [message["content"] for message in talk.asked[-1][0][2:]] == ["first", "too short"]


def test_a_long_result_is_cut_and_read_on_without_the_tool() -> None:
    text = "".join(f"{number:04d} " for number in range(2000))
    more = ToolCall("c2", "read_more", '{"call": 1, "start": 5000}')
    talk = Talk(by_turn(Answer("", (call("a"),)), Answer("", (more,)), Answer("done")), result=text, window=2500)
    assert talk.conversation.run(9) == "done"
    cut, rest = (message["content"] for message in talk.asked[-1][0] if message["role"] == "tool")
    assert cut.startswith("0000 0001")
    assert len(cut) < 3000
    assert "1000 1001" in rest
    assert len(talk.acted) == 1


def test_what_others_may_have_written_is_set_apart_on_every_page() -> None:
    text = "".join(f"{number:04d} " for number in range(2000))
    more = ToolCall("c2", "read_more", '{"call": 1, "start": 5000}')
    say = by_turn(Answer("", (call("a"),)), Answer("", (more,)), Answer("done"))
    talk = Talk(say, result=text, window=2500, source=lambda: "web/note#1", notice="Marks mean this.")
    assert talk.conversation.run(9) == "done"
    pages = [message["content"] for message in talk.asked[-1][0] if message["role"] == "tool"]
    assert all(page.startswith('<untrusted from="web/note#1" k=') and is_set_apart(page) for page in pages)
    assert "1000 1001" in strip_marks(pages[1])
    assert talk.asked[0][0][0]["content"] == "You work.\nMarks mean this."


def test_a_result_that_is_shortened_to_make_room_keeps_its_marks() -> None:
    def say(messages: Sequence[Mapping[str, Any]]) -> Answer:
        turn = turn_of(messages)
        return Answer("", (call(str(turn), f"c{turn}"),)) if turn < 6 else Answer("done")

    talk = Talk(say, result="word " * 400, window=2000, source=lambda: "web")
    assert talk.conversation.run(9) == "done"
    first = next(message["content"] for message in talk.asked[-1][0] if message["role"] == "tool")
    assert first.endswith("left out to make room]")
    assert strip_marks(first).startswith("word word")
    assert is_set_apart(first)


def test_read_more_is_an_ordinary_unknown_tool_until_a_result_was_cut() -> None:
    more = ToolCall("c1", "read_more", '{"call": 1, "start": 0}')
    talk = Talk(by_turn(Answer("", (more,)), Answer("done")))
    assert talk.conversation.run(5) == "done"
    assert [made.name for made in talk.acted] == ["read_more"]


def test_the_json_protocol_stands_in_the_system_message_and_offers_no_functions() -> None:
    talk = Talk(
        by_turn(Answer('{"tool": "note", "arguments": {"text": "a"}}'), Answer('{"answer": "done"}')), protocol="json"
    )
    assert talk.conversation.run(5) == "done"
    assert all(tools == [] for _, tools in talk.asked)
    assert json.dumps(NOTE["function"]) in talk.asked[0][0][0]["content"]
    assert talk.asked[1][0][-1] == {"role": "user", "content": 'Result of note:\nnoted {"text": "a"}'}


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ("Sure!", "Your reply was not one JSON object."),
        ("[1]", "Your reply was JSON, but not an object."),
        ('{"answer": "x", "tool": "note"}', "Your reply has other keys than the protocol's."),
        ('{"answer": "x"} trailing', "Your reply was not one JSON object."),
        ("NaN", "Your reply was JSON, but not an object."),
    ],
)
def test_in_the_json_protocol_nothing_is_guessed(reply: str, complaint: str) -> None:
    talk = Talk(lambda messages: Answer(reply if len(messages) == 2 else '{"answer": "done"}'), protocol="json")
    assert talk.conversation.run(5) == "done"
    assert talk.asked[1][0][-1]["content"].startswith(complaint)


def test_a_fence_around_the_json_is_taken_off() -> None:
    talk = Talk(by_turn(Answer('```json\n{"answer": {"n": 1}}\n```')), protocol="json")
    assert talk.conversation.run(5) == '{"n": 1}'


def test_without_tools_the_json_protocol_is_plain_text() -> None:
    talk = Talk(by_turn(Answer("plain")), protocol="json", tools=[])
    assert talk.conversation.run(5) == "plain"
    assert talk.asked[0][0][0]["content"] == "You work."


def test_the_newest_results_are_kept_whole_when_room_is_made() -> None:
    def say(messages: Sequence[Mapping[str, Any]]) -> Answer:
        turn = turn_of(messages)
        return Answer("", (call(str(turn), f"c{turn}"),)) if turn < 6 else Answer("done")

    talk = Talk(say, result="word " * 400, window=2000)
    assert talk.conversation.run(9) == "done"
    results = [message["content"] for message in talk.asked[-1][0] if message["role"] == "tool"]
    assert results[0].endswith("left out to make room]")
    assert results[-2:] == ["word " * 400] * 2


@pytest.mark.parametrize("seed", range(3))
def test_the_same_answers_give_the_same_messages(seed: int) -> None:
    def run() -> list[dict[str, Any]]:
        talk = Talk(by_turn(Answer("", (call(f"{seed}"),)), Answer("")), result="x" * 9000, window=2000)
        with pytest.raises(AgentFailed):
            talk.conversation.run(5)
        return talk.conversation.messages

    assert run() == run()
