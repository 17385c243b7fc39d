"""Two runs side by side: what they were given, what they were to do, and where each task first parts from its twin."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from crews.planned import Plan
from runs.people.questions import tell_answer
from runs.repair.plan_changes import plan_changes
from runs.stored.journal_rows import JournalRows
from runs.stored.store import RunRow
from runs.told.report import Step, add_up, cost_of_steps, part_name, parts_of, read_steps, summarise, usage_of

_SHOWN = 120
_LEFT_OUT = ("join", "backoff")
"""Kinds of steps that time makes: which of two tasks ended first, and how long one waited to ask again."""


@dataclass(frozen=True)
class Side:
    """One of the two runs."""

    row: RunRow
    folder: Path


def diff_runs(journal: JournalRows, one: Side, other: Side) -> dict[str, Any]:
    """Return what differs between two runs as one JSON document. Field names are API.

    `tasks` has an entry for each task that either run did, in order, with `same`, and where they part `at` (the step),
    `what` (the kind of difference), `a` and `b`.
    """
    before, after = one.row.read_plan(), other.row.read_plan()
    mine, theirs = (read_steps(journal, side.row.run_id, side.folder) for side in (one, other))
    told = [summarise(journal, side.row, side.folder) for side in (one, other)]
    tasks = _tasks(before, after, mine, theirs, *told)
    return {
        "a": _head(one.row, mine),
        "b": _head(other.row, theirs),
        "crew": _pair(before.crew, after.crew),
        "inputs": _values(before.inputs, after.inputs),
        "models": _values(_models(before), _models(after)),
        "plan": [{"task": name, "changes": changes} for name, changes in plan_changes(before, after)],
        "tasks": tasks,
        "equal": sum(task["same"] for task in tasks),
        "different": sum(not task["same"] for task in tasks),
        "result": {"same": told[0]["output"] == told[1]["output"], **_pair(told[0]["output"], told[1]["output"])},
    }


def _head(row: RunRow, steps: Sequence[Step]) -> dict[str, Any]:
    spent = add_up(steps)
    return {
        "run_id": row.run_id,
        "status": row.state,
        "origin": row.read_origin(),
        "seconds": round(row.worked_seconds, 3),
        "usage": usage_of(spent),
        **cost_of_steps(spent, steps),
    }


def _pair(a: Any, b: Any) -> dict[str, Any]:
    return {"a": a, "b": b}


def _models(plan: Plan) -> dict[str, str]:
    return {name: spec.model for name, spec in plan.models.items()}


def _values(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the entries in which two tables differ."""
    names = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    return [{"name": name, **_pair(a.get(name), b.get(name))} for name in names]


def _tasks(
    before: Plan,
    after: Plan,
    mine: Sequence[Step],
    theirs: Sequence[Step],
    one: Mapping[str, Any],
    other: Mapping[str, Any],
) -> list[dict[str, Any]]:
    names = [part.path for plan, steps in ((before, mine), (after, theirs)) for part in parts_of(plan, steps)]
    outputs = [{task["name"]: task for task in told["tasks"]} for told in (one, other)]
    found: list[dict[str, Any]] = []
    for name in dict.fromkeys(names):
        a, b = (_steps_of(name, steps) for steps in (mine, theirs))
        parted = _parting(a, b) or _outcome(outputs[0].get(name), outputs[1].get(name))
        found.append({"task": name, "same": parted is None, **(parted or {}), "steps": _pair(len(a), len(b))})
    return found


def _steps_of(name: str, steps: Sequence[Step]) -> list[Step]:
    """Return the steps of a task with its pieces, piece by piece, in the order in which each was done."""
    mine = [step for step in steps if _owner(step) == name and step.kind not in _LEFT_OUT]
    return sorted(mine, key=lambda step: step.task)


def _owner(step: Step) -> str:
    """Name the part of the run that a step belongs to; the manager's stand in the workflow of its crew."""
    if not step.task:
        return "manager"
    lane = step.name.split("/")[0]
    own = part_name(step.task)
    return f"{own}.manager" if lane == f"{own}.manager" else own


def _parting(a: Sequence[Step], b: Sequence[Step]) -> dict[str, Any] | None:
    for left, right in zip(a, b, strict=False):
        if left.name != right.name:
            return {"at": left.name, "what": "step", **_pair(left.name, right.name)}
        what, shown, others = _said(left), _shown(left), _shown(right)
        if (left.kind, _essence(left)) != (right.kind, _essence(right)):
            return {"at": left.name, "what": what, **_pair(shown, others)}
    if len(a) == len(b):
        return None
    longer = a if len(a) > len(b) else b
    extra = longer[min(len(a), len(b))]
    sides = (_shown(extra), None) if longer is a else (None, _shown(extra))
    return {"at": extra.name, "what": "step", **_pair(*sides)}


def _outcome(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Say how the ends of two tasks with the same steps differ."""
    for key in ("status", "output"):
        left, right = (task.get(key) if task is not None else None for task in (a, b))
        if left != right:
            return {"at": "", "what": key, **_pair(_line(left), _line(right))}
    return None


_ESSENCE = {
    "model": ("answer", "error"),
    "tool": ("tool", "arguments", "result", "refused", "error"),
    "intent": ("arguments", "refused"),
    "verdict": ("passed", "reasons"),
    "answer": ("said", "rejected"),
    "decision": ("decision", "chosen", "about"),
    "inputs": ("values",),
    "file": ("path", "characters"),
}
"""What of a record says what happened, not when or at which price."""


def _essence(step: Step) -> Any:
    record = step.record
    keys = _ESSENCE.get(step.kind)
    found = {key: record.get(key) for key in keys} if keys else {k: v for k, v in record.items() if k != "seconds"}
    error: Any = record.get("error")
    if isinstance(error, dict):
        found["error"] = cast(dict[str, Any], error)["kind"]
    return json.dumps(found, sort_keys=True, default=str)


def _said(step: Step) -> str:
    match step.kind:
        case "model":
            return "answer"
        case "tool" | "intent":
            return "tool call"
        case _:
            return step.kind


def _shown(step: Step) -> str:
    record = step.record
    if isinstance(record.get("error"), dict):
        return _line(f"{record['error']['kind']}: {record['error']['message']}")
    match step.kind:
        case "model":
            calls = [f"{call['name']} {call['arguments']}" for call in record["answer"].get("calls", ())]
            return _line("; ".join(calls) or record["answer"]["text"])
        case "tool":
            said = f"refused: {record['refused']}" if "refused" in record else record.get("result")
            return _line(f"{record['tool']} {_written(record['arguments'])} → {said}")
        case "verdict":
            return _line("accepted" if record["passed"] else f"not accepted: {'; '.join(record['reasons'])}")
        case "decision":
            return _line(f"{record['decision']}: {_written(record['chosen'])}")
        case "answer":
            return _line(tell_answer(record))
        case _:
            return _line(json.dumps({key: value for key, value in record.items() if key != "kind"}, default=str))


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(text: Any) -> str:
    line = "–" if text is None else " ".join(str(text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
