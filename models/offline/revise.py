"""Apply a review's findings to a draft, mechanically: lines are dropped or added, never reworded."""

import re
from collections.abc import Mapping, Sequence

from models.offline.check import claims_of
from models.offline.compose import Work, section_lines
from models.offline.language import count_words
from models.offline.page import (
    SOURCES,
    Page,
    Section,
    find_draft,
    is_claim,
    is_review,
    is_sources,
    is_summary,
    read_page,
    sources_list,
    write_page,
)
from models.offline.passages import CITATION, key_of
from models.offline.sentences import PLACEHOLDER

_QUOTE = re.compile(r"[\"“]([^\"”\n]{20,400})[\"”]")
_REVISE = re.compile(
    r"\b(?:revis|appl(?:y|ies)|final|publish|correct|improve|polish|edit|überarbeite|corrige|révise|revisa)", re.I
)
_ADDED_LINES = 3


def draft_to_revise(description: str, context: Mapping[str, str]) -> str | None:
    """Return the draft that a task is to finish: there is one, and a review of it or words that ask for a revision."""
    name = find_draft(context)
    if name is None:
        return None
    reviewed = any(is_review(other, text) for other, text in context.items())
    return context[name] if reviewed or _REVISE.search(description) else None


def revise(work: Work, draft: str) -> str:
    """Return the draft without uncited, repeated and faulted lines, with missing sections, within the word limit."""
    page = read_page(draft)
    faulted = _faulted(work)
    seen: set[str] = set()
    sections = [
        Section(section.title, tuple(line for line in section.lines if _keeps(line, faulted, seen)))
        for section in page.sections
        if not is_sources(section.title)
    ]
    opening = tuple(line for line in page.opening if not is_claim(line) or _keeps(line, faulted, seen))
    sections = _complete(work, sections)
    sections = [section for section in sections if section.lines]
    revised = Page(page.title, opening, tuple(sections))
    while work.request.most_words and count_words(_written(revised)) > work.request.most_words:
        shorter = _without_one_line(revised)
        if shorter == revised:
            break
        revised = shorter
    return _written(revised)


def _faulted(work: Work) -> tuple[str, ...]:
    reviews = [text for name, text in work.context.items() if is_review(name, text)]
    # What repeats an earlier line is right where it stands first; `_keeps` finds the second.
    lines = [line for text in reviews for line in text.split("\n") if " repeats " not in line]
    quoted = [match[1].rstrip("… ") for line in lines for match in _QUOTE.finditer(line)]
    return tuple(key for key in map(key_of, (*quoted, *work.request.rejected)) if len(key.split()) >= 4)


def _keeps(line: str, faulted: Sequence[str], seen: set[str]) -> bool:
    if not is_claim(line):
        return True
    bare = re.sub(r"^\s*(?:[-*•+]|\d+[.)])\s+", "", CITATION.sub("", line))
    key = key_of(bare)
    if (
        not CITATION.search(line)
        or PLACEHOLDER.search(bare)
        or key in seen
        or any(key.startswith(fault) for fault in faulted)
    ):
        return False
    seen.add(key)
    return True


def _complete(work: Work, sections: Sequence[Section]) -> list[Section]:
    """Add the sections that were asked for and are not there, and fill those that lost their last line."""
    present = {section.title.strip().lower() for section in sections}
    used = [claim.text for section in sections for claim in claims_of("\n".join(section.lines))]
    found: list[Section] = []
    for section in sections:
        lines = section.lines or section_lines(work, section.title, _ADDED_LINES, used)
        found.append(Section(section.title, lines))
    for name in work.request.sections:
        if name.lower() not in present and not is_sources(name):
            added = Section(name, section_lines(work, name, _ADDED_LINES, used))
            found.insert(0 if is_summary(name) else len(found), added)
            used.extend(claim.text for claim in claims_of("\n".join(added.lines)))
    return found


def _without_one_line(page: Page) -> Page:
    """Drop the last claim of the section with the most of them; a section keeps its only one."""
    counts = [sum(is_claim(line) for line in section.lines) for section in page.sections]
    if max(counts, default=0) < 2:
        return page
    at = max(range(len(counts)), key=lambda index: (counts[index], index))
    lines = list(page.sections[at].lines)
    last = max(index for index, line in enumerate(lines) if is_claim(line))
    shorter = Section(page.sections[at].title, tuple(lines[:last] + lines[last + 1 :]))
    return Page(page.title, page.opening, (*page.sections[:at], shorter, *page.sections[at + 1 :]))


def _written(page: Page) -> str:
    body = write_page(page)
    cites = [cite for claim in claims_of(body) for cite in claim.cites]
    return write_page(Page(page.title, page.opening, (*page.sections, Section(SOURCES, tuple(sources_list(cites))))))
