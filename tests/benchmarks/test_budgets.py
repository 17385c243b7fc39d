"""The short version of benchmarks/budgets.py: workers that are killed keep a limit that they share."""

import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from benchmarks.budgets import ROOT


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.budgets", "--runs", "12", "--workers", "3", "--kills", "3"]
    command += ["--database", "sqlite"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_limit_is_reached_and_not_passed_where_estimates_are_exact(found: list[dict[str, Any]]) -> None:
    exact = found[0]
    assert (exact["variant"], exact["unfinished"]) == ("exact", 0)
    assert exact["stopped"] > 0
    assert (Decimal(exact["overspend_usd"]), Decimal(exact["allowed_usd"])) == (0, 0)


def test_a_limit_is_passed_by_the_errors_of_calls_in_flight_at_most(found: list[dict[str, Any]]) -> None:
    over = found[1]
    assert (over["variant"], over["unfinished"]) == ("over", 0)
    assert Decimal(over["overspend_usd"]) <= Decimal(over["allowed_usd"])
