"""policy.yaml → a spec: rules, order, tools, approvals, budgets and example calls, with every name in them checked."""

import re
from collections.abc import Collection, Mapping
from functools import partial

from project.checks import Findings, Grammar, Take, expect_text, read_spec
from project.entries import CEILINGS, Known, read_budget, read_names
from project.entries_models import read_rate
from project.foreign import Foreign
from project.hints import quoted, suggest
from project.hours import read_instant
from project.leaks import looks_secret
from project.names import Names, check_agent, check_name
from project.parts import Parts
from project.policy_checks import (
    OTHER_RULES,
    check_order,
    check_rule_names,
    check_shell,
    note_never_fitting,
    note_unreachable,
)
from project.policy_rules import read_rules
from project.policy_values import (
    APPROVAL_MEANT,
    as_list,
    check_four_eyes,
    list_of,
    read_approvers,
    read_domains,
    read_pattern,
    read_ruling,
    read_some,
)
from project.reader import Node
from project.spec_policy import (
    ApprovalsSpec,
    BudgetsSpec,
    CallBudgetSpec,
    DefaultsSpec,
    ExampleSpec,
    OrderSpec,
    PolicySpec,
    RuleSpec,
    ToolPolicySpec,
)
from project.uses import know_tool

_MEANT = {
    "rule": "rules", "policies": "rules", "policy": "rules", "default": "defaults", "sequence": "order",
    "orders": "order", "tool": "tools", "approval": "approvals", "budget": "budgets", "limits": "budgets",
    "redaction": "redact", "examples": "tests", "test": "tests",
}  # fmt: skip
_ELSEWHERE: Mapping[str, Foreign] = {
    "secrets": Foreign("refused", "a secret belongs to a tool", "write `tools: {NAME: {secrets: [VARIABLE]}}`"),
    "notify": Foreign("refused", "it stands under `approvals:`", "write `approvals: {notify: [CHANNEL]}`"),
    "domains": Foreign("refused", "domains belong to a tool", "write `tools: {NAME: {domains: [example.com]}}`"),
}
_BUDGETS_ELSEWHERE: Mapping[str, Foreign] = {
    "run": Foreign("refused", "it stands at the crew", "write `budget:` of the crew in crews.yaml"),
    "crew": Foreign("refused", "it stands at the crew", "write `budget:` of the crew in crews.yaml"),
    "task": Foreign("refused", "it stands at the task", "write `budget:` of the task in tasks.yaml"),
    "agent": Foreign("refused", "it stands at the agent", "write `budget:` of the agent in agents.yaml"),
    "schedule": Foreign("refused", "it stands at the schedule", "write `daily_budget:` in schedules.yaml"),
}
_CALL_ELSEWHERE: Mapping[str, Foreign] = {
    key: Foreign("refused", "one call is one call", "set `max_usd`, `max_tokens` or `max_seconds`")
    for key in ("max_model_calls", "max_tool_calls")
}
_BUDGETS_MEANT = {"per_call": "call", "daily": "day", "per_day": "day", "monthly": "month", "per_month": "month"}
_ORDER_MEANT = {
    "name": "tool", "max": "at_most", "max_calls": "at_most", "limit": "at_most", "not_after": "before",
    "requires": "after", "needs": "after", "not_with": "never_with", "exclusive": "never_with", "scope": "per",
    "required": "must_call", "task": "tasks",
}  # fmt: skip
_TOOL_MEANT = {
    "secret": "secrets", "env": "secrets", "environment": "secrets", "rate_limit": "rate", "hosts": "domains",
    "price": "price_usd", "cost": "price_usd", "cost_usd": "price_usd",
}  # fmt: skip
_EXAMPLE_MEANT = {
    "decide": "expect", "expected": "expect", "args": "arguments", "chain": "delegated_by", "time": "at", "when": "at",
    "agents": "agent", "crews": "crew", "tools": "tool",
}  # fmt: skip
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RANDOM = re.compile(r"(?=.*[0-9])(?=.*[a-z])[A-Za-z0-9_]{24,}")
_VARIABLE_FIX = "write the variable's name, such as `MAIL_TOKEN`, and its value into .env"


