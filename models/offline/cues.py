"""What a heading asks for, in the words that sources use for it."""

import re
from collections.abc import Mapping

from models.offline.language import Vocabulary

# Kind → how a heading or a question names it, in four languages.
_NAMES: Mapping[str, re.Pattern[str]] = {
    kind: re.compile(pattern, re.IGNORECASE)
    for kind, pattern in {
        "definition": r"\bwhat\b.*\b(?:is|are|means?)\b|\bdefin|overview|introduction|\bbasics\b|was (?:ist|sind"
        r"|bedeutet)|begriff|überblick|grundlagen|qu'est-ce|¿?qué (?:es|son)|conceptos?",
        "why": r"\bwhy\b|benefits?|advantages?|reasons?|purpose|\bwarum\b|vorteile?|nutzen|zweck|pourquoi|avantages?"
        r"|por qué|ventajas|beneficios",
        "how": r"\bhow\b|mechanism|\bworks?\b|process\b|architecture|\bsteps\b|\bwie\b|ablauf|funktion|comment\b"
        r"|fonctionne|cómo|funciona",
        "when": r"\bwhen\b|use cases?|applicab|conditions?|\bfits?\b|\bwann\b|anwendung|quand\b|cuándo|casos de uso",
        "practice": r"practi[cs]|recommend|guideline|\btips\b|advice|checklist|\bwell\b|\bdo\b|empfehl|praxis|bonnes"
        r"|recommand|conseil|recomend|buenas",
        "risk": r"risk|limit|fail|mistake|problem|drawback|danger|\bwrong\b|pitfall|caveat|challenge|trade-?offs?"
        r"|hazard|risik|grenzen|fehler|nachteil|gefahr|risque|échec|erreur|inconvénient|riesgo|fallo|error"
        r"|desventaja",
        "cost": r"\bcosts?\b|price|budget|money|expens|\bkosten|preis|coûts?|\bprix\b|costes?\b|precio|presupuesto",
    }.items()
}
_CUES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "definition": "means refers called known defined term kind",
        "why": "because since benefit gain reason saves helps improves enables advantage prevents protects",
        "how": "step first starts runs begins returns reads writes records works uses checks stores each",
        "when": "when if suits worth pays needed enough justified case fits",
        "practice": "should must keep prefer avoid best good use name state choose write check",
        "risk": "fail failure risk wrong mistake danger lost lose break cannot error hide harm trap fault worse",
        "cost": "cost price pay expensive cheap cheaper cheapest budget token bill money charge save spend dollar",
    },
    "de": {
        "definition": "bedeutet bezeichnet heißt nennt definiert begriff",
        "why": "weil deshalb vorteil nutzen grund ermöglicht verhindert schützt hilft",
        "how": "schritt zuerst beginnt läuft liest schreibt speichert prüft verwendet",
        "when": "wenn falls sobald lohnt eignet geeignet",
        "practice": "sollte muss empfiehlt vermeiden verwenden besser gut",
        "risk": "fehler risiko gefahr scheitert verlust falsch problem nachteil grenze",
        "cost": "kosten preis teuer günstig budget geld euro zahlen",
    },
    "fr": {
        "definition": "signifie désigne appelle défini notion",
        "why": "parce permet avantage raison évite aide protège bénéfice",
        "how": "étape commence lit écrit enregistre fonctionne utilise vérifie",
        "when": "quand si lorsque convient utile",
        "practice": "doit devrait faut recommande éviter préférer bon",
        "risk": "risque échec erreur danger perte problème faute limite",
        "cost": "coût prix cher budget payer argent euro",
    },
    "es": {
        "definition": "significa llama denomina define término",
        "why": "porque permite ventaja razón evita ayuda protege beneficio",
        "how": "paso empieza lee escribe guarda funciona usa comprueba",
        "when": "cuando si conviene útil vale",
        "practice": "debe debería conviene recomienda evitar preferir bueno",
        "risk": "riesgo fallo error peligro pérdida problema límite",
        "cost": "coste costo precio caro presupuesto pagar dinero euro",
    },
}
_IS = {
    "en": r"(?:is|are|means|refers to|describes|denotes)",
    "de": r"(?:ist|sind|bedeutet|bezeichnet|heißt|beschreibt)",
    "fr": r"(?:est|sont|signifie|désigne|décrit)",
    "es": r"(?:es|son|significa|designa|describe)",
}
_ARTICLE = {
    "en": r"(?:the|an?)\s+",
    "de": r"(?:der|die|das|ein|eine|unter)\s+",
    "fr": r"(?:le|la|les|un|une|l['’])\s*",
    "es": r"(?:el|la|los|las|un|una)\s+",
}


_WARNING = re.compile(
    r"mistake|pitfall|anti-?pattern|\bmyths?\b|\bwrong\b|\bdon['’]?t|\bavoid|\bsigns\b|\bbad\b|failure modes?"
    r"|\bnever\b|fehler|irrtüm|erreurs?|à éviter|errores|evitar",
    re.IGNORECASE,
)


def is_warning(heading: str) -> bool:
    """Say whether a heading turns what stands beneath it around: "Common mistakes", "What to avoid"."""
    return _WARNING.search(heading[:300]) is not None


def kinds_of(heading: str) -> tuple[str, ...]:
    """Name what a heading or question asks for: `definition`, `why`, `how`, `when`, `practice`, `risk`, `cost`."""
    return tuple(kind for kind, pattern in _NAMES.items() if pattern.search(heading[:300]))


def cue_stems(kinds: tuple[str, ...], words: Vocabulary) -> frozenset[str]:
    """Return the stems that sentences of these kinds tend to contain, in the vocabulary's language."""
    cues = _CUES[words.code]
    return frozenset(words.stem(word) for kind in kinds for word in cues[kind].split())


def defined_term(sentence: str, language: str) -> str:
    """Return the few words that `sentence` defines ("X" of "X is a …"); "" when it defines nothing."""
    article = _ARTICLE[language]
    match = re.match(rf"(?:{article})?((?:[^\s,;:]+\s+){{1,4}}?){_IS[language]}\s+{article}", sentence, re.IGNORECASE)
    return match[1].strip() if match else ""
