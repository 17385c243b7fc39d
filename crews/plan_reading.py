"""A manager's answer, or a plan that a person edited → the work plan, or every reason why it is none."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from crews.answers import Answered
from crews.brief import Brief, read_done
from crews.plan_checks import check_plan
from crews.subtasks import GivenTask, Limits, Member, Subtask, WorkPlan
from project.checks import Findings
from project.contracts import read_fields
from project.hints import listed, quoted, shown
from project.reader import Node, parse_yaml
from project.spec import FieldSpec
from tasks.prose import first_reasons
from tasks.strict_json import find_object, parse, short

_MOST_READ = 50
_LONGEST_YAML = 500_000
_MOST_REASONS = 100
_PLAN = ("subtasks", "result", "note")
_SUBTASK = (
    *("id", "description", "expected_output", "agent", "reason"),
    *("depends_on", "able", "tools", "output", "done", "covers", "task"),
)
_FORM = 'give one object: {"subtasks": [{"id": …, "description": …, …}], "result": […], "note": ""}'
_CUT_OFF = "the answer was cut off, so give the whole plan again with fewer or shorter texts"
_YAML = re.compile(r"^subtasks[ \t]*:", re.MULTILINE)


def read_plan(
    text: str,
    *,
    team: Sequence[Member],
    given: Sequence[GivenTask],
    brief: Brief | None,
    limits: Limits,
    done_ids: Sequence[str] = (),
    finished: Sequence[Subtask] = (),
    manager: str = "",
) -> tuple[WorkPlan | None, list[str]]:
    """Return the plan in a model's answer (JSON) or a person's text (YAML), or every reason why it is none.

    `done_ids` are the subtasks that are finished when a crew plans anew: the plan may read them and not repeat them.
    With `finished`, the same subtasks as specs, what they cover and carry out need not be planned again; with
    `done_ids` alone it is not checked that everything is covered and carried out. At most 100 reasons.

    Nothing is guessed. Repaired are whitespace, control characters, code fences, null for a list, one text for a list
    of one, and an agent's name in another case.
    """
    value, problems = _read_text(text)
    if value is None:
        return None, problems
    answer = Answered(value, "", problems)
    answer.only(_PLAN)
    entries = answer.entries("subtasks")
    if len(entries) > max(_MOST_READ, limits.max_subtasks):
        return None, [f"the plan has {len(entries)} subtasks; at most {limits.max_subtasks} are allowed: join some"]
    names = [member.name for member in team]
    hint = f"name one of: {listed([name for name in names if name != manager])}"
    subtasks = [_read_subtask(answer, entry, number, names, hint) for number, entry in enumerate(entries, 1)]
    plan = WorkPlan(
        subtasks=[subtask for subtask in subtasks if subtask is not None],
        result=answer.texts("result"),
        note=answer.text("note", required=False),
    )
    if not entries and not isinstance(value.get("subtasks"), int | float):
        answer.wrong(f"the plan has no subtasks; {_FORM}")
    elif plan.subtasks:
        problems += check_plan(
            plan,
            team=team,
            given=given,
            brief=brief,
            limits=limits,
            done_ids=list(dict.fromkeys([*done_ids, *(one.id for one in finished)])),
            finished=finished,
            manager=manager,
        )
    return (None, first_reasons(list(dict.fromkeys(problems)), _MOST_REASONS)) if problems else (plan, [])


def _read_text(text: str) -> tuple[Mapping[str, object] | None, list[str]]:
    bare = _unfenced(text)
    value, problems = find_object(bare)
    if value is not None and "subtasks" in value:
        return value, []
    if len(bare) <= _LONGEST_YAML and _YAML.search(bare):
        return _read_yaml(bare)
    listed, unread = parse(bare)
    if isinstance(listed, list) and not unread:
        length = len(cast("list[object]", listed))
        return None, [f"the answer is a list of {length}, not a plan; {_FORM}"]
    if value is not None:
        keys = ", ".join(quoted(key) for key in list(value)[:5]) or "nothing"
        return None, [f"the answer is an object without `subtasks`, it has {keys}; {_FORM}"]
    return None, [f"{problem}; {_CUT_OFF if 'not finished' in problem else _FORM}" for problem in problems]


def _unfenced(text: str) -> str:
    """Take the code fence around a whole answer away."""
    bare = text.strip()
    opening, _, rest = bare.partition("\n")
    if not opening.startswith("```") or not rest.endswith("```"):
        return text
    return rest.removesuffix("```")


def _read_yaml(text: str) -> tuple[Mapping[str, object] | None, list[str]]:
    reading = parse_yaml(text.encode("utf-8", "replace"), "plan")
    problems = [f"{problem}{'; ' * bool(problem.fix)}{problem.fix}" for problem in reading.problems]
    if reading.tree is None or problems:
        return None, problems or [f"the plan is empty; {_FORM}"]
    return cast("Mapping[str, object]", reading.tree.value), []


def _read_subtask(answer: Answered, entry: object, number: int, names: Sequence[str], hint: str) -> Subtask | None:
    """Read one subtask. What cannot be read is left empty, so that the rest of the plan can still be checked."""
    if not isinstance(entry, dict):
        answer.wrong(f"subtask {number} must be an object, got {short(entry)}; {_FORM}")
        return None
    fields = cast("dict[str, object]", entry)
    name = fields.get("id")
    label = f"subtask {quoted(name.strip())}" if isinstance(name, str) and name.strip() else f"subtask {number}"
    part = answer.inner(fields, label)
    part.only(_SUBTASK)
    agent = _as_spelled(part.text("agent", hint=hint), names)
    return Subtask(
        id=part.text("id", hint="give it a short name such as `find_prices`"),
        description=part.text("description", hint="say what is to be done, so that its agent needs nothing else"),
        expected_output=part.text("expected_output", hint="say what a good result looks like"),
        agent=agent,
        reason=part.text("reason", hint="say why this agent and not another"),
        depends_on=part.texts("depends_on"),
        able=[name for one in part.texts("able") if (name := _as_spelled(one, names)) != agent],
        tools=None if fields.get("tools") is None else part.texts("tools"),
        output=_read_output(part),
        done=read_done(part, "done"),
        covers=part.texts("covers"),
        task=part.text("task", required=False) or None,
    )


def _as_spelled(name: str, names: Sequence[str]) -> str:
    """Return the member's name that is the same but for upper and lower case, if there is exactly one."""
    alike = [known for known in names if known.casefold() == name.casefold()]
    return alike[0] if name not in names and len(alike) == 1 else name


