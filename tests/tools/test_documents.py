"""A folder of documents: what is found, where it is cited, what is refused."""

import os
import re
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tools.files import context, folder_of, locked_pdf, pdf, word
from tools.documents import SUFFIXES, Library, cited_text, normalise, open_library
from tools.list_documents import list_documents
from tools.read_document import read_document
from tools.search_documents import search_documents

CHECKOUT = Path(__file__).resolve().parents[2]

GUIDE = """---
title: not text
---
# The Guide

An **agent** is a role with a [model](https://m.example/a_(b)) and tools. It acts.

## Handoffs

A handoff passes work from one agent
to another. The receiver gets the evidence,
e.g. Citations, and the open
questions.

- First, name the *goal*.
- Then list what is
  known so far.

| tool | cost |
|------|------|
| search | two cents |

```python
handoff = agent.handoff(goal)
```
"""

MIXED: dict[str, str | bytes] = {
    "guide.md": GUIDE,
    "notes/plain.txt": "Budgets\n\nA budget is a ceiling. The run stops\nat the ceiling, and nothing is lost.\n",
    "notes/lines.txt": "Every agent has one goal.\nEvery budget has one owner.\nNo agent spends without a budget.\n",
    "spec.rst": "Journal\n=======\n\nThe journal holds every step\nthat an agent took.\n\n.. note:: left out\n",
    "page.html": (
        "<html><head><title>A page</title><script>agent()</script></head>\n<body>\n<h1>Approvals</h1>\n"
        "<p>An approval is a\nperson's answer.<br>It\nexpires. An agent waits.</p>\n"
        "<table><tr><td>agent</td><td>waits</td></tr></table><p>Two agents</p></body></html>\n"
    ),
    "paper.pdf": pdf(
        ["Agents at work", "An agent needs a budget and a deadline to be", "trusted. Orches-", "tration is the rest."],
        ["On the second page an agent stops."],
    ),
    "report.docx": word(
        ("Heading 1", "Costs"),
        ("Normal", "An agent costs money. Tokens are counted."),
        [["agent", "price"], ["writer", "two dollars"]],
        ("Normal", "The end of the report."),
    ),
}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return folder_of(tmp_path / "docs", MIXED)


def found(folder: Path, query: str, limit: int = 50) -> list[str]:
    """Return the lines of a search without its first."""
    return search_documents(query, folder.name, context(folder.parent), limit).split("\n")[1:]


def parts(line: str) -> tuple[str, str]:
    match = re.fullmatch(r"\[(.+?)(?: § .+?)?\] (.+)", line)
    assert match is not None, line
    return match[1], match[2]


# -- search


def test_a_hit_is_one_line_with_its_place_and_heading(mixed: Path) -> None:
    said = search_documents("handoff receiver", "docs", context(mixed.parent), 2).split("\n")
    assert said == [
        '2 passages for "handoff receiver" in 7 documents:',
        "[guide.md:10 § Handoffs] A handoff passes work from one agent to another.",
        "[guide.md:11 § Handoffs] The receiver gets the evidence, e.g. Citations, and the open questions.",
    ]


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("agent role", "[guide.md:6 § The Guide] An agent is a role with a model and tools."),
        ("known", "[guide.md:16 § Handoffs] Then list what is known so far."),
        ("two cents", "[guide.md:21 § Handoffs] search | two cents"),
        ("handoff(goal)", "[guide.md:24 § Handoffs] handoff = agent.handoff(goal)"),
        ("ceiling lost", "[notes/plain.txt:3 § Budgets] The run stops at the ceiling, and nothing is lost."),
        ("owner", "[notes/lines.txt:2] Every budget has one owner."),
        ("journal step", "[spec.rst:4 § Journal] The journal holds every step that an agent took."),
        ("person's answer", "[page.html:4 § Approvals] An approval is a person's answer."),
        ("expires", "[page.html:4 § Approvals] It expires."),
        ("waiting table", "[page.html:7 § Approvals] agent | waits"),
        ("deadline trusted", "[paper.pdf p.1 § Agents at work] An agent needs a budget and a deadline to be trusted."),
        ("orchestration", "[paper.pdf p.1 § Agents at work] Orchestration is the rest."),
        ("second page", "[paper.pdf p.2 § Agents at work] On the second page an agent stops."),
        ("tokens counted", "[report.docx:2 § Costs] Tokens are counted."),
        ("writer dollars", "[report.docx:4 § Costs] writer | two dollars"),
    ],
)
def test_each_format_is_found_and_cited_where_it_stands(mixed: Path, query: str, line: str) -> None:
    assert line in found(mixed, query)


