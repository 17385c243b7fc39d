"""Named state of a crew: what tasks wrote, folded in the order of the tasks, so that it never depends on timing."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from crews.planned import PlannedTask
from project.spec import StateSpec


def fold_state(specs: Mapping[str, StateSpec], writes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the state after these writes, given in the order of the tasks; what nobody wrote is left out.

    Without `merge` the later write counts; `append` and `union` take a value or a list of values.
    """
    state: dict[str, Any] = {}
    for written in writes:
        for name, value in written.items():
            if value is None:
                continue
            state[name] = value if name not in state else _merge(specs[name].merge, state[name], value)
            if name in state and specs[name].merge in ("append", "union"):
                state[name] = _listed(state[name])
    return state


def ancestors(tasks: Sequence[PlannedTask], name: str) -> list[str]:
    """Name every task that `name` waits for, directly or not, in the order of the crew."""
    waits = {task.name: task.waits_for for task in tasks}
    found: set[str] = set()
    open_names = list(waits.get(name, []))
    while open_names:
        one = open_names.pop()
        if one not in found:
            found.add(one)
            open_names += waits.get(one, [])
    return [task.name for task in tasks if task.name in found]


def written_by(planned: PlannedTask, value: Mapping[str, Any] | None) -> dict[str, Any]:
    """Take what a task writes into the state out of its output object."""
    return {name: value.get(name) for name in planned.task.writes} if value is not None else {}


def _merge(rule: str | None, old: Any, new: Any) -> Any:
    match rule:
        case "append":
            return [*_listed(old), *_listed(new)]
        case "union":
            known = _listed(old)
            return [*known, *(item for item in _listed(new) if item not in known)]
        case "sum":
            return old + new
        case "min":
            return min(old, new)
        case "max":
            return max(old, new)
        case _:
            return new


def _listed(value: Any) -> list[Any]:
    return list(cast(list[Any], value)) if isinstance(value, list) else [value]
