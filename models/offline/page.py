"""What an offline answer looks like: title, note, cited lines, sources; and how earlier pages are recognised."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.offline.passages import CITATION, Sentence, path_of

OFFLINE_NOTE = (
    "_Offline: sentences were selected word for word from the sources cited; "
    "nothing was written or judged by a language model._"
)
"""Stands once under the title of a text that the offline model put together; it is not a claim."""
NO_PASSAGE = "> Note: No passage about"
EVIDENCE_TITLE = "Evidence"
OUTLINE_TITLE = "Outline"
CHECKS_TITLE = "Rule checks"
SUMMARY = "Summary"
SOURCES = "Sources"
LEFT_OUT = "Left out"
NOT_COVERED = "Not covered"

_SUMMARY_NAMES = frozenset(
    {"summary", "executive summary", "in short", "key message", "zusammenfassung", "résumé", "resumen"}
)
_SOURCE_NAMES = frozenset(
    {
        "sources",
        "source",
        "references",
        "citations",
        "bibliography",
        "quellen",
        "sources cited",
        "références",
        "fuentes",
    }
)
_BESIDE = frozenset({*_SOURCE_NAMES, LEFT_OUT.lower(), NOT_COVERED.lower(), "gaps", "open questions", "not found"})
_OUTLINE_NAME = re.compile(r"(?:^|[\W_])(?:outline|plan|planning|structure)", re.IGNORECASE)
_EVIDENCE_NAME = re.compile(r"(?:^|[\W_])(?:research|evidence|collect|gather)", re.IGNORECASE)
_MAX_LINES = 20_000
_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.+?)\s*#*\s*$")


@dataclass(frozen=True)
class Section:
    """A part of a page: its title and its lines as they stand, without blank ones at its ends."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """A text in Markdown: its title, the lines before the first section, and the sections."""

    title: str
    opening: tuple[str, ...]
    sections: tuple[Section, ...]


def no_passage(topic: str) -> str:
    """Say that the material has nothing about `topic`, as a note: it is no claim, and has nothing to cite."""
    return f'{NO_PASSAGE} "{topic}" was found in the material.'


def title_of(topic: str) -> str:
    """Write a topic as a title."""
    return topic[:1].upper() + topic[1:]


def cited(sentence: Sentence) -> str:
    """Write a sentence with its citation, as tools gave it."""
    return f"{sentence.text} [{sentence.cite}]"


def sources_list(cites: Iterable[str]) -> list[str]:
    """List the documents behind `cites` with the number of passages from each, most used first."""
    counts: dict[str, int] = {}
    for cite in cites:
        counts[path_of(cite)] = counts.get(path_of(cite), 0) + 1
    ordered = sorted(counts, key=lambda path: -counts[path])
    return [f"- {path} ({counts[path]} passage{'s' if counts[path] > 1 else ''})" for path in ordered]


def is_summary(title: str) -> bool:
    """Say whether a section is the one that sums up."""
    return title.strip().lower() in _SUMMARY_NAMES


def is_sources(title: str) -> bool:
    """Say whether a section lists the sources."""
    return title.strip().lower() in _SOURCE_NAMES


def is_beside(title: str) -> bool:
    """Say whether a section stands beside the subject: sources, gaps, what was left out."""
    return title.strip().lower() in _BESIDE


def is_claim(line: str) -> bool:
    """Say whether a line states something: neither heading, note, table, nor a remark that nothing was found."""
    stripped = line.strip()
    if not stripped or stripped.startswith(("#", "|", ">", "```", "---", "<!--")) or stripped == OFFLINE_NOTE:
        return False
    if re.fullmatch(r"_[^_].*_|\*\*?[^*]+\*\*?:?", stripped):
        return False
    return len(CITATION.sub("", stripped).split()) >= 5


def read_page(text: str) -> Page:
    """Read Markdown as title, opening and sections; deeper headings stay lines of their section."""
    title = ""
    opening: list[str] = []
    sections: list[tuple[str, list[str]]] = []
    for line in text.split("\n")[:_MAX_LINES]:
        heading = _HEADING.match(line)
        if heading and len(heading[1]) == 1 and not title:
            title = heading[2]
        elif heading and len(heading[1]) <= 2:
            sections.append((heading[2], []))
        else:
            (sections[-1][1] if sections else opening).append(line.rstrip())
    return Page(title, _trimmed(opening), tuple(Section(name, _trimmed(lines)) for name, lines in sections))


def write_page(page: Page) -> str:
    """Write a page as Markdown, a blank line around each heading."""
    parts = [f"# {page.title}"] if page.title else []
    if page.opening:
        parts.append("\n".join(page.opening))
    parts.extend(f"## {section.title}\n" + "\n".join(section.lines) for section in page.sections)
    return "\n\n".join(parts)


def is_review(name: str, text: str) -> bool:
    """Say whether an earlier task's output judges a text."""
    title = read_page(text[:2000]).title.lower()
    return title.startswith((CHECKS_TITLE.lower(), "review", "findings")) or bool(
        re.search(r"review|check|critique|finding", name, re.I) and not _looks_like_brief(text)
    )


def find_draft(context: Mapping[str, str]) -> str | None:
    """Return the name of the latest earlier output that is a text for a reader; None where there is none."""
    named = [
        name
        for name in reversed(list(context))
        if not is_review(name, context[name]) and not _is_working_paper(name, context[name])
    ]
    return next((name for name in named if _looks_like_brief(context[name])), None)


def find_outline(context: Mapping[str, str]) -> Sequence[Section]:
    """Return the sections of the latest earlier outline; empty where there is none."""
    for name in reversed(list(context)):
        page = read_page(context[name])
        if page.title.lower().startswith((OUTLINE_TITLE.lower(), "plan")) or _OUTLINE_NAME.search(name):
            return [section for section in page.sections if not is_beside(section.title)]
    return []


def _trimmed(lines: Sequence[str]) -> tuple[str, ...]:
    filled = [at for at, line in enumerate(lines) if line]
    return tuple(lines[filled[0] : filled[-1] + 1]) if filled else ()


def _is_working_paper(name: str, text: str) -> bool:
    opened = (EVIDENCE_TITLE.lower(), OUTLINE_TITLE.lower(), "plan", "research notes")
    if _OUTLINE_NAME.search(name) or _EVIDENCE_NAME.search(name):
        return True
    return read_page(text[:2000]).title.lower().startswith(opened)


def _looks_like_brief(text: str) -> bool:
    page = read_page(text)
    claims = sum(is_claim(line) for section in page.sections for line in section.lines)
    return bool(page.title and claims >= 1 and page.sections) or claims >= 5
