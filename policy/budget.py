"""Ceilings: what is used up, whether the next call fits, and what a person adds so that a run can go on."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import ROUND_CEILING, ROUND_UP, Context, Decimal, InvalidOperation
from typing import Literal

from project.spec import BudgetSpec
from project.spec_policy import CallBudgetSpec

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
        for name, amount in vars(self).items():
            if not math.isfinite(amount) or amount < 0:
                raise ValueError(f"{name} must be >= 0, got {amount}")

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


@dataclass(frozen=True)
class Need:
    """What a call may use at most, by how long its answer may be."""

    fixed: Spent
    """The call itself and its prompt, or a tool's price."""
    most_tokens: int = 0
    """Of its answer, where there is room for it."""
    least_tokens: int = 0
    """Of its answer; equal to `most_tokens` where its length is not ours to say."""
    usd_per_token: Decimal = Decimal(0)
    """Of its answer."""

    def with_answer(self, tokens: int) -> Spent:
        """Return the worst case of the call when its answer may have so many tokens."""
        return self.fixed.plus(Spent(output_tokens=tokens, usd=tokens * self.usd_per_token))

    def within(self, ceilings: "Sequence[Ceiling]") -> Spent:
        """Return the worst case of the call with the longest answer for which all of the ceilings have room.

        Where none has room for the shortest, that one: the ceiling then refuses it.
        """
        room = min((self._room(one) for one in ceilings), default=self.most_tokens)
        return self.with_answer(max(self.least_tokens, min(self.most_tokens, room)))

    def _room(self, ceiling: "Ceiling") -> int:
        """Return how many tokens of an answer a ceiling leaves; less than none where it is passed."""
        used, budget, room = ceiling.spent.plus(self.fixed), ceiling.budget, self.most_tokens
        if budget.max_tokens is not None:
            room = budget.max_tokens - used.input_tokens - used.output_tokens
        if budget.max_usd is not None and self.usd_per_token:
            room = min(room, math.floor((budget.max_usd - used.usd) / self.usd_per_token))
        return room


@dataclass(frozen=True)
class Scope:
    """What a ceiling is for, in the words of messages."""

    name: str = ""
    """Such as `task research`; "" is the run itself."""
    where: str = ""
    """Where its ceilings stand, such as `budget:` of a task in tasks.yaml; "": those of a run."""

    def ceiling(self, name: str) -> str:
        """Name one of its ceilings."""
        return f"{name} of {self.name}" if self.name else name

    def how(self, ceiling_name: str) -> str:
        """Say how one of its ceilings is raised."""
        if self.where:  # a run carries its plan and its policy: what is written there afterwards is for others
            return f"{self.where} raises it for new runs"
        return f"raise it with --{ceiling_name.replace('_', '-')} or `budget:` in crews.yaml"


RUN = Scope()


@dataclass(frozen=True)
class Ceiling:
    """The ceilings of one scope, and what counts under them."""

    scope: Scope
    spent: Spent
    budget: BudgetSpec


@dataclass(frozen=True)
class Added:
    """What people have added to every ceiling that applies to a run, so that it can go on. Never negative."""

    usd: Decimal = Decimal(0)
    tokens: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    seconds: float = 0.0

    def plus(self, other: "Added") -> "Added":
        """Return both together."""
        return Added(
            self.usd + other.usd,
            self.tokens + other.tokens,
            self.model_calls + other.model_calls,
            self.tool_calls + other.tool_calls,
            self.seconds + other.seconds,
        )

    def to(self, budget: BudgetSpec) -> BudgetSpec:
        """Raise the ceilings that are set."""
        raised = {
            f"max_{field.name}": getattr(budget, f"max_{field.name}") + getattr(self, field.name)
            for field in fields(self)
            if getattr(budget, f"max_{field.name}") is not None
        }
        return budget.model_copy(update=raised)

    def to_json(self) -> dict[str, int | float | str]:
        """Return the amounts by name, without those of nothing; USD as a text, exactly."""
        told = {**asdict(self), "usd": str(self.usd)}
        return {name: told[name] for name, amount in asdict(self).items() if amount}

    @staticmethod
    def from_json(value: Mapping[str, object]) -> "Added":
        """Read what `to_json` wrote. Raises: ValueError for an amount of a wrong type."""
        return Added(
            _usd(value.get("usd", "0")),
            _count(value, "tokens"),
            _count(value, "model_calls"),
            _count(value, "tool_calls"),
            _seconds(value.get("seconds", 0.0)),
        )


def counts_answers(budget: BudgetSpec | CallBudgetSpec | None) -> bool:
    """Say whether any of the ceilings counts what an answer costs: dollars or tokens."""
    return budget is not None and (budget.max_usd is not None or budget.max_tokens is not None)


def counts_calls(budget: BudgetSpec | None) -> bool:
    """Say whether any of the ceilings counts dollars, tokens or calls, and not only time."""
    if budget is None:
        return False
    kept = (budget.max_usd, budget.max_tokens, budget.max_model_calls, budget.max_tool_calls)
    return any(ceiling is not None for ceiling in kept)


def first_over(
    ceilings: Sequence[Ceiling],
    *,
    kind: Literal["model", "tool"],
    worst_usd: Decimal | None,
    worst_tokens: int = 0,
    name: str = "the model",
) -> str | None:
    """Return as `over` the first ceiling of several scopes that forbids the next call."""
    reasons = (
        over(
            one.spent,
            one.budget,
            kind=kind,
            worst_usd=worst_usd,
            worst_tokens=worst_tokens,
            name=name,
            scope=one.scope,
        )
        for one in ceilings
    )
    return next((reason for reason in reasons if reason), None)


