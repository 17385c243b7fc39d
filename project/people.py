"""Who does what: agents, crews and people as workers of a task, its reviewers and judges, and managers of crews."""

from collections.abc import Iterator, Mapping

from project.checks import Findings, Note
from project.crew_texts import crew_agents, inputs_of, named_by
from project.errors import Where
from project.hints import listed, quoted, suggest
from project.names import HUMAN
from project.order import find_circle
from project.parts import Parts, item_place, stage_node
from project.reader import Node
from project.spec import CrewSpec, FieldSpec, TaskSpec

TASK_INPUTS = ("task", "goal", "topic", "question")
"""Inputs that get the description of a task, where a crew that acts as an agent needs no other."""

_NOT_FOR_PEOPLE = ("tools", "review", "refine", "candidates", "judge", "retry", "fallback",
                   "min_confidence", "check_goal", "human_input", "offline")  # fmt: skip


def check_workers(parts: Parts, findings: Findings) -> None:
    """Check, task by task, whether who does it can do it, and whether reviewers and judges are others."""
    for name, task in parts.tasks.items():
        if task.agent == HUMAN:
            _check_person(name, task, parts, findings)
        elif task.agent is not None and _is_crew(task.agent, parts):
            _check_crew_as_agent(name, task, task.agent, parts, findings)
        _check_agent_is_there(name, task, parts, findings)
        _check_reviewer(name, task, parts, findings)
        _check_judge(name, task, parts, findings)
        _check_fallback(name, task, parts, findings)


