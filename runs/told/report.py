"""The journal told to people: a run's steps in time, what each cost, and what became of the run."""

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol, cast

from crews.planned import CrewPlan, Plan
from policy.budget import Spent
from runs.executing.clock import PIECE
from runs.executing.locks import holder
from runs.stored.journal import unpack
from runs.stored.rows import Recorded, StepRow
from runs.stored.store import RunRow


class JournalSource(Protocol):
    """What reads a journal: the engine in a process that executes, a reader elsewhere."""

    def family(self, run_id: str) -> list[Recorded]: ...
    def steps(self, workflow_id: str) -> list[StepRow]: ...


@dataclass(frozen=True)
class Step:
    """One journaled step of a run. `record` is what was journaled, payload files read back."""

    name: str
    task: str
    kind: str
    started_at: float
    seconds: float
    record: Mapping[str, Any]


def read_steps(source: JournalSource, run_id: str, folder: Path) -> list[Step]:
    """Return the run's steps in the order in which they began. Steps of DBOS itself are left out."""
    found: list[Step] = []
    for record in source.family(run_id):
        task = record.id[len(run_id) + 1 :]
        for row in source.steps(record.id):
            output = row.output
            if not isinstance(output, dict) or "kind" not in output:
                continue
            journaled = unpack(cast(dict[str, Any], output), folder)
            began = row.started_at or 0.0
            took = journaled.get("seconds", max(0.0, (row.completed_at or began) - began))
            found.append(Step(row.name, task, journaled["kind"], began, float(took), journaled))
    return sorted(found, key=lambda step: step.started_at)


def spent_in(steps: Sequence[Step]) -> tuple[Spent, float]:
    """Add up what a run's steps spent, and say when the last one ended (seconds since 1970)."""
    last = max((step.started_at + step.seconds for step in steps), default=0.0)
    return add_up(steps), last


def add_up(steps: Sequence[Step]) -> Spent:
    """Add up calls, tokens and US dollars of these steps."""
    return functools.reduce(Spent.plus, (spent_on(step.record) for step in steps), Spent())


def spent_on(record: Mapping[str, Any]) -> Spent:
    """Read what one step spent out of its record."""
    if record["kind"] == "model":
        return spent_on_model(record)
    if record["kind"] != "tool" or "asks" in record:  # what waits for a person was not called
        return Spent()
    return Spent(tool_calls=1, usd=Decimal(record.get("cost_usd") or 0))


def spent_on_model(record: Mapping[str, Any]) -> Spent:
    """Read what one attempt of a model call spent out of its record."""
    usage: dict[str, int] = record.get("usage") or {}
    cost = record.get("cost_usd")
    return Spent(
        model_calls=1,
        input_tokens=usage.get("input_tokens", 0),
        output_tokens=usage.get("output_tokens", 0),
        usd=Decimal(cost or 0),
        unpriced_calls=int("answer" in record and cost is None and record.get("price") == "unknown"),
    )


def summarise(source: JournalSource, row: RunRow, folder: Path) -> dict[str, Any]:
    """Return the run as one JSON document: state, result, tasks, usage, cost. Field names are API."""
    plan = row.read_plan()
    steps = read_steps(source, row.run_id, folder)
    family = {record.id: record for record in source.family(row.run_id)}
    tasks = [_task(part, row, family.get(f"{row.run_id}.{part.path}"), steps, folder) for part in parts_of(plan, steps)]
    spent = add_up(steps)
    done = row.state == "succeeded"
    result = unpack(cast(dict[str, Any], family[row.run_id].output), folder) if done else {}
    output = result.get("output")
    return {
        "run_id": row.run_id,
        "crew": row.crew,
        "status": current_state(row, folder),
        "offline": row.offline,
        "output": output,
        "data": json.loads(output) if output is not None and result.get("json") else None,
        "partial": result.get("partial", []),
        "partial_outputs": {} if done else _outputs_so_far(tasks),
        "confidence": result.get("confidence"),
        "conflicts": result.get("conflicts", []),
        "reason": row.reason,
        "inputs": plan.inputs,
        "models": {name: spec.model for name, spec in plan.models.items()},
        "tasks": tasks,
        "usage": usage_of(spent),
        **cost_of_steps(spent, steps),
        "seconds": round(row.worked_seconds, 3),
        "started_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
        "budget": json.loads(row.budget),
        "versions": row.read_versions(),
    }


