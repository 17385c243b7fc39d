"""Choose among candidates: blind, order-swapped judging, at most one call more than there are candidates."""

from collections.abc import Mapping, Sequence
from typing import Any

from crews.aggregate import rank
from crews.confidence import agreement, measure
from crews.verdict import ranking_request, read_ranking, tally
from runs.executing.state import Parked
from runs.governed.tainting import apart_if, taint_in
from runs.work.attempt import FORMAL, deliver
from runs.work.consulting import consult, is_offline
from runs.work.unit import Unit

_LETTERS = "ABCDEFGH"


def choose(unit: Unit, results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the result of the best candidate, with the agreement of all as a part of its confidence."""
    task = unit.planned.task
    assert task.judge is not None
    good = {name: result for name, result in results.items() if str(result.get("output", "")).strip()}
    lost = [f"candidate {name[1:]}: {result['failed']}" for name, result in results.items() if "failed" in result]
    if not good:
        raise Parked("failed", "; ".join(lost) or "no candidate says anything")
    judge = unit.member(task.judge.by)
    if len({str(result["output"]) for result in good.values()}) == 1:
        winner = next(iter(good))
        why, by, calls = "the only one" if len(good) == 1 else "all candidates say the same", "rule", 0
    elif is_offline(unit.run, judge):
        winner, why, by, calls = *_by_measure(good), "offline", 0
    else:
        winner, why, calls = _by_judge(unit, good)
        by = judge.name
    unit.decisions.record(
        "judge",
        winner,
        why,
        among=list(good),
        evidence=[*(f"{name} by {result['agent']}" for name, result in good.items()), *lost],
        by=by,
        calls=calls,
    )
    alike = agreement([str(result["output"]) for result in good.values()], unit.planned.contract)
    best = dict(good[winner])
    said = best["confidence"]["value"] if not best["confidence"]["measured"] else None
    support = best.get("support")
    best["confidence"] = measure(
        [check for check in best["checks"] if check["check"] not in FORMAL],
        (support["supported"], support["claims"]) if support else None,
        alike if len(good) > 1 else None,
        best.get("review"),
        said,
        best["partial"],
    )
    best["candidates"] = {name: str(result.get("agent", "")) for name, result in results.items()}
    best["chosen"], best["not_made"] = winner, lost
    return deliver(unit, best)


def _by_measure(good: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    ordered = rank([dict(result) | {"name": name} for name, result in good.items()])
    return ordered[0]


def _by_judge(unit: Unit, good: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, int]:
    """Let the judge rank the candidates, in another order each time, until the first place is clear."""
    task = unit.planned.task
    assert task.judge is not None
    names = list(good)
    rankings: list[list[str]] = []
    reasons: dict[str, str] = {}
    order = names
    for number in range(1, len(names) + 2):
        order = _next_order(names, number)
        letters = dict(zip(_LETTERS, order, strict=False))
        ranked, said = _rank_once(unit, good, letters, number)
        rankings.append([letters[letter] for letter in ranked])
        reasons |= {letters[letter]: why for letter, why in said.items()}
        ordered, clear = tally(rankings)
        if number >= 2 and clear:
            break
    ordered, clear = tally(rankings)
    winner = ordered[0] if clear else _by_measure({name: good[name] for name in ordered[:2]})[0]
    votes = sum(1 for ranking in rankings if ranking[0] == winner)
    why = f"first in {votes} of {len(rankings)} blind rankings, each in another order: {reasons.get(winner, '')}"
    return winner, why, len(rankings)


def _next_order(names: Sequence[str], number: int) -> list[str]:
    """Return an order for the n-th ranking: as made, reversed, then turned, so that no place is favoured."""
    if number == 1:
        return list(names)
    if number == 2:
        return list(reversed(names))
    turn = (number - 2) % len(names)
    return [*names[turn:], *names[:turn]]


def _rank_once(
    unit: Unit, good: Mapping[str, Mapping[str, Any]], letters: Mapping[str, str], number: int
) -> tuple[list[str], dict[str, str]]:
    task = unit.planned.task
    assert task.judge is not None
    judge = unit.member(task.judge.by)
    outputs = {letter: str(good[name]["output"]) for letter, name in letters.items()}
    texts = {letter: apart_if(taint_in(good[letters[letter]]), text, letter) for letter, text in outputs.items()}
    request = ranking_request(f"{task.description}\n\nExpected: {task.expected_output}", task.judge.criteria, texts)

    def read(answer: str) -> tuple[tuple[list[str], dict[str, str]] | None, list[str]]:
        ranked, said, problems = read_ranking(answer, list(letters))
        return ((ranked, said) if ranked is not None else None), problems

    lane = f"{unit.path}/{judge.name}.judge{number}"
    return consult(unit.run, judge, lane, unit.path, request, read, unit.reading, soft=unit.soft)
