"""The rule `claimed_calls`: what an output says was done with a tool was done with one."""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from tasks.citations import strip_citations
from tasks.deeds import CALCULATE, DEEDS, FETCH, FILE, LOOK_UP, READ, RUN, SEARCH, Deed, past_forms
from tasks.evidence import Evidence, find_urls, holds_url
from tasks.prose import Line, excerpt, first_reasons
from tasks.wording import split_sentences

_WEB = re.compile(r"\b(?:web|internet|online|google)\b", re.IGNORECASE)
_LOCAL_TEXT = """
    document documents doc docs file files folder local knowledge note notes memory code repo
"""
_LOCAL = frozenset(_LOCAL_TEXT.split())
_ADVERB = (
    r"(?:also|already|then|just|now|first|next|finally|even|successfully|carefully|thoroughly|briefly|additionally|"
    r"subsequently|immediately|personally|manually|automatically|actually|really|therefore|recently|again|twice|"
    r"quickly|"
    r"further|both|separately|independently|systematically|since|today|directly|initially|afterwards|"
    r"double-checked and|"
    r"all|each)"
)
_SUBJECT = re.compile(
    r"\b(?:I|we|this (?:agent|assistant)|the assistant)\b(?:['’](?:ve|d)\b| have\b| had\b| has\b)?"
    rf"(?: {_ADVERB},?){{0,3}} (?=\w)",
    re.IGNORECASE,
)
_ALL_SAID = "|".join(deed.said for deed in DEEDS)
_AND = re.compile(
    rf"(?:[,;]|\band\b|\bthen\b|\bbut\b)(?:,? (?:and|then|I|we|have|{_ADVERB})\b){{0,4}},? (?=(?:{_ALL_SAID})\b)",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"\s*(?:Searched|Looked up|Queried|Ran|Executed|Sent|E-?mailed|Fetched|Visited|Downloaded|Browsed|Scraped|"
    r"Called|Booked|"
    r"Refunded|Notified|Deleted|Saved|Posted|Updated|Created|Wrote|Opened|Paid|Uploaded|Calculated|Computed|Retrieved) "
    r"(?:the|a|an|all|both|my|our|each|every|https?:|www\.|it|them|[\w/-]{1,60}\.\w{2,4}\b|\d)"
)
_PASSIVE = re.compile(
    rf"(?:\b(?:was|were|(?:has|have|had)(?: {_ADVERB}){{0,2}} been)(?: {_ADVERB}){{0,2}} "
    r"|^(?:(?!is\b|are\b|be\b|being\b|to\b|can\b|will\b)\S{1,30} ){1,4}(?=(?:saved|sent|posted|uploaded|"
    r"refunded) (?:to|by)\b))"
    rf"(?P<verb>(?:{_ALL_SAID}|checked|obtained|taken)\b)",
    re.IGNORECASE,
)
_HAVING = re.compile(r"^\s*Having (?=[a-z-]{1,20}(?:ed|nt|ead|id|un)\b)")
_LED_TO = re.compile(
    r"\b(?:(?:was|were|am|been) able to|managed to|proceeded to|went on to|took the time to|made sure to|"
    r"(?:finished|completed|took the liberty of|succeeded in|started by|began by|ended up|am done|done))"
    r" (?P<verb>look up|looking up|[a-z-]{2,20})\b",
    re.IGNORECASE,
)
_PASTS = past_forms()
_PASSED = re.compile(r"\b(?=tests? (?:[a-z]{2,6} ){0,2}(?:pass|green))", re.IGNORECASE)
_NOT_SAID = re.compile(
    r"\b(?:if (?:I|we|it|the|an?|this)\b|unless|whether|wish|would|could|should|shall|might|must|may|pretend|"
    r"imagine|suppose|"
    r"had (?:I|we)\b|(?:claim|say|state)(?:s|ed)? that (?:I|we|any)\b|not (?:the case|true) that)",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:no|not|none|nothing|nobody|never|neither|nor|without|cannot|hardly|yet to)\b|n['’]t\b", re.IGNORECASE
)
_TO_COME = re.compile(
    r"(?:\b(?:is|are|be|being|to be|once|until|before|when|whenever|if|can|will|would|should|must|may|might|"
    r"could|shall|"
    r"please|need(?:s|ed)? to|let)\b[^,;.]{0,30}|\b(?:what|that|who|whatever|how|why|where)\s?)$",
    re.IGNORECASE,
)
_TOLD_BY = re.compile(
    r"\b(?:says|said|writes|wrote|according to)(?: (?:the|its|his|her|their))? (?!I\b|we\b|that\b|tool)\w",
    re.IGNORECASE,
)
_QUOTE = re.compile(r"[\"“„«][^\"“”„«»\n]{1,1500}[\"”“»]")
_CODE = re.compile(r"`{1,3}([^`\n]{1,200})`{1,3}")
_NAMED = re.compile(
    r"\b(?:the|our|my|using|via|with|called|invoked|used) ([A-Za-z][\w.-]{1,60}(?: [a-z][\w-]{1,30})?) "
    r"(?:tool|api|function|plug-?in|endpoint)\b(?! (?:calls?|use|loop|result\w*\b))",
    re.IGNORECASE,
)
_WITH = re.compile(
    r"\b(?:with|using|via) (?:the|a|my|our) (calculator|search engine|browser|shell|terminal)\b", re.IGNORECASE
)
_SNAKE = re.compile(r"\b[A-Za-z][A-Za-z0-9]{1,30}(?:_[A-Za-z0-9]{1,30}){0,5}\b")
_USED = re.compile(
    r"\b(?:called|invoked|used|queried|asked|ran|consulted|triggered|returned|reported|gave|confirmed|confirms|found|"
    r"according to|as returned by|based on (?:the|my)|said|says|showed|shows|checked|verified|computed|calculated|"
    r"looked|searched|fetched|sent|obtained|retrieved|worked out|came back)\b|"
    r"\b(?:using|via|with) (?:the|a|my|our) [\w -]{1,40}, (?:I|we) (?!can\b|will\b|recommend|suggest|propose|expect)",
    re.IGNORECASE,
)
_NOUN = re.compile(
    r"\b(?P<own>my|our)(?: \w{1,20}){0,2} (?P<noun>search(?:es)?|look-?ups?|query|queries|calculations?)\b|"
    r"\b(?:a|an|the)(?: (?:web|internet|online|database|literature|quick|brief|further|second|new|full-text|"
    r"document|archive|"
    r"targeted|keyword|additional|thorough|google)){1,3} (?P<noun2>search|look-?up|query)\b(?: \w{1,20}){0,6} "
    r"(?:returned|turned up|showed|shows|found|finds|revealed|confirmed|confirms|brought|gave|yielded|produced|was)\b|"
    r"\b(?:with|via|using|through|in|after|following|from) (?:a|an|another|one|some)(?: \w{1,20}){0,2} "
    r"(?P<by>search(?:es)?|look-?ups?|query|queries)\b|"
    r"\b(?:after|by|when|while|from|through|upon|on) (?P<gerund>looking up|(?:re-?)?[a-z]{3,15}ing)\b",
    re.IGNORECASE,
)
_NOUNS = {
    **dict.fromkeys(("search", "look", "quer"), SEARCH),
    **dict.fromkeys(("fetch", "visit", "brows"), FETCH),
    **dict.fromkeys(("runn", "execut"), RUN),
    **dict.fromkeys(("calcul", "comput"), CALCULATE),
}
_ADVICE = re.compile(
    r"\b(?:I|we)(?:['’]d)? (?:recommend|suggest|advise|propose|expect|hope|plan|need|want)\b", re.IGNORECASE
)
_BY_OTHERS = re.compile(
    r"[^,;.]{0,30}?\bby (?!(?:me|us|this|e-?mails?|mail|sms|slack|post|phone|hand|default|mistake|accident|now|then|"
    r"noon|midnight|chance|means|way|about|almost|nearly|\w*_\w*|\d\S*|\w+ing|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day)\b|"
    r"(?:the|a|an|our|my) (?:[\w-]{1,20} ){0,2}?(?:assistant|agent|tools?|scripts?|functions?|apis?|query|search|"
    r"end|deadline|calculator|browser|linter|plug-?in)\b)[a-z]",
    re.IGNORECASE,
)
_HOST = re.compile(
    r"(?<![\w./@-])[\w-]{1,60}(?:\.[\w-]{1,60}){0,4}\.(?:com|org|net|io|gov|edu|eu|de|uk|"
    r"example)\b(?:/[\w./-]{0,300}\w)?"
)
_NO_TOOL = re.compile(
    r"\s?(?:not\b|for (?:years|months|decades)|my (?:memory|mind|knowledge)|in vain|up to|out of|with an?\b(?! calc)|"
    r"no|none|nothing|nobody|neither)\b",
    re.IGNORECASE,
)
_VAGUE_TEXT = """
    same right available given internal external new other public rest called used with using following first second
    next last appropriate corresponding relevant respective
"""
_VAGUE = frozenset(_VAGUE_TEXT.split())
_LONGEST = 1500
_COMMON_TEXT = """
    been were have with from this that these those also into today full
"""
_COMMON = frozenset(_COMMON_TEXT.split())


