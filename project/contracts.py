"""`output:` as written in YAML → the fields of a contract."""

import re
from collections.abc import Mapping
from typing import cast, get_args

from project.checks import Findings, Grammar, read_spec
from project.hints import quoted, suggest
from project.names import Names, check_name
from project.reader import Node
from project.spec import FieldSpec, FieldType

FIELD_TYPES: tuple[str, ...] = get_args(FieldType)
_FIELD_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NAME_FIX = "use letters, digits and `_`, and begin with a letter"
_FORMS = "write `title: str`, `kind: [brief, report]`, or `{type: ..., description: ...}`"
_OTHER_NAMES: Mapping[str, str] = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "list": "list[str]",
    "array": "list[str]",
    "dict": "object",
    "mapping": "object",
    "list[string]": "list[str]",
    "list[integer]": "list[int]",
    "list[number]": "list[float]",
    "list[dict]": "list[object]",
}


def read_output(node: Node, names: Names, findings: Findings) -> dict[str, FieldSpec] | str | None:
    """Read `output:` of a task: the name of a contract, or its fields. Null means not written."""
    if isinstance(node.value, str):
        nothing = "describe the fields here, or give them a name in config/contracts.yaml"
        check_name(node.value, names.contracts, "contract", "contracts.yaml has", node.here(), findings, nothing)
        return node.value
    return None if node.value is None else read_fields(node, findings)


def read_fields(node: Node, findings: Findings) -> dict[str, FieldSpec] | None:
    """Read a mapping of field names to types, choices, long forms or nested fields."""
    if not node.is_mapping or not node.entries:
        what = (
            "has no fields"
            if not node.value and node.value is not False
            else f"must be a mapping of fields, got {node.got()}"
        )
        findings.wrong(node.here(), what, _FORMS)
        return None
    fields: dict[str, FieldSpec] = {}
    for name, child in node.entries.items():
        if not _FIELD_NAME.fullmatch(name):
            findings.wrong(
                child.at_key(), "cannot be the name of a field", "use letters, digits and `_`, and begin with a letter"
            )
            continue
        spec = _read_field(child, findings)
        if spec is not None:
            fields[name] = spec
    return fields


def _read_field(node: Node, findings: Findings) -> FieldSpec | None:
    if isinstance(node.value, str):
        kind = read_type(node, findings)
        if kind in ("object", "list[object]"):
            findings.wrong(
                node.here(), f"`{kind}` needs its fields", f'write `{{type: "{kind}", fields: {{title: str}}}}`'
            )
            return None
        return FieldSpec(type=cast(FieldType, kind)) if kind else None
    if node.is_list:
        choices = _read_choices(node, findings)
        return FieldSpec(choices=choices) if choices else None
    if node.is_mapping and _is_long(node):
        spec = read_spec(FieldSpec, node, _long_form(), findings)
        if spec is not None:
            _check_field(spec, node, findings)
        return spec
    if node.is_mapping:
        fields = read_fields(node, findings)
        return FieldSpec(type="object", fields=fields) if fields else None
    findings.wrong(node.here(), f"must be a type, got {node.got()}", _FORMS)
    return None


def _is_long(node: Node) -> bool:
    """Say whether a mapping describes the field; any other one names the fields inside it."""
    if isinstance(node.value.get("type"), str):
        return True
    choices = node.entries.get("choices")
    return choices is not None and choices.is_list and set(node.entries) <= set(FieldSpec.model_fields)


def _long_form() -> Grammar:
    return Grammar("a field", {"type": read_type, "choices": _read_choices, "fields": _read_inner})


def read_type(node: Node, findings: Findings) -> str | None:
    """Read the name of a type; the node is a text."""
    kind = cast(str, node.value).replace(" ", "")
    if kind in FIELD_TYPES:
        return kind
    other = _OTHER_NAMES.get(kind.lower())
    fix = f"did you mean `{other}` instead of {quoted(kind)}?" if other else suggest(kind, FIELD_TYPES, "types")
    findings.wrong(node.here(), f"unknown type {quoted(kind)}", fix)
    return None


def _read_choices(node: Node, findings: Findings) -> list[str] | None:
    if node.value is None:
        return None
    if not node.is_list or not node.items:
        what = "has no choices" if node.value == [] else f"must be a list of texts, got {node.got()}"
        findings.wrong(node.here(), what, "write the values allowed: `[brief, report]`")
        return None
    choices: list[str] = []
    for item in node.items:
        if not isinstance(item.value, str):
            what = f"a choice must be text, got {item.got()}"
            findings.wrong(item.here(), what, f'put it in quotes: "{item.raw}"' if item.raw else "write a text")
        elif item.value in choices:
            findings.wrong(
                item.here(), f"the choice {quoted(item.value)} stands twice", f"keep one {quoted(item.value)}"
            )
        else:
            choices.append(item.value)
    return choices


def _read_inner(node: Node, findings: Findings) -> dict[str, FieldSpec] | None:
    return None if node.value is None else read_fields(node, findings)


def _check_field(spec: FieldSpec, node: Node, findings: Findings) -> None:
    nested = spec.type in ("object", "list[object]")
    if nested and spec.fields is None and not node.entries.get("fields"):
        findings.wrong(node.here(), f"`{spec.type}` needs its fields", "add `fields: {title: str}`")
    for key, wanted, fits in (
        ("fields", "object and list[object]", nested),
        ("choices", "str and list[str]", spec.type in ("str", "list[str]")),
        ("minimum", "numbers and lists", spec.type not in ("str", "bool", "object")),
        ("maximum", "numbers and lists", spec.type not in ("str", "bool", "object")),
    ):
        if getattr(spec, key) is not None and not fits:
            where = node.entries[key].at_key()
            findings.wrong(
                where, f"`{key}` is for {wanted}, not for {spec.type}", f"take `{key}` out or change the type"
            )
    if spec.minimum is not None and spec.maximum is not None and spec.minimum > spec.maximum:
        got = f"{node.entries['minimum'].raw} and {node.entries['maximum'].raw}"
        findings.wrong(node.entries["minimum"].here(), f"must be <= maximum, got {got}", "swap minimum and maximum")
