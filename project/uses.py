"""`tools:` and `guardrails:` as written in YAML → ToolUse and GuardrailSpec, with their names and settings checked."""

import re
from collections.abc import Mapping
from typing import Any, cast, get_args

from project.checks import Findings, Grammar, Take, expect_text, read_spec
from project.declaration import HANDED
from project.hints import listed, quoted, shown, suggest
from project.names import Names
from project.parts import item_place
from project.reader import Node
from project.rules import RULES
from project.spec import Gate, GuardrailSpec, ToolRetrySpec, ToolUse

GATES: tuple[str, ...] = get_args(Gate)
"""What a broken guardrail may do."""

TOOL_FAILURES = ("timeout", "error", "empty")
"""What may be wrong with a tool's call, beside the names of exceptions."""
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
        if not know_tool(node.value, node, names, findings):
            return None
        _check_fixed(node.value, {}, node, names, findings)
        return ToolUse(name=node.value)
    if not node.is_mapping or not node.entries:
        findings.wrong(node.here(), f"a tool must be a name, got {node.got()}", _TOOL_FORMS)
        return None
    written = cast(dict[str, Any], node.value)
    if "name" in written and len(written) > 1 and set(written) <= set(ToolUse.model_fields):
        return _read_long(node, names, findings)
    if len(written) == 1:
        name, settings = next(iter(node.entries.items()))
        place = settings
    else:
        first = next(iter(written))
        fix = f"indent the arguments below `{first}:`, and begin every other tool with its own `- `"
        findings.wrong(node.here(), f"one tool an entry, got {len(written)} keys", fix)
        return None
    if not know_tool(name, place, names, findings):
        return None
    return ToolUse(name=name, settings=_read_settings(name, settings, names, findings))


def _read_long(node: Node, names: Names, findings: Findings) -> ToolUse | None:
    """Read a tool with what happens when a call of it fails."""
    place = node.entries["name"]
    name = place.value
    if not isinstance(name, str):
        findings.wrong(place.here(), f"must be text, got {shown(name)}", "write the tool's name")
        return None
    if not know_tool(name, place, names, findings):
        return None
    settings = node.entries.get("settings")
    if settings is None:
        _check_fixed(name, {}, place, names, findings)
    takes: dict[str, Take] = {
        "name": lambda child, _findings: child.value,
        "settings": lambda child, found: _read_settings(name, child, names, found),
        "retry": lambda child, found: _read_tool_retry(child, found),
        "fallback": lambda child, found: _read_stand_ins(child, names, found),
    }
    use = read_spec(ToolUse, node, Grammar("a tool", takes), findings)
    if use is not None:
        _check_repeating(use, node, names, findings)
        _check_stand_ins(use, node, names, findings)
    return use


def _read_tool_retry(node: Node, findings: Findings) -> ToolRetrySpec | None:
    """Read `retry:` of a tool: how many attempts in all, or the long form. Null means not written."""
    if node.value is None:
        return None
    if type(node.value) is int and 2 <= node.value <= 10:
        return ToolRetrySpec(attempts=node.value)
    if not node.is_mapping:
        fix = "write how many attempts in all, 2 to 10, such as `retry: 3`, or `retry: {attempts: 3, on: [timeout]}`"
        findings.wrong(node.here(), f"must be a number or a mapping of keys, got {node.got()}", fix)
        return None
    meant = {"max_attempts": "attempts", "times": "attempts", "count": "attempts", "backoff": "backoff_seconds"}
    return read_spec(ToolRetrySpec, node, Grammar("`retry`", {"on": _read_errors}, meant=meant), findings)


def _read_errors(node: Node, findings: Findings) -> list[str] | None:
    """Read what is tried again: kinds of failures, and names of exceptions, which begin with a capital letter."""
    items = node.items if node.is_list else (node,)
    found: list[str] = []
    for item in items if node.value is not None else ():
        name = expect_text(item, findings)
        if name is None:
            continue
        if name in TOOL_FAILURES or (_IDENTIFIER.fullmatch(name) and name[:1].isupper()):
            found.append(name)
        else:
            fix = suggest(name, TOOL_FAILURES, "there are") + "; or the name of an exception, such as `OSError`"
            findings.wrong(item.here(), f"unknown failure {quoted(name)}", fix)
    return found or None


def _read_stand_ins(node: Node, names: Names, findings: Findings) -> list[ToolUse] | None:
    """Read `fallback:` of a tool: one, or a list, in the short forms."""
    if node.value is None:
        return None
    items = node.items if node.is_list else (node,)
    uses = [use for item in items if (use := _read_tool(item, names, findings)) is not None]
    for item, use in zip(items, uses, strict=False):
        if use.retry is not None or use.fallback:
            findings.wrong(item.here(), "a tool of a fallback has neither `retry` nor `fallback`", "name them in order")
    return uses


def _check_repeating(use: ToolUse, node: Node, names: Names, findings: Findings) -> None:
    """Refuse to repeat what may be done only once."""
    declared = names.tools.get(use.name)
    retry = node.entries.get("retry")
    if use.retry is None or retry is None:
        return
    if declared is not None and declared.repeat == "once":  # of a tool of CrewAI's that is known once it is loaded
        what = f"the tool `{use.name}` is to be called once: a failed call may have done its work"
        fix = 'take `retry` out, or declare the tool `repeat="safe"` or `repeat="keyed"` if a second call does no harm'
        findings.wrong(retry.at_key(), what, fix)


def _check_stand_ins(use: ToolUse, node: Node, names: Names, findings: Findings) -> None:
    """Check that the tools of a fallback take the arguments of the tool that they stand in for."""
    first = names.tools.get(use.name)
    for other in use.fallback:
        place = node.entries["fallback"]
        where = item_place(place, other.name)
        if other.name == use.name and other.settings == use.settings:
            findings.wrong(where, f"`{use.name}` cannot stand in for itself", "write `retry: 3` for further attempts")
            continue
        second = names.tools.get(other.name)
        if first is None or second is None:
            continue
        wanted = [name for name in first.parameters if name not in use.settings and name not in first.fixed]
        taken = [name for name in second.parameters if name not in other.settings and name not in second.fixed]
        missing = [name for name in wanted if name not in taken]
        needed = [name for name in taken if name in second.required and name not in wanted]
        if missing or needed:
            what = f"`{other.name}` cannot stand in for `{use.name}`: it "
            what += f"does not take {listed(missing)}" if missing else f"needs {listed(needed)}"
            fix = f"`{use.name}` takes {listed(wanted) or 'nothing'}, `{other.name}` {listed(taken) or 'nothing'}"
            findings.wrong(where, what, f"{fix}; give both the same parameters, or fix some in YAML")


def know_tool(name: str, node: Node, names: Names, findings: Findings) -> bool:
    """Report `name` when it is no tool; return whether it is one, or may be."""
    if name in names.tools or name in names.crewai_tools or name in names.own_crewai or name in names.doubtful:
        return True
    what = f"unknown tool {quoted(name)}"
    if not name.isascii():
        odd = next(char for char in name if not char.isascii())
        what += f": U+{ord(odd):04X} may look like another letter, and is in no tool's name"
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
