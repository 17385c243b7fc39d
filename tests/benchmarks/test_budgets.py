"""The short version of benchmarks/budgets.py: workers that are killed keep a limit that they share."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.farm import Farm


@pytest.fixture(scope="module")
def found(farm: Farm) -> list[dict[str, Any]]:
    command = ["--runs", "12", "--workers", "3", "--kills", "3", "--database", "sqlite"]
    done = farm.run("benchmarks.budgets", *command)
    assert done.code == 0, done.out + done.text()
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_limit_is_reached_and_not_passed_where_estimates_are_exact(found: list[dict[str, Any]]) -> None:
    exact = found[0]
    assert (exact["variant"], exact["unfinished"]) == ("exact", 0)
    assert exact["stopped"] > 0
    assert (Decimal(exact["overspend_usd"]), Decimal(exact["allowed_usd"])) == (0, 0)


def test_a_limit_is_passed_by_the_errors_of_calls_in_flight_at_most(found: list[dict[str, Any]]) -> None:
    over = found[1]
    assert (over["variant"], over["unfinished"]) == ("over", 0)
    assert Decimal(over["overspend_usd"]) <= Decimal(over["allowed_usd"])