def read_policy(
    tree: Node, names: Names, channels: Collection[str] | None, parts: Parts, findings: Findings
) -> PolicySpec:
    """Read policy.yaml. `channels` are those of schedules.yaml, None where it can't be read."""
    approvals = ApprovalsSpec()
    if "approvals" in tree.entries:
        approvals = _read_approvals(tree.entries["approvals"], findings, channels=channels) or approvals
    placed: list[tuple[RuleSpec, Node]] = []
    if "rules" in tree.entries:
        placed = read_rules(tree.entries["rules"], names, approvals, findings)
    takes: dict[str, Take] = {
        "rules": lambda _node, _findings: [rule for rule, _ in placed],
        "defaults": _read_defaults,
        "order": partial(_read_order, names=names),
        "tools": partial(_read_tools, names=names),
        "approvals": lambda _node, _findings: approvals,
        "budgets": _read_budgets,
        "redact": _read_redact,
        "tests": partial(_read_tests, names=names, rules=_rule_names(tree)),
    }
    policy = read_spec(PolicySpec, tree, Grammar("policy.yaml", takes, _ELSEWHERE, _MEANT), findings) or PolicySpec()
    check_rule_names(placed, findings)
    check_shell(placed, parts.agents, parts.tasks, findings)
    note_unreachable(placed, policy.tools, names, findings)
    note_never_fitting(placed, policy.tools, names, findings)
    return policy


def _rule_names(tree: Node) -> list[str]:
    """Return the names of the rules as they are written, right or not, and what decides where none fits."""
    rules = tree.entries["rules"].items if "rules" in tree.entries else ()
    written = [str(item.entries["name"].value or "") if "name" in item.entries else "" for item in rules]
    named = [name.strip() or f"rule {position}" for position, name in enumerate(written, 1)]
    return [*named, *OTHER_RULES]


def _read_defaults(node: Node, findings: Findings) -> DefaultsSpec | None:
    if node.value is None:
        return None

    def read(child: Node, found: Findings) -> str | None:
        return None if child.value is None else read_ruling(child, found)

    takes: dict[str, Take] = dict.fromkeys(DefaultsSpec.model_fields, read)
    return read_spec(DefaultsSpec, node, Grammar("`defaults`", takes), findings)


def _read_order(node: Node, findings: Findings, *, names: Names) -> list[OrderSpec] | None:
    takes: dict[str, Take] = {
        "tool": partial(_read_tool, names=names),
        **dict.fromkeys(("after", "before", "never_with"), partial(_read_tool_names, names=names)),
        "tasks": partial(_read_tasks, names=names),
    }
    placed: list[tuple[OrderSpec, Node]] = []
    for item in list_of(node, "order rules", findings):
        before = len(findings.problems)
        order = read_spec(OrderSpec, item, Grammar("an order rule", takes, meant=_ORDER_MEANT), findings)
        if order is None or len(findings.problems) > before:
            continue
        if order.at_most is None and not (order.after or order.before or order.never_with or order.must_call):
            fix = "give `at_most`, `after`, `before`, `never_with` or `must_call: true`"
            findings.wrong(item.here(), f"says nothing of `{order.tool}`", fix)
        placed.append((order, item))
    check_order(placed, findings)
    return [order for order, _ in placed] if node.value is not None else None


def _read_tool(node: Node, findings: Findings, *, names: Names) -> str | None:
    """Read the name of one tool; patterns have no meaning here."""
    name = expect_text(node, findings)
    if name is None:
        return None
    if "*" in name:
        findings.wrong(node.here(), f"must be one tool, got {node.got()}", "write a rule for each tool")
        return None
    return name if know_tool(name, node, names, findings) else None