def check_agents(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    """Check the agents that a crew lists, and who leads it."""
    if crew.agents is not None:
        _check_listed(name, crew, parts, findings)
    if HUMAN in (crew.agents or ()) and crew.process == "sequential":
        where = item_place(parts.node("crews.yaml", name, "agents"), HUMAN)
        fix = f"take `{HUMAN}` out; a task says `agent: {HUMAN}`"
        findings.wrong(where, "a person is given work by name, or by a manager", fix)
    if crew.process == "hierarchical" and not crew.crews:
        _check_manager(name, crew, parts, findings)


def check_circles(parts: Parts, findings: Findings) -> None:
    """Check that no crew contains itself, by its tasks' agents, its agents or its crews."""
    edges = {name: dict(_inner_crews(name, parts)) for name in parts.crews}
    ways = {name: list(inner) for name, inner in edges.items()}
    told: set[str] = set()
    for name in parts.crews:
        circle = find_circle(ways, name)
        if circle and not told.intersection(circle):
            told.update(circle)
            what = f"the crew `{name}` contains itself: {' → '.join(circle)}"
            findings.wrong(edges[name][circle[1]], what, f"take `{circle[1]}` out of the crew `{name}`")


def note_idle_agents(parts: Parts, findings: Findings) -> None:
    """Note every agent that nobody names."""
    working = {name for task in parts.tasks.values() for name in named_by(task)}
    working.update(name for crew in parts.crews.values() for name in crew_agents(crew, parts.tasks, parts.agents))
    working.update(name for agent in parts.agents.values() for name in agent.handoffs)
    for name in parts.agents:
        if name not in working:
            where = parts.trees["agents.yaml"].entries[name].at_key()
            findings.notes.append(Note(where, "no task is done by this agent"))


def _is_crew(name: str, parts: Parts) -> bool:
    return name in parts.crews and name not in parts.agents and not parts.implied


def _check_person(name: str, task: TaskSpec, parts: Parts, findings: Findings) -> None:
    node = parts.node("tasks.yaml", name)
    for key in _NOT_FOR_PEOPLE:
        if getattr(task, key) and key in node.entries:
            what = f"a person does this task, and `{key}` is for agents"
            findings.wrong(node.entries[key].at_key(), what, f"take `{key}` out, or give the task to an agent")
    if any(guardrail.text for guardrail in task.guardrails):
        place = node.entries.get("guardrails", node.entries.get("guardrail", node))
        what = "a person does this task, and no model judges their answer"
        findings.wrong(place.at_key(), what, "use rules and functions, such as `- words: {min: 20}`")


def _check_crew_as_agent(name: str, task: TaskSpec, crew: str, parts: Parts, findings: Findings) -> None:
    node = parts.node("tasks.yaml", name)
    _check_task_input(crew, node.entries["agent"].here() if "agent" in node.entries else node.here(), parts, findings)
    for key in ("tools", "refine", "review", "human_input", "check_goal"):
        if getattr(task, key) and key in node.entries:
            what = f"a crew does this task, and `{key}` is for agents"
            findings.wrong(node.entries[key].at_key(), what, f"put `{key}` where the crew `{crew}` has it")


def _check_task_input(crew: str, where: Where, parts: Parts, findings: Findings) -> None:
    """Check that it is clear which input of a crew gets the description of a task."""
    inputs = inputs_of(crew, parts.crews, parts.tasks, parts.agents)
    required = [name for name, spec in inputs.items() if spec.default is None]
    one = "give all but one a default under its `inputs:`"
    if len(required) > 1:
        what = f"the crew `{crew}` needs {len(required)} inputs, and a task gives it one: {listed(required)}"
        findings.wrong(where, what, one)
    elif required and inputs[required[0]].type != "text":
        what = f"the crew `{crew}` needs `{required[0]}`, which is no text, and a task gives it a text"
        findings.wrong(where, what, f"give `{required[0]}` a default under its `inputs:`")
    elif not required and not any(name in inputs and inputs[name].type == "text" for name in TASK_INPUTS):
        what = f"the crew `{crew}` has no input that could take a task"
        findings.wrong(where, what, f"give it one of these inputs: {listed(TASK_INPUTS)}")


def _check_agent_is_there(name: str, task: TaskSpec, parts: Parts, findings: Findings) -> None:
    node = parts.node("tasks.yaml", name)
    written = node.entries.get("agent")
    if task.agent is not None or not parts.crews_known or (written is not None and written.value is not None):
        return
    crews = [crew for crew, spec in parts.crews.items() if name in spec.tasks]
    alone = [crew for crew in crews if parts.crews[crew].process == "sequential"]
    if not alone:
        return
    where = node.at_key("agent") if written is None else written.here()
    why = f": no manager chooses one in the crew `{alone[0]}`" if len(crews) > len(alone) else ""
    what = "missing" if written is None else "is empty"
    findings.wrong(where, f"{what}{why}", "a task needs description, expected_output, agent")


def _check_reviewer(name: str, task: TaskSpec, parts: Parts, findings: Findings) -> None:
    if task.review is None or not task.review.by or task.review.by != task.agent:
        return
    where = parts.node("tasks.yaml", name, "review", "by").here()
    fix = "name another agent, or let it check its own work by `refine: true`"
    findings.wrong(where, f"{quoted(task.review.by)} does the task, so it cannot review it", fix)


def _check_judge(name: str, task: TaskSpec, parts: Parts, findings: Findings) -> None:
    node = parts.node("tasks.yaml", name)
    for key, other, fix in (
        ("candidates", "judge", "name the agent who chooses: `judge: AGENT`"),
        ("judge", "candidates", "say how many there are to choose from: `candidates: 3`"),
    ):
        there, missing = node.entries.get(key), node.entries.get(other)
        if there is not None and there.value is not None and (missing is None or missing.value is None):
            findings.wrong(there.at_key(), f"`{key}` needs `{other}`", fix)
    if task.candidates is None or task.judge is None or not task.judge.by:
        return
    makers = task.candidates.agents or ([task.agent] if task.agent else [])
    if task.judge.by in makers:
        what = f"{quoted(task.judge.by)} makes a candidate, so it cannot judge"
        findings.wrong(parts.node("tasks.yaml", name, "judge", "by").here(), what, "name another agent")


def _check_fallback(name: str, task: TaskSpec, parts: Parts, findings: Findings) -> None:
    """Check that what is done in place of a task can be done, and differs from what has failed."""
    node = parts.node("tasks.yaml", name).entries.get("fallback")
    if node is None or not task.fallback:
        return
    contract = parts.contract(task)
    for item in node.items if node.is_list else (node,):
        for key, child in item.entries.items():
            if key == "agent" and child.value == task.agent:
                what = f"{quoted(str(child.value))} does the task already"
                findings.wrong(child.here(), what, "name another agent; `retry: 3` lets it try again")
            elif key == "agent" and task.review is not None and child.value == task.review.by:
                what = f"{quoted(str(child.value))} reviews the task, so it cannot do it"
                findings.wrong(child.here(), what, "name another agent")
            elif key in ("model", "llm") and task.agent is not None and _is_crew(task.agent, parts):
                what = f"the crew `{task.agent}` does this task, and its agents have their own models"
                findings.wrong(child.at_key(), what, "name another agent, or give the models in models.yaml a fallback")
            elif key == "text" and (task.output is None or contract is not None):
                _check_text(child, contract, findings)


def _check_text(node: Node, contract: Mapping[str, FieldSpec] | None, findings: Findings) -> None:
    """Check the fixed output of a fallback against the contract of its task."""
    if contract is None:
        if node.is_mapping:
            findings.wrong(node.here(), "must be text: the task has no contract", 'write `- text: "..."`')
        return
    if not node.is_mapping:
        what = f"must be a mapping with the fields of the contract, got {node.got()}"
        findings.wrong(node.here(), what, f"write `- text: {{{next(iter(contract), 'field')}: ...}}`")
        return
    for field, child in node.entries.items():
        if field not in contract:
            fix = suggest(field, list(contract), "its fields are")
            findings.wrong(child.at_key(), f"the contract has no field {quoted(field)}", fix)
    missing = [field for field, spec in contract.items() if not spec.optional and field not in node.entries]
    if missing:
        findings.wrong(node.here(), f"lacks {listed(missing)} of the contract", "give every field that is not optional")


def _check_listed(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    node = parts.node("crews.yaml", name, "agents")
    agents = crew.agents or []
    working = {task.agent: task_name for task_name, task in reversed(list(parts.tasks_of(crew))) if task.agent}
    for agent, task_name in reversed(working.items()):
        if (agent in parts.agents or _is_crew(agent, parts)) and agent not in agents:
            what = f"{quoted(agent)} does the task `{task_name}` but is not listed"
            findings.wrong(node.here(), what, f"add `{agent}`, or leave `agents:` out")
    for agent in agents:
        if _is_crew(agent, parts):
            _check_task_input(agent, item_place(node, agent), parts, findings)
    busy = {*working, *crew_agents(crew, parts.tasks, parts.agents)}
    for agent in agents if crew.process == "sequential" else []:
        if agent not in busy:
            findings.notes.append(Note(item_place(node, agent), f"{quoted(agent)} does none of the crew's tasks"))


def _check_manager(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    doing = [task.agent for _, task in parts.tasks_of(crew) if task.agent]
    workers = list(dict.fromkeys([*(crew.agents or []), *doing]))
    node = parts.node("crews.yaml", name)
    if not workers and "agents" in node.entries and node.entries["agents"].value not in (None, []):
        return
    if not workers:
        what = "a manager needs agents to give work to"
        findings.wrong(node.at_key("agents"), what, "list them: `agents: [researcher, writer]`")
    manager = crew.manager.agent if crew.manager is not None else None
    if manager and manager in workers:
        key = "manager_agent" if "manager_agent" in node.entries else "manager"
        place = parts.node("crews.yaml", name, key, "agent")
        what = f"{quoted(manager)} leads the crew, so it cannot be one of its workers"
        findings.wrong(place.here(), what, "name another agent, or a model: `manager: {model: NAME}`")
    if len(workers) == 1 or len(crew.tasks) == 1:
        text = "a manager adds model calls and nothing else here; `process: sequential` does the same"
        findings.notes.append(Note(node.entries["process"].at_key(), text))


def _inner_crews(name: str, parts: Parts) -> Iterator[tuple[str, Where]]:
    """Yield the crews that a crew is made of, with the place that says so; the first place of each counts."""
    crew = parts.crews[name]
    for stage in crew.crews or []:
        node = parts.node("crews.yaml", name, "crews")
        yield stage.crew, stage_node(node, stage.crew).here()
    for agent in crew.agents or []:
        if _is_crew(agent, parts):
            yield agent, item_place(parts.node("crews.yaml", name, "agents"), agent)
    for task_name, task in parts.tasks_of(crew):
        if task.agent and _is_crew(task.agent, parts):
            yield task.agent, parts.node("tasks.yaml", task_name, "agent").here()
