"""An answer that was refused: its reasons are used as far as that goes without judgement."""

from pathlib import Path

import pytest

from project.spec import FieldSpec
from tasks.contracts import ask_again
from tasks.guardrails import check_rule
from tests.offline.talk import BACKGROUND, Talk, a_task, claims, talk
from tools.documents import cited_text

SEARCH = ("search_documents", "read_document")


@pytest.fixture
def chat() -> Talk:
    made = talk(a_task("Write a brief.", recipe="digest", inputs={"topic": "durable execution"}), *SEARCH)
    made.answer()
    return made


def test_a_tighter_limit_is_kept(chat: Talk) -> None:
    text = chat.refuse("the text has 512 words, citations and sources not counted; at most 200 are allowed, 312 fewer")
    assert 100 < len(text.split()) <= 200


def test_more_words_are_given_where_the_material_has_them() -> None:
    chat = talk(a_task("Write a brief.", recipe="digest", inputs={"topic": "durable execution", "words": 300}), *SEARCH)
    before = len(chat.answer().split())
    reason = "the text has 250 words, citations and sources not counted; at least 400 are needed, 150 more"
    assert len(chat.refuse(reason).split()) > max(before, 400)


def test_a_missing_section_is_added(chat: Talk) -> None:
    text = chat.refuse('section "Cost" is missing; the headings are: `Summary`, `Sources`')
    assert "\n## Cost\n- Durability" in text


def test_a_quoted_line_is_not_used_again(chat: Talk) -> None:
    sentence, path, line = claims(chat.answer())[3]
    text = chat.refuse(f'line 9: "{sentence[:60]}…" is not what [{path}:{line}] says: 1 of its 9 words occur there')
    assert sentence not in text
    assert len(claims(text)) > 5


def test_a_forbidden_word_is_avoided(chat: Talk) -> None:
    assert "database" in chat.answer()
    text = chat.refuse('line 8: the word "database" is forbidden; say it in another way')
    assert "database" not in text
    assert len(claims(text)) > 5


def test_a_reason_that_cannot_be_used_gives_the_same_answer(chat: Talk) -> None:
    assert chat.refuse("the tone is not friendly enough") == chat.answer()


def test_a_broken_contract_does_not_end_in_invention() -> None:
    fields = {"summary": FieldSpec(), "score": FieldSpec(type="float")}
    task = a_task(
        "Fill.",
        inputs={"topic": "approvals"},
        contract={"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]},
    )
    made = talk(task, *SEARCH)
    first = made.answer()
    made.messages.append({"role": "user", "content": ask_again([f"{name}: is missing" for name in fields])})
    assert made.answer() == first


def sources(place: str) -> str | None:
    return cited_text(BACKGROUND, place)


@pytest.mark.parametrize("topic", ["durable execution", "approvals", "roles", "quantum chemistry"])
@pytest.mark.parametrize(
    ("rule", "setting"),
    [
        ("cited", True),
        ("no_repeats", True),
        ("no_placeholders", True),
        ("words", {"max": 500}),
        ("required_sections", ["Summary", "Sources"]),
    ],
)
def test_a_brief_passes_the_guardrails(topic: str, rule: str, setting: object) -> None:
    task = a_task(
        "Write a brief of at most 500 words.",
        expected_output='A section "Summary" and a section "Sources".',
        recipe="digest",
        inputs={"topic": topic},
    )
    assert check_rule(rule, setting, talk(task, *SEARCH).answer(), sources) == []


def test_documents_in_an_empty_folder_give_an_honest_answer(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    chat = talk(a_task("Answer.", recipe="digest", inputs={"question": "What is tea?"}), *SEARCH, folder=folder)
    assert 'No passage about "What is tea?" was found in the material.' in chat.answer()
