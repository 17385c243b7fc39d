"""Crews in order: what the inputs of a stage become, from the run's inputs and the outputs of the stages before it."""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from crews.planned import CrewPlan, Value
from project.errors import AppError
from project.spec import StageSpec

_REFERENCE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)((?:\.[A-Za-z_][A-Za-z0-9_\-]*)*)\}")
_TASK_INPUTS = ("task", "goal", "topic", "question")


def stage_inputs(
    stage: StageSpec, scope: CrewPlan, inputs: Mapping[str, Value], outputs: Mapping[str, str]
) -> dict[str, str]:
    """Return what is given to a stage's crew, as texts: what is mapped, else the pipeline's input of the same name.

    Raises: AppError when a mapping names a field that the earlier output does not have.
    """
    given: dict[str, str] = {}
    for name in scope.wanted:
        if name in stage.inputs:
            value = stage.inputs[name]
            given[name] = _fill(value, inputs, outputs, stage) if isinstance(value, str) else str(value)
        elif name in inputs:
            given[name] = str(inputs[name])
    return given


def crew_task_inputs(scope: CrewPlan, description: str) -> dict[str, str]:
    """Return the inputs for a crew that does a task: the task's description goes into the one input it must have.

    Raises: AppError when it is not clear which one that is.
    """
    required = [name for name, spec in scope.wanted.items() if spec.default is None]
    named = [name for name in _TASK_INPUTS if name in scope.wanted]
    if len(required) == 1:
        return {required[0]: description}
    if not required and named:
        return {named[0]: description}
    wants = ", ".join(required) or "no text"
    raise AppError(f"the crew {scope.crew} cannot do a task: it needs {wants}", fix="give it one required text input")


def _fill(text: str, inputs: Mapping[str, Value], outputs: Mapping[str, str], stage: StageSpec) -> str:
    def value_of(match: re.Match[str]) -> str:
        name, path = match[1], [part for part in match[2].split(".") if part]
        if name in outputs:
            return _read(outputs[name], path, f"{{{name}{match[2]}}}", stage)
        if name in inputs and not path:
            return str(inputs[name])
        raise AppError(f"the crew {stage.crew}: nothing is called {match[0]}", fix="name an input or an earlier crew")

    return _REFERENCE.sub(value_of, text)


def _read(output: str, path: list[str], shown: str, stage: StageSpec) -> str:
    if not path:
        return output
    try:
        value: Any = json.loads(output)
        for part in path:
            value = cast(dict[str, Any], value)[part]
    except (ValueError, KeyError, TypeError) as error:
        raise AppError(f"the crew {stage.crew}: {shown} is not in the output before it") from error
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
