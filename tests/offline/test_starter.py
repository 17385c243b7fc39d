"""The crews that are shipped, walked by the offline model over the documents that are shipped."""

import functools
import re
from typing import Any

import pytest

from models.offline.respond import OfflineTask
from project.fill import fill
from project.load import Project, load_project
from project.spec import TaskSpec
from tasks.guardrails import check_rule
from tests.offline.talk import BACKGROUND, ROOT, claims, talk
from tools.documents import cited_text


@functools.cache
def starter() -> Project:
    return load_project(ROOT, ROOT / "tools")


@functools.cache
def walk(crew_name: str, **given: Any) -> dict[str, str]:
    """Return the output of each task; every guardrail must pass at the first attempt."""
    project = starter()
    crew = project.crews[crew_name]
    defaults = {name: spec.default for name, spec in crew.inputs.items() if spec.default is not None}
    inputs = {**defaults, **given}
    outputs: dict[str, str] = {}
    for name in crew.tasks:
        spec = project.tasks[name]
        read = outputs if spec.context is None else {key: outputs[key] for key in spec.context}
        outputs[name] = answer(project, spec, inputs, dict(read))
        for guardrail in spec.guardrails:
            assert guardrail.rule is not None
            found = check_rule(
                guardrail.rule, guardrail.value, outputs[name], lambda place: cited_text(BACKGROUND, place)
            )
            assert found == [], (name, guardrail.rule)
    return outputs


def answer(project: Project, spec: TaskSpec, inputs: dict[str, Any], context: dict[str, str]) -> str:
    agent = project.agents[spec.agent]
    tools = [use.name for use in (agent.tools if spec.tools is None else spec.tools)]
    asked = fill(spec.description, inputs), fill(spec.expected_output, inputs)
    return talk(OfflineTask(*asked, agent.role, spec.offline, None, inputs, context), *tools).answer()


@pytest.mark.parametrize("topic", ["durable execution", "approvals", "cost of agent crews", "prompt injection"])
def test_the_brief_is_finished_and_passes_its_guardrails(topic: str) -> None:
    finished = walk("brief", topic=topic)["publish"]
    assert finished.startswith(f"# {topic.capitalize()}\n")
    assert len(finished.split()) <= 600
    assert len(claims(finished)) >= 6


@pytest.mark.parametrize("words", [150, 300, 1500])
def test_the_brief_keeps_to_the_words_asked_for(words: int) -> None:
    finished = walk("brief", topic="durable execution", words=words)["publish"]
    assert words * 0.6 <= len(finished.split()) <= words


def test_the_review_of_an_offline_draft_finds_nothing_to_mend() -> None:
    review = walk("brief", topic="approvals")["review"]
    assert "- Nothing that a rule can find." in review
    assert re.search(r"\| The cited line says it \| pass \| (\d+) of \1 found word for word \|", review)


def test_publishing_leaves_a_faultless_draft_as_it_is() -> None:
    outputs = walk("brief", topic="approvals")
    assert outputs["publish"] == outputs["draft"]


def test_a_brief_on_what_the_documents_do_not_know_says_so() -> None:
    finished = walk("brief", topic="quantum chemistry")["publish"]
    assert '> Note: No passage about "quantum chemistry" was found in the material.' in finished
    assert claims(finished) == []


def test_a_question_is_answered_from_the_documents() -> None:
    finished = walk("ask", question="What is prompt injection?")["answer"]
    assert finished.startswith("# What is prompt injection?\n")
    assert claims(finished)[0][0].startswith("Prompt injection is an attack")


def test_a_question_that_the_documents_do_not_answer_is_not_answered() -> None:
    finished = walk("ask", question="Who won the world cup in 1998?")["answer"]
    assert claims(finished) == []


@pytest.mark.parametrize("path", sorted(BACKGROUND.glob("*.md")), ids=lambda path: path.stem)
def test_a_background_article_has_one_sentence_a_line_and_the_length_of_an_article(path: Any) -> None:
    text = path.read_text()
    assert 700 <= len(text.split()) <= 1100
    for line in text.splitlines():
        assert not re.search(r"[^\d][.!?] [A-Z]", line), line
