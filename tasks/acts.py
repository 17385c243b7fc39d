"""The acts of its author that a sentence tells of: who did it is the writer, and it is said to be done."""

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.deeds import told_verbs
from tasks.verbs import gerund, past_forms

_ADVERB = (
    r"(?:[a-z]{3,15}ly|also|already|then|just|now|first|next|even|again|twice|once more|further|both|since|today|"
    r"afterwards|all|each|too|still|in addition|in the end|at once|indeed)"
)
_AUTHOR = r"\b(?:I|we|(?:this|the|your) (?:AI )?(?:agent|assistant))\b(?:['’](?:ve|d)\b)?"
_SUBJECT = rf"{_AUTHOR},?(?: (?:have|had|has|did|{_ADVERB}),?){{0,4}} "
_ANY_OWN = re.compile(rf"{_SUBJECT}(?P<verb>[a-z-]{{4,20}}ed)\b", re.IGNORECASE)
_SAYS_I = re.compile(rf"{_AUTHOR}|\b(?:my|our|me|us)\b", re.IGNORECASE)
_LED_TO = re.compile(
    rf"\b(?:(?:was|were|am|are|been)(?: {_ADVERB})? able to|managed to|proceeded to|went on to|made sure to|"
    r"went ahead (?:and|to)|did|took (?:the|this|an?) \w+ (?:to|of)|"
    r"(?:finished|completed|succeeded in|started by|began by|ended up|am done|done|started with))"
    r" (?P<verb>[a-z-]{2,20})\b",
    re.IGNORECASE,
)
_HAD_RUN = re.compile(
    r"\b(?:had|let|made) (?P<what>(?:the|a|my|our) (?:\w{1,20} )?(?:script|code|program|snippet)) (?=[a-z]{3})"
)
_HAVING = re.compile(
    r"^\s*(?:After )?Having (?=(?:\w+ly |also |already |first |now |just )?[a-z-]{2,20}\b)", re.IGNORECASE
)
_OTHERS_MAIN = re.compile(
    r",\s(?:(?:s?he|they|you|his|her|their|your)\b|(?:the|its|a|an) (?:[\w-]{1,20} ){0,3}?(?:team|committee|company|"
    r"ministry|court|police|board|city|authors?|group|clerk|researchers?|government|council|auditors?)\b)",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:no|not|none|nothing|nobody|never|neither|nor|without|cannot|hardly|yet to|far from|instead of|"
    r"rather than)\b|"
    r"n['’]t\b",
    re.IGNORECASE,
)
_NOT_REAL = re.compile(
    r"\b(?:if|unless|whether|wish|would|could|should|shall|might|must|may|pretend|imagine|suppose|as though|"
    r"once|until|before|when (?:I|we) have|had (?:I|we)|can|will|"
    r"(?:claim|say|state|sa(?:id|ys)|claim(?:s|ed)|wrote|writes|told|reports?|reported|asks?|asked|thinks?|believes?)"
    r"(?: (?:me|us|him|her|them))? (?:that|whether|if)|"
    r"not (?:the case|true) that|false that)\b[^,;]*$",
    re.IGNORECASE,
)
_TO_COME = re.compile(
    r"(?:\b(?:is|are|be|being|to be|once|until|before|when|whenever|if|unless|whether|can|will|would|should|must|may|"
    r"might|could|shall|had|please|need(?:s|ed)? to|let)\b[^,;.]{0,40}|"
    r"\b(?:that|what|who|whom|which|whatever|how|why|where)\s?)$",
    re.IGNORECASE,
)
_BY_OTHERS = re.compile(
    r"[^,;.]{0,60}?\bby (?!(?:me|us|this|e-?mails?|mail|sms|slack|post|phone|hand|default|mistake|accident|now|then|"
    r"noon|midnight|chance|means|way|about|almost|nearly|\w*_\w*|\d\S*|\w+ing|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b|"
    r"(?:the|a|an|our|my) (?:[\w-]{1,20} ){0,2}?(?:assistant|agent|tools?|scripts?|functions?|apis?|query|search|"
    r"end|deadline|calculator|browser|linter|plug-?in)\b|a (?:third|quarter|half|fifth)\b)[A-Za-z]",
    re.IGNORECASE,
)
_BY_ME = re.compile(r"[^,;.]{0,40}?\bby (?:me|us|myself|ourselves|this (?:agent|assistant))\b", re.IGNORECASE)
_TOLD_BY = re.compile(
    r"\b(?:sa(?:ys|id)|writes|wrote|tells|told|report(?:s|ed)|claim(?:s|ed)|confirm(?:s|ed)|according to|as)"
    r"(?: (?:the|its|his|her|their|an?))? (?!I\b|we\b|that\b|tool|agreed|asked|you\b|requested|planned|promised|"
    r"follows|soon|well|in\b)\w+ ?(?!tool|api)|\b(?:report|claim|complain|sa[iy]|stat|writ|wr[oi]t)\w{0,4} that\b",
    re.IGNORECASE,
)
_LONG_AGO = re.compile(
    r"\b(?:in|since|during|until|of|by) (?:early |late |mid-)?(?:1[0-9]|20)\d\d\b|\b(?:years|decades|centuries|months) "
    r"(?:ago|before|later)|\b(?:last|previous) (?:year|month|century|spring|summer|autumn|winter)|"
    r"\b(?:in|since) (?:January|February|March|April|May|June|July|August|September|October|November|December)\b|"
    r"\bat (?:the|that) time\b|\bon average\b|\b(?:usually|typically|often|every|per) (?=\w)",
    re.IGNORECASE,
)
_OTHERS_THING = re.compile(r"^\W*(?:(?i:his|her|their|its)\b|[A-Z]\w+['’]s\b)")
_ADVICE = re.compile(
    r"\b(?:I|we)(?:['’]d)? (?:recommend|suggest|advise|propose|expect|hope|plan|need|want|will|would|should|could|may|"
    r"might|intend)\b|\b(?:I|we)['’]ll\b|\byou (?:can|could|will|may|should|might)\b",
    re.IGNORECASE,
)
_CLAUSE_END = re.compile(
    r"[;:](?=\s|$)|\.(?=\s|$)|[,–—]\s?(?:and|but|so|which|where|who|because|since|although|though|while|as|until)\b|"
    r"\b(?:that|because|which|although|whereas|unless|since|if|before|until)\b|"
    r"\band (?:I|we|it|he|she|they|there|found|saw|noticed|see|think)\b"
)
_BARE_NEXT = (
    r"(?= ?:| (?:the|a|an|all|both|my|our|each|every|it|them|https?:|www\.|[\w/-]{1,60}\.\w{2,4}\b|\d|up |out |off |"
    r"version |via |using |through |against |with (?:the|a) |(?:the )?web\b))"
)


