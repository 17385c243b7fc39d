"""What a manager's plan must keep to: the team, the tools, the order, the given tasks, the brief, the ceilings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crews.brief import Brief
from crews.subtasks import GivenTask, Limits, Member, Subtask, WorkPlan, shares_nothing_new
from project.hints import listed, nearest, quoted, shortened
from project.names import ENTRY_NAME

CALLS_A_SUBTASK = 2
"""Model calls that a subtask takes at the least: one to do it, one to judge or mend it."""


@dataclass(frozen=True)
class _Plan:
    subtasks: Sequence[Subtask]
    result: Sequence[str]
    members: Mapping[str, Member]
    given: Mapping[str, GivenTask]
    done_ids: Sequence[str]
    finished: Sequence[Subtask]
    manager: str

    @property
    def ids(self) -> list[str]:
        return [subtask.id for subtask in self.subtasks if subtask.id]

    @property
    def partly_known(self) -> bool:
        """Whether there are finished subtasks of which only the ids are known."""
        return len(self.done_ids) > len(self.finished)


def check_plan(
    plan: WorkPlan,
    *,
    team: Sequence[Member],
    given: Sequence[GivenTask],
    brief: Brief | None,
    limits: Limits,
    done_ids: Sequence[str] = (),
    finished: Sequence[Subtask] = (),
    manager: str = "",
) -> list[str]:
    """Return every reason why the crew cannot work by this plan, each with what would mend it; [] is a good plan.

    What is empty is passed over: whoever read the plan has said so already.
    """
    seen = _Plan(
        plan.subtasks,
        plan.result,
        {member.name: member for member in team},
        {task.name: task for task in given},
        done_ids,
        finished,
        manager,
    )
    rules = [] if brief is None else [rule.id for rule in brief.done]
    reasons = [*_check_ids(seen), *_check_size(seen, limits)]
    for subtask in plan.subtasks:
        label = f"subtask {quoted(subtask.id)}" if subtask.id else "a subtask without id"
        checks: tuple[Callable[[_Plan, Subtask], Iterator[str]], ...]
        checks = (_check_agent, _check_reason, _check_needs, _check_tools, _check_able, _check_task)
        reasons += [f"{label}: {reason}" for check in checks for reason in check(seen, subtask)]
        reasons += [f"{label}: {reason}" for reason in _check_covers(subtask, rules)]
    reasons += [*_check_circles(seen), *_check_twins(seen), *_check_given(seen), *_check_result(seen)]
    return [*reasons, *(_check_covered(seen, brief) if brief is not None else ())]


def find_circles(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return circles among names that wait for each other, each once and closed: a, b, a. None shares a name."""
    left = {name: [one for one in waits if one in needs and one != name] for name, waits in needs.items()}
    circles: list[list[str]] = []
    while left:
        free = [name for name, waits in left.items() if not any(one in left for one in waits)]
        if not free:
            path = [next(iter(left))]
            while (following := next(one for one in left[path[-1]] if one in left)) not in path:
                path.append(following)
            free = path[path.index(following) :]
            circles.append([*free, following])
        for name in free:
            del left[name]
    return circles


def _check_ids(plan: _Plan) -> Iterator[str]:
    for name in dict.fromkeys(plan.ids):
        if not ENTRY_NAME.fullmatch(name):
            fix = "use at most 64 of A-Z, a-z, 0-9, `_` and `-`, and begin with a letter"
            yield f"subtask {quoted(name)}: the id is not a name; {fix}"
        if (times := plan.ids.count(name)) > 1:
            yield f"{times} subtasks have the id {quoted(name)}; give each its own"
        if name in plan.done_ids:
            yield f"subtask {quoted(name)}: a finished subtask has this id; read it by `depends_on`, or take another id"


