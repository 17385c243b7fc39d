"""Collect, outline and digest: pages of sentences selected from the evidence, each with its citation."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from models.offline.grouping import OTHER, Group, by_headings, by_titles, fits_under
from models.offline.language import Vocabulary, count_words
from models.offline.page import (
    EVIDENCE_TITLE,
    LEFT_OUT,
    NO_PASSAGE,
    OFFLINE_NOTE,
    OUTLINE_TITLE,
    SOURCES,
    SUMMARY,
    Page,
    Section,
    cited,
    find_outline,
    is_beside,
    is_sources,
    is_summary,
    no_passage,
    read_page,
    sources_list,
    title_of,
    write_page,
)
from models.offline.passages import Sentence, key_of
from models.offline.rank import (
    Scored,
    adjoin,
    coverage,
    make_query,
    missing_words,
    pick,
    score,
    similarity,
    stands_alone,
)
from models.offline.request import Request
from models.offline.sentences import is_dangling

DEFAULT_WORDS = 600
_ANSWER_WORDS = 250
_SEARCHED = 0.51
_CENTRAL = 20
_MOST_DOUBTFUL = 2
_FEW = 6
_NEAR = 0.5
_CLOSE = 0.55
_SUBJECT_WORDS = 4
_GROUPS = 8
_LINES_A_GROUP = 8
_LINES_A_SECTION = 6
_LINES_A_HEADING = 3
_SUMMARY_LINES = 3
_WORDS_A_SECTION = 100
_WORDS_A_LINE = 20
_ANSWER_LINES = 6


@dataclass(frozen=True)
class Work:
    """What an answer is made from. `failures` are the errors that tools gave.

    `searched`: the evidence came from tools just now, and much of it may be beside the topic; else it was handed over.
    `searched_for`: what tools were asked, lower case.
    """

    request: Request
    words: Vocabulary
    evidence: Sequence[Sentence]
    context: Mapping[str, str]
    failures: Sequence[str]
    searched: bool
    searched_for: Collection[str]


def collect(work: Work) -> str:
    """List the evidence, one cited sentence a line, under the aspects asked for or the headings of the sources."""
    scored = relevant(work)
    if not scored:
        return nothing_found(work, f"{EVIDENCE_TITLE}: {work.request.topic}")
    groups = _grouped(work, scored, _GROUPS)
    most = max(_LINES_A_GROUP, (work.request.most_words or 0) // _WORDS_A_SECTION)
    sections: list[Section] = []
    chosen: list[Scored] = []
    for group in groups:
        taken = pick(group.items, most, chosen)
        chosen.extend(taken)
        if taken or group.title in work.request.sections:
            sections.append(_section(group.title, taken))
    return _finish(work, f"{EVIDENCE_TITLE}: {work.request.topic}", sections, chosen)


def outline(work: Work) -> str:
    """Choose headings that the evidence supports, each with its best passages, and say what was left out."""
    scored = relevant(work)
    title = f"{OUTLINE_TITLE}: {work.request.topic}"
    if not scored:
        return nothing_found(work, title)
    groups = _grouped(work, scored, _GROUPS)
    if work.request.sections:
        kept = groups
    else:
        most = section_count(work.request.most_words or DEFAULT_WORDS)
        titled = [group for group in groups if group.title != OTHER]
        rich = sorted(titled, key=lambda group: -sum(item.fit for item in pick(group.items, 4)))[:most]
        kept = [group for group in groups if group in rich or group.title == OTHER]
    sections: list[Section] = []
    chosen: list[Scored] = []
    for group in kept:
        taken = pick(group.items, _LINES_A_HEADING, chosen)
        chosen.extend(taken)
        section = _section(group.title, taken)
        sections.append(replace(section, lines=(_support(group), *section.lines)) if taken else section)
    left = [f"- {group.title} ({_passages(len(group.items))})" for group in groups if group not in kept]
    if left:
        sections.append(Section(LEFT_OUT, tuple(left)))
    return _finish(work, title, sections, chosen)


def digest(work: Work) -> str:
    """Write the brief: a summary, the sections asked for or outlined, the sources; within the word limit."""
    scored = relevant(work)
    title = title_of(work.request.topic)
    if not scored:
        return nothing_found(work, title)
    if not work.request.sections and (work.request.is_question or work.request.count):
        return _answer(work, scored)
    titles = [name for name in work.request.sections if not is_summary(name) and not is_beside(name)]
    groups = _grouped(work, scored, 0) if titles else _outlined(work, scored)
    summary_name = next((name for name in work.request.sections if is_summary(name)), SUMMARY)
    budget = _Budget((work.request.most_words or DEFAULT_WORDS) - _fixed_words(work, title, groups, summary_name))
    summary = _summary(work, scored, groups, budget)
    filled = _fill(groups, summary, budget)
    sections = [Section(summary_name, tuple(cited(item.sentence) for item in summary))] if summary else []
    sections += [
        _section(group.title, _reading(taken, work.words.code))
        for group, taken in zip(groups, filled, strict=True)
        if taken or group.title in titles
    ]
    return _finish(work, title, sections, [*summary, *(item for taken in filled for item in taken)])


def section_lines(work: Work, title: str, limit: int, avoid: Sequence[str]) -> tuple[str, ...]:
    """Return cited lines for a section that a text lacks, or a note that there are none; `avoid` is not repeated."""
    known = {key_of(line) for line in avoid}
    scored = [item for item in relevant(work) if item.sentence.key not in known]
    taken = (
        pick(scored, limit)
        if is_summary(title)
        else pick(by_titles(scored, [title], work.request.topic, work.words)[0].items, limit)
    )
    return _section(title, taken).lines


def relevant(work: Work) -> list[Scored]:
    """Score the evidence against the topic, without what a refusal has ruled out."""
    ruled_out = [key for key in map(key_of, work.request.rejected) if key]
    forbidden = [f" {key_of(word)} " for word in work.request.forbidden if key_of(word)]
    usable = [
        sentence
        for sentence in work.evidence
        if not any(key in sentence.key or sentence.key.startswith(key) for key in ruled_out)
        and not any(word in f" {sentence.key} " for word in forbidden)
    ]
    return score(usable, make_query(work.request.topic, work.words), work.words, _SEARCHED if work.searched else 0.0)


def central_documents(work: Work, limit: int) -> list[str]:
    """Return the documents to read whole: those with the most to say, or any where a search found next to nothing."""
    scored = relevant(work)
    counts = Counter(item.sentence.path for item in scored[:_CENTRAL])
    least = 1 if len(scored) < _FEW else max(3, max(counts.values()) // 4)
    local = [path for path, number in counts.most_common() if number >= least and "://" not in path]
    return local[:limit]


def doubtful_words(work: Work) -> list[str]:
    """Return words of the topic that the evidence does not have; a search may have ranked them out of its results."""
    if work.request.is_question:
        return []
    return missing_words(work.request.topic, work.evidence, work.words)[:_MOST_DOUBTFUL]


def section_count(most_words: int) -> int:
    """Return how many sections fit a text of `most_words`."""
    return max(2, min(_GROUPS, (most_words - 90) // _WORDS_A_SECTION))


def nothing_found(work: Work, title: str) -> str:
    """Say that nothing was found, in the sections asked for where there are any, and what a failed tool answered."""
    lines = [no_passage(work.request.topic), *(f"> A tool failed: {failure}" for failure in work.failures[:3])]
    sections = [
        Section(name, tuple(lines) if is_summary(name) else ("- none",) if is_sources(name) else (no_passage(name),))
        for name in work.request.sections
    ]
    said = any(is_summary(section.title) for section in sections)
    return write_page(Page(title_of(title), (OFFLINE_NOTE, *([] if said else ["", *lines])), tuple(sections)))


class _Budget:
    """Words that are still free; a sentence costs itself, its citation and its line in the list of sources."""

    def __init__(self, words: int) -> None:
        self.left = words
        self._paths: set[str] = set()

    def take(self, item: Scored) -> bool:
        """Pay for a sentence; False, and nothing paid, when it does not fit."""
        cost = count_words(f"- {cited(item.sentence)}")
        if item.sentence.path not in self._paths:
            cost += count_words(f"- {item.sentence.path} (10 passages)")
        if cost > self.left:
            return False
        self.left -= cost
        self._paths.add(item.sentence.path)
        return True


def _grouped(work: Work, scored: Sequence[Scored], limit: int) -> list[Group]:
    """Group the evidence by the sections asked for, else by the sources' headings and what stands apart from them."""
    topic, words = work.request.topic, work.words
    titles = [name for name in work.request.sections if not is_beside(name) and not is_summary(name)]
    if titles:
        return by_titles(scored, titles, topic, words)
    groups = by_headings(scored, topic, words, limit)
    return groups + _elsewhere(work, scored, {item.sentence.key for group in groups for item in group.items})


