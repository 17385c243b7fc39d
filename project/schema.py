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
from project.schema_parts import NULL, TEXT, TEXTS, Schema, make_object, number_of, short
from project.schema_policy import policy_schema
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

_CONDITION: Schema = TEXT | {"maxLength": MOST_CHARACTERS}


def make_schemas() -> dict[str, Schema]:
    """Return the schema of each file by its name without `.yaml`."""
    return {
        "agents": _file("Agents", AgentSpec, AGENT_KEYS, {"tools": _tools(), "budget": short(make_object(BudgetSpec))}),
        "tasks": _file("Tasks", TaskSpec, TASK_KEYS, _task_keys(), ("guardrail",), fields=True),
        "crews": _crews(),
        "models": _models(),
        "contracts": _contracts(),
        "schedules": _schedules(),
        "policy": policy_schema(),
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
    keys: Mapping[str, Schema],
    extra: tuple[str, ...] = (),
    *,
    fields: bool = False,
) -> Schema:
    entry = make_object(model, foreign, keys, extra)
    schema = _top(title, ENTRY_NAME.pattern, entry)
    return schema | ({"definitions": {"field": _field()}} if fields else {})


def _top(title: str, names: str, entry: Schema) -> Schema:
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"{title} of a Muster project",
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"pattern": f"^{names}$"},
        "additionalProperties": entry,
    }


def _models() -> Schema:
    keys = {
        "price": {"anyOf": [make_object(PriceSpec), NULL]},
        "fallback": short(TEXT, TEXTS),
        "rate_limit": short({"type": "integer", "minimum": 1}, make_object(RateSpec)),
    }
    entry = {"anyOf": [TEXT, make_object(ModelSpec, MODEL_KEYS, keys)]}
    return _top("Models", MODEL_NAME.pattern, entry)


def _contracts() -> Schema:
    return _top("Contracts", ENTRY_NAME.pattern, _fields()) | {"definitions": {"field": _field()}}


