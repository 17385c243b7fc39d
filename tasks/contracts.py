"""Contracts: the fields that a task's output must have, told to the model, read from its answer, checked."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

from project.hints import listed, nearest, quoted
from project.spec import FieldSpec
from tasks.prose import first_reasons
from tasks.strict_json import find_object, short

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCHEMA_TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "object": "object"}
_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "list[str]": "a list of texts",
    "list[int]": "a list of whole numbers",
    "list[float]": "a list of numbers",
    "list[object]": "a list of objects",
}
_MOST_UNKNOWN = 50
_MISSING = object()


def json_schema(fields: Mapping[str, FieldSpec]) -> dict[str, object]:
    """Return the contract as JSON Schema, draft 2020-12; it accepts what `read_contract` accepts."""
    return {"$schema": _DIALECT, **_object_schema(fields)}


def read_contract(text: str, fields: Mapping[str, FieldSpec]) -> tuple[dict[str, object] | None, list[str]]:
    """Return the object in a model's answer, or every problem with it as `field.path: what is wrong, got …`.

    The object stands alone, in a code fence, or once among prose (`strict_json.find_object`). Nothing is repaired or
    converted, but for `3.0`, a whole number in JSON as well. Returned are the fields in the contract's order; optional
    ones that are missing are None.
    """
    value, problems = find_object(text)
    if value is None:
        return None, problems
    read = _read_object(value, fields, "", problems)
    return (None, problems) if problems else (read, [])


def canonical(value: object) -> str:
    """Return a JSON value as the text that stands for it in outputs: two blanks a level, keys in their order."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def ask_again(problems: Sequence[str]) -> str:
    """Word the message that shows a model what was wrong with its answer and asks for the whole answer again."""
    reasons = "\n".join(f"- {problem}" for problem in first_reasons(problems))
    return (
        f"Your answer was not accepted:\n{reasons}\n\n"
        "Give the complete answer again with all of this mended: the whole of it, not only what changed, "
        "and without remarks about the changes."
    )


def instructions(fields: Mapping[str, FieldSpec]) -> str:
    """Word what is added to a task's prompt so that the model answers with the contract's object only."""
    return (
        "Answer with one JSON object and nothing else: no text before or after it, no code fence. "
        "It has these fields and no others:\n" + "\n".join(_described(fields, 0))
    )


def _object_schema(fields: Mapping[str, FieldSpec]) -> dict[str, object]:
    return {
        "type": "object",
        "properties": {name: _field_schema(spec) for name, spec in fields.items()},
        "required": [name for name, spec in fields.items() if not spec.optional],
        "additionalProperties": False,
    }


def _field_schema(spec: FieldSpec) -> dict[str, object]:
    schema = _list_schema(spec) if spec.type.startswith("list[") else _single_schema(spec.type, spec)
    if spec.type in ("int", "float"):
        schema |= {key: _plain(bound) for key, bound in _bounds(spec, "minimum", "maximum").items()}
    if spec.optional:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*cast("list[object]", schema["enum"]), None]
    return {**schema, "description": spec.description} if spec.description else schema


def _single_schema(kind: str, spec: FieldSpec) -> dict[str, object]:
    if kind == "object" and spec.fields is not None:
        return _object_schema(spec.fields)
    schema: dict[str, object] = {"type": _SCHEMA_TYPES[kind]}
    return {**schema, "enum": list(spec.choices)} if kind == "str" and spec.choices is not None else schema


def _list_schema(spec: FieldSpec) -> dict[str, object]:
    schema: dict[str, object] = {"type": "array", "items": _single_schema(_entry_type(spec), spec)}
    lengths = _bounds(spec, "minItems", "maxItems")
    if lengths.get("minItems", 0) > 0:
        schema["minItems"] = math.ceil(lengths["minItems"])
    if "maxItems" in lengths:
        schema["maxItems"] = math.floor(lengths["maxItems"])
    return schema


def _bounds(spec: FieldSpec, least: str, most: str) -> dict[str, float]:
    floor = 0.0 if spec.type.startswith("list[") else -math.inf
    pairs = ((least, spec.minimum), (most, spec.maximum))
    return {key: max(bound, floor) for key, bound in pairs if bound is not None and math.isfinite(bound)}


def _entry_type(spec: FieldSpec) -> str:
    return spec.type.removeprefix("list[").removesuffix("]")


def _plain(bound: float) -> int | float:
    return int(bound) if bound.is_integer() else bound