def _check_size(plan: _Plan, limits: Limits) -> Iterator[str]:
    count = len(plan.subtasks)
    if count > limits.max_subtasks:
        yield f"the plan has {count} subtasks; at most {limits.max_subtasks} are allowed: join some"
    left = limits.model_calls_left
    people = {name for name, member in plan.members.items() if member.kind == "human"}
    calling = sum(1 for subtask in plan.subtasks if subtask.agent not in people)
    if left is not None and calling * CALLS_A_SUBTASK > left:
        most = left // CALLS_A_SUBTASK
        fix = f"plan at most {most} subtask{'s' * (most != 1)}" if most else "not even one subtask fits"
        yield (
            f"{calling} subtasks need at least {calling * CALLS_A_SUBTASK} model calls, {CALLS_A_SUBTASK} each, "
            f"and {left} are left: {fix}"
        )


def _check_agent(plan: _Plan, subtask: Subtask) -> Iterator[str]:
    if not subtask.agent:
        return
    if subtask.agent == plan.manager:
        yield f"the manager {quoted(plan.manager)} cannot do a subtask itself; {_team(plan)}"
    elif subtask.agent not in plan.members:
        yield f"unknown agent {quoted(subtask.agent)}; {_instead(subtask.agent, plan)}"


def _check_reason(plan: _Plan, subtask: Subtask) -> Iterator[str]:
    member = plan.members.get(subtask.agent)
    known = [subtask.agent, "agent", *([member.role] if member else [])]
    if subtask.reason and shares_nothing_new(subtask.reason, known):
        yield (
            f"`reason` {quoted(subtask.reason)} only repeats the agent's name; "
            "say which of its tools or abilities this takes"
        )


def _check_needs(plan: _Plan, subtask: Subtask) -> Iterator[str]:
    known = [*plan.ids, *plan.done_ids]
    for name in subtask.depends_on:
        if name == subtask.id:
            yield f"`depends_on` names the subtask itself; take {quoted(name)} out"
        elif name not in known:
            yield f"`depends_on` names the unknown subtask {quoted(name)}; {_meant(name, known, 'the subtasks')}"


def _check_tools(plan: _Plan, subtask: Subtask) -> Iterator[str]:
    member = plan.members.get(subtask.agent)
    if subtask.tools is None or member is None:
        return
    allowed = _allowed_tools(plan, subtask, member)
    holders = {tool: one.name for one in plan.members.values() if one.name != plan.manager for tool in one.tools}
    fixed = {tool for task in plan.given.values() for tool in task.tools or ()}
    for tool in subtask.tools:
        if tool in allowed:
            continue
        if tool in holders or tool in fixed:
            other = f"give the subtask to {quoted(holders[tool])}, or " if tool in holders else ""
            has = f"it may use {listed(allowed)}" if allowed else "it has no tools, so leave `tools` out"
            yield f"{quoted(member.name)} does not have the tool {quoted(tool)}; {other}take it out: {has}"
        else:
            yield f"unknown tool {quoted(tool)}; {_meant(tool, list(allowed) or list(holders), 'the tools')}"


def _allowed_tools(plan: _Plan, subtask: Subtask, member: Member) -> Sequence[str]:
    task = plan.given.get(subtask.task or "")
    return member.tools if task is None or task.tools is None else task.tools


def _check_able(plan: _Plan, subtask: Subtask) -> Iterator[str]:
    task = plan.given.get(subtask.task or "")
    handed = set(task.tools or ()) if task else set[str]()
    for name in subtask.able:
        member = plan.members.get(name)
        if name == plan.manager:
            yield f"`able` names the manager {quoted(name)}, which does no subtask itself; take it out"
        elif member is None:
            yield f"`able` names the unknown agent {quoted(name)}; {_instead(name, plan)}"
        elif lacking := [tool for tool in subtask.tools or () if tool not in member.tools and tool not in handed]:
            yield f"`able` names {quoted(name)}, which does not have the tools {listed(lacking)}; take it out"


