"""What tools were called in a run, and whether one of them can have done a deed."""

import re
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property

from tasks.deeds import FETCH, LOOK_UP, Deed
from tasks.evidence import Evidence

_PLACES = {
    "web": re.compile(
        r"\b(?:web|internet|online|google|web-?(?:site|page)s?|home-?page|landing page|https?|browser|portals?|"
        r"apis?|endpoints?)\b",
        re.IGNORECASE,
    ),
    "database": re.compile(r"\b(?:databases?|sql|rows?|warehouse|(?!this|the|a|that|each)\w+ table)\b", re.IGNORECASE),
    "mail": re.compile(r"\b(?:inbox|mailbox)\b", re.IGNORECASE),
    "calendar": re.compile(r"\bcalendars?\b", re.IGNORECASE),
    "repository": re.compile(r"\b(?:repo|repository|codebase)\b", re.IGNORECASE),
    "local": re.compile(r"\b(?:documents?|knowledge base|folder)\b", re.IGNORECASE),
}
_TOOLS_PLACES = {
    "web": "web internet google bing tavily serp serpapi exa brave duckduckgo http url page website browser "
    "scrape site download fetch crawl visit",
    "database": "sql database db postgres mysql sqlite bigquery",
    "mail": "mail email inbox gmail outlook mailbox",
    "calendar": "calendar event events",
    "repository": "git github gitlab repo repository code",
    "local": "document documents doc docs file files folder local knowledge note notes memory",
}
_PLACE_OF = {word: place for place, words in _TOOLS_PLACES.items() for word in words.split()}
_ELSEWHERE = {
    "web": {"database", "mail", "calendar", "repository", "local"},
    "database": {"web", "mail", "calendar"},
    "local": {"web", "mail", "calendar"},
}
_GENERIC_TEXT = """
    file files page pages document documents text tool tools code search query list note with
"""
_GENERIC = frozenset(_GENERIC_TEXT.split())
_CHANGERS_TEXT = """
    send post write create update delete remove upload book cancel notify save add
"""
_CHANGERS = frozenset(_CHANGERS_TEXT.split())
_LOOKERS_TEXT = """
    search find read get list look lookup query fetch check load view
"""
_LOOKERS = frozenset(_LOOKERS_TEXT.split())
_NO_DOERS_TEXT = """
    reader writer user sender customer reporter owner order letter paper header folder
"""
_NO_DOERS = frozenset(_NO_DOERS_TEXT.split())
_COMMON_TEXT = """
    been were have with from this that these those also into today full
"""
_COMMON = frozenset(_COMMON_TEXT.split())
_VAGUE_TEXT = """
    same right available given internal external new other public rest called used with using following first second
    next last full obsolete old entire appropriate corresponding relevant respective
"""
VAGUE = frozenset(_VAGUE_TEXT.split())
"""Words before "tool" or "API" that name none."""


