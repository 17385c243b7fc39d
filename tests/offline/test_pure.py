"""A pure function: the same bytes everywhere, no text that breaks it, always an end."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.marks import is_set_apart, set_apart
from models.offline.respond import estimate_tokens, respond
from tests.offline.talk import BACKGROUND, ROOT, a_task, definition, document_tools, read_tools, talk
from tests.pace import cpu_of

RECIPES = ("collect", "outline", "digest", "check", "none", None)
SCRIPT = """
import hashlib, json, sys
from tests.offline.test_pure import everything
print(hashlib.sha256(everything().encode()).hexdigest())
"""


def everything() -> str:
    """Return all messages of a crew's walk through all recipes."""
    context: dict[str, str] = {}
    said: list[Any] = []
    for recipe in ("collect", "outline", "digest", "check", "digest"):
        inputs = {"topic": "cost of agent crews", "words": 300}
        chat = talk(
            a_task("Do it.", recipe=recipe, inputs=inputs, context=dict(context)), "search_documents", "read_document"
        )
        context[f"{recipe}{len(context)}"] = chat.answer()
        said.append(chat.messages)
    return json.dumps(said)


def test_the_same_arguments_give_the_same_bytes() -> None:
    assert everything() == everything()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_with_another_hash_seed_gives_the_same_bytes(seed: str) -> None:
    environ = {**os.environ, "PYTHONHASHSEED": seed}
    made = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    assert made.stdout.strip() == hashlib.sha256(everything().encode()).hexdigest()


def test_respond_leaves_its_arguments_alone() -> None:
    messages, tools = [{"role": "user", "content": "go"}], document_tools("search_documents")
    before = json.dumps([messages, tools])
    respond(messages, tools, a_task("Collect.", recipe="collect", inputs={"topic": "tea"}))
    assert json.dumps([messages, tools]) == before


HOSTILE: dict[str, Callable[[], str]] = {
    "one line of ten megabytes": lambda: "Tea is a drink. " * 650_000,
    "ten megabytes without a space": lambda: "a" * 10_000_000,
    "a million brackets": lambda: "[" * 1_000_000,
    "citations in citations": lambda: "[a:1 [b:2 § c] " * 70_000,
    "many short lines": lambda: "- Tea is a drink that is made of leaves. [a.md:1]\n" * 200_000,
    "many different lines": lambda: "".join(
        f"- Tea number {n} is a drink that is made of leaves. [a.md:{n}]\n" for n in range(50_000)
    ),
    "control characters": lambda: "\x00\x1b[31m Tea\x07 is a drink\u202e of leaves. [a.md:1]\n" * 1000,
    "quotes": lambda: "“\"'" * 300_000,
    "spaces": lambda: " " * 5_000_000 + "Tea.",
    "dots": lambda: ". " * 2_000_000,
    "headings": lambda: "# Tea\n" * 300_000,
    "deep JSON": lambda: "[" * 100_000 + "]" * 100_000,
    "characters without spaces": lambda: "茶は葉から作る飲み物である。" * 100_000,
    "a lone surrogate": lambda: "Tea is a drink \ud800 that is made of leaves. [a.md:1]",
    "numbers": lambda: "1. 2. 3. 4) " * 300_000,
    "capital letters": lambda: "A. B. C. " * 500_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("recipe", ["digest", "check"])
def test_hostile_text_costs_no_more_than_its_length(name: str, recipe: str) -> None:
    text = HOSTILE[name]()
    task = a_task(text, expected_output=text, recipe=recipe, inputs={"topic": "tea"}, context={"notes": text})
    call = {"id": "1", "type": "function", "function": {"name": "search_documents", "arguments": '{"query": "tea"}'}}
    messages = [
        {"role": "user", "content": text},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": text},
        {"role": "assistant", "content": "An answer."},
        {"role": "user", "content": text},
    ]
    replies: list[Any] = []
    assert cpu_of(lambda: replies.append(respond(messages, [], task))) < 250  # quadratic would be thousands
    (reply,) = replies
    assert reply.text is not None
    assert not [character for character in reply.text if ord(character) < 32 and character != "\n"]


PIECES = (
    "# Tea\n",
    "## Summary\n",
    "- Tea is a drink that is made of leaves. [a.md:1]\n",
    "[a.md:1 § Tea] Tea is hot. ",
    "12  Tea is a warm drink for cold days.\n",
    "| Check | Result |\n",
    "_Offline: x_\n",
    "This needs a language model",
    "at most 5 words",
    "section `Cost` is missing\n",
    "sections: A, B, C",
    '"no such line anywhere"',
    "[",
    "\x00",
    "“",
    "\n\n",
)
TEXTS = st.text(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
CONTENT: st.SearchStrategy[Any] = st.one_of(
    st.none(), TEXTS, st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=2)
)
FUNCTIONS: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"name": TEXTS, "arguments": TEXTS | st.just('{"path": "a.md"}')}
)
CALLS: st.SearchStrategy[Any] = st.fixed_dictionaries({"id": st.text(max_size=3), "function": FUNCTIONS})
MESSAGES: st.SearchStrategy[Any] = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system", "tool"]), "content": CONTENT}),
        st.fixed_dictionaries(
            {
                "role": st.just("assistant"),
                "content": CONTENT,
                "tool_calls": st.lists(CALLS, max_size=2),
            }
        ),
        st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": st.text(max_size=3), "content": CONTENT}),
    ),
    max_size=6,
)


@given(MESSAGES, st.sampled_from(RECIPES), TEXTS, TEXTS, st.dictionaries(st.text(max_size=8), TEXTS, max_size=3))
@settings(max_examples=120, deadline=None)
def test_no_text_makes_it_raise(
    messages: list[dict[str, Any]], recipe: str | None, topic: str, asked: str, context: dict[str, str]
) -> None:
    task = a_task(asked, recipe=recipe, inputs={"topic": topic}, context=context)
    reply = respond(messages, document_tools("search_documents", "read_document", "list_documents"), task)
    assert (reply.text is None) == bool(reply.calls)


@given(st.sampled_from(RECIPES), st.lists(TEXTS, min_size=1, max_size=4), TEXTS, TEXTS)
@settings(max_examples=60, deadline=None)
def test_a_talk_always_ends_within_twelve_turns(recipe: str | None, results: list[str], topic: str, asked: str) -> None:
    task = a_task(asked, recipe=recipe, inputs={"topic": topic}, context={"draft": results[0]})
    tools = document_tools("search_documents", "read_document", "list_documents")
    chat = talk(task)
    chat.tools = [*tools, definition("write_file", {"path": {"type": "string"}, "text": {"type": "string"}})]
    chat.run_tool = lambda name, arguments: results[len(repr(arguments)) % len(results)]
    assert isinstance(chat.answer(), str)


def test_the_tools_read_while_talking_are_the_real_ones() -> None:
    listed = read_tools(BACKGROUND)("list_documents", {})
    assert "durable-execution.md (67 lines" in listed


def test_tokens_are_estimated_by_length() -> None:
    assert [estimate_tokens(text) for text in ("", "a", "four", "fives")] == [0, 1, 1, 2]


def test_marks_around_untrusted_text_change_nothing() -> None:
    task = a_task("Write about durable execution", inputs={"topic": "durable execution"})
    plain, marked = (talk(task, "search_documents", "read_document") for _ in range(2))
    read = marked.run_tool
    marked.run_tool = lambda name, arguments: set_apart(read(name, arguments), f"work/writer/{name}#1")
    assert marked.answer() == plain.answer()
    assert marked.calls == plain.calls != []
    assert any(is_set_apart(str(message["content"])) for message in marked.messages)
