"""The names in `when:` and `for_each:`, and `{item.field}` in texts, against the crew that they are used in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from project.checks import Findings, Note
from project.conditions import conditions_of
from project.crew_texts import inputs_of, with_stand_ins
from project.errors import Where
from project.expressions import ENTRY, Condition, Path, read_condition
from project.fill import dotted_placeholders, texts_in
from project.hints import quoted, suggest
from project.order import task_waits, tasks_before
from project.parts import Parts
from project.shared_state import check_condition_state
from project.spec import FieldSpec, TaskSpec

_Fields = Mapping[str, FieldSpec]
_COMPARED = re.compile(
    r"(?P<field>outputs(?:\.\w+){2,})\s*[=!]=\s*(?P<q>['\"])(?P<value>[^'\"\\]*)(?P=q)"
    r"|(?P<p>['\"])(?P<before>[^'\"\\]*)(?P=p)\s*[=!]=\s*(?P<other>outputs(?:\.\w+){2,})"
)


@dataclass(frozen=True)
class _Scope:
    """What the conditions of a crew may name."""

    crew: str
    inputs: list[str]
    before: Mapping[str, set[str]]
    """Task → the tasks that are done before it."""


def check_conditions(name: str, parts: Parts, findings: Findings) -> None:
    """Check what the conditions of a crew's tasks read: it is there, it comes before, it has such fields."""
    crew = parts.crews[name]
    asking = {task_name: conditions_of(task) for task_name, task in parts.tasks_of(crew)}
    if not any(asking.values()):
        return
    scope = _Scope(
        name,
        list(inputs_of(name, parts.crews, parts.tasks, parts.agents)),
        tasks_before(task_waits(crew, parts.tasks)),
    )
    for task_name, conditions in asking.items():
        for key, text in conditions:
            condition = read_condition(text)
            if condition.problem:
                continue
            where = parts.node("tasks.yaml", task_name, key, "items").here()
            for path in condition.paths:
                _check_path(path, task_name, scope, where, parts, findings)
            _check_type(key, condition, where, parts, findings)
            _check_choices(text, where, parts, findings)


def _check_choices(text: str, where: Where, parts: Parts, findings: Findings) -> None:
    """Check that what a field with choices is compared with is one of them: else the branch is never taken."""
    for match in _COMPARED.finditer(text):
        path = match["field"] or match["other"]
        wanted = match["value"] if match["value"] is not None else match["before"]
        field = _field_at(tuple(path.split(".")), parts)
        if field is not None and field.choices and field.type == "str" and wanted not in field.choices:
            fix = suggest(wanted, field.choices, f"`{path}` is one of")
            findings.wrong(where, f"`{path}` is never {quoted(wanted)}", fix)


def check_items(parts: Parts, findings: Findings) -> None:
    """Check, task by task, `{item.field}` against what is known of the entries, and what a file for each is called."""
    for name, task in parts.tasks.items():
        if task.for_each is None:
            _note_entries(name, task, parts, findings)
            continue
        _check_output_file(name, task, parts, findings)
        condition = read_condition(task.for_each.items)
        field = _field_at(condition.whole, parts)
        if field is None or not field.type.startswith("list["):
            continue
        for key, texts in (
            ("description", task.description),
            ("expected_output", task.expected_output),
            ("output_file", task.output_file),
            ("guardrails", [guardrail.text for guardrail in task.guardrails]),
            ("tools", [use.settings for use in with_stand_ins(task.tools or [])]),
            ("fallback", [way.text for way in task.fallback]),
        ):
            _check_item_fields(texts, field, parts.node("tasks.yaml", name, key).here(), findings)


def _note_entries(name: str, task: TaskSpec, parts: Parts, findings: Findings) -> None:
    for key, text in (("description", task.description), ("expected_output", task.expected_output)):
        for found, fields in dotted_placeholders(text):
            if found == "item" and fields:
                where = parts.node("tasks.yaml", name, key).here()
                shown = f"`{{item.{'.'.join(fields)}}}`"
                findings.notes.append(Note(where, f"{shown} stays as it is: the task has no `for_each`"))


def _check_output_file(name: str, task: TaskSpec, parts: Parts, findings: Findings) -> None:
    path = task.output_file
    if path and not any(found in ("item", "number") for found, _ in dotted_placeholders(path)):
        where = parts.node("tasks.yaml", name, "output_file").here()
        what = "every entry of the list would write the same file"
        findings.wrong(where, what, "put `{number}` or `{item}` into the path, such as `output/part-{number}.md`")


def _check_item_fields(texts: Any, field: FieldSpec, where: Where, findings: Findings) -> None:
    for text in texts_in(texts):
        for found, fields in dotted_placeholders(text):
            if found != "item" or not fields:
                continue
            shown = f"`{{item.{'.'.join(fields)}}}`"
            if field.fields is None:
                findings.wrong(where, f"{shown}: the entries are no mappings with fields", "write `{item}`")
            elif fields[0] not in field.fields:
                fix = suggest(fields[0], list(field.fields), "its fields are")
                findings.wrong(where, f"{shown}: an entry has no field {quoted(fields[0])}", fix)


def _check_path(path: Path, task_name: str, scope: _Scope, where: Where, parts: Parts, findings: Findings) -> None:
    if len(path) < 2 or path[1] == ENTRY:
        return
    if path[0] == "inputs":
        _check_input(path, scope, where, findings)
    elif path[0] == "state":
        before = scope.before[task_name] - {task_name}
        check_condition_state(path[1], task_name, scope.crew, where, before, parts, findings)
    else:
        _check_output(path, task_name, scope.crew, where, parts, findings)


