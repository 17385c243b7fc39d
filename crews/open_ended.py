"""Models under a ceiling whose answers have no length of their own."""

from collections.abc import Mapping

from models.choose import OFFLINE, choose_model
from models.prices import longest_answer
from policy.budget import counts_answers
from project.load import Project


def open_ended(project: Project, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what is to be known of models without `max_tokens` that a ceiling in dollars or tokens may apply to."""
    budgets, crews = project.policy.budgets, project.crews.values()
    daily = (schedule.daily_budget for schedule in project.schedules.values())
    begun = (schedule.budget for schedule in project.schedules.values())
    wide = (budgets.call, budgets.day, budgets.month, *(crew.budget for crew in crews), *daily, *begun)
    tasks = {task.agent for task in project.tasks.values() if counts_answers(task.budget)}
    everywhere = any(map(counts_answers, wide))
    asked = [
        agent.llm or "default"
        for name, agent in project.agents.items()
        if everywhere or name in tasks or counts_answers(agent.budget)
    ]
    names = [*project.models, *asked] if everywhere else asked
    specs = {name: choose_model(None, name, project.models, environ).spec for name in names}
    told = (
        "its answers end where what is reserved for them does, at 4096 tokens or earlier, under max_usd and max_tokens"
    )
    return {
        name: f"model {name} has no `max_tokens`: {told}"
        for name, spec in specs.items()
        if spec.model != OFFLINE and longest_answer(spec) is None
    }
