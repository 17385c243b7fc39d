"""A manager at work: brief, plan, subtasks routed and checked, failures reassigned and planned anew, one result.

Every choice is journaled as a decision with its reason; `runs why` tells them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from crews.packet import make_packet, packet_problems, packet_text
from crews.plan_text import plan_request
from crews.planned import PlannedTask
from crews.state import ancestors
from crews.subtasks import (
    AGAIN,
    Subtask,
    WorkPlan,
    able_members,
    find_result,
)
from project.spec import AgentSpec, GuardrailSpec, TaskSpec
from runs.executing.state import Event, Parked
from runs.governed.tainting import apart_if, taint_in
from runs.people.asking import ask_person
from runs.people.questions import Question
from runs.work.aggregating import aggregate
from runs.work.consulting import consult, is_offline
from runs.work.crewing import CrewRun, has_output
from runs.work.planning import Managed, intake, limits_as_journaled, make_plan, read_for, review_plan
from runs.work.unit import found_by, work_of
from runs.work.walking import Child, Done, Walk


def manage(crew: CrewRun) -> dict[str, Any]:
    """Lead a hierarchical crew from its goal to one result. Raises: Parked."""
    manager, spec = crew.scope.manager_member, crew.scope.manager
    assert manager is not None
    assert spec is not None
    managed = Managed(crew, manager, spec, is_offline(crew.run, manager))
    crew.run.tell(Event("task_started", crew.path("manager"), agent=manager.name))
    managed.brief = intake(managed)
    plan = make_plan(managed)
    if spec.review_plan:
        plan = review_plan(managed, plan)
    _take_plan(managed, plan)
    _work(managed, "")
    if _open_ids(managed):
        _plan_again(managed)
    for name in _open_ids(managed):
        _settle_failed(managed, name)
    result = aggregate(crew, managed.manager, spec, managed.brief, _results(managed), managed.planned)
    crew.run.tell(Event("task_done", crew.path("manager")))
    return result


# -- the work


def _take_plan(managed: Managed, plan: WorkPlan) -> None:
    managed.result_ids = find_result(plan)
    for one in plan.subtasks:
        managed.subtasks[one.id] = one
        managed.planned[one.id] = _planned(managed, one)


def _planned(managed: Managed, one: Subtask) -> PlannedTask:
    """Turn a subtask into a task: the given one, or one of the manager's own making; its done-rules are guardrails."""
    scope = managed.crew.scope
    member = scope.members[one.agent]
    rules = [rule for rule in one.done if rule.rule is not None]
    rules += [
        rule
        for rule in managed.brief.done
        if rule.id in one.covers and rule.rule is not None and _is_last(managed, one)
    ]
    guardrails = [GuardrailSpec(rule=rule.rule, value=rule.value) for rule in rules]
    criteria = [rule.text for rule in [*one.done, *(rule for rule in managed.brief.done if rule.id in one.covers)]]
    if one.task is not None:
        own = scope.task(one.task)
        task = own.task.model_copy(update={"guardrails": [*own.task.guardrails, *guardrails]})
        changes = {"name": one.id, "task": task, "needs": list(one.depends_on), "after": []}
        planned = own.model_copy(update=changes)
        return planned if planned.agent_name == member.name else planned.given_to(member)
    expected = one.expected_output + "".join(f"\n- {text}" for text in criteria)
    allowed = None if one.tools is None else [use for use in member.agent.tools if use.name in one.tools]
    task = TaskSpec(
        description=one.description,
        expected_output=expected,
        agent=member.name,
        tools=allowed,
        guardrails=guardrails,
        output=one.output,
    )
    blank = PlannedTask(
        name=one.id,
        task=task,
        agent_name="",
        agent=AgentSpec(role="", goal="", backstory=""),
        needs=list(one.depends_on),
        tools=[],
        contract=one.output,
        model="",
    )
    return blank.given_to(member)


def _is_last(managed: Managed, one: Subtask) -> bool:
    """Whether what it makes is the whole result, so that rules for the whole are rules for it."""
    return managed.result_ids == [one.id]