def _schedules() -> Schema:
    values = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
    on_failure = make_object(OnFailureSpec, keys={"retry": short(make_object(RunRetrySpec)), "notify": short(TEXTS)})
    schedule = make_object(
        ScheduleSpec,
        keys={
            "inputs": short(values),
            "budget": short(make_object(BudgetSpec)),
            "daily_budget": short(make_object(BudgetSpec)),
            "on_failure": short(on_failure),
            "notify_on": short({"type": "array", "items": {"enum": list(HAPPENINGS)}, "uniqueItems": True}),
        },
    )
    ways = ("command", "webhook", "webhook_env", "smtp")
    channel = make_object(
        ChannelSpec, keys={"command": short(TEXTS | {"minItems": 1}), "smtp": short(make_object(SmtpSpec))}
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


def _task_keys() -> dict[str, Schema]:
    guardrail = _guardrail()
    criteria = {"criteria": {"anyOf": [TEXT, TEXTS, NULL]}}
    by_agent = {
        key: short(TEXT, make_object(spec, keys=criteria))
        for key, spec in (("review", ReviewSpec), ("judge", JudgeSpec))
    }
    return by_agent | {
        "agent": {"anyOf": [TEXT, NULL]},
        "context": {"anyOf": [TEXTS, NULL]},
        "tools": _tools(),
        "guardrails": {"anyOf": [{"type": "array", "items": guardrail}, guardrail, NULL]},
        "guardrail": {"description": "CrewAI's way to write one guardrail.", "anyOf": [guardrail, NULL]},
        "output": {"anyOf": [TEXT, _fields(), NULL]},
        "when": {"anyOf": [_CONDITION, NULL]},
        "for_each": short(_CONDITION, make_object(ForEachSpec, keys={"items": _CONDITION})),
        "refine": short({"type": "boolean"}, make_object(RefineSpec, keys=criteria)),
        "candidates": short(
            number_of(CandidatesSpec, "count"),
            {"type": "array", "items": TEXT, "minItems": 2, "maxItems": 8, "uniqueItems": True},
            make_object(CandidatesSpec),
        ),
        "budget": short(make_object(BudgetSpec)),
        "retry": short(number_of(RetrySpec, "attempts"), make_object(RetrySpec)),
        "fallback": _fallback(),
    }


def _fallback() -> Schema:
    """One way to go on, or a list of them."""
    text = {"anyOf": [TEXT, {"type": "object", "minProperties": 1}]}
    ways = [
        {"type": "object", "properties": {key: schema}, "required": [key], "additionalProperties": False}
        for key, schema in (("agent", TEXT), ("model", TEXT), ("text", text))
    ]
    way = {"anyOf": [{"enum": ["skip", "ask", "stop"]}, *ways]}
    return short(way, {"type": "array", "items": way})


def _crew_keys() -> dict[str, Schema]:
    value = {"type": ["string", "number"]}
    guardrail = _guardrail()
    guardrails = short(guardrail, {"type": "array", "items": guardrail})
    long_form = make_object(InputSpec, keys={"default": value, "guardrails": guardrails})
    inputs: Schema = {
        "type": "object",
        "propertyNames": {"pattern": f"^{INPUT_NAME.pattern}$"},
        "additionalProperties": {"anyOf": [NULL, value, long_form]},
    }
    mapping = {"type": "object", "additionalProperties": value}
    stage = {"anyOf": [TEXT, make_object(StageSpec, keys={"inputs": {"anyOf": [mapping, NULL]}})]}
    state: Schema = {
        "type": "object",
        "propertyNames": {"pattern": f"^{STATE_NAME.pattern}$"},
        "additionalProperties": {"anyOf": [{"enum": list(FIELD_TYPES)}, make_object(StateSpec)]},
    }
    return {
        "goal": {"anyOf": [TEXT, NULL]},
        "manager": short(TEXT, make_object(ManagerSpec)),
        "manager_agent": {"description": "CrewAI's way to write `agent` of `manager`.", "anyOf": [TEXT, NULL]},
        "manager_llm": {"description": "CrewAI's way to write `model` of `manager`.", "anyOf": [TEXT, NULL]},
        "crews": {"anyOf": [{"type": "array", "items": stage, "minItems": 1}, NULL]},
        "state": {"anyOf": [state, NULL]},
        "inputs": {"anyOf": [inputs, NULL]},
        "budget": {"anyOf": [make_object(BudgetSpec), NULL]},
        "queue": short(TEXT, make_object(QueueSpec)),
    }


def _crews() -> Schema:
    """Of the keys that exclude each other, an editor shows only what is sure: what a crew cannot do without."""
    schema = _file("Crews", CrewSpec, CREW_KEYS, _crew_keys(), ("manager_agent", "manager_llm"))
    hierarchical = {"required": ["process"], "properties": {"process": {"const": "hierarchical"}}}
    planned = {"anyOf": [{"required": [key]} for key in ("tasks", "goal", "crews")]}
    listed = {"anyOf": [{"required": [key]} for key in ("tasks", "crews")]}
    schema["additionalProperties"] |= {"if": hierarchical, "then": planned, "else": listed}
    return schema


def _tools() -> Schema:
    by_name: Schema = {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": {"type": ["object", "null"]},
    }
    settings: Schema = {"type": ["object", "null"]}
    in_place: Schema = {"anyOf": [TEXT, by_name, make_object(ToolUse, keys={"settings": settings, "fallback": NULL})]}
    keys: dict[str, Schema] = {
        "settings": settings,
        "retry": short(
            {"type": "integer", "minimum": 2, "maximum": 10},
            make_object(ToolRetrySpec, keys={"on": short(TEXT, TEXTS)}),
        ),
        "fallback": short(in_place, {"type": "array", "items": in_place}),
    }
    long_form = make_object(ToolUse, keys=keys) | {"minProperties": 2}
    return {"anyOf": [{"type": "array", "items": {"anyOf": [TEXT, by_name, long_form]}}, NULL]}


def _guardrail() -> Schema:
    """An entry is a text, or one rule, text or function, with or without a gate."""
    rules = {name: {"description": rule.description, **rule.schema} for name, rule in RULES.items()}
    written_out = {
        "text": TEXT | {"description": "A demand in plain language, judged by a model."},
        "function": TEXT | {"description": "A `@guardrail` function of the project."},
    }
    gate = {"description": "What a broken one does.", "enum": [*GATES, None]}
    entry: Schema = {
        "type": "object",
        "properties": written_out | rules | {"gate": gate},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 2,
        "if": {"required": ["gate"]},
        "then": {"minProperties": 2},
        "else": {"maxProperties": 1},
    }
    return {"anyOf": [TEXT, entry]}


def _fields() -> Schema:
    return {"type": "object", "minProperties": 1, "additionalProperties": {"$ref": "#/definitions/field"}}


def _field() -> Schema:
    """A field in short or long form; a mapping whose `type` is a text is the long one."""
    long_form = make_object(FieldSpec, keys={"fields": {"anyOf": [_fields(), NULL]}})
    return {
        "if": {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
        "then": long_form,
        "else": {"anyOf": [{"enum": [kind for kind in FIELD_TYPES if "object" not in kind]}, TEXTS, _fields()]},
    }


if __name__ == "__main__":
    write_schemas(Path(__file__).resolve().parent.parent / "config" / "schemas")
