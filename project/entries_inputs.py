"""`inputs:` of a crew as written in YAML → InputSpec."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from project.checks import Findings, Grammar, Take, read_spec
from project.hints import listed, quoted
from project.names import INPUT_NAME, Names
from project.reader import Node
from project.rules import NEED_MORE, RULES
from project.spec import GuardrailSpec, InputSpec
from project.uses import read_guardrails

_FITS: Mapping[str, str] = {
    "text": "text",
    "integer": "a whole number",
    "number": "a number",
    "folder": "a path",
    "file": "a path",
}


def read_inputs(node: Node, findings: Findings, *, names: Names) -> dict[str, InputSpec] | None:
    """Read a mapping of names to nothing, a default, or the long form. Null means not written."""
    if node.value is None:
        return None
    if not node.is_mapping:
        fix = "write `topic:` for a text that must be given, `words: 600` for one with a default"
        findings.wrong(node.here(), f"must be a mapping of inputs, got {node.got()}", fix)
        return None
    inputs: dict[str, InputSpec] = {}
    for name, child in node.entries.items():
        if not INPUT_NAME.fullmatch(name):
            findings.wrong(
                child.at_key(),
                "cannot be the name of an input",
                "use letters, digits, `_` and `-`, and begin with a letter",
            )
        inputs[name] = _read_input(child, findings, names) or InputSpec()
    return inputs


def _read_input(node: Node, findings: Findings, names: Names) -> InputSpec | None:
    if node.value is None:
        return InputSpec()
    if node.is_mapping:
        default = node.entries.get("default")
        takes: dict[str, Take] = {"default": _read_default, "guardrails": partial(_read_guardrails, names=names)}
        meant = {"guardrail": "guardrails", "rules": "guardrails", "check": "guardrails"}
        spec = read_spec(InputSpec, node, Grammar("an input", takes, meant=meant), findings)
        _check_type(spec, node, findings)
        if spec is None or default is None or spec.default is None:
            return spec
        kind = spec.type if "type" in node.entries else _type_of(spec.default)
        return _fit_default(spec.model_copy(update={"type": kind}), default, findings)
    default_value = _read_default(node, findings)
    return None if default_value is None else InputSpec(type=cast(Any, _type_of(default_value)), default=default_value)


def _read_guardrails(node: Node, findings: Findings, *, names: Names) -> list[GuardrailSpec] | None:
    """Read the rules of an input: those that need nothing but its text. Null means not written."""
    before = len(findings.problems)
    found = read_guardrails(node, names, findings)
    if found is None or len(findings.problems) > before:
        return None
    for item, guardrail in zip(node.items if node.is_list else (node,), found, strict=True):
        what = ""
        if guardrail.rule is None:
            what = f"a {'function' if guardrail.function else 'demand in plain words'} cannot judge an input"
        elif guardrail.rule in NEED_MORE:
            what = (
                f"`{guardrail.rule}` cannot judge an input: it looks at what a task was given and what tools returned"
            )
        elif item.is_mapping and "gate" in item.entries and guardrail.gate != "fail":
            findings.wrong(item.entries["gate"].here(), "an input that breaks a rule is refused", "take `gate` out")
        if what:
            allowed = [name for name in RULES if name not in NEED_MORE]
            findings.wrong(item.here(), what, f"rules for inputs: {listed(allowed)}")
    return [guardrail.model_copy(update={"gate": "fail"}) for guardrail in found]


def _check_type(spec: InputSpec | None, node: Node, findings: Findings) -> None:
    if spec is not None and spec.guardrails and (spec.type != "text" or isinstance(spec.default, int | float)):
        what = "only texts have guardrails"
        findings.wrong(node.entries["guardrails"].at_key(), what, "take `guardrails` out, or set `type: text`")


def _read_default(node: Node, findings: Findings) -> str | int | float | None:
    if isinstance(node.value, bool) or node.is_mapping or node.is_list:
        what = f"a default must be a text or a number, got {node.got()}"
        findings.wrong(
            node.here(),
            what,
            f'put it in quotes: "{node.raw}"' if node.raw else f"write one value for {quoted(node.keys[-1])}",
        )
        return None
    return cast("str | int | float | None", node.value)


def _type_of(default: str | int | float) -> str:
    if isinstance(default, str):
        return "text"
    return "integer" if isinstance(default, int) else "number"


def _fit_default(spec: InputSpec, node: Node, findings: Findings) -> InputSpec:
    kind = _type_of(cast(Any, spec.default))
    if spec.type == "number" and kind == "integer":
        return spec.model_copy(update={"default": float(cast(int, spec.default))})
    if kind != ("text" if spec.type in ("folder", "file") else spec.type):
        fix = (
            f'put it in quotes: "{node.raw}"'
            if kind != "text"
            else "write a number without quotes, or set `type: text`"
        )
        got = node.got()
        findings.wrong(
            node.here(), f"the default of an input of type {spec.type} must be {_FITS[spec.type]}, got {got}", fix
        )
    return spec
