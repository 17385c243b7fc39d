"""What the JSON Schemas of config/ are made of: a spec as an object, optional keys, short forms, foreign keys."""

from collections.abc import Mapping
from typing import Any

from project.foreign import Foreign
from project.spec import Spec

Schema = dict[str, Any]

NULL: Schema = {"type": "null"}
TEXT: Schema = {"type": "string", "minLength": 1}
TEXTS: Schema = {"type": "array", "items": TEXT}


def short(*forms: Schema) -> Schema:
    """Return what may have one of these forms, or stand empty."""
    return {"anyOf": [*forms, NULL]}


def number_of(model: type[Spec], name: str) -> Schema:
    """Return the bounds of a number that may stand for a whole mapping."""
    properties = model.model_json_schema()["properties"][name]
    return {key: value for key, value in properties.items() if key in ("type", "minimum", "maximum")}


def make_object(
    model: type[Spec],
    foreign: Mapping[str, Foreign] | None = None,
    keys: Mapping[str, Schema] | None = None,
    extra: tuple[str, ...] = (),
) -> Schema:
    """Return a spec as a mapping of its keys; `keys` are those with another schema than their type's."""
    keys = keys or {}
    generated = model.model_json_schema()
    generated = generated.get("$defs", {}).get(model.__name__, generated)  # where a model holds itself
    properties: Schema = {}
    for name, schema in generated["properties"].items():
        described = {"description": schema["description"]} if "description" in schema else {}
        properties[name] = described | (dict(keys[name]) if name in keys else _plain(name, schema, model))
    properties |= {name: keys[name] for name in extra}
    for name, key in (foreign or {}).items():
        properties[name] = _foreign(key)
    result: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if model.__doc__:
        result["description"] = model.__doc__.strip()
    return result | ({"required": generated["required"]} if generated.get("required") else {})


def _plain(name: str, schema: Mapping[str, Any], model: type[Spec]) -> Schema:
    """Drop what editors do not need, and let an optional key stand empty, as the loader does."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "description")}
    if plain.get("default") is None:
        plain.pop("default", None)
    field = model.model_fields[name]
    single = {key: plain.pop(key) for key in list(plain) if key not in ("default", "anyOf")}
    kinds: list[Schema] = plain.pop("anyOf", [single])
    if "Decimal" in str(field.annotation):
        kinds = [kind for kind in kinds if kind.get("type") != "string"]
    if not field.is_required() and NULL not in kinds:
        kinds = [*kinds, NULL]
    return plain | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _foreign(key: Foreign) -> Schema:
    described: Schema = {"description": f"{key.message()}. {key.fix}".rstrip(". ") + ".", "deprecated": True}
    return described if key.allowed else described | {"enum": list(key.harmless)}