def claimed_calls(
    lines: Sequence[Line], evidence: Sequence[Evidence], calls: Collection[str], tools: Collection[str]
) -> list[str]:
    """Return the statements that a tool was used, where no such tool was called.

    `calls` are the tools really called, `tools` those that could have been. What somebody else did, as far as the
    evidence tells of it, is no claim; nor is advice, a question, a plan or a quotation.
    """
    known = _Known(evidence, calls, tools)
    reasons: list[str] = []
    for line in lines:
        if line.kind not in ("prose", "item", "aside", "table"):
            continue
        text = _QUOTE.sub(" ", _CODE.sub(r"\1", strip_citations(line.text)).replace("*", ""))
        for sentence in split_sentences(text):
            why = "" if sentence.rstrip().endswith("?") else next(_wrong(sentence[:_LONGEST], known), "")
            if why:
                reasons.append(f"{line.label}: {excerpt(sentence)} {why}; do it, or do not say that it was done")
    return first_reasons(reasons)


class _Known:
    """What was really called, and what the evidence tells."""

    def __init__(self, evidence: Sequence[Evidence], calls: Collection[str], tools: Collection[str]) -> None:
        self.evidence = evidence
        # `input search_terms` and `task search` are sources of evidence, and no tools.
        self.called = {_key(name): _words(name) for name in calls if " " not in name}
        self.tools = {_key(name): _words(name) for name in (*tools, *calls)}
        self.given = any(one.source.startswith(("task", "input", "person")) for one in evidence)

    @cached_property
    def haystack(self) -> str:
        """Everything that came in, casefolded, for addresses and paths."""
        texts = (f"{one.arguments}\n{one.text}" for one in self.evidence)
        return "\n".join(texts).replace("\\/", "/").casefold()

    def has_doer(self, deed: Deed, sentence: str) -> bool:
        """Say whether a tool was called that can have done it."""
        said = set(re.findall(r"[a-z]{3,40}", sentence.casefold()))
        web = deed in (SEARCH, LOOK_UP) and _WEB.search(sentence)
        better = any(_has_stem(words, stem) for words in self.tools.values() for stem in deed.stems.split())
        stems = f"{deed.stems} {'' if better else deed.weak} {FETCH.stems if web and deed is LOOK_UP else ''}".split()
        for words in self.called.values():
            if web and words & _LOCAL:
                continue
            if any(_has_stem(words, stem) for stem in stems):
                return True
            further = any(_has_stem(words, stem) for stem in deed.also.split())
            if further and any(word.startswith(one[:4]) for one in words if len(one) > 3 for word in said):
                return True
        return deed is READ and self.given

    def was_called(self, name: str) -> bool:
        """Say whether the tool that a text names was called; a loose name needs a tool with one of its words."""
        if _key(name) in self.called:
            return True
        if _key(name) in self.tools:
            return False
        telling = {word for word in re.split(r"[^a-z0-9]+", name.casefold()) if len(word) > 2} - _VAGUE
        if not telling:
            return bool(self.called)
        return any(_alike(word, one) for word in telling for words in self.called.values() for one in words)

    def tells(self, sentence: str, verb: str) -> bool:
        """Say whether the evidence tells of the same deed: then the text reports what others did."""
        said = {word[:6] for word in re.findall(r"[^\W\d_]{4,40}", sentence.casefold()) if word not in _COMMON}
        stem = verb.casefold().split(" ")[0].removesuffix("ed")
        said.discard(verb.casefold()[:6])
        for one in self.evidence:
            text = one.text.casefold()
            start, looks = text.find(stem), 0
            while start >= 0 and looks < 200:
                window = text[max(0, start - 200) : start + 200]
                if sum(1 for word in said if word in window) * 2 >= max(2, len(said)):
                    return True
                start, looks = text.find(stem, start + len(stem)), looks + 1
        return False


