"""One attempt at a task: agent, loop, judge, file. Everything that touches the world is a step."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, cast

from agents.build import GuardedLLM, build_agent
from agents.tool_choice import choose_tools
from crews.confidence import measure
from crews.planned import Member, Value
from crews.state import written_by
from models.marks import strip_marks
from models.offline.respond import OfflineTask
from project.errors import AppError
from runs.calls.lanes import Lane
from runs.calls.model_calls import AskModel
from runs.calls.seams import Guard
from runs.calls.toolbox import sources_of, tools_for
from runs.executing.state import Event
from runs.governed.tainting import Watch, taint_json
from runs.stored import engine
from runs.stored.files import keep_delivered, write_atomically
from runs.work.consulting import OFFLINE_WINDOW, consult, is_offline, offline_asker
from runs.work.delegating import Delegation, HandedOver, handed_text
from runs.work.judging import Judge
from runs.work.reviewing import Reviewer
from runs.work.unit import Unit, evidence_for, shown_outputs
from tasks.build import build_task, join_context
from tasks.contracts import instructions, json_schema
from tasks.evidence import Evidence, support_of
from tools.tool import found_nothing, openai_schema

FORMAL = ("contract", "not empty", "offline")
"""Checks that every accepted output has passed: they say nothing of how sure one may be."""
_SURE = (
    "As the last line of your answer write `Confidence: N`, N from 0 to 1: how sure you are that it is right and "
    "complete. Be honest: a low number sends the work to a colleague."
)
_PLAN = (
    "Do not do the task yet. Write the plan by which you will do it: at most 7 numbered steps, each with what it gives "
    "and how you will see that it is right."
)


def attempt(unit: Unit, handed: tuple[str, ...] = ()) -> dict[str, Any]:
    """Do the task once, with its agent, until the judge accepts. Returns its result.

    Raises: Parked, AgentFailed, AppError.
    """
    run, planned = unit.run, unit.planned
    tools = tools_for(run, planned.tools)
    offline = run.plan.models[planned.model].model == "offline"
    lane = lane_of(unit, handed)
    ask = _asker(unit)
    limit = planned.agent.max_execution_time
    guard = Guard(run, lane, planned.model, ask, tools, limit, soft=unit.soft, uses=planned.tools)
    judge_lane = Lane(f"{unit.path}/judge", unit.path, "judge")
    if handed:  # the agents before it have used this lane
        judge_lane.name += f"~{len(handed) + 1}"
    delegation = Delegation(unit, guard.act, lane, handed)
    watch = Watch(lane)
    judge = Judge(
        unit,
        Guard(run, judge_lane, planned.model, ask, {}, None, soft=unit.soft),
        sources_of(run, unit.scope),
        offline,
        _reviewer(unit),
        [*tools, *(schema["function"]["name"] for schema in delegation.schemas())],
    )
    spec = run.plan.models[planned.model]
    offered, kept_back = _offered(unit, [openai_schema(tool) for tool in tools.values()])
    agent = build_agent(
        planned.agent,
        GuardedLLM(spec.model, guard.ask, _window(unit)),
        act=delegation.act,
        judge=_told_to(lane, unit, judge),
        schemas=[*offered, *delegation.schemas()],
        kept_back=kept_back,
        protocol=spec.tool_calling,
        max_output_tokens=spec.max_tokens or 1024,
        extra=_extra(unit),
        source=watch.source if unit.reads_untrusted([*tools.values(), *delegation.tools()]) else None,
    )
    task = build_task(planned.name, planned.task, agent)
    shown = shown_outputs(unit)
    context = unit.context or join_context(list(shown), shown)
    try:
        task.execute_sync(context=context or None, tools=[])
    except HandedOver as over:
        return _hand_over(unit, over, handed)
    if agent.stalled:
        judge.partial.append(agent.stalled)
        unit.decisions.record("loop", "best answer so far", agent.stalled, among=["go on", "best answer so far"])
    return _finish(unit, judge, offline, lane)


def lane_of(unit: Unit, handed: tuple[str, ...] = ()) -> Lane:
    """Make the lane of a task's agent; `handed` are those who had the task before it. Raises: AppError (clearance)."""
    planned = unit.planned
    name = f"{unit.path}/{planned.agent_name}" + (f"~{len(handed) + 1}" if handed else "")
    return unit.reading.open(Lane(name, unit.path, planned.agent_name), planned.agent, handed=handed)


def _told_to(lane: Lane, unit: Unit, judge: Judge) -> Callable[[str], str | None]:
    """Return the judge of a lane's answers, whose reasons may come from what others have read meanwhile."""

    def judged(answer: str) -> str | None:
        reasons = judge(answer)
        if reasons is not None:
            unit.reading.refresh(lane)
        return reasons

    return judged


