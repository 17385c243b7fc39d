"""How a task is carried out: skipped, by a person, by a crew, for each entry, by candidates, in attempts, at once."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from crews.entries import fill_entry, join_entries, read_entries
from crews.packet import make_packet, packet_problems
from crews.planned import PlannedTask
from project.conditions import evaluate
from project.errors import AppError
from project.fill import map_texts
from project.spec import TaskSpec
from runs.executing.clock import task_of
from runs.executing.state import Parked
from runs.stored import engine
from runs.work.attempt import attempt, deliver
from runs.work.choosing import choose
from runs.work.fallbacks import NO_TIME, Fallbacks
from runs.work.human_task import ask_for_output
from runs.work.unit import Unit
from runs.work.walking import Child, Done, Walk

_LONGEST_BACKOFF = 3600.0

Crewing = Callable[[Unit], dict[str, Any]]
"""Lets a crew do a task."""


def carry_out(unit: Unit, crewing: Crewing) -> dict[str, Any]:
    """Do a task as its patterns say; return its result.

    Raises: Parked; AppError for a condition or list that cannot be read from the outputs.
    """
    task = unit.planned.task
    if task_of(unit.path) == unit.path:
        unit.run.clock.limit(unit.path, task.timeout_seconds)
        unit.run.spending.limit_task(unit.path, unit.planned.name, task.budget)
    _refuse_incomplete(unit)
    if task.when is not None and not _applies(unit, task.when):
        return {"output": "", "skipped": True, "agent": unit.planned.agent_name, "partial": []}
    unit = replace(unit, planned=unit.planned.model_copy(update={"task": task.model_copy(update={"when": None})}))
    if task.for_each is not None:
        return _for_each(unit)
    if unit.planned.kind == "human":
        return ask_for_output(unit)
    if unit.lead.get("agents") or task.retry is not None or task.min_confidence is not None or task.fallback:
        return _in_attempts(unit)
    if task.candidates is not None:
        return _candidates(unit)
    return crewing(unit) if unit.planned.kind == "crew" else attempt(unit)


def _refuse_incomplete(unit: Unit) -> None:
    """Refuse what the tasks before it hand over when it lacks what their contract asks."""
    for name in unit.planned.needs:
        before = next((task for task in unit.scope.tasks if task.name == name), None)
        if name not in unit.outputs or before is None or before.contract is None or before.task.for_each is not None:
            continue
        packet = make_packet(name, {"output": unit.outputs[name]}, before.task.expected_output, before.contract)
        problems = packet_problems(packet, before.contract)
        if problems:
            unit.decisions.record("handoff", "refused", "; ".join(problems), among=["taken", "refused"])
            raise Parked("failed", f"the handoff from {name} is incomplete: {'; '.join(problems[:3])}")


def _applies(unit: Unit, condition: str) -> bool:
    found = _evaluate(unit, condition)
    if not isinstance(found, bool):
        what = f"`when` must come to true or false, got {json.dumps(found)[:80]}"
        raise AppError(what, fix="compare with `==`, `!=`, `<` or `>`")
    shown = {key: value for key, value in read_outputs(unit).items() if f"outputs.{key}" in condition}
    why = f"`{condition}` is {'true' if found else 'false'}"
    evidence = [f"outputs.{key} = {json.dumps(value, ensure_ascii=False)[:200]}" for key, value in shown.items()]
    unit.decisions.record("branch", "run" if found else "skip", why, among=["run", "skip"], evidence=evidence)
    return found


def _evaluate(unit: Unit, expression: str) -> Any:
    """Evaluate an expression. Raises: AppError, which names a skipped task where that is the cause."""
    outputs = read_outputs(unit)
    try:
        return evaluate(expression, unit.scope.inputs, outputs, unit.state)
    except AppError as error:
        skipped = [name for name, value in outputs.items() if value is None and f"outputs.{name}." in expression]
        if not skipped:
            raise
        what = f"`{expression}` reads a field, but `{skipped[0]}` was skipped"
        raise AppError(what, fix=f"write `outputs.{skipped[0]} != null && ...` first") from error


def read_outputs(unit: Unit) -> dict[str, Any]:
    """Return the outputs as conditions see them: objects where there is a contract, else texts; skipped ones null."""
    contracts = {task.name: task.contract is not None or task.task.for_each is not None for task in unit.scope.tasks}
    found: dict[str, Any] = {}
    for name in unit.planned.waits_for:
        text = unit.outputs.get(name)
        found[name] = _read_json(text) if text is not None and contracts.get(name) else text
    return found


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- for_each


def _for_each(unit: Unit) -> dict[str, Any]:
    task = unit.planned.task
    assert task.for_each is not None
    entries = read_entries(_evaluate(unit, task.for_each.items))
    single = task.model_copy(update={"for_each": None})
    children = [
        Child(
            f"i{number}",
            f"{unit.path}.i{number}",
            (),
            _piece(unit, unit.planned.model_copy(update={"task": _filled(unit, single, entry, number)})),
            unit.planned.agent_name,
        )
        for number, entry in enumerate(entries, 1)
    ]
    done = _rounds(unit, children, task.for_each.width, _enough(len(children), task.for_each.on_failure == "fail"))
    results = [done[child.name] for child in children]
    joined = join_entries(unit.planned, entries, results)
    if task.writes:
        joined["writes_of_entries"] = [result["writes"] for result in results if result.get("writes")]
    return joined


def _filled(unit: Unit, task: TaskSpec, entry: Any, number: int) -> TaskSpec:
    """Put an entry into a task, set apart in what a model reads where the entries come from untrusted content."""
    source = f"entry {number} of {unit.planned.name}"
    return fill_entry(task, entry, number, map_texts(entry, lambda text: unit.reading.apart(text, source)))


def _enough(number: int, every: bool) -> Callable[[Done], str]:
    def judge(done: Done) -> str:
        failed = [f"entry {name[1:]}: {result['failed']}" for name, result in done.items() if "failed" in result]
        return "; ".join(failed[:5]) if failed and (every or len(failed) == number) else ""

    return judge


def _piece(unit: Unit, planned: PlannedTask) -> Callable[[Done, Sequence[str]], dict[str, Any] | None]:
    return lambda _done, _under_way: unit.piece(planned)


def _rounds(unit: Unit, children: Sequence[Child], width: int | None, judge: Callable[[Done], str]) -> Done:
    """Do the children; when what came of them is not enough the task fails, and a resume does the failed ones again."""
    done: Done = {}
    number = 0
    while True:
        number += 1
        suffix = f"r{number}" if number > 1 else ""
        again = [replace(child, path=f"{child.path}{suffix}") for child in children if _unfinished(child, done)]
        before = {
            child.name: result for child in children if not _unfinished(child, done) for result in [done[child.name]]
        }
        walk = Walk(unit.run, unit.start, unit.reading, f"{unit.path}/{suffix}", before)
        found = walk.go(again, width)
        done = {child.name: found[child.name] for child in children}
        wrong = judge(done)
        if not wrong:
            return done
        if unit.gives_up(wrong):
            raise Parked("failed", wrong, f"`muster runs resume {unit.run.run_id}` tries the failed ones again")


def _unfinished(child: Child, done: Done) -> bool:
    return child.name not in done or "failed" in done[child.name]


# -- candidates


def _candidates(unit: Unit) -> dict[str, Any]:
    task = unit.planned.task
    assert task.candidates is not None
    names = task.candidates.agents or [unit.planned.agent_name]
    single = task.model_copy(update={"candidates": None, "judge": None, "output_file": None})
    children: list[Child] = []
    for number in range(1, task.candidates.count + 1):
        name = names[(number - 1) % len(names)]
        planned = unit.planned.model_copy(update={"task": single}).given_to(unit.member(name))
        children.append(Child(f"c{number}", f"{unit.path}.c{number}", (), _piece(unit, planned), name))

    def judge(done: Done) -> str:
        failed = [f"{name}: {result['failed']}" for name, result in done.items() if "failed" in result]
        return "; ".join(failed) if len(failed) == len(children) else ""

    done = _rounds(unit, children, None, judge)
    return choose(unit, {child.name: done[child.name] for child in children})


# -- attempts


def _in_attempts(unit: Unit) -> dict[str, Any]:
    """Try until an output is good enough; each further attempt may be another agent's, with the reasons before it.

    When the attempts are used up the task's fallbacks are taken in order.
    """
    names, most = _order(unit)
    fallbacks = Fallbacks(
        unit,
        lambda planned, name, path: _try_once(unit, planned, name, path, said),
        lambda result: unfit(result, unit.min_confidence),
    )
    number = tries = since = 0
    said: list[dict[str, Any]] = []
    best: dict[str, Any] | None = None
    while True:
        name = names[number % len(names)]
        number, tries = number + 1, tries + 1
        path = f"{unit.path}.a{number}"
        result = _attempt_once(unit, name, path, said)
        wrong = _unfit_attempt(unit, result)
        said.append({"agent": name, "why": wrong})
        if not wrong:
            return deliver(unit, result | {"attempts": said})
        if "output" in result and (best is None or _sure(result) > _sure(best)):
            best = result
        if tries == most or not _tried_again(unit, result):
            why = _told(said[since:])
            found = fallbacks.take(why, str(result.get("cause", "")), said, path)
            if found is not None:
                found |= {"attempts": list(said)}
                return found if found.get("skipped") else deliver(unit, found)
            why = _told(said[since:])
            if unit.lead:
                return {"failed": why, "attempts": list(said), "best": best, "agent": name}
            if unit.gives_up(why):
                fix = f"`muster runs resume {unit.run.run_id}` tries again"
                raise Parked("failed", why, fix, str(result.get("cause", "")))
            tries, since = 0, len(said)
        _take_next(unit, names, number, f"{name}: {wrong}", said, path)


def _take_next(
    unit: Unit, names: Sequence[str], number: int, why: str, said: Sequence[Mapping[str, Any]], path: str
) -> None:
    """Journal who tries next and why; wait where the task says so."""
    after = names[number % len(names)]
    tried = [entry["agent"] for entry in said]
    unit.decisions.record(
        "reassign" if after != names[(number - 1) % len(names)] else "retry",
        after,
        why,
        among=[other for other in names if other not in tried] or names,
        evidence=[f"workflow {path}"],
    )
    retry = unit.planned.task.retry
    if retry is not None and retry.backoff_seconds > 0:
        seconds = min(retry.backoff_seconds * 2 ** min(number - 1, 20), _LONGEST_BACKOFF)
        engine.step(f"{unit.path}/backoff#{number}", lambda: _wait(unit, seconds, why))


def _wait(unit: Unit, seconds: float, why: str) -> dict[str, Any]:
    """Wait before the next attempt, no longer than there is time for one. Raises: Parked."""
    clock, agent = unit.run.clock, unit.planned.agent_name
    clock.begin(unit.path, agent)
    began = time.monotonic()
    try:
        while (left := began + seconds - time.monotonic()) > 0:
            if unit.run.stopping:
                raise Parked("interrupted", unit.run.stopping)
            if any(limit.seconds_left <= 0 for limit in clock.limits(unit.path, agent, None)):
                break
            time.sleep(min(left, 0.1))
    finally:
        clock.end(unit.path, agent)
    waited = round(time.monotonic() - began, 3)
    return {"kind": "backoff", "task": unit.path, "agent": agent, "seconds": waited, "reason": why}


def _tried_again(unit: Unit, result: Mapping[str, Any]) -> bool:
    """Say whether the task's `retry` is for what was wrong with this attempt."""
    retry, cause = unit.planned.task.retry, str(result.get("cause", ""))
    if cause in NO_TIME:
        return False
    if retry is None:
        return True
    if "failed" not in result:
        kinds = ("tool",) if result.get("tools_failed") else ("low_confidence",)
        kinds = ("failed",) if not str(result.get("output", "")).strip() else kinds
    else:
        kinds = ("failed", cause)
    return any(kind in retry.on for kind in kinds)


