"""`tools:` and `guardrails:` as written in YAML → ToolUse and GuardrailSpec, with their names and settings checked."""

import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from project.checks import Findings, expect_text
from project.declaration import HANDED
from project.hints import listed, quoted, shown, suggest
from project.names import Names
from project.reader import Node
from project.rules import RULES
from project.spec import Gate, GuardrailSpec, ToolUse

GATES: tuple[str, ...] = get_args(Gate)
"""What a broken guardrail may do."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TOOL_FORMS = "write `- name`, or `- name: {argument: value}`"
_GUARDRAIL_FORMS = "write a rule such as `- words: {max: 300}`, a function's name, or a demand in plain words"


def read_tools(node: Node, names: Names, findings: Findings) -> list[ToolUse] | None:
    """Read `tools:`: a list of names, each with the arguments that YAML fixes. Null means not written."""
    if node.value is None:
        return None
    if not node.is_list:
        fix = f"write a list: `tools: [{node.value}]`" if isinstance(node.value, str) else _TOOL_FORMS
        findings.wrong(node.here(), f"must be a list of tools, got {node.got()}", fix)
        return None
    uses: list[ToolUse] = []
    for item in node.items:
        use = _read_tool(item, names, findings)
        if use is None:
            continue
        if any(use.name == earlier.name for earlier in uses):
            findings.wrong(item.here(), f"the tool {quoted(use.name)} is listed twice", f"keep one {quoted(use.name)}")
        else:
            uses.append(use)
    return uses


def read_guardrails(node: Node, names: Names, findings: Findings) -> list[GuardrailSpec] | None:
    """Read `guardrails:`, or CrewAI's `guardrail:` with one entry. Null means not written."""
    if node.value is None:
        return None
    items = node.items if node.is_list else (node,)
    specs = [_read_guardrail(item, names, findings) for item in items]
    return [spec for spec in specs if spec is not None]


def _read_tool(node: Node, names: Names, findings: Findings) -> ToolUse | None:
    if isinstance(node.value, str) and node.value.strip():
        if not _know_tool(node.value, node, names, findings):
            return None
        _check_fixed(node.value, {}, node, names, findings)
        return ToolUse(name=node.value)
    if not node.is_mapping or not node.entries:
        findings.wrong(node.here(), f"a tool must be a name, got {node.got()}", _TOOL_FORMS)
        return None
    written = cast(dict[str, Any], node.value)
    if set(written) == {"name", "settings"}:
        name, settings, place = written["name"], node.entries["settings"], node.entries["name"]
        if not isinstance(name, str):
            findings.wrong(place.here(), f"must be text, got {shown(name)}", "write the tool's name")
            return None
    elif len(written) == 1:
        name, settings = next(iter(node.entries.items()))
        place = settings
    else:
        first = next(iter(written))
        fix = f"indent the arguments below `{first}:`, and begin every other tool with its own `- `"
        findings.wrong(node.here(), f"one tool an entry, got {len(written)} keys", fix)
        return None
    if not _know_tool(name, place, names, findings):
        return None
    return ToolUse(name=name, settings=_read_settings(name, settings, names, findings))


def _know_tool(name: str, node: Node, names: Names, findings: Findings) -> bool:
    if name in names.tools or name in names.crewai_tools or name in names.own_crewai or name in names.doubtful:
        return True
    what = f"unknown tool {quoted(name)}"
    if name in names.left_out:
        what += ": it is written for another library"
        fix = 'make it a function with `from muster import tool` and `@tool(effect="read")`'
    else:
        near = suggest(name, [*names.tools, *sorted(names.crewai_tools)], "tools")
        lead = f"tools: {listed(names.tools)}; and the classes of crewai-tools"
        nothing = "write a function with `@tool` in tools/"
        fix = near if near.startswith("did you") else lead if names.tools else nothing
    where = node.at_key() if node.is_mapping or node.value is None else node.here()
    findings.wrong(where, what, fix)
    return False


def _check_fixed(name: str, settings: Mapping[str, Any], node: Node, names: Names, findings: Findings) -> None:
    declared = names.tools.get(name)
    if declared is None:
        return
    for argument in declared.fixed:
        if argument in declared.required and argument not in settings:
            what = f"the tool `{name}` needs `{argument}`, which no agent may choose"
            where = node.at_key() if not isinstance(node.value, str) else node.here()
            findings.wrong(where, what, f'write `- {name}: {{{argument}: "..."}}`')


