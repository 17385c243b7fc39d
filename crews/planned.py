"""A crew resolved: everything that a task refers to stands beside it. What a run carries from start to end."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeVar

from project.fill import ITEM_NAMES, fill, fill_settings, map_texts
from project.spec import (
    AgentSpec,
    BudgetSpec,
    FallbackSpec,
    FieldSpec,
    InputSpec,
    ManagerSpec,
    ModelSpec,
    QueueSpec,
    Spec,
    StageSpec,
    StateSpec,
    TaskSpec,
    ToolUse,
)
from project.spec_policy import PolicySpec

_S = TypeVar("_S", TaskSpec, AgentSpec)

Value = str | int | float


class Member(Spec):
    """Somebody who can do work: an agent, a crew, or a person."""

    name: str
    """A key of agents.yaml or crews.yaml, or `human`."""
    kind: Literal["agent", "crew", "human"] = "agent"
    """What it is."""
    agent: AgentSpec
    """The agent; of a crew and of a person, only a role and a goal."""
    model: str = ""
    """A key of the plan's `models`; "" where it has none."""


class PlannedTask(Spec):
    """One task with its placeholders filled and everything it refers to beside it."""

    name: str
    """Its key in tasks.yaml, or its id in the manager's plan."""
    task: TaskSpec
    """The task."""
    agent_name: str
    """Who does it: a name of the crew's `members`; "" where the manager decides."""
    agent: AgentSpec
    """The agent."""
    kind: Literal["agent", "crew", "human"] = "agent"
    """What that member is."""
    needs: list[str]
    """Tasks whose outputs it reads, in order; it starts when they are done."""
    after: list[str] = []
    """Further tasks it waits for: its conditions name them, or they write state that it reads."""
    tools: list[ToolUse]
    """The tools it may call."""
    contract: dict[str, FieldSpec] | None
    """The contract's fields, where it has one."""
    model: str
    """A key of the plan's `models`."""

    def given_to(self, member: Member) -> "PlannedTask":
        """Return the task as `member` would do it: with its role, model and, unless the task has its own, tools."""
        return self.model_copy(
            update={
                "agent_name": member.name,
                "agent": member.agent,
                "kind": member.kind,
                "model": member.model,
                "tools": self.task.tools if self.task.tools is not None else member.agent.tools,
            }
        )

    @property
    def waits_for(self) -> list[str]:
        """Every task that must be done before it."""
        return list(dict.fromkeys([*self.needs, *self.after]))


class CrewPlan(Spec):
    """One crew, resolved."""

    crew: str
    """The crew's name."""
    description: str = ""
    """What it is for."""
    goal: str = ""
    """What it is to reach; "" where crews.yaml does not say."""
    process: Literal["sequential", "hierarchical"] = "sequential"
    """How the work is walked."""
    inputs: dict[str, Value] = {}
    """The inputs with which its texts were filled."""
    wanted: dict[str, InputSpec] = {}
    """The inputs it takes."""
    tasks: list[PlannedTask] = []
    """Tasks in the order of the crew; of a hierarchical one, the manager's given tasks."""
    members: dict[str, Member] = {}
    """Everybody whom the crew or its tasks name."""
    workers: list[str] = []
    """Members to whom a manager may give work."""
    manager: ManagerSpec | None = None
    """How a hierarchical crew is led."""
    manager_member: Member | None = None
    """Who leads it."""
    stages: list[StageSpec] = []
    """The crews of a pipeline."""
    state: dict[str, StateSpec] = {}
    """Named state."""

    def task(self, name: str) -> PlannedTask:
        """Return the task called `name`. Raises: StopIteration when there is none."""
        return next(task for task in self.tasks if task.name == name)


