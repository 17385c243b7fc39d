"""What a task asks for, read from its inputs and its words: topic, sections, lengths, and what may not be used."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.offline.language import Vocabulary, count_words

_TOPIC_INPUTS = ("question", "topic", "query", "subject", "theme", "title", "headline", "request", "goal")
_WORD_INPUTS = ("words", "max_words", "word_limit", "most_words", "length_words")
_MAX_TEXT = 20_000
_MAX_TOPIC = 200
_MOST_SECTIONS = 10

_WORDS = r"(?:words?|wörter|worte|mots|palabras)"
_NUMBER = r"(\d{1,3}(?:[ ,.]\d{3})+|\d{1,6})"
_MOST = re.compile(
    rf"(?:at most|no more than|not more than|under|up to|max(?:imum)?(?: of)?|fewer than|less than|within|about"
    rf"|around|approximately|roughly|limit(?: of| is)?:?|höchstens|maximal|bis zu|etwa|au plus|environ|como máximo"
    rf"|hasta|<=|≤)\s*{_NUMBER}(?!\d)",
    re.IGNORECASE,
)
_LEAST = re.compile(
    rf"(?:at least|no fewer than|not less than|min(?:imum)?(?: of)?|mindestens|au moins|al menos|>="
    rf"|≥)\s*{_NUMBER}(?!\d)",
    re.IGNORECASE,
)
_BETWEEN = re.compile(rf"(?:between\s+)?{_NUMBER}\s*(?:-|–|to|and|bis|à|a|y)\s*{_NUMBER}\s+{_WORDS}\b", re.IGNORECASE)
_PLAIN = re.compile(rf"\b{_NUMBER}[\s-]{_WORDS}\b", re.IGNORECASE)
_COUNT = re.compile(
    r"\b(\d{1,2}|two|three|four|five|six|seven|eight|nine|ten)\s+(?:[a-z-]+\s+){0,2}?(?:bullets?|bullet points?"
    r"|points?|facts?|findings?|items?|takeaways?|quotes?|passages)\b",
    re.IGNORECASE,
)
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}

_LIST_WORD = r"(?:sections?|headings?|aspects?|chapters?|parts?|abschnitte?n?|kapitel|aspekte?|aspectos?|secciones)"
_INLINE = re.compile(
    rf"\b{_LIST_WORD}\b(?:\s+(?:titled|called|named|are|must be|for|on))?\s*[:–]\s*([^\n]{{3,400}})", re.IGNORECASE
)
_NAMED = re.compile(rf"\b(?:the|with|has|have)\s+{_LIST_WORD}\s+((?:[A-ZÀ-Þ][^,.;:\"“\n]{{1,50}}[,;]?\s*){{1,8}})")
_QUOTED_NAMES = re.compile(
    rf"\b{_LIST_WORD}\s+(?:titled\s+|called\s+|named\s+)?((?:[\"“`'][^\"”`'\n]{{2,60}}[\"”`'](?:,\s*|\s+)?(?:(?:and"
    rf"|or|und|et|y)\s+)?)+)",
    re.IGNORECASE,
)
_ASPECTS = re.compile(r"\b(?:cover(?:ing)?|look for|answer|behandle|couvrir|cubre)\s*:\s*([^\n]{3,400})", re.IGNORECASE)
_BULLETED = re.compile(
    rf"\b{_LIST_WORD}\b[^\n]{{0,80}}:[ \t]*\n((?:[ \t]*(?:[-*•]|\d+[.)])[ \t]+[^\n]{{1,120}}\n?){{1,12}})",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"^\s{0,3}##\s+([^\n#]{2,60}?)\s*$", re.MULTILINE)
_SECTION_LACKS = re.compile(
    rf"\b(?:missing|lacks?|no|without|add|needs?|fehl\w+)\b.*\b{_LIST_WORD}\b|\b{_LIST_WORD}\b.*\bmissing\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"[`\"“«„]([^`\"“”»\n]{1,300})[`\"”»“]|(?<![^\W_])'([^'\n]{2,300})'(?![^\W_])")

_ABOUT = (
    re.compile(
        r"\b(?:topic|subject|question|thema|frage|sujet|tema|pregunta)\s*[:=]\s*([^\n]{3,200}?)\s*(?:[.;\n]|$)", re.I
    ),
    re.compile(r"[\"“«„]([^\"”»“\n]{3,120})[\"”»“]"),
    re.compile(
        r"\b(?:about|on|regarding|concerning|into|über|zum thema|sur|au sujet de|sobre"
        r"|acerca de)\s+(?:the topic (?:of )?)?([^\n.;:,!?()]{3,120}?)(?=[.;:,!?\n()]|\s+(?:for|in|using|with|from"
        r"|as|so|and (?:cite|list|write|make|group))\b|$)",
        re.I,
    ),
)
_INSTRUCTION_WORDS = """
    write create produce draft prepare make give find search research read review check summarise summarize summary
    report article brief post section sections heading headings bullet bullets point points paragraph words word
    markdown format output final answer complete list include including cite cited citation citations source sources
    document documents file files folder task tasks plan step outline expected criteria content user best using
    topic following current must should return text key facts fact short long good clear based material passages
    passage evidence collect gather
