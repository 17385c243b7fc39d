"""The order rules of policy.yaml: how often, after what and with what a tool may be called."""

from collections.abc import Sequence
from dataclasses import dataclass

from project.hints import listed
from project.spec_policy import OrderSpec


@dataclass(frozen=True)
class Made:
    """An execution of a tool that was made, or is under way. Each attempt of a call is one."""

    task: str
    """Path of the task in which it was made."""
    tool: str
    succeeded: bool
    """Whether it gave a result: a failed, refused or unknown one does not count as done, but counts as called."""


def out_of_order(rules: Sequence[OrderSpec], tool: str, task: str, made: Sequence[Made]) -> str:
    """Say why `tool` may not be called now in `task`, for the agent; "" when it may.

    `made` are the other executions of the run, attempts of the same call and those under way included: what may not be
    called twice, or not beside another, is refused while that one is still under way.
    """
    for rule in rules:
        if not _holds_in(rule, task):
            continue
        counted = [call for call in made if rule.per == "run" or call.task == task]
        why = _forbids(rule, tool, counted) if tool == rule.tool else _forbids_other(rule, tool, counted)
        if why:
            return f"{why}; {rule.reason.strip().rstrip('.')}" if rule.reason.strip() else why
    return ""


def not_called(rules: Sequence[OrderSpec], tools: Sequence[str], task: str, made: Sequence[Made]) -> list[str]:
    """Say which tools must be called before an answer of `task` is accepted, of those that its agent has."""
    found: list[str] = []
    for rule in rules:
        if not rule.must_call or rule.tool not in tools or not _holds_in(rule, task):
            continue
        if not any(call.tool == rule.tool and call.succeeded and _counts(rule, call, task) for call in made):
            why = f": {rule.reason.strip().rstrip('.')}" if rule.reason.strip() else ""
            found.append(f"the tool `{rule.tool}` must be called with success before you answer{why}. Call it now")
    return list(dict.fromkeys(found))


def _forbids(rule: OrderSpec, tool: str, made: Sequence[Made]) -> str:
    """Say why a rule about `tool` itself forbids a call of it."""
    within = f"in this {rule.per}"
    called = {call.tool for call in made}
    done = {call.tool for call in made if call.succeeded}
    if rule.at_most is not None and sum(call.tool == tool for call in made) >= rule.at_most:
        times = "once" if rule.at_most == 1 else f"{rule.at_most} times"
        return f"it may be called {times} at most {within}, and was. Go on without another call of it"
    missing = [name for name in rule.after if name not in done]
    if missing:
        first = " and ".join(f"`{name}`" for name in missing)
        return f"it may be called only after {first} was called with success {within}. Call {first} first"
    if late := [name for name in rule.before if name in called]:
        return f"it may be called only before {listed(late)}, and that was called {within}. Go on without it"
    if beside := [name for name in rule.never_with if name in called]:
        return f"it may not be called together with {listed(beside)}, and that was called {within}. Go on without it"
    return ""


def _forbids_other(rule: OrderSpec, tool: str, made: Sequence[Made]) -> str:
    """Say why a rule about another tool forbids a call of `tool`: the two may not be called together."""
    if tool in rule.never_with and any(call.tool == rule.tool for call in made):
        within = f"in this {rule.per}"
        return f"it may not be called together with {rule.tool}, and that was called {within}. Go on without it"
    return ""


def _counts(rule: OrderSpec, call: Made, task: str) -> bool:
    return rule.per == "run" or call.task == task


def _holds_in(rule: OrderSpec, task: str) -> bool:
    """Say whether a rule holds in a task, whose path may name its crew, an item or a candidate, too."""
    return not rule.tasks or any(part in rule.tasks for part in task.split("."))