def test_words_are_found_in_their_other_forms_and_stop_words_do_not_count(mixed: Path) -> None:
    assert any("It acts." in line for line in found(mixed, "what is the acting of"))
    assert not any("of" in parts(line)[1].split() for line in found(mixed, "owners of the"))


def test_a_query_of_stop_words_alone_is_still_searched(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "docs", {"a.txt": "To be or not to be."})
    assert found(folder, "to be or not") == ["[a.txt:1] To be or not to be."]


def test_accents_and_case_do_not_matter(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "docs", {"a.txt": "Die ÜBERGABE ist geregelt."})
    assert found(folder, "ubergabe") == ["[a.txt:1] Die ÜBERGABE ist geregelt."]


def test_chinese_is_found_by_a_part_of_a_clause(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "docs", {"a.txt": "太阳能发电成本很低。月亮很远。"})
    assert found(folder, "发电成本") == ["[a.txt:1] 太阳能发电成本很低。"]


def test_a_heading_finds_the_passages_under_it(tmp_path: Path) -> None:
    files = {"a.md": "# Refunds\nMoney goes back in ten days.\n# Other\nNothing here.\n"}
    assert found(folder_of(tmp_path / "docs", files), "refund") == ["[a.md:2 § Refunds] Money goes back in ten days."]


def test_prose_comes_before_code_that_says_the_same(tmp_path: Path) -> None:
    text = "```\nretry the payment call\n```\n\nWe retry the payment call.\n"
    assert [parts(line)[0] for line in found(folder_of(tmp_path / "docs", {"a.md": text}), "retry payment")] == [
        "a.md:5",
        "a.md:2",
    ]


def test_a_sentence_that_stands_in_two_files_is_given_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "docs", {"a.txt": "Agents **need** goals.", "b.md": "Agents **need** goals."})
    assert len(found(folder, "agents goals")) == 1


def test_nothing_found_is_said_with_the_query(mixed: Path) -> None:
    said = search_documents("quantum\nchemistry", "docs", context(mixed.parent))
    assert said == 'No passage about "quantum chemistry" was found in 7 documents.'


@pytest.mark.parametrize("query", ["", "   ", '"', "AND OR NOT", "a* NEAR(b)", "heading:x", "';--", "(((", "\x00", "*"])
def test_no_query_is_an_error(mixed: Path, query: str) -> None:
    assert search_documents(query, "docs", context(mixed.parent))


def test_the_same_search_gives_the_same_text(mixed: Path, tmp_path: Path) -> None:
    again = folder_of(tmp_path / "again" / "docs", dict(reversed(MIXED.items())))
    assert found(mixed, "agent budget") == found(again, "agent budget")