_LIKE_IMPERATIVES = frozenset(
    ("read", "put", "set", "let", "hit", "run", "rerun", "re-run", "reset", "re-read", "reread")
)


@dataclass(frozen=True)
class Act:
    """Something that the writer is said to have done."""

    verb: str
    """Its infinitive, without a particle."""
    said: str
    """As it stands in the text."""
    before: str
    """The sentence up to the verb."""
    rest: str
    """The clause behind the verb."""
    kind: Literal["own", "passive", "gerund"]


def plain_acts(sentence: str) -> str:
    """Rewrite roundabout pasts: "managed to search", "having searched" and "had the script sum up" become plain."""
    if _HAVING.match(sentence) and not (_OTHERS_MAIN.search(sentence) and not _SAYS_I.search(sentence)):
        sentence = _HAVING.sub("I have ", sentence)
    sentence = _HAD_RUN.sub(r"ran \g<what> to ", sentence)
    return _LED_TO.sub(_as_past, sentence)


def find_acts(sentence: str) -> Iterator[Act]:
    """Yield the acts of a sentence that was made plain, each verb once."""
    seen: set[int] = set()
    for act in (_own(sentence), _passive(sentence), _gerunds(sentence)):
        for start, one in act:
            if start not in seen:
                seen.add(start)
                yield one


