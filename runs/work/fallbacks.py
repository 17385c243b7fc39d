"""What is done in place of a task that has failed: another agent or model, a fixed text, nothing, or a person."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from crews.planned import PlannedTask
from crews.state import written_by
from project.spec import FallbackSpec
from runs.work.human_task import ask_for_output
from runs.work.unit import Unit
from tasks.build import join_context
from tasks.contracts import canonical, read_contract

NO_TIME = ("task time", "deadline")
"""Causes after which nothing is done that would take time."""

TryOnce = Callable[[PlannedTask, str, str], dict[str, Any]]
"""Does the task once more: as planned, called by a name, at a path. Returns its result, a failure included."""

Judge = Callable[[Mapping[str, Any]], str]
"""Says why a result is not good enough; "" when it is."""


@dataclass
class Fallbacks:
    """The fallbacks of one task. Each that does the task again is a child of its own, `.f1` and on."""

    unit: Unit
    try_once: TryOnce
    judge: Judge
    _number: int = 0

    def take(self, why: str, cause: str, said: list[dict[str, Any]], last: str) -> dict[str, Any] | None:
        """Return the result of the first way that works; None when none is left. `said` gets what failed on the way.

        `why` tells why the task failed, `cause` what failed, `last` is the path of the last attempt.
        """
        ways = self.unit.planned.task.fallback
        labels = [label_of(way) for way in ways]
        for position, way in enumerate(ways):
            self._number += 1
            if cause in NO_TIME and (way.agent is not None or way.model is not None):
                continue
            label = labels[position]
            self.unit.decisions.record(
                "fallback", label, why, among=[*labels[position:], "fail"], evidence=[f"workflow {last}"]
            )
            if way.act == "stop":
                return None
            path = f"{self.unit.path}.f{self._number}"
            result = self._go(way, why, path)
            wrong = "" if result.get("skipped") else self.judge(result)
            if not wrong:
                return result | {"fallback": {"did": label, "why": why}}
            said.append({"agent": label, "why": wrong})
            why, cause, last = f"{why}; {label}: {wrong}", str(result.get("cause", "")), path
        return None

    def _go(self, way: FallbackSpec, why: str, path: str) -> dict[str, Any]:
        unit, planned = self.unit, self.unit.planned
        if way.agent is not None:
            return self.try_once(planned.given_to(unit.member(way.agent)), way.agent, path)
        if way.model is not None:
            return self.try_once(planned.model_copy(update={"model": way.model}), planned.agent_name, path)
        if way.text is not None:
            return _fixed(unit, way.text, why)
        if way.act == "ask":
            return _ask(unit, why)
        note = f"skipped: {why}"
        return {"output": "", "skipped": True, "agent": planned.agent_name, "partial": [note]}


def label_of(way: FallbackSpec) -> str:
    """Name a way to go on, for people."""
    if way.agent is not None:
        return f"agent {way.agent}"
    if way.model is not None:
        return f"model {way.model}"
    return "fixed text" if way.text is not None else {"ask": "ask a person"}.get(way.act or "", way.act or "")


def _fixed(unit: Unit, text: str | dict[str, Any], why: str) -> dict[str, Any]:
    """Make a result of a fixed output; one that breaks the contract, once it is filled, is a failure."""
    planned = unit.planned
    value: dict[str, Any] | None = None
    output = text if isinstance(text, str) else json.dumps(text, ensure_ascii=False)
    if planned.contract is not None:
        value, problems = read_contract(output, planned.contract)
        if value is None or problems:
            return {"failed": f"the fixed text breaks the contract: {'; '.join(problems[:3])}"}
        output = canonical(value)
    result: dict[str, Any] = {
        "output": output,
        "agent": "",
        "model": "",
        "offline": False,
        "checks": [],
        "confidence": {"value": None, "measured": False, "from": ["a fixed text of its fallback"]},
        "partial": [f"a fixed text stands for it: {why}"],
        "json": planned.contract is not None,
    }
    if planned.task.writes:
        result["writes"] = written_by(planned, value)
    return result


def _ask(unit: Unit, why: str) -> dict[str, Any]:
    """Let a person do what failed. Raises: Parked (waiting), or failed where they will not."""
    planned = unit.planned
    context = unit.context or join_context([name for name in planned.needs if name in unit.outputs], unit.outputs)
    failed = f"This task was tried and failed: {why}"
    task = planned.task.model_copy(update={"output_file": None})
    asked = replace(
        unit,
        planned=planned.model_copy(update={"task": task}),
        context="\n\n".join(part for part in (context, failed) if part),
    )
    return ask_for_output(asked, why)