def test_several_threads_search_at_once(mixed: Path) -> None:
    said: list[list[str]] = []
    threads = [threading.Thread(target=lambda: said.append(found(mixed, "agent"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 8
    assert all(lines == said[0] for lines in said)


# -- citations


def check_every_hit(folder: Path, queries: list[str]) -> int:
    library = open_library(folder)
    hits = [hit for query in queries for hit in library.search(query, 50)]
    for hit in hits:
        assert normalise(hit.text) in (cited_text(folder, hit.citation) or ""), hit
    return len(hits)


def test_every_hit_stands_where_it_is_cited(mixed: Path) -> None:
    words = sorted({word for content in MIXED.values() if isinstance(content, str) for word in content.split()})
    assert check_every_hit(mixed, [*words, "agent", "deadline", "tokens dollars"]) > 100


def test_every_hit_in_the_background_documents_stands_where_it_is_cited() -> None:
    folder = CHECKOUT / "docs" / "background"
    assert check_every_hit(folder, ["approval", "budget cost", "crash", "model", "review", "tool", "agents"]) > 200


def test_the_line_of_a_plain_text_hit_holds_its_beginning(mixed: Path) -> None:
    for line in found(mixed, "agent budget run goal"):
        place, text = parts(line)
        path, _, number = place.partition(":")
        if path.endswith((".txt", ".rst")):
            source = (mixed / path).read_text().split("\n")[int(number) - 1]
            assert " ".join(text.split()[:3]) in source


@pytest.mark.parametrize(
    ("citation", "text"),
    [
        ("guide.md:10", "a handoff passes work from one agent to another. the receiver gets the evidence, e.g."),
        ("[guide.md:10 § Handoffs]", "a handoff passes work"),
        ("guide.md:12", "the receiver gets"),
        ("guide.md:8", "handoffs"),
        ("notes/lines.txt:2", "every budget has one owner."),
        ("paper.pdf p.2", "on the second page an agent stops."),
        ("[paper.pdf p.1 § Agents at work]", "agents at work an agent needs a budget"),
        ("report.docx:2", "an agent costs money. tokens are counted."),
        ("page.html:7", "agent waits two agents"),
    ],
)
def test_a_citation_leads_to_its_text(mixed: Path, citation: str, text: str) -> None:
    cited = cited_text(mixed, citation)
    assert cited is not None
    assert " ".join(cited.split()).startswith(text)


def test_a_citation_does_not_lead_beyond_its_paragraph(mixed: Path) -> None:
    assert cited_text(mixed, "notes/lines.txt:1") == "every agent has one goal."
    assert "first, name" not in (cited_text(mixed, "guide.md:10") or "")


@pytest.mark.parametrize(
    "citation",
    [
        *("guide.md:5", "guide.md:2", "guide.md:999", "none.md:1", "guide.md", "guide.md p.1", "paper.pdf:1"),
        *("paper.pdf p.9", "../docs/guide.md:6", "/etc/passwd:1", "", "[]", "guide.md:x", "guide.md:99999999999"),
    ],
)
def test_a_citation_of_nothing_leads_to_nothing(mixed: Path, citation: str) -> None:
    assert cited_text(mixed, citation) is None


# -- what is read, and what is not


def test_the_list_names_each_document_and_each_file_that_is_not_read(tmp_path: Path) -> None:
    folder_of(
        tmp_path / "docs",
        {
            **MIXED,
            "empty.txt": "",
            "one.txt": "x",
            "latin.txt": "Gr\xfc\xdfe an alle.".encode("latin-1"),
            "wide.txt": "Ein weites Feld.".encode("utf-16"),
            "binary.txt": b"\x00\x01\x02",
            "broken.pdf": b"%PDF-1.4 nothing",
            "scan.pdf": pdf([]),
            "locked.pdf": locked_pdf(["secret"]),
            "broken.docx": b"PK\x03\x04 nothing",
            "old.docx": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            "big.md": b"a" * 20_000_001,
            "photo.png": b"x",
            "Makefile": "x",
            ".hidden.md": "x",
            ".git/config.md": "x",
            "node_modules/a.md": "x",
        },
    )
    said = list_documents("docs", context(tmp_path)).split("\n")
    assert said == [
        "empty.txt (0 lines)",
        'guide.md (25 lines, "The Guide")',
        "latin.txt (1 line) (not UTF-8: characters that could not be read are shown as \ufffd)",
        "notes/lines.txt (3 lines)",
        'notes/plain.txt (4 lines, "Budgets")',
        "one.txt (1 line)",
        'page.html (7 lines, "A page")',
        'paper.pdf (2 pages, "Agents at work")',
        'report.docx (5 paragraphs, "Costs")',
        'spec.rst (7 lines, "Journal")',
        "wide.txt (1 line)",
        "big.md: not read: larger than 20 MB",
        "binary.txt: not read: binary",
        "broken.docx: not read: damaged (BadZipFile)",
        "broken.pdf: not read: damaged (PdfStreamError)",
        "locked.pdf: not read: encrypted",
        "old.docx: not read: encrypted, or in the older .doc format",
        "scan.pdf: not read: no text in it, perhaps scanned pages",
        "Of other kinds, not read: 2 files (.png, no suffix)",
    ]


def test_links_out_loops_pipes_and_odd_names_are_not_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"docs/a.md": "Inside.", "outside/secret.md": "A secret."}) / "docs"
    (folder / "in.md").symlink_to(folder / "a.md")
    (folder / "out.md").symlink_to(tmp_path / "outside" / "secret.md")
    (folder / "loop.md").symlink_to(folder / "loop.md")
    (folder / "linked").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe.md")
    (folder / "two\nlines.md").write_text("x")
    (Path(os.fsdecode(os.fsencode(folder) + b"/\xff.md"))).write_text("x")
    library = open_library(folder)
    assert list(library.documents) == ["a.md", "in.md"]
    assert dict(library.skipped) == {
        "\\udcff.md": "its name holds signs that cannot be shown",
        "linked/": "a linked folder",
        "loop.md": "a link to nothing, or not readable",
        "out.md": "a link out of the folder",
        "pipe.md": "not a file",
        "two\\nlines.md": "its name holds signs that cannot be shown",
    }
    assert library.search("secret", 5) == []


def test_a_folder_without_a_document_says_what_is_read(tmp_path: Path) -> None:
    folder_of(tmp_path, {"docs/a.png": b"x"})
    for said in (search_documents("x", "docs", context(tmp_path)), list_documents("docs", context(tmp_path))):
        assert all(suffix in said for suffix in SUFFIXES)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        search_documents("x", "none", context(tmp_path))


def test_a_file_that_changes_is_read_again_and_the_others_are_kept(mixed: Path) -> None:
    before = open_library(mixed)
    assert open_library(mixed) is before
    (mixed / "notes/lines.txt").write_text("A zebra came.\n")
    (mixed / "spec.rst").unlink()
    after = open_library(mixed)
    assert [hit.citation for hit in after.search("zebra", 5)] == ["notes/lines.txt:1"]
    assert "spec.rst" not in after.documents
    assert after.documents["guide.md"] is before.documents["guide.md"]
    assert before.search("owner", 5)[0].citation == "notes/lines.txt:2"


def test_only_the_libraries_opened_last_are_kept(tmp_path: Path) -> None:
    folders = [folder_of(tmp_path / str(number), {"a.txt": f"Number {number}."}) for number in range(6)]
    first = open_library(folders[0])
    libraries: list[Library] = [open_library(folder) for folder in folders]
    assert libraries[0] is first
    assert open_library(folders[0]) is not first
    assert open_library(folders[5]) is libraries[5]


def test_two_hundred_files_are_indexed(tmp_path: Path) -> None:
    text = "\n\n".join(f"Paragraph {number} speaks of agents and budgets." for number in range(50))
    files: dict[str, str | bytes] = {f"part{at % 7}/file{at:03}.md": f"# File {at}\n\n{text}" for at in range(200)}
    files["part3/needle.md"] = "# Other\n\nThe needle is here."
    folder = folder_of(tmp_path / "docs", files)
    assert found(folder, "needle") == ["[part3/needle.md:3 § Other] The needle is here."]


def test_html_that_nothing_closes_is_read_up_to_a_depth(tmp_path: Path) -> None:
    old = "<html><body>" + "<p>One more agent.\n" * 1000 + "<a href='x' <!-- " * 20_000
    folder = folder_of(tmp_path / "docs", {"old.html": old, "deep.html": "<td>x" * 20_001})
    library = open_library(folder)
    assert dict(library.skipped) == {"deep.html": "more than 20,000 elements that are not closed"}
    assert library.search("agent", 5)[0].citation == "old.html:1"


def test_the_cells_of_a_row_and_hidden_parts_of_html_are_told_apart(tmp_path: Path) -> None:
    page = "<nav>agent menu</nav><table><tr><th>agent</th><td>one<br>two</td><td><p>agent three</p></td></tr></table>"
    assert found(folder_of(tmp_path / "docs", {"a.html": page + "<!-- agent -->"}), "agent") == [
        "[a.html:1] agent three",
        "[a.html:1] agent | one two",
    ]


# -- reading


def test_a_document_is_read_with_its_numbers_and_a_note_how_to_go_on(mixed: Path) -> None:
    here = context(mixed.parent)
    assert read_document("notes/lines.txt", "docs", here, start=2, lines=1) == (
        "2  Every budget has one owner.\n[lines 2–2 of 3 shown; read on with start=3]"
    )
    assert read_document("notes/lines.txt", "docs", here, start=3) == "3  No agent spends without a budget."


def test_a_page_of_a_pdf_is_never_cut(mixed: Path) -> None:
    first = read_document("paper.pdf", "docs", context(mixed.parent), lines=1)
    assert [line.partition("  ")[0] for line in first.split("\n")[:-1]] == ["1"] * 4
    assert first.endswith("[pages 1–1 of 2 shown; read on with start=2]")
    assert read_document("paper.pdf", "docs", context(mixed.parent), start=2) == "2  On the second page an agent stops."


def test_reading_on_by_the_notes_reaches_the_end_of_every_document(mixed: Path) -> None:
    for path in MIXED:
        start, shown = 1, list[str]()
        while start:
            said = read_document(path, "docs", context(mixed.parent), start=start, lines=2)
            note = re.search(r"\n\[.* read on with start=(\d+)\]$", said)
            shown += said[: note.start()].split("\n") if note else said.split("\n")
            start = int(note[1]) if note else 0
        assert shown == read_document(path, "docs", context(mixed.parent), lines=2000).split("\n")


def test_reading_past_the_end_or_an_empty_document_is_said(tmp_path: Path) -> None:
    folder_of(tmp_path, {"docs/a.txt": "x\n", "docs/empty.txt": ""})
    assert (
        read_document("a.txt", "docs", context(tmp_path), start=9) == "There is nothing from 9 on: the last line is 1."
    )
    assert read_document("empty.txt", "docs", context(tmp_path)) == "empty.txt is empty."


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../outside/secret.md", "is refused"),
        ("/etc/passwd", "is refused"),
        ("~/secret.md", "is refused"),
        ("C:\\secret.md", "is refused"),
        ("a/../../outside/secret.md", "is refused"),
        ("out.md", "cannot be read: a link out of the folder"),
        ("photo.png", "cannot be read: only .md"),
        ("gide.md", "there is no document 'gide.md'; did you mean 'guide.md'"),
        ("", "there is no document ''; list_documents shows what there is"),
    ],
)
def test_what_may_not_or_cannot_be_read_is_refused_in_words(mixed: Path, path: str, said: str) -> None:
    folder_of(mixed.parent, {"outside/secret.md": "A secret.", "docs/photo.png": b"x"})
    (mixed / "out.md").symlink_to(mixed.parent / "outside/secret.md")
    with pytest.raises(ValueError, match=re.escape(said)):
        read_document(path, "docs", context(mixed.parent))


