"""Order evidence by how well it answers: matched stems, headings, section cues, the search's own order, centrality."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from models.offline.cues import cue_stems, defined_term, kinds_of
from models.offline.language import Vocabulary
from models.offline.passages import Sentence
from models.offline.sentences import is_closed, is_dangling, is_teaser, refers_back

LONG_SENTENCE_WORDS = 40
_CANDIDATES = 90
_NEAR_REPEAT = 0.6
_IN_HEADING = 0.7
_IN_PATH = 0.6
_IN_DOCUMENT = 0.3
_NEXT_LINE = 0.06
_PREPOSITION = re.compile(
    r"\s(?:of|for|in|on|with|from|to|at|by|between|under|von|für|im|bei|mit|zu|de|du|des|d|del|para|sur|pour|sobre"
    r"|en)\s",
    re.I,
)


@dataclass(frozen=True)
class Query:
    """What is looked for: stems of its words, kinds of statement (see `cues`), and stems that hint at those.

    `head` is the stem that the others only narrow down ("cost" in "cost of agent crews"); "" where there is none.
    """

    stems: tuple[str, ...]
    kinds: tuple[str, ...]
    cues: frozenset[str]
    head: str = ""


@dataclass(frozen=True)
class Scored:
    """A sentence with its stems, those of its heading, and how well it fits the topic, from 0 to about 2.

    `named` says how much of its document's name is the topic, 0 to 0.7.
    """

    sentence: Sentence
    stems: frozenset[str]
    heading: frozenset[str]
    fit: float
    named: float = 0.0


def make_query(text: str, words: Vocabulary) -> Query:
    """Read a topic, a question or a heading as a query."""
    kinds = kinds_of(text)
    return Query(tuple(dict.fromkeys(words.stems(text))), kinds, cue_stems(kinds, words), _head(text, words))


def score(sentences: Sequence[Sentence], query: Query, words: Vocabulary, least_share: float) -> list[Scored]:
    """Score sentences against the topic, best first.

    Those with less than `least_share` of the best one's match are left out, and all of them where none matches half of
    the topic: 0 keeps what somebody has chosen already, 0.5 suits the results of a search.
    """
    paths = _path_stems(sentences, words)
    texts = [frozenset(words.stems(sentence.text)) for sentence in sentences]
    headings = [frozenset(words.stems(sentence.heading)) for sentence in sentences]
    named = {path: _named_after(query, path, words) for path in paths}
    about = _subjects(sentences, texts)
    first = _first_lines(sentences)
    headed = any(query.head in stems for stems in texts)
    found: list[tuple[float, Scored]] = []
    best = 0.0
    for sentence, stems, heading in zip(sentences, texts, headings, strict=True):
        places = (stems, heading, paths[sentence.path], about[sentence.path])
        cover = coverage(query.stems, *places)
        best = max(best, cover, named[sentence.path])
        weighed = cover * (0.3 + 0.7 * coverage((query.head,), *places)) if headed else cover
        weighed = max(weighed, named[sentence.path])
        lead = max(0.0, 0.15 - 0.05 * (sentence.line - first[sentence.path, sentence.heading]))
        fit = _fit(sentence, weighed, stems, query, words) + lead
        found.append((weighed, Scored(sentence, stems, heading, fit, named[sentence.path])))
    # A topic of several words is not met by stray sentences that share one of them.
    titled = any(coverage(query.stems, paths[item.sentence.path] | item.heading) > 0 for _, item in found)
    if least_share and (best < 0.5 or (best == 0.5 and not titled)):
        return []
    least = least_share * max((weighed for weighed, _ in found), default=0.0) * (0.8 if len(query.stems) > 2 else 1.0)
    return sorted((item for weighed, item in found if weighed >= least), key=lambda item: -item.fit)


def coverage(
    wanted: Sequence[str],
    text: Collection[str],
    heading: Collection[str] = (),
    path: Collection[str] = (),
    about: Collection[str] = (),
) -> float:
    """Return the share of `wanted` stems that are found, 0 to 1; they count for less the further from the sentence."""
    if not wanted:
        return 0.0
    places = ((1.0, text), (_IN_HEADING, heading), (_IN_PATH, path), (_IN_DOCUMENT, about))
    return sum(next((weight for weight, stems in places if stem in stems), 0.0) for stem in wanted) / len(wanted)


def pick(items: Sequence[Scored], limit: int, chosen: Iterable[Scored] = ()) -> list[Scored]:
    """Take the best `limit` of `items` that neither repeat each other nor those already `chosen`, best first."""
    pool = sorted(items, key=lambda item: -item.fit)[:_CANDIDATES]
    centre = _centrality(pool)
    top = max((item.fit for item in pool), default=0) or 1.0
    worth = {item.sentence.key: 0.8 * item.fit / top + 0.2 * centre[item.sentence.key] for item in pool}
    taken: list[Scored] = []
    before = list(chosen)
    nearest = {item.sentence.key: max((similarity(item, other) for other in before), default=0.0) for item in pool}
    while pool and len(taken) < limit:
        best = max(
            pool,
            key=lambda item: (
                worth[item.sentence.key]
                - 0.35 * nearest[item.sentence.key]
                + _NEXT_LINE * any(adjoin(item.sentence, other.sentence) for other in taken)
            ),
        )
        pool.remove(best)
        if nearest[best.sentence.key] >= _NEAR_REPEAT:
            continue
        taken.append(best)
        for item in pool:
            nearest[item.sentence.key] = max(nearest[item.sentence.key], similarity(item, best))
    return taken


def similarity(one: Scored, other: Scored) -> float:
    """Return how far two sentences say the same, 0 to 1, by the stems they share."""
    if not one.stems or not other.stems:
        return 0.0
    return len(one.stems & other.stems) / math.sqrt(len(one.stems) * len(other.stems))


def adjoin(one: Sentence, other: Sentence) -> bool:
    """Say whether two sentences stand on neighbouring lines of the same part of a document."""
    return one.path == other.path and one.heading == other.heading and abs(one.line - other.line) == 1


def affinity(item: Scored, query: Query) -> float:
    """Return how well a sentence fits a heading, 0 to about 2; 0 means that it does not belong there."""
    named = coverage(query.stems, item.stems, item.heading)
    cues = min(2, len(query.cues & item.stems)) / 2
    same_kind = 0.5 if set(query.kinds) & set(kinds_of(item.sentence.heading)) else 0.0
    return named + 0.5 * cues + same_kind


def stands_alone(item: Scored, words: Vocabulary) -> bool:
    """Say whether a sentence can be read without those around it."""
    text = item.sentence.text
    return is_closed(text) and not (is_dangling(text, words.code) or refers_back(text) or is_teaser(text))


def mentions(item: Scored, topic: Query) -> bool:
    """Say whether a sentence itself speaks of the topic, by its words or by the words of its kind."""
    return any(stem in item.stems for stem in topic.stems) or bool(topic.cues & item.stems)


def missing_words(topic: str, sentences: Sequence[Sentence], words: Vocabulary) -> list[str]:
    """Return the topic's words that stand nowhere in the evidence, in the topic's order."""
    present = {
        stem for s in sentences for stem in (*words.stems(s.text), *words.stems(s.heading), *words.stems(s.path))
    }
    return [word for word in dict.fromkeys(words.keywords(topic)) if words.stem(word) not in present]


def _head(text: str, words: Vocabulary) -> str:
    if text.endswith(("?", "？")) or re.search(r",|\b(?:and|or|und|oder|et|ou|y|o)\b", text):
        return ""
    phrase = words.stems(_PREPOSITION.split(text)[0])
    if not phrase or len(words.stems(text)) < 2:
        return ""
    # The head of a noun phrase stands last in English and German, first in French and Spanish.
    return phrase[0] if words.code in ("fr", "es") else phrase[-1]


def _named_after(query: Query, path: str, words: Vocabulary) -> float:
    """Return what the name of its document alone makes a sentence worth: more, the more of the name is the topic."""
    name = set(words.stems(re.sub(r"\.\w{1,5}$", "", path.rsplit("/", 1)[-1]).replace("_", " ")))
    if not name or not (all(stem in name for stem in query.stems) or query.head in name):
        return 0.0
    return 0.32 + 0.38 * len(name & set(query.stems)) / len(name)


def _path_stems(sentences: Sequence[Sentence], words: Vocabulary) -> dict[str, frozenset[str]]:
    return {path: frozenset(words.stems(path.replace("_", " "))) for path in {s.path: None for s in sentences}}


def _subjects(sentences: Sequence[Sentence], texts: Sequence[frozenset[str]]) -> dict[str, frozenset[str]]:
    """Return for each document the stems that more than one of its sentences has."""
    counts: dict[str, Counter[str]] = {}
    for sentence, stems in zip(sentences, texts, strict=True):
        counts.setdefault(sentence.path, Counter()).update(stems)
    return {path: frozenset(stem for stem, number in count.items() if number > 1) for path, count in counts.items()}


def _first_lines(sentences: Sequence[Sentence]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for sentence in sentences:
        place = sentence.path, sentence.heading
        found[place] = min(sentence.line, found.get(place, sentence.line))
    return found


def _fit(sentence: Sentence, cover: float, stems: frozenset[str], query: Query, words: Vocabulary) -> float:
    value = cover + 0.3 / (1 + 0.12 * sentence.rank) + 0.1 * min(3, len(query.cues & stems))
    term = defined_term(sentence.text, words.code)
    if term:
        own = set(words.stems(term))
        shared = len(own & set(query.stems)) / max(len(own), len(query.stems), 1)
        value += (0.6 if "definition" in query.kinds or not query.kinds else 0.3) * shared
    length = len(sentence.text.split())
    if length > LONG_SENTENCE_WORDS or not is_closed(sentence.text):
        value *= 0.6
    elif length < 8:
        value *= 0.85
    if is_dangling(sentence.text, words.code):
        value *= 0.35
    elif refers_back(sentence.text):
        value *= 0.8
    return value * (0.2 if is_teaser(sentence.text) else 1.0)


def _centrality(pool: Sequence[Scored]) -> dict[str, float]:
    counts = Counter(stem for item in pool for stem in item.stems)
    weight = {
        item.sentence.key: sum(counts[stem] for stem in item.stems) / math.sqrt(len(item.stems) or 1) for item in pool
    }
    top = max(weight.values(), default=0) or 1.0
    return {key: value / top for key, value in weight.items()}
