"""What the parts of policy.yaml ask of each other: rules never reached, order rules that contradict, the shell."""

import fnmatch
from collections.abc import Collection, Mapping, Sequence

from project.checks import Findings, Note
from project.errors import Where
from project.hints import quoted
from project.names import Names
from project.parts import item_place
from project.policy_values import EFFECTS, fits
from project.reader import Node
from project.spec import AgentSpec, TaskSpec
from project.spec_policy import ArgumentSpec, OrderSpec, RuleSpec, ToolPolicySpec

SHELL = "shell"
"""The tool that runs commands; a rule that allows it must name them."""

OTHER_RULES = (
    *(f"default for {effect}" for effect in EFFECTS),
    "default for shell",
    "untrusted content",
    "path outside the run's folder",
    "supervised agent",
    "autonomous agent",
)
"""What decides where no rule does, by the names that policy/rulebook.py gives it."""

_MOST_COMPARED = 50_000
"""Pairs of rules that are held against each other: about a second."""

_Placed = tuple[RuleSpec, Node]
_Ordered = tuple[OrderSpec, Node]


def rule_name(rule: RuleSpec, position: int) -> str:
    """Return the name of a rule in traces and questions; `position` counts from 1."""
    return rule.name or f"rule {position}"


def check_rule_names(rules: Sequence[_Placed], findings: Findings) -> None:
    """Report names that two rules have, or that something else has."""
    named: dict[str, int] = {}
    bare = {f"rule {position}" for position, (rule, _) in enumerate(rules, 1) if not rule.name}
    for rule, node in rules:
        if not rule.name:
            continue
        where = node.entries["name"].here()
        if rule.name in named:
            what = f"{quoted(rule.name)} is the name of two rules, first in line {named[rule.name]}"
            findings.wrong(where, what, "give every rule a name of its own")
        elif rule.name in (*bare, *OTHER_RULES, "order", "rule error", "no policy"):
            what = f"{quoted(rule.name)} is what Muster calls something else"
            findings.wrong(where, what, "give the rule a name that says what it is about")
        named.setdefault(rule.name, where.line)


def note_unreachable(
    rules: Sequence[_Placed], tools: Mapping[str, ToolPolicySpec], names: Names, findings: Findings
) -> None:
    """Note each rule that an earlier one leaves nothing to decide; of very many rules, only those at the beginning."""
    earlier: dict[object, list[int]] = {}
    left = _MOST_COMPARED
    for position, (rule, node) in enumerate(rules):
        for at in sorted({at for sign in _signs(rule) for at in earlier.get(sign, ())}):
            left -= 1
            if left < 0:
                return
            if _covers(rules[at][0], rule, tools, names):
                what = f"is never reached: {quoted(rule_name(rules[at][0], at + 1))} fits every call that it fits"
                findings.notes.append(Note(node.here(), what))
                break
        for sign in _needed_signs(rule):
            earlier.setdefault(sign, []).append(position)


def note_never_fitting(
    rules: Sequence[_Placed], tools: Mapping[str, ToolPolicySpec], names: Names, findings: Findings
) -> None:
    """Note rules that fit no call, since no tool that they name has one of their effects."""
    for rule, node in rules:
        named = rule.tools if rule.tools and not any("*" in name for name in rule.tools) else []
        each = {
            name: _effects(rule.model_copy(update={"tools": [name], "effects": []}), tools, names) for name in named
        }
        if rule.effects and each and not any(effects & set(rule.effects) for effects in each.values()):
            what = ", ".join(f"`{name}` is `{'`, `'.join(sorted(effects))}`" for name, effects in each.items())
            findings.notes.append(Note(node.entries["effects"].here(), f"fits no call: {what}"))


def _signs(rule: RuleSpec) -> list[object]:
    """Return what an earlier rule may ask for of the calls that fit this one."""
    signs: list[object] = [None]
    for name, wanted in rule.arguments.items():
        signs += [(name, "in", value) for value in (wanted.one_of or ())[:1]] + [(name, "like", wanted.pattern)]
    return [*signs, *((key, name) for key in ("agents", "tools") for name in getattr(rule, key)[:1])]


