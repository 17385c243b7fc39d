"""JSON Schemas of the files of config/, for editors: from spec.py, with the short forms and the foreign keys."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from project.contracts import FIELD_TYPES
from project.expressions import MOST_CHARACTERS
from project.foreign import AGENT_KEYS, CREW_KEYS, MODEL_KEYS, TASK_KEYS, Foreign
from project.names import ENTRY_NAME, INPUT_NAME, MODEL_NAME, STATE_NAME
from project.rules import RULES
from project.spec import (
    AgentSpec,
    BudgetSpec,
    CandidatesSpec,
    CrewSpec,
    FieldSpec,
    ForEachSpec,
    InputSpec,
    JudgeSpec,
    ManagerSpec,
    ModelSpec,
    PriceSpec,
    QueueSpec,
    RateSpec,
    RefineSpec,
    RetrySpec,
    ReviewSpec,
    Spec,
    StageSpec,
    StateSpec,
    TaskSpec,
    ToolRetrySpec,
    ToolUse,
)
from project.spec_schedules import HAPPENINGS, ChannelSpec, OnFailureSpec, RunRetrySpec, ScheduleSpec, SmtpSpec
from project.uses import GATES

_Schema = dict[str, Any]

_NULL: _Schema = {"type": "null"}
_TEXT: _Schema = {"type": "string", "minLength": 1}
_TEXTS: _Schema = {"type": "array", "items": _TEXT}
_CONDITION: _Schema = _TEXT | {"maxLength": MOST_CHARACTERS}


def make_schemas() -> dict[str, _Schema]:
    """Return the schema of each file by its name without `.yaml`."""
    return {
        "agents": _file("Agents", AgentSpec, AGENT_KEYS, {"tools": _tools()}),
        "tasks": _file("Tasks", TaskSpec, TASK_KEYS, _task_keys(), ("guardrail",), fields=True),
        "crews": _crews(),
        "models": _models(),
        "contracts": _contracts(),
        "schedules": _schedules(),
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write `<folder>/<name>.schema.json` for each file of config/; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, schema in make_schemas().items():
        path = folder / f"{name}.schema.json"
        path.write_text(render(schema), encoding="utf-8")
        written.append(path)
    return written


def render(schema: Mapping[str, Any]) -> str:
    """Return the schema as it stands in its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _file(
    title: str,
    model: type[Spec],
    foreign: Mapping[str, Foreign],
    keys: Mapping[str, _Schema],
    extra: tuple[str, ...] = (),
    *,
    fields: bool = False,
) -> _Schema:
    entry = _object(model, foreign, keys, extra)
    schema = _top(title, ENTRY_NAME.pattern, entry)
    return schema | ({"definitions": {"field": _field()}} if fields else {})


def _top(title: str, names: str, entry: _Schema) -> _Schema:
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"{title} of a Muster project",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{names}$"},
        "additionalProperties": entry,
    }


def _models() -> _Schema:
    keys = {
        "price": {"anyOf": [_object(PriceSpec), _NULL]},
        "fallback": _short(_TEXT, _TEXTS),
        "rate_limit": _short({"type": "integer", "minimum": 1}, _object(RateSpec)),
    }
    entry = {"anyOf": [_TEXT, _object(ModelSpec, MODEL_KEYS, keys)]}
    return _top("Models", MODEL_NAME.pattern, entry)


def _contracts() -> _Schema:
    return _top("Contracts", ENTRY_NAME.pattern, _fields()) | {"definitions": {"field": _field()}}


def _schedules() -> _Schema:
    values = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
    on_failure = _object(OnFailureSpec, keys={"retry": _short(_object(RunRetrySpec)), "notify": _short(_TEXTS)})
    schedule = _object(
        ScheduleSpec,
        keys={
            "inputs": _short(values),
            "budget": _short(_object(BudgetSpec)),
            "on_failure": _short(on_failure),
            "notify_on": _short({"type": "array", "items": {"enum": list(HAPPENINGS)}, "uniqueItems": True}),
        },
    )
    ways = ("command", "webhook", "webhook_env", "smtp")
    channel = _object(
        ChannelSpec, keys={"command": _short(_TEXTS | {"minItems": 1}), "smtp": _short(_object(SmtpSpec))}
    )
    channel["anyOf"] = [{"required": [way]} for way in ways]
    sections = {"schedules": ("When crews run by themselves.", schedule), "notify": ("Ways to tell people.", channel)}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Schedules of a Muster project",
        "type": "object",
        "properties": {
            key: {
                "description": description,
                "type": ["object", "null"],
                "propertyNames": {"pattern": f"^{ENTRY_NAME.pattern}$"},
                "additionalProperties": entry,
            }
            for key, (description, entry) in sections.items()
        },
        "additionalProperties": False,
    }


