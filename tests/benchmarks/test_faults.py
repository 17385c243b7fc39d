"""The short version of benchmarks/faults.py, and what it complains about."""

import json
from typing import Any

import pytest

from benchmarks.faults import broken_promises
from tests.farm import Farm


@pytest.fixture(scope="module")
def found(farm: Farm) -> dict[str, Any]:
    done = farm.run("benchmarks.faults", "--runs", "3", "--at-once", "3")
    assert done.code == 0, done.out + done.text()
    return json.loads(done.out)


def test_runs_succeed_though_the_model_often_fails(found: dict[str, Any]) -> None:
    assert found["error_attempts"] > 0
    assert (found["succeeded"], found["same_outputs"], found["same_tokens"]) == (3, 3, 3)


def test_the_trace_shows_every_attempt_with_its_reason_and_its_backoff(found: dict[str, Any]) -> None:
    assert found["attempts"] == found["server"]["attempts"]
    assert found["backoffs"] == found["error_attempts"] == sum(found["errors"].values())
    assert (found["errors_without_reason"], found["backoffs_without_reason"]) == (0, 0)
    assert found["most_attempts_per_call"] <= found["max_attempts"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"succeeded": 2}, "every run succeeds"),
        ({"same_outputs": 2}, "outputs are those of undisturbed runs"),
        ({"most_attempts_per_call": 9}, "attempts are bounded"),
        ({"attempts": 0}, "the trace has every attempt that the server saw"),
        ({"errors_without_reason": 1}, "each error attempt has a reason"),
        ({"notes": 4}, "the tool of each run was called once"),
        ({"error_attempts": 0, "backoffs": 0}, "there were faults"),
    ],
)
def test_a_broken_promise_is_named(found: dict[str, Any], change: dict[str, int], named: str) -> None:
    assert broken_promises({**found, **change}) == [named]
