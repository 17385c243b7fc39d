"""Which recipe a task's words ask for, and what is refused."""

import json
from typing import Any

import pytest

from models.offline.decide import choose_recipe
from models.offline.respond import NEEDS_MODEL, respond
from tests.offline.talk import a_task, definition, talk

PATH = {"path": {"type": "string"}, "text": {"type": "string"}}


@pytest.mark.parametrize(
    ("description", "expected_output", "role", "recipe"),
    [
        (
            "Conduct a thorough research about AI agents.",
            "A list with 10 bullet points.",
            "Senior Researcher",
            "digest",
        ),
        ("Research the history of tea.", "Evidence with citations.", "Researcher", "collect"),
        ("Collect what the documents say about tea.", "", "Anyone", "collect"),
        ("Plan a report on tea.", "An outline with headings.", "Planner", "outline"),
        ("Review the context and expand each topic.", "A full report in Markdown.", "Writer", "digest"),
        ("Check the draft against the sources.", "A table of findings.", "Reviewer", "check"),
        ("Go through it.", "What is wrong.", "Quality reviewer", "check"),
        ("Beantworte die Frage.", "Eine kurze Zusammenfassung.", "Analyst", "digest"),
        ("Rédige un rapport sur le thé.", "", "Auteur", "digest"),
        ("Write about documents, code and rate limits.", "", "Writer", "digest"),
        ("Hello.", "Hello.", "Anyone", "none"),
    ],
)
def test_the_words_of_a_task_decide(description: str, expected_output: str, role: str, recipe: str) -> None:
    assert choose_recipe(description, expected_output, role, has_material=True) == recipe


@pytest.mark.parametrize(
    "description",
    [
        "Compare the three vendors and recommend one.",
        "Translate the report into German.",
        "Read the table. Calculate the average price.",
        "Write a Python function that sorts a list.",
        "Write a poem about tea.",
        "Research the market, then decide which product to build.",
        "Evaluate the candidates.",
        "Rewrite the text in a friendlier tone.",
        "Bewerte die Angebote.",
        "Draft an email to the customer.",
        "Score the answers from 1 to 10.",
    ],
)
def test_judgement_code_and_invention_are_refused(description: str) -> None:
    answer = talk(a_task(description, context={"notes": "Tea is a drink made of leaves. [a.md:1]"})).answer()
    assert answer.startswith(f"{NEEDS_MODEL}: {description}\n\n")


def test_writing_from_nothing_is_refused() -> None:
    assert talk(a_task("Write a report about tea.")).answer().startswith(NEEDS_MODEL)


def test_a_named_recipe_comes_before_the_words() -> None:
    context = {"notes": "- Tea is a drink that is made of leaves. [a.md:1]"}
    task = a_task("Compare teas.", recipe="digest", inputs={"topic": "tea"}, context=context)
    assert "Tea is a drink that is made of leaves. [a.md:1]" in talk(task).answer()


def test_a_refusal_is_not_used_as_evidence() -> None:
    task = a_task(
        "Write a brief.", recipe="digest", inputs={"topic": "tea"}, context={"notes": f"{NEEDS_MODEL}: Compare teas."}
    )
    assert 'No passage about "tea" was found' in talk(task).answer()


def test_uncited_outputs_of_earlier_tasks_are_cited_by_task_and_line() -> None:
    notes = "Tea is a drink that is made of leaves.\nCoffee is another drink altogether, made of beans."
    task = a_task("Write a brief about tea.", recipe="digest", context={"research": notes})
    assert "Tea is a drink that is made of leaves. [research:1]" in talk(task).answer()


def test_a_task_that_says_where_to_save_calls_the_tool_with_the_final_text() -> None:
    context = {"notes": "- Tea is a drink that is made of leaves. [a.md:1]"}
    task = a_task("Write a brief about tea and save it to output/tea.md.", recipe="digest", context=context)
    saved: dict[str, Any] = {}
    chat = talk(task)
    chat.tools = [definition("write_file", PATH)]
    chat.run_tool = lambda name, arguments: saved.update({name: arguments}) or "Written."
    text = chat.answer()
    assert saved == {"write_file": {"path": "output/tea.md", "text": text}}


def test_a_writing_tool_is_left_alone_where_the_task_does_not_say_to_save() -> None:
    task = a_task(
        "Write a brief about tea.", recipe="digest", context={"notes": "- Tea is a drink of leaves. [a.md:1]"}
    )
    assert respond([{"role": "user", "content": ""}], [definition("write_file", PATH)], task).calls == ()


@pytest.mark.parametrize("name", ["run_sql", "send_query", "delete_topic", "execute_search", "ask_coworker"])
def test_a_tool_that_does_more_than_search_is_never_called(name: str) -> None:
    task = a_task("Collect.", recipe="collect", inputs={"topic": "tea"})
    assert respond([], [definition(name, {"query": {"type": "string"}})], task).calls == ()


def test_a_tool_with_a_text_that_cannot_be_known_is_not_called() -> None:
    tool = definition("search_tickets", {"query": {"type": "string"}, "customer": {"type": "string"}})
    assert respond([], [tool], a_task("Collect.", recipe="collect", inputs={"topic": "tea"})).calls == ()


@pytest.mark.parametrize("key", ["query", "question", "search_query", "topic"])
def test_other_search_tools_are_called_by_their_shape(key: str) -> None:
    tool = definition("knowledge_search", {key: {"type": "string"}, "top_k": {"type": "integer", "maximum": 5}}, [key])
    (call,) = respond([], [tool], a_task("Collect.", recipe="collect", inputs={"topic": "tea"})).calls
    assert call.arguments == {key: "tea", "top_k": 5}


def test_json_results_with_addresses_are_evidence() -> None:
    chat = talk(a_task("Collect.", recipe="collect", inputs={"topic": "tea"}))
    chat.tools = [definition("web_search", {"query": {"type": "string"}})]
    found = {"url": "https://example.org/tea", "content": "Tea is a drink that is made of leaves. More soon…"}
    chat.run_tool = lambda name, arguments: json.dumps({"results": [found]})
    assert "- Tea is a drink that is made of leaves. [https://example.org/tea]" in chat.answer()


def test_results_without_places_are_cited_by_the_call() -> None:
    chat = talk(a_task("Collect.", recipe="collect", inputs={"topic": "tea"}))
    chat.tools = [definition("wiki_search", {"query": {"type": "string"}})]
    chat.run_tool = lambda name, arguments: "Tea is a drink that is made of leaves."
    assert "- Tea is a drink that is made of leaves. [wiki_search#1]" in chat.answer()
