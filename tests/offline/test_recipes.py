"""Each recipe over the background articles, searched by the real tools."""

import functools
import re
from pathlib import Path

import pytest

from models.offline.respond import NEEDS_MODEL, OFFLINE_NOTE, respond
from tests.offline.talk import BACKGROUND, a_task, claims, document_tools, talk
from tools.documents import cited_text, normalise

TOPICS = (
    "durable execution",
    "approvals",
    "cost of agent crews",
    "handoffs between agents",
    "prompt injection",
    "quality gates",
    "retries and timeouts",
    "citations",
    "planning",
    "tools for agents",
)
SEARCH = ("search_documents", "read_document")


@functools.cache
def collected(topic: str) -> str:
    return talk(a_task("Collect the evidence.", recipe="collect", inputs={"topic": topic}), *SEARCH).answer()


@functools.cache
def brief(topic: str, words: int = 600) -> str:
    research = collected(topic)
    inputs = {"topic": topic, "words": words}
    outline = talk(a_task("Make an outline.", recipe="outline", inputs=inputs, context={"research": research})).answer()
    context = {"research": research, "outline": outline}
    task = a_task(f"Write a brief of at most {words} words.", recipe="digest", inputs=inputs, context=context)
    return talk(task).answer()


@pytest.mark.parametrize("topic", TOPICS)
def test_every_cited_line_contains_its_sentence_word_for_word(topic: str) -> None:
    found = claims(brief(topic))
    assert len(found) >= 4
    for sentence, path, line in found:
        assert sentence in (BACKGROUND / path).read_text().splitlines()[line - 1]


@pytest.mark.parametrize("topic", TOPICS)
def test_a_brief_has_a_summary_sections_and_sources_and_keeps_to_its_length(topic: str) -> None:
    text = brief(topic, 400)
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert text.startswith(f"# {topic[0].upper()}{topic[1:]}\n\n{OFFLINE_NOTE}\n")
    assert headings[0] == "Summary"
    assert headings[-1] == "Sources"
    assert len(text.split()) <= 400


def test_a_brief_that_has_the_material_uses_its_words() -> None:
    assert len(brief("durable execution", 600).split()) > 500


def test_a_brief_says_nothing_twice() -> None:
    said = [sentence for sentence, _, _ in claims(brief("approvals"))]
    assert len(said) == len(set(said))


def test_the_note_stands_once() -> None:
    assert brief("approvals").count(OFFLINE_NOTE) == 1


def test_a_summary_takes_nothing_from_a_list_of_mistakes() -> None:
    mistakes = (BACKGROUND / "approvals-and-safety.md").read_text().split("## Mistakes that recur")[1]
    summary = brief("approvals").split("## Summary")[1].split("##")[0]
    assert not [sentence for sentence, _, _ in claims(summary) if sentence in mistakes]


def test_a_brief_opens_with_the_definition() -> None:
    assert brief("durable execution").split("## Summary\n")[1].startswith("Durable execution is a way of running")


def test_evidence_is_grouped_under_the_headings_of_the_sources() -> None:
    text = collected("durable execution")
    assert text.startswith("# Evidence: durable execution\n")
    assert "\n## What durable execution is\n- Durable execution is a way" in text
    assert "- Recovery begins when" in text.split("\n## How recovery works\n")[1].split("##")[0]


def test_evidence_is_grouped_under_the_aspects_that_the_task_names() -> None:
    task = a_task(
        "Collect evidence. Aspects: definition, cost, risks.", recipe="collect", inputs={"topic": "durable execution"}
    )
    text = talk(task, *SEARCH).answer()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Definition", "Cost", "Risks", "Sources"]
    assert "- Durability costs one database write" in text.split("## Cost")[1].split("##")[0]


def test_an_outline_chooses_headings_with_evidence_and_names_what_it_leaves_out() -> None:
    inputs = {"topic": "durable execution", "words": 300}
    research = collected("durable execution")
    text = talk(a_task("Make an outline.", recipe="outline", inputs=inputs, context={"research": research})).answer()
    kept, left = text.split("## Left out\n")
    assert text.startswith("# Outline: durable execution\n")
    assert len(re.findall(r"^## ", kept, re.MULTILINE)) == 2
    assert "_6 passages in 1 document; the best:_\n- Durable execution is a way" in kept
    assert "- Retries and timeouts (" in left


def test_a_digest_has_the_sections_asked_for_in_their_order() -> None:
    task = a_task(
        "Write a brief.",
        expected_output="Markdown with the sections: Definition, How it works, Cost, Kubernetes.",
        recipe="digest",
        inputs={"topic": "durable execution"},
    )
    text = talk(task, *SEARCH).answer()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == ["Summary", "Definition", "How it works", "Cost", "Kubernetes", "Sources"]
    assert '## Kubernetes\n> Note: No passage about "Kubernetes" was found in the material.' in text


def test_a_question_is_answered_with_the_sentence_that_defines() -> None:
    task = a_task("Answer.", recipe="digest", inputs={"question": "What is idempotency?"})
    first = claims(talk(task, *SEARCH).answer())[0]
    assert first[0] == "Idempotency is the property that doing something twice has the same effect as doing it once."