def _wrong(sentence: str, known: _Known) -> Iterator[str]:
    """Yield what is claimed in a sentence and was not done."""
    if _NOT_SAID.search(sentence):
        return
    sentence = _LED_TO.sub(_as_past, _HAVING.sub("I have ", sentence))
    yield from _named(sentence, known)
    yield from _own(sentence, known)
    yield from _passive(sentence, known)
    yield from _noun(sentence, known)


def _as_past(led: re.Match[str]) -> str:
    """Return "searched" for "managed to search", "took the liberty of searching"."""
    return _PASTS.get(led["verb"].casefold(), led[0])


def _named(sentence: str, known: _Known) -> Iterator[str]:
    """Judge "the `audit_log` tool returned …", "we called the payments API"."""
    used = _USED.search(sentence)
    if not used or _NEGATED.search(sentence[: used.start()]):
        return
    names = [match[0] for match in _SNAKE.finditer(sentence) if _is_tool(match[0], known)]
    names += [match[1] for pattern in (_NAMED, _WITH) for match in pattern.finditer(sentence)]
    for name in names:
        if not (set(name.casefold().split()) <= _VAGUE or known.was_called(name)):
            yield f"says that {name} was used, and it was not called"


def _is_tool(word: str, known: _Known) -> bool:
    return "_" in word and _key(word) in known.tools


