"""A sentence in the parts that a statement stands in: words, numbers and dates, the verb, what is told beside."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tasks.citations import strip_citations
from tasks.conflict_measures import Day, Quantity, find_dates, find_quantities
from tasks.conflict_terms import (
    NEGATIONS,
    NUMBERED,
    OPPOSITES,
    PREPOSITIONS,
    QUALIFIERS,
    REFERENTS,
    SAYS_NOTHING,
    VERBS,
)

_MARKS = re.compile(r"\*+|`+|~~|(?<!\w)_+|_+(?!\w)")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
WORD = re.compile(r"[^\W\d_][^\W_]*(?:['’][^\W\d_]+)*")
SPLIT = re.compile(
    r"[;:]\s|\s[–—]\s|,\s+(?:and\s+|but\s+)?|\s\(|\)\s?|\s+(?:while|whereas|although|though|which|who|because|but)\s+"
    r"|\s+and\s+(?=[a-z]+ed|[a-z]+s (?:the |a |an |to |about |some |in |on |by |no |[\x01\x02])"
    r"|(?:is|are|was|were|has|have|had|will|the|its|their|it|they)\s)"
)
_THAN = re.compile(r"\b(?:more|less|fewer|higher|lower|at least|at most) than\b", re.I)
_PERIOD = re.compile(r"\b(first|second|third|fourth) (quarter|half)\b", re.I)
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4}
_INSIDE = re.compile(r"(?<=[a-z,]) ([A-Z][^\W\d_]+)")
_PAIR = re.compile(r"\b([A-Z][a-z]+) ([A-Z][^\W\d_]+)\b")
_DENIAL = re.compile(r"\b(?:" + "|".join(sorted({*NEGATIONS, *OPPOSITES})) + r")\b|n['’]t\b", re.IGNORECASE)


class Term(NamedTuple):
    token: str
    written: str
    start: int
    named: bool


@dataclass
class Fragment:
    """A part of a sentence with at most one verb that matters."""

    text: str
    start: int
    words: list[tuple[str, int]]
    verb: int | None
    quantities: list[Quantity]
    days: list[Day]
    terms: tuple[Term, ...] = ()

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def before(self, position: int) -> tuple[Term, ...]:
        """Return the terms before a position in the fragment."""
        return tuple(term for term in self.terms if term.start < self.start + position)


def plain(text: str) -> str:
    """Return a line without citations and Markdown marks; the case stays, since names are told by it."""
    return _MARKS.sub("", _LINK.sub(r"\1", strip_citations(text))).replace(" ", " ").strip()


def names_in(texts: Iterable[str]) -> frozenset[str]:
    """Return the words that have a capital in the middle of a sentence or beside another one, in small letters."""
    found: set[str] = set()
    for text in texts:
        for row in text.splitlines():
            if row.lstrip().startswith(("#", "|")):
                continue
            found.update(word.lower() for word in _INSIDE.findall(row))
            for pair in _PAIR.findall(row):
                found.update(word.lower() for word in pair)
    return frozenset(word for word in found if not says_nothing(word))


def denials_in(texts: Iterable[str]) -> str:
    """Return the words of the sentences that deny something; what they do not have, nobody denies."""
    sentences = (part for text in texts for part in re.split(r"[.!?]\s|\n\s*\n", text) if _DENIAL.search(part))
    return " ".join(word for sentence in sentences for word in WORD.findall(sentence))


def says_nothing(word: str) -> bool:
    return (
        len(word) < 2
        or word in SAYS_NOTHING
        or word in QUALIFIERS
        or word in REFERENTS
        or word in NEGATIONS
        or word in PREPOSITIONS
    )


def qualifiers_in(text: str) -> frozenset[str]:
    text = text.lower()
    if " than" in text:
        text = _THAN.sub(" ", text)
    if "quarter" in text or "half" in text:
        # "the fourth quarter" is Q4, and no fourth of anything.
        text = _PERIOD.sub(lambda told: f"{told[2][0]}{_ORDINALS[told[1]]}", text)
    return frozenset(QUALIFIERS[word] for word in QUALIFIERS.keys() & WORD.findall(text))


def verb_start(fragment: Fragment) -> int:
    return fragment.words[fragment.verb][1] if fragment.verb is not None else 0


def split_fragments(sentence: str) -> list[Fragment]:
    days = find_dates(sentence)
    quantities = [q for q in find_quantities(sentence, days) if not is_identifier(sentence, q)]
    text = sentence
    for mark, spans in (("\x01", quantities), ("\x02", days)):
        for one in spans:
            text = f"{text[: one.start]}{mark * (one.end - one.start)}{text[one.end :]}"
    cuts = [0, *(end for match in SPLIT.finditer(text) for end in match.span()), len(text)]
    found: list[Fragment] = []
    for start, end in zip(cuts[::2], cuts[1::2], strict=True):
        if not text[start:end].strip(" .!?"):
            continue
        part = text[start:end]
        words = [(match[0], match.start()) for match in WORD.finditer(part)]
        inside = [q for q in quantities if start <= q.start < end]
        found.append(Fragment(part, start, words, _verb(words), inside, [d for d in days if start <= d.start < end]))
    return found


def _verb(words: Sequence[tuple[str, int]]) -> int | None:
    lowered = [word.lower() for word, _ in words]
    for i, word in () if VERBS.isdisjoint(lowered) else enumerate(lowered):
        if word in VERBS and not (word in ("has", "have", "had") and i + 1 < len(lowered) and lowered[i + 1] == "to"):
            return i
    for i, word in enumerate(lowered):
        if i and len(word) > 4 and word.endswith("ed") and lowered[i - 1] not in ("the", "a", "an", "of"):
            return i
    return next(
        (i for i, w in enumerate(lowered) if i and len(w) > 4 and w.endswith("s") and _object(lowered, i)), None
    )


def _object(words: Sequence[str], i: int) -> bool:
    return i + 1 < len(words) and words[i + 1] in ("the", "a", "an", "that", "its", "their")


def has_verb(text: str) -> bool:
    return any(word.lower() in VERBS for word in WORD.findall(text))


def is_participle(word: str) -> bool:
    return (len(word) > 3 and word.endswith("ed") and not word.endswith("eed")) or word in (
        "built",
        "born",
        "held",
        "known",
        "made",
        "led",
        "sold",
    )


def refers_back(fragment: Fragment) -> bool:
    return bool(fragment.words) and fragment.words[0][0].lower() in ("it", "they", "he", "she", "this", "these")


def is_identifier(text: str, quantity: Quantity) -> bool:
    """Say whether a number is part of a name: `ticket 114`, `Aero 3`, `#12`."""
    if quantity.unit or not re.fullmatch(r"\d{1,5}(?:\.\d+)*", quantity.written):
        return False
    lead = re.search(r"([^\W\d_][\w-]*) (?:#|no\.? ?)?$", text[max(0, quantity.start - 40) : quantity.start])
    if lead is None:
        return text[quantity.start - 1 : quantity.start] == "#"
    word = lead[1].lower()
    if word in NUMBERED:
        return True
    after = re.match(r" ([a-z]+)", text[quantity.end : quantity.end + 40])
    counts = after is not None and after[1] not in VERBS and after[1] not in PREPOSITIONS
    return lead[1][0].isupper() and not counts and word not in SAYS_NOTHING and word not in PREPOSITIONS


def noun_phrase(f: Fragment, quantity: Quantity) -> tuple[int, int]:
    """Return from where to where the noun of a quantity goes: `two sites`."""
    return quantity.start, adjunct(f, quantity.end)


def adjunct(f: Fragment, position: int) -> int:
    """Return where the first preposition after a position stands: from there on, it is told where and for whom."""
    later = [
        (i, start + f.start, word.lower()) for i, (word, start) in enumerate(f.words) if start + f.start >= position
    ]
    after = [start for _, start, word in later if word in PREPOSITIONS]
    if f.verb is not None and any(q.end == position for q in f.quantities):
        verb = f.verb
        after += [start for i, start, word in later if start > position + 1 and i > verb + 1 and is_participle(word)]
    following = [q.start for q in f.quantities if q.start >= position]
    return min([*after, *following, f.end + 1])


def years_in(text: str) -> set[str]:
    return {str(day.year) for day in find_dates(text) if day.year}


def years_of(f: Fragment, quantity: Quantity, lead: Sequence[Day]) -> set[str]:
    """Return the years that a number is of: those after it and before the next number, else those before it."""
    later = [q.start for q in f.quantities if q.start > quantity.start]
    following = [day for day in f.days if quantity.end <= day.start < min([*later, f.end + 1])]
    earlier = [day for day in f.days if day.start < quantity.start]
    chosen = following or earlier[-1:] or list(lead)
    return {f"{day.year}-{day.month or ''}-{day.day or ''}".rstrip("-") for day in chosen if day.year}


def follows_word(f: Fragment, day: Day) -> bool:
    lead = f.text[: day.start - f.start].lower().split()
    return bool(lead) and lead[-1] in ("in", "since", "around", "circa", "during", "until", "by", "year", "about")