def _check_input(path: Path, scope: _Scope, where: Where, findings: Findings) -> None:
    if path[1] not in scope.inputs:
        what = f"`inputs.{path[1]}` is no input of the crew `{scope.crew}`"
        nothing = f"list it under `inputs` of a crew in crews.yaml, or put `{{{path[1]}}}` into a text"
        findings.wrong(where, what, suggest(path[1], scope.inputs, f"the inputs of `{scope.crew}` are", nothing))
    elif len(path) > 2:
        findings.wrong(where, f"the input `{path[1]}` is one value without fields", f"write `inputs.{path[1]}`")


def _check_output(path: Path, task_name: str, name: str, where: Where, parts: Parts, findings: Findings) -> None:
    crew = parts.crews[name]
    needed = path[1]
    if needed == task_name:
        findings.wrong(where, "a task cannot ask for its own output", f"take `outputs.{needed}` out")
    elif needed not in parts.tasks and needed not in crew.tasks:
        others = [task for task in crew.tasks if task != task_name]
        fix = suggest(needed, others, f"the tasks of `{name}` are", "name an earlier task of the crew")
        findings.wrong(where, f"unknown task {quoted(needed)}", fix)
    elif needed not in crew.tasks:
        what = f"{quoted(needed)} is not among the tasks of the crew `{name}`"
        findings.wrong(where, what, f"add `{needed}` to the crew before `{task_name}`")
    elif crew.process == "sequential" and crew.tasks.index(needed) > crew.tasks.index(task_name):
        place = "in this file" if parts.implied else f"in the crew `{name}`"
        what = f"{quoted(needed)} comes after `{task_name}` {place}, so it has no output yet"
        findings.wrong(where, what, f"put `{needed}` before `{task_name}`")
    elif needed in parts.tasks and len(path) > 2:
        _check_output_fields(path, parts.tasks[needed], where, parts, findings)


def _check_output_fields(path: Path, task: TaskSpec, where: Where, parts: Parts, findings: Findings) -> None:
    needed, steps = path[1], list(path[2:])
    if isinstance(task.output, str) and task.output not in parts.contracts:
        return
    if task.for_each is not None:
        if steps[0] != ENTRY:
            what = f"`{needed}` is done for each entry of a list, so its output is a list without fields"
            findings.wrong(where, what, f"write `outputs.{needed}[0].{steps[0]}`, or `outputs.{needed}.all(...)`")
            return
        steps = steps[1:]
    known = parts.contract(task)
    if steps and known is None:
        findings.wrong(where, f"the output of `{needed}` is one text without fields", f"give `{needed}` an `output:`")
        return
    _check_steps(steps, known or {}, needed, where, findings)


def _check_steps(steps: list[str], known: _Fields, task: str, where: Where, findings: Findings) -> None:
    for position, step in enumerate(steps):
        if step == ENTRY:
            return
        if step not in known:
            what = f"the output of `{task}` has no field {quoted(step)}"
            findings.wrong(where, what, suggest(step, list(known), "its fields are"))
            return
        field, rest = known[step], steps[position + 1 :]
        if rest and field.type.startswith("list["):
            if rest[0] != ENTRY:
                what = f"the field {quoted(step)} of `{task}` is a list without fields"
                findings.wrong(where, what, f"write `{step}[0].{rest[0]}`, or `{step}.all(entry, ...)`")
                return
            rest = rest[1:]
        if rest and field.fields is None:
            what = f"the field {quoted(step)} of `{task}` is {field.type}, which has no fields"
            findings.wrong(where, what, f"take what follows `{step}` out")
            return
        if rest:
            _check_steps(rest, field.fields or {}, task, where, findings)
        return


def _check_type(key: str, condition: Condition, where: Where, parts: Parts, findings: Findings) -> None:
    """Check what an expression comes to, where it is nothing but the name of an output or of a field."""
    path = condition.whole
    task = parts.tasks.get(path[1]) if len(path) > 1 and path[0] == "outputs" else None
    if task is None:
        return
    shown = f"`{'.'.join(path)}`" if ENTRY not in path else "it"
    field = _field_at(path, parts)
    if len(path) == 2 and not (isinstance(task.output, str) and task.output not in parts.contracts):
        kind = "list" if task.for_each is not None else "text" if parts.contract(task) is None else "object"
    elif field is not None:
        kind = "list" if field.type.startswith("list[") else field.type
    else:
        return
    if key == "when" and kind != "bool":
        inner = field.fields if field is not None else parts.contract(task)
        example = {
            "object": f"{'.'.join(path)}.{next(iter(inner or {}), 'field')}",
            "list": f"size({'.'.join(path)}) > 0",
            "text": f"{'.'.join(path)}.contains('yes')",
        }
        fix = f"ask something of it, such as `{example.get(kind, '.'.join(path) + ' == ...')}`"
        findings.wrong(where, f"a condition must be true or false, and {shown} is {_a(kind)}", fix)
    elif key == "for_each" and kind != "list":
        fix = "name a field that is a list, such as `outputs.plan.steps` with `output: {steps: list[str]}`"
        findings.wrong(where, f"must give a list, and {shown} is {_a(kind)}", fix)


def _a(kind: str) -> str:
    words = {"str": "a text", "int": "a number", "float": "a number", "bool": "true or false", "object": "an object"}
    return words.get(kind, f"a {kind}")


def _field_at(path: Path, parts: Parts) -> FieldSpec | None:
    """Return the field of a contract that `outputs.task.field…` names, or None where that is not known."""
    task = parts.tasks.get(path[1]) if len(path) > 2 and path[0] == "outputs" else None
    if task is None or task.for_each is not None:
        return None
    known: _Fields | None = parts.contract(task)
    field: FieldSpec | None = None
    for step in path[2:]:
        if known is None or step == ENTRY or step not in known:
            return None
        field = known[step]
        known = field.fields if field.type == "object" else None
    return field
