"""What differs between two plans of one crew: for a task, for a manager, and for everything at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from crews.planned import CrewPlan, Member, Plan, PlannedTask
from project.conditions import condition_inputs
from project.crew_texts import named_by
from project.errors import AppError


@dataclass(frozen=True)
class Place:
    """Where in a plan something stands: the crew it belongs to, and that crew's path, "" or `stage.`."""

    scope: CrewPlan
    prefix: str
    name: str
    """The task, subtask or stage; a subtask that was planned anew has a dot in it."""

    @property
    def above(self) -> list[str]:
        """The paths of the workflows above it, the run's own, "", first."""
        names = self.prefix.split(".")[:-1]
        return [".".join(names[:count]) for count in range(len(names) + 1)]


def find_place(plan: Plan, path: str) -> Place:
    """Find what `path` names: `task`, `stage`, `stage.task`, a manager's subtask. Raises: AppError with the names."""
    scope: CrewPlan = plan
    prefix, rest = "", path
    while scope.stages:
        name, _, below = rest.partition(".")
        if name not in [stage.crew for stage in scope.stages]:
            known = ", ".join(f"{prefix}{stage.crew}" for stage in scope.stages)
            raise AppError(f"there is no stage {path!r} in crew {scope.crew}", fix=f"one of: {known}, or a task of one")
        if not below:
            return Place(scope, prefix, name)
        scope, prefix, rest = plan.crews[name], f"{prefix}{name}.", below
    if scope.process == "sequential" and rest not in [task.name for task in scope.tasks]:
        known = ", ".join(f"{prefix}{task.name}" for task in scope.tasks)
        raise AppError(f"there is no task {path!r} in crew {scope.crew}", fix=f"one of: {known}")
    return Place(scope, prefix, rest)


def task_changes(old: Plan, old_scope: CrewPlan, new: Plan, new_scope: CrewPlan, name: str) -> list[str]:
    """Say in what a task differs between two plans: its texts, agent, model, tools, contract, rules, helpers."""
    before = next((task for task in old_scope.tasks if task.name == name), None)
    after = next((task for task in new_scope.tasks if task.name == name), None)
    if before is None or after is None:
        return [] if before is after else ["is only in one of them"]
    found = _differing(_fields(before), _fields(after))
    if old.models.get(before.model) != new.models.get(after.model):
        found.append("model")
    for member in dict.fromkeys([*named_by(before.task), *before.agent.handoffs]):
        if member != before.agent_name:
            found += member_changes(old, old_scope, new, new_scope, member)
    if before.kind == "crew":
        found += crew_changes(old, new, before.agent_name)
    read = condition_inputs(before.task)
    found += [f"inputs.{key}" for key in read if old_scope.inputs.get(key) != new_scope.inputs.get(key)]
    return list(dict.fromkeys(found))


def _fields(planned: PlannedTask) -> dict[str, Any]:
    found = planned.model_dump(mode="json")
    task, agent = cast(dict[str, Any], found.pop("task")), cast(dict[str, Any], found.pop("agent"))
    found.pop("model")
    return {**found, **task, **{f"agent.{key}": value for key, value in agent.items()}}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    return [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]


def member_changes(old: Plan, old_scope: CrewPlan, new: Plan, new_scope: CrewPlan, name: str) -> list[str]:
    """Say in what a member of the crew differs: `writer.role`, `writer.model`."""
    before, after = old_scope.members.get(name), new_scope.members.get(name)
    if before is None or after is None:
        return [] if before is after else [name]
    keys = _differing(before.agent.model_dump(mode="json"), after.agent.model_dump(mode="json"))
    found = [f"{name}.{key}" for key in keys]
    if (before.kind, old.models.get(before.model)) != (after.kind, new.models.get(after.model)):
        found.append(f"{name}.model")
    return found + (crew_changes(old, new, name) if before.kind == "crew" else [])


def crew_changes(old: Plan, new: Plan, name: str) -> list[str]:
    """Say whether a crew that is a stage or does a task is another now, with all that it stands on."""
    before, after = old.crews.get(name), new.crews.get(name)
    if before is None or after is None or before != after:
        return [f"crew {name}"]
    members = [*before.members.values(), *([before.manager_member] if before.manager_member else [])]
    if any(old.models.get(member.model) != new.models.get(member.model) for member in members):
        return [f"crew {name}"]
    below = [stage.crew for stage in before.stages] + [m.name for m in members if m.kind == "crew"]
    return [change for other in below for change in crew_changes(old, new, other)]


def manager_changes(old: Plan, old_scope: CrewPlan, new: Plan, new_scope: CrewPlan) -> list[str]:
    """Say in what that differs which a manager has seen when it planned."""
    return _differing(_seen_by_manager(old, old_scope), _seen_by_manager(new, new_scope))


def _seen_by_manager(plan: Plan, scope: CrewPlan) -> dict[str, Any]:
    member = scope.manager_member
    seen: dict[str, Any] = {f"inputs.{name}": value for name, value in scope.inputs.items()}
    seen |= {"goal": scope.goal, "description": scope.description, "manager": scope.manager, "agents": scope.workers}
    if member is not None:
        seen |= {f"{member.name}.{key}": value for key, value in member.agent.model_dump(mode="json").items()}
        seen[f"{member.name}.model"] = plan.models.get(member.model)
    for worker in (scope.members[name] for name in scope.workers):
        seen |= _as_candidate(worker)
    for task in scope.tasks:
        given = (task.task.description, task.task.expected_output, task.agent_name, task.waits_for)
        tools = [use.name for use in task.task.tools] if task.task.tools is not None else None
        seen[f"task {task.name}"] = (*given, tools, task.contract is not None)
    return seen


def _as_candidate(member: Member) -> dict[str, Any]:
    tools = [use.name for use in member.agent.tools]
    shown = {"role": member.agent.role, "goal": member.agent.goal, "tools": tools, "kind": member.kind}
    return {f"{member.name}.{key}": value for key, value in shown.items()}


def plan_changes(old: Plan, new: Plan) -> list[tuple[str, list[str]]]:
    """Say in what two plans differ: names of tasks, stages, `manager` and `crew NAME`, each with its changes."""
    found: list[tuple[str, list[str]]] = []
    if (old.process, bool(old.stages)) != (new.process, bool(new.stages)):
        found.append(("crew", ["process"]))
    if "hierarchical" in (old.process, new.process):
        found.append(("manager", manager_changes(old, old, new, new)))
        for name in dict.fromkeys([*old.workers, *new.workers]):
            found.append((name, [key.partition(".")[2] or key for key in member_changes(old, old, new, new, name)]))
    found += [(name, task_changes(old, old, new, new, name)) for name in _names(old, new)]
    for name in dict.fromkeys([*old.crews, *new.crews]):
        found.append((f"crew {name}", ["differs"] if crew_changes(old, new, name) else []))
    return [(name, changes) for name, changes in found if changes]


def _names(old: CrewPlan, new: CrewPlan) -> Sequence[str]:
    return list(dict.fromkeys(task.name for scope in (old, new) for task in scope.tasks))