def _offered(
    unit: Unit, schemas: Sequence[Mapping[str, Any]]
) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """Return the tools that the agent is offered, and those that it must find: where it has too many to see at once."""
    most = unit.planned.agent.max_tools
    if most is None:
        return schemas, ()
    task = unit.planned.task
    return choose_tools(schemas, f"{task.description}\n{task.expected_output}", most)


def _asker(unit: Unit) -> AskModel:
    planned = unit.planned
    if unit.run.plan.models[planned.model].model != "offline":
        return unit.run.models[planned.model].ask
    return offline_asker(
        OfflineTask(
            description=strip_marks(planned.task.description),
            expected_output=strip_marks(planned.task.expected_output),
            agent_role=planned.agent.role,
            recipe=planned.task.offline,
            contract=json_schema(planned.contract) if planned.contract is not None else None,
            inputs={name: _unmarked(value) for name, value in unit.scope.inputs.items()},
            context={name: unit.outputs[name] for name in planned.needs if name in unit.outputs},
        )
    )


def _unmarked(value: Value) -> Value:
    return strip_marks(value) if isinstance(value, str) else value


def _window(unit: Unit) -> int:
    name = unit.planned.model
    return OFFLINE_WINDOW if unit.run.plan.models[name].model == "offline" else unit.run.models[name].context_window


def _reviewer(unit: Unit) -> Reviewer | None:
    task = unit.planned.task
    if task.review is not None:
        keep = task.review.if_not_approved == "keep"
        return Reviewer(unit, unit.member(task.review.by), task.review.criteria, task.review.max_rounds, keep)
    if task.refine is not None:
        return Reviewer(unit, _itself(unit), task.refine.criteria, task.refine.max_rounds, keep=True, purpose="refine")
    if unit.lead.get("reviewer"):
        return Reviewer(unit, unit.member(unit.lead["reviewer"]), unit.lead.get("criteria", []), 1, keep=False)
    return None


def _itself(unit: Unit) -> Member:
    """Return the task's agent as it works now: a fallback may have given it another model."""
    return unit.member(unit.planned.agent_name).model_copy(update={"model": unit.planned.model})


def _extra(unit: Unit) -> str:
    planned = unit.planned
    parts: list[str] = []
    shown = {name: value for name, value in unit.state.items() if name in planned.task.reads}
    if shown:
        about = [f"- {name}: {unit.scope.state[name].description}" for name in shown]
        told = [line for line in about if not line.endswith(": ")]
        if told:
            parts.append("\n".join(["What the state of the crew means:", *told]))
        told_state = unit.reading.apart(json.dumps(shown, ensure_ascii=False), "state")
        parts.append(f"State of the crew:\n{told_state}")
    if planned.contract is not None:
        parts.append(instructions(planned.contract))
    if planned.agent.inject_date:
        parts.append(f"Current Date: {date.fromisoformat(unit.run.started_on).strftime(planned.agent.date_format)}")
    if planned.task.refine is not None and (plan := _make_plan(unit)):
        parts.append(f"Your plan for this task:\n{plan}\nWork along it.")
    if unit.min_confidence is not None and planned.contract is None:
        parts.append(_SURE)
    if unit.extra:
        parts.append(unit.extra)
    return "".join(f"\n\n{part}" for part in parts)


def _make_plan(unit: Unit) -> str:
    """Let the agent plan before it acts. The offline model does not plan."""
    member = _itself(unit)
    if is_offline(unit.run, member):
        return ""
    lane = f"{unit.path}/{member.name}.plan"
    task = unit.planned.task
    request = f"{_PLAN}\n\nThe task:\n{task.description}\n\nExpected:\n{task.expected_output}"
    return consult(unit.run, member, lane, unit.path, request, _any_text, unit.reading, soft=unit.soft)


def _any_text(answer: str) -> tuple[str | None, list[str]]:
    return answer, []


def _hand_over(unit: Unit, over: HandedOver, handed: tuple[str, ...]) -> dict[str, Any]:
    """Let the agent to whom the task was handed do it."""
    results = {found.id: found.text for found in unit.run.found.get(unit.path, [])}
    told = unit.reading.apart(handed_text(over.packet, results), f"{unit.planned.agent_name}'s handoff")
    extra = f"{unit.extra}\n\n{told}" if unit.extra else told
    taken = unit.planned.given_to(unit.member(over.to))
    unit.run.tell(Event("task_started", unit.path, f"handed to {over.to}", agent=over.to))
    result = attempt(replace(unit, planned=taken, extra=extra), (*handed, unit.planned.agent_name))
    return result | {"handed_over_by": [unit.planned.agent_name, *result.get("handed_over_by", [])]}


