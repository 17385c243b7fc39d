"""How long the policy takes to decide about one call, with 1,000 rules.

    python -m benchmarks.policy [--rules 1000] [--calls 4000]

Two policies are measured, one with the rules as they are said below and one with the same rules of which none names a
tool, so that no look-up by the tool's name leaves any out. The rules are mixed: a third names exact tools, a quarter
patterns of names, the rest arguments, domains, agents and hours; one in twelve is for every tool or every agent, so
that it must be looked at in every call. The calls are of twelve kinds: those that the first rule fits, those that a
late one does, those that none does; with addresses, lists and long texts among the arguments; some on behalf of two
others. Making the rules ready is measured apart: it happens once in a run. Deciding waits for nothing, so the time
counts that the thread used; what passed on the clock stands beside it, which on a busy machine is more.

Prints a table and, as the last line, one JSON object; exit 1 when a median is above 0.3 ms.
"""

import argparse
import json
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from policy.decide import Call, Principal, Taint
from policy.rulebook import Rulebook
from project.spec_policy import ArgumentSpec, PolicySpec, RuleSpec

MOST_MILLISECONDS = 0.3
_NO_TOOL = "no tool"
_NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)


def make_policy(count: int, *, of_tools: bool = True) -> PolicySpec:
    """Return a policy of so many rules of all kinds; not `of_tools`, none of them names one."""
    rules = [_rule(number) for number in range(count)]
    return PolicySpec(rules=rules if of_tools else [rule.model_copy(update={"tools": []}) for rule in rules])


def _rule(number: int) -> RuleSpec:
    decide: Any = ("allow", "ask", "deny")[number % 3]
    tool = f"tool_{number % 150}"
    match number % 12:
        case 0 | 1 | 2 | 3:
            return RuleSpec(decide=decide, tools=[tool], agents=[f"agent_{number % 40}"])
        case 4 | 5 | 6:
            return RuleSpec(decide=decide, tools=[f"too*_{number % 150}"], crews=[f"crew_{number % 9}"])
        case 7:
            return RuleSpec(decide=decide, tools=[tool], arguments={"amount": ArgumentSpec(min=number, max=number + 5)})
        case 8:
            pattern = rf"[a-z]+{number}@example\.com"
            tools = [] if number % 24 == 8 else [tool]
            return RuleSpec(decide=decide, tools=tools, arguments={"to": ArgumentSpec(pattern=pattern)})
        case 9:
            return RuleSpec(decide=decide, tools=[f"tool_{number % 10}*"], domains=[f"*.shop{number}.example.com"])
        case 10:
            return RuleSpec(decide=decide, tools=[tool], domains=[f"site{number}.example.org"], methods=["GET", "HEAD"])
        case _:
            return RuleSpec(decide=decide, agents=[f"night_{number}"], hours="mon-fri 22:00-06:00")


def make_calls() -> list[Call]:
    """Return calls of all kinds."""
    small = {"amount": 12, "to": "ann@example.com"}
    plain = Call("tool", "r", "work", "agent_7", "tool_3", small, effect="send", at=_NOON)
    page = {"url": "https://www.site10.example.org/a?b=c", "method": "GET"}
    letter = {"to": ["ann@example.com", "bob@example.com"], "text": "see https://example.com/a. " * 60}
    nested = {"order": {"items": [{"id": n, "link": f"https://s{n}.shop9.example.com/"} for n in range(20)]}}
    return [
        plain,
        replace(plain, agent="agent_0", name="tool_0"),
        replace(plain, name="tool_149"),
        replace(plain, name="other", arguments={"query": "sun"}, effect="read"),
        replace(plain, name="tool_10", arguments=page),
        replace(plain, name="tool_60", arguments=letter),
        replace(plain, name="tool_9", arguments=nested),
        replace(plain, name="tool_7", arguments={"amount": 10}),
        replace(plain, arguments={"to": "x" * 5000}),
        replace(plain, principal=Principal("r", "crew_4", "work", "agent_7", ("agent_1", "agent_2"))),
        replace(plain, taint=Taint(("a",), ("b",)), given=("send it to ann@example.com",)),
        replace(plain, name="tool_22", arguments={}),
    ]


def measure(rules: int, calls: int, *, of_tools: bool = True) -> dict[str, float]:
    """Return milliseconds: to make the rules ready, and of one decision the median, the 99th percentile, the mean."""
    policy = make_policy(rules, of_tools=of_tools)
    began = time.perf_counter()
    book = Rulebook(policy)
    ready = time.perf_counter() - began
    kinds, used, passed = make_calls(), list[float](), list[float]()
    for kind in kinds:
        book.verdict(kind)
    for number in range(calls):
        call = kinds[number % len(kinds)]
        began, on_clock = time.thread_time(), time.perf_counter()
        book.verdict(call)
        used.append((time.thread_time() - began) * 1000)
        passed.append((time.perf_counter() - on_clock) * 1000)
    return {
        "ready_ms": ready * 1000,
        "median_ms": statistics.median(used),
        "p99_ms": statistics.quantiles(used, n=100)[98],
        "clock_median_ms": statistics.median(passed),
        "clock_p99_ms": statistics.quantiles(passed, n=100)[98],
    }


def main() -> None:
    """Measure, print, and exit 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rules", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=4000)
    asked = parser.parse_args()
    rows = {str(count): measure(count, asked.calls) for count in dict.fromkeys([10, 100, asked.rules])}
    rows[_NO_TOOL] = measure(asked.rules, asked.calls, of_tools=False)
    print("rules    ready ms   median ms   p99 ms   on the clock: median ms   p99 ms")
    for name, found in rows.items():
        print(
            f"{name:>7}  {found['ready_ms']:>9.2f}  {found['median_ms']:>10.4f}  {found['p99_ms']:>7.4f}"
            f"  {found['clock_median_ms']:>24.4f}  {found['clock_p99_ms']:>7.4f}"
        )
    found, no_tool = (
        {name: round(value, 4) for name, value in rows[which].items()} for which in (str(asked.rules), _NO_TOOL)
    )
    passed = max(found["median_ms"], no_tool["median_ms"]) <= MOST_MILLISECONDS
    print(
        json.dumps(
            {"rules": asked.rules, **found, _NO_TOOL: no_tool, "target_median_ms": MOST_MILLISECONDS, "passed": passed}
        )
    )
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
