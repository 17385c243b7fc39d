"""What only a crew shows: the order of its tasks, who does them, what they write, the inputs that its texts name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from project.checks import Findings, Note
from project.errors import Where
from project.fill import placeholders_in_settings
from project.hints import listed, nearest, quoted
from project.reader import Node
from project.spec import AgentSpec, CrewSpec, TaskSpec

_ALMOST = 0.75


@dataclass(frozen=True)
class Parts:
    """Specs and the trees that they were read from; without a tree, crews are implied."""

    agents: Mapping[str, AgentSpec]
    tasks: Mapping[str, TaskSpec]
    crews: Mapping[str, CrewSpec]
    trees: Mapping[str, Node] = field(default_factory=dict[str, Node])
    """By file name, such as `tasks.yaml`."""

    def node(self, file: str, entry: str, key: str) -> Node:
        """Return the value of a key, or the nearest thing around it that is written."""
        node = self.trees[file].entries[entry]
        return node.entries.get(key, node)


def check_crews(parts: Parts, findings: Findings) -> None:
    """Check every crew; each problem is told once, though several crews may have it."""
    for name, crew in parts.crews.items():
        _check_order(name, crew, parts, findings)
        _check_agents(name, crew, parts, findings)
        _check_output_files(name, crew, parts, findings)
        _check_inputs(name, crew, parts, findings)
    _note_unused(parts, findings)


def crew_texts(
    crew: CrewSpec, tasks: Mapping[str, TaskSpec], agents: Mapping[str, AgentSpec]
) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield the placeholders of each text of a crew that is filled: file, entry, key, names; in the order of its tasks.

    Filled are role, goal and backstory; description, expected_output, output_file and plain-language guardrails; and
    the settings of tools.
    """
    for task_name in crew.tasks:
        task = tasks.get(task_name)
        if task is None:
            continue
        for key, texts in (
            ("description", task.description),
            ("expected_output", task.expected_output),
            ("output_file", task.output_file),
            ("guardrails", [guardrail.text for guardrail in task.guardrails]),
            ("tools", [use.settings for use in task.tools or []]),
        ):
            yield "tasks.yaml", task_name, key, placeholders_in_settings(texts)
        agent = agents.get(task.agent)
        if agent is None:
            continue
        for key, texts in (
            ("role", agent.role),
            ("goal", agent.goal),
            ("backstory", agent.backstory),
            ("tools", [use.settings for use in agent.tools]),
        ):
            yield "agents.yaml", task.agent, key, placeholders_in_settings(texts)


def _check_order(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    implied = "crews.yaml" not in parts.trees
    for position, task_name in enumerate(crew.tasks):
        for needed in parts.tasks[task_name].context or [] if task_name in parts.tasks else []:
            where = _context_place(parts, task_name, needed)
            if needed == task_name:
                findings.wrong(where, "a task cannot read its own output", f"take `{needed}` out of the context")
            elif needed not in crew.tasks:
                what = f"{quoted(needed)} is not among the tasks of the crew `{name}`"
                findings.wrong(
                    where, what, f"add `{needed}` to the crew before `{task_name}`, or take it out of the context"
                )
            elif crew.tasks.index(needed) > position:
                place = "in this file" if implied else f"in the crew `{name}`"
                what = f"{quoted(needed)} comes after `{task_name}` {place}, so it has no output yet"
                findings.wrong(where, what, f"put `{needed}` before `{task_name}`")


def _context_place(parts: Parts, task_name: str, needed: str) -> Where:
    node = parts.node("tasks.yaml", task_name, "context")
    return next((item.here() for item in node.items if item.value == needed), node.here())


def _check_agents(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    if crew.agents is None:
        return
    node = parts.node("crews.yaml", name, "agents")
    working = {parts.tasks[task].agent: task for task in reversed(crew.tasks) if task in parts.tasks}
    for agent, task in reversed(working.items()):
        if agent in parts.agents and agent not in crew.agents:
            what = f"{quoted(agent)} does the task `{task}` but is not listed"
            findings.wrong(node.here(), what, f"add `{agent}`, or leave `agents:` out")
    for item in node.items:
        if item.value in crew.agents and item.value not in working:
            findings.notes.append(Note(item.here(), f"{quoted(item.value)} does none of the crew's tasks"))


def _check_output_files(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    writers: dict[str, str] = {}
    for task_name in crew.tasks:
        task = parts.tasks.get(task_name)
        if task is None or not task.output_file:
            continue
        path = "/".join(part for part in task.output_file.split("/") if part not in ("", ".")).lower()
        first = writers.setdefault(path, task_name)
        if first != task_name:
            where = parts.node("tasks.yaml", task_name, "output_file").here()
            what = f"the task `{first}` of the crew `{name}` writes the same file"
            findings.wrong(where, what, "give each task a file of its own")


def _check_inputs(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    used: set[str] = set()
    unlisted: dict[str, Where] = {}
    for file, entry, key, found in crew_texts(crew, parts.tasks, parts.agents):
        used.update(found)
        for placeholder in found if crew.inputs else []:
            if placeholder in crew.inputs:
                continue
            node = parts.node(file, entry, key)
            close = nearest(placeholder, list(crew.inputs), _ALMOST)
            if close is None:
                unlisted.setdefault(placeholder, node.here())
                continue
            what = f"`{{{placeholder}}}` is not among the inputs of the crew `{name}`"
            fix = f"did you mean `{{{close}}}`? if not, add `{placeholder}` to the inputs: {listed(crew.inputs)}"
            findings.wrong(node.here(), what, fix)
    for placeholder, where in unlisted.items():
        text = f"`{{{placeholder}}}` is not among the inputs of the crew `{name}`, so it is a text that must be given"
        findings.notes.append(Note(where, text))
    for declared in crew.inputs:
        if declared not in used:
            inputs = parts.node("crews.yaml", name, "inputs")
            findings.notes.append(Note(inputs.entries[declared].at_key(), "no text of the crew uses this input"))


def _note_unused(parts: Parts, findings: Findings) -> None:
    if "crews.yaml" in parts.trees:
        listed_tasks = {task for crew in parts.crews.values() for task in crew.tasks}
        for name in parts.tasks:
            if name not in listed_tasks:
                findings.notes.append(Note(parts.trees["tasks.yaml"].entries[name].at_key(), "no crew has this task"))
    working = {task.agent for task in parts.tasks.values()}
    for name in parts.agents:
        if name not in working:
            findings.notes.append(
                Note(parts.trees["agents.yaml"].entries[name].at_key(), "no task is done by this agent")
            )
