"""Ceilings of a run: what is used up, and whether the next call fits."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_UP, Context, Decimal, InvalidOperation
from typing import Literal, cast

from project.spec import BudgetSpec

_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Spent:
    """What a run has used up. Never negative.

    Raises: ValueError for a negative or undefined amount.
    """

    model_calls: int = 0
    """Model calls, each attempt counted."""
    tool_calls: int = 0
    """Tool calls."""
    input_tokens: int = 0
    """Tokens of all prompts."""
    output_tokens: int = 0
    """Tokens of all answers."""
    usd: Decimal = Decimal(0)
    """US dollars of the calls whose price is known."""
    unpriced_calls: int = 0
    """Model calls whose price is not known, so that `usd` is less than was spent."""
    seconds: float = 0.0
    """Seconds of work; waiting for a person does not count."""

    def __post_init__(self) -> None:
        for field in fields(self):
            amount = cast("int | float | Decimal", getattr(self, field.name))
            if not math.isfinite(amount) or amount < 0:
                raise ValueError(f"{field.name} must be >= 0, got {amount}")

    def plus(self, other: "Spent") -> "Spent":
        """Add up two spendings; seconds are counted in whole microseconds, so that the order of adding never shows."""
        microseconds = round(self.seconds * _MICROSECONDS) + round(other.seconds * _MICROSECONDS)
        return Spent(
            model_calls=self.model_calls + other.model_calls,
            tool_calls=self.tool_calls + other.tool_calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            usd=self.usd + other.usd,
            unpriced_calls=self.unpriced_calls + other.unpriced_calls,
            seconds=microseconds / _MICROSECONDS,
        )

    def to_json(self) -> dict[str, int | float | str]:
        """Return the amounts by name; USD as a text, exactly."""
        return {**asdict(self), "usd": str(self.usd)}

    @staticmethod
    def from_json(value: Mapping[str, object]) -> "Spent":
        """Read what `to_json` wrote. Missing amounts are 0, unknown ones are left out.

        Raises: ValueError for an amount of a wrong type.
        """
        return Spent(
            model_calls=_count(value, "model_calls"),
            tool_calls=_count(value, "tool_calls"),
            input_tokens=_count(value, "input_tokens"),
            output_tokens=_count(value, "output_tokens"),
            usd=_usd(value.get("usd", "0")),
            unpriced_calls=_count(value, "unpriced_calls"),
            seconds=_seconds(value.get("seconds", 0.0)),
        )


def over(
    spent: Spent,
    budget: BudgetSpec,
    *,
    kind: Literal["model", "tool"],
    worst_usd: Decimal | None,
    worst_tokens: int = 0,
    name: str = "the model",
) -> str | None:
    """Return the first ceiling that forbids the next call, with what is used and how to raise it; None when it fits.

    `worst_usd` and `worst_tokens` are the most that the call may cost, reserved before it; a model call whose price is
    unknown (None) never fits under `max_usd`. A tool call without a price fits as long as nothing is passed. A ceiling
    of 0 allows only what costs nothing, such as the offline model. `name` is the model's, for the message.
    """
    if kind == "model":
        reasons = (
            _over_count("max_model_calls", spent.model_calls, budget.max_model_calls),
            _over_tokens(spent, budget, worst_tokens),
            _over_usd(spent, budget, worst_usd, name),
        )
    else:
        reasons = (
            _over_count("max_tool_calls", spent.tool_calls, budget.max_tool_calls),
            _passed(spent, budget, worst_usd or Decimal(0)),
        )
    return next((reason for reason in (*reasons, _over_seconds(spent, budget)) if reason), None)


def _over_count(ceiling_name: str, used: int, ceiling: int | None) -> str | None:
    if ceiling is None or used < ceiling:
        return None
    return f"{ceiling_name}: {used} of {ceiling} used; {_raise(ceiling_name)}"


def _over_tokens(spent: Spent, budget: BudgetSpec, worst_tokens: int) -> str | None:
    used, ceiling = spent.input_tokens + spent.output_tokens, budget.max_tokens
    if ceiling is None or (used < ceiling and used + worst_tokens <= ceiling):
        return None
    if used >= ceiling:
        return _over_count("max_tokens", used, ceiling)
    return f"max_tokens: {used} used, the next call may use {worst_tokens}, ceiling {ceiling}; {_raise('max_tokens')}"


def _over_usd(spent: Spent, budget: BudgetSpec, worst_usd: Decimal | None, name: str) -> str | None:
    ceiling = budget.max_usd
    if ceiling is None:
        return None
    if worst_usd is None:
        return f"max_usd: the price of {name} is not known; write `price:` in models.yaml"
    if spent.unpriced_calls:
        calls = "call" if spent.unpriced_calls == 1 else "calls"
        return (
            f"max_usd: {spent.unpriced_calls} {calls} of unknown price were made, so nobody knows what is left of "
            f"{ceiling:f}; write `price:` in models.yaml, or run without max_usd"
        )
    return _passed_usd(spent, ceiling, worst_usd)


def _passed(spent: Spent, budget: BudgetSpec, worst_usd: Decimal) -> str | None:
    """Say which ceiling of the model's a tool call meets: one that is passed already, or that its own price passes."""
    used = spent.input_tokens + spent.output_tokens
    if budget.max_tokens is not None and used > budget.max_tokens:
        return _over_count("max_tokens", used, budget.max_tokens)
    return None if budget.max_usd is None else _passed_usd(spent, budget.max_usd, worst_usd)


def _passed_usd(spent: Spent, ceiling: Decimal, worst_usd: Decimal) -> str | None:
    if spent.usd + worst_usd <= ceiling:
        return None
    return (
        f"max_usd: {_dollars(spent.usd)} spent, the next call may cost {_dollars(worst_usd)}, ceiling {ceiling:f}; "
        f"{_raise('max_usd')}"
    )


def _over_seconds(spent: Spent, budget: BudgetSpec) -> str | None:
    if budget.max_seconds is None or spent.seconds < budget.max_seconds:
        return None
    return f"max_seconds: {spent.seconds:.1f} s of {budget.max_seconds:g} s used; {_raise('max_seconds')}"


def _raise(ceiling_name: str) -> str:
    return f"raise it with --{ceiling_name.replace('_', '-')} or `budget:` in crews.yaml"


def _dollars(usd: Decimal) -> str:
    """Write an amount rounded up to millionths, with at least four decimals."""
    written = f"{usd.quantize(Decimal('0.000001'), ROUND_UP, Context(prec=100)):f}"
    return written[:-2] + written[-2:].rstrip("0")


def _count(value: Mapping[str, object], name: str) -> int:
    count = value.get(name, 0)
    if isinstance(count, bool) or not isinstance(count, int):
        raise ValueError(f"{name} must be a whole number, got {count!r}")
    return count


def _usd(value: object) -> Decimal:
    try:
        return Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation as error:
        raise ValueError(f"usd must be a number as text, got {value!r}") from error


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"seconds must be a number, got {value!r}")
    return float(value)
