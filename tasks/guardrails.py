"""Guardrails that need no model: rules that a task's output is held to."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from project.errors import AppError
from project.rules import RULES
from project.spec import FieldSpec
from tasks.citations import strip_citations
from tasks.claims import uncited
from tasks.conflicts import find_conflicts
from tasks.contracts import read_contract
from tasks.evidence import KINDS as SUPPORTED
from tasks.evidence import Evidence, unsupported
from tasks.pattern import search
from tasks.personal import KINDS as PERSONAL
from tasks.personal import personal_data
from tasks.placeholders import find_placeholders
from tasks.prose import Line, excerpt, first_reasons, read_lines
from tasks.strict_json import parse
from tasks.structure import (
    heading_levels,
    read_output,
    required_sections,
    sections,
    sections_in_order,
    sentence_words,
    words,
)
from tasks.terms import forbidden_words, glossary
from tasks.tool_claims import claimed_calls
from tasks.wording import (
    content_stems,
    count_words,
    find_numbers,
    make_stemmer,
    negated,
    normalise,
    split_sentences,
    tokens,
)

_MOST_CHARACTERS = 1_000_000
_MOST_COMPARED = 2000
_ALIKE = 0.8
_SAID = ("prose", "item", "quote", "aside")
_REFUSAL = re.compile(r"this needs a language model\b")


@dataclass(frozen=True)
class _Said:
    position: int
    label: str
    text: str
    plain: str


def check_rule(
    rule: str,
    setting: object,
    text: str,
    sources: Callable[[str], str | None],
    *,
    contract: Mapping[str, FieldSpec] | None = None,
    evidence: Sequence[Evidence] = (),
    calls: Collection[str] = (),
    tools: Collection[str] = (),
) -> list[str]:
    """Return why `text` fails a rule of `project.rules.RULES`, for a model or a person to act on; [] is a pass.

    `sources` gives the text of a cited place (`path:12`, `path:12-15`, `path p.3`), or None where there is none. Under
    a `contract` the texts in the object's fields are judged, each named by its path, and a field that holds only
    citations counts for the fields beside it. `evidence` is what the task was given and its tools returned, `calls` the
    names of the tools really called in this run up to now, `tools` of those that the task's agent could call. At most
    20 reasons, then how many more.

    Raises: AppError for an unknown rule or a setting it cannot have. No text raises.
    """
    if rule not in RULES:
        raise AppError(f"unknown rule {rule!r}", fix=f"one of: {', '.join(RULES)}", exit_code=3)
    if wrong := RULES[rule].check(setting):
        raise AppError(f"rule {rule}: {wrong}", fix=f"for example `{RULES[rule].example}`", exit_code=3)
    if len(text) > _MOST_CHARACTERS:
        return [f"the text has {len(text)} characters; rules read at most {_MOST_CHARACTERS}, so shorten it"]
    if rule == "valid_json":
        return first_reasons(parse(text)[1] if contract is None else read_contract(text, contract)[1])
    if rule == "matches":
        return [found] if (found := search(str(setting), text)) else []
    lines = read_output(text, contract)
    if rule == "cited":
        return first_reasons(uncited(lines, sources))
    if rule == "supported":
        return _supported(lines, setting, evidence)
    if rule == "consistent":
        return _consistent(text)
    if rule == "claimed_calls":
        return claimed_calls(lines, evidence, calls, tools)
    return first_reasons(_RULES[rule](lines, setting))


def is_empty(text: str) -> bool:
    """Say whether a text says nothing: blank, only marks, or the offline model's note or refusal alone."""
    lines = [line.text for line in read_lines(text) if line.kind not in ("blank", "offline")]
    if not lines or _REFUSAL.match(lines[0].strip("*_# .>").casefold()):
        return True
    return not any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "So" for c in "".join(lines))


def _no_repeats(lines: Sequence[Line], setting: object) -> list[str]:
    said: dict[str, _Said] = {}
    reasons: list[tuple[int, str]] = []
    spoken = [
        (line.label, sentence)
        for line in lines
        if line.kind in _SAID
        for sentence in split_sentences(strip_citations(line.text))
    ]
    for position, (label, sentence) in enumerate(spoken):
        plain = normalise(sentence)
        if count_words(plain) < 4:
            continue
        earlier = said.setdefault(" ".join(tokens(plain)), _Said(position, label, sentence, plain))
        if earlier.position < position:
            where = "the same line" if earlier.label == label else earlier.label
            reasons.append((position, f"{label}: {excerpt(sentence)} repeats {where}; say it once"))
    for one, earlier in _near(list(said.values())[:_MOST_COMPARED]):
        text = f"{one.label}: {excerpt(one.text)} says nearly the same as {earlier.label}; say it once"
        reasons.append((one.position, text))
    return [reason for _, reason in sorted(reasons)]


def _near(sentences: Sequence[_Said]) -> Iterator[tuple[_Said, _Said]]:
    """Yield sentences with an earlier one that has the same numbers and nearly the same stems.

    Two sets that share four fifths of their stems share one of the rarest fifth of either: only those are compared.
    """
    stem = make_stemmer()
    stems = [content_stems(sentence.plain, stem) for sentence in sentences]
    often = Counter(one for group in stems for one in group)
    index: dict[tuple[object, str], list[int]] = {}
    for i, sentence in enumerate(sentences):
        if len(stems[i]) < 5:
            continue
        signature = (tuple(sorted(find_numbers(sentence.plain))), negated(sentence.plain))
        rarest = sorted(stems[i], key=lambda one: (often[one], one))
        keys = [(signature, one) for one in rarest[: len(rarest) - math.ceil(_ALIKE * len(rarest)) + 1]]
        candidates = sorted({j for key in keys for j in index.get(key, ())})
        twin = next((j for j in candidates if len(stems[i] & stems[j]) >= _ALIKE * len(stems[i] | stems[j])), None)
        if twin is not None:
            yield sentence, sentences[twin]
            continue
        for key in keys:
            index.setdefault(key, []).append(i)


def _no_placeholders(lines: Sequence[Line], setting: object) -> list[str]:
    reasons: list[str] = []
    for line in lines:
        if line.kind in ("blank", "offline"):
            continue
        for found in dict.fromkeys(find_placeholders(strip_citations(line.text), code=line.kind == "code")):
            reasons += [
                f"{label}: {excerpt(found)} is a placeholder; put in what belongs there, or leave it out"
                for label in line.labels_where(_holding(found))
            ]
    return reasons


def _holding(part: str) -> Callable[[str], bool]:
    return lambda text: part in text


def _supported(lines: Sequence[Line], setting: object, evidence: Sequence[Evidence]) -> list[str]:
    return unsupported(lines, evidence, SUPPORTED if setting is True else cast("list[str]", setting))


def _consistent(text: str) -> list[str]:
    """Hold the sections of a text, or the fields of an object, against each other."""
    return first_reasons(
        [f"{conflict.text}; keep the one that is right" for conflict in find_conflicts(sections(text), {})]
    )


def _no_personal_data(lines: Sequence[Line], setting: object) -> list[str]:
    return personal_data(lines, PERSONAL if setting is True else cast("list[str]", setting))


_RULES: Mapping[str, Callable[[Sequence[Line], object], list[str]]] = {
    "required_sections": required_sections,
    "sections_in_order": sections_in_order,
    "heading_levels": heading_levels,
    "words": words,
    "sentence_words": sentence_words,
    "no_repeats": _no_repeats,
    "no_placeholders": _no_placeholders,
    "no_personal_data": _no_personal_data,
    "forbidden_words": forbidden_words,
    "glossary": glossary,
}
