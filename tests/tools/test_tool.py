"""A function under `@tool` becomes what a model can call: its schema, its checks, its result as text."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from muster import ToolContext, tool
from project.errors import AppError
from tests.tools.files import context
from tools.tool import FIXED, Tool, make_tool, openai_schema, page, shorten, unset_parameters

HERE = context(Path("/nowhere"))


class Address(BaseModel):
    street: str
    number: int = 1


class Tree(BaseModel):
    name: str
    children: "list[Tree]" = []


@tool(effect="read", returns="trusted", timeout_seconds=5)
def find(
    query: str,
    kind: Literal["a", "b"] = "a",
    limit: Annotated[int, Field(ge=1, le=5)] = 3,
    since: date | None = None,
) -> dict[str, Any]:
    """Find things.

    Looks everywhere.

    Args:
        query (str): What to look for,
            in a few words.
        limit: Most things to find.

    Returns:
        What was found.
    """
    return {"query": query, "kind": kind, "limit": limit, "since": str(since)}


def marked(function: Callable[..., Any], **said: Any) -> Callable[..., Any]:
    function.__doc__ = function.__doc__ or "Do it."
    options: dict[str, Any] = {"effect": "read"} | said
    return tool(**options)(function)


def result_of(value: object) -> str:
    def give() -> object:
        return value

    return make_tool(marked(give)).call({}, HERE)


def test_a_tool_is_what_the_function_and_its_mark_say() -> None:
    made = make_tool(find)
    assert (made.name, made.effect, made.repeat, made.returns) == ("find", "read", "safe", "trusted")
    assert (made.private, made.timeout_seconds, made.cache) == (False, 5, False)
    assert made.description == "Find things.\n\nLooks everywhere.\n\nReturns:\n    What was found."


def test_the_schema_says_what_the_model_may_set() -> None:
    assert make_tool(find).parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for, in a few words."},
            "kind": {"type": "string", "enum": ["a", "b"], "default": "a"},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 5,
                "default": 3,
                "description": "Most things to find.",
            },
            "since": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
        },
        "required": ["query"],
        "additionalProperties": False,
    }


def test_a_model_among_the_parameters_is_written_out_in_place() -> None:
    def send(to: Address, title: str) -> str:
        return f"{title} to {to.street} {to.number}"

    made = make_tool(marked(send))
    to = made.parameters["properties"]["to"]
    assert to == {
        "type": "object",
        "properties": {"street": {"type": "string"}, "number": {"type": "integer", "default": 1}},
        "required": ["street"],
    }
    assert "title" in made.parameters["properties"]
    assert made.call({"to": {"street": "Elm", "number": 4}, "title": "x"}, HERE) == "x to Elm 4"


def test_a_type_that_holds_itself_has_an_end_in_the_schema_and_none_in_the_check() -> None:
    def plant(tree: Tree) -> str:
        return tree.children[0].children[0].name

    made = make_tool(marked(plant))
    assert "$ref" not in json.dumps(made.parameters)
    assert made.call({"tree": {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}}, HERE) == "c"
    assert made.check({"tree": {"name": "a", "children": [{"nam": "b"}]}}) == ["`tree.children[0].name` is missing"]


def test_strict_is_offered_only_where_everything_is_required_and_closed() -> None:
    def closed(a: str, b: Literal["x", "y"], c: list[int]) -> str:
        return a + b + str(c)

    def opened(a: dict[str, str]) -> str:
        return str(a)

    assert openai_schema(make_tool(marked(closed)))["function"]["strict"] is True
    assert "strict" not in openai_schema(make_tool(marked(opened)))["function"]
    assert "strict" not in openai_schema(make_tool(find))["function"]
    assert openai_schema(make_tool(find))["type"] == "function"


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        ({"query": "x"}, []),
        ({"query": "x", "limit": "4", "since": "2026-01-02"}, []),
        ({}, ["`query` is missing"]),
        ([1], ["the arguments must be a JSON object, got [1]"]),
        (None, ["the arguments must be a JSON object, got null"]),
        ({"query": 5}, ["`query`: input should be a valid string, got 5"]),
        ({"query": "x", "limit": 9}, ["`limit`: input should be less than or equal to 5, got 9"]),
        ({"query": "x", "kind": "c"}, ["`kind`: input should be 'a' or 'b', got \"c\""]),
        (
            {"qurey": "x"},
            [
                "unknown argument `qurey`; did you mean `query` instead of `qurey`? "
                "the tool takes: query, kind, limit, since",
                "`query` is missing",
            ],
        ),
        ({"query": "x", "since": {1, 2}}, ["the arguments are not JSON"]),
    ],
)
def test_problems_are_told_in_words_a_model_can_act_on(arguments: object, problems: list[str]) -> None:
    assert make_tool(find).check(arguments) == problems


def test_text_that_is_no_number_is_not_guessed() -> None:
    (problem,) = make_tool(find).check({"query": "x", "limit": "three"})
    assert problem.startswith("`limit`: input should be a valid integer")


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_any_arguments_are_checked_without_raising(arguments: object) -> None:
    assert isinstance(make_tool(find).check(arguments), list)


def test_a_call_with_wrong_arguments_runs_nothing() -> None:
    ran: list[str] = []

    def note(text: str) -> None:
        ran.append(text)

    with pytest.raises(ValueError, match="`text` is missing"):
        make_tool(marked(note)).call({}, HERE)
    assert ran == []


def test_a_setting_is_validated_passed_on_and_out_of_sight() -> None:
    made = make_tool(find, {"limit": 2, "since": "2026-05-06"})
    assert list(made.parameters["properties"]) == ["query", "kind"]
    assert json.loads(made.call({"query": "x"}, HERE)) == {
        "query": "x",
        "kind": "a",
        "limit": 2,
        "since": "2026-05-06",
    }
    assert made.check({"query": "x", "limit": 1}) == ["`limit` is set by the project; leave it out"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"limit": 9}, "tool `find`: `limit`: input should be less than or equal to 5"),
        ({"limt": 1}, "tool `find` has no argument `limt`"),
        ({"context": 1}, "tool `find`: `context` is filled by Muster"),
    ],
)
def test_a_wrong_setting_is_a_configuration_error(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(AppError) as caught:
        make_tool(find, settings)
    assert (str(caught.value), caught.value.exit_code) == (said, 3)


def test_a_fixed_parameter_is_never_the_models() -> None:
    def search(query: str, folder: Annotated[str, FIXED]) -> str:
        return f"{query} in {folder}"

    function = marked(search)
    assert unset_parameters(function) == ["folder"]
    assert list(make_tool(function).parameters["properties"]) == ["query"]
    assert make_tool(function).check({"query": "x", "folder": "/etc"}) != []
    assert make_tool(function, {"folder": "docs"}).call({"query": "x"}, HERE) == "x in docs"


def test_the_context_and_the_key_are_filled_in_and_hidden() -> None:
    def post(text: str, context: ToolContext, idempotency_key: str) -> str:
        return f"{text} {context.project} {idempotency_key}"

    made = make_tool(marked(post, effect="send", repeat="keyed"))
    assert list(made.parameters["properties"]) == ["text"]
    assert made.call({"text": "x"}, HERE) == "x /nowhere key-1"


def test_parameters_may_be_called_like_methods_of_a_model() -> None:
    def odd(json: str, copy: int, model_dump: str = "z", schema: str = "s") -> str:
        return f"{json}{copy}{model_dump}{schema}"

    made = make_tool(marked(odd))
    assert list(made.parameters["properties"]) == ["json", "copy", "model_dump", "schema"]
    assert made.call({"json": "a", "copy": 1}, HERE) == "a1zs"


class Color(StrEnum):
    RED = "red"


@dataclass
class Point:
    x: int
    tags: frozenset[str]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is\n", "as it is\n"),
        ("", ""),
        (None, "(no result)"),
        ({"ü": [1, None, True]}, '{"ü": [1, null, true]}'),
        ([Address(street="Elm")], '[{"street": "Elm", "number": 1}]'),
        (Point(1, frozenset({"b", "a", "c"})), '{"x": 1, "tags": ["a", "b", "c"]}'),
        ({"d": date(2026, 1, 2), "p": Path("a/b")}, '{"d": "2026-01-02", "p": "a/b"}'),
        (Color.RED, "red"),
        ("half \ud800", "half ?"),
    ],
)
def test_a_result_becomes_text(value: object, text: str) -> None:
    assert result_of(value) == text


def test_a_result_without_a_text_form_is_named() -> None:
    with pytest.raises(TypeError, match="give returned something of type object that has no text form"):
        result_of(object())


def test_an_exception_of_the_function_comes_out_as_it_is() -> None:
    def fail() -> str:
        raise ConnectionError("no route")

    with pytest.raises(ConnectionError, match="no route"):
        make_tool(marked(fail)).call({}, HERE)


def an_async_tool() -> Tool:
    async def fetch(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    return make_tool(marked(fetch))


def test_an_async_function_is_awaited() -> None:
    assert an_async_tool().call({"number": 1}, HERE) == "2"


def test_an_async_function_is_awaited_where_a_loop_runs_already() -> None:
    async def inside() -> str:
        return an_async_tool().call({"number": 1}, HERE)

    assert asyncio.run(inside()) == "2"


def no_type(x: int) -> str:
    return str(x)


del no_type.__annotations__["x"]


def star(*names: str) -> str:
    return str(names)


def by_place(name: str, /) -> str:
    return name


def no_json(call: Callable[[], str]) -> str:
    return call()


def unknown_type(x: str) -> str:
    return x


unknown_type.__annotations__["x"] = "Nowhere"


def größe(x: str) -> str:
    return x


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_type, "parameter `x` has no type"),
        (star, "`*names: str` cannot be filled by name"),
        (by_place, "`name: str` cannot be filled by name"),
        (no_json, "a parameter's type has no JSON form"),
        (unknown_type, "a type cannot be read: name 'Nowhere' is not defined"),
        (größe, "no provider takes 'größe' as a tool's name"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_named_with_its_place(function: Callable[..., Any], said: str) -> None:
    with pytest.raises(AppError) as caught:
        make_tool(marked(function))
    (problem,) = caught.value.problems
    assert problem.what.startswith(said)
    assert problem.where is not None
    assert (problem.where.path, problem.where.line) == (__file__, function.__code__.co_firstlineno)


def test_a_function_without_mark_or_docstring_is_refused() -> None:
    def bare() -> None: ...

    with pytest.raises(AppError, match="not a tool"):
        make_tool(bare)
    with pytest.raises(AppError, match="has no docstring"):
        make_tool(tool(effect="read")(bare))


def test_a_keyed_tool_must_take_its_key() -> None:
    def post(text: str) -> str:
        return text

    with pytest.raises(AppError, match="needs a parameter that takes the key"):
        make_tool(marked(post, effect="send", repeat="keyed"))


def test_a_short_text_is_not_cut() -> None:
    assert shorten("a\nb", 3) == "a\nb"


def test_a_long_text_is_cut_at_a_line_with_a_note_how_to_go_on() -> None:
    assert shorten("one line\ntwo lines\nthree", 20, "read_more(call=2, start=N)") == (
        "one line\ntwo lines\n[cut: characters 0–19 of 24 shown; call read_more(call=2, start=19) to go on]"
    )


def test_the_last_page_says_that_it_is_the_last() -> None:
    assert page("one line\ntwo", 9, 100) == "two\n[characters 9–12 of 12 shown; this is the end]"


@given(st.text(alphabet="ab \n", max_size=200), st.integers(1, 40))
def test_the_pages_together_are_the_text(text: str, limit: int) -> None:
    start, whole = 0, ""
    while start < len(text):
        shown = page(text, start, limit)
        note = shown[shown.rindex("[") :]
        end = int(note.split("–")[1].split(" ")[0])
        assert start < end <= start + limit
        assert shown.startswith(text[start:end])
        whole, start = whole + text[start:end], end
    assert whole == text


@pytest.mark.parametrize("start", [-5, 0, 3, 99])
def test_a_page_from_anywhere_is_no_error(start: int) -> None:
    assert page("abc", start, 2).endswith("]")


def test_a_probe_and_an_undo_take_what_they_name_of_the_calls_values() -> None:
    told: list[Any] = []

    def was_sent(number: int, idempotency_key: str) -> str | None:
        return f"sent {number + 1} under {idempotency_key}" if number else None

    async def unsend(to: str, result: str, context: ToolContext) -> None:
        told.append((to, result, context.headers))

    def send(number: int, to: str = "everybody") -> str:
        return f"{number} to {to}"

    made = make_tool(marked(send, effect="send", probe=was_sent, undo=unsend))
    here = ToolContext(Path("/nowhere"), Path("/nowhere"), {}, "k1")
    assert made.probe is not None
    assert made.undo is not None
    assert made.probe({"number": "4"}, here) == "sent 5 under k1"
    assert made.probe({"number": 0}, here) is None
    assert made.undo({"number": 4}, "the result", here) == "undone"
    assert told == [("everybody", "the result", {"Idempotency-Key": "k1"})]


def test_a_probe_that_wants_what_the_tool_lacks_is_refused() -> None:
    def was_sent(number: int, colour: str) -> str | None:
        return None

    def send(number: int) -> str:
        return str(number)

    with pytest.raises(AppError, match="`probe=was_sent` has a parameter `colour: str` that `send` lacks") as caught:
        make_tool(marked(send, effect="send", probe=was_sent))
    assert caught.value.fixes() == ["let it take some of: context, idempotency_key, number"]


def test_without_a_key_there_are_no_headers() -> None:
    assert ToolContext(Path("/nowhere"), Path("/nowhere")).headers == {}