def suggest(reason: str, worst_usd: Decimal, worst_tokens: int) -> str:
    """Return what to add so that a run stopped for `reason` gets a good way further, as `usd=0.5`; "" for none.

    That is three times the worst case of the next call, which most calls are far from. A call whose price is unknown is
    not let through by any amount.
    """
    ceiling = reason.partition(":")[0].partition(" ")[0]
    if "price" in reason or ceiling not in _SUGGESTED:
        return ""
    name = ceiling.removeprefix("max_")
    if name == "usd":
        return f"usd={_rounded(worst_usd * 3 or Decimal('0.01')):f}"
    return f"{name}={int(_rounded(Decimal(max(worst_tokens * 3, 1000))))}" if name == "tokens" else _SUGGESTED[ceiling]


_SUGGESTED = {
    "max_usd": "usd",
    "max_tokens": "tokens",
    "max_model_calls": "model_calls=10",
    "max_tool_calls": "tool_calls=10",
    "max_seconds": "seconds=60",
}


def _rounded(amount: Decimal) -> Decimal:
    """Round up to one digit that is not 0."""
    return amount.quantize(Decimal(1).scaleb(amount.adjusted()), ROUND_CEILING).normalize()


def over(
    spent: Spent,
    budget: BudgetSpec,
    *,
    kind: Literal["model", "tool"],
    worst_usd: Decimal | None,
    worst_tokens: int = 0,
    name: str = "the model",
    scope: Scope = RUN,
) -> str | None:
    """Return the first ceiling that forbids the next call, with what is used and how to raise it; None when it fits.

    `worst_usd` and `worst_tokens` are the most that the call may cost, reserved before it; a model call whose price is
    unknown (None) never fits under `max_usd`. A tool call without a price fits as long as nothing is passed. A ceiling
    of 0 allows only what costs nothing, such as the offline model. `name` is the model's, for the message, as is
    `scope`.
    """
    if kind == "model":
        reasons = (
            _over_count("max_model_calls", spent.model_calls, budget.max_model_calls, scope),
            _over_tokens(spent, budget, worst_tokens, scope),
            _over_usd(spent, budget, worst_usd, name, scope),
        )
    else:
        reasons = (
            _over_count("max_tool_calls", spent.tool_calls, budget.max_tool_calls, scope),
            _passed(spent, budget, worst_usd or Decimal(0), scope),
        )
    return next((reason for reason in (*reasons, _over_seconds(spent, budget, scope)) if reason), None)


def _over_count(ceiling_name: str, used: int, ceiling: int | None, scope: Scope) -> str | None:
    if ceiling is None or used < ceiling:
        return None
    return f"{scope.ceiling(ceiling_name)}: {used} of {ceiling} used; {scope.how(ceiling_name)}"


def _over_tokens(spent: Spent, budget: BudgetSpec, worst_tokens: int, scope: Scope) -> str | None:
    used, ceiling = spent.input_tokens + spent.output_tokens, budget.max_tokens
    if ceiling is None or (used < ceiling and used + worst_tokens <= ceiling):
        return None
    if used >= ceiling:
        return _over_count("max_tokens", used, ceiling, scope)
    return (
        f"{scope.ceiling('max_tokens')}: {used} used, the next call may use {worst_tokens}, ceiling {ceiling}; "
        f"{scope.how('max_tokens')}"
    )


def _over_usd(spent: Spent, budget: BudgetSpec, worst_usd: Decimal | None, name: str, scope: Scope) -> str | None:
    ceiling, named = budget.max_usd, scope.ceiling("max_usd")
    if ceiling is None:
        return None
    if worst_usd is None:
        return f"{named}: the price of {name} is not known; write `price:` in models.yaml"
    if spent.unpriced_calls:
        calls = "call" if spent.unpriced_calls == 1 else "calls"
        return (
            f"{named}: {spent.unpriced_calls} {calls} of unknown price were made, so nobody knows what is left of "
            f"{ceiling:f}; write `price:` in models.yaml, or run without max_usd"
        )
    return _passed_usd(spent, ceiling, worst_usd, scope)


def _passed(spent: Spent, budget: BudgetSpec, worst_usd: Decimal, scope: Scope) -> str | None:
    """Say which ceiling of the model's a tool call meets: one that is passed already, or that its own price passes."""
    used = spent.input_tokens + spent.output_tokens
    if budget.max_tokens is not None and used > budget.max_tokens:
        return _over_count("max_tokens", used, budget.max_tokens, scope)
    return None if budget.max_usd is None else _passed_usd(spent, budget.max_usd, worst_usd, scope)


def _passed_usd(spent: Spent, ceiling: Decimal, worst_usd: Decimal, scope: Scope) -> str | None:
    if spent.usd + worst_usd <= ceiling:
        return None
    return (
        f"{scope.ceiling('max_usd')}: {_dollars(spent.usd)} spent, the next call may cost {_dollars(worst_usd)}, "
        f"ceiling {ceiling:f}; {scope.how('max_usd')}"
    )


def _over_seconds(spent: Spent, budget: BudgetSpec, scope: Scope) -> str | None:
    if budget.max_seconds is None or spent.seconds < budget.max_seconds:
        return None
    used = f"{spent.seconds:.1f} s of {budget.max_seconds:g} s used"
    return f"{scope.ceiling('max_seconds')}: {used}; {scope.how('max_seconds')}"


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
