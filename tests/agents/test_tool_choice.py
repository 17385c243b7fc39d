"""Which of many tools an agent is offered, and how it comes by the others."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from agents.loop import Conversation
from agents.tool_choice import FIND_TOOLS, choose_tools, find_tools, name_of
from models.answer import Answer, ToolCall

ABOUT = {
    "send_mail": "Send an e-mail to somebody.",
    "read_calendar": "Read the appointments of a day from the calendar.",
    "add_appointment": "Put an appointment into the calendar.",
    "search_web": "Search the web for pages about a topic.",
    "convert_currency": "Convert an amount of money from one currency into another.",
    "translate": "Translate a text into another language.",
    "weather": "Tell the weather forecast of a town.",
    "book_room": "Book a meeting room in a building.",
}


def schema(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"text": {"type": "string", "description": "What to work on."}}}
    return {"type": "function", "function": {"name": name, "description": ABOUT[name], "parameters": parameters}}


ALL = [schema(name) for name in ABOUT]


def names(schemas: Sequence[Mapping[str, Any]]) -> list[str]:
    return [name_of(one) for one in schemas]


def test_few_tools_are_all_offered() -> None:
    assert choose_tools(ALL, "anything", 8) == (ALL, [])


def test_of_many_tools_those_are_offered_whose_words_fit_the_task() -> None:
    offered, kept = choose_tools(ALL, "Find a free day in the calendars and book a room for the meeting.", 4)
    assert names(offered) == ["read_calendar", "add_appointment", "book_room"]
    assert sorted([*names(offered), *names(kept)]) == sorted(ABOUT)


def test_where_too_few_fit_the_first_ones_fill_the_rest() -> None:
    offered, _ = choose_tools(ALL, "Forecasts, please", 4)
    assert names(offered) == ["send_mail", "read_calendar", "weather"]


@pytest.mark.parametrize("text", ["", "???", '" OR name:*', "日程を確認する"])
def test_any_text_can_be_looked_for(text: str) -> None:
    offered, kept = choose_tools(ALL, text, 4)
    assert names(offered) == ["send_mail", "read_calendar", "add_appointment"]
    assert len(kept) == 5


def test_the_best_is_found_first_by_any_form_of_its_words() -> None:
    assert find_tools(ALL, "mailing somebody")[0] == "send_mail"
    assert find_tools(ALL, "zebra") == []


class Model:
    """Looks for a tool, calls it, and answers."""

    def __init__(self, *turns: Answer) -> None:
        self.turns = turns
        self.offered: list[list[str]] = []
        self.messages: list[Mapping[str, Any]] = []
        self.acted: list[str] = []

    def ask(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> Answer:
        self.offered.append(names(tools))
        self.messages = list(messages)
        return self.turns[sum(message["role"] == "assistant" for message in messages)]

    def act(self, call: ToolCall) -> str:
        self.acted.append(call.name)
        return "sunny"

    def talk(self, protocol: str = "native") -> Conversation:
        offered, kept = choose_tools(ALL, "Translate the text.", 3)
        messages = [{"role": "system", "content": "You work."}, {"role": "user", "content": "Translate the text."}]
        return Conversation(messages, offered, self.ask, self.act, protocol, 100_000, 100, kept_back=kept)


def find(wanted: str) -> Answer:
    return Answer("", (ToolCall("c1", FIND_TOOLS, json.dumps({"wanted": wanted})),))


def test_an_agent_finds_a_tool_that_it_was_not_offered_and_calls_it() -> None:
    model = Model(find("weather of a town"), Answer("", (ToolCall("c2", "weather", "{}"),)), Answer("It is sunny."))
    assert model.talk().run(5) == "It is sunny."
    assert model.offered[0] == ["send_mail", "translate", FIND_TOOLS]
    assert model.offered[1] == ["send_mail", "translate", "weather", FIND_TOOLS]
    assert model.acted == ["weather"]


def test_what_was_found_is_told_with_its_first_line() -> None:
    model = Model(find("weather of a town"), Answer("I know enough."))
    model.talk().run(5)
    told = next(message["content"] for message in model.messages if message["role"] == "tool")
    assert told == "You can call now:\n- weather: Tell the weather forecast of a town."


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ('{"wanted": "zebra"}', "No other tool fits. Do with those that you have, or say it in other words."),
        ("[]", 'find_tools takes {"wanted": "what the tool should do"}'),
        ("{", 'find_tools takes {"wanted": "what the tool should do"}'),
    ],
)
def test_an_agent_that_finds_nothing_is_told_so(arguments: str, told: str) -> None:
    model = Model(Answer("", (ToolCall("c1", FIND_TOOLS, arguments),)), Answer("Then not."))
    model.talk().run(5)
    assert [message["content"] for message in model.messages if message["role"] == "tool"] == [told]


def test_in_the_json_protocol_a_found_tool_is_told_with_its_schema() -> None:
    wanted = '{"tool": "find_tools", "arguments": {"wanted": "weather of a town"}}'
    model = Model(Answer(wanted), Answer('{"answer": "Enough."}'))
    assert model.talk("json").run(5) == "Enough."
    assert '"name": "find_tools"' in model.messages[0]["content"]
    assert '"name": "weather"' not in model.messages[0]["content"]
    assert '"name": "weather"' in model.messages[-1]["content"]