def _unfit_attempt(unit: Unit, result: Mapping[str, Any]) -> str:
    wrong = unfit(result, unit.min_confidence)
    retry = unit.planned.task.retry
    if not wrong and retry is not None and "tool" in retry.on and result.get("tools_failed"):
        return f"a tool failed for good: {'; '.join(result['tools_failed'])}"
    return wrong


def _order(unit: Unit) -> tuple[list[str], int]:
    """Return who tries, in turn, and how many attempts there are."""
    retry = unit.planned.task.retry
    if unit.lead.get("agents"):
        return list(unit.lead["agents"]), int(unit.lead["max_attempts"])
    if retry is None:  # only min_confidence or a fallback: one attempt
        return [unit.planned.agent_name], 1
    return [unit.planned.agent_name, *retry.agents], retry.attempts


def _attempt_once(unit: Unit, name: str, path: str, said: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    planned = unit.planned if name == unit.planned.agent_name else unit.planned.given_to(unit.member(name))
    return _try_once(unit, planned, name, path, said)


def _try_once(
    unit: Unit, planned: PlannedTask, name: str, path: str, said: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Do the task once at `path`, by whom it is planned for, told why the attempts before it failed."""
    single: dict[str, Any] = {"retry": None, "fallback": [], "min_confidence": None, "output_file": None}
    planned = planned.model_copy(update={"task": planned.task.model_copy(update=single)})
    told = [f"- {entry['agent']}: {entry['why']}" for entry in said]
    reasons = unit.reading.apart("\n".join(told), "earlier attempts")
    lines = ["Earlier attempts at this task were not good enough:", reasons, "Do better where they failed."]
    extra = "\n".join(part for part in (unit.extra, "\n".join(lines) if told else "") if part)
    lead = {key: unit.lead[key] for key in ("reviewer", "criteria", "goal") if key in unit.lead}
    attempt_lead = lead | {"once": True, "min_confidence": unit.min_confidence}
    work = unit.piece(planned, extra=extra) | {"lead": attempt_lead}
    child = Child("attempt", path, (), lambda _done, _under_way: work, name)
    return Walk(unit.run, unit.start, unit.reading, f"{unit.path}/").go([child])["attempt"]


def _told(said: Sequence[Mapping[str, Any]]) -> str:
    """Tell why attempts failed; what several of them share is said once."""
    reasons: dict[str, list[str]] = {}
    for entry in said:
        reasons.setdefault(entry["why"], []).append(entry["agent"])
    told = "; ".join(f"{' and '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items())
    return told if len(said) == 1 else f"{len(said)} attempts failed: {told}"


def unfit(result: Mapping[str, Any], min_confidence: float | None) -> str:
    """Say why a result is not good enough; "" when it is."""
    if "failed" in result:
        return str(result["failed"])
    if not str(result.get("output", "")).strip():
        return "the output is empty"
    confidence: Mapping[str, Any] = result.get("confidence") or {}
    value = confidence.get("value")
    if min_confidence is not None and value is not None and value < min_confidence:
        how = "measured" if confidence.get("measured") else "by its own word"
        reasons = "; ".join(confidence.get("from", []))
        return f"confidence {value:g} ({how}: {reasons}) is below {min_confidence:g}"
    return ""


def _sure(result: Mapping[str, Any]) -> float:
    confidence = cast(Mapping[str, Any], result.get("confidence") or {})
    return float(confidence.get("value") or 0)