def _elsewhere(work: Work, scored: Sequence[Scored], placed: Collection[str]) -> list[Group]:
    """Gather what names the topic under headings that have little else to say about it."""
    topic = make_query(work.request.topic, work.words).stems
    rest = [
        item
        for item in scored
        if item.sentence.key not in placed and coverage(topic, item.stems) >= 0.6 and fits_under(item, "")
    ]
    return [Group(OTHER, tuple(rest))] if rest else []


def _outlined(work: Work, scored: Sequence[Scored]) -> list[Group]:
    limit = section_count(work.request.most_words or DEFAULT_WORDS)
    titles = [section.title for section in find_outline(work.context) if not is_summary(section.title)]
    if not titles:
        return _grouped(work, scored, limit)
    own = {title: [item for item in scored if item.sentence.heading.lower() == title.lower()] for title in titles}
    free = [item for item in scored if all(item not in items for items in own.values())]
    bare = [title for title in titles if not own[title]]
    found = {group.title: list(group.items) for group in by_titles(free, bare, work.request.topic, work.words)}
    groups = [Group(title, tuple(own[title] or found[title])) for title in titles]
    return [group for group in groups if group.items][: max(limit, 2) + 1]


def _fixed_words(work: Work, title: str, groups: Sequence[Group], summary_name: str) -> int:
    headings = [title, summary_name, SOURCES, *(group.title for group in groups)]
    empty = sum(count_words(no_passage(group.title)) for group in groups if not group.items)
    note = count_words(OFFLINE_NOTE) + count_words(_missing(work))
    return sum(count_words(f"## {heading}") for heading in headings) + note + empty


