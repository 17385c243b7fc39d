"""A person's part in a run: a task that a person does, a question that a person settles."""

import json
import time
from typing import Any

import yaml

from models.make import clean
from runs import engine
from runs.state import Parked, Question, RunState
from runs.unit import Unit
from tasks.build import join_context
from tasks.contracts import canonical, instructions, read_contract
from tasks.guardrails import check_rule, is_empty

_TRIES = 20


def ask_person(run: RunState, name: str, question: Question, *, needed: bool) -> str | None:
    """Ask a person in a step of the calling workflow; return what was said.

    With nobody to ask: None, journaled so; where an answer is `needed` the run waits.

    Raises: Parked (waiting).
    """

    def ask() -> dict[str, Any]:
        record = {"kind": "answer", "task": question.task, "prompt": question.prompt, "seconds": 0.0}
        if run.asker is None:
            if needed:
                raise Parked("waiting", f"a person is asked: {question.prompt}")
            return record | {"said": None}
        if run.stopping:
            raise Parked("interrupted", run.stopping)
        began = time.monotonic()
        said = clean(run.asker(question)).strip()
        run.waited(time.monotonic() - began)
        return record | {"said": said}

    return engine.step(name, ask)["said"]


def ask_for_output(unit: Unit) -> dict[str, Any]:
    """Let a person do the task; what breaks the contract or a rule goes back with the reasons."""
    planned = unit.planned
    context = unit.context or join_context([name for name in planned.needs if name in unit.outputs], unit.outputs)
    form = instructions(planned.contract) if planned.contract is not None else ""
    told = "\n\n".join(
        part for part in (planned.task.description, f"Expected: {planned.task.expected_output}", context, form) if part
    )
    reasons: list[str] = []
    for number in range(1, _TRIES + 1):
        again = f"not taken: {'; '.join(reasons[:5])}; " if reasons else ""
        prompt = f"{again}{planned.name}: your answer" + (" (as key: value, or JSON)" if form else "")
        name = f"{unit.path}/human/answer#{number}"
        said = ask_person(unit.run, name, Question(unit.path, prompt, told), needed=True) or ""
        text, reasons = _read(unit, said)
        if not reasons:
            return {
                "output": text,
                "agent": "human",
                "model": "",
                "offline": False,
                "checks": [],
                "confidence": {"value": None, "measured": False, "from": ["given by a person"]},
                "partial": [],
                "by_person": True,
                "json": planned.contract is not None,
            }
    raise Parked("failed", f"{planned.name}: {_TRIES} answers of a person could not be taken")


def _read(unit: Unit, said: str) -> tuple[str, list[str]]:
    planned = unit.planned
    if is_empty(said):
        return said, ["the answer is empty"]
    text = said
    if planned.contract is not None:
        value, problems = read_contract(_as_json(said), planned.contract)
        if value is None or problems:
            return said, problems
        text = canonical(value)
    found = [
        reason
        for guardrail in planned.task.guardrails
        if guardrail.rule is not None and guardrail.gate != "warn"
        for reason in check_rule(guardrail.rule, guardrail.value, text, lambda _place: None, contract=planned.contract)
    ]
    return text, found


def _as_json(said: str) -> str:
    """Read `key: value` lines, as people write them; all else stays as it is."""
    try:
        found: Any = yaml.safe_load(said)
    except (yaml.YAMLError, ValueError, RecursionError):
        return said
    return json.dumps(found, default=str) if isinstance(found, dict) else said