def test_what_the_material_lacks_is_said() -> None:
    for recipe in ("collect", "outline", "digest"):
        task = a_task("Do it.", recipe=recipe, inputs={"topic": "quantum chemistry"})
        answer = talk(task, *SEARCH).answer()
        assert '> Note: No passage about "quantum chemistry" was found in the material.' in answer
        assert not claims(answer)


def test_a_word_of_the_topic_that_occurs_nowhere_is_named() -> None:
    assert '> Note: No passage about "blockchain" was found in the material.' in collected("approvals on a blockchain")


def test_a_word_that_the_search_ranked_out_is_searched_for_before_it_is_called_missing() -> None:
    assert "No passage about" not in brief("evaluation of agent crews")


def test_a_word_that_is_missing_is_still_named_in_the_brief() -> None:
    assert (
        brief("approvals on a blockchain").count('> Note: No passage about "blockchain" was found in the material.')
        == 1
    )


def test_a_failed_search_is_not_taken_for_an_empty_one() -> None:
    chat = talk(a_task("Collect.", recipe="collect", inputs={"topic": "approvals"}), "search_documents")
    chat.run_tool = lambda name, arguments: "Error: there is no folder 'docs'"
    assert "A tool failed: Error: there is no folder 'docs'" in chat.answer()


def test_the_recipe_none_names_the_task_and_asks_for_a_model() -> None:
    text = talk(a_task("Decide which of the two drafts is better.", recipe="none")).answer()
    assert text.splitlines()[0] == f"{NEEDS_MODEL}: Decide which of the two drafts is better."
    assert "Set a provider's key, or name a model in config/models.yaml, and run again." in text


def test_without_tools_the_answer_is_made_from_what_there_is() -> None:
    chat = talk(a_task("Collect.", recipe="collect", inputs={"topic": "approvals"}), "search_documents")
    reply = respond(chat.messages, [], chat.task)
    assert reply.text is not None
    assert 'No passage about "approvals"' in reply.text


def test_hard_wrapped_documents_are_cited_where_the_sentence_starts(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "solar.md").write_text(
        "# Solar heating\n\nSolar heating is the use of sunlight to warm water. A collector on the\n"
        "roof absorbs the light and passes the heat to a fluid. The fluid carries the\nheat into a tank.\n"
    )
    task = a_task("Collect.", recipe="collect", inputs={"topic": "solar heating"})
    found = claims(talk(task, *SEARCH, folder=folder).answer())
    assert ("A collector on the roof absorbs the light and passes the heat to a fluid.", "solar.md", 3) in found
    for sentence, path, line in found:
        assert normalise(sentence) in (cited_text(folder, f"{path}:{line}") or "")


def test_places_are_cited_as_the_tool_gave_them_without_the_heading() -> None:
    chat = talk(a_task("Collect.", recipe="collect", inputs={"topic": "tea"}), "search_documents")
    chat.run_tool = lambda name, arguments: (
        '2 passages for "tea" in 2 documents:\n'
        "[paper.pdf p.3 § Drinks (hot)] Tea is a drink that is made of leaves.\n"
        "[my notes/tea.md:12] Green tea tastes best with cooler water."
    )
    text = chat.answer()
    assert "- Tea is a drink that is made of leaves. [paper.pdf p.3]\n" in text
    assert "- Green tea tastes best with cooler water. [my notes/tea.md:12]\n" in text
    assert "§" not in text


def test_documents_are_read_where_there_is_no_search() -> None:
    task = a_task("Collect.", recipe="collect", inputs={"topic": "prompt injection"})
    chat = talk(task, "list_documents", "read_document")
    text = chat.answer()
    assert chat.calls[0] == ("list_documents", {})
    assert "- Prompt injection is an attack in which" in text


def test_calls_have_ids_that_follow_from_their_place() -> None:
    task = a_task("Collect.", recipe="collect", inputs={"topic": "approvals"})
    chat = talk(task, *SEARCH)
    chat.answer()
    ids = [call["id"] for message in chat.messages for call in message.get("tool_calls", ())]
    assert ids == [f"offline-{number}" for number in range(1, len(ids) + 1)]
    assert len({repr(call) for call in chat.calls}) == len(chat.calls)


def test_a_strict_schema_that_requires_everything_is_called_all_the_same() -> None:
    tools = document_tools("search_documents")
    parameters = tools[0]["function"]["parameters"]
    parameters["properties"] |= {
        "exact": {"type": "boolean"},
        "page": {"type": ["integer", "null"]},
        "kind": {"type": "string", "enum": ["any", "text"]},
    }
    parameters["required"] = list(parameters["properties"])
    chat = talk(a_task("Collect.", recipe="collect", inputs={"topic": "approvals"}))
    (call,) = respond(chat.messages, tools, chat.task).calls
    assert call.arguments == {"query": "approvals", "limit": 30, "exact": False, "page": None, "kind": "any"}