def _read_tool_names(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    def known(name: str, item: Node) -> bool:
        if "*" not in name:
            return know_tool(name, item, names, findings)
        findings.wrong(item.here(), f"must be a tool, got {item.got()}", "name each tool")
        return False

    return read_some(node, findings, noun="tool", empty="it then asks nothing", known=known)


def _read_tasks(node: Node, findings: Findings, *, names: Names) -> list[str] | None:
    def known(name: str, item: Node) -> bool:
        return check_name(name, names.tasks, "task", "tasks.yaml has", item.here(), findings)

    return read_some(node, findings, noun="task", empty="it then holds for every task", known=known)


def _read_tools(node: Node, findings: Findings, *, names: Names) -> dict[str, ToolPolicySpec] | None:
    if node.value is None:
        return None
    if not node.is_mapping:
        fix = "write each tool by its name, such as `tools: {post_note: {rate: 60}}`"
        findings.wrong(node.here(), f"must be a mapping of tools, got {node.got()}", fix)
        return None
    takes: dict[str, Take] = {"secrets": _read_secrets, "domains": read_domains, "rate": read_rate}
    tools: dict[str, ToolPolicySpec] = {}
    for name, child in node.entries.items():
        if "*" in name:
            findings.wrong(child.at_key(), f"must be one tool, got {quoted(name)}", "write an entry for each tool")
        elif not _know_entry(name, child, names, findings):
            continue
        spec = read_spec(ToolPolicySpec, child, Grammar("a tool", takes, meant=_TOOL_MEANT), findings)
        if spec is not None:
            tools[name] = spec
    return tools


def _know_entry(name: str, node: Node, names: Names, findings: Findings) -> bool:
    """Report a key that is no tool, at the key whatever its value is."""
    key = Node(node.file, node.keys, None, node.key_place, node.key_place)
    return know_tool(name, key, names, findings)


def _read_secrets(node: Node, findings: Findings) -> list[str] | None:
    """Read names of environment variables; a value in their place is never repeated."""
    if node.value is not None and not as_list(node).is_list:
        fix = "write a list: `secrets: [MAIL_TOKEN]`; values stand in .env"
        findings.wrong(node.here(), f"must be a list of variables, got {node.got()}", fix)
        return None
    found: list[str] = []
    for item in as_list(node).items:
        name = item.value
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name) or looks_secret(name) or _RANDOM.fullmatch(name):
            findings.wrong(item.here(), "must be the name of an environment variable", _VARIABLE_FIX)
        elif name.startswith("MUSTER_"):
            findings.wrong(item.here(), f"`{name}` is Muster's own", "give the tool a variable of its own")
        elif name in found:
            findings.wrong(item.here(), f"the variable `{name}` is listed twice", f"keep one `{name}`")
        else:
            found.append(name)
    return found if node.value is not None else None


def _read_approvals(node: Node, findings: Findings, *, channels: Collection[str] | None) -> ApprovalsSpec | None:
    if node.value is None:
        return None

    def known(name: str, item: Node) -> bool:
        nothing = "describe it under `notify:` of schedules.yaml, such as `ops: {command: [./notify.sh]}`"
        return check_name(name, channels, "channel", "schedules.yaml has", item.here(), findings, nothing)

    def notify(child: Node, found: Findings) -> list[str] | None:
        return read_names(as_list(child), found, noun="channel", known=known)

    takes: dict[str, Take] = {"approvers": read_approvers, "notify": notify}
    meant = {**APPROVAL_MEANT, "channels": "notify"}
    spec = read_spec(ApprovalsSpec, node, Grammar("`approvals`", takes, meant=meant), findings)
    if spec is not None:
        check_four_eyes(spec, node, findings)
    return spec


