"""Put the outputs of several agents together: one after the other, ranked, or one side of a conflict preferred."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tasks.conflicts import Conflict
from tasks.contracts import canonical
from tasks.strict_json import parse

_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"( {0,3})(#{1,6})(?=[ \t]|$)")
_DEEPEST = 6


class Ranked(NamedTuple):
    """A rival result in its place."""

    name: str
    reason: str
    """One line: `approved by reviewer; 9 of 9 claims supported`."""


def concatenate(outputs: Mapping[str, str], titles: Mapping[str, str]) -> str:
    """Return the outputs as one Markdown text, in order, each below a heading of the second level.

    Headings inside are moved below it, fenced code is left alone; a heading that only repeats the title is dropped.
    When every output is JSON, as contracts give it, the result is one JSON object: name → value. Names without a title
    stand for themselves.
    """
    if not outputs:
        return ""
    values = {name: parse(text) for name, text in outputs.items()}
    if all(not problems and isinstance(value, dict | list) for value, problems in values.values()):
        return canonical({name: value for name, (value, _) in values.items()})
    sections = [_section(" ".join(titles.get(name, name).split()), text) for name, text in outputs.items()]
    return "\n\n".join(sections) + "\n"


def rank(results: Sequence[Mapping[str, Any]]) -> list[Ranked]:
    """Return rival results, best first, with what speaks for each.

    First by the share of claims that evidence supports (unknown counts as none), then approved by a reviewer before
    not reviewed before rejected, then the reviewer's score, whole results before partial ones, confidence (measured
    before self-reported), and last their order.
    """
    order = sorted(range(len(results)), key=lambda i: (*_standing(results[i]), i))
    return [Ranked(str(results[i]["name"]), _reason(results[i])) for i in order]


def prefer(conflict: Conflict, results: Sequence[Mapping[str, Any]]) -> tuple[str | None, str]:
    """Return which source of a conflict to believe, by the order of `rank`, and why; None when nothing decides.

    Sources that say the same stand together: the best of them speaks for their value.
    """
    sources = list(dict.fromkeys(said.source for said in conflict.said))
    known = {str(result["name"]): result for result in results}
    if len(sources) < 2:
        return None, f"{sources[0]} contradicts itself" if sources else "nobody says anything"
    unknown = [name for name in sources if name not in known]
    if unknown:
        return None, f"nothing is known of {', '.join(unknown)}"
    best, *others = sorted(sources, key=lambda name: _standing(known[name]))
    values = {name: {said.value for said in conflict.said if said.source == name} for name in sources}
    against = [name for name in others if values[name] != values[best]]
    if len(values[best]) > 1:
        return None, f"{best} contradicts itself"
    if against and _standing(known[best]) < _standing(known[against[0]]):
        return best, f"{best}: {_reason(known[best])}; {against[0]}: {_reason(known[against[0]])}"
    return None, f"{' and '.join(sources)} stand alike"


def _section(title: str, text: str) -> str:
    body = _shifted(text.strip("\n").rstrip(), 2, title)
    return f"## {title}\n\n{body}".rstrip()


def _shifted(text: str, below: int, title: str) -> str:
    """Move the headings so that the highest is one deeper than `below`, never past the sixth level."""
    value, problems = parse(text)
    if not problems and isinstance(value, dict | list):
        return f"```json\n{text}\n```"
    rows, marks = text.splitlines(), _marks(text)
    first = next((i for i, row in enumerate(rows) if row.strip()), -1)
    if first in marks and rows[first].strip("# \t").casefold() == title.casefold():
        del rows[first], marks[first]
        marks = {i - 1: depth for i, depth in marks.items()}
    by = max(0, below + 1 - min(marks.values(), default=below + 1))
    for i, depth in marks.items():
        rows[i] = "#" * min(_DEEPEST, depth + by) + rows[i].lstrip()[depth:]
    return "\n".join(rows).strip("\n")


def _marks(text: str) -> dict[int, int]:
    """Return the rows that are headings, with their levels; `#` in fenced code is none."""
    found: dict[int, int] = {}
    fence = ""
    for i, row in enumerate(text.splitlines()):
        mark = _FENCE.match(row)
        if mark:
            if not fence:
                fence = mark[1]
            elif mark[1].startswith(fence) and not row.strip().strip(fence[0]):
                fence = ""
        elif not fence and (heading := _HEADING.match(row)):
            found[i] = len(heading[2])
    return found


def _standing(result: Mapping[str, Any]) -> tuple[float, int, float, int, int, float]:
    """Return the place of a result among others; the least is the best."""
    support, review = result.get("support"), result.get("review")
    confidence: Mapping[str, Any] = result.get("confidence") or {}
    review = review if review and review.get("judged", True) else None
    share = support["supported"] / support["claims"] if support and support["claims"] else 0.0
    approved = 1 if not review else 0 if review["approved"] else 2
    score = float(review.get("score") or 0.0) if review else 0.0
    value = confidence.get("value")
    certain = 2 if value is None else 0 if confidence.get("measured") else 1
    return (-share, approved, -score, 1 if result.get("partial") else 0, certain, -(value or 0.0))


def _reason(result: Mapping[str, Any]) -> str:
    support, review = result.get("support"), result.get("review")
    confidence: Mapping[str, Any] = result.get("confidence") or {}
    parts: list[str] = []
    if review and review.get("judged", True):
        parts.append("approved by reviewer" if review["approved"] else "not approved by reviewer")
    if support and support["claims"]:
        parts.append(f"{support['supported']} of {support['claims']} claims supported")
    if confidence.get("value") is not None:
        how = "measured" if confidence.get("measured") else "said by the agent itself"
        parts.append(f"confidence {confidence['value']:g}, {how}")
    if result.get("partial"):
        parts.append(f"partial: {', '.join(map(str, result['partial']))}")
    return "; ".join(parts) or "nothing measured"
