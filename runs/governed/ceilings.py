"""Which ceilings apply to a run beside its own: of single calls, tasks, agents, its schedule's day, its project."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

from crews.planned import Member, Plan
from models.choose import chain_of
from policy.budget import RUN, Scope
from project.cron import read_zone
from project.spec import BudgetSpec, PriceSpec
from project.spec_policy import CallBudgetSpec, PolicySpec
from project.spec_schedules import ScheduleSpec
from runs.governed.ledger import Shared


@dataclass(frozen=True)
class Ceilings:
    """The ceilings of a run beside its own, as its plan says."""

    call: CallBudgetSpec = field(default_factory=CallBudgetSpec)
    """Of each call of a model."""
    tasks: Mapping[str, BudgetSpec] = field(default_factory=dict[str, BudgetSpec])
    """Of tasks, by name."""
    agents: Mapping[str, BudgetSpec] = field(default_factory=dict[str, BudgetSpec])
    """Of agents in all their tasks, by name."""
    shared: Sequence[Shared] = ()
    """Of days and months, shared with other runs."""

    def counting(self) -> list[BudgetSpec]:
        """Return those that count more than one call."""
        return [*self.tasks.values(), *self.agents.values(), *(one.budget for one in self.shared)]


def ceilings_of(plan: Plan, origin: Mapping[str, Any]) -> Ceilings:
    """Return the ceilings that a plan has beside those of the run. `origin` says which schedule started it, if any."""
    scopes = (plan, *plan.crews.values())
    tasks = {task.name: task.task.budget for scope in scopes for task in scope.tasks if task.task.budget is not None}
    agents = {one.name: one.agent.budget for one in _members(plan) if one.agent.budget is not None}
    name = Path(plan.project).name
    shared = [*_of_schedule(name, origin), *project_ceilings(name, plan.policy)]
    call = plan.policy.budgets.call if plan.policy is not None else CallBudgetSpec()
    return Ceilings(call, tasks, agents, shared)


def project_ceilings(project: str, policy: PolicySpec | None) -> list[Shared]:
    """Return the ceilings of all runs of a project together, by the name of its folder."""
    if policy is None:
        return []
    name, budgets = f"project {project}", policy.budgets
    found: list[Shared] = []
    if budgets.day is not None:
        found.append(
            Shared(Scope("this day", "`budgets: day:` in policy.yaml"), budgets.day, name, "day", project=project)
        )
    if budgets.month is not None:
        found.append(
            Shared(
                Scope("this month", "`budgets: month:` in policy.yaml"), budgets.month, name, "month", project=project
            )
        )
    return found


def day_of_schedule(spec: ScheduleSpec) -> dict[str, Any]:
    """Return what a run must know of its schedule's day, as part of its origin; nothing where there is no ceiling."""
    if spec.daily_budget is None:
        return {}
    return {"daily_budget": spec.daily_budget.model_dump(mode="json", exclude_none=True), "timezone": spec.timezone}


def schedule_ceilings(project: str, name: str, budget: BudgetSpec, timezone: str) -> Shared:
    """Return the ceilings of all runs of a schedule in one day of its time zone."""
    scope = Scope(f"the day of schedule {name}", "`daily_budget:` in schedules.yaml")
    zone = read_zone(timezone) or UTC
    return Shared(scope, budget, f"schedule {project}/{name}", "day", zone, project=project, schedule=name)


def _of_schedule(project: str, origin: Mapping[str, Any]) -> list[Shared]:
    if "daily_budget" not in origin:
        return []
    budget = BudgetSpec.model_validate(origin["daily_budget"])
    return [schedule_ceilings(project, str(origin["schedule"]), budget, str(origin["timezone"]))]


def unpriced(
    plan: Plan, budget: BudgetSpec, beside: Ceilings, prices: Mapping[str, tuple[PriceSpec | None, str]]
) -> tuple[str, str] | None:
    """Return a model of unknown price that would be asked under a ceiling in dollars, and that ceiling; else None."""
    unknown = [name for name, (price, source) in prices.items() if price is None and source != "offline"]
    wide = [(RUN, budget.max_usd), *((one.scope, one.budget.max_usd) for one in beside.shared)]
    wide.append((Scope("a call"), beside.call.max_usd))
    for scope, ceiling in wide:
        if ceiling is not None and unknown:
            return unknown[0], scope.ceiling("max_usd")
    for scope, model in _asked_under_dollars(plan):
        for name in chain_of(model, plan.models):
            if name in unknown:
                return name, scope.ceiling("max_usd")
    return None


def _asked_under_dollars(plan: Plan) -> Iterator[tuple[Scope, str]]:
    """Return the tasks and agents that have a ceiling in dollars, with the model that each asks first."""
    for scope in (plan, *plan.crews.values()):
        for task in scope.tasks:
            if task.model and task.task.budget is not None and task.task.budget.max_usd is not None:
                yield Scope(f"task {task.name}"), task.model
    for member in _members(plan):
        if member.model and member.agent.budget is not None and member.agent.budget.max_usd is not None:
            yield Scope(f"agent {member.name}"), member.model


def _members(plan: Plan) -> Iterator[Member]:
    for scope in (plan, *plan.crews.values()):
        yield from scope.members.values()
        if scope.manager_member is not None:
            yield scope.manager_member