def _work(managed: Managed, label: str) -> None:
    """Do every subtask that is not done: each starts when its inputs exist, side by side."""
    crew = managed.crew
    open_ids = [name for name in managed.planned if name not in managed.done]
    children = [Child(name, crew.path(name), managed.planned[name].needs, _give(managed, name)) for name in open_ids]
    walk = Walk(crew.run, crew.start, crew.reading, f"{crew.prefix}{label}", dict(managed.done))
    managed.done = walk.go(children)


def _give(managed: Managed, name: str) -> Any:
    def work(done: Done, under_way: Sequence[str]) -> dict[str, Any] | None:
        planned = managed.planned[name]
        refused = _incomplete(managed, planned, done)
        if refused:
            managed.crew.decisions.record("handoff", "refused", refused, among=["taken", "refused"], about=name)
            return None
        agents = _route(managed, name, under_way)
        routed = planned if planned.agent_name == agents[0] else planned.given_to(managed.crew.scope.members[agents[0]])
        managed.planned[name] = routed
        lead: dict[str, Any] = {"agents": agents, "max_attempts": managed.spec.max_attempts}
        lead["goal"] = managed.brief.asked
        if managed.spec.min_confidence is not None:
            lead["min_confidence"] = managed.spec.min_confidence
        if managed.spec.reviewer and managed.spec.reviewer not in agents:
            lead |= {"reviewer": managed.spec.reviewer, "criteria": _criteria(managed, name)}
        unit = managed.crew.unit(
            routed,
            done,
            ancestors(list(managed.planned.values()), name),
            context=_packets(managed, routed, done),
            soft=True,
            lead=lead,
            chain=(*managed.crew.reading.chain, managed.manager.name),
            supervised=managed.manager.agent.autonomy == "supervised",
        )
        return work_of(unit)

    return work


def _criteria(managed: Managed, name: str) -> list[str]:
    one = managed.subtasks[name]
    covered = [rule.text for rule in managed.brief.done if rule.id in one.covers]
    return [*(rule.text for rule in one.done), *covered]


def _incomplete(managed: Managed, planned: PlannedTask, done: Done) -> str:
    """Say what the subtasks before it fail to hand over; "" when all of it is there."""
    problems: list[str] = []
    for name in planned.needs:
        if _left_out(done[name]):
            continue
        if not has_output(done[name]):
            problems.append(f"{name} has no output to hand over")
            continue
        before = managed.planned[name]
        packet = make_packet(name, done[name], before.task.expected_output, before.contract)
        problems += packet_problems(packet, before.contract)
    return "; ".join(problems)


def _route(managed: Managed, name: str, under_way: Sequence[str]) -> list[str]:
    """Choose who does a subtask now, and who would take over: the planned agent unless it is busier than another."""
    one, spec = managed.subtasks[name], managed.spec
    given = managed.crew.scope.task(one.task) if one.task is not None else None
    fixed = given is not None and given.agent_name != ""
    able = able_members(one, managed.team, managed.manager.name, spec.reviewer or "") or [one.agent]
    load = {agent: sum(1 for other in under_way if managed.planned[other].agent_name == agent) for agent in able}
    chosen, why = one.agent, one.reason
    spare = [agent for agent in able if load[agent] < load.get(one.agent, 0)]
    if spare and not fixed:
        chosen = min(spare, key=lambda agent: (load[agent], able.index(agent)))
        why = f"{one.agent} was planned ({one.reason}) but has {load[one.agent]} under way; {chosen} has {load[chosen]}"
    record = managed.crew.decisions.record(
        "route",
        chosen,
        why,
        among=able,
        evidence=[f"{agent}: {load[agent]} under way" for agent in able],
        by="offline" if managed.offline else managed.manager.name if chosen == one.agent else "rule",
        about=name,
    )
    chosen = str(record["chosen"])
    return [chosen, *(agent for agent in able if agent != chosen)]


def _packets(managed: Managed, planned: PlannedTask, done: Done) -> str:
    parts: list[str] = []
    for name in planned.needs:
        if _left_out(done[name]):
            continue
        before = managed.planned[name]
        found = found_by(managed.crew.run, [managed.crew.path(name)])
        evidence = [{key: getattr(item, key) for key in ("id", "source", "arguments", "text")} for item in found]
        reason = managed.subtasks[planned.name].reason
        packet = make_packet(name, done[name], before.task.expected_output, before.contract, evidence, reason)
        parts.append(apart_if(taint_in(done[name]), packet_text(packet), name))
    return "\n\n".join(parts)


