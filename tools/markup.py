"""Text as people read it: markup off, split into sentences, and a form in which a quotation can be found again."""

import re
import unicodedata
from collections.abc import Iterator

_MAX_SENTENCE = 600

_LITERAL = re.compile(r"(?<!`)(`{1,2})(?!`)([^`]+)\1(?!`)|\\([!-/:-@\[-`{-~])")
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"(?<!\w)\[([^\[\]]+)\]\[[^\[\]]*\]")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]+\]()")
_ADDRESS = re.compile(r"<((?:https?://|mailto:)[^<>\s]+)>")
_TAG = re.compile(
    r"</?(?:a|abbr|b|center|code|del|details|div|em|i|img|ins|kbd|mark|p|picture|s|small|span|strong|sub|summary|sup|u)"
    r"(?:\s[^<>]*)?/?>()",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_STARS = re.compile(r"(?<![\w*])\*{1,3}(?=\S)([^*]+)(?<=\S)\*{1,3}(?!\w)")
_UNDERSCORES = re.compile(r"(?<!\w)_{1,3}(?=\S)([^_]+)(?<=\S)_{1,3}(?!\w)")
_STRUCK = re.compile(r"~~([^~]+)~~")
_INLINE = (_LINK, _REFERENCE, _FOOTNOTE, _ADDRESS, _TAG, _STARS, _UNDERSCORES, _STRUCK)

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_QUOTES = {'"': "“”„«»", "'": "‘’‚"}
_DASHES = "‐‑‒–—―−"
# Markup characters are what a quotation most often loses; soft hyphens and zero-width characters cannot be seen.
_UNSEEN = "*_`~#<>|\\[]\u00ad\u200b\u200c\u200d\u2060\ufeff"
_FOLDED: dict[int, str] = {
    **{ord(sign): plain for plain, signs in _QUOTES.items() for sign in signs},
    **{ord(sign): "-" for sign in _DASHES},
    **{ord(sign): "" for sign in _UNSEEN},
}

# A run of stops is tried from its first character only, or a long run would cost its square.
_STOP = re.compile(r"(?<![.!?…؟।])[.!?…؟।]++[\"'”’»)\]]*+\s+|[。！？]+[」』）]*\s*")
_BEFORE = re.compile(r"[\"'“‘«(\[\s]*")
_LAST_WORD = re.compile(r"([^\W\d_]+(?:\.[^\W\d_]+)*|\d+)\.$")
_ABBREVIATIONS = frozenset(
    """al approx bzw ca capt cf ch co corp dept dipl dr eds eg e.g esp est gen gov hon i.e ie inc jr lt ltd mr mrs mt
    p.ex prof rev sen sgt sr st u.a usw vgl viz vs z.b""".split()  # noqa: SIM905
)
_COUNTED = frozenset("app art ch chap col eq fig figs no nos nr p pp sec tab vol vols".split())  # noqa: SIM905


def strip_markup(text: str) -> str:
    """Return `text` without the inline markup of Markdown and HTML; the number of its lines stays the same."""
    spans: list[str] = []

    def keep(match: re.Match[str]) -> str:
        literal = match[2] or match[3]
        spans.append(literal.replace("\n", " "))
        return f"\ue000{len(spans) - 1}\ue001" + "\n" * literal.count("\n")

    # What stands in code or behind a backslash is kept as it is, so it is put aside while the rest is stripped.
    text = _LITERAL.sub(keep, text.replace("\ue000", " ").replace("\ue001", " "))
    text = _BREAK.sub(" ", text)
    for _ in range(2):  # links hold images, bold holds italics
        for pattern in _INLINE:
            text = pattern.sub(_inner, text)
    return re.sub(r"\ue000(\d+)\ue001", lambda match: spans[int(match[1])], text)


def normalise(text: str) -> str:
    """Return `text` as it is compared with a source: without markup, letter case, kinds of quotes and dashes."""
    folded = unicodedata.normalize("NFKD", strip_markup(text)).translate(_FOLDED).casefold()
    return one_line(folded)


def one_line(text: str) -> str:
    """Return `text` on one line, with single spaces and no control characters."""
    return " ".join(printable(text).split())


def printable(text: str) -> str:
    """Return `text` with a space for each control character other than tab and line feed."""
    return _CONTROL.sub(" ", text)


def sentences(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield each sentence of `text` as (number of its first line, of its last line, text on one line), lines from 0.

    A sentence over 600 characters comes in pieces.
    """
    line, last = 0, 0
    for begin, end in _pieces(text):
        line += text.count("\n", last, begin)
        sentence = one_line(text[begin:end])
        if sentence:
            yield line, line + text.count("\n", begin, end), sentence
        last = begin


def _inner(match: re.Match[str]) -> str:
    lost = match[0].count("\n") - match[1].count("\n")
    return match[1] + "\n" * lost


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    for begin, end in _spans(text):
        while end - begin > _MAX_SENTENCE:
            cut = text.rfind(" ", begin + 1, begin + _MAX_SENTENCE) + 1 or begin + _MAX_SENTENCE
            while cut < end and unicodedata.combining(text[cut]):
                cut += 1
            yield begin, cut
            begin = cut
        if begin < end:
            yield begin, end


def _spans(text: str) -> Iterator[tuple[int, int]]:
    begin = _skip_space(text, 0)
    for match in _STOP.finditer(text):
        if match.start() >= begin and _ends_sentence(text, begin, match):
            yield begin, match.start() + len(match[0].rstrip())
            begin = match.end()
    if begin < len(text):
        yield begin, begin + len(text[begin:].rstrip())


def _ends_sentence(text: str, begin: int, match: re.Match[str]) -> bool:
    opening = _BEFORE.match(text, match.end())
    following = text[opening.end() : opening.end() + 1] if opening else ""
    if following.islower():
        return False
    if match[0][0] != ".":
        return True
    # Only the end of a long sentence is looked at: the last word is all that matters.
    word = _LAST_WORD.search(text, max(begin, match.start() - 40), match.start() + 1)
    if word is None:
        return True
    if word[1].isdigit():
        return word.start() > begin  # "1. First": a number that opens a sentence counts it
    name = word[1].lower()
    if name in _COUNTED and following.isdigit():
        return False  # "Fig. 3", but "The answer was no. Three years later"
    return len(name) > 1 and name not in _ABBREVIATIONS


def _skip_space(text: str, start: int) -> int:
    return len(text) - len(text[start:].lstrip()) if start == 0 else start