def find_verbs(sentence: str) -> Iterator[str]:
    """Yield the past forms of other verbs than the deeds' that stand right behind "I", "we" or "the agent"."""
    for match in _ANY_OWN.finditer(sentence):
        if match["verb"].casefold() not in _infinitives() and not _NOT_REAL.search(sentence[: match.start()]):
            yield match["verb"]


def speaks_of_others(sentence: str) -> bool:
    """Say whether somebody is said to tell of it, or it was long ago."""
    return bool(_TOLD_BY.search(sentence) or _LONG_AGO.search(sentence))


def is_advice(sentence: str) -> bool:
    """Say whether the writer only recommends, plans or hopes."""
    return bool(_ADVICE.search(sentence))


def says_i(sentence: str) -> bool:
    """Say whether the writer speaks of himself."""
    return bool(_SAYS_I.search(sentence))


def is_open(before: str) -> bool:
    """Say whether what follows these words is denied, to come, or a condition."""
    return bool(_NEGATED.search(before) or _TO_COME.search(before))


def _own(sentence: str) -> Iterator[tuple[int, Act]]:
    """Find "I searched …" and "Sent the report …", and what follows: "and ran the tests"."""
    starts = [(match.start(), match.end()) for match in _patterns().own.finditer(sentence)]
    bare = None if starts else _patterns().bare.match(sentence)
    if bare and not re.match(r".{0,80}?,\s(?:the|s?he|it|they|[A-Z])\w* \w+(?:ed|s|was|is)\b", sentence[bare.end() :]):
        starts = [(0, bare.end())]
    position = 0
    for begin, end in starts:
        if begin < position or _NOT_REAL.search(sentence[:begin]):
            continue
        yield end, _act(sentence, end, "own")
        last = end
        for match in _patterns().chained.finditer(sentence, end):
            between = sentence[last : match.start()]
            if re.search(
                r"\b(?:that|which|who|whose|where|how|why|because|since|as|when|if|you|they|he|she)\b", between
            ):
                break
            last = match.end()
            yield last, _act(sentence, last, "own")
        position = last


def _passive(sentence: str) -> Iterator[tuple[int, Act]]:
    """Find "the summary was sent …", "Report saved to …", and what was done by me."""
    found = [*_patterns().passive.finditer(sentence), *_patterns().short.finditer(sentence)]
    for match in found:
        before = sentence[: match.start()]
        act = _act(sentence, match.start("verb"), "passive")
        if is_open(before) or _NOT_REAL.search(before):
            continue
        if _BY_ME.match(act.rest):
            yield match.start("verb"), Act(act.verb, act.said, before, f"{before} {act.rest}", "own")
        elif not (speaks_of_others(sentence) or _BY_OTHERS.match(act.rest) or _OTHERS_THING.match(before)):
            yield match.start("verb"), act


def _gerunds(sentence: str) -> Iterator[tuple[int, Act]]:
    """Find "after searching …, I …" and "I confirmed this by running …"."""
    if not says_i(sentence) or is_advice(sentence):
        return
    for match in _patterns().gerund.finditer(sentence):
        before = sentence[: match.start()]
        modal = re.search(r"\b(?:can|cannot|will|would|could|should|may|might|must)\b", sentence)
        if not is_open(before) and not (
            modal and (match["how"] or "").casefold() in ("by", "when", "while", "through")
        ):
            yield match.start("verb"), _act(sentence, match.start("verb"), "gerund")


def _act(sentence: str, start: int, kind: Literal["own", "passive", "gerund"]) -> Act:
    verb = re.compile(r"\s*([A-Za-z-]+)").match(sentence, start)
    assert verb, sentence
    rest = sentence[verb.end() :]
    # "Verified: the page is up" tells behind the colon what was verified.
    end = None if re.match(r"\s?:", rest) else _CLAUSE_END.search(rest)
    rest = rest[: end.start()] if end else rest
    chained = _patterns().chained.search(rest) if kind == "own" else None
    rest = rest[: chained.start()] if chained and chained.start() > 1 else rest
    return Act(_infinitives()[verb[1].casefold()], verb[1], sentence[:start], rest, kind)