# -- what failed


def _open_ids(managed: Managed) -> list[str]:
    results = {name: managed.done.get(name, {}) for name in managed.planned}
    return [name for name, result in results.items() if not has_output(result) and not _left_out(result)]


def _left_out(result: Mapping[str, Any]) -> bool:
    """Whether the task's own fallback says to go on without its output."""
    return bool(result.get("skipped")) and "fallback" in result


def _plan_again(managed: Managed) -> None:
    """Let the manager plan what failed, and what waited for it, anew: once. The offline manager cannot."""
    crew, open_ids = managed.crew, _open_ids(managed)
    failed = [(name, [_why_open(managed, name)]) for name in open_ids]
    if managed.offline:
        return
    nothing: dict[str, Any] = {}
    told = [
        (name, [apart_if(taint_in(managed.done.get(name, nothing)), why, name) for why in reasons])
        for name, reasons in failed
    ]
    finished = [
        (name, str(result.get("agent", "")), apart_if(taint_in(result), str(result["output"]), name))
        for name, result in managed.done.items()
        if has_output(result)
    ]
    limits = limits_as_journaled(managed, 0)
    request = plan_request(managed.brief, managed.team, managed.given, limits, finished, told)

    def read(text: str) -> tuple[WorkPlan | None, list[str]]:
        return read_for(managed, text, limits)

    about = crew.path("manager")
    plan = consult(crew.run, managed.manager, managed.lane("replan"), about, request, read, crew.reading)
    crew.decisions.record(
        "replan",
        [one.id for one in plan.subtasks],
        "; ".join(f"{name}: {reasons[0]}" for name, reasons in failed),
        evidence=[f"{one.id} → {one.agent}: {one.reason}" for one in plan.subtasks],
        by=managed.manager.name,
        plan=plan.model_dump(mode="json"),
        in_place_of=open_ids,
        below=f"{AGAIN}.",
    )
    for name in open_ids:
        managed.planned.pop(name)
        managed.subtasks.pop(name)
        managed.done.pop(name, None)
    crew.moved.update({one.id: f"{AGAIN}.{one.id}" for one in plan.subtasks})
    _take_plan(managed, plan)
    _work(managed, "again/")


def _why_open(managed: Managed, name: str) -> str:
    result = managed.done.get(name, {})
    return str(result.get("failed") or "it waited for what failed")


def _settle_failed(managed: Managed, name: str) -> None:
    """Let a person do what nobody could, or go on without it: the result says so."""
    crew, spec = managed.crew, managed.spec
    why = _why_open(managed, name)
    if spec.on_failure == "fail":
        crew.decisions.record("escalate", "fail", why, among=["ask", "partial", "fail"], about=name)
        raise Parked("failed", f"{name}: {why}")
    said: str | None = None
    if spec.on_failure == "ask":
        prompt = f"{name} could not be done. Write its output; Enter goes on without it"
        text = f"{managed.planned[name].task.description}\n\n{why}"
        question = Question(crew.path(name), prompt, text, kind="escalation")
        step = f"{crew.prefix}manager/escalation/{name}"
        asked = ask_person(crew.run, step, question, needed=spec.wait_for_person)
        if asked.rejected:
            why = f"{why}; a person would not do it: {asked.said}"
        else:
            said = asked.said
    if said:
        crew.decisions.record(
            "escalate", "a person did it", why, among=["a person", "partial"], by="person", about=name
        )
        managed.done[name] = {"output": said, "agent": "human", "partial": [], "by_person": True}
        return
    best = cast(Mapping[str, Any] | None, managed.done.get(name, {}).get("best"))
    note = f"not done: {why}" if best is None else f"below what was asked: {why}"
    crew.decisions.record("escalate", "partial", why, among=["a person", "partial"], about=name)
    managed.done[name] = {**(best or {}), "partial": [*(best or {}).get("partial", []), note], "unsettled": True}


def _results(managed: Managed) -> Done:
    """Return the results in the order of the plan, those that make up the result marked."""
    return {
        name: {**managed.done[name], "in_result": name in managed.result_ids}
        for name in managed.planned
        if name in managed.done
    }
