"""A crew, ready to run: order, agents, tools, models and ceilings resolved. The plan is the spec that a run carries."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from models.choose import Choice, choose_model
from project.errors import AppError
from project.fill import fill, fill_settings
from project.inputs import find_crew
from project.load import Project
from project.spec import AgentSpec, BudgetSpec, CrewSpec, FieldSpec, ModelSpec, Spec, TaskSpec, ToolUse

_S = TypeVar("_S", TaskSpec, AgentSpec)


class PlannedTask(Spec):
    """One task with its placeholders filled and everything it refers to beside it."""

    name: str
    """Its key in tasks.yaml."""
    task: TaskSpec
    """The task."""
    agent_name: str
    """The agent's key in agents.yaml."""
    agent: AgentSpec
    """The agent."""
    needs: list[str]
    """Tasks whose outputs it reads, in order; it starts when they are done."""
    tools: list[ToolUse]
    """The tools it may call."""
    contract: dict[str, FieldSpec] | None
    """The contract's fields, where it has one."""
    model: str
    """A key of the plan's `models`."""


class Plan(Spec):
    """What one run does. Stored with the run, once; editing YAML never changes a run under way."""

    crew: str
    """The crew's name."""
    inputs: dict[str, str | int | float]
    """The run's inputs."""
    tasks: list[PlannedTask]
    """Tasks in the order of the crew; the last one's output is the result."""
    models: dict[str, ModelSpec]
    """The models used, by name."""
    model_reasons: dict[str, str]
    """Why each was chosen."""
    budget: BudgetSpec
    """Ceilings, the command line's already in place of the crew's."""
    code: dict[str, str]
    """User tool and guardrail files: path → sha256."""
    project: str
    """The project folder, absolute."""
    project_digest: str
    """Digest of the project's files as they were."""

    @property
    def offline(self) -> bool:
        """Whether any of its models is the offline one."""
        return any(model.model == "offline" for model in self.models.values())


def plan_crew(
    project: Project,
    crew_name: str,
    inputs: Mapping[str, str | int | float],
    environ: Mapping[str, str],
    *,
    model: str | None = None,
    budget: BudgetSpec | None = None,
    code: Mapping[str, str] | None = None,
) -> Plan:
    """Resolve `crew_name` with `inputs` into a plan.

    Raises: AppError (exit 3) for an unknown crew, model or missing input.
    """
    crew = find_crew(project, crew_name)
    needs = find_needs(project, crew)
    planned: list[PlannedTask] = []
    models: dict[str, Choice] = {}
    for name in crew.tasks:
        task = _filled(project.tasks[name], inputs)
        agent = _filled(project.agents[task.agent], inputs)
        choice = choose_model(model, agent.llm, project.models, environ)
        models[choice.name] = choice
        tools = task.tools if task.tools is not None else agent.tools
        contract = dict(project.contracts[task.output]) if isinstance(task.output, str) else task.output
        planned.append(
            PlannedTask(
                name=name,
                task=task,
                agent_name=task.agent,
                agent=agent,
                needs=needs[name],
                tools=tools,
                contract=contract,
                model=choice.name,
            )
        )
    return Plan(
        crew=crew_name,
        inputs=dict(inputs),
        tasks=planned,
        models={name: choice.spec for name, choice in models.items()},
        model_reasons={name: choice.reason for name, choice in models.items()},
        budget=merge_budgets(crew.budget, budget),
        code=dict(code or {}),
        project=str(project.root),
        project_digest=project.digest,
    )


def find_needs(project: Project, crew: CrewSpec) -> dict[str, list[str]]:
    """Say which outputs each task reads, as CrewAI means it.

    `context` lists them; without it a task reads all earlier ones, but an asynchronous task not those that run
    asynchronously beside it.
    """
    needs: dict[str, list[str]] = {}
    finished: list[str] = []
    pending: list[str] = []
    for name in crew.tasks:
        task = project.tasks[name]
        if task.async_execution:
            needs[name] = list(finished) if task.context is None else list(task.context)
            pending.append(name)
            continue
        finished += pending
        pending = []
        needs[name] = list(finished) if task.context is None else list(task.context)
        finished.append(name)
    return needs


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


def _filled(spec: _S, inputs: Mapping[str, str | int | float]) -> _S:
    changes: dict[str, Any] = {}
    for name in _TEXT_FIELDS[type(spec)]:
        text = getattr(spec, name)
        if text is not None:
            changes[name] = fill(text, inputs)
    if isinstance(spec, TaskSpec):
        changes["guardrails"] = [
            rule.model_copy(update={"text": fill(rule.text, inputs)}) if rule.text else rule for rule in spec.guardrails
        ]
    if spec.tools:
        changes["tools"] = [
            use.model_copy(update={"settings": fill_settings(use.settings, inputs)}) for use in spec.tools
        ]
    return spec.model_copy(update=changes)


_TEXT_FIELDS: dict[type[Spec], tuple[str, ...]] = {
    AgentSpec: ("role", "goal", "backstory"),
    TaskSpec: ("description", "expected_output", "output_file"),
}