def _check_task(plan: _Plan, subtask: Subtask) -> Iterator[str]:
    if subtask.task is None:
        return
    task = plan.given.get(subtask.task)
    if task is None:
        fix = _meant(subtask.task, list(plan.given), "the given tasks") if plan.given else "leave `task` out"
        yield f"`task` names the unknown task {quoted(subtask.task)}; {fix}"
        return
    if task.agent is not None and subtask.agent and subtask.agent != task.agent:
        yield f"tasks.yaml gives the task {quoted(task.name)} to {quoted(task.agent)}; set `agent` to that"
    if task.has_contract and subtask.output is not None:
        yield f"tasks.yaml fixes the output of the task {quoted(task.name)}; leave `output` out"
    carriers = {one.task: one.id for one in (*plan.finished, *plan.subtasks) if one.task and one.id}
    for need in task.needs:
        carrier = carriers.get(need)
        if carrier is not None and carrier not in subtask.depends_on:
            yield (
                f"the task {quoted(task.name)} reads the task {quoted(need)}; "
                f'add "{shortened(carrier)}" to its `depends_on`'
            )


def _check_covers(subtask: Subtask, rules: Sequence[str]) -> Iterator[str]:
    for name in subtask.covers:
        if name not in rules:
            fix = f"the brief has {listed(rules)}" if rules else "the brief has none, so leave `covers` out"
            yield f"`covers` names the unknown done-rule {quoted(name)}; {fix}"


def _check_circles(plan: _Plan) -> Iterator[str]:
    for circle in find_circles({subtask.id: subtask.depends_on for subtask in plan.subtasks if subtask.id}):
        path = " → ".join(shortened(name) for name in circle)
        yield f"subtasks wait for each other in a circle: {path}; take one of these out of a `depends_on`"


def _check_twins(plan: _Plan) -> Iterator[str]:
    first: dict[tuple[str, str], str] = {}
    for subtask in plan.subtasks:
        what = (" ".join(subtask.description.split()).casefold(), " ".join(subtask.expected_output.split()).casefold())
        twin = first.setdefault(what, subtask.id)
        if twin != subtask.id and subtask.id and all(what) and subtask.task is None:
            yield f"subtasks {quoted(twin)} and {quoted(subtask.id)} do the same; keep one, or say how they differ"


def _check_given(plan: _Plan) -> Iterator[str]:
    carried = [subtask.task for subtask in plan.subtasks]
    finished = [subtask.task for subtask in plan.finished]
    for name in plan.given:
        times = carried.count(name)
        if times > 1:
            yield f"{times} subtasks carry out the task {quoted(name)}; keep one of them"
        elif times and name in finished:
            yield f"a finished subtask has carried out the task {quoted(name)} already; leave it out"
        elif not times and name not in finished and not plan.partly_known:
            yield f'no subtask carries out the task {quoted(name)}; add one with "task": "{shortened(name)}"'


def _check_result(plan: _Plan) -> Iterator[str]:
    known = [*plan.ids, *plan.done_ids]
    for name in plan.result:
        if name not in known:
            yield f"`result` names the unknown subtask {quoted(name)}; {_meant(name, known, 'the subtasks')}"


def _check_covered(plan: _Plan, brief: Brief) -> Iterator[str]:
    if plan.partly_known:
        return
    covered = {name for subtask in (*plan.finished, *plan.subtasks) for name in subtask.covers}
    for rule in brief.done:
        if rule.id not in covered:
            yield (
                f"no subtask covers the brief's done-rule {rule.id} ({shortened(rule.text)}); "
                f'add "{rule.id}" to the `covers` of the subtask that is to meet it'
            )


def _instead(name: str, plan: _Plan) -> str:
    """Suggest a member: the one whose role it is, or the nearest name."""
    members = [member for member in plan.members.values() if member.name != plan.manager]
    roles = {member.role.casefold(): member.name for member in members}
    close = roles.get(name.casefold()) or nearest(name, [member.name for member in members])
    return f"did you mean `{close}`? {_team(plan)}" if close else _team(plan)


def _team(plan: _Plan) -> str:
    return f"the team: {listed([name for name in plan.members if name != plan.manager])}"


def _meant(name: str, known: Sequence[str], lead: str) -> str:
    close = nearest(name, known)
    everything = f"{lead}: {listed([shortened(one) for one in dict.fromkeys(known)])}" if known else "there are none"
    return f"did you mean {quoted(close)}?" if close else everything
