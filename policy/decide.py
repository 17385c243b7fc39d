"""The guard's decision about one call, in its final shape."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from policy.budget import Spent, over
from project.hints import listed, nearest, quoted
from project.spec import BudgetSpec


@dataclass(frozen=True)
class Allow:
    """The call may happen."""


@dataclass(frozen=True)
class Refuse:
    """The call does not happen; the agent goes on."""

    reason: str
    """What the model reads in place of a result."""


@dataclass(frozen=True)
class Ask:
    """A person decides; the run waits."""

    question: str
    """What the person reads."""


@dataclass(frozen=True)
class Halt:
    """The run ends here."""

    reason: str
    """What the person who started it reads."""


Decision = Allow | Refuse | Ask | Halt


@dataclass(frozen=True)
class Call:
    """A call of a model or a tool that is about to happen."""

    kind: Literal["model", "tool"]
    run: str
    """Id of the run."""
    task: str
    """Name of the task."""
    agent: str
    """Name of the agent that makes the call."""
    name: str
    """The tool's name as the model wrote it, or the model as `provider/model`."""
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of a tool call."""
    effect: Literal["read", "write", "send", "spend", "execute"] | None = None
    """What the tool does to the world; None for a model."""
    repeat: Literal["safe", "keyed", "once"] | None = None
    """What doing it twice means; None for a model."""


def decide(
    call: Call,
    spent: Spent,
    budget: BudgetSpec,
    allowed_tools: Collection[str],
    *,
    worst_usd: Decimal | None,
    worst_tokens: int,
    price_known: bool,
    argument_problems: Sequence[str] = (),
) -> Decision:
    """Say whether `call` may happen.

    Pure: reads no clock and no disk, so a replayed run decides alike. A wrong tool or wrong arguments are refused
    before the budget is looked at: nothing would be called. `argument_problems` are what the tool's schema found.
    `worst_usd` and `worst_tokens` are the most that the call may cost; None is nothing, as for the offline model and
    most tools. Without `price_known`, `worst_usd` is not read.

    Raises: nothing. A refusal is a value, since the model must be able to read it.
    """
    if call.kind == "tool" and call.name not in allowed_tools:
        return Refuse(_unknown_tool(call.name, sorted(allowed_tools)))
    if call.kind == "tool" and argument_problems:
        problems = "\n".join(f"- {problem}" for problem in argument_problems)
        return Refuse(
            f"{call.name} was not called, its arguments are wrong:\n{problems}\nCall it again with right ones."
        )
    worst = (worst_usd or Decimal(0)) if price_known else None
    reason = over(spent, budget, kind=call.kind, worst_usd=worst, worst_tokens=worst_tokens, name=call.name)
    return Allow() if reason is None else Halt(reason)


def _unknown_tool(name: str, allowed: Sequence[str]) -> str:
    if not allowed:
        return f"There is no tool {quoted(name)}, and no other one in this task. Answer without tools."
    close = nearest(name, allowed)
    guess = f" Did you mean `{close}`?" if close else ""
    return f"There is no tool {quoted(name)}.{guess} The tools are: {listed(allowed)}."
