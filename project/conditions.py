"""Conditions of tasks, `when:` and the items of `for_each:`: what they read, and what they come to.

celpy takes 0.2 s to import, so it is imported where there is a condition. Numbers are compared across their types, as
CEL asks and celpy 0.5 does not: a score of 1 is less than 1.5.
"""

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from project.errors import AppError, Where
from project.expressions import ENTRY, EXAMPLE, Condition, read_condition
from project.hints import quoted
from project.spec import TaskSpec


def check_condition(text: str) -> tuple[str, list[str]]:
    """Return what is wrong with an expression, or "", and what it reads: `inputs.x`, `outputs.task`, `state.name`."""
    condition = read_condition(text)
    problem = f"{condition.problem}: {condition.fix}" if condition.problem else ""
    return problem, condition.names


def conditions_of(task: TaskSpec) -> list[tuple[str, str]]:
    """Return the key and text of each condition of a task."""
    found = [("when", task.when), ("for_each", task.for_each.items if task.for_each else None)]
    return [(key, text) for key, text in found if text]


def condition_tasks(task: TaskSpec) -> list[str]:
    """Name the tasks whose outputs the conditions of `task` read, each once, in order; it waits for them."""
    return _names_under("outputs", task)


def condition_inputs(task: TaskSpec) -> list[str]:
    """Name the inputs that the conditions of `task` read, each once, in order."""
    return _names_under("inputs", task)


def condition_state(task: TaskSpec) -> list[str]:
    """Name the state that the conditions of `task` read, each once, in order."""
    return _names_under("state", task)


def evaluate(
    text: str,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    state: Mapping[str, Any],
    where: Where | None = None,
) -> Any:
    """Return what an expression comes to, as plain data: bool, int, float, str, list, dict or None.

    Pure: the same values give the same result, whatever else is running.

    Raises: AppError when the expression is wrong, or asks for something that is not there, or mixes types.
    """
    condition = read_condition(text)
    if condition.problem:
        raise AppError(f"the condition {quoted(text)}: {condition.problem}", where=where, fix=condition.fix)
    from celpy.evaluation import CELEvalError

    try:
        given = {"inputs": inputs, "outputs": outputs, "state": state}
        context = {root: _to_cel(_only(root, values, condition)) for root, values in given.items()}
        return _plain(_program(text).evaluate(context))
    except CELEvalError as error:
        what, fix = _explain(error)
    except (RecursionError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        what, fix = "its values are of the wrong types", EXAMPLE
    raise AppError(f"the condition {quoted(text)} cannot be decided: {what}", where=where, fix=fix)


def _names_under(root: str, task: TaskSpec) -> list[str]:
    names = [name for _, text in conditions_of(task) for name in read_condition(text).names]
    return list(dict.fromkeys(name.partition(".")[2] for name in names if name.startswith(f"{root}.")))


@lru_cache(maxsize=512)
def _program(text: str) -> Any:
    from celpy import Environment

    environment: Any = Environment()
    return environment.program(environment.compile(text), functions=_numeric())


def _to_cel(value: Any) -> Any:
    from celpy.adapter import json_to_cel

    return json_to_cel(value)


def _only(root: str, values: Mapping[str, Any], condition: Condition) -> dict[str, Any]:
    """Return what of `values` is read: outputs can be large."""
    paths = [path for path in condition.paths if path[0] == root]
    if any(len(path) == 1 or path[1] == ENTRY for path in paths):
        return dict(values)
    names = {path[1] for path in paths}
    return {name: value for name, value in values.items() if name in names}


def _plain(value: Any) -> Any:
    from celpy import celtypes

    if value is None:
        return None
    if isinstance(value, (bool, celtypes.BoolType)):
        return bool(value)
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, celtypes.MapType):
        return {str(key): _plain(inner) for key, inner in cast(dict[Any, Any], value).items()}
    if isinstance(value, celtypes.ListType):
        return [_plain(inner) for inner in cast(list[Any], value)]
    return str(value)


def _numeric() -> dict[str, Callable[..., Any]]:
    """Return operators that take whole and other numbers together, and say in plain words what they cannot take."""
    from celpy import celtypes
    from celpy.evaluation import CELEvalError, base_functions

    numbers = (celtypes.IntType, celtypes.UintType, celtypes.DoubleType)

    def mixed(left: Any, right: Any) -> bool:
        return isinstance(left, numbers) and isinstance(right, numbers) and type(left) is not type(right)

    def comparing(name: str, work: Callable[[float, float], bool]) -> Callable[[Any, Any], Any]:
        usual: Any = base_functions[name]

        def compare(left: Any, right: Any) -> Any:
            for value in (left, right):
                if isinstance(value, CELEvalError):
                    return value
            if mixed(left, right):
                return celtypes.BoolType(work(float(left), float(right)))
            if name in ("_==_", "_!=_"):
                return usual(left, right) if _kind(left) == _kind(right) else celtypes.BoolType(name == "_!=_")
            if _kind(left) != _kind(right) or _kind(left) not in ("a number", "a text"):
                raise TypeError(f"{_kind(left)} cannot be compared with {_kind(right)}")
            return usual(left, right)

        return compare

    def counting(name: str) -> Callable[[Any, Any], Any]:
        usual: Any = base_functions[name]

        def count(left: Any, right: Any) -> Any:
            if mixed(left, right):
                return celtypes.DoubleType(usual(celtypes.DoubleType(left), celtypes.DoubleType(right)))
            return usual(left, right)

        return count

    compared = {"_<_": operator.lt, "_<=_": operator.le, "_>_": operator.gt, "_>=_": operator.ge, "_==_": operator.eq,
                "_!=_": operator.ne}  # fmt: skip
    return {name: comparing(name, work) for name, work in compared.items()} | {
        name: counting(name) for name in ("_+_", "_-_", "_*_", "_/_")
    }


def _kind(value: Any) -> str:
    from celpy import celtypes

    if isinstance(value, celtypes.BoolType):
        return "true or false"
    if isinstance(value, (celtypes.IntType, celtypes.UintType, celtypes.DoubleType)):
        return "a number"
    for kind, word in ((celtypes.StringType, "a text"), (celtypes.ListType, "a list"), (celtypes.MapType, "a mapping")):
        if isinstance(value, kind):
            return word
    return "nothing" if value is None else "a value"


def _explain(error: Any) -> tuple[str, str]:
    """Say in plain words what celpy could not work out; its own text may hold every value there is."""
    said = str(error.args[0]) if error.args else ""
    inner = error.args[2] if len(error.args) > 2 else None
    if found := re.search(r"no such member in mapping: '?([^']*)'?$", said):
        name = found[1]
        return f"there is no {quoted(name)}", f"ask first whether it is there, with `has(...{name})`"
    if "divide by zero" in said:
        return "a number is divided by zero", "ask first whether it is 0"
    if "invalid_argument" in said:
        return "the list has no such entry", "ask first for its `size(...)`"
    if isinstance(inner, tuple) and inner and isinstance(inner[0], str) and "cannot be compared" in inner[0]:
        return inner[0], "turn one into the other with `int(...)`, `double(...)` or `string(...)`"
    return "its values are of the wrong types", EXAMPLE