def _read_output(part: Answered) -> dict[str, FieldSpec] | None:
    value = part.value.get("output")
    if value is None:
        return None
    findings = Findings()
    if not isinstance(value, dict):
        part.wrong(f'`output` must be an object of fields such as {{"title": "str"}}, got {shown(value)}')
        return None
    fields = read_fields(_as_node(cast("object", value), ("output",)), findings)
    for problem in findings.problems:
        key = problem.where.key if problem.where else "output"
        part.wrong(f"`{key}` {problem.what}{'; ' * bool(problem.fix)}{problem.fix}")
    return fields


def _as_node(value: object, keys: tuple[str, ...]) -> Node:
    """Put plain values into the shape that contracts are read from, so that plans and tasks.yaml share one reader."""
    node = Node("plan", keys, value, (1, 1), (1, 1))
    if isinstance(value, dict):
        entries = {key: _as_node(one, (*keys, key)) for key, one in cast("dict[str, object]", value).items()}
        return Node("plan", keys, value, (1, 1), (1, 1), entries=entries)
    if isinstance(value, list):
        items = tuple(_as_node(one, keys) for one in cast("list[object]", value))
        return Node("plan", keys, value, (1, 1), (1, 1), items=items)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Node("plan", keys, value, (1, 1), (1, 1), raw=str(value))
    return node