class Plan(CrewPlan):
    """What one run does. Stored with the run, once; editing YAML never changes a run under way."""

    models: dict[str, ModelSpec]
    """The models used, by name."""
    model_reasons: dict[str, str]
    """Why each was chosen."""
    crews: dict[str, CrewPlan] = {}
    """Crews that are a stage or do a task, not filled: their inputs are known when they start."""
    budget: BudgetSpec
    """Ceilings, the command line's already in place of the crew's."""
    deadline_seconds: float | None = None
    """Seconds of the run from its first start; waiting for a person does not count."""
    queue: QueueSpec = QueueSpec()
    """Where the run waits for a worker, where it is queued."""
    policy: PolicySpec | None = None
    """What its agents may do. None: it was started before there were policies, and goes on as it began."""
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


def fill_crew(scope: CrewPlan, inputs: Mapping[str, Value]) -> CrewPlan:
    """Put `inputs` in the place of the placeholders of every text of the crew.

    Raises: AppError (exit 3) for a placeholder without a value.
    """
    members = {name: _filled_member(member, inputs) for name, member in scope.members.items()}
    tasks: list[PlannedTask] = []
    for planned in scope.tasks:
        task = fill_task(planned.task, inputs)
        owner = members.get(planned.agent_name)
        agent = owner.agent if owner is not None else planned.agent
        tools = task.tools if task.tools is not None else agent.tools
        tasks.append(planned.model_copy(update={"task": task, "agent": agent, "tools": tools}))
    changes: dict[str, Any] = {"inputs": dict(inputs), "tasks": tasks, "members": members}
    changes["goal"] = fill(scope.goal, inputs)
    if scope.manager_member is not None:
        changes["manager_member"] = _filled_member(scope.manager_member, inputs)
    return scope.model_copy(update=changes)


def _filled_member(member: Member, inputs: Mapping[str, Value]) -> Member:
    return member if member.kind != "agent" else member.model_copy(update={"agent": _filled(member.agent, inputs, ())})


def fill_task(task: TaskSpec, inputs: Mapping[str, Value]) -> TaskSpec:
    """Fill the texts of a task; `{item}` and `{number}` of one with `for_each` stay as they are."""
    leave = ITEM_NAMES if task.for_each is not None else ()
    filled = _filled(task, inputs, leave)
    changes: dict[str, Any] = {
        "guardrails": [
            rule.model_copy(update={"text": fill(rule.text, inputs, leave)}) if rule.text else rule
            for rule in task.guardrails
        ]
    }
    for name in ("review", "refine", "judge"):
        pattern = getattr(task, name)
        if pattern is not None and pattern.criteria:
            criteria = [fill(text, inputs, leave) for text in pattern.criteria]
            changes[name] = pattern.model_copy(update={"criteria": criteria})
    if task.fallback:
        changes["fallback"] = [fill_way(way, lambda text: fill(text, inputs, leave)) for way in task.fallback]
    return filled.model_copy(update=changes)


def fill_way(way: FallbackSpec, filled: Callable[[str], str]) -> FallbackSpec:
    """Fill the fixed output of a fallback, a text or the texts of an object."""
    if way.text is None:
        return way
    text = filled(way.text) if isinstance(way.text, str) else map_texts(way.text, filled)
    return way.model_copy(update={"text": text})


def _filled(spec: _S, inputs: Mapping[str, Value], leave: Collection[str]) -> _S:
    changes: dict[str, Any] = {}
    for name in _TEXT_FIELDS[type(spec)]:
        text = getattr(spec, name)
        if text is not None:
            changes[name] = fill(text, inputs, leave)
    if spec.tools:
        changes["tools"] = [fill_use(use, lambda given: fill_settings(given, inputs, leave)) for use in spec.tools]
    return spec.model_copy(update=changes)


def fill_use(use: ToolUse, filled: Callable[[Mapping[str, Any]], dict[str, Any]]) -> ToolUse:
    """Fill the settings of a tool and of those that may be called in its place."""
    changes: dict[str, Any] = {"settings": filled(use.settings)}
    if use.fallback:
        changes["fallback"] = [fill_use(other, filled) for other in use.fallback]
    return use.model_copy(update=changes)


_TEXT_FIELDS: dict[type[Spec], tuple[str, ...]] = {
    AgentSpec: ("role", "goal", "backstory"),
    TaskSpec: ("description", "expected_output", "output_file"),
}