def _summary(work: Work, scored: Sequence[Scored], groups: Sequence[Group], budget: _Budget) -> list[Scored]:
    """Pick sentences with the topic as their subject: the best, then the openings of sections, then any others."""
    topic = frozenset(work.words.stems(work.request.topic))
    naming = [
        item
        for item in scored
        if topic & set(work.words.stems(" ".join(item.sentence.text.split()[:_SUBJECT_WORDS])))
        and stands_alone(item, work.words)
        and fits_under(item, "")
    ]
    best = (naming or list(scored))[:1]
    titled = [group.items for group in groups if group.items and group.title != OTHER]
    first = {min(items, key=lambda item: item.sentence.line).sentence.key for items in titled}
    openings = [item for item in naming if item.sentence.key in first]
    elsewhere = [item for item in naming if item.sentence.heading != best[0].sentence.heading]
    most = budget.left // 5
    taken: list[Scored] = []
    for item in [*best, *openings, *elsewhere]:
        before = budget.left
        new = all(similarity(item, other) < _NEAR for other in taken)
        if len(taken) < _SUMMARY_LINES and (not taken or (new and most > 0)) and budget.take(item):
            taken.append(item)
            most -= before - budget.left
    return taken


def _fill(groups: Sequence[Group], summary: Sequence[Scored], budget: _Budget) -> list[list[Scored]]:
    """Give each section a line in turn until the words are used, so that no section starves."""
    most_lines = max(_LINES_A_SECTION, budget.left // (_WORDS_A_LINE * max(1, len(groups))))
    pools: list[list[Scored]] = []
    chosen = list(summary)
    for group in groups:
        pools.append(pick(group.items, most_lines, chosen))
        chosen.extend(pools[-1])
    filled: list[list[Scored]] = [[] for _ in groups]
    for turn in range(max(map(len, pools), default=0)):
        for taken, pool in zip(filled, pools, strict=True):
            if turn < len(pool) and budget.take(pool[turn]):
                taken.append(pool[turn])
    return filled


def _reading(items: Sequence[Scored], language: str) -> list[Scored]:
    """Put sentences in the order of their documents; one that points back stays only behind the one before it."""
    order: dict[str, int] = {}
    for item in items:
        order.setdefault(item.sentence.path, len(order))
    ordered = sorted(items, key=lambda item: (order[item.sentence.path], item.sentence.line))
    pairs = zip(ordered, [None, *ordered], strict=False)
    return [
        item
        for item, before in pairs
        if not is_dangling(item.sentence.text, language) or (before and adjoin(before.sentence, item.sentence))
    ]


def _answer(work: Work, scored: Sequence[Scored]) -> str:
    """Answer a question, or give the number of points asked for: the few sentences that fit best."""
    title = title_of(work.request.topic)
    budget = _Budget((work.request.most_words or _ANSWER_WORDS) - _fixed_words(work, title, [], ""))
    best = scored[0].fit
    close = [item for item in scored if item.fit >= _CLOSE * best and fits_under(item, work.request.topic)]
    close = [item for item in close if not is_dangling(item.sentence.text, work.words.code)]
    taken = [item for item in pick(close, work.request.count or _ANSWER_LINES) if budget.take(item)]
    return _finish(work, title, [_section("Answer" if work.request.is_question else "Key points", taken)], taken)


def _section(title: str, items: Sequence[Scored]) -> Section:
    if not items:
        return Section(title, (no_passage(title),))
    return Section(title, tuple(f"- {cited(item.sentence)}" for item in items))


def _support(group: Group) -> str:
    documents = len({item.sentence.path for item in group.items})
    return f"_{_passages(len(group.items))} in {documents} document{'s' if documents != 1 else ''}; the best:_"


def _passages(number: int) -> str:
    return f"{number} passage{'s' if number != 1 else ''}"


def _missing(work: Work) -> str:
    """Say which words of the topic a search of their own did not find; what was handed over says it of itself."""
    if not work.searched:
        openings = [read_page(text).opening for text in work.context.values()]
        return next((line for opening in openings for line in opening if line.startswith(NO_PASSAGE)), "")
    missing = [word for word in doubtful_words(work) if word in work.searched_for]
    return no_passage('", "'.join(missing)) if missing else ""


def _finish(work: Work, title: str, sections: Sequence[Section], used: Sequence[Scored]) -> str:
    notes = [OFFLINE_NOTE, *(["", _missing(work)] if _missing(work) else [])]
    listed = Section(SOURCES, tuple(sources_list(item.sentence.cite for item in used)))
    kept = [section for section in sections if not is_sources(section.title)]
    return write_page(Page(title_of(title), tuple(notes), (*kept, listed)))
