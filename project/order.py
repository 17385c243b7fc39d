"""Which task of a crew waits for which, and what is wrong with that order."""

from collections.abc import Mapping, Sequence

from project.checks import Findings
from project.conditions import condition_state, condition_tasks
from project.hints import quoted
from project.parts import Parts, item_place
from project.spec import CrewSpec, TaskSpec


def task_reads(crew: CrewSpec, tasks: Mapping[str, TaskSpec]) -> dict[str, list[str]]:
    """Say which outputs each task of the crew reads, as CrewAI means it: those that `context` lists.

    Without `context` a task of a sequential crew reads all earlier ones, but an asynchronous task not those that run
    asynchronously beside it. The tasks of a hierarchical crew read only what `context` lists.
    """
    reads: dict[str, list[str]] = {}
    finished: list[str] = []
    pending: list[str] = []
    for name in (name for name in crew.tasks if name in tasks):
        task = tasks[name]
        if not task.async_execution:
            finished += pending
            pending = []
        implied = list(finished) if crew.process == "sequential" else []
        reads[name] = implied if task.context is None else list(task.context)
        (pending if task.async_execution else finished).append(name)
    return reads


def state_writers(crew: CrewSpec, tasks: Mapping[str, TaskSpec], name: str) -> list[str]:
    """Name the earlier tasks that write state which the task or its conditions read: it waits for them."""
    wanted = {*tasks[name].reads, *condition_state(tasks[name])}
    earlier = crew.tasks[: crew.tasks.index(name)]
    return [other for other in earlier if other in tasks and wanted.intersection(tasks[other].writes)]


def task_waits(crew: CrewSpec, tasks: Mapping[str, TaskSpec]) -> dict[str, list[str]]:
    """Say for which tasks of the crew each one waits: those whose outputs or state it or its conditions read."""
    waits: dict[str, list[str]] = {}
    for name, reads in task_reads(crew, tasks).items():
        named = [*reads, *condition_tasks(tasks[name]), *state_writers(crew, tasks, name)]
        waits[name] = [other for other in dict.fromkeys(named) if other in crew.tasks and other in tasks]
    return waits


def tasks_before(waits: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Say which tasks must be done before each one, directly or not; where tasks wait in a circle, itself as well."""
    before: dict[str, set[str]] = {}
    for name, others in waits.items():
        before[name] = found = set[str]()
        waiting = list(others)
        while waiting:
            other = waiting.pop()
            if other in found:
                continue
            found.add(other)
            if other in before and other != name and name not in before[other]:
                found |= before[other]
            else:
                waiting += waits.get(other, ())
    return before


def check_order(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    """Check that what tasks read comes before them; in a hierarchical crew, that they do not wait in a circle."""
    for task_name, task in parts.tasks_of(crew):
        for needed in task.context or []:
            _check_context(needed, task_name, name, parts, findings)
    if crew.process == "hierarchical":
        _check_circles(crew, parts, findings)


def find_circle(edges: Mapping[str, Sequence[str]], start: str) -> list[str]:
    """Return the names on the shortest way from `start` back to it, `start` first and last; [] where there is none."""
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for other in edges.get(way[-1], ()):
            if other == start:
                return [*way, start]
            if other not in seen:
                seen.add(other)
                ways.append([*way, other])
    return []


def _check_context(needed: str, task_name: str, name: str, parts: Parts, findings: Findings) -> None:
    crew = parts.crews[name]
    where = item_place(parts.node("tasks.yaml", task_name, "context"), needed)
    if needed == task_name:
        findings.wrong(where, "a task cannot read its own output", f"take `{needed}` out of the context")
    elif needed not in crew.tasks:
        what = f"{quoted(needed)} is not among the tasks of the crew `{name}`"
        before = f" before `{task_name}`" if crew.process == "sequential" else ""
        findings.wrong(where, what, f"add `{needed}` to the crew{before}, or take it out of the context")
    elif crew.process == "sequential" and crew.tasks.index(needed) > crew.tasks.index(task_name):
        place = "in this file" if parts.implied else f"in the crew `{name}`"
        what = f"{quoted(needed)} comes after `{task_name}` {place}, so it has no output yet"
        findings.wrong(where, what, f"put `{needed}` before `{task_name}`")


def _check_circles(crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    waits = task_waits(crew, parts.tasks)
    told: set[str] = set()
    for task_name in waits:
        circle = find_circle(waits, task_name)
        if len(circle) > 2 and not told.intersection(circle):
            told.update(circle)
            node = parts.node("tasks.yaml", task_name)
            key = next((key for key in ("context", "when", "for_each", "reads") if key in node.entries), "context")
            where = item_place(node.entries.get(key, node), circle[1])
            what = f"the tasks wait for each other: {' → '.join(circle)}"
            findings.wrong(where, what, f"take one of them out of `{key}`")
