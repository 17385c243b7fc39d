"""A task that a person does: what is asked, what is taken of the answer, and what goes back with the reasons."""

import json
from collections.abc import Mapping
from typing import Any, cast

import yaml

from crews.state import written_by
from models.marks import strip_marks
from project.hints import shortened
from project.spec import FieldSpec
from runs.calls.toolbox import sources_of
from runs.executing.state import Parked
from runs.people.asking import ask_person
from runs.people.questions import Question
from runs.work.attempt import deliver
from runs.work.judging import check_by_rules
from runs.work.unit import Unit
from tasks.build import join_context
from tasks.contracts import canonical, read_contract
from tasks.guardrails import is_empty

_TRIES = 20
_KINDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "yes or no",
    "list[str]": "[a text, ...]",
}


def ask_for_output(unit: Unit, failed: str = "") -> dict[str, Any]:
    """Let a person do the task; what breaks the contract or a rule goes back with the reasons.

    `failed` says why nobody else could do it. Raises: Parked.
    """
    planned = unit.planned
    context = unit.context or join_context([name for name in planned.needs if name in unit.outputs], unit.outputs)
    form = _form(planned.contract) if planned.contract is not None else ""
    told = "\n\n".join(
        part for part in (planned.task.description, f"Expected: {planned.task.expected_output}", context, form) if part
    )
    told = strip_marks(told)  # a person tells by themselves what is asked of them
    reasons: list[str] = []
    asked_now = number = 0
    while True:
        number += 1
        before = f"{unit.planned.name} failed: {shortened(failed, 200)}; " if failed else ""
        again = f"not taken: {'; '.join(reasons[:5])}; " if reasons else before
        prompt = f"{again}your answer" + (" as {key: value, ...}" if form else "")
        name = f"{unit.path}/human/answer#{number}"
        answer = ask_person(unit.run, name, Question(unit.path, prompt, told), needed=True)
        if answer.rejected:
            _refuse(unit, answer.said or "")
            reasons, asked_now = [], 0
            continue
        text, checks = _read(unit, answer.said or "")
        reasons = [reason for check in checks if not check.get("warned") for reason in check["reasons"]]
        if not reasons:
            return _taken(unit, text, checks)
        asked_now += answer.now
        if asked_now >= _TRIES:
            raise Parked("failed", f"{asked_now} answers of a person could not be taken: {'; '.join(reasons[:5])}")


def _refuse(unit: Unit, reason: str) -> None:
    """Let the task fail, since nobody will do it; who resumes the run has a person asked again. Raises: Parked."""
    why = f"a person will not do it: {reason}"
    if unit.gives_up(why):
        raise Parked("failed", why, f"`muster runs resume {unit.run.run_id}` asks again")


def _taken(unit: Unit, text: str, checks: list[dict[str, Any]]) -> dict[str, Any]:
    planned = unit.planned
    result: dict[str, Any] = {
        "output": text,
        "agent": "human",
        "model": "",
        "offline": False,
        "checks": checks,
        "confidence": {"value": None, "measured": False, "from": ["given by a person"]},
        "partial": [],
        "by_person": True,
        "json": planned.contract is not None,
    }
    if planned.task.writes:
        result["writes"] = written_by(planned, json.loads(text))
    return deliver(unit, result)


def _read(unit: Unit, said: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the output in what a person said, and every check of it."""
    planned = unit.planned
    if is_empty(said):
        return said, [{"check": "not empty", "passed": False, "reasons": ["the answer is empty"]}]
    text, checks = said, list[dict[str, Any]]()
    if planned.contract is not None:
        value, problems = read_contract(_as_json(said, planned.contract), planned.contract)
        checks.append({"check": "contract", "passed": not problems, "reasons": problems})
        text = canonical(value) if value is not None and not problems else said
    return text, [*checks, *check_by_rules(unit, text, sources_of(unit.run, unit.scope))]


def _form(contract: Mapping[str, FieldSpec]) -> str:
    """Tell a person which fields are asked for."""
    told = [f"- {name}: {_kind(spec)}. {spec.description}".rstrip(". ") for name, spec in contract.items()]
    return "\n".join(["Answer with these fields:", *told])


def _kind(spec: FieldSpec) -> str:
    kind = " or ".join(spec.choices) if spec.choices else _KINDS.get(spec.type, spec.type)
    return f"{kind}, may be left out" if spec.optional else kind


def _as_json(said: str, contract: Mapping[str, FieldSpec]) -> str:
    """Read `{key: value}` or `key: value` lines, as people write them; all else stays as it is.

    Every value is text at first: to YAML, yes is true and 2026-03-01 is a date.
    """
    try:
        found: Any = yaml.load(said, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return said
    if not isinstance(found, dict):
        only = next(iter(contract)) if len(contract) == 1 else ""
        return json.dumps({only: _typed(said, contract[only])}) if only and not said.lstrip().startswith("{") else said
    given = cast(dict[str, Any], found)
    return json.dumps({key: _typed(value, contract[key]) if key in contract else value for key, value in given.items()})


def _typed(value: Any, spec: FieldSpec) -> Any:
    """Turn a written value into the field's type, where that is plain; the contract judges the rest."""
    if isinstance(value, list):
        inner = spec.model_copy(update={"type": spec.type.removeprefix("list[").removesuffix("]")})
        return [_typed(item, inner) for item in cast(list[Any], value)]
    if not isinstance(value, str):
        return value
    if spec.type == "bool":
        return {"yes": True, "true": True, "no": False, "false": False}.get(value.strip().lower(), value)
    if spec.type in ("int", "float"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return None if spec.optional and value.strip() in ("", "null") else value
