"""The named state of a crew: who writes it, who reads it, and whether that fits."""

from collections.abc import Mapping

from project.checks import Findings, Note
from project.conditions import condition_state
from project.errors import Where
from project.hints import listed, quoted, suggest
from project.order import task_waits, tasks_before
from project.parts import Parts, item_place
from project.spec import CrewSpec, StateSpec, TaskSpec

_NUMBERS = ("int", "float")


def check_state(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    """Check what the tasks of a crew read and write of its state."""
    before = tasks_before(task_waits(crew, parts.tasks)) if crew.state else {}
    for task_name, task in parts.tasks_of(crew):
        for key, names in (("reads", task.reads), ("writes", task.writes)):
            for piece in names:
                if piece not in crew.state:
                    where = item_place(parts.node("tasks.yaml", task_name, key), piece)
                    _report_unknown(piece, name, crew, where, findings)
        for piece in task.reads:
            if piece in crew.state:
                _check_written(piece, task_name, crew, before[task_name] - {task_name}, parts, findings)
        for piece in task.writes:
            if piece in crew.state:
                _check_write(piece, task_name, task, name, parts, findings)
    for piece, spec in crew.state.items():
        if spec.merge is None:
            _check_side_by_side(piece, name, crew, before, parts, findings)
    _note_unused(name, crew, parts, findings)


def check_condition_state(
    piece: str, task_name: str, name: str, where: Where, before: set[str], parts: Parts, findings: Findings
) -> None:
    """Check a piece of state that a condition reads: it is there, and a task of those `before` writes it."""
    crew = parts.crews[name]
    if piece not in crew.state:
        _report_unknown(piece, name, crew, where, findings)
        return
    if not any(piece in parts.tasks[other].writes for other in before):
        _report_unwritten(piece, task_name, where, crew, parts, findings)


def _report_unknown(piece: str, name: str, crew: CrewSpec, where: Where, findings: Findings) -> None:
    what = f"{quoted(piece)} is not in the state of the crew `{name}`"
    nothing = f"add `state: {{{piece}: str}}` to the crew `{name}`"
    findings.wrong(where, what, suggest(piece, list(crew.state), "its state has", nothing))


def _check_written(
    piece: str, task_name: str, crew: CrewSpec, before: set[str], parts: Parts, findings: Findings
) -> None:
    if not any(piece in parts.tasks[other].writes for other in before):
        where = item_place(parts.node("tasks.yaml", task_name, "reads"), piece)
        _report_unwritten(piece, task_name, where, crew, parts, findings)


def _report_unwritten(
    piece: str, task_name: str, where: Where, crew: CrewSpec, parts: Parts, findings: Findings
) -> None:
    writers = [other for other, task in parts.tasks_of(crew) if piece in task.writes and other != task_name]
    what = f"no task before `{task_name}` writes {quoted(piece)}"
    if not writers:
        findings.wrong(where, what, f"add `writes: [{piece}]` to a task before it")
    else:
        findings.wrong(where, what, f"put `{writers[0]}` before it, and name it under `context` of `{task_name}`")


def _check_write(piece: str, task_name: str, task: TaskSpec, name: str, parts: Parts, findings: Findings) -> None:
    where = item_place(parts.node("tasks.yaml", task_name, "writes"), piece)
    spec = parts.crews[name].state[piece]
    if isinstance(task.output, str) and task.output not in parts.contracts:
        return
    contract = parts.contract(task)
    if contract is None:
        what = f"`writes` needs `output:` with a field {quoted(piece)}"
        findings.wrong(where, what, f'add `output: {{{piece}: "{spec.type}"}}`')
    elif piece not in contract:
        what = f"`output:` has no field {quoted(piece)} to be written into the state"
        findings.wrong(where, what, suggest(piece, list(contract), "its fields are"))
    elif contract[piece].type not in _fitting(spec):
        what = f"the field {quoted(piece)} is {contract[piece].type}, and the state of the crew `{name}` is {spec.type}"
        kinds = " or ".join(_fitting(spec))
        findings.wrong(where, what, f"make the field {kinds}")
    if task.for_each is not None and spec.merge is None:
        what = f"the task is done for each entry of a list, and {quoted(piece)} has no `merge`"
        fix = "append, union" if spec.type.startswith("list") else "sum, min, max" if spec.type in _NUMBERS else ""
        more = f"say how the values become one: `merge:` takes {fix}" if fix else "make it a list with `merge: append`"
        findings.wrong(where, what, more)


def _fitting(spec: StateSpec) -> list[str]:
    """Name the types of a field that may be written into a piece of state."""
    kinds: list[str] = [spec.type]
    if spec.merge in ("append", "union"):
        kinds.append(spec.type.removeprefix("list[").removesuffix("]"))
    if spec.type in ("float", "list[float]"):
        kinds += [kind.replace("float", "int") for kind in kinds]
    return kinds


def _check_side_by_side(
    piece: str, name: str, crew: CrewSpec, before: Mapping[str, set[str]], parts: Parts, findings: Findings
) -> None:
    writers = [task_name for task_name, task in parts.tasks_of(crew) if piece in task.writes]
    for position, later in enumerate(writers):
        beside = [other for other in writers[:position] if other not in before[later] and later not in before[other]]
        if beside:
            where = item_place(parts.node("tasks.yaml", later, "writes"), piece)
            what = f"`{later}` and {listed([f'`{other}`' for other in beside])} may run side by side in the crew"
            what += f" `{name}` and both write {quoted(piece)}"
            fix = f"add `merge:` to `{piece}`, or let `{later}` wait: name `{beside[0]}` under its `context`"
            findings.wrong(where, what, fix)


def _note_unused(name: str, crew: CrewSpec, parts: Parts, findings: Findings) -> None:
    used = {piece for _, task in parts.tasks_of(crew) for piece in (*task.reads, *task.writes, *condition_state(task))}
    for piece in crew.state:
        if piece not in used:
            node = parts.node("crews.yaml", name, "state", piece)
            findings.notes.append(Note(node.at_key(), "no task reads or writes this piece of state"))
