"""What two texts are compared by: normalised text, words, sentences, stems, numbers."""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import cast

from snowballstemmer.english_stemmer import EnglishStemmer  # type: ignore[import-untyped]

_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
_UNIFIED = {
    **dict.fromkeys(map(ord, "“”„‟«»‹›″〝〞「」『』"), '"'),
    **dict.fromkeys(map(ord, "‘’‚‛′`´"), "'"),
    **dict.fromkeys(map(ord, "‐‑‒–—―−﹘﹣－"), "-"),
}
_ROW_MARK = re.compile(r"^[^\S\n]*(?:>[^\S\n]*)*(?:#{1,6}[^\S\n]+|[-*+•][^\S\n]+)?", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()\s]*(?:[^\S\n]+\"[^\"\n]*\")?\)|\[[^\[\]]*\])")
_AUTOLINK = re.compile(r"<((?:https?|mailto):[^<>\s]*)>")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_EMPHASIS = re.compile(r"\*+|~~|`+|(?<!\w)_+|(?<=[^\W_])_+(?!\w)|(?<=[^\w\s])_+(?!\w)")

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_CJK_RUN = re.compile(f"([{_CJK}]+)")
_SENTENCE_END = re.compile(r"(?:[.!?…]+[\"'”’»)*_]*(?:\s*\x00+)*(?=\s|$))|(?:[。！？]+[”」』）]*(?:\s*\x00+)*)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|approx|ca|no|nos|vol|fig|figs|eq|sec|ch|pp|p|dr|mr|mrs|ms|prof|st|inc|ltd|co|jr|sr)"
    r"|\b[a-z])\.$",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:[.,']\d+)*")
_SPACED_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?!\d)")
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve"
_STOP_WORDS = """
    a about above after again all also am an and any are as at be because been before being below between both but
    by can could did do does doing down during each few for from further had has have having he her here hers him
    his how i if in into is it its itself just may me might more most must my of off on once only or other our out
    over own s same shall she should so some such t than that the their them then there these they this those
    through to too under until up upon us very was we were what when where which while who whom whose why will with
    would you your
"""
_NEGATIONS = frozenset({"no", "not", "never", "none", "neither", "nor", "without", "cannot"})
_MEANINGLESS = frozenset({*_STOP_WORDS.split(), *_NEGATIONS})


def normalise(text: str) -> str:
    """Return the text for containment: no Markdown marks, quotes and dashes unified, case and whitespace folded."""
    plain = unicodedata.normalize("NFKC", text.translate(_INVISIBLE))
    for pattern, kept in ((_ROW_MARK, ""), (_LINK, r"\1"), (_AUTOLINK, r"\1"), (_ESCAPE, r"\1"), (_EMPHASIS, "")):
        plain = pattern.sub(kept, plain)
    return " ".join(plain.translate(_UNIFIED).casefold().split())


def count_words(text: str) -> int:
    """Count what stands between spaces and has a letter or digit; each Chinese or Japanese character is a word."""
    count = 0
    for part in re.split(r"[\s—]+", text):
        rest, characters = _CJK_RUN.subn(" ", part)
        count += (len(part) - len(rest) + characters) if characters else 0
        count += sum(1 for word in rest.split() if any(map(str.isalnum, word)))
    return count


def split_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a line. A run of NUL characters after a full stop stays with the sentence before it."""
    start = 0
    for end in _SENTENCE_END.finditer(text):
        following = text[end.end() : end.end() + 40].lstrip()
        stop = text[max(start, end.start() - 12) : end.start() + 1]
        if following[:1].islower() or (following and _ABBREVIATION.search(stop)):
            continue
        yield text[start : end.end()].strip()
        start = end.end()
    if text[start:].strip():
        yield text[start:].strip()


def tokens(normalised: str) -> list[str]:
    """Return the words of a normalised text without punctuation and symbols."""
    apart = {ord(c): " " for c in set(normalised) if unicodedata.category(c)[0] in "PSZC"}
    return normalised.translate(apart).split()


def make_stemmer() -> Callable[[str], str]:
    """Return a stemmer with its own memory. English; the same word of another language still gets the same stem."""
    # Not snowballstemmer.stemmer(): it becomes another implementation when PyStemmer is installed.
    stem = cast("Callable[[str], str]", EnglishStemmer().stemWord)  # type: ignore[no-untyped-call]
    return functools.cache(stem)


def content_stems(normalised: str, stem: Callable[[str], str]) -> frozenset[str]:
    """Return the stems of the words that carry meaning; Chinese and Japanese text gives pairs of characters."""
    stems: set[str] = set()
    for token in tokens(normalised):
        for i, part in enumerate(_CJK_RUN.split(token)):
            if i % 2:
                stems.update(part[j : j + 2] for j in range(max(1, len(part) - 1)))
            elif len(part) > 1 and not part.isdecimal() and part not in _MEANINGLESS:
                stems.add(stem(part))
    return frozenset(stems)


def find_numbers(normalised: str) -> list[str]:
    """Return the numbers written in digits, in order, each once: `1,000` as 1000, `3,5` as 3.5, `05` as 5."""
    return list(dict.fromkeys(_number(match[0]) for match in _NUMBER.finditer(normalised)))


def missing_numbers(claim: str, passage: str) -> list[str]:
    """Return the numbers of a claim that a passage does not have; both normalised. `3` is found in "three"."""
    words = set(tokens(passage))
    known = {*find_numbers(passage), *find_numbers(_close_up(passage))}
    known.update(str(value) for value, word in enumerate(_NUMBER_WORDS.split()) if word in words)
    as_written = [number for number in find_numbers(claim) if number not in known]
    return as_written and [number for number in find_numbers(_close_up(claim)) if number not in known]


def negated(normalised: str) -> bool:
    """Say whether the text has an odd number of negations, so that two of them may say opposite things."""
    words = tokens(normalised.replace("n't", " not"))
    return sum(1 for word in words if word in _NEGATIONS) % 2 == 1


def _close_up(text: str) -> str:
    return _SPACED_NUMBER.sub(lambda match: match[0].replace(" ", ""), text)


def _number(written: str) -> str:
    digits = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in written)
    if re.fullmatch(r"\d{1,3}(?:[,']\d{3})+(?:\.\d+)?", digits):
        digits = re.sub("[,']", "", digits)
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}", digits):
        digits = digits.replace(".", "")
    else:
        digits = digits.replace(",", ".").replace("'", ".")
    return digits.lstrip("0") or "0"