def _outputs_so_far(tasks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the outputs of the tasks that are done, by name."""
    return {task["name"]: task["output"] for task in tasks if task["status"] == "done" and task["output"] is not None}


@dataclass(frozen=True)
class Part:
    """One task of a run as people see it: a task of tasks.yaml, a manager's subtask, or the manager."""

    path: str
    agent: str
    model: str
    is_manager: bool = False


def parts_of(plan: Plan, steps: Sequence[Step]) -> list[Part]:
    """Name the parts of a run in order; those of a manager are in its journaled plan."""
    return list(_parts(plan, plan, "", steps))


def _parts(plan: Plan, scope: CrewPlan, prefix: str, steps: Sequence[Step]) -> Iterator[Part]:
    for stage in scope.stages:
        yield from _parts(plan, plan.crews[stage.crew], f"{prefix}{stage.crew}.", steps)
    if scope.process == "hierarchical" and scope.manager_member is not None:
        yield Part(f"{prefix}manager", scope.manager_member.name, scope.manager_member.model, is_manager=True)
        for name, agent in _subtasks(prefix, steps).items():
            member = scope.members.get(agent)
            yield Part(f"{prefix}{name}", agent, member.model if member else "")
        return
    for planned in scope.tasks:
        yield Part(f"{prefix}{planned.name}", planned.agent_name, planned.model)


def _subtasks(prefix: str, steps: Sequence[Step]) -> dict[str, str]:
    """Return the subtasks of the plan that was run, with their agents; those planned anew come after it."""
    found: dict[str, str] = {}
    for step in steps:
        if step.kind == "decision" and step.task == prefix.rstrip(".") and step.record.get("plan"):
            if step.record["decision"] == "plan":
                found = {}
            below = step.record.get("below", "")
            found |= {f"{below}{one['id']}": one["agent"] for one in step.record["plan"]["subtasks"]}
    return found


def _task(part: Part, row: RunRow, record: Recorded | None, steps: Sequence[Step], folder: Path) -> dict[str, Any]:
    if part.is_manager:
        above = part.path.rpartition(".")[0]
        mine = [step for step in steps if step.task == above and step.kind != "join"]
    else:
        mine = [step for step in steps if step.task == part.path or step.task.startswith(f"{part.path}.")]
    spent = add_up(mine)
    result: dict[str, Any] = {}
    status = "left out" if row.state == "succeeded" else "waiting"
    if part.is_manager:
        status = "done" if row.state == "succeeded" else current_state(row, folder)
    elif record is not None:
        status = "done" if record.status == "SUCCESS" else current_state(row, folder)
        result = unpack(cast(dict[str, Any], record.output), folder) if status == "done" else {}
        status = "skipped" if result.get("skipped") else "failed" if "failed" in result else status
    return {
        "name": part.path,
        "agent": result.get("agent", part.agent),
        "model": result.get("answered_by", part.model),
        "status": status,
        "output": result.get("output"),
        "file": result.get("file"),
        "checks": result.get("checks", []),
        "confidence": result.get("confidence"),
        "review": result.get("review"),
        "partial": result.get("partial", []),
        "attempts": result.get("attempts", []),
        "fallback": result.get("fallback"),
        "handed_over_by": result.get("handed_over_by", []),
        "usage": usage_of(spent),
        **cost_of_steps(spent, mine),
        "seconds": round(sum(step.seconds for step in mine if step.kind in _WORK), 3),
        "retries": sum(1 for step in mine if step.kind == "model" and "error" in step.record),
    }


_WORK = ("model", "tool", "verdict", "backoff")


def current_state(row: RunRow, folder: Path) -> str:
    """Return the run's state now: one said to be running whose process is dead was interrupted."""
    if row.state != "running":
        return row.state
    alive = row.alive if row.alive is not None else holder(folder) is not None
    return "running" if alive else "interrupted"


def usage_of(spent: Spent) -> dict[str, int]:
    """Return calls and tokens as JSON."""
    return {
        "model_calls": spent.model_calls,
        "tool_calls": spent.tool_calls,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
    }


def cost_of_steps(spent: Spent, steps: Sequence[Step]) -> dict[str, Any]:
    """Return the cost as JSON: `cost_usd` is null where no price is known; `unpriced_calls` are not in it."""
    priced = any(step.record.get("cost_usd") is not None for step in steps)
    return {"cost_usd": str(spent.usd) if priced else None, "unpriced_calls": spent.unpriced_calls}


def instant(seconds: float) -> str:
    """Tell an instant in UTC, ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def costs_of(source: JournalSource, row: RunRow, folder: Path) -> dict[str, Any]:
    """Return what a run cost by task and by model, as JSON."""
    all_steps = read_steps(source, row.run_id, folder)
    steps = [step for step in all_steps if step.kind == "model"]
    paid = [step for step in all_steps if step.kind == "model" or step.record.get("cost_usd") is not None]
    tools = Counter(part_name(step.task) for step in all_steps if step.kind == "tool")
    spent = add_up(paid)
    by_task = _grouped(paid, lambda step: part_name(step.task))
    return {
        "run_id": row.run_id,
        "offline": row.offline,
        "tasks": [{**entry, "tool_calls": tools[entry["name"]]} for entry in by_task],
        "models": _grouped(steps, lambda step: str(step.record["model"])),
        "usage": usage_of(spent) | {"tool_calls": tools.total()},
        "estimated": any("usage" in step.record and step.record["usage"]["estimated"] for step in steps),
        **cost_of_steps(spent, paid),
    }


def part_name(path: str) -> str:
    """Return the task of a path without its pieces: `research.a2` is a part of `research`; "" is the manager."""
    return ".".join(name for name in path.split(".") if not PIECE.fullmatch(name)) or "manager"


def _grouped(steps: Sequence[Step], key: Callable[[Step], str]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(key(step) for step in steps))
    groups = {name: [step for step in steps if key(step) == name] for name in names}
    return [
        {
            "name": name,
            **usage_of(spent := add_up(group)),
            "failed_calls": sum(1 for step in group if step.kind == "model" and "error" in step.record),
            **cost_of_steps(spent, group),
        }
        for name, group in groups.items()
    ]