"""
_INSTRUCTION = frozenset(_INSTRUCTION_WORDS.split())


@dataclass(frozen=True)
class Request:
    """What to answer. Word counts are of the whole text; None where the task sets none."""

    topic: str
    is_question: bool
    sections: tuple[str, ...]
    most_words: int | None
    least_words: int | None
    count: int | None
    forbidden: tuple[str, ...]
    """Words that were refused; a sentence with one of them is not used."""
    rejected: tuple[str, ...]
    """Passages quoted in a refusal; they are not used again."""


def read_request(
    description: str,
    expected_output: str,
    inputs: Mapping[str, str | int | float],
    refusals: Sequence[str],
    words: Vocabulary,
) -> Request:
    """Read what is asked for; a refusal's limits and sections come before the task's own."""
    asked = f"{description[:_MAX_TEXT]}\n{expected_output[:_MAX_TEXT]}"
    complaint = "\n".join(refusals)
    topic = _topic(description[:_MAX_TEXT], asked, inputs, words)
    most = _word_limit(complaint, _MOST) or _given_limit(inputs) or _stated_most(asked)
    least = _word_limit(complaint, _LEAST) or _word_limit(asked, _LEAST)
    if least and least > (most or 0):
        # Who counts words may leave out citations, which are about a fifth of a cited text.
        most = max(least + least // 3, most or 0)
    faults = [line for line in complaint.split("\n") if not _is_about_sections(line) and " repeats " not in line]
    quotes = [quote.rstrip("… ") for line in faults for quote in _quotes(line)]
    return Request(
        topic=topic,
        is_question="question" in inputs or topic.endswith(("?", "？")),
        sections=_sections(asked, complaint),
        most_words=most,
        least_words=least,
        count=_asked_count(asked),
        forbidden=tuple(
            quote
            for line in complaint.split("\n")
            if re.search(r"forbid|must not|not allowed|banned|avoid|never use|verboten", line, re.I)
            for quote in _quotes(line)
            if count_words(quote) < 4
        ),
        rejected=tuple(quote for quote in quotes if count_words(quote) >= 4),
    )


def _topic(description: str, asked: str, inputs: Mapping[str, str | int | float], words: Vocabulary) -> str:
    for name in _TOPIC_INPUTS:
        given = str(inputs.get(name, "")).strip()
        if given:
            return _one_line(given)
    for pattern in _ABOUT:
        for match in pattern.finditer(description):
            if any(word not in _INSTRUCTION for word in words.keywords(match[1])):
                return _one_line(match[1])
    for given in inputs.values():
        if isinstance(given, str) and given.strip() and not re.search(r"[/\\]|\.\w{2,4}$|^\.", given.strip()):
            return _one_line(given)
    counts: dict[str, int] = {}
    for word in words.keywords(asked):
        if word not in _INSTRUCTION and not word.isdigit():
            counts[word] = counts.get(word, 0) + 1
    return " ".join(sorted(counts, key=lambda word: -counts[word])[:4])


def _one_line(text: str) -> str:
    flat = " ".join(re.sub(r"[\[\]\ufffd]", " ", text[:2000]).split())
    return flat[:_MAX_TOPIC].strip(" \"'“”«».;:,") or "the material"


def _given_limit(inputs: Mapping[str, str | int | float]) -> int | None:
    for name in _WORD_INPUTS:
        try:
            value = int(float(inputs[name])) if name in inputs else 0
        except (ValueError, OverflowError):
            value = 0
        if value > 0:
            return value
    return None


def _stated_most(text: str) -> int | None:
    between = _BETWEEN.search(text)
    if between:
        return max(_number(between[1]), _number(between[2])) or None
    plain = _PLAIN.search(re.sub(_LEAST, "", text))
    return _word_limit(text, _MOST) or (_number(plain[1]) if plain else 0) or None


def _word_limit(text: str, pattern: re.Pattern[str]) -> int | None:
    """Read the tightest limit that stands on a line about words."""
    found = [
        _number(match[1])
        for line in text.split("\n")
        if re.search(rf"\b{_WORDS}\b", line, re.IGNORECASE)
        for match in pattern.finditer(line)
        if not re.match(
            r"\s*(?:[a-z]+\s+)?(?:section|point|bullet|citation|source|item|finding)", line[match.end() :], re.I
        )
    ]
    return min((number for number in found if number), default=None)


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text) or 0)


def _asked_count(text: str) -> int | None:
    match = _COUNT.search(text)
    if not match:
        return None
    return max(1, int(match[1]) if match[1].isdigit() else _NUMBERS[match[1].lower()])


def _sections(asked: str, complaint: str) -> tuple[str, ...]:
    found: list[str] = []
    for match in _BULLETED.finditer(asked):
        found.extend(re.sub(r"^\s*(?:[-*•]|\d+[.)])\s+", "", line) for line in match[1].split("\n"))
    found.extend(_MARKDOWN.findall(asked))
    found.extend(quote for match in _QUOTED_NAMES.finditer(asked) for quote in _quotes(match[1]))
    if not found:
        found = [
            name
            for pattern in (_INLINE, _NAMED, _ASPECTS)
            for match in pattern.finditer(asked)
            for name in _list(match[1])
        ]
    found.extend(
        quote
        for line in complaint.split("\n")
        if _is_about_sections(line)
        for quote in _quotes(line)[:1] or _after_colon(line)
    )
    named = [name.strip(" \t\"'“”`*.:#") for name in found]
    kept = [name[:1].upper() + name[1:] for name in named if 2 <= len(name) <= 60 and len(name.split()) <= 9]
    first = {name.lower(): name for name in reversed(kept)}
    return tuple(first[key] for key in dict.fromkeys(map(str.lower, kept)))[:_MOST_SECTIONS]


def _is_about_sections(line: str) -> bool:
    return _SECTION_LACKS.search(line) is not None


def _after_colon(line: str) -> list[str]:
    return _names(line.rsplit(":", 1)[1]) if ":" in line else []


def _list(text: str) -> list[str]:
    """Read an enumeration of names; one that contains a whole clause enumerates something else."""
    names = _names(text)
    return names if len(names) > 1 and all(len(name.split()) <= 5 for name in names) else []


def _names(text: str) -> list[str]:
    first = re.split(r"[.!?](?:\s|$)", text)[0]
    return re.split(r"\s*[,;|]\s*(?:and\s+|und\s+)?|\s+(?:and|und|et|y)\s+", first)


def _quotes(line: str) -> list[str]:
    return [(match[1] or match[2]).strip() for match in _QUOTED.finditer(line)]
