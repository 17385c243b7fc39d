"""The JSON Schema of policy.yaml, with its short forms."""

from project.regex import LONGEST_PATTERN
from project.schema_parts import NULL, TEXT, TEXTS, Schema, make_object, short
from project.spec import BudgetSpec, RateSpec
from project.spec_policy import (
    ApprovalSpec,
    ApprovalsSpec,
    ArgumentSpec,
    BudgetsSpec,
    CallBudgetSpec,
    DefaultsSpec,
    ExampleSpec,
    OrderSpec,
    PolicySpec,
    RuleSpec,
    ToolPolicySpec,
)

_NAMES = short(TEXT, TEXTS | {"minItems": 1, "uniqueItems": True})
_ANY_NAMES = short(TEXT, TEXTS | {"uniqueItems": True})
_VALUE: Schema = {"type": ["string", "number", "boolean"]}
_VALUES: Schema = {"type": "array", "items": _VALUE, "minItems": 1}
_PATTERN: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_PATTERN, "format": "regex"}
_VARIABLE = "^[A-Za-z_][A-Za-z0-9_]*$"
_CEILINGS = short(make_object(BudgetSpec))


def policy_schema() -> Schema:
    """Return the schema of policy.yaml."""
    keys = {
        "rules": _list_of(_rule()),
        "defaults": short(make_object(DefaultsSpec)),
        "order": _list_of(_order()),
        "tools": short({"type": "object", "additionalProperties": _tool()}),
        "approvals": short(make_object(ApprovalsSpec, keys={"approvers": _NAMES, "notify": _ANY_NAMES})),
        "budgets": short(_budgets()),
        "redact": short(_PATTERN, {"type": "array", "items": _PATTERN}),
        "tests": _list_of(_test()),
    }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Policy of a Muster project"}
    return head | make_object(PolicySpec, keys=keys)


def _list_of(entry: Schema) -> Schema:
    return short({"type": "array", "items": entry})


def _rule() -> Schema:
    argument_keys = {"one_of": short(_VALUE, _VALUES), "pattern": short(_PATTERN)}
    argument = {"anyOf": [_VALUE, _VALUES, make_object(ArgumentSpec, keys=argument_keys) | {"minProperties": 1}]}
    effects = {"type": "array", "items": {"enum": list(DefaultsSpec.model_fields)}, "minItems": 1}
    approval = make_object(ApprovalSpec, keys={"approvers": _NAMES})
    keys = dict.fromkeys(("tools", "agents", "crews", "paths", "domains", "methods"), _NAMES) | {
        "effects": short({"enum": list(DefaultsSpec.model_fields)}, effects),
        "arguments": short({"type": "object", "additionalProperties": argument, "minProperties": 1}),
        "approval": short(TEXT, TEXTS | {"minItems": 1}, approval),
        "hours": {"anyOf": [TEXT, NULL]},
    }
    return make_object(RuleSpec, keys=keys)


def _order() -> Schema:
    keys = dict.fromkeys(("after", "before", "never_with", "tasks"), _NAMES)
    return make_object(OrderSpec, keys={"tool": TEXT, **keys})


def _tool() -> Schema:
    keys = {
        "secrets": short({"type": "string", "pattern": _VARIABLE}, _variables()),
        "domains": _ANY_NAMES,
        "rate": short({"type": "integer", "minimum": 1}, make_object(RateSpec)),
    }
    return make_object(ToolPolicySpec, keys=keys)


def _variables() -> Schema:
    return {"type": "array", "items": {"type": "string", "pattern": _VARIABLE}, "uniqueItems": True}


def _budgets() -> Schema:
    return make_object(
        BudgetsSpec, keys={"call": short(make_object(CallBudgetSpec)), "day": _CEILINGS, "month": _CEILINGS}
    )


def _test() -> Schema:
    keys = {"tool": TEXT, "arguments": short({"type": "object"}), "delegated_by": _ANY_NAMES}
    return make_object(ExampleSpec, keys=keys)