def _needed_signs(rule: RuleSpec) -> list[object]:
    """Return signs of which a rule must have one to be left out by this one; None where that says nothing."""
    for name, wanted in rule.arguments.items():
        if wanted.one_of is not None:
            return [(name, "in", value) for value in wanted.one_of]
        if wanted.pattern is not None:
            return [(name, "like", wanted.pattern)]
    for key in ("agents", "tools"):
        if getattr(rule, key) and not any("*" in name for name in getattr(rule, key)):
            return [(key, name) for name in getattr(rule, key)]
    return [None]


def check_shell(
    rules: Sequence[_Placed], agents: Mapping[str, AgentSpec], tasks: Mapping[str, TaskSpec], findings: Findings
) -> None:
    """Check that every rule which allows the shell names it and exact commands; note rules that do not reach it."""
    uses = [use for agent in agents.values() for use in agent.tools]
    uses += [use for task in tasks.values() for use in task.tools or []]
    used = any(use.name == SHELL or any(other.name == SHELL for other in use.fallback) for use in uses)
    for rule, node in rules:
        if rule.decide == "deny" or (rule.effects and "execute" not in rule.effects):
            continue
        command = rule.arguments.get("command")
        exact = command is not None and bool(command.one_of) and all(isinstance(one, str) for one in command.one_of)
        if exact and SHELL in rule.tools:
            continue
        if _reaches_by_name(rule, SHELL) and rule.decide == "allow":
            where = node.entries["tools"].here() if exact or command is None else _argument(node, "command")
            what = f"a rule that allows `{SHELL}` must name it, and exact commands"
            findings.wrong(where, what, f"write `tools: {SHELL}` and `arguments: {{command: [git status, git log]}}`")
        elif _reaches_by_name(rule, SHELL) or (used and (not rule.tools or "*" in rule.tools)):
            what = f"does not reach `{SHELL}`, which runs only commands that a rule for it names one by one"
            findings.notes.append(Note(node.here(), what))


def _argument(node: Node, name: str) -> Where:
    return node.entries["arguments"].entries[name].here()


def check_order(orders: Sequence[_Ordered], findings: Findings) -> None:
    """Report order rules that no calls could keep."""
    for order, node in orders:
        for key in ("after", "before", "never_with"):
            if order.tool and order.tool in getattr(order, key):
                where = item_place(node.entries[key], order.tool)
                findings.wrong(where, f"`{order.tool}` stands in its own list", f"take `{order.tool}` out")
    _check_circles(orders, findings)
    _check_exclusions(orders, findings)
    _check_musts(orders, findings)


def _reaches_by_name(rule: RuleSpec, tool: str) -> bool:
    """Say whether a rule names a tool, by name or by a pattern that does not stand for every tool."""
    return any(pattern.strip("*") and fits(tool, [pattern]) for pattern in rule.tools)


def _check_circles(orders: Sequence[_Ordered], findings: Findings) -> None:
    told: set[frozenset[str]] = set()
    for order, node in orders:
        for first in order.after:
            circle = _way_back(orders, order, first) if first != order.tool else []
            if circle and frozenset(circle) not in told:
                told.add(frozenset(circle))
                what = f"the tools wait for each other: {' after '.join(circle)}"
                findings.wrong(node.entries["after"].here(), what, "take one of them out: none could be called first")