def _task_keys() -> dict[str, _Schema]:
    guardrail = _guardrail()
    criteria = {"criteria": {"anyOf": [_TEXT, _TEXTS, _NULL]}}
    by_agent = {
        key: _short(_TEXT, _object(spec, keys=criteria)) for key, spec in (("review", ReviewSpec), ("judge", JudgeSpec))
    }
    return by_agent | {
        "agent": {"anyOf": [_TEXT, _NULL]},
        "context": {"anyOf": [_TEXTS, _NULL]},
        "tools": _tools(),
        "guardrails": {"anyOf": [{"type": "array", "items": guardrail}, guardrail, _NULL]},
        "guardrail": {"description": "CrewAI's way to write one guardrail.", "anyOf": [guardrail, _NULL]},
        "output": {"anyOf": [_TEXT, _fields(), _NULL]},
        "when": {"anyOf": [_CONDITION, _NULL]},
        "for_each": _short(_CONDITION, _object(ForEachSpec, keys={"items": _CONDITION})),
        "refine": _short({"type": "boolean"}, _object(RefineSpec, keys=criteria)),
        "candidates": _short(
            _number(CandidatesSpec, "count"),
            {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 8, "uniqueItems": True},
            _object(CandidatesSpec),
        ),
        "retry": _short(_number(RetrySpec, "attempts"), _object(RetrySpec)),
        "fallback": _fallback(),
    }


def _fallback() -> _Schema:
    """One way to go on, or a list of them."""
    text = {"anyOf": [_TEXT, {"type": "object", "minProperties": 1}]}
    ways = [
        {"type": "object", "properties": {key: schema}, "required": [key], "additionalProperties": False}
        for key, schema in (("agent", _TEXT), ("model", _TEXT), ("text", text))
    ]
    way = {"anyOf": [{"enum": ["skip", "ask", "stop"]}, *ways]}
    return _short(way, {"type": "array", "items": way})


def _crew_keys() -> dict[str, _Schema]:
    value = {"type": ["string", "number"]}
    long_form = _object(InputSpec, keys={"default": value})
    inputs: _Schema = {
        "type": "object",
        "propertyNames": {"pattern": f"^{INPUT_NAME.pattern}$"},
        "additionalProperties": {"anyOf": [_NULL, value, long_form]},
    }
    mapping = {"type": "object", "additionalProperties": value}
    stage = {"anyOf": [_TEXT, _object(StageSpec, keys={"inputs": {"anyOf": [mapping, _NULL]}})]}
    state: _Schema = {
        "type": "object",
        "propertyNames": {"pattern": f"^{STATE_NAME.pattern}$"},
        "additionalProperties": {"anyOf": [{"enum": list(FIELD_TYPES)}, _object(StateSpec)]},
    }
    return {
        "goal": {"anyOf": [_TEXT, _NULL]},
        "manager": _short(_TEXT, _object(ManagerSpec)),
        "manager_agent": {"description": "CrewAI's way to write `agent` of `manager`.", "anyOf": [_TEXT, _NULL]},
        "manager_llm": {"description": "CrewAI's way to write `model` of `manager`.", "anyOf": [_TEXT, _NULL]},
        "crews": {"anyOf": [{"type": "array", "items": stage, "minItems": 1}, _NULL]},
        "state": {"anyOf": [state, _NULL]},
        "inputs": {"anyOf": [inputs, _NULL]},
        "budget": {"anyOf": [_object(BudgetSpec), _NULL]},
        "queue": _short(_TEXT, _object(QueueSpec)),
    }


def _crews() -> _Schema:
    """Of the keys that exclude each other, an editor shows only what is sure: what a crew cannot do without."""
    schema = _file("Crews", CrewSpec, CREW_KEYS, _crew_keys(), ("manager_agent", "manager_llm"))
    hierarchical = {"required": ["process"], "properties": {"process": {"const": "hierarchical"}}}
    planned = {"anyOf": [{"required": [key]} for key in ("tasks", "goal", "crews")]}
    listed = {"anyOf": [{"required": [key]} for key in ("tasks", "crews")]}
    schema["additionalProperties"] |= {"if": hierarchical, "then": planned, "else": listed}
    return schema


