"""A short version of benchmarks/policy.py: with 1,000 rules a decision is still a matter of a fraction of a millisecond."""

from benchmarks.policy import make_calls, make_policy, measure
from policy.rulebook import Rulebook


def test_a_decision_among_a_thousand_rules_takes_little_time() -> None:
    assert measure(1000, 240)["median_ms"] <= 1.0  # 0.15 on a quiet machine; this one may be busy


def test_an_index_decides_as_the_rules_one_by_one_do() -> None:
    book = Rulebook(make_policy(300))
    for call in make_calls():
        verdict, (account, *_) = book.explain(call)
        assert verdict == book.verdict(call)
        assert len(account.passed) + account.decided <= 300
