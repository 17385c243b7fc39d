"""Who is in a crew, and the placeholders of every text that is filled for it: the crew's inputs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from project.conditions import condition_inputs
from project.fill import ITEM_NAMES, dotted_placeholders, placeholders, texts_in
from project.spec import AgentSpec, CrewSpec, InputSpec, TaskSpec, ToolUse

Texts = tuple[str, str, str, list[str]]
"""File, entry, key, and the names of the placeholders under it."""


def named_by(task: TaskSpec) -> list[str]:
    """Name everybody whom a task names, each once, in order: who does it, makes candidates, reviews, judges."""
    names = [task.agent] if task.agent else []
    names += task.candidates.agents if task.candidates else []
    names += task.retry.agents if task.retry else []
    names += [way.agent for way in task.fallback if way.agent]
    names += [spec.by for spec in (task.review, task.judge) if spec is not None and spec.by]
    return list(dict.fromkeys(names))


def with_stand_ins(uses: Sequence[ToolUse]) -> list[ToolUse]:
    """Return these tools, each followed by those that may be called in its place."""
    return [one for use in uses for one in (use, *use.fallback)]


def crew_agents(crew: CrewSpec, tasks: Mapping[str, TaskSpec], agents: Mapping[str, AgentSpec]) -> list[str]:
    """Name every agent that may work in a crew, each once, in order; those of crews that act as agents are not in it.

    These are the agents whom its tasks name, those listed where work may be given to them by a manager or a delegating
    agent, the manager and its reviewer, and all to whom one of them may hand a task over.
    """
    doing = [name for task in crew.tasks if task in tasks for name in named_by(tasks[task])]
    delegates = any(agents[name].allow_delegation for name in doing if name in agents)
    names = doing + (crew.agents or [] if crew.process == "hierarchical" or delegates else [])
    if crew.manager is not None:
        names += [name for name in (crew.manager.agent, crew.manager.reviewer) if name]
    return _with_handoffs(names, agents)


def crew_texts(
    name: str, crew: CrewSpec, tasks: Mapping[str, TaskSpec], agents: Mapping[str, AgentSpec]
) -> Iterator[Texts]:
    """Yield the placeholders of each text of the crew called `name` that is filled, in the order of its tasks.

    Filled are the goal of the crew; description, expected_output, output_file, plain-language guardrails and criteria
    of tasks; role, goal and backstory of agents; the settings of tools; and the inputs of a pipeline's crews, where the
    name of another of its crews is no input.
    """
    if crew.goal:
        yield "crews.yaml", name, "goal", placeholders(crew.goal)
    yielded: set[str] = set()
    for task_name in crew.tasks:
        task = tasks.get(task_name)
        if task is None:
            continue
        for key, texts in _task_texts(task):
            yield "tasks.yaml", task_name, key, _named(texts, ITEM_NAMES if task.for_each is not None else ())
        for agent in _with_handoffs(named_by(task), agents):
            if agent not in yielded:
                yielded.add(agent)
                yield from _agent_texts(agent, agents[agent])
    for agent in crew_agents(crew, tasks, agents):
        if agent not in yielded:
            yield from _agent_texts(agent, agents[agent])
    for stage in crew.crews or []:
        yield "crews.yaml", name, "crews", _stage_inputs(stage.inputs, [other.crew for other in crew.crews or []])


def inputs_of(
    name: str,
    crews: Mapping[str, CrewSpec],
    tasks: Mapping[str, TaskSpec],
    agents: Mapping[str, AgentSpec],
    inside: frozenset[str] = frozenset(),
) -> dict[str, InputSpec]:
    """Return the inputs of a crew: those it lists, then each other placeholder of its texts, a required text.

    A pipeline has those of its crews, too, that it does not map. `inside` are the pipelines around it.
    """
    crew = crews[name]
    inputs = dict(crew.inputs)
    for _, _, _, names in crew_texts(name, crew, tasks, agents):
        for placeholder in names:
            inputs.setdefault(placeholder, InputSpec())
    for stage in crew.crews or []:
        if stage.crew not in crews or stage.crew in inside or stage.crew == name:
            continue
        for wanted, spec in inputs_of(stage.crew, crews, tasks, agents, inside | {name}).items():
            if wanted not in stage.inputs:
                inputs.setdefault(wanted, spec)
    return inputs


def used_inputs(
    name: str, crews: Mapping[str, CrewSpec], tasks: Mapping[str, TaskSpec], agents: Mapping[str, AgentSpec]
) -> set[str]:
    """Name every input of a crew that a text, a condition or a crew of the pipeline uses."""
    crew = crews[name]
    used = {found for _, _, _, names in crew_texts(name, crew, tasks, agents) for found in names}
    used.update(found for task in crew.tasks if task in tasks for found in condition_inputs(tasks[task]))
    for stage in crew.crews or []:
        if stage.crew in crews and stage.crew != name:
            wanted = inputs_of(stage.crew, crews, tasks, agents, frozenset({name}))
            used.update(found for found in wanted if found not in stage.inputs)
    return used


def _with_handoffs(names: Sequence[str], agents: Mapping[str, AgentSpec]) -> list[str]:
    """Name the agents among `names` and all to whom they may hand a task over, each once."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name in agents and name not in found:
            found[name] = None
            waiting += agents[name].handoffs
    return list(found)


def _task_texts(task: TaskSpec) -> Iterator[tuple[str, Any]]:
    yield "description", task.description
    yield "expected_output", task.expected_output
    yield "output_file", task.output_file
    yield "guardrails", [guardrail.text for guardrail in task.guardrails]
    yield "tools", [use.settings for use in with_stand_ins(task.tools or [])]
    yield "fallback", [way.text for way in task.fallback]
    for key, spec in (("review", task.review), ("refine", task.refine), ("judge", task.judge)):
        if spec is not None and spec.criteria:
            yield key, spec.criteria


def _agent_texts(name: str, agent: AgentSpec) -> Iterator[Texts]:
    for key, texts in (
        ("role", agent.role),
        ("goal", agent.goal),
        ("backstory", agent.backstory),
        ("tools", [use.settings for use in with_stand_ins(agent.tools)]),
    ):
        yield "agents.yaml", name, key, _named(texts, ())


def _named(texts: Any, leave: Sequence[str]) -> list[str]:
    found = [name for text in texts_in(texts) for name in placeholders(text)]
    return [name for name in dict.fromkeys(found) if name not in leave]


def _stage_inputs(mapped: Mapping[str, Any], stages: Sequence[str]) -> list[str]:
    found = [name for text in texts_in(dict(mapped)) for name, _ in dotted_placeholders(text)]
    return [name for name in dict.fromkeys(found) if name not in stages]