def _own(sentence: str, known: _Known) -> Iterator[str]:
    """Judge "I searched …", "Sent the report …", and what follows: "and ran the tests"."""
    starts = [match.end() for match in _SUBJECT.finditer(sentence)]
    if starts:
        starts += [match.end() for match in _AND.finditer(sentence, starts[0])]
    elif _BARE.match(sentence):
        starts = [0]
    for start in starts:
        for deed in DEEDS:
            match = deed.past.match(sentence, start)
            if match and not _done(deed, sentence, match.end(), known):
                yield f"says that something was {_participle(match[0])}, and no such tool was called"
        yield from _unread(sentence, start, known)


def _passive(sentence: str, known: _Known) -> Iterator[str]:
    """Judge "the summary was sent …", "all tests passed"."""
    if _TOLD_BY.search(sentence):
        return
    for match in (*_PASSIVE.finditer(sentence), *_PASSED.finditer(sentence)):
        before = sentence[: match.start()]
        start = match.start("verb") if "verb" in match.groupdict() else match.start()
        if _NEGATED.search(before) or _TO_COME.search(before):
            continue
        for deed in DEEDS:
            said = deed.past.match(sentence, start) if deed.passive else None
            if said is None or (deed.objects and not deed.object.search(sentence)):
                continue
            if _BY_OTHERS.match(sentence, said.end()):
                continue
            if not known.has_doer(deed, sentence) and not known.tells(sentence, said[0]):
                yield f"says that something was {_participle(said[0])}, and no such tool was called"
        yield from _unread(sentence, start, known)


def _noun(sentence: str, known: _Known) -> Iterator[str]:
    """Judge "a web search showed …", "after searching …"."""
    match = _NOUN.search(sentence)
    if not match or _NEGATED.search(sentence[: match.start()]) or _TO_COME.search(sentence[: match.start()]):
        return
    found = match["noun"] or match["noun2"] or match["by"] or match["gerund"]
    if not (match["noun"] or match["noun2"]) and (not _SUBJECT.search(sentence) or _ADVICE.search(sentence)):
        return
    deed = _deed_of_gerund(found) if match["gerund"] else _deed_of_noun(found)
    if deed is None:
        return
    if match["gerund"] and deed.objects and not deed.object.search(sentence, match.end()):
        return
    if not known.has_doer(deed, sentence):
        yield f'speaks of "{match[0].split(" ")[0]} … {found}", and no such tool was called'


def _deed_of_noun(noun: str) -> Deed:
    return next(deed for start, deed in _NOUNS.items() if noun.casefold().startswith(start))


def _deed_of_gerund(gerund: str) -> Deed | None:
    past = _PASTS.get(gerund.casefold(), "")
    return next((deed for deed in DEEDS if past and deed.past.fullmatch(past)), None)


def _unread(sentence: str, start: int, known: _Known) -> Iterator[str]:
    """Judge the addresses and files that are said to have been read."""
    verb = FETCH.past.match(sentence, start) or READ.past.match(sentence, start)
    if not verb and not re.match(
        r"\s*(?:checked|searched|consulted|obtained|taken)\b", sentence[start:], re.IGNORECASE
    ):
        return
    hosts = _HOST.findall(sentence[start:]) if verb else []
    for url in (*find_urls(sentence[start:]), *hosts):
        if not holds_url(url, known.haystack):
            yield f"says that {url} was read, and it never was"
    for match in re.finditer(FILE, sentence[start:]) if verb else ():
        if match[0].rsplit("/", 1)[-1].casefold() not in known.haystack and "//" not in sentence:
            yield f"says that {match[0]} was read, and it never was"


def _done(deed: Deed, sentence: str, end: int, known: _Known) -> bool:
    """Say whether the deed was done, or is none that needs a tool."""
    if deed.objects and not deed.object.search(sentence, end):
        return True
    return bool(_NO_TOOL.match(sentence, end)) or known.has_doer(deed, sentence)


def _participle(verb: str) -> str:
    bare = verb.strip().casefold()
    return {"ran": "run", "wrote": "written", "did": "done"}.get(bare, bare)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def _words(name: str) -> frozenset[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(word for word in re.split(r"[^a-z0-9]+", spaced.casefold()) if word)


def _has_stem(words: Collection[str], stem: str) -> bool:
    return any(word.startswith(stem) or (len(stem) > 3 and stem in word) for word in words)


def _alike(word: str, other: str) -> bool:
    root = word.removesuffix("s").removesuffix("ment")
    return len(other) > 2 and (other.startswith(root) or root.startswith(other))