def _finish(unit: Unit, judge: Judge, offline: bool, lane: Lane) -> dict[str, Any]:
    """Make the result of an accepted answer, and write its file."""
    planned, text = unit.planned, judge.accepted
    judge.partial += [*_without_evidence(unit), *_without_tools(unit, lane)]
    value = _object(text) if planned.contract is not None else None
    evidence = _evidence(unit)
    support = support_of(text, evidence, planned.contract) if evidence else None
    said = judge.said_confidence if value is None else _number(value.get("confidence"))
    review = judge.reviewer.latest if judge.reviewer is not None else None
    result: dict[str, Any] = {
        "output": text,
        "agent": planned.agent_name,
        "model": unit.run.plan.models[lane.model or planned.model].model,
        "offline": offline,
        "checks": judge.checks,
        "confidence": measure(
            [check for check in judge.checks if check["check"] not in FORMAL],
            (support.supported, support.claims) if support is not None and support.claims else None,
            None,
            review if review is not None and review["judged"] and review["decision"] == "review" else None,
            said,
            judge.partial,
        ),
        "partial": judge.partial,
        "json": planned.contract is not None,
    }
    if lane.failed_tools:
        result["tools_failed"] = list(lane.failed_tools.values())
    if lane.model not in ("", planned.model):
        result["answered_by"] = lane.model
    if support is not None and support.claims:
        result["support"] = {"claims": support.claims, "supported": support.supported}
    if review is not None:
        result["review"] = {key: review[key] for key in ("by", "approved", "score", "issues", "judged")}
    if planned.task.writes:
        result["writes"] = written_by(planned, value)
    return deliver(unit, result)


def deliver(unit: Unit, result: dict[str, Any]) -> dict[str, Any]:
    """Write the output into the task's file, where it has one, as a step. Raises: AppError."""
    path = unit.planned.task.output_file
    if not path:
        return result
    engine.step(f"{unit.path}/{unit.planned.agent_name}/file#1", lambda: _saved(unit, path, str(result["output"])))
    return result | {"file": path}


def _without_evidence(unit: Unit) -> list[str]:
    """Say so when every look-up of the task came back empty: what it says then rests on nothing that was found."""
    looked = [found for found in unit.run.found.get(unit.path, []) if found.effect == "read"]
    if not looked or not all(found_nothing(found.text) for found in looked):
        return []
    names = ", ".join(dict.fromkeys(found.source for found in looked))
    note = f"nothing was found: all {len(looked)} calls of {names} came back empty"
    unit.decisions.record("empty retrieval", "go on, marked partial", note, evidence=[found.id for found in looked])
    return [note]


def _without_tools(unit: Unit, lane: Lane) -> list[str]:
    """Say which tools failed for good, of those for which YAML says what to do then."""
    declared = [use.name for use in unit.planned.tools if use.retry is not None or use.fallback]
    return [f"a tool failed for good: {lane.failed_tools[name]}" for name in declared if name in lane.failed_tools]


def _evidence(unit: Unit) -> list[Evidence]:
    """Return what the tools of this run returned; nothing where no tool was called, so that nothing is measured."""
    found = evidence_for(unit)
    return found if any(not item.id.startswith("input/") for item in found) else []


def _object(text: str) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(text)
    except ValueError:
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1 else None


def _saved(unit: Unit, path: str, text: str) -> dict[str, Any]:
    """Write the file; return what is journaled, with what the file carries of what the task has read."""
    run, found = unit.run, dict[str, Any]()
    if carries := taint_json(unit.reading.now().taint):
        found = {"carries": carries, "outside": [run.paths.told(str(_inside(run.project, path)))]}
    run.governor.carried.note(found)  # first: whoever finds the file finds what it carries
    return _save(unit, path, text) | found


def _save(unit: Unit, path: str, text: str) -> dict[str, Any]:
    target = _inside(unit.run.project, path)
    name = unit.planned.name
    if not unit.planned.task.create_directory and not target.parent.is_dir():
        raise AppError(f"{name}: the folder of output_file {path!r} is not there", fix="make it")
    content = f"{text}\n".encode()
    try:
        write_atomically(target, content, mode=0o644)
        kept = keep_delivered(unit.run.folder, path, content)
    except OSError as error:
        raise AppError(f"{name}: output_file {path!r} can't be written: {error.strerror}") from error
    return {"kind": "file", "task": unit.path, "path": path, "characters": len(text), "seconds": 0.0, **kept}


def _inside(project: Path, path: str) -> Path:
    root = project.resolve()
    target = (root / path).resolve()
    if not target.is_relative_to(root) or target == root or ".muster" in target.relative_to(root).parts:
        raise AppError(f"output_file {path!r} leads out of the project", fix="name a file inside the project folder")
    return target