def _as_past(led: re.Match[str]) -> str:
    """Return "searched" for "managed to search", "took the liberty of searching"."""
    verb = _infinitives().get(led["verb"].casefold(), led["verb"].casefold())
    return past_forms(verb)[0] if verb in told_verbs() else led[0]


@dataclass(frozen=True)
class _Patterns:
    own: re.Pattern[str]
    chained: re.Pattern[str]
    bare: re.Pattern[str]
    passive: re.Pattern[str]
    short: re.Pattern[str]
    gerund: re.Pattern[str]


@functools.cache
def _infinitives() -> dict[str, str]:
    """Return the infinitive of every form of a told verb."""
    verbs = told_verbs()
    forms = {form: verb for verb in verbs for form in (*past_forms(verb), gerund(verb))}
    return forms | {verb: verb for verb in verbs}


@functools.cache
def _patterns() -> _Patterns:
    verbs = sorted(told_verbs())
    past = "|".join(sorted({form for verb in verbs for form in past_forms(verb)}, key=len, reverse=True))
    gerunds = "|".join(sorted((gerund(verb) for verb in verbs), key=len, reverse=True))
    bare = "|".join(sorted({form for verb in verbs for form in past_forms(verb)} - _LIKE_IMPERATIVES))
    bare_past = "|".join(form[0].upper() + form[1:] for form in bare.split("|"))

    def built(pattern: str) -> re.Pattern[str]:
        return re.compile(pattern, re.IGNORECASE)

    been = rf"(?:was|were|(?:has|have|had)(?: {_ADVERB}){{0,2}} been|(?:is|are) (?:now|already))"
    be = rf"(?:\b{been}(?: {_ADVERB}){{0,2}} )"
    done = rf"(?P<verb>(?:{past})\b)"
    return _Patterns(
        own=built(rf"{_SUBJECT}(?=(?:{past})\b)"),
        chained=built(
            rf"(?:[,;]|\band\b|\bthen\b|\bbut\b)(?:,? (?:and|then|I|we|have|{_ADVERB})\b){{0,4}},? (?=(?:{past})\b)"
        ),
        bare=re.compile(
            rf"\s*(?:\[[ xX✓]\]\s*|[✓✔✅☑]\s*|(?:Step \d+|Done|Action|Status|Result)\s?[:.–—-]\s*)?"
            rf"(?:Also |Then |Next, |First, |Finally, |Successfully )?(?=(?:{bare_past}|(?<=[a-z,"
            rf"] )(?:{bare})){_BARE_NEXT})"
        ),
        passive=built(rf"(?:{be}|{be}[^,;.]{{1,60}} and (?:then )?){done}"),
        short=built(
            r"^(?:(?!(?:is|are|be|being|to|can|will|that|which|who|was|were|has|have|I|we)\b)[^\s:;]{1,30} ){1,4}"
            r"(?P<verb>(?:saved|sent|posted|uploaded|refunded|booked|committed|pushed|deployed|scheduled|emailed|"
            r"e-mailed|exported|merged|executed|run|created|deleted|fetched|queried|notified|ordered|set|reserved|cancelled|added)\b)(?=:|"
            r" (?:to|as|in|on|by|for|successfully|with)\b|[.!]?$)"
            r"(?! \S{1,30} (?:is|are|was|were|has|have)\b)"
        ),
        gerund=built(
            rf"(?:\b(?P<how>after|by|when|while|from|through|upon|on|in)|^(?P<start>)(?=\w+ing\b[^.]*, (?:I|we)\b))"
            rf" ?(?:{_ADVERB} )?(?P<verb>(?:{gerunds})\b)"
        ),
    )