def _read_object(
    value: Mapping[str, object], fields: Mapping[str, FieldSpec], path: str, problems: list[str]
) -> dict[str, object]:
    read: dict[str, object] = {}
    for name, spec in fields.items():
        read[name] = _read_field(value.get(name, _MISSING), spec, f"{path}.{name}" if path else name, problems)
    unknown = [name for name in value if name not in fields]
    open_names = [name for name in fields if name not in value]
    problems += [_unknown(name, path, open_names or list(fields)) for name in unknown[:_MOST_UNKNOWN]]
    if len(unknown) > _MOST_UNKNOWN:
        problems.append(f"{path or 'the object'}: {len(unknown) - _MOST_UNKNOWN} more unknown fields")
    return read


def _unknown(name: str, path: str, candidates: Sequence[str]) -> str:
    close = nearest(name, candidates)
    everything = f"the fields are {listed(candidates)}" if candidates else "it has no fields"
    fix = f"did you mean `{close}`?" if close else everything
    return f"{path or 'the object'}: unknown field {quoted(name)}; {fix}"


def _read_field(value: object, spec: FieldSpec, path: str, problems: list[str]) -> object:
    if value is _MISSING or value is None:
        if not spec.optional:
            got = "is missing" if value is _MISSING else "must not be null"
            problems.append(f"{path}: {got}; it must be {_allowed(spec)}")
        return None
    if not spec.type.startswith("list["):
        return _read_single(value, spec.type, spec, path, problems)
    if not isinstance(value, list):
        problems.append(f"{path}: must be {_allowed(spec)}, got {short(value)}")
        return None
    entries = cast("list[object]", value)
    read = [_read_single(e, _entry_type(spec), spec, f"{path}[{i}]", problems) for i, e in enumerate(entries)]
    _check_bounds(len(read), spec, f"{path}: the number of entries", problems)
    return read


def _read_single(value: object, kind: str, spec: FieldSpec, path: str, problems: list[str]) -> object:
    if not _is(value, kind):
        allowed = _allowed(spec) if spec.type == kind else _WORDS[kind]
        problems.append(f"{path}: must be {allowed}, got {short(value)}")
        return None
    if kind == "object" and spec.fields is not None:
        return _read_object(cast("dict[str, object]", value), spec.fields, path, problems)
    if kind == "str" and spec.choices is not None and value not in spec.choices:
        problems.append(f"{path}: must be {_choices(spec.choices)}, got {short(value)}")
    if spec.type in ("int", "float") and isinstance(value, int | float):
        _check_bounds(value, spec, path + ":", problems)
    return int(value) if kind == "int" and isinstance(value, float) else value


def _is(value: object, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "bool"
    if kind == "int":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    types: dict[str, type | tuple[type, ...]] = {"str": str, "float": (int, float), "object": dict}
    return kind in types and isinstance(value, types[kind])


def _check_bounds(number: float, spec: FieldSpec, what: str, problems: list[str]) -> None:
    bounds = _bounds(spec, "minimum", "maximum")
    if "minimum" in bounds and number < bounds["minimum"]:
        problems.append(f"{what} must be >= {_plain(bounds['minimum'])}, got {short(number)}")
    if "maximum" in bounds and number > bounds["maximum"]:
        problems.append(f"{what} must be <= {_plain(bounds['maximum'])}, got {short(number)}")


def _allowed(spec: FieldSpec) -> str:
    return _choices(spec.choices) if spec.type == "str" and spec.choices is not None else _WORDS[spec.type]


def _choices(choices: Sequence[str]) -> str:
    return "one of " + ", ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)


def _described(fields: Mapping[str, FieldSpec], depth: int) -> list[str]:
    lines: list[str] = []
    for name, spec in fields.items():
        said = " ".join(["", *spec.description.split()])
        lines.append(f"{'  ' * depth}- {json.dumps(name, ensure_ascii=False)}: {_demand(spec)}.{said}")
        if spec.fields is not None and spec.type in ("object", "list[object]"):
            lines += _described(spec.fields, depth + 1)
    return lines


def _demand(spec: FieldSpec) -> str:
    parts = [_allowed(spec)]
    if spec.type == "list[str]" and spec.choices is not None:
        parts.append(f"each {_choices(spec.choices)}")
    bounds = _bounds(spec, "at least", "at most")
    unit = " entries" if spec.type.startswith("list[") else ""
    parts += [
        f"{word} {_plain(bound)}{unit if bound != 1 else unit.replace('ies', 'y')}" for word, bound in bounds.items()
    ]
    if spec.fields is not None and spec.type in ("object", "list[object]"):
        parts.append("with the fields below")
    return "; ".join([*parts, "null when there is none" if spec.optional else "required"])