# -- any file at all


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from(SUFFIXES), content=st.binary(max_size=300))
def test_no_bytes_in_a_file_are_an_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    folder = tmp_path / "docs"
    for old in folder.glob("*"):
        old.unlink()
    folder_of(folder, {f"a{suffix}": content})
    library = open_library(folder)
    assert len(library.documents) + len(library.skipped) == 1
    assert search_documents("a b", "docs", context(tmp_path)).encode()


_MARKUP = st.sampled_from(
    [
        *(
            "agent",
            "Agent",
            "budget.",
            "No. 5",
            "e.g.",
            "Ünï",
            "太阳。",
            "*",
            "**",
            "_",
            "`",
            "```",
            "[a](b)",
            "[",
            "](",
        ),
        *("|", "# ", "- ", "> ", "    ", "\t", "---", "===", "<p>", "</p>", "<br>", "<!--", "-->", "\\"),
        *("\n", "\n\n", "\r", "\x0c", "\u2028"),
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".md", ".txt", ".rst", ".html"]), pieces=st.lists(_MARKUP, max_size=40))
def test_every_hit_in_any_text_stands_where_it_is_cited(tmp_path: Path, suffix: str, pieces: list[str]) -> None:
    folder = tmp_path / "docs"
    for old in folder.glob("*"):
        old.unlink()
    folder_of(folder, {f"a{suffix}": " ".join(pieces)})
    check_every_hit(folder, ["agent", "budget", "a b e 5 p br", "太阳"])