def _short(*forms: _Schema) -> _Schema:
    return {"anyOf": [*forms, _NULL]}


def _number(model: type[Spec], name: str) -> _Schema:
    """Return the bounds of a number that may stand for a whole mapping."""
    properties = model.model_json_schema()["properties"][name]
    return {key: value for key, value in properties.items() if key in ("type", "minimum", "maximum")}


def _tools() -> _Schema:
    by_name: _Schema = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": {"type": ["object", "null"]},
    }
    settings: _Schema = {"type": ["object", "null"]}
    in_place: _Schema = {"anyOf": [_TEXT, by_name, _object(ToolUse, keys={"settings": settings, "fallback": _NULL})]}
    keys: dict[str, _Schema] = {
        "settings": settings,
        "retry": _short(
            {"type": "integer", "minimum": 2, "maximum": 10}, _object(ToolRetrySpec, keys={"on": _short(_TEXT, _TEXTS)})
        ),
        "fallback": _short(in_place, {"type": "array", "items": in_place}),
    }
    long_form = _object(ToolUse, keys=keys) | {"minProperties": 2}
    return {"anyOf": [{"type": "array", "items": {"anyOf": [_TEXT, by_name, long_form]}}, _NULL]}


def _guardrail() -> _Schema:
    """An entry is a text, or one rule, text or function, with or without a gate."""
    rules = {name: {"description": rule.description, **rule.schema} for name, rule in RULES.items()}
    written_out = {
        "text": _TEXT | {"description": "A demand in plain language, judged by a model."},
        "function": _TEXT | {"description": "A `@guardrail` function of the project."},
    }
    gate = {"description": "What a broken one does.", "enum": [*GATES, None]}
    entry: _Schema = {
        "type": "object",
        "properties": written_out | rules | {"gate": gate},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 2,
        "if": {"required": ["gate"]},
        "then": {"minProperties": 2},
        "else": {"maxProperties": 1},
    }
    return {"anyOf": [_TEXT, entry]}


def _fields() -> _Schema:
    return {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/definitions/field"}}


def _field() -> _Schema:
    """A field in short or long form; a mapping whose `type` is a text is the long one."""
    long_form = _object(FieldSpec, keys={"fields": {"anyOf": [_fields(), _NULL]}})
    return {
        "if": {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
        "then": long_form,
        "else": {"anyOf": [{"enum": [kind for kind in FIELD_TYPES if "object" not in kind]}, _TEXTS, _fields()]},
    }


def _object(
    model: type[Spec],
    foreign: Mapping[str, Foreign] | None = None,
    keys: Mapping[str, _Schema] | None = None,
    extra: tuple[str, ...] = (),
) -> _Schema:
    keys = keys or {}
    generated = model.model_json_schema()
    generated = generated.get("$defs", {}).get(model.__name__, generated)  # where a model holds itself
    properties: _Schema = {}
    for name, schema in generated["properties"].items():
        described = {"description": schema["description"]} if "description" in schema else {}
        properties[name] = described | (dict(keys[name]) if name in keys else _plain(name, schema, model))
    properties |= {name: keys[name] for name in extra}
    for name, key in (foreign or {}).items():
        properties[name] = _foreign(key)
    result: _Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if model.__doc__:
        result["description"] = model.__doc__.strip()
    return result | ({"required": generated["required"]} if generated.get("required") else {})


def _plain(name: str, schema: Mapping[str, Any], model: type[Spec]) -> _Schema:
    """Drop what editors do not need, and let an optional key stand empty, as the loader does."""
    plain = {key: value for key, value in schema.items() if key not in ("title", "description")}
    if plain.get("default") is None:
        plain.pop("default", None)
    field = model.model_fields[name]
    single = {key: plain.pop(key) for key in list(plain) if key not in ("default", "anyOf")}
    kinds: list[_Schema] = plain.pop("anyOf", [single])
    if "Decimal" in str(field.annotation):
        kinds = [kind for kind in kinds if kind.get("type") != "string"]
    if not field.is_required() and _NULL not in kinds:
        kinds = [*kinds, _NULL]
    return plain | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _foreign(key: Foreign) -> _Schema:
    described: _Schema = {"description": f"{key.message()}. {key.fix}".rstrip(". ") + ".", "deprecated": True}
    return described if key.allowed else described | {"enum": list(key.harmless)}


if __name__ == "__main__":
    write_schemas(Path(__file__).resolve().parent.parent / "config" / "schemas")
