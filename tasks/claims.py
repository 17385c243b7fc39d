"""The rule `cited`: every claim names its source, and the source says it, as far as that shows without a model."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tasks.citations import find_citations, strip_citations
from tasks.prose import Line, excerpt
from tasks.wording import content_stems, count_words, make_stemmer, missing_numbers, normalise, split_sentences

_QUOTED = re.compile(r'(?<!\w)"([^"]{1,1000})"(?!\w)')
_LEFT_OUT = re.compile(r"\[?\.\.\.\]?")
_GAP = re.compile(r" (?=[.,;:!?](?: |$))")
_RANGE = re.compile(r"(.*(?::| p\.))(\d{1,9})-(\d{1,9})")
_MOST_OF_RANGE = 50
_FEWEST_WORDS = 4


@dataclass(frozen=True)
class _Passage:
    text: str
    stems: frozenset[str]


def uncited(lines: Sequence[Line], sources: Callable[[str], str | None]) -> list[str]:
    """Return what is wrong with the claims of a text, in order.

    A claim is a line, list item or quote of at least four words. A sentence is held against its own citations, one
    without any against all of its line's. One that does not stand there word for word passes when all its numbers, its
    quoted words and half of the stems of its meaningful words do: what it makes of them is not judged.
    """
    stem = make_stemmer()
    read: dict[str, _Passage | None] = {}

    def passage(place: str) -> _Passage | None:
        if place not in read:
            text = _text_at(place, sources)
            plain = None if text is None else normalise(text)
            read[place] = None if plain is None else _Passage(plain, content_stems(plain, stem))
        return read[place]

    reasons: list[str] = []
    for line in lines:
        if line.kind in ("prose", "item", "quote") and count_words(strip_citations(line.text)) >= _FEWEST_WORDS:
            reasons += _line_reasons(line, passage, stem)
    return reasons


def _text_at(place: str, sources: Callable[[str], str | None]) -> str | None:
    """Read a place; a range that is not known as a whole is read line by line, as far as a person would."""
    text = sources(place)
    span = _RANGE.fullmatch(place)
    if text is not None or not span:
        return text
    first, last = int(span[2]), min(int(span[3]), int(span[2]) + _MOST_OF_RANGE)
    found = [part for number in range(first, last + 1) if (part := sources(f"{span[1]}{number}")) is not None]
    return "\n".join(found) if found else None


def _line_reasons(line: Line, passage: Callable[[str], _Passage | None], stem: Callable[[str], str]) -> Iterator[str]:
    places = find_citations(line.text) or list(line.beside)
    shown = f"{line.label}: {excerpt(_GAP.sub('', ' '.join(strip_citations(line.text).split())))}"
    if not places:
        yield f"{shown} has no citation; end it with [path:line] or [path p.N]"
        return
    absent = [place for place in places if passage(place) is None]
    for place in absent:
        yield f"{shown} cites [{place}], and there is no such place; cite a place that was read"
    if absent:
        return
    for sentence, own in _sentences(line.text):
        if count_words(sentence) < _FEWEST_WORDS and not any(map(str.isdecimal, sentence)):
            continue
        cited = own or places
        lacking = _lacking(sentence, [found for place in cited if (found := passage(place))], stem)
        if lacking:
            where = " ".join(f"[{place}]" for place in cited)
            yield (
                f"{line.label}: {excerpt(sentence)} is not what {where} says: {lacking}; "
                "cite the place that says it, or keep to what the place says"
            )


def _sentences(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each sentence without its citations, and these; a citation after the full stop belongs before it."""
    position = 0
    masked = strip_citations(text, "\x00")
    for sentence in split_sentences(masked):
        start = masked.index(sentence, position)
        position = start + len(sentence)
        said = _GAP.sub("", " ".join(sentence.replace("\x00", " ").split()))
        if any(map(str.isalnum, said)):
            yield said, find_citations(text[start:position])


def _lacking(sentence: str, passages: Sequence[_Passage], stem: Callable[[str], str]) -> str:
    """Say what of the sentence the passages lack; "" when they carry it."""
    claim = normalise(sentence).strip(" .,;:!?。！？")
    if any(_contains(found.text, claim) for found in passages):
        return ""
    together = " ".join(found.text for found in passages)
    numbers = missing_numbers(claim, together)
    if numbers:
        several = len(numbers) > 1
        return f"the number{'s' * several} {', '.join(numbers[:5])} {'do' if several else 'does'} not occur there"
    for quoted in _quotes(claim):
        if not _contains(together, quoted):
            return f"the quoted words {excerpt(quoted, 40)} do not occur there"
    stems = content_stems(claim, stem)
    shared = sum(1 for one in stems if any(one in found.stems for found in passages))
    if stems and shared * 2 >= len(stems):
        return ""
    return f"{shared} of its {len(stems)} meaningful words occur there" if stems else "these words do not occur there"


def _quotes(claim: str) -> Iterator[str]:
    for match in _QUOTED.finditer(claim):
        for part in _LEFT_OUT.split(match[1]):
            if count_words(part) >= _FEWEST_WORDS:
                yield part.strip(" .,;:!?")


def _contains(text: str, part: str) -> bool:
    """Say whether `part` stands in `text`, not as a piece of longer words."""
    start = text.find(part) if part else -1
    while start >= 0:
        before, after = text[start - 1 : start], text[start + len(part) : start + len(part) + 1]
        if not (_sticks(before, part[0]) or _sticks(part[-1], after)):
            return True
        start = text.find(part, start + 1)
    return False


def _sticks(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and left.isascii() and right.isascii()
