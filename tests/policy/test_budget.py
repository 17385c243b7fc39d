"""Ceilings: what is used up and whether the next call fits."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.budget import Added, Ceiling, Scope, Spent, first_over, over, suggest
from project.spec import BudgetSpec

_COUNTS = st.integers(0, 10**12)
_SPENT = st.builds(
    Spent,
    model_calls=_COUNTS,
    tool_calls=_COUNTS,
    input_tokens=_COUNTS,
    output_tokens=_COUNTS,
    usd=st.decimals(0, 10**6, places=8),
    unpriced_calls=_COUNTS,
    seconds=st.floats(0, 10**8),
)
_HOW = "or `budget:` in crews.yaml"


def _over_model(spent: Spent, budget: BudgetSpec, worst_usd: str | None = "0", worst_tokens: int = 0) -> str | None:
    worst = None if worst_usd is None else Decimal(worst_usd)
    return over(spent, budget, kind="model", worst_usd=worst, worst_tokens=worst_tokens, name="openai/x")


@given(_SPENT, _SPENT, _SPENT)
def test_adding_up_does_not_depend_on_grouping(one: Spent, two: Spent, three: Spent) -> None:
    assert one.plus(two).plus(three) == one.plus(two.plus(three))


@given(_SPENT, _SPENT)
def test_adding_up_does_not_depend_on_order_and_never_lessens(one: Spent, two: Spent) -> None:
    both = one.plus(two)
    assert both == two.plus(one)
    assert (both.model_calls, both.input_tokens, both.usd) >= (one.model_calls, one.input_tokens, one.usd)
    assert both.seconds >= one.seconds - 1e-6


@given(_SPENT)
def test_spent_survives_json(spent: Spent) -> None:
    assert Spent.from_json(json.loads(json.dumps(spent.to_json()))) == spent


def test_usd_is_text_in_json() -> None:
    assert Spent(usd=Decimal("0.10")).to_json()["usd"] == "0.10"


def test_amounts_that_an_older_journal_lacks_are_zero_and_unknown_ones_are_left_out() -> None:
    assert Spent.from_json({"model_calls": 2, "later": "x"}) == Spent(model_calls=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_calls": -1},
        {"model_calls": "1"},
        {"model_calls": True},
        {"model_calls": 1.5},
        {"usd": 0.1},
        {"usd": "-0.1"},
        {"usd": "NaN"},
        {"usd": "Infinity"},
        {"usd": "much"},
        {"seconds": -0.1},
        {"seconds": "1"},
        {"seconds": float("nan")},
    ],
)
def test_amounts_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Spent.from_json(wrong)


def test_negative_amounts_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="tool_calls must be >= 0, got -1"):
        Spent(tool_calls=-1)


@given(_SPENT, st.sampled_from(["model", "tool"]))
def test_without_ceilings_every_call_fits(spent: Spent, kind: str) -> None:
    assert over(spent, BudgetSpec(), kind="model" if kind == "model" else "tool", worst_usd=None) is None


def test_the_last_allowed_model_call_fits_and_the_next_does_not() -> None:
    budget = BudgetSpec(max_model_calls=40)
    assert _over_model(Spent(model_calls=39), budget) is None
    assert _over_model(Spent(model_calls=40), budget) == (
        f"max_model_calls: 40 of 40 used; raise it with --max-model-calls {_HOW}"
    )


def test_the_last_allowed_tool_call_fits_and_the_next_does_not() -> None:
    budget = BudgetSpec(max_tool_calls=2)
    assert over(Spent(tool_calls=1), budget, kind="tool", worst_usd=None) is None
    assert over(Spent(tool_calls=2), budget, kind="tool", worst_usd=None) == (
        f"max_tool_calls: 2 of 2 used; raise it with --max-tool-calls {_HOW}"
    )


def test_model_calls_and_tool_calls_do_not_use_up_each_others_ceilings() -> None:
    budget = BudgetSpec(max_model_calls=1, max_tool_calls=1)
    assert over(Spent(model_calls=1), budget, kind="tool", worst_usd=None) is None
    assert _over_model(Spent(tool_calls=1), budget) is None


def test_tokens_are_reserved_before_a_call() -> None:
    budget = BudgetSpec(max_tokens=10_000)
    spent = Spent(input_tokens=6000, output_tokens=2000)
    assert _over_model(spent, budget, worst_tokens=2000) is None
    assert _over_model(spent, budget, worst_tokens=2001) == (
        f"max_tokens: 8000 used, the next call may use 2001, ceiling 10000; raise it with --max-tokens {_HOW}"
    )


def test_used_up_tokens_stop_a_call_of_unknown_size() -> None:
    assert _over_model(Spent(input_tokens=7, output_tokens=3), BudgetSpec(max_tokens=10)) == (
        f"max_tokens: 10 of 10 used; raise it with --max-tokens {_HOW}"
    )


def test_dollars_are_reserved_before_a_call() -> None:
    budget = BudgetSpec(max_usd=Decimal("0.02"))
    assert _over_model(Spent(usd=Decimal("0.01")), budget, worst_usd="0.01") is None
    assert _over_model(Spent(usd=Decimal("0.0213")), budget, worst_usd="0.01") == (
        f"max_usd: 0.0213 spent, the next call may cost 0.0100, ceiling 0.02; raise it with --max-usd {_HOW}"
    )


def test_a_tiny_excess_shows_in_the_message() -> None:
    reason = _over_model(Spent(usd=Decimal("0.02")), BudgetSpec(max_usd=Decimal("0.02")), worst_usd="0.0000001")
    assert reason is not None
    assert "0.0200 spent, the next call may cost 0.000001, ceiling 0.02" in reason


def test_an_absurd_amount_is_written_and_not_an_error() -> None:
    reason = _over_model(Spent(), BudgetSpec(max_usd=Decimal(1)), worst_usd="1e40")
    assert reason is not None
    assert "1" + "0" * 40 in reason


def test_a_call_of_unknown_price_never_fits_under_a_ceiling_of_dollars() -> None:
    assert _over_model(Spent(), BudgetSpec(max_usd=Decimal(5)), worst_usd=None) == (
        "max_usd: the price of openai/x is not known; write `price:` in models.yaml"
    )


def test_earlier_calls_of_unknown_price_make_a_ceiling_of_dollars_unkeepable() -> None:
    assert _over_model(Spent(unpriced_calls=2), BudgetSpec(max_usd=Decimal(5)), worst_usd="0.01") == (
        "max_usd: 2 calls of unknown price were made, so nobody knows what is left of 5; "
        "write `price:` in models.yaml, or run without max_usd"
    )


def test_a_free_call_fits_when_the_dollars_are_used_up() -> None:
    assert _over_model(Spent(usd=Decimal(1)), BudgetSpec(max_usd=Decimal(1))) is None


def test_a_tool_call_needs_no_price_but_stops_once_the_dollars_are_passed() -> None:
    budget = BudgetSpec(max_usd=Decimal(1))
    assert over(Spent(usd=Decimal(1)), budget, kind="tool", worst_usd=None) is None
    assert over(Spent(usd=Decimal("1.1")), budget, kind="tool", worst_usd=None) is not None
    assert over(Spent(usd=Decimal("0.5")), budget, kind="tool", worst_usd=Decimal("0.6")) is not None


def test_a_tool_call_stops_once_the_tokens_are_passed() -> None:
    budget = BudgetSpec(max_tokens=10)
    assert over(Spent(input_tokens=10), budget, kind="tool", worst_usd=None) is None
    assert over(Spent(input_tokens=11), budget, kind="tool", worst_usd=None) is not None


@pytest.mark.parametrize("kind", ["model", "tool"])
def test_used_up_seconds_stop_every_call(kind: str) -> None:
    budget = BudgetSpec(max_seconds=60)
    chosen = "model" if kind == "model" else "tool"
    assert over(Spent(seconds=59.9), budget, kind=chosen, worst_usd=Decimal(0)) is None
    assert over(Spent(seconds=61.24), budget, kind=chosen, worst_usd=Decimal(0)) == (
        f"max_seconds: 61.2 s of 60 s used; raise it with --max-seconds {_HOW}"
    )


@pytest.mark.parametrize("ceiling", ["max_model_calls", "max_tokens"])
def test_a_ceiling_of_zero_allows_no_model_call_at_all(ceiling: str) -> None:
    reason = _over_model(Spent(), BudgetSpec.model_validate({ceiling: 0}))
    assert reason is not None
    assert reason.startswith(f"{ceiling}: ")
    assert f"--{ceiling.replace('_', '-')}" in reason


def test_a_ceiling_of_zero_dollars_allows_what_costs_nothing() -> None:
    budget = BudgetSpec.model_validate({"max_usd": 0})
    assert over(Spent(), budget, kind="model", worst_usd=Decimal(0)) is None
    assert over(Spent(), budget, kind="model", worst_usd=Decimal("0.0001")) is not None


def test_a_ceiling_of_zero_allows_no_tool_call_at_all() -> None:
    assert over(Spent(), BudgetSpec(max_tool_calls=0), kind="tool", worst_usd=None) is not None


@given(_SPENT, _SPENT, st.integers(0, 100), st.sampled_from(["model", "tool"]))
def test_spending_more_never_makes_room(one: Spent, two: Spent, ceiling: int, kind: str) -> None:
    chosen = "model" if kind == "model" else "tool"
    budget = BudgetSpec(
        max_model_calls=ceiling, max_tool_calls=ceiling, max_tokens=ceiling, max_usd=Decimal(ceiling), max_seconds=50
    )
    if over(one, budget, kind=chosen, worst_usd=Decimal(0)):
        assert over(one.plus(two), budget, kind=chosen, worst_usd=Decimal(0))


# -- scopes, and what people add

_TASK = Scope("task research", "`budget:` of the task in tasks.yaml")
_AMOUNTS = st.integers(0, 10**6)
_ADDED = st.builds(Added, st.decimals(0, 100, places=4), _AMOUNTS, _AMOUNTS, _AMOUNTS, st.integers(0, 1000))


def test_a_ceiling_of_another_scope_is_named_with_it() -> None:
    spent = Ceiling(_TASK, Spent(usd=Decimal("0.0213")), BudgetSpec(max_usd=Decimal("0.02")))
    assert first_over([spent], kind="model", worst_usd=Decimal("0.01"), name="openai/x") == (
        "max_usd of task research: 0.0213 spent, the next call may cost 0.0100, ceiling 0.02; "
        "`budget:` of the task in tasks.yaml raises it for new runs"
    )
    assert first_over([spent], kind="model", worst_usd=None, name="openai/x") == (
        "max_usd of task research: the price of openai/x is not known; write `price:` in models.yaml"
    )


def test_the_first_ceiling_without_room_is_named() -> None:
    wide = Ceiling(Scope("this month"), Spent(), BudgetSpec(max_model_calls=10))
    full = Ceiling(_TASK, Spent(), BudgetSpec(max_model_calls=0))
    fuller = Ceiling(Scope("this day"), Spent(), BudgetSpec(max_model_calls=0))
    reason = first_over([wide, full, fuller], kind="model", worst_usd=Decimal(0))
    assert reason is not None
    assert reason.startswith("max_model_calls of task research: ")
    assert first_over([wide], kind="model", worst_usd=Decimal(0)) is None


@given(_ADDED, _ADDED)
def test_what_is_added_survives_json_and_adds_up(one: Added, two: Added) -> None:
    assert Added.from_json(json.loads(json.dumps(one.to_json()))) == one
    budget = BudgetSpec(max_usd=Decimal(1), max_tokens=1, max_model_calls=1, max_tool_calls=1, max_seconds=1)
    assert two.to(one.to(budget)) == one.plus(two).to(budget)


def test_only_ceilings_that_are_set_are_raised() -> None:
    budget = BudgetSpec(max_usd=Decimal("0.5"), max_tokens=100)
    added = Added(usd=Decimal("0.25"), tool_calls=3)
    assert added.to(budget) == BudgetSpec(max_usd=Decimal("0.75"), max_tokens=100)
    assert added.to_json() == {"usd": "0.25", "tool_calls": 3}


@pytest.mark.parametrize(
    ("budget", "suggested"),
    [
        (BudgetSpec(max_usd=Decimal("0.01")), "usd=0.1"),
        (BudgetSpec(max_tokens=10), "tokens=4000"),
        (BudgetSpec(max_model_calls=0), "model_calls=10"),
    ],
)
def test_a_stopped_run_is_told_an_amount_that_lets_the_call_through(budget: BudgetSpec, suggested: str) -> None:
    worst_usd, worst_tokens = Decimal("0.0312"), 1100
    reason = _over_model(Spent(), budget, str(worst_usd), worst_tokens)
    assert reason is not None
    assert suggest(reason, worst_usd, worst_tokens) == suggested
    name, _, amount = suggested.partition("=")
    more = Added.from_json({name: amount if name == "usd" else int(amount)})
    assert _over_model(Spent(), more.to(budget), str(worst_usd), worst_tokens) is None


def test_no_amount_is_suggested_where_none_helps() -> None:
    reason = _over_model(Spent(), BudgetSpec(max_usd=Decimal(5)), None)
    assert reason is not None
    assert suggest(reason, Decimal(0), 0) == ""
