"""What is read from a JSON Schema: its parts with their types, whatever else stands in it."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

_MAX_HOPS = 12


def mapping(value: object) -> Mapping[str, Any]:
    """Return a value as a mapping, an empty one if it is something else."""
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def listing(value: object) -> Sequence[Any]:
    """Return a value as a list, an empty one if it is something else."""
    return cast(list[Any], value) if isinstance(value, list) else []


def definitions_of(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the named schemas that `$ref` refers to."""
    return mapping(schema.get("$defs")) or mapping(schema.get("definitions"))


def resolve(schema: object, definitions: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Follow references and take the first option that is not null; None for what cannot be read as one schema."""
    found = mapping(schema)
    for _ in range(_MAX_HOPS):
        reference = found.get("$ref")
        options = listing(found.get("anyOf")) or listing(found.get("oneOf")) or listing(found.get("allOf"))
        if isinstance(reference, str):
            found = mapping(definitions.get(reference.rsplit("/", 1)[-1]))
        elif not options:
            return found
        elif len(options) > 1 and "allOf" in found:
            return None
        else:
            found = next(
                (mapping(option) for option in options if mapping(option).get("type") != "null"), mapping(None)
            )
    return None


def allows_null(schema: object) -> bool:
    """Say whether null is allowed."""
    found = mapping(schema)
    kinds, choices = found.get("type"), found.get("enum")
    if choices is not None and None not in listing(choices):
        return False
    options = [*listing(found.get("anyOf")), *listing(found.get("oneOf"))]
    return kinds == "null" or "null" in listing(kinds) or any(allows_null(option) for option in options)


def type_of(schema: Mapping[str, Any]) -> str:
    """Name the type other than null: `string`, `integer`, `number`, `boolean`, `array`, `object`, or `value`."""
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return kinds
    named = [str(kind) for kind in listing(kinds) if kind != "null"]
    return named[0] if named else "object" if "properties" in schema else "value"


def whole(schema: Mapping[str, Any], key: str, otherwise: int) -> int:
    """Return a whole number that a schema sets, such as `minItems`."""
    value = schema.get(key)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def fits_number(value: float, schema: Mapping[str, Any]) -> bool:
    """Say whether a number keeps to a schema's limits."""
    if any(key in schema for key in ("exclusiveMinimum", "exclusiveMaximum", "multipleOf")):
        return False
    low, high = schema.get("minimum"), schema.get("maximum")
    return (low is None or value >= float(low)) and (high is None or value <= float(high))


def fits_text(text: str, schema: Mapping[str, Any]) -> bool:
    """Say whether a text keeps to a schema's lengths, which has neither pattern nor format."""
    if schema.get("pattern") or schema.get("format"):
        return False
    return whole(schema, "minLength", 0) <= len(text) <= whole(schema, "maxLength", len(text))