def _way_back(orders: Sequence[_Ordered], start: OrderSpec, first: str) -> list[str]:
    """Return a way of `after`, within one task, from `first` back to the tool of `start`, or []."""
    waiting = [([start.tool, first], frozenset(start.tasks))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        way, tasks = waiting.pop()
        if (way[-1], tasks) in seen:
            continue
        seen.add((way[-1], tasks))
        for order, _ in orders:
            if order.tool != way[-1] or not _overlap(tasks, order.tasks):
                continue
            if start.tool in order.after:
                return [*way, start.tool]
            both = tasks & set(order.tasks) if tasks and order.tasks else tasks | set(order.tasks)
            waiting += [([*way, following], both) for following in order.after]
    return []


def _check_exclusions(orders: Sequence[_Ordered], findings: Findings) -> None:
    """Report tools of which one must follow the other and must not."""
    told: set[frozenset[str]] = set()
    for order, _ in orders:
        pairs = {frozenset((order.tool, first)): first for first in order.after if first != order.tool}
        for other, node in orders:
            if not pairs or not _overlap(order.tasks, other.tasks):
                continue
            apart = [("never_with", tool) for tool in other.never_with]
            apart += [("before", tool) for tool in other.before if other.tool == order.tool]
            for key, tool in apart:
                pair = frozenset((other.tool, tool))
                if pair in pairs and pair not in told:
                    told.add(pair)
                    what = f"contradicts `after`: `{order.tool}` may only be called after `{pairs[pair]}`"
                    findings.wrong(item_place(node.entries[key], tool), what, f"take `{tool}` out here, or the `after`")


def _check_musts(orders: Sequence[_Ordered], findings: Findings) -> None:
    """Report tools that must both be called and never together."""
    musts = [order for order, _ in orders if order.must_call]
    for order, node in orders:
        for tool in order.never_with:
            both = [
                must.tool for must in musts if must.tool in (order.tool, tool) and _overlap(must.tasks, order.tasks)
            ]
            if tool != order.tool and len(set(both)) == 2:
                what = f"contradicts `must_call`: `{order.tool}` and `{tool}` must both be called"
                fix = f"take `{tool}` out, or `must_call` at one of them"
                findings.wrong(item_place(node.entries["never_with"], tool), what, fix)


def _overlap(tasks: Collection[str], others: Collection[str]) -> bool:
    return not tasks or not others or bool(set(tasks) & set(others))


def _covers(early: RuleSpec, late: RuleSpec, tools: Mapping[str, ToolPolicySpec], names: Names) -> bool:
    """Say whether every call that fits `late` fits `early` too; where that isn't sure, it does not.

    A rule that allows wants every path and every value to fit, the others only one of them.
    """
    narrow = early.decide == "allow" and late.decide != "allow"
    if narrow and (
        early.arguments or early.paths or early.domains or early.methods or early.hours or early.confidence_below
    ):
        return False
    if not all(_all_fit(getattr(late, key), getattr(early, key)) for key in ("tools", "agents", "crews", "domains")):
        return False
    if early.effects and not _effects(late, tools, names) <= set(early.effects):
        return False
    if early.methods and not (late.methods and set(late.methods) <= set(early.methods)):
        return False
    if early.paths and not (late.paths and all(_lies_in(path, early.paths) for path in late.paths)):
        return False
    for name, wanted in early.arguments.items():
        if name not in late.arguments or not _within(late.arguments[name], wanted):
            return False
    if early.hours and (early.hours != late.hours or early.timezone != late.timezone):
        return False
    if early.confidence_below is not None and (late.confidence_below or 2) > early.confidence_below:
        return False
    return early.tainted is None or early.tainted == late.tainted


def _all_fit(late: Sequence[str], early: Sequence[str]) -> bool:
    """Say whether each pattern of `late` lies in one of `early`. A pattern is tried as the text that it is."""
    if not early or any(not pattern.strip("*") for pattern in early):
        return True
    return bool(late) and all(any(fnmatch.fnmatchcase(one, pattern) for pattern in early) for one in late)


def _lies_in(path: str, places: Sequence[str]) -> bool:
    return any(path == place or (place.endswith("**") and path.startswith(place[:-2])) for place in places)


def _effects(rule: RuleSpec, tools: Mapping[str, ToolPolicySpec], names: Names) -> set[str]:
    """Return the effects that a call which fits a rule can have."""
    if rule.effects:
        return set(rule.effects)
    found: set[str] = set()
    for tool in rule.tools:
        said = tools[tool].effect if tool in tools else None
        declared = names.tools[tool].effect if tool in names.tools else None
        effect = said or declared
        if effect is None:
            return set(EFFECTS)
        found.add(effect)
    return found or set(EFFECTS)


def _within(late: ArgumentSpec, early: ArgumentSpec) -> bool:
    if late == early:
        return True
    if early.pattern is not None or early.max_length is not None:
        return False
    if early.one_of is not None:
        return late.one_of is not None and all(value in early.one_of for value in late.one_of)
    least = early.min is None or (late.min is not None and late.min >= early.min)
    return least and (early.max is None or (late.max is not None and late.max <= early.max))
