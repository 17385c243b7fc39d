"""The recipe `check` and what becomes of its findings."""

import re

from models.offline.respond import OFFLINE_NOTE
from tests.offline.talk import BACKGROUND, a_task, claims, talk

EVIDENCE = """# Evidence: retries

## Retries
- A retry is a new attempt at a step that failed. [notes.md:4]
- Every wait should have a limit that somebody has chosen. [notes.md:9]
- Hidden retries at several layers multiply without anybody noticing. [notes.md:12]
"""
DRAFT = """# Retries

## Summary
A retry is a new attempt at a step that failed. [notes.md:4]

## Details
- Every wait should have a limit that somebody has chosen. [notes.md:9]
- Retries are always a good idea in every system.
- Hidden retries at several layers are perfectly harmless to everybody. [notes.md:12]
- Every wait should have a limit that somebody has chosen. [notes.md:9]
- The owner of the budget is TODO and must be filled in. [notes.md:9]
"""


def rows(text: str) -> dict[str, tuple[str, str]]:
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", text, re.MULTILINE)
    return {rule: (result, detail.strip()) for rule, result, detail in found[1:]}


def checked(draft: str, description: str = "Check the draft.", evidence: str = EVIDENCE) -> str:
    task = a_task(
        description, recipe="check", inputs={"topic": "retries"}, context={"research": evidence, "draft": draft}
    )
    return talk(task).answer()


def test_each_rule_finds_its_fault() -> None:
    text = checked(DRAFT, 'Check that the sections "Summary" and "Risks" are there and that it has at most 40 words.')
    found = rows(text)
    assert found["Every claim is cited"] == ("FAIL", "5 of 6 lines")
    assert found["The cited line says it"] == ("FAIL", "3 of 5 found word for word")
    assert found["Sections asked for"] == ("FAIL", "missing: Risks")
    assert found["Length"][0] == "FAIL"
    assert found["No repeated sentence"] == ("FAIL", "1 repeated")
    assert found["No placeholder text"] == ("FAIL", "1 found")
    assert '- Line 8 has no citation: "Retries are always a good idea in every system."' in text
    assert "- Line 10 repeats line 7" in text
    assert '- Add the section "Risks"' in text


def test_a_clean_draft_passes_and_is_not_approved() -> None:
    clean = "# Retries\n\n## Summary\nA retry is a new attempt at a step that failed. [notes.md:4]\n"
    text = checked(clean)
    assert {result for result, _ in rows(text).values()} == {"pass", "not checked"}
    assert "- Nothing that a rule can find." in text
    assert "was not judged._" in text
    assert "approved" not in text.lower()


def test_long_sentences_are_found() -> None:
    long = " ".join(["word"] * 45)
    text = checked(f"# T\n\n## Summary\n{long.capitalize()}. [notes.md:4]\n")
    assert rows(text)["Sentences of 40 words or fewer"] == ("FAIL", "1 longer")


def test_a_citation_that_nothing_confirms_is_not_passed() -> None:
    text = checked("# T\n\n## Summary\nNobody has ever read this line anywhere. [other.md:3]\n")
    assert rows(text)["The cited line says it"] == ("not checked", "0 of 1 found word for word, 1 could not be read")


def test_the_reviewer_reads_the_documents_that_the_evidence_does_not_cover() -> None:
    line = (BACKGROUND / "durable-execution.md").read_text().splitlines()[3]
    false = "A crew run costs nothing at all. [durable-execution.md:12]"
    draft = f"# T\n\n## Summary\n{line} [durable-execution.md:4]\n{false}\n"
    task = a_task("Check.", recipe="check", inputs={"topic": "durable execution"}, context={"draft": draft})
    chat = talk(task, "read_document")
    text = chat.answer()
    assert chat.calls == [("read_document", {"path": "durable-execution.md", "start": 4})]
    assert rows(text)["The cited line says it"] == ("FAIL", "1 of 2 found word for word")
    assert '- Line 5 is not at [durable-execution.md:12]: "A crew run costs nothing at all."' in text


def test_without_a_draft_the_check_says_so() -> None:
    assert "There is no text to check" in talk(a_task("Check.", recipe="check")).answer()


def test_publishing_applies_the_findings_and_changes_nothing_else() -> None:
    context = {"research": EVIDENCE, "draft": DRAFT, "review": checked(DRAFT)}
    task = a_task("Apply the findings.", recipe="digest", inputs={"topic": "retries"}, context=context)
    assert talk(task).answer() == (
        "# Retries\n\n## Summary\nA retry is a new attempt at a step that failed. [notes.md:4]\n\n"
        "## Details\n- Every wait should have a limit that somebody has chosen. [notes.md:9]\n\n"
        "## Sources\n- notes.md (2 passages)"
    )


def test_publishing_adds_a_missing_section_from_the_evidence() -> None:
    draft = "# Retries\n\n## Summary\nA retry is a new attempt at a step that failed. [notes.md:4]\n"
    task = a_task(
        "Publish the final brief.",
        expected_output='Markdown with a section "Summary" and a section "Retries".',
        recipe="digest",
        inputs={"topic": "retries"},
        context={"research": EVIDENCE, "draft": draft},
    )
    text = talk(task).answer()
    assert "## Retries\n- Hidden retries at several layers multiply without anybody noticing. [notes.md:12]" in text
    assert len(claims(text)) == len({sentence for sentence, _, _ in claims(text)})


def test_publishing_cuts_to_the_length_and_leaves_every_section_a_line() -> None:
    lines = [
        f"- Statement number {number} says something about waiting times. [notes.md:{number}]" for number in range(1, 9)
    ]
    draft = "# T\n\n## Summary\n" + lines[0][2:] + "\n\n## Details\n" + "\n".join(lines[1:]) + "\n"
    task = a_task("Publish it.", recipe="digest", inputs={"topic": "waiting", "words": 50}, context={"draft": draft})
    text = talk(task).answer()
    assert len(text.split()) <= 50
    assert text.index("Statement number 1 ") < text.index("## Details") < text.index("Statement number 2 ")


def test_a_draft_that_a_model_wrote_is_not_called_offline() -> None:
    task = a_task("Publish it.", recipe="digest", inputs={"topic": "retries"}, context={"draft": DRAFT})
    assert OFFLINE_NOTE not in talk(task).answer()