def _read_budgets(node: Node, findings: Findings) -> BudgetsSpec | None:
    if node.value is None:
        return None

    def read_call(child: Node, found: Findings) -> CallBudgetSpec | None:
        grammar = Grammar("a budget of one call", foreign=_CALL_ELSEWHERE, meant=CEILINGS)
        return None if child.value is None else read_spec(CallBudgetSpec, child, grammar, found)

    takes: dict[str, Take] = {"call": read_call, "day": read_budget, "month": read_budget}
    return read_spec(BudgetsSpec, node, Grammar("`budgets`", takes, _BUDGETS_ELSEWHERE, _BUDGETS_MEANT), findings)


def _read_redact(node: Node, findings: Findings) -> list[str] | None:
    if node.value is None:
        return None
    listed_node = as_list(node)
    if not listed_node.is_list:
        fix = "write a list: `redact: ['[A-Z]{2}[0-9]{8}']`"
        findings.wrong(node.here(), f"must be a list of regular expressions, got {node.got()}", fix)
        return None
    found: list[str] = []
    for item in listed_node.items:
        if item.value is None:
            findings.wrong(item.here(), "is empty", "write a regular expression, in single quotes")
            continue
        pattern = read_pattern(item, findings)
        if pattern is not None and re.search(pattern, ""):
            findings.wrong(item.here(), "matches where nothing stands", "let it ask for at least one character")
        elif pattern is not None:
            found.append(pattern)
    return found


def _read_tests(node: Node, findings: Findings, *, names: Names, rules: list[str]) -> list[ExampleSpec] | None:
    def known_agent(name: str, item: Node) -> bool:
        return check_agent(name, names, item.here(), findings)

    def known_crew(name: str, item: Node) -> bool:
        return check_name(name, names.crews, "crew", "the project has", item.here(), findings)

    def known_rule(name: str, item: Node) -> bool:
        return check_name(name.strip(), rules, "rule", "the policy has", item.here(), findings)

    takes: dict[str, Take] = {
        "tool": partial(_read_tool, names=names),
        "expect": read_ruling,
        "rule": partial(_read_known, known=known_rule),
        "agent": partial(_read_known, known=known_agent),
        "crew": partial(_read_known, known=known_crew),
        "delegated_by": lambda child, found: read_names(as_list(child), found, noun="agent", known=known_agent),
        "at": _read_instant,
    }
    tests: list[ExampleSpec] = []
    for item in list_of(node, "tests", findings):
        spec = read_spec(ExampleSpec, item, Grammar("a test", takes, meant=_EXAMPLE_MEANT), findings)
        if spec is not None:
            _check_example(spec, item, names, findings)
            tests.append(spec)
    return tests if node.value is not None else None


def _read_known(node: Node, findings: Findings, *, known: Known) -> str | None:
    """Read one name, or "" for none."""
    if node.value in (None, ""):
        return None
    name = expect_text(node, findings)
    return name.strip() if name is not None and known(name, node) else None


def _read_instant(node: Node, findings: Findings) -> str | None:
    if node.value is None:
        return None
    text = expect_text(node, findings)
    if text is None:
        return None
    try:
        read_instant(text)
    except ValueError:
        findings.wrong(node.here(), f"must be a moment, got {node.got()}", "write it like `2026-11-20 14:30`, in UTC")
        return None
    return text.strip()


def _check_example(spec: ExampleSpec, node: Node, names: Names, findings: Findings) -> None:
    """Check the arguments of an example call against what the tool takes."""
    declared = names.tools.get(spec.tool)
    arguments = node.entries.get("arguments")
    if declared is None or arguments is None:
        return
    for name in arguments.entries:
        if name not in declared.parameters:
            fix = suggest(name, declared.parameters, f"`{spec.tool}` takes", f"`{spec.tool}` takes no arguments")
            what = f"the tool `{spec.tool}` has no argument {quoted(name)}"
            findings.wrong(arguments.entries[name].at_key(), what, fix)
