"""The order rules: which sequences of calls are blocked, where, and what the agent is told."""

from typing import Any

import pytest

from policy.order import Made, not_called, out_of_order
from project.spec_policy import OrderSpec

RULES: dict[str, list[OrderSpec]] = {
    "once": [OrderSpec(tool="pay", at_most=1)],
    "twice a task": [OrderSpec(tool="pay", at_most=2, per="task")],
    "after": [OrderSpec(tool="send", after=["check"])],
    "after both": [OrderSpec(tool="send", after=["check", "sign"])],
    "after in the task": [OrderSpec(tool="send", after=["check"], per="task")],
    "before": [OrderSpec(tool="read", before=["send"])],
    "before in the task": [OrderSpec(tool="read", before=["send", "post"], per="task")],
    "never with": [OrderSpec(tool="crm", never_with=["web"])],
    "never with in the task": [OrderSpec(tool="crm", never_with=["web", "mail"], per="task")],
    "only in": [OrderSpec(tool="pay", at_most=1, tasks=["book"])],
    "several": [
        OrderSpec(tool="pay", at_most=2),
        OrderSpec(tool="pay", after=["quote"]),
        OrderSpec(tool="pay", never_with=["refund"]),
    ],
}
"""A call is `tool`, `tool@task`; `!` after it: it failed or is under way. The last one of a script is the one asked."""

VIOLATIONS = [
    ("once", "pay pay"),
    ("once", "pay! pay"),
    ("once", "pay@a pay@b"),
    ("once", "read pay read pay"),
    ("twice a task", "pay@a pay@a pay@a"),
    ("twice a task", "pay@a pay@b pay!@a pay@a"),
    ("after", "send"),
    ("after", "check! send"),
    ("after", "sign send"),
    ("after both", "check send"),
    ("after both", "check sign! send"),
    ("after in the task", "check@a send@b"),
    ("before", "send read"),
    ("before", "send! read"),
    ("before", "read send@b read@a"),
    ("before in the task", "post@a read@a"),
    ("before in the task", "read@a send@a read@a"),
    ("never with", "web crm"),
    ("never with", "crm web"),
    ("never with", "crm! web"),
    ("never with in the task", "mail@a crm@a"),
    ("only in", "pay@trip.book pay@trip.book"),
    ("only in", "pay@plan pay@book.i3"),
    ("several", "quote refund pay"),
]
LEGAL = [
    ("once", "pay"),
    ("once", "read read pay"),
    ("once", "pay read"),
    ("twice a task", "pay@a pay@a"),
    ("twice a task", "pay@a pay@a pay@b"),
    ("twice a task", "pay@a pay@b pay@a pay@b"),
    ("after", "check send"),
    ("after", "check@a send@b"),
    ("after", "check! check send"),
    ("after", "check check!"),
    ("after both", "sign check send"),
    ("after in the task", "check@a send@a"),
    ("before", "read read send"),
    ("before", "send send"),
    ("before in the task", "send@a read@b"),
    ("before in the task", "read@a post@a"),
    ("never with", "crm crm"),
    ("never with", "web web mail"),
    ("never with in the task", "web@a crm@b"),
    ("never with in the task", "crm@a web@b"),
    ("only in", "pay@plan pay@plan"),
    ("only in", "pay@book.c1 read@book.c1"),
    ("several", "quote pay pay"),
    ("several", "refund quote"),
]


def read(call: str) -> Made:
    name, _, task = call.partition("@")
    return Made(task or "work", name.removesuffix("!"), not name.endswith("!"))


def asked(rules: str, script: str) -> str:
    *made, last = [read(call) for call in script.split()]
    return out_of_order(RULES[rules], last.tool, last.task, made)


@pytest.mark.parametrize(("rules", "script"), VIOLATIONS)
def test_a_script_that_breaks_a_rule_is_blocked_at_its_last_call(rules: str, script: str) -> None:
    assert asked(rules, script)
    calls = script.split()
    earlier = [asked(rules, " ".join(calls[: length + 1])) for length in range(len(calls) - 1)]
    assert not any(earlier), "the calls before are legal"


@pytest.mark.parametrize(("rules", "script"), LEGAL)
def test_a_legal_script_passes_call_by_call(rules: str, script: str) -> None:
    calls = script.split()
    assert [asked(rules, " ".join(calls[: length + 1])) for length in range(len(calls))] == [""] * len(calls)


def test_there_are_as_many_scripts_as_the_issue_wants() -> None:
    assert (len(set(VIOLATIONS)), len(set(LEGAL))) == (24, 24)


@pytest.mark.parametrize(
    ("rules", "script", "told"),
    [
        ("once", "pay pay", "it may be called once at most in this run, and was. Go on without another call of it"),
        (
            "twice a task",
            "pay pay pay",
            "it may be called 2 times at most in this task, and was. Go on without another call of it",
        ),
        (
            "after both",
            "send",
            "it may be called only after `check` and `sign` was called with success in this run. "
            "Call `check` and `sign` first",
        ),
        ("before", "send read", "it may be called only before send, and that was called in this run. Go on without it"),
        (
            "never with",
            "crm web",
            "it may not be called together with crm, and that was called in this run. Go on without it",
        ),
    ],
)
def test_the_agent_is_told_what_to_do(rules: str, script: str, told: str) -> None:
    assert asked(rules, script) == told


def test_the_reason_of_a_rule_is_told() -> None:
    rules = [OrderSpec(tool="send", after=["check"], reason="Nothing goes out unread.")]
    assert out_of_order(rules, "send", "work", []).endswith("Call `check` first; Nothing goes out unread")


# -- what must be called

MUST = [OrderSpec(tool="check", must_call=True, reason="Numbers are checked.")]


@pytest.mark.parametrize(
    ("more", "tools", "task", "made", "demanded"),
    [
        ({}, ["check"], "work", "", True),
        ({}, ["check"], "work", "check", False),
        ({}, ["check"], "work", "check!", True),
        ({}, ["check"], "work", "check@other", False),
        ({"per": "task"}, ["check"], "work", "check@other", True),
        ({"per": "task"}, ["check"], "work", "check", False),
        ({}, ["read"], "work", "", False),
        ({"tasks": ["work"]}, ["check"], "crew.work.c2", "", True),
        ({"tasks": ["work"]}, ["check"], "other", "", False),
    ],
)
def test_what_must_be_called(more: dict[str, Any], tools: list[str], task: str, made: str, demanded: bool) -> None:
    rules = [OrderSpec(tool="check", must_call=True, **more)]
    assert bool(not_called(rules, tools, task, [read(call) for call in made.split()])) is demanded


def test_a_demand_says_what_to_do() -> None:
    told = "the tool `check` must be called with success before you answer: Numbers are checked. Call it now"
    assert not_called([*MUST, *MUST], ["check"], "work", []) == [told]


def test_a_tool_that_need_not_be_called_is_not_demanded() -> None:
    assert not_called([OrderSpec(tool="check", at_most=1)], ["check"], "work", []) == []
