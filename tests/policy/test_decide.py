"""The guard's decision about one call."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.budget import Spent
from policy.decide import Allow, Call, Decision, Halt, Refuse, decide
from project.spec import BudgetSpec

_TOOLS = ("write_file", "search_documents", "read_document")


def _tool_call(name: str) -> Call:
    return Call("tool", "r1", "research", "researcher", name, {"query": "sun"}, effect="read", repeat="safe")


def _decide_tool(
    name: str, *, allowed: Sequence[str] = _TOOLS, problems: Sequence[str] = (), budget: BudgetSpec | None = None
) -> Decision:
    return decide(
        _tool_call(name),
        Spent(tool_calls=3),
        budget or BudgetSpec(),
        allowed,
        worst_usd=None,
        worst_tokens=0,
        price_known=True,
        argument_problems=problems,
    )


def _decide_model(budget: BudgetSpec, *, worst_usd: Decimal | None, price_known: bool) -> Decision:
    call = Call("model", "r1", "research", "researcher", "openai/x")
    return decide(call, Spent(), budget, (), worst_usd=worst_usd, worst_tokens=10, price_known=price_known)


def test_a_known_tool_within_the_budget_is_allowed() -> None:
    assert _decide_tool("search_documents") == Allow()


def test_a_misspelt_tool_is_refused_with_the_nearest_and_all_names_in_order() -> None:
    assert _decide_tool("search_document") == Refuse(
        "There is no tool `search_document`. Did you mean `search_documents`? "
        "The tools are: read_document, search_documents, write_file."
    )


@pytest.mark.parametrize(
    "name",
    [
        "writе_file",
        "ｗｒｉｔｅ＿ｆｉｌｅ",
        "write\u200b_file",
        "write_file\u2060",
        "wrítе_fіlе",
        "WRITE-FILE",
        "write_file ",
        " write_file",
        "writefile",
        "write_file\n",
        "write_fi1e",
        "writе_filе\u202e",
    ],
)
def test_a_name_that_only_looks_alike_is_refused_with_the_right_one(name: str) -> None:
    refused = _decide_tool(name)
    assert isinstance(refused, Refuse)
    assert "Did you mean `write_file`? The tools are: " in refused.reason
    assert refused.reason.isprintable()


def test_an_invented_tool_is_refused_with_all_names() -> None:
    assert _decide_tool("teleport") == Refuse(
        "There is no tool `teleport`. The tools are: read_document, search_documents, write_file."
    )


def test_an_agent_without_tools_is_told_so() -> None:
    assert _decide_tool("search", allowed=()) == Refuse(
        "There is no tool `search`, and no other one in this task. Answer without tools."
    )


def test_the_order_of_the_allowed_tools_does_not_show() -> None:
    assert _decide_tool("x", allowed=_TOOLS) == _decide_tool("x", allowed=_TOOLS[::-1])


def test_wrong_arguments_are_refused_with_every_reason() -> None:
    refused = _decide_tool("search_documents", problems=["query: is missing", "limit: must be >= 1, got 0"])
    assert refused == Refuse(
        "search_documents was not called, its arguments are wrong:\n"
        "- query: is missing\n- limit: must be >= 1, got 0\nCall it again with right ones."
    )


def test_a_tool_call_over_the_budget_halts_the_run() -> None:
    assert _decide_tool("write_file", budget=BudgetSpec(max_tool_calls=3)) == Halt(
        "max_tool_calls: 3 of 3 used; raise it with --max-tool-calls or `budget:` in crews.yaml"
    )


def test_a_wrong_call_is_refused_even_when_the_budget_is_used_up() -> None:
    budget = BudgetSpec(max_tool_calls=0)
    assert isinstance(_decide_tool("teleport", budget=budget), Refuse)
    assert isinstance(_decide_tool("write_file", budget=budget, problems=["path: is missing"]), Refuse)


def test_a_model_call_needs_no_allowed_tool() -> None:
    assert _decide_model(BudgetSpec(), worst_usd=None, price_known=False) == Allow()


def test_a_model_call_of_known_price_fits_under_its_ceiling() -> None:
    assert _decide_model(BudgetSpec(max_usd=Decimal(1)), worst_usd=Decimal("0.5"), price_known=True) == Allow()


def test_a_model_call_of_unknown_price_halts_under_a_ceiling_of_dollars() -> None:
    halted = Halt("max_usd: the price of openai/x is not known; write `price:` in models.yaml")
    budget = BudgetSpec(max_usd=Decimal(1))
    assert _decide_model(budget, worst_usd=Decimal(0), price_known=False) == halted
    assert _decide_model(budget, worst_usd=None, price_known=False) == halted


def test_a_model_that_costs_nothing_fits_under_a_ceiling_of_dollars() -> None:
    assert _decide_model(BudgetSpec(max_usd=Decimal(1)), worst_usd=None, price_known=True) == Allow()


def test_a_model_call_that_may_use_more_tokens_than_are_left_halts() -> None:
    assert isinstance(_decide_model(BudgetSpec(max_tokens=9), worst_usd=None, price_known=False), Halt)


@given(st.text(), st.lists(st.text()), st.lists(st.text()))
def test_no_name_and_no_reason_raises(name: str, allowed: list[str], problems: list[str]) -> None:
    decision = _decide_tool(name, allowed=allowed, problems=problems)
    assert isinstance(decision, Refuse if name not in allowed or problems else Allow)
