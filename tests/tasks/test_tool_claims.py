"""The rule `claimed_calls` on sentences that were written without a look at it."""

from typing import Any

import pytest

from benchmarks.claims import read_claims, reasons_for


@pytest.mark.parametrize("claim", [pytest.param(one, id=one["text"][:50]) for one in read_claims("a")])
def test_a_claimed_call_is_told_from_a_made_one(claim: dict[str, Any]) -> None:
    assert bool(reasons_for(claim)) == claim["made_up"], reasons_for(claim)


@pytest.mark.parametrize(
    "text",
    [
        "The figures were checked by our auditors against the register.",
        "After a long search, the team found the cause.",
        "When running the tests, I recommend the quiet option.",
        "I verified the claims using the sources above.",
        "The e-mail was sent by the vendor on Monday.",
        "I have not searched the web.",
    ],
)
def test_what_others_did_or_nobody_did_is_no_claim(text: str) -> None:
    claim = {"text": text, "calls": ["calculator"], "tools": ["calculator", "web_search"]}
    assert reasons_for(claim) == []


def test_a_search_is_no_visit_where_a_page_could_have_been_fetched() -> None:
    claim = {"text": "I visited the page of the maker.", "calls": ["web_search"], "tools": ["web_search", "fetch_page"]}
    assert len(reasons_for(claim)) == 1
    assert reasons_for({**claim, "calls": ["fetch_page"]}) == []
