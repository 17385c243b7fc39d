"""How far a result can be relied on, by what was checked; what the agent says of itself counts only without that."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from project.spec import FieldSpec
from tasks.conflicts import find_conflicts
from tasks.contracts import read_contract
from tasks.wording import content_stems, make_stemmer, normalise

_WARNED = 0.5
_PARTIAL = 0.5
_ALIKE = 0.3
_OWN_WORD = "confidence"


def measure(
    checks: Sequence[Mapping[str, Any]],
    support: tuple[int, int] | None,
    agreement: float | None,
    review: Mapping[str, Any] | None,
    self_reported: float | None,
    partial: Sequence[str],
) -> dict[str, Any]:
    """Return `{"value": 0 to 1 or None, "measured": bool, "from": [what it comes from]}`.

    The value is the least of the parts, not their mean: each part looks at something else, and a result whose claims
    are unsupported does not become reliable because its length was right. The parts:

    - checks: the share that passed; one that passed with a warning counts half, one that was not judged not at all
    - support: supported claims of all claims, `(supported, claims)`
    - agreement: the share of independent answers that agree with the majority
    - review: 1 when approved (or the score when there is one), 0.5 at most when not; one with `judged` False is none

    A partial result halves it. Without any part it is what the agent said of itself, `measured` False; without that,
    None. Values beyond 0 to 1 are cut; no number is no statement.
    """
    parts = [
        part
        for part in (_checked(checks), _supported(support), _agreed(agreement), _reviewed(review))
        if part is not None
    ]
    if not parts:
        said = _share(self_reported)
        return {
            "value": _rounded(said),
            "measured": False,
            "from": ["said by the agent itself"] if said is not None else [],
        }
    value = min(share for share, _ in parts) * (_PARTIAL if partial else 1.0)
    told = [text for _, text in parts] + ([f"partial: {', '.join(partial)}"] if partial else [])
    return {"value": _rounded(value), "measured": True, "from": told}


def agreement(outputs: Sequence[str], contract: Mapping[str, FieldSpec] | None) -> float:
    """Return the share of independent answers that agree with the majority, 0 to 1; 1 for a single one, 0 for none.

    With a contract, answers agree when their numbers, choices and booleans are equal (free texts are not compared; an
    answer that breaks the contract agrees with nobody). Texts agree when they do not contradict each other and share
    0.3 of the stems of their meaningful words (Jaccard index).
    """
    if not outputs:
        return 0.0
    if contract is not None:
        return _agreement_of_fields(outputs, contract)
    stem = make_stemmer()
    stems = [content_stems(normalise(text), stem) for text in outputs]
    friends = [
        sum(1 for j in range(len(outputs)) if i == j or _texts_agree(outputs[i], outputs[j], stems[i], stems[j]))
        for i in range(len(outputs))
    ]
    return max(friends) / len(outputs)


def _agreement_of_fields(outputs: Sequence[str], contract: Mapping[str, FieldSpec]) -> float:
    read = [read_contract(text, contract)[0] for text in outputs]
    keys = [json.dumps(_compared(value, contract), sort_keys=True) for value in read if value is not None]
    return max(Counter(keys).values(), default=0) / len(outputs)


def _compared(value: Mapping[str, object], fields: Mapping[str, FieldSpec]) -> object:
    """Return what of an object is compared: all but free texts and `confidence`; one of texts alone as a whole."""
    judged = {name: spec for name, spec in fields.items() if name != _OWN_WORD}
    whole = {name: part for name, part in value.items() if name in judged}
    return _closed(whole, judged) if _any_closed(judged) else _folded(whole)


def _closed(value: object, fields: Mapping[str, FieldSpec]) -> object:
    if not isinstance(value, Mapping):
        return None
    found: dict[str, object] = {}
    for name, part in cast("Mapping[str, object]", value).items():
        spec = fields[name]
        if spec.fields is not None and isinstance(part, list):
            found[name] = [_closed(entry, spec.fields) for entry in cast("list[object]", part)]
        elif spec.fields is not None:
            found[name] = _closed(part, spec.fields)
        elif spec.choices is not None or spec.type not in ("str", "list[str]", "object", "list[object]"):
            found[name] = part
    return found


def _any_closed(fields: Mapping[str, FieldSpec]) -> bool:
    free = ("str", "list[str]", "object", "list[object]")
    return any(
        _any_closed(spec.fields) if spec.fields is not None else spec.choices is not None or spec.type not in free
        for spec in fields.values()
    )


def _folded(value: object) -> object:
    if isinstance(value, str):
        return normalise(value)
    if isinstance(value, Mapping):
        return {name: _folded(part) for name, part in cast("Mapping[str, object]", value).items()}
    return [_folded(part) for part in cast("list[object]", value)] if isinstance(value, list) else value


def _texts_agree(one: str, other: str, stems: frozenset[str], others: frozenset[str]) -> bool:
    if normalise(one) == normalise(other):
        return True
    union = len(stems | others)
    alike = bool(union) and len(stems & others) / union >= _ALIKE
    return alike and not any(
        {said.source for said in conflict.said} == {"one", "other"}
        for conflict in find_conflicts({"one": one, "other": other}, {})
    )


def _checked(checks: Sequence[Mapping[str, Any]]) -> tuple[float, str] | None:
    judged = [check for check in checks if not check.get("not_judged")]
    if not judged:
        return None
    warned = sum(1 for check in judged if check.get("warned"))
    passed = sum(1 for check in judged if check["passed"] or check.get("warned"))
    points = passed - warned * (1 - _WARNED)
    return points / len(judged), f"{passed} of {len(judged)} checks passed" + (
        f", {warned} with a warning" if warned else ""
    )


def _supported(support: tuple[int, int] | None) -> tuple[float, str] | None:
    if support is None or support[1] <= 0:
        return None
    return min(1.0, max(0, support[0]) / support[1]), f"{support[0]} of {support[1]} claims supported"


def _agreed(value: float | None) -> tuple[float, str] | None:
    share = _share(value)
    return None if share is None else (share, f"{share * 100:.0f} % of independent answers agree")


def _reviewed(review: Mapping[str, Any] | None) -> tuple[float, str] | None:
    if not review or not review.get("judged", True):
        return None
    score = _share(review.get("score"))
    told = "" if score is None else f" with {score:g}"
    if review["approved"]:
        return 1.0 if score is None else score, f"approved by reviewer{told}"
    return min(0.5, 0.0 if score is None else score), f"not approved by reviewer{told}"


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return min(1.0, max(0.0, float(value)))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
