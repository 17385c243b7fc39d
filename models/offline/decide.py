"""Which recipe a task's words ask for, and the refusal of what takes a language model."""

import re

from models.offline.page import title_of

NEEDS_MODEL = "This needs a language model"
"""Opening of every refusal of the offline model."""

_COMMANDED = r"(?:^|[.;:!?\n]\s*|\b(?:then|to|please|must|should|will)\s+)"
_JUDGEMENT = re.compile(
    rf"(?:{_COMMANDED}|\band\s+)"
    r"(?:translate|calculate|compare|decide|choose|select the best|pick the best|recommend|assess|evaluate|classify"
    r"|categori[sz]e|predict|brainstorm|invent|imagine|refactor|implement|rewrite|rephrase|paraphrase|simplify|solve"
    r"|negotiate|argue|persuade|infer|deduce|übersetze|berechne|vergleiche|bewerte|empfiehl|entscheide|traduis"
    r"|traduire|calculer?|comparez?|recommandez?|traduce|traducir|calcula|calcular|compara|comparar|recomienda)\b",
    re.IGNORECASE,
)
# Words that are as often nouns: "documents and code" asks for nothing.
_JUDGEMENT_OR_NOUN = re.compile(
    rf"{_COMMANDED}(?:code|program|score|rank|rate|contrast|estimate|forecast|compute|judge|debug)\b", re.IGNORECASE
)
_CODE_OR_FICTION = re.compile(
    r"\b(?:write|create|compose|generate|produce|design|draft)\s+(?:(?!about\b|on\b|of\b"
    r"|from\b)[^\s.,]+\s+){0,6}(?:code|functions?|scripts?|programs?|class(?:es)?|unit tests?|sql|regex|poems?"
    r"|haikus?|story|stories|songs?|lyrics|jokes?|slogans?|taglines?|tweets?|e-?mails?|letters?|speech|dialogue"
    r"|names for|ideas)\b",
    re.IGNORECASE,
)
_CHECK = re.compile(
    r"\b(?:review|check|verify|proofread|fact.?check|critique|inspect|audit|prüfe\w*|vérifie\w*|revisa\w*)\b", re.I
)
_OUTLINE = re.compile(
    r"\b(?:outline|table of contents|structure of|gliederung|plan du|esquema|plan (?:the|a|an|for|of)|headings for)\b",
    re.I,
)
_COLLECT = re.compile(
    r"\b(?:research|collect|gather|find|search|look up|investigate|evidence|passages|quotes?|quotations?|sammle"
    r"|recherch\w*|suche|rassemble\w*|cherche\w*|busca\w*|investiga\w*|reúne)\b",
    re.IGNORECASE,
)
_DIGEST = re.compile(
    r"\b(?:brief(?:ing)?|digest|report|summar(?:y|ies|i[sz]e)|article|essay|overview|memo|post|answer|explain"
    r"|describe|write|draft|key points|bullet points?|zusammenfass\w*|bericht|erkläre|beantworte|schreibe|résum\w*"
    r"|rapport|réponds|explique|rédige|resum\w*|informe|responde|explica|escribe)\b",
    re.IGNORECASE,
)
_ROLES = (
    ("check", r"review|critic|editor|proof|check|qa\b"),
    ("outline", r"plan|outlin|architect"),
    ("collect", r"research|analyst|librarian"),
)


def choose_recipe(
    description: str, expected_output: str, agent_role: str, *, has_material: bool, otherwise: str = "none"
) -> str:
    """Name the recipe that a task's words ask for: `collect`, `outline`, `digest`, `check`, or `none` for the rest.

    What is expected counts before what is described, and the role only when both are silent. Without tools and earlier
    outputs there is nothing to select from, so the answer is `none`.
    """
    asked, expected = description[:8000], expected_output[:4000]
    for text in (asked, expected):
        if any(pattern.search(text) for pattern in (_JUDGEMENT, _JUDGEMENT_OR_NOUN, _CODE_OR_FICTION)):
            return "none"
    if not has_material:
        return "none"
    first = re.split(r"[.;\n]", asked.strip(), maxsplit=1)[0]
    for text in (expected, first, asked):
        kinds = (("outline", _OUTLINE), ("collect", _COLLECT), ("digest", _DIGEST), ("check", _CHECK))
        found = {name: match.start() for name, pattern in kinds if (match := pattern.search(text))}
        if found:
            return min(found, key=lambda name: found[name])
    return next((name for name, pattern in _ROLES if re.search(pattern, agent_role, re.I)), otherwise)


def refuse(description: str) -> str:
    """Say that a language model is needed, and for what."""
    asked = " ".join(description[:2000].split())
    short = asked if len(asked) <= 300 else f"{asked[:300].rstrip()}…"
    return (
        f"{NEEDS_MODEL}: {title_of(short) or 'the task is empty'}\n\n"
        "The offline model selects sentences from sources and checks rules. It does not judge, compare, calculate, "
        "translate, program or write of its own. Set a provider's key, or name a model in config/models.yaml, "
        "and run again."
    )


def refuse_field(field: str, reason: str) -> str:
    """Say that a language model is needed to fill a field of a contract."""
    return f"{NEEDS_MODEL}: field `{field}` {reason}"