class Called:
    """What was really called, and what the evidence tells."""

    def __init__(self, evidence: Sequence[Evidence], calls: Collection[str], tools: Collection[str]) -> None:
        self.evidence = evidence
        # `input search_terms` and `task search` are sources of evidence, and no tools.
        self.called = {_key(name): _words(name) for name in calls if " " not in name}
        self.tools = {_key(name): _words(name) for name in (*tools, *calls) if " " not in name}
        self.given = any(one.source.startswith(("task", "input", "person")) for one in evidence)

    @cached_property
    def haystack(self) -> str:
        """Everything that came in, casefolded, for addresses and paths."""
        texts = (f"{one.arguments}\n{one.text}" for one in self.evidence)
        return "\n".join(texts).replace("\\/", "/").casefold()

    def has_tool(self, word: str) -> bool:
        """Say whether a tool of this very name could be called."""
        return _key(word) in self.tools

    def has_doer(self, deed: Deed, verb: str, done_to: str, text: str) -> bool:
        """Say whether a tool was called that can have done it, as the whole `text` tells, and no other fits better."""
        able = {key for key in self.called if self._is_able(deed, text, self.called[key])}
        said = _said_words(verb, done_to)
        if deed.looks and able and self._has_rival(deed, said, text):
            able = {key for key in able if self._is_meant(key, said) or not _is_placed(text, self.called[key])}
        return bool(able) or (deed.given and self.given)

    def has_verb(self, verb: str) -> bool:
        """Say whether a tool at hand has this past form for a name, as "rebooted" and `reboot_host`, uncalled."""
        root = re.sub(r"(?:[td]ted|i?ed|e)$", "", verb.casefold())
        named = {key for key, words in self.tools.items() if any(word.startswith(root) for word in words)}
        return len(root) > 4 and bool(named) and not any(key in self.called for key in named)

    def could_do(self, deed: Deed) -> bool:
        """Say whether the agent had a tool for it."""
        return any(_has_stem(words, stem) for words in self.tools.values() for stem in deed.stems.split())

    def _is_able(self, deed: Deed, text: str, words: frozenset[str]) -> bool:
        if deed.looks and (_is_elsewhere(text, words) or (words & _CHANGERS and not words & _LOOKERS)):
            return False
        weak = "" if self.could_do(deed) else deed.weak
        # What is looked up on the web may be fetched from there.
        fetched = FETCH.stems if deed is LOOK_UP and _PLACES["web"].search(text) else ""
        # `list_tickets` is about tickets, and creates none.
        looks_only = not deed.looks and deed.passive and words & _LOOKERS and not words & _CHANGERS
        if not looks_only and any(_has_stem(words, stem) for stem in f"{deed.stems} {weak} {fetched}".split()):
            return True
        further = any(_has_stem(words, stem) for stem in deed.also.split())
        said = re.findall(r"[a-z]{3,40}", text.casefold())
        shared = any(word.startswith(one[:4]) for one in words if len(one) > 3 for word in said)
        return further and (shared or bool(_tool_places(words) & _named_places(text) & {"database"}))

    def _is_meant(self, key: str, said: Collection[str]) -> bool:
        """Say whether a called tool's name or arguments speak of what it is said to be done to."""
        arguments = " ".join(one.arguments.casefold() for one in self.evidence if _key(one.source) == key)
        return _share(said, self.called[key]) or any(word in arguments for word in said)

    def _has_rival(self, deed: Deed, said: Collection[str], text: str) -> bool:
        """Say whether a tool that was not called bears the name of what it is said to be done to, or of its place."""
        stems = f"{deed.stems} {deed.also}".split()
        return any(
            (_share(said, words) or _named_places(text) & _tool_places(words))
            and any(_has_stem(words, stem) for stem in stems)
            for key, words in self.tools.items()
            if key not in self.called
        )

    def was_called(self, name: str) -> bool:
        """Say whether the tool that a text names was called; a loose name needs a tool with one of its words."""
        if _key(name) in self.called:
            return True
        if _key(name) in self.tools:
            return False
        telling = {word for word in re.split(r"[^a-z0-9]+", name.casefold()) if len(word) > 2} - VAGUE
        if not telling:
            return bool(self.called)
        return any(_related(word, one) for word in telling for words in self.called.values() for one in words)

    def names_uncalled(self, noun: str) -> bool:
        """Say whether "converter" or "linter" is one of the tools at hand, and none such was called."""
        root = re.sub(r"(?:e|o)rs?$", "", noun.casefold())
        if len(root) < 4 or noun.casefold() in _NO_DOERS:
            return False
        meant = {key for key, words in self.tools.items() if _does(noun.casefold(), root, key, words)}
        return bool(meant) and not any(_does(noun.casefold(), root, key, self.called[key]) for key in self.called)

    def tells(self, sentence: str, verb: str) -> bool:
        """Say whether the evidence tells of the same deed: then the text reports what others did."""
        said = {word[:6] for word in re.findall(r"[^\W\d_]{4,40}", sentence.casefold()) if word not in _COMMON}
        stem = verb.casefold().split(" ")[0].removesuffix("ed")
        said.discard(verb.casefold()[:6])
        return any(
            sum(1 for word in said if word in window) * 2 >= max(2, len(said))
            for one in self.evidence
            for window in _windows(one.text.casefold(), stem)
        )


def _windows(text: str, stem: str) -> Iterator[str]:
    """Yield what stands around the first 200 places of a stem."""
    start, looks = text.find(stem), 0
    while start >= 0 and looks < 200:
        yield text[max(0, start - 200) : start + 200]
        start, looks = text.find(stem, start + len(stem)), looks + 1


def _does(noun: str, root: str, key: str, words: Collection[str]) -> bool:
    """Say whether a tool converts, as a converter does; `find_customer` is no customer."""
    return key == noun or any(word != noun and (word.startswith(root) or _alike(root, word)) for word in words)


def _tool_places(words: Collection[str]) -> set[str]:
    return {_PLACE_OF[word] for word in words if word in _PLACE_OF}


def _named_places(text: str) -> set[str]:
    return {place for place, pattern in _PLACES.items() if pattern.search(text)}


def _is_placed(text: str, words: Collection[str]) -> bool:
    """Say whether a tool has a place of its own that the text does not name."""
    places = _tool_places(words)
    return bool(places) and not places & _named_places(text)


def _is_elsewhere(text: str, words: Collection[str]) -> bool:
    """Say whether a tool works at another place than the text names: no search of documents searches the web."""
    places, named = _tool_places(words), _named_places(text)
    if not places or not named or places & named:
        return False
    return all(places <= _ELSEWHERE.get(place, {"web"}) for place in named)


def _said_words(verb: str, text: str) -> frozenset[str]:
    words = re.findall(r"[a-z]{4,40}", f"{verb if 'mail' in verb else ''} {text}".casefold().replace("e-mail", "email"))
    return frozenset(words) - _GENERIC - _COMMON


def _share(said: Collection[str], words: Collection[str]) -> bool:
    named = {"email" if word in ("mail", "mailer") else word for word in words if len(word) > 3} - _GENERIC
    return any(_alike(word, one) for word in said for one in named)


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.casefold())


def _words(name: str) -> frozenset[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(word for word in re.split(r"[^a-z0-9]+", spaced.casefold()) if word)


def _has_stem(words: Collection[str], stem: str) -> bool:
    return any(word.startswith(stem) or (len(stem) > 3 and stem in word) for word in words)


def _alike(word: str, other: str) -> bool:
    root = word.removesuffix("s").removesuffix("ment")
    return len(other) > 2 and len(root) > 2 and (other.startswith(root) or root.startswith(other))


def _related(word: str, other: str) -> bool:
    """Say whether two words are alike or differ in their ends: "translation" and "translate"."""
    return _alike(word, other) or (len(other) > 5 and word.startswith(other[:-1]))
