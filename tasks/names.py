"""Proper names of several words in a text: people, organisations, products."""

import re
from collections.abc import Iterator

from tasks.wording import split_sentences

_TOKEN = re.compile(r"[^\W\d_](?:[\w'’.-]{0,60}[\w.])?|&")
_LABEL = re.compile(r"\s*(?:\*\*|__)[^*_\n]{1,120}(?:\*\*|__)\s*[:–—-]?|[^.!?:\n]{1,60}:(?=\s)")
_LINK = re.compile(r"!?\[([^\[\]]{0,300})\]\([^()\s]{0,2000}\)")
_MARKS = re.compile(r"[*_~\[\]]+")
_TITLES_TEXT = """
    dr prof professor mr mrs ms miss sir dame lord lady st saint jr sr phd ceo cto cfo
"""
_TITLES = frozenset(_TITLES_TEXT.split())
_PARTICLES_TEXT = """
    of de del della der den van von da di du la le el al bin ibn y the for &
"""
_PARTICLES = frozenset(_PARTICLES_TEXT.split())
_ORDINARY_TEXT = """
    january february march april may june july august september october november december jan feb mar apr jun jul
    aug sep sept oct nov dec monday tuesday wednesday thursday friday saturday sunday i we you he she it they the a
    an this that these those in on at by for from with without of to and or but if as when while where who what why
    how which our my your his her its their no not yes all any each every some most more less one two three four
    five six seven eight nine ten first second third also then there here however although because since until after
    before during both either neither only even still yet so thus hence meanwhile instead overall finally i'm i've
    i'll q1 q2 q3 q4 hi hello dear thanks thank best kind regards see section table figure note source sources
    summary
"""
_ORDINARY = frozenset(_ORDINARY_TEXT.split())


def find_names(text: str, *, table: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Yield each name of two or more capitalised words, and which of its words tell it from ordinary ones.

    The first word of a sentence tells nothing, labels such as `**Next Steps:**` are no names. In a `table` each cell is
    a sentence of its own.
    """
    plain = _LINK.sub(r"\1", text)
    label = None if table else _LABEL.match(plain)
    plain = _MARKS.sub("", plain[label.end() :] if label else plain)
    for part in plain.split("|") if table else (plain,):
        for sentence in split_sentences(part):
            if not _is_title(sentence):
                yield from _in_sentence(sentence)


def _is_title(sentence: str) -> bool:
    """Say whether a line without a full stop is set in title case, as headings are."""
    if sentence.rstrip()[-1:] in ".!?…;,":
        return False
    words = re.findall(r"[^\W\d_][\w'’-]{3,60}", sentence)
    return 3 <= len(words) <= 12 and all(word[0].isupper() for word in words)


def _in_sentence(sentence: str) -> Iterator[tuple[str, list[str]]]:
    run: list[re.Match[str]] = []
    first = True
    for token in _TOKEN.finditer(sentence):
        gap = sentence[run[-1].end() : token.start()] if run else ""
        joined = not run or (gap in (" ", "\u00a0") and not _ends(run[-1][0]))
        capital = token[0][0].isupper()
        if run and joined and (capital or token[0].casefold() in _PARTICLES):
            run.append(token)
            continue
        if run:
            yield from _name(sentence, run, first and _opens(sentence, run[0].start()))
            run = []
        if capital:
            first = _opens(sentence, token.start())
            run = [token]
    if run:
        yield from _name(sentence, run, _opens(sentence, run[0].start()))


def _ends(token: str) -> bool:
    """Say whether a token with a full stop ends a sentence: it is no title and no initial."""
    return token.endswith(".") and len(token) > 2 and token.rstrip(".").casefold() not in _TITLES


def _opens(sentence: str, start: int) -> bool:
    before = sentence[:start].rstrip(" \"'“”‘’„«»(>-–—")
    return not before or before[-1] in ":.!?;•"


def _name(sentence: str, run: list[re.Match[str]], opens: bool) -> Iterator[tuple[str, list[str]]]:
    while run and not run[-1][0][0].isupper():
        run = run[:-1]
    while run and _plain(run[0][0]) in _ORDINARY:
        run, opens = run[1:], False
    if opens and run and sentence[run[-1].end() : run[-1].end() + 1] == ":":
        return  # a label within a paragraph
    titled = bool(run) and _plain(run[0][0]) in _TITLES
    proper = [token[0] for token in run if token[0][0].isupper()]
    if len(proper) < 2:
        return
    telling = proper[1:] if opens and not titled else proper
    words = [
        word
        for token in telling
        if _plain(token) not in _TITLES and _plain(token) not in _ORDINARY
        for word in re.findall(r"[^\W_]{2,}", re.sub(r"['’]s?$", "", token.rstrip(".")))
    ]
    if words and not (opens and all(word.isupper() for word in words)):
        yield sentence[run[0].start() : run[-1].end()].rstrip("."), words


def _plain(token: str) -> str:
    return token.rstrip(".").casefold()
