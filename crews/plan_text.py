"""A work plan as text: the prompt that asks for it, the table and the YAML that people see and edit."""

from collections.abc import Sequence
from typing import Any, cast

import yaml

from crews.answers import LONGEST_TEXT, ONLY_JSON, as_json, block, bullets
from crews.brief import Brief, brief_text, done_text, rules_text
from crews.plan_checks import CALLS_A_SUBTASK
from crews.subtasks import GivenTask, Limits, Member, Subtask, WorkPlan, find_result
from project.hints import shortened
from project.rules import RULES
from project.spec import FieldSpec

_LONGEST_SHOWN = 600
_BREAKS = "\x85\u2028\u2029\ufeff"
_WIDTH = 100


def plan_request(
    brief: Brief,
    team: Sequence[Member],
    given: Sequence[GivenTask],
    limits: Limits,
    done: Sequence[tuple[str, str, str]] = (),
    failed: Sequence[tuple[str, Sequence[str]]] = (),
) -> str:
    """Word the prompt that asks a manager for the plan, or for a new one where subtasks failed.

    `team` is without the manager. `done`: id, agent, output of finished subtasks. `failed`: id and reasons.
    """
    opening = "You are the manager of a crew. You make the plan; the team does the work, you do none of it."
    parts = [opening, block("brief", brief_text(brief)), "The team:\n" + bullets(map(_member_line, team))]
    if given:
        parts.append(_GIVEN + bullets(map(_given_line, given)))
    if done or failed:
        parts += _replanning(done, failed)
    parts += [
        "Limits:\n" + bullets(_limit_lines(limits)),
        _form(brief, team, given),
        "Rules that can be checked without a reader, for `done`:\n" + rules_text(RULES),
    ]
    return "\n\n".join(parts)


def plan_text(plan: WorkPlan) -> str:
    """Tell the plan as plain text: a table, then each subtask with its reason and what must be true of it."""
    rows = [("", "subtask", "agent", "after", "covers")]
    for number, one in enumerate(plan.subtasks, 1):
        rows.append((f"{number}.", one.id, one.agent, ", ".join(one.depends_on) or "-", ", ".join(one.covers) or "-"))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for one in plan.subtasks:
        lines += ["", *_subtask_lines(one)]
    lines += ["", f"Result: {', '.join(find_result(plan))}"]
    return "\n".join([*lines, *([f"Note: {_flat(plan.note)}"] if plan.note else [])])


def plan_yaml(plan: WorkPlan) -> str:
    """Write the plan as YAML that a person may edit; `read_plan` reads it back as it was."""
    document: dict[str, Any] = {"subtasks": [_subtask_yaml(one) for one in plan.subtasks]}
    if plan.result:
        document["result"] = _Row(plan.result)
    if plan.note:
        document["note"] = plan.note
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)


_GIVEN = (
    "Tasks that must be carried out. Plan exactly one subtask for each, with its name as `task`. "
    "Further subtasks are allowed:\n"
)
_KEYS = f"""The keys of a subtask:
- id: a short name of letters, digits and `_`, different for each subtask.
- description: what is to be done. Its agent sees this and the outputs of `depends_on`, and nothing else: name every \
fact, number and limit that it needs.
- expected_output: what a good result looks like.
- agent: one name of the team, spelled as above.
- reason: why this agent: which of its tools or abilities the work takes.
- depends_on: ids of the subtasks whose outputs it reads. Never in a circle. [] where it can start at once; subtasks \
that do not depend on each other run side by side.
- able: other names of the team who could do it as well. [] where there are none.
- tools: which of its agent's tools it may use. null: all of them.
- output: null for a text, or the fields of an object, such as {as_json({"title": "str", "prices": "list[float]"})}. \
Types: str, int, float, bool, list[str], list[int], list[float].
- done: what must be true of its output: {as_json({"text": "…"})} for a reviewer, or a rule below.
- covers: ids of the brief's done-rules that it is to meet. Each done-rule must be covered by a subtask.
- task: the name of the task that it carries out, or null.

"result" lists the ids of the subtasks whose outputs make up the result. "note" is a remark for people, or ""."""


def _member_line(member: Member) -> str:
    if member.kind == "human":
        return f"{member.name} (a person; slow to answer): {_cut(member.goal or member.role)}"
    kind = "a whole crew" if member.kind == "crew" else member.role
    tools = f"Tools: {', '.join(member.tools)}." if member.tools else "No tools."
    return f"{member.name} ({_cut(kind)}): {_cut(member.goal).rstrip('.')}. {tools}"


def _given_line(task: GivenTask) -> str:
    agent = f"Agent: {task.agent}, fixed." if task.agent else "Agent: choose one."
    reads = f"depends_on: the subtasks of {', '.join(task.needs)}." if task.needs else "depends_on: []."
    output = " Leave `output` null: it is fixed." if task.has_contract else ""
    return f"{task.name}: {_cut(task.description)} Expected: {_cut(task.expected_output)} {agent} {reads}{output}"


