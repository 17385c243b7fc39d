"""What only a crew shows: the order of its tasks, who does them, what they write, the inputs that its texts name."""

from project.checks import Findings, Note
from project.condition_names import check_conditions, check_items
from project.conditions import condition_tasks
from project.crew_texts import crew_texts, used_inputs
from project.errors import Where
from project.fill import ITEM_NAMES
from project.hints import listed, nearest
from project.order import check_order
from project.parts import Parts
from project.people import check_agents, check_circles, check_workers, note_idle_agents
from project.shared_state import check_state
from project.spec import CrewSpec
from project.stages import check_stages

__all__ = ["check_crews", "condition_tasks"]

_ALMOST = 0.75


def check_crews(parts: Parts, findings: Findings) -> None:
    """Check every crew; each problem is told once, though several crews may have it."""
    check_workers(parts, findings)
    check_items(parts, findings)
    check_circles(parts, findings)
    for name, crew in parts.crews.items():
        check_order(name, crew, parts, findings)
        check_agents(name, crew, parts, findings)
        check_conditions(name, parts, findings)
        check_state(name, crew, parts, findings)
        check_stages(name, parts, findings)
        _check_goal(name, crew, parts, findings)
        _check_output_files(name, crew, parts, findings)
        _check_inputs(name, crew, parts, findings)
    _note_unused(parts, findings)


def _check_goal(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    for task_name, task in parts.tasks_of(crew):
        if task.check_goal and not crew.goal:
            where = parts.node("tasks.yaml", task_name, "check_goal").at_key()
            fix = f"add `goal:` to the crew `{name}`" if not parts.implied else "write crews.yaml, with `goal:`"
            findings.wrong(where, f"the crew `{name}` has no goal to check against", fix)


def _check_output_files(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    writers: dict[str, str] = {}
    for task_name, task in parts.tasks_of(crew):
        if not task.output_file:
            continue
        path = "/".join(part for part in task.output_file.split("/") if part not in ("", ".")).lower()
        first = writers.setdefault(path, task_name)
        if first != task_name:
            where = parts.node("tasks.yaml", task_name, "output_file").here()
            what = f"the task `{first}` of the crew `{name}` writes the same file"
            findings.wrong(where, what, "give each task a file of its own")


def _check_inputs(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    unlisted: dict[str, Where] = {}
    for file, entry, key, found in crew_texts(name, crew, parts.tasks, parts.agents):
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
    _note_hidden_inputs(name, crew, parts, findings)
    used = used_inputs(name, parts.crews, parts.tasks, parts.agents)
    for declared in crew.inputs:
        if declared not in used:
            inputs = parts.node("crews.yaml", name, "inputs")
            findings.notes.append(Note(inputs.entries[declared].at_key(), "no text of the crew uses this input"))


def _note_hidden_inputs(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    each = [task_name for task_name, task in parts.tasks_of(crew) if task.for_each is not None]
    for declared in crew.inputs:
        if each and declared in ITEM_NAMES:
            where = parts.node("crews.yaml", name, "inputs", declared).at_key()
            text = f"in the texts of `{each[0]}`, `{{{declared}}}` means the entry of its list, not this input"
            findings.notes.append(Note(where, text))


def _note_unused(parts: Parts, findings: Findings) -> None:
    if not parts.implied:
        listed_tasks = {task for crew in parts.crews.values() for task in crew.tasks}
        for name in parts.tasks:
            if name not in listed_tasks:
                findings.notes.append(Note(parts.trees["tasks.yaml"].entries[name].at_key(), "no crew has this task"))
    note_idle_agents(parts, findings)
