"""Whether a call may be made: Allow, Refuse (the model reads why), Ask (a person), Halt (the run stops). Pure."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from policy.budget import Spent, over
from project.spec import BudgetSpec


@dataclass(frozen=True)
class Call:
    """A call that is about to be made, and by whom. `name` is the tool's or the model's."""

    kind: Literal["model", "tool"]
    run_id: str
    task_name: str
    agent_name: str
    name: str


@dataclass(frozen=True)
class Allow:
    """The call may be made."""


@dataclass(frozen=True)
class Refuse:
    """The call is not made; `reason` is what the model reads."""

    reason: str


@dataclass(frozen=True)
class Ask:
    """A person decides."""

    question: str


@dataclass(frozen=True)
class Halt:
    """The run stops here; `reason` is what people read."""

    reason: str


Decision = Allow | Refuse | Ask | Halt


def decide(
    call: Call,
    spent: Spent,
    budget: BudgetSpec,
    *,
    allowed_tools: Sequence[str] = (),
    problems: Sequence[str] = (),
    worst_usd: Decimal | None = None,
    worst_tokens: int = 0,
) -> Decision:
    """Say whether `call` may be made. `problems` are what is wrong with its arguments.

    A ceiling comes first: at the ceiling the run stops, whatever the call is.
    """
    reason = over(spent, budget, kind=call.kind, worst_usd=worst_usd, worst_tokens=worst_tokens)
    if reason is not None:
        return Halt(reason)
    if call.kind == "model":
        return Allow()
    if call.name not in allowed_tools:
        return Refuse(_unknown_tool(call.name, allowed_tools))
    if problems:
        return Refuse(f"Error: {call.name} was not run: {'; '.join(problems)}")
    return Allow()


def _unknown_tool(name: str, allowed: Sequence[str]) -> str:
    if not allowed:
        return f"Error: there is no tool {name!r}; this task has no tools. Answer without one."
    near = difflib.get_close_matches(name, allowed, 1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"Error: there is no tool {name!r}. {hint}The tools are: {', '.join(allowed)}."
