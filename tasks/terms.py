"""Rules about single words: those that are forbidden, and those for which another is agreed."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import cast

from tasks.citations import strip_citations
from tasks.prose import Line

_SCRIPT_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


def forbidden_words(lines: Sequence[Line], setting: object) -> list[str]:
    """Return where a word or phrase of `setting` stands."""
    reasons: list[str] = []
    phrases = [(phrase, _holding(_pattern(phrase))) for phrase in dict.fromkeys(cast("list[str]", setting))]
    for line in lines:
        for phrase, stands_in in phrases if line.kind not in ("blank", "offline") else ():
            reasons += [
                f'{label}: the word "{phrase}" is forbidden; say it in another way'
                for label in line.labels_where(stands_in)
            ]
    return reasons


def glossary(lines: Sequence[Line], setting: object) -> list[str]:
    """Return where a variant stands in place of the agreed term; one inside an agreed term is none."""
    terms = cast("dict[str, list[str]]", setting)
    agreed = [_pattern(term, plural=True) for term in sorted(terms, key=len, reverse=True)]
    variants = [
        (variant, term, _holding(_pattern(variant, plural=True), agreed))
        for term, written in terms.items()
        for variant in dict.fromkeys(written)
    ]
    reasons: list[str] = []
    for line in lines:
        if line.kind in ("blank", "offline", "code", "sources"):
            continue
        for variant, term, stands_in in variants:
            reasons += [f'{label}: "{variant}" is called "{term}" here' for label in line.labels_where(stands_in)]
    return reasons


def _pattern(phrase: str, *, plural: bool = False) -> re.Pattern[str]:
    """Compile a phrase: at word boundaries where its script has them, any whitespace between its words."""
    folded = _folded(phrase).split()
    before = r"(?<!\w)" if _bounded(folded[0][0]) else ""
    after = r"(?!\w)" if _bounded(folded[-1][-1]) else ""
    many = "(?:e?s)?" if plural and after else ""
    return re.compile(before + r"\s+".join(map(re.escape, folded)) + many + after)


def _holding(pattern: re.Pattern[str], agreed: Sequence[re.Pattern[str]] = ()) -> Callable[[str], bool]:
    def holds(text: str) -> bool:
        folded = _folded(strip_citations(text))
        if not pattern.search(folded):
            return False
        for term in agreed:
            folded = term.sub(lambda match: "\x00" * len(match[0]), folded)
        return pattern.search(folded) is not None

    return holds


def _bounded(character: str) -> bool:
    return character.isalnum() and not _SCRIPT_WITHOUT_SPACES.match(character)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())
