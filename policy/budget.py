"""The arithmetic of ceilings: what a run has spent, and whether the next call fits. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from project.spec import BudgetSpec


@dataclass(frozen=True)
class Spent:
    """What a run, a task or a call has spent. `usd` in US dollars, `seconds` of work."""

    model_calls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: Decimal = Decimal(0)
    unpriced_calls: int = 0
    """Answered model calls whose price is not known."""
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def plus(self, other: "Spent") -> "Spent":
        """Add up."""
        return Spent(
            self.model_calls + other.model_calls,
            self.tool_calls + other.tool_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.usd + other.usd,
            self.unpriced_calls + other.unpriced_calls,
            self.seconds + other.seconds,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "model_calls": self.model_calls,
            "tool_calls": self.tool_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "usd": str(self.usd),
            "unpriced_calls": self.unpriced_calls,
            "seconds": self.seconds,
        }

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> "Spent":
        return Spent(**{**found, "usd": Decimal(found.get("usd", "0"))})


def over(
    spent: Spent,
    budget: BudgetSpec,
    *,
    kind: Literal["model", "tool"],
    worst_usd: Decimal | None,
    worst_tokens: int = 0,
) -> str | None:
    """Say why the next call may not be made, or None. `worst_usd` is None where the call's price is not known."""
    if kind == "model":
        reason = _over_calls("max_model_calls", spent.model_calls, budget.max_model_calls)
        reason = reason or _over_tokens(spent.tokens, worst_tokens, budget.max_tokens)
        reason = reason or _over_usd(spent.usd, worst_usd, budget.max_usd)
    else:
        reason = _over_calls("max_tool_calls", spent.tool_calls, budget.max_tool_calls)
    if reason is None and budget.max_seconds is not None and spent.seconds >= budget.max_seconds:
        reason = f"max_seconds: {spent.seconds:.1f} s of {budget.max_seconds:g} s used{_raise('max_seconds')}"
    return reason


def _over_calls(name: str, used: int, ceiling: int | None) -> str | None:
    if ceiling is None or used < ceiling:
        return None
    return f"{name}: {used} of {ceiling} used{_raise(name)}"


def _over_tokens(used: int, worst: int, ceiling: int | None) -> str | None:
    if ceiling is None or used + worst <= ceiling:
        return None
    return f"max_tokens: {used} used, the next call takes at least {worst}, ceiling {ceiling}{_raise('max_tokens')}"


def _over_usd(used: Decimal, worst: Decimal | None, ceiling: Decimal | None) -> str | None:
    if ceiling is None:
        return None
    if worst is None:
        return "max_usd: the price of the model is not known; write `price:` in models.yaml"
    if used + worst <= ceiling:
        return None
    return f"max_usd: ${used:.4f} spent, the next call may cost ${worst:.4f}, ceiling ${ceiling}{_raise('max_usd')}"


def _raise(name: str) -> str:
    return f" (raise it with --{name.replace('_', '-')} or under `budget:` in crews.yaml)"
