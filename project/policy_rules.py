"""`rules:` of policy.yaml → specs, each name, pattern, path and time in them checked."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from project.checks import Findings, Grammar, Note, Take, expect_text, read_spec
from project.entries import read_kinds
from project.entries_schedules import read_timezone
from project.foreign import Foreign
from project.hints import listed, quoted, suggest
from project.hours import HOURS_FIX, read_hours
from project.names import Names, check_agent, check_name
from project.policy_values import (
    EFFECTS,
    RULINGS,
    as_list,
    fits,
    known_tools,
    list_of,
    read_approval,
    read_domains,
    read_pattern,
    read_patterns,
    read_ruling,
    read_some,
    read_tool_patterns,
)
from project.reader import Node
from project.spec_policy import ApprovalSpec, ArgumentSpec, RuleSpec

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_MEANT = {
    "action": "decide", "decision": "decide", "then": "decide", "permission": "decide", "tool": "tools",
    "agent": "agents", "crew": "crews", "effect": "effects", "args": "arguments", "argument": "arguments",
    "when": "hours", "time": "hours", "times": "hours", "tz": "timezone", "zone": "timezone", "path": "paths",
    "domain": "domains", "hosts": "domains", "method": "methods", "confidence": "confidence_below", "taint": "tainted",
    "untrusted": "tainted", "because": "reason", "why": "reason", "message": "reason", "approvals": "approval",
}  # fmt: skip
_ELSEWHERE: Mapping[str, Foreign] = {
    **{ruling: Foreign("refused", "it stands under `decide:`", f"write `decide: {ruling}`") for ruling in RULINGS},
    **{
        key: Foreign("refused", "it stands under `approval:`", f"write `approval: {{{key}: ...}}`")
        for key in ApprovalSpec.model_fields
    },
}
_ARGUMENT_MEANT = {
    "values": "one_of", "in": "one_of", "equals": "one_of", "is": "one_of", "any_of": "one_of", "regex": "pattern",
    "matches": "pattern", "minimum": "min", "maximum": "max", "at_least": "min", "at_most": "max",
    "length": "max_length",
}  # fmt: skip


def read_rules(node: Node, names: Names, approvals: ApprovalSpec, findings: Findings) -> list[tuple[RuleSpec, Node]]:
    """Read the rules in order, each with its place; those with a mistake are left out.

    What the `approval:` of a rule leaves open is as `approvals` say.
    """
    takes: dict[str, Take] = {
        "decide": read_ruling,
        "tools": partial(read_tool_patterns, names=names),
        "agents": partial(_read_agents, names=names),
        "crews": partial(_read_crews, names=names),
        "effects": _read_effects,
        "arguments": _read_arguments,
        "paths": _read_paths,
        "domains": read_domains,
        "methods": _read_methods,
        "hours": _read_hours,
        "timezone": read_timezone,
        "approval": partial(read_approval, approvals=approvals),
    }
    grammar = Grammar("a rule", takes, _ELSEWHERE, _MEANT)
    rules: list[tuple[RuleSpec, Node]] = []
    for item in list_of(node, "rules", findings):
        before = len(findings.problems)
        rule = read_spec(RuleSpec, item, grammar, findings)
        if rule is not None and len(findings.problems) == before:
            check_arguments(rule, item, names, findings)
            _note_idle(rule, item, findings)
            rules.append((rule, item))
    return rules


def check_arguments(rule: RuleSpec, node: Node, names: Names, findings: Findings) -> None:
    """Check that the tools of a rule have the arguments that it asks for: a call without them would never fit."""
    if not rule.arguments and not rule.methods:
        return
    tools = rule.tools
    if not tools or any("*" in tool for tool in tools):
        tools = [tool for tool in known_tools(names) if fits(tool, rule.tools)]
    if not tools or any(tool not in names.tools for tool in tools):
        return
    parameters = dict.fromkeys(name for tool in tools for name in names.tools[tool].parameters)
    wanted = {name: node.entries["arguments"].entries[name] for name in rule.arguments}
    if rule.methods and "method" not in rule.arguments:
        wanted["method"] = node.entries["methods"]
    noun = f"the tool `{tools[0]}` has" if len(tools) == 1 else "no tool of this rule has"
    for name, place in wanted.items():
        if name not in parameters and name.partition(".")[0] not in parameters:
            what = f"{noun} {'no' if len(tools) == 1 else 'an'} argument {quoted(name)}, so it would never fit"
            findings.wrong(place.at_key(), what, suggest(name, parameters, "there are", "take it out"))


def _read_agents(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    return read_patterns(
        node, findings, "agent", names.agents, lambda name, item: check_agent(name, names, item.here(), findings)
    )


def _read_crews(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    def known(name: str, item: Node) -> bool:
        return check_name(name, names.crews, "crew", "the project has", item.here(), findings)

    return read_patterns(node, findings, "crew", names.crews, known)


def _read_effects(node: Node, findings: Findings) -> Any:
    return None if node.value is None else read_kinds(as_list(node), findings, kinds=EFFECTS, noun="effect")


def _read_arguments(node: Node, findings: Findings) -> dict[str, ArgumentSpec] | None:
    if node.value is None:
        return None
    if not node.is_mapping or not node.entries:
        fix = "write each argument by its name, such as `arguments: {channel: general}`"
        got = "is empty" if node.is_mapping else f"must be a mapping of arguments, got {node.got()}"
        findings.wrong(node.here(), got, fix)
        return None
    found = {name: _read_argument(child, findings) for name, child in node.entries.items()}
    return {name: spec for name, spec in found.items() if spec is not None}


def _read_argument(node: Node, findings: Findings) -> ArgumentSpec | None:
    """Read what an argument must be: a value, a list of values, or the long form."""
    name = node.keys[-1]
    if node.value is None:
        fix = f"write what {quoted(name)} must be: a value, a list, or `{{pattern: ...}}`"
        findings.wrong(node.here(), "is empty", fix)
        return None
    if not node.is_mapping:
        values = _read_values(node, findings, star=_is_pattern)
        return ArgumentSpec(one_of=values) if values else None
    takes: dict[str, Take] = {"one_of": partial(_read_values, star=lambda _value: False), "pattern": read_pattern}
    before = len(findings.problems)
    spec = read_spec(ArgumentSpec, node, Grammar("an argument", takes, meant=_ARGUMENT_MEANT), findings)
    if spec is None or len(findings.problems) > before:
        return None
    if spec == ArgumentSpec():
        findings.wrong(node.here(), "says nothing", f"give one of: {listed(ArgumentSpec.model_fields)}")
    elif spec.min is not None and spec.max is not None and spec.min > spec.max:
        what = f"must have min <= max, got {spec.min:g} and {spec.max:g}"
        findings.wrong(node.entries["min"].here(), what, "exchange them, or correct one")
    return spec


def _read_values(node: Node, findings: Findings, *, star: Callable[[Any], bool]) -> list[Any] | None:
    """Read a value, or a list of values, none of them a pattern by the look of it."""
    items = node.items if node.is_list else (node,)
    if node.value is None or not items:
        findings.wrong(node.here(), "is empty", "write a value, or a list of values")
        return None
    values: list[Any] = []
    for item in items:
        if not isinstance(item.value, str | int | float | bool):
            fix = "write each value by itself, in quotes where it begins with `{` or `[`"
            findings.wrong(item.here(), f"must be a value, got {item.got()}", fix)
        elif star(item.value):
            fix = f"write `{{pattern: ...}}`, an expression, or `{{one_of: [{item.value!r}]}}` for that very text"
            findings.wrong(item.here(), f"{quoted(str(item.value))} is a value, in which `*` has no meaning", fix)
        else:
            values.append(item.value)
    return values or None


def _is_pattern(value: Any) -> bool:
    return isinstance(value, str) and (value.endswith("*") or value.startswith("*"))


def _read_paths(node: Node, findings: Findings) -> list[str] | None:
    def known(path: str, item: Node) -> bool:
        parts = path.split("/")
        fix = "write it from the run's own folder, such as `reports/**`, or from `/`"
        if "\\" in path:
            findings.wrong(item.here(), "must have `/` between folders", fix)
        elif path.startswith("~"):
            findings.wrong(item.here(), "`~` is nobody's folder here", fix)
        elif found := {".", ".."}.intersection(parts):
            findings.wrong(item.here(), f"must be a plain path, got `{max(found)}` in it", fix)
        else:
            return True
        return False

    return read_some(node, findings, noun="path", empty="the rule then fits every path", known=known)


def _read_methods(node: Node, findings: Findings) -> list[str] | None:
    def known(name: str, item: Node) -> bool:
        return check_name(name.upper(), _METHODS, "method", "there are", item.here(), findings)

    found = read_some(node, findings, noun="method", empty="the rule then fits every method", known=known)
    return [name.upper() for name in found] if found else None


def _read_hours(node: Node, findings: Findings) -> str | None:
    if node.value is None:
        return None
    text = expect_text(node, findings)
    if text is None:
        return None
    try:
        read_hours(text)
    except ValueError as error:
        findings.wrong(node.here(), str(error), HOURS_FIX)
        return None
    return text.strip()


def _note_idle(rule: RuleSpec, node: Node, findings: Findings) -> None:
    """Note keys of a rule that change nothing, and a rule that lets everything pass."""
    if "timezone" in node.entries and not rule.hours:
        findings.notes.append(Note(node.entries["timezone"].at_key(), "counts only with `hours`"))
    if rule.approval is not None and rule.decide != "ask":
        what = f"nobody is asked: the rule {'denies' if rule.decide == 'deny' else 'allows'}"
        findings.notes.append(Note(node.entries["approval"].at_key(), what))
    if rule == RuleSpec(decide="allow", name=rule.name, reason=rule.reason, timezone=rule.timezone):
        findings.notes.append(Note(node.here(), "allows every call of every tool"))