def _read_settings(name: str, node: Node, names: Names, findings: Findings) -> dict[str, Any]:
    if node.value is not None and not node.is_mapping:
        what = f"the arguments of `{name}` must be a mapping, got {node.got()}"
        findings.wrong(node.here(), what, f"write `- {name}: {{argument: value}}`")
        return {}
    declared = names.tools.get(name)
    for key, child in node.entries.items():
        if declared is None or key in declared.parameters:
            continue
        what = f"the tool `{name}` has no argument {quoted(key)}"
        fix = suggest(key, declared.parameters, f"`{name}` takes", f"`{name}` takes no arguments")
        if key in HANDED:
            what, fix = f"`{key}` is filled by Muster", f"take `{key}` out"
        findings.wrong(child.at_key(), what, fix)
    settings = dict(cast(dict[str, Any], node.value or {}))
    _check_fixed(name, settings, node, names, findings)
    return settings


def _read_guardrail(node: Node, names: Names, findings: Findings) -> GuardrailSpec | None:
    if isinstance(node.value, str) and node.value.strip():
        return _read_bare_guardrail(node, node.value.strip(), names, findings)
    if not node.is_mapping or not node.entries:
        what = f"a guardrail must be a rule, a function or a text, got {node.got()}"
        findings.wrong(node.here(), what, _GUARDRAIL_FORMS)
        return None
    entries = {key: child for key, child in node.entries.items() if key != "gate"}
    if not entries:
        findings.wrong(node.here(), "a gate without a guardrail", "write `- words: {max: 300}` with `gate:` below it")
        return None
    if len(entries) > 1:
        fix = "begin every rule with its own `- `, and put texts with `: ` in quotes"
        findings.wrong(node.here(), f"one rule an entry, got {len(entries)} keys", fix)
        return None
    (name, setting), gate = next(iter(entries.items())), _read_gate(node.entries.get("gate"), findings)
    if name in ("text", "function") and name not in RULES:
        spec = _read_written_out(name, setting, names, findings)
    else:
        spec = _read_rule(name, setting, names, findings)
    return spec.model_copy(update={"gate": gate}) if spec is not None and gate is not None else spec


def _read_gate(node: Node | None, findings: Findings) -> str | None:
    if node is None or node.value is None:
        return None
    if node.value in GATES and isinstance(node.value, str):
        return node.value
    fix = suggest(str(node.value), GATES, "gates")
    findings.wrong(node.here(), f"must be one of {', '.join(GATES)}; got {node.got()}", fix)
    return None


def _read_written_out(key: str, node: Node, names: Names, findings: Findings) -> GuardrailSpec | None:
    """Read `text:` or `function:`, the long forms of an entry that is no rule."""
    text = expect_text(node, findings)
    if text is None:
        return None
    if key == "text":
        return GuardrailSpec(text=text.strip())
    if text in names.guardrails or text in names.doubtful:
        return GuardrailSpec(function=text)
    nothing = "write a function with `@guardrail` in guardrails/"
    findings.wrong(
        node.here(), f"unknown function {quoted(text)}", suggest(text, list(names.guardrails), "functions", nothing)
    )
    return None


def _read_rule(name: str, setting: Node, names: Names, findings: Findings) -> GuardrailSpec | None:
    if name not in RULES:
        fix = suggest(name, list(RULES), "rules")
        if " " in name:
            fix = "put a demand in plain words that has `: ` in it in quotes"
        elif name in names.guardrails:
            fix = f"write `- {name}`: a function takes no setting"
        findings.wrong(setting.at_key(), f"unknown rule {quoted(name)}", fix)
        return None
    wrong = RULES[name].check(setting.value)
    if wrong:
        fix = f"write it like `{RULES[name].example}`"
        findings.wrong(setting.here(), f"`{name}` {wrong}", f"{fix}, or leave it out" if RULES[name].switch else fix)
        return None
    return GuardrailSpec(rule=name, value=setting.value)


def _read_bare_guardrail(node: Node, text: str, names: Names, findings: Findings) -> GuardrailSpec | None:
    if not _IDENTIFIER.fullmatch(text):
        return GuardrailSpec(text=text)
    if text in RULES:
        if RULES[text].switch:
            return GuardrailSpec(rule=text, value=True)
        what = f"the rule `{text}` needs its setting: {RULES[text].setting}"
        findings.wrong(node.here(), what, f"write it like `{RULES[text].example}`")
        return None
    if text in names.guardrails or text in names.doubtful:
        return GuardrailSpec(function=text)
    fix = suggest(text, [*names.guardrails, *RULES], "functions and rules")
    what = f"unknown guardrail {quoted(text)}: neither a function in guardrails/ nor a rule"
    findings.wrong(node.here(), what, f"{fix} (a demand in plain words has several)")
    return None
