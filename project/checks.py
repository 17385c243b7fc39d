"""A mapping of YAML → one spec: unknown, foreign, missing and wrong values each become a problem with its place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar, cast

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from project.errors import Problem, Where
from project.foreign import Foreign
from project.hints import quoted, shortened, suggest
from project.reader import Node
from project.spec import Spec

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Note:
    """Something that loads but is not what its writer may expect."""

    where: Where
    """The place."""
    what: str
    """What people read."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass
class Findings:
    """What reading a project turns up."""

    problems: list[Problem] = field(default_factory=list[Problem])
    """What stops it."""
    notes: list[Note] = field(default_factory=list[Note])
    """What does not."""

    def wrong(self, where: Where, what: str, fix: str = "") -> None:
        """Add a problem."""
        self.problems.append(Problem(what, where, fix))


Take = Callable[[Node, Findings], Any]
"""Reads one key's value; returns it, or None after adding a problem."""


@dataclass(frozen=True)
class Grammar:
    """How one kind of entry is read."""

    noun: str
    """What an entry is called, with its article: "an agent"."""
    takes: Mapping[str, Take] = field(default_factory=dict[str, Take])
    """Keys whose values have short forms or are checked beyond their type."""
    foreign: Mapping[str, Foreign] = field(default_factory=dict[str, Foreign])
    """Keys that are not taken as they are."""
    meant: Mapping[str, str] = field(default_factory=dict[str, str])
    """Keys that people write, and the key they mean."""
    extra: tuple[str, ...] = ()
    """Keys read by `takes` that are no field of the spec."""
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])
    """Required keys that are not missed where another key stands."""


def read_spec(model: type[S], node: Node, grammar: Grammar, findings: Findings) -> S | None:
    """Build `model` from a mapping, with what is right in it; None where there is no mapping.

    A key without a value counts as not written. What is wrong goes to `findings`; its field then has its default,
    and a text that must be there is "", so that the names in the rest can still be checked.
    """
    if not node.is_mapping:
        _not_a_mapping(model, node, grammar, findings)
        return None
    values = _collect(model, node, grammar, findings)
    _report_missing(model, node, grammar, findings)
    try:
        return model.model_validate(values, strict=True)
    except ValidationError as error:
        bad = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
        for detail in error.errors():
            if detail["type"] != "missing":
                findings.problems.append(explain(detail, node))
    right = {key: value for key, value in values.items() if key not in bad}
    return model.model_construct(**_substitutes(model) | right)


def explain(detail: ErrorDetails, node: Node) -> Problem:
    """Turn one of Pydantic's errors into a problem at the value that it is about."""
    for step in detail["loc"]:
        if isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        elif isinstance(step, str) and step in node.entries:
            node = node.entries[step]
    context = detail.get("ctx", {})
    got = node.got()
    kind = detail["type"]
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        what = f"must be {'one of ' if len(allowed) > 1 else ''}{', '.join(allowed)}; got {got}"
        return Problem(what, node.here(), suggest(str(node.value), allowed, f"{quoted(node.keys[-1])} takes"))
    for limit, sign, word in (("ge", ">=", "at least"), ("gt", ">", "more than"), ("le", "<=", "at most")):
        if limit in context:
            number = f"{context[limit]:g}"
            fix = f"set {quoted(node.keys[-1])} to {word} {number}"
            return Problem(f"must be {sign} {number}, got {got}", node.here(), fix)
    if kind in _TYPES:
        return Problem(f"must be {_TYPES[kind]}, got {got}", node.here(), _retype(kind, node))
    said = detail["msg"][:1].lower() + detail["msg"][1:]
    return Problem(f"{said}, got {got}", node.here(), f"correct {quoted(node.keys[-1])}")


def expect_text(node: Node, findings: Findings) -> str | None:
    """Return a text that is not empty."""
    if isinstance(node.value, str) and node.value.strip():
        return node.value
    if node.value is None or isinstance(node.value, str):
        findings.wrong(node.here(), "is empty", f"write a text after `{node.keys[-1]}:`")
    else:
        what = f"must be text, got {node.got()}"
        findings.wrong(node.here(), what, _retype("string_type", node))
    return None


_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "is_instance_of": "a number",
    "decimal_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
}