def _limit_lines(limits: Limits) -> list[str]:
    lines = [f"At most {limits.max_subtasks} subtasks. Fewer are better: plan only what the brief needs."]
    if limits.model_calls_left is not None:
        least = f"each subtask needs at least {CALLS_A_SUBTASK}"
        lines.append(f"{limits.model_calls_left} model calls are left; {least}.")
    if limits.tool_calls_left is not None:
        lines.append(f"{limits.tool_calls_left} tool calls are left.")
    return lines


def _replanning(done: Sequence[tuple[str, str, str]], failed: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    parts = [
        "Part of the work is done. Plan only what is still missing, in place of the failed subtasks and those that "
        "waited for them. Finished subtasks stay: do not plan them again, take new ids, and name finished ids in "
        "`depends_on` where their outputs are needed."
    ]
    parts += [block(f"finished subtask {name} by {agent}", _cut(output)) for name, agent, output in done]
    if failed:
        told = (f"{name}: {'; '.join(_cut(reason) for reason in reasons)}" for name, reasons in failed)
        parts.append("Failed subtasks, and why. Do it in another way or by another agent:\n" + bullets(told))
    return parts


def _form(brief: Brief, team: Sequence[Member], given: Sequence[GivenTask]) -> str:
    first, second = (team[0].name, team[1 if len(team) > 1 else 0].name) if team else ("NAME", "NAME")
    plain: dict[str, object] = {"able": [], "tools": None, "output": None, "done": [], "covers": [], "task": None}
    steps: list[dict[str, object]] = [
        {
            "id": "find_hours",
            "description": "Find the opening hours of the museum for each day of the week",
            "expected_output": "One line for each day, with the page it is from",
            "agent": first,
            "reason": "Its tools can look the hours up",
            "depends_on": [],
            **plain,
        },
        {
            "id": "write_notice",
            "description": "Write a notice for visitors from the opening hours you were handed",
            "expected_output": "A notice that names every day of the week",
            "agent": second,
            "reason": "It writes for readers who know nothing of the matter",
            "depends_on": ["find_hours"],
            **plain,
            "done": [{"rule": "words", "value": {"max": 100}}, {"text": "It is friendly"}],
            "covers": [rule.id for rule in brief.done],
        },
    ]
    example = as_json({"subtasks": steps, "result": ["write_notice"], "note": ""})
    keys = (
        _KEYS if given else _KEYS.replace("- task: the name of the task that it carries out, or null.", "- task: null.")
    )
    return f"{ONLY_JSON}\nThe form, shown for another goal:\n{example}\n\n{keys}"


def _subtask_lines(one: Subtask) -> list[str]:
    task = f" (task {one.task})" if one.task else ""
    lines = [f"{one.id}{task}: {_flat(one.description)}", f"  gives: {_flat(one.expected_output)}"]
    lines.append(f"  {one.agent}, because: {_flat(one.reason)}")
    if one.able:
        lines.append(f"  else: {', '.join(one.able)}")
    if one.tools is not None:
        lines.append(f"  tools: {', '.join(one.tools) or 'none'}")
    if one.output is not None:
        lines.append(f"  fields: {', '.join(f'{name} ({field.type})' for name, field in one.output.items())}")
    return [*lines, *(f"  must be true: {_flat(done_text(rule))}" for rule in one.done)]


def _subtask_yaml(one: Subtask) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for key in Subtask.model_fields:
        value = getattr(one, key)
        if value is None or (value == [] and key != "tools"):
            continue
        written[key] = _Row(cast("list[str]", value)) if isinstance(value, list) else value
    if one.output is not None:
        written["output"] = {name: _field_yaml(field) for name, field in one.output.items()}
    if one.done:
        written["done"] = [rule.model_dump(exclude_none=True, exclude={"id"}) for rule in one.done]
    return written


def _field_yaml(field: FieldSpec) -> object:
    written: dict[str, object] = {"type": field.type, **field.model_dump(exclude_defaults=True, exclude={"fields"})}
    if field.fields is not None:
        written["fields"] = {name: _field_yaml(inner) for name, inner in field.fields.items()}
    return field.type if len(written) == 1 else written


class _Row(list[str]):
    """A list that is written on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes lists indented, texts of several lines as blocks, and never an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    # PyYAML writes these breaks as they are in every other style, and reads them back as a line feed.
    if any(character in text for character in _BREAKS):
        style = '"'
    return cast("Any", dumper).represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_row(dumper: yaml.SafeDumper, row: _Row) -> yaml.SequenceNode:
    return cast("Any", dumper).represent_sequence("tag:yaml.org,2002:seq", row, flow_style=True)


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(_Row, _represent_row)


def _cut(text: str) -> str:
    return shortened(_flat(text), _LONGEST_SHOWN)


def _flat(text: str) -> str:
    """Put a text on one line, with what a terminal would act on escaped."""
    return shortened(" ".join(text.split()), LONGEST_TEXT)
