"""A project's crew → a plan: order, agents, tools, models and ceilings resolved, placeholders filled."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from crews.input_checks import check_inputs
from crews.planned import CrewPlan, Member, Plan, PlannedTask, Value, fill_crew
from models.choose import Choice, choose_model
from project.conditions import condition_tasks
from project.crew_texts import crew_agents, named_by
from project.errors import AppError
from project.inputs import crew_inputs, find_crew
from project.load import Project
from project.names import HUMAN
from project.order import state_writers, task_reads
from project.spec import AgentSpec, BudgetSpec, CrewSpec, FieldSpec, ManagerSpec
from tasks.contracts import read_contract

_PERSON = AgentSpec(role="Person", goal="Do what only a person can do", backstory="A person at the terminal.")
_MANAGER = AgentSpec(
    role="Manager",
    goal="Get the work done by the right specialists, and make one result of it",
    backstory=(
        "You lead a small team. You say what is to be done and how one sees that it is done, cut it into few clear "
        "pieces, give each to the member who is best at it, and never invent what the team did not deliver."
    ),
)


def plan_crew(
    project: Project,
    crew_name: str,
    inputs: Mapping[str, Value],
    environ: Mapping[str, str],
    *,
    model: str | None = None,
    budget: BudgetSpec | None = None,
    code: Mapping[str, str] | None = None,
    unset: Collection[str] = (),
) -> Plan:
    """Resolve `crew_name` with `inputs` into a plan; inputs in `unset` hold no value yet, and are not checked.

    Raises: AppError (exit 3) for an unknown crew, model or missing input, and for an input that breaks a guardrail.
    """
    resolver = _Resolver(project, environ, model)
    found = resolver.crew(crew_name)
    check_inputs(found.wanted, inputs, unset)
    scope = fill_crew(found, inputs)
    return Plan(
        **{name: getattr(scope, name) for name in CrewPlan.model_fields},
        models={name: choice.spec for name, choice in resolver.models.items()},
        model_reasons={name: choice.reason for name, choice in resolver.models.items()},
        crews=resolver.nested,
        budget=merge_budgets(find_crew(project, crew_name).budget, budget),
        deadline_seconds=find_crew(project, crew_name).deadline_seconds,
        queue=find_crew(project, crew_name).queue,
        policy=project.policy,
        code=dict(code or {}),
        project=str(project.root),
        project_digest=project.digest,
    )


class _Resolver:
    """Resolves a crew and the crews it stands on; gathers the models they use."""

    def __init__(self, project: Project, environ: Mapping[str, str], option: str | None) -> None:
        self._project, self._environ, self._option = project, environ, option
        self.models: dict[str, Choice] = {}
        self.nested: dict[str, CrewPlan] = {}

    def crew(self, name: str) -> CrewPlan:
        """Resolve one crew; those it names go into `nested`."""
        project = self._project
        crew = find_crew(project, name)
        members = {member: self._member(member) for member in _member_names(project, crew)}
        needs = task_reads(crew, project.tasks)
        planned = [self._task(task, needs[task], crew, members) for task in crew.tasks]
        manager = (crew.manager or ManagerSpec()) if crew.process == "hierarchical" else None
        stages = crew.crews or []
        for other in [stage.crew for stage in stages] + [m.name for m in members.values() if m.kind == "crew"]:
            if other not in self.nested:
                self.nested[other] = self.crew(other)
        return CrewPlan(
            crew=name,
            description=crew.description,
            goal=crew.goal or "",
            process=crew.process,
            wanted=crew_inputs(project, name),
            tasks=planned,
            members=members,
            workers=_workers(crew, members, planned, manager),
            manager=manager,
            manager_member=self._manager(manager) if manager else None,
            stages=stages,
            state=crew.state,
        )

    def _task(self, name: str, needs: list[str], crew: CrewSpec, members: Mapping[str, Member]) -> PlannedTask:
        task = self._project.tasks[name]
        contract = dict(self._project.contracts[task.output]) if isinstance(task.output, str) else task.output
        for way in task.fallback:
            if way.model is not None:
                self._stand_in(way.model)
            if isinstance(way.text, dict) and contract is not None:
                _check_fixed(name, way.text, contract)
        after = [*condition_tasks(task), *state_writers(crew, self._project.tasks, name)]
        planned = PlannedTask(
            name=name,
            task=task,
            agent_name="",
            agent=_PERSON,
            needs=needs,
            after=[other for other in dict.fromkeys(after) if other not in needs],
            tools=task.tools or [],
            contract=contract,
            model="",
        )
        return planned if task.agent is None else planned.given_to(members[task.agent])

    def _member(self, name: str) -> Member:
        if name == HUMAN:
            return Member(name=name, kind="human", agent=_PERSON)
        if name not in self._project.agents:
            crew = self._project.crews[name]
            goal = crew.goal or crew.description or f"What the crew {name} does"
            return Member(name=name, kind="crew", agent=AgentSpec(role=f"Crew {name}", goal=goal, backstory="A crew."))
        agent = self._project.agents[name]
        return Member(name=name, agent=agent, model=self._model(agent.llm))

    def _manager(self, spec: ManagerSpec) -> Member:
        agent = self._project.agents[spec.agent] if spec.agent else _MANAGER
        return Member(name=spec.agent or "manager", agent=agent, model=self._model(spec.model or agent.llm))

    def _model(self, llm: str | None) -> str:
        choice = choose_model(self._option, llm, self._project.models, self._environ)
        self.models[choice.name] = choice
        self._chain(choice)
        return choice.name

    def _stand_in(self, name: str) -> None:
        """Resolve a model that is named for the time when another one fails: `--model` does not replace it."""
        if name not in self.models:
            choice = choose_model(None, name, self._project.models, self._environ)
            self.models[name] = replace(choice, reason="a fallback")
            self._chain(choice)

    def _chain(self, choice: Choice) -> None:
        for other in choice.spec.fallback:
            self._stand_in(other)


def _member_names(project: Project, crew: CrewSpec) -> list[str]:
    """Name everybody who may work in the crew, each once: its agents, then crews and people who act as one."""
    named = [name for task in crew.tasks for name in named_by(project.tasks[task])]
    named += (crew.agents or []) if crew.process == "hierarchical" else []
    others = [name for name in named if name not in project.agents]
    return list(dict.fromkeys([*crew_agents(crew, project.tasks, project.agents), *others]))


def _workers(
    crew: CrewSpec, members: Mapping[str, Member], tasks: Sequence[PlannedTask], manager: ManagerSpec | None
) -> list[str]:
    """Name those to whom work may be given: the crew's agents, or those who do its tasks."""
    names = list(crew.agents or dict.fromkeys(task.agent_name for task in tasks if task.agent_name))
    names += [task.agent_name for task in tasks if task.agent_name and task.agent_name not in names]
    leading = {manager.agent, manager.reviewer} if manager is not None else set[str | None]()
    return [name for name in dict.fromkeys(names) if name in members and name not in leading]


def _check_fixed(name: str, fixed: Mapping[str, Any], contract: Mapping[str, FieldSpec]) -> None:
    """Check the fixed output of a fallback. Raises: AppError (exit 3) where it breaks the contract."""
    _, problems = read_contract(json.dumps(fixed), contract)
    if problems:
        what = f"{name}: the `text` of its fallback breaks the contract: {'; '.join(problems[:3])}"
        raise AppError(what, fix="write the fields as the contract has them", exit_code=3)


def find_waves(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Group tasks by when they can start at the earliest: each wave needs only the waves before it."""
    waves: list[list[str]] = []
    placed: set[str] = set()
    while len(placed) < len(needs):
        wave = [name for name, reads in needs.items() if name not in placed and placed.issuperset(reads)]
        if not wave:
            raise AppError("the tasks read each other in a circle", exit_code=3)
        waves.append(wave)
        placed.update(wave)
    return waves


def merge_budgets(crew: BudgetSpec, option: BudgetSpec | None) -> BudgetSpec:
    """Put the ceilings of the command line in place of the crew's."""
    return crew if option is None else crew.model_copy(update=option.model_dump(exclude_none=True))
