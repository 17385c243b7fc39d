"""Sort evidence under headings: those that were asked for, or those of the sources themselves."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.offline.cues import is_warning, kinds_of
from models.offline.language import Vocabulary
from models.offline.page import is_beside, is_summary
from models.offline.rank import Query, Scored, affinity, coverage, make_query, mentions, pick

_MIN_AFFINITY = 0.45
_SAME_HEADING = 2.0
_ABOUT = 0.3
_NAMED_AFTER = 0.6
_GENERIC = re.compile(
    r"^(?:(?:\d+[.\d]*|[ivxlc]+[.)])\s*)?(?:introduction|overview|summary|conclusions?|contents|table of contents"
    r"|references|notes?|misc\w*|general|faq|appendix.*|abstract|foreword|einleitung|inhalt|fazit|introducción"
    r"|conclusión)?$",
    re.IGNORECASE,
)
OTHER = "Elsewhere in the material"
_LAST_KINDS = ("practice", "cost", "risk")
# Headings for material that has none of its own.
DEFAULT_TITLES = (
    "What it is",
    "Why it matters",
    "How it works",
    "When to use it",
    "Good practice",
    "Risks and limits",
    "Cost",
)


@dataclass(frozen=True)
class Group:
    """A heading with its evidence, best first."""

    title: str
    items: tuple[Scored, ...]


def by_titles(scored: Sequence[Scored], titles: Sequence[str], topic: str, words: Vocabulary) -> list[Group]:
    """Put each sentence under the one title that it fits best, or under none; titles keep their order.

    Words of the topic say nothing about where a sentence belongs, since they are in most of them.
    """
    common = set(words.stems(topic))
    queries = [make_query(title, words) for title in titles]
    queries = [replace(query, stems=tuple(stem for stem in query.stems if stem not in common)) for query in queries]
    found: list[list[Scored]] = [[] for _ in titles]
    for item in scored:
        own = item.sentence.heading.strip().lower()
        fits = [
            affinity(item, query) + (_SAME_HEADING if title.lower() == own else 0.0)
            for title, query in zip(titles, queries, strict=True)
        ]
        best = max(range(len(titles)), key=lambda at: fits[at], default=None)
        if best is not None and fits[best] >= _MIN_AFFINITY and fits_under(item, titles[best]):
            found[best].append(item)
    return [Group(title, tuple(items)) for title, items in zip(titles, found, strict=True)]


def fits_under(item: Scored, title: str) -> bool:
    """Say whether a sentence keeps its meaning under `title`; one listed as a mistake must stay among the mistakes."""
    return not is_warning(item.sentence.heading) or is_warning(title) or "risk" in kinds_of(title)


def by_headings(scored: Sequence[Scored], topic: str, words: Vocabulary, limit: int) -> list[Group]:
    """Put sentences under the headings that the sources give them: the `limit` richest, in reading order.

    Falls back on general titles where most of the material has no headings.
    """
    titles: dict[str, str] = {}
    members: dict[str, list[Scored]] = {}
    for item in scored:
        heading = item.sentence.heading.strip()
        if heading == OTHER or _GENERIC.match(heading) or is_beside(heading) or is_summary(heading):
            continue
        key = " ".join(words.stems(heading)) or heading.lower()
        titles.setdefault(key, heading)
        members.setdefault(key, []).append(item)
    bare = sum(_GENERIC.match(item.sentence.heading.strip()) is not None for item in scored)
    if 2 * bare > len(scored):
        return [group for group in by_titles(scored, DEFAULT_TITLES, topic, words) if group.items][:limit]
    query = make_query(topic, words)
    members = {key: items for key, items in members.items() if _is_about(items, query)}
    rich = sorted(members, key=lambda key: -sum(item.fit for item in pick(members[key], 4)))
    kept = [key for key in rich if len(members[key]) > 1][:limit] or rich[:limit]
    return _reading_order([Group(titles[key], tuple(members[key])) for key in kept], topic, words)


def _is_about(items: Sequence[Scored], topic: Query) -> bool:
    """Say whether a heading's sentences are about the topic, and not only in a document that is in part."""
    if coverage(topic.stems, items[0].heading) >= 0.5 or items[0].named >= _NAMED_AFTER:
        return True
    return sum(mentions(item, topic) for item in items) >= _ABOUT * len(items)


def _reading_order(groups: Sequence[Group], topic: str, words: Vocabulary) -> list[Group]:
    """Order groups: what the topic is, then by document, the richest first, and by line; advice and risks close."""
    last = set(_LAST_KINDS).difference(kinds_of(topic))
    weight: dict[str, float] = {}
    for group in groups:
        for item in group.items:
            weight[item.sentence.path] = weight.get(item.sentence.path, 0.0) + item.fit

    def place(group: Group) -> tuple[int, float, str, int]:
        first = group.items[0].sentence
        kinds = kinds_of(group.title)
        named = not set(words.stems(topic)).isdisjoint(words.stems(group.title))
        turn = 0 if named and kinds[:1] == ("definition",) else 2 if last.intersection(kinds) else 1
        lines = [item.sentence.line for item in group.items if item.sentence.path == first.path]
        return turn, -weight[first.path], first.path, min(lines)

    return sorted(groups, key=place)
