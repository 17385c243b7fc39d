"""Guardrails that need no model: rules that a task's output is held to."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from project.errors import AppError
from project.hints import listed, nearest
from project.rules import RULES
from project.spec import FieldSpec
from tasks.citations import strip_citations
from tasks.claims import uncited
from tasks.contracts import read_contract
from tasks.pattern import search
from tasks.placeholders import find_placeholders
from tasks.prose import Line, excerpt, first_reasons, heading_key, read_fields, read_lines
from tasks.strict_json import find_object, parse
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
_SCRIPT_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


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
) -> list[str]:
    """Return why `text` fails a rule of `project.rules.RULES`, for a model or a person to act on; [] is a pass.

    `sources` gives the text of a cited place (`path:12`, `path:12-15`, `path p.3`), or None where there is none. Under
    a `contract` the texts in the object's fields are judged, each named by its path, and a field that holds only
    citations counts for the fields beside it. At most 20 reasons, then how many more.

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
    lines = _lines(text, contract)
    if rule == "cited":
        return first_reasons(uncited(lines, sources))
    return first_reasons(_RULES[rule](lines, setting))


def is_empty(text: str) -> bool:
    """Say whether a text says nothing: blank, only marks, or the offline model's note or refusal alone."""
    lines = [line.text for line in read_lines(text) if line.kind not in ("blank", "offline")]
    if not lines or _REFUSAL.match(lines[0].strip("*_# .>").casefold()):
        return True
    return not any(unicodedata.category(c)[0] in "LN" or unicodedata.category(c) == "So" for c in "".join(lines))


def _lines(text: str, contract: Mapping[str, FieldSpec] | None) -> list[Line]:
    value = find_object(text)[0] if contract is not None else None
    return read_lines(text) if value is None else read_fields(value)


def _required_sections(lines: Sequence[Line], setting: object) -> list[str]:
    headings: dict[str, str] = {}
    filled: set[str] = set()
    above: list[tuple[int, str]] = []
    for line in lines:
        if line.kind == "heading":
            key = heading_key(line.text)
            headings.setdefault(key, line.text)
            above = [*(one for one in above if one[0] < line.level), (line.level, key)]
        elif line.kind != "blank" and line.text.strip():
            filled.update(key for _, key in above)
    wanted = {heading_key(name): name for name in cast("list[str]", setting)}
    reasons: list[str] = []
    for key, name in wanted.items():
        if key not in headings:
            reasons.append(f'section "{name}" is missing; {_headings_instead(name, list(headings.values()))}')
        elif key not in filled:
            reasons.append(f'section "{name}" is empty; write it')
    return reasons


def _headings_instead(name: str, headings: Sequence[str]) -> str:
    if not headings:
        return f'the text has no Markdown headings; write it below "## {name}"'
    close = nearest(name, headings)
    return f'is "{close}" meant? The heading must read "{name}"' if close else f"the headings are: {listed(headings)}"


def _words(lines: Sequence[Line], setting: object) -> list[str]:
    limits = cast("dict[str, int]", setting) if isinstance(setting, dict) else {"max": cast("int", setting)}
    counted = (line for line in lines if line.kind not in ("blank", "offline", "sources"))
    count = sum(count_words(strip_citations(line.text)) for line in counted)
    said = f"the text has {count} word{'s' * (count != 1)}, citations and sources not counted"
    if count < limits.get("min", 0):
        return [f"{said}; at least {limits['min']} are needed, {limits['min'] - count} more"]
    if count > limits.get("max", count):
        return [f"{said}; at most {limits['max']} are allowed, {count - limits['max']} fewer"]
    return []


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


def _forbidden_words(lines: Sequence[Line], setting: object) -> list[str]:
    reasons: list[str] = []
    phrases = [(phrase, _phrase(phrase)) for phrase in dict.fromkeys(cast("list[str]", setting))]
    for line in lines:
        for phrase, stands_in in phrases if line.kind not in ("blank", "offline") else ():
            reasons += [
                f'{label}: the word "{phrase}" is forbidden; say it in another way'
                for label in line.labels_where(stands_in)
            ]
    return reasons


def _phrase(phrase: str) -> Callable[[str], bool]:
    """Search for a phrase: at word boundaries where its script has them, any whitespace between its words."""
    folded = _folded(phrase).split()
    before = r"(?<!\w)" if _bounded(folded[0][0]) else ""
    after = r"(?!\w)" if _bounded(folded[-1][-1]) else ""
    pattern = re.compile(before + r"\s+".join(map(re.escape, folded)) + after)
    return lambda text: pattern.search(_folded(strip_citations(text))) is not None


def _bounded(character: str) -> bool:
    return character.isalnum() and not _SCRIPT_WITHOUT_SPACES.match(character)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())


_RULES: Mapping[str, Callable[[Sequence[Line], object], list[str]]] = {
    "required_sections": _required_sections,
    "words": _words,
    "no_repeats": _no_repeats,
    "no_placeholders": _no_placeholders,
    "forbidden_words": _forbidden_words,
}