def _retype(kind: str, node: Node) -> str:
    value = node.value
    if kind == "string_type":
        if isinstance(value, dict) and all(inner is None for inner in cast(dict[str, Any], value).values()):
            return "put text that begins with `{` in quotes"
        if isinstance(value, list):
            return "put text that begins with `[` in quotes"
        return f'put it in quotes: "{shortened(node.raw)}"' if node.raw else "write a text"
    if kind == "list_type":
        key = node.keys[-1] if node.keys else "key"
        return f"write a list: `{key}: [{value}]`" if isinstance(value, str) else f"write a list: `{key}: [...]`"
    if kind == "dict_type":
        return "write `key: value` pairs, indented below it"
    key = node.keys[-1]
    if kind == "bool_type":
        plain = isinstance(value, str) and value.lower() in ("true", "false", "yes", "no", "on", "off")
        return f"write `{key}: {value}` without quotes" if plain else f"write true or false for {quoted(key)}"
    if isinstance(value, str) and value.strip().isdigit():
        return f"write `{key}: {value.strip()}` without quotes"
    return f"write {_TYPES[kind]} for {quoted(key)}"


def _not_a_mapping(model: type[Spec], node: Node, grammar: Grammar, findings: Findings) -> None:
    needs = ", ".join(_required(model))
    fix = f"{grammar.noun} needs {needs}" if needs else f"{grammar.noun} takes: {', '.join(model.model_fields)}"
    if node.value is None:
        findings.wrong(node.at_key(), "is empty", fix)
    else:
        findings.wrong(node.here(), f"must be a mapping of keys, got {node.got()}", fix)


def _collect(model: type[Spec], node: Node, grammar: Grammar, findings: Findings) -> dict[str, Any]:
    fields = model.model_fields
    values: dict[str, Any] = {}
    for key, child in node.entries.items():
        if key in grammar.foreign:
            _meet(child, grammar.foreign[key], findings)
        elif key not in fields and key not in grammar.extra:
            close = grammar.meant.get(key)
            allowed = [*fields, *grammar.extra]
            fix = f"did you mean `{close}` instead of {quoted(key)}?" if close else ""
            findings.wrong(child.at_key(), "unknown key", fix or suggest(key, allowed, f"{grammar.noun} takes"))
        elif key in grammar.takes:
            taken = grammar.takes[key](child, findings)
            if taken is not None and key in fields:
                values[key] = taken
        elif child.value is not None:
            is_text = fields[key].is_required() and fields[key].annotation is str
            value = expect_text(child, findings) if is_text else child.value
            if value is not None:
                values[key] = _plain(fields[key].annotation, value)
    return values


def _plain(annotation: Any, value: Any) -> Any:
    """Turn numbers into Decimal where the spec has one, and free texts of their line breaks at the end."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and "Decimal" in str(annotation):
        return Decimal(str(value))
    return value.strip() if annotation is str and isinstance(value, str) else value


def _meet(node: Node, foreign: Foreign, findings: Findings) -> None:
    if foreign.passes(node.value):
        return
    if foreign.allowed:
        findings.notes.append(Note(node.at_key(), foreign.message()))
    else:
        findings.wrong(node.at_key(), foreign.message(), _named(foreign.fix, node.keys[-1]))


def _named(fix: str, key: str) -> str:
    return fix.replace("the key out", f"`{key}` out", 1) if fix.startswith("take the key out") else f"`{key}`: {fix}"


def _report_missing(model: type[Spec], node: Node, grammar: Grammar, findings: Findings) -> None:
    for key in _required(model):
        if key not in node.entries:
            if grammar.replaced.get(key) in node.entries:
                continue
            findings.wrong(node.at_key(key), "missing", f"{grammar.noun} needs {', '.join(_required(model))}")
        elif node.entries[key].value is None and key not in grammar.takes:
            findings.wrong(node.entries[key].here(), "is empty", f"{grammar.noun} needs {', '.join(_required(model))}")


def _required(model: type[Spec]) -> list[str]:
    return [name for name, info in model.model_fields.items() if info.is_required()]


def _substitutes(model: type[Spec]) -> dict[str, Any]:
    return {name: "" if model.model_fields[name].annotation is str else [] for name in _required(model)}
