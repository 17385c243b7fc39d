"""Texts compared by their words: what says a sentence word for word, and what says it in other words."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from itertools import chain, islice, pairwise

from tasks.wording import content_stems, missing_numbers, negated

Stem = Callable[[str], str]

FEWEST_WORDS = 4
_STOP = frozenset(b"a an and are as at be by for from has have in is it of on or that the this to was with".split())
_MOST_LINES, _MOST_WEIGHED = 80_000, 50
_SHARED, _SHARED_WITH_NUMBERS, _WORTH_A_LOOK = 0.6, 0.4, 0.3
_STEP = 8
_LONG_NUMBER = re.compile(r"\b\d{2,}\b")
NUMBERED = re.compile(r"^ {0,6}(\d+)(?:  |\t|: |\| ?|→)", re.MULTILINE)
_MARKS = bytes(sign for sign in range(128) if not chr(sign).isalnum() and chr(sign) not in ".\n")
_TO_SPACES = bytes.maketrans(_MARKS + b"]", b" " * len(_MARKS) + b"\n")
_WIDE_MARKS = [sign.encode() for sign in "“”„«»‘’‚–—‑−…·•→\u00a0"]
_UNSEEN = [sign.encode() for sign in "\u00ad\u200b\u200c\u200d\u2060\ufeff"]
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")


def words_of(text: str) -> bytes:
    """Return a text as the lower-case words by which texts are compared, in UTF-8; each sentence is a line."""
    if text[:1] in ("{", "["):
        text = text.replace('"', "\n")
    if "\\" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text.replace("\\n", "\n"))
    if NUMBERED.match(text):
        text = NUMBERED.sub("", text)
    plain = text.lower().encode("utf-8", "replace")
    if not plain.isascii():
        plain = plain.replace("§".encode(), b"\n")
        for marks, kept in ((_WIDE_MARKS, b" "), (_UNSEEN, b"")):
            for mark in marks:
                plain = plain.replace(mark, kept)
    plain = plain.translate(_TO_SPACES).replace(b"..", b" ")
    return plain.replace(b". ", b"\n").replace(b".\n", b"\n").removesuffix(b".")


def needle_of(text: str) -> bytes:
    return b" ".join(words_of(text).split())


class Shelf:
    """Texts in which sentences are looked up, in order; `given` are the arguments that each was asked for with.

    What a tool was given does not count as found by it: it only said it back.
    """

    def __init__(self, texts: Sequence[str], stem: Stem, given: Sequence[str] = ()) -> None:
        known = {text: words_of(text) for text in dict.fromkeys(texts)}
        self._plain, self._likeness = [known[text] for text in texts], Likeness(stem)
        self._given = [words_of(text) for text in given] or [b""] * len(texts)

    def hold(self, wanted: Mapping[bytes, Collection[int]], most: int) -> dict[bytes, list[int]]:
        """Find, for each needle, the first of the texts allowed to it that hold it word for word, at most `most`.

        A needle of less than four words must be a line or a sentence of its own: else it stands everywhere.
        """
        found: dict[bytes, list[int]] = {}
        tight = {needle: needle.replace(b" ", b"") for needle in wanted}
        long = {
            needle for needle in wanted if needle.count(b" ") >= FEWEST_WORDS - 1 and len(tight[needle]) > 2 * _STEP
        }
        short = {tight[needle]: needle for needle in wanted.keys() - long}
        by_start = _by_start({needle: tight[needle] for needle in long})
        single = any(len(start) == 1 for start in by_start)
        for number, plain in enumerate(self._plain if wanted else ()):
            whole = plain.translate(None, b" \n")
            steps = memoryview(whole)[: len(whole) // _STEP * _STEP].cast("Q").tolist()
            pairs = chain(pairwise(steps), zip(steps, strict=True) if single else ())
            likely = {needle for start in by_start.keys() & pairs for needle in by_start[start]}
            near = [needle for needle in likely if len(found.get(needle, ())) < most]
            here = [needle for needle in near if stands(tight[needle], whole)]
            if short:
                here += [short[line] for line in short.keys() & plain.translate(None, b" ").split(b"\n")]
            for needle in here:
                if number in wanted[needle] and tight[needle] not in self._given[number].translate(None, b" \n"):
                    found.setdefault(needle, []).append(number)
        return {needle: numbers[:most] for needle, numbers in found.items()}

    def reword(self, wanted: Mapping[bytes, Collection[int]]) -> dict[bytes, int]:
        """Find, for each needle, the text that says it in other words: see `likeness`."""
        terms = {needle: frozenset(needle.split()) - _STOP for needle, allowed in wanted.items() if allowed}
        terms = {needle: words for needle, words in terms.items() if len(words) >= FEWEST_WORDS}
        found: dict[bytes, int] = {}
        rows: dict[int, list[bytes]] = {}
        for needle, places in (self._near(terms, wanted) if terms else {}).items():
            for _, number, at in places:
                lines = rows.get(number) or rows.setdefault(number, self._plain[number].split(b"\n"))
                near = (lines[at : at + 1], lines[at : at + 2], lines[max(0, at - 1) : at + 1])
                said = any(self._likeness.of(needle, b" ".join(passage)) for passage in near)
                if said and not self._likeness.of(needle, self._given[number]):
                    found[needle] = number
                    break
        return found

    def _near(
        self, terms: Mapping[bytes, frozenset[bytes]], wanted: Mapping[bytes, Collection[int]]
    ) -> dict[bytes, list[tuple[float, int, int]]]:
        """Return the two places, (share of words, text, line), that share most words with each needle.

        Looked for by the rarest words of each: a word that stands in very many lines leads to none of them.
        """
        holding: dict[bytes, list[tuple[int, int, bytes]]] = {word: [] for words in terms.values() for word in words}
        open_words = set(holding)
        most = max(50, _MOST_LINES // len(holding))
        for number, plain in enumerate(self._plain):
            for at, line in enumerate(plain.split(b"\n") if open_words else ()):
                for word in open_words.intersection(line.split()):
                    holding[word].append((number, at, line))
                    if len(holding[word]) == most:
                        open_words.remove(word)
        places: dict[bytes, list[tuple[float, int, int]]] = {}
        for needle, words in terms.items():
            rare = sorted((word for word in words if holding[word]), key=lambda word: (len(holding[word]), word))
            lines = (one for word in rare[:5] for one in holding[word] if one[0] in wanted[needle])
            allowed = set(islice(lines, _MOST_WEIGHED))
            near = [(-len(words.intersection(line.split())) / len(words), number, at) for number, at, line in allowed]
            places[needle] = sorted(place for place in near if -place[0] >= _WORTH_A_LOOK)[:2]
        return places


def _by_start(needles: Mapping[bytes, bytes]) -> dict[tuple[int, ...], list[bytes]]:
    """Return needles by sixteen of their bytes at each of eight offsets: one falls on a step of eight in any text."""
    found: dict[tuple[int, ...], list[bytes]] = {}
    for needle, tight in needles.items():
        for offset in range(_STEP):
            end = offset + min(2, (len(tight) - offset) // _STEP) * _STEP
            found.setdefault(tuple(memoryview(tight)[offset:end].cast("Q")), []).append(needle)
    return found


def stands(tight: bytes, whole: bytes) -> bool:
    """Say whether the letters stand in a text, and not as a part of a longer number."""
    at = whole.find(tight)
    while at >= 0:
        before, after = whole[at - 1 : at] + tight[:1], tight[-1:] + whole[at + len(tight) : at + len(tight) + 1]
        if not (len(before) > 1 and before.isdigit()) and not (len(after) > 1 and after.isdigit()):
            return True
        at = whole.find(tight, at + 1)
    return False


class Likeness:
    """Says how much of a text stands in another one. Remembers words, since texts have the same ones over and over."""

    def __init__(self, stem: Stem) -> None:
        self._content = cache(partial(content_stems, stem=str))
        self._stem = stem

    def of(self, needle: bytes, passage: bytes) -> float:
        """Return the share of the content words, or of their stems, that a passage has in common with a needle.

        0 below 60 % (40 % where numbers agree), where a number is missing, or where one denies what the other says.
        """
        said, there = (" ".join(text.decode("utf-8", "replace").split()) for text in (needle, passage))
        least = _SHARED_WITH_NUMBERS if _LONG_NUMBER.search(said) else _SHARED
        words, others = (frozenset[str]().union(*map(self._content, text.split(" "))) for text in (said, there))
        share = len(words & others) / max(1, len(words))
        if len(words) < 3 or share < least - 0.3:
            return 0.0
        if share < least:
            share = self._by_stems(words, others)
        if share < least or missing_numbers(said, there):
            return 0.0
        signs = {negated(f" {text} ".replace(" t ", " not ")) for text in (said, there)}
        return 0.0 if len(signs) > 1 else share

    def _by_stems(self, words: Collection[str], others: Collection[str]) -> float:
        """Return the share of stems in common; stems are slow, so only words that begin alike are reduced to them."""
        stems = {self._stem(word) for word in words}
        begins = {word[0] for word in words}
        return len(stems & {self._stem(word) for word in others if word[0] in begins}) / max(3, len(stems))


def likeness(needle: bytes, passage: bytes, stem: Stem) -> float:
    """Return the share of the words of a needle that a passage has: see `Likeness`."""
    return Likeness(stem).of(needle, passage)
