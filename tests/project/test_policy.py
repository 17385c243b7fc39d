"""policy.yaml as it is read: long and short forms, what is only noted, hours, and expressions that would never end."""

import contextlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from project.hours import read_hours, read_instant
from project.load import Project, load_project
from project.regex import what_is_wrong
from project.schema import make_schemas
from project.spec import BudgetSpec, RateSpec
from project.spec_policy import (
    ApprovalSpec,
    ApprovalsSpec,
    ArgumentSpec,
    BudgetsSpec,
    CallBudgetSpec,
    DefaultsSpec,
    ExampleSpec,
    OrderSpec,
    PolicySpec,
    RuleSpec,
    ToolPolicySpec,
)
from tests.project.folder import AGENTS, TASKS, load, write

_ROOT = Path(__file__).resolve().parents[2]
_TOOLS = '''\
from muster import tool


@tool(effect="send")
def post_note(channel: str, text: str, method: str = "POST") -> str:
    """Post a note."""
    return ""


@tool(effect="spend")
def refund(order: str, amount: float) -> str:
    """Refund an order."""
    return ""
'''
_FULL = """
rules:
  - decide: allow
    name: office notes
    tools: [post_note, "list_*"]
    agents: [researcher]
    crews: [default]
    effects: [send, write]
    arguments: {channel: {one_of: [general, 3], max_length: 20}, text: {pattern: '[^@]*'}}
    paths: [reports/**]
    domains: [api.example.com, "*.Example.org", 10.0.0.1]
    methods: [get, POST]
    hours: mon-fri 09:00-17:00
    timezone: Europe/Berlin
    confidence_below: 0.5
    tainted: false
    reason: notes are harmless
  - {decide: ask, tools: refund, arguments: {amount: {min: 10, max: 99.5}}, approval: {four_eyes: true}}
  - {decide: deny, tools: refund}
defaults: {read: allow, write: ask, send: deny, spend: deny, execute: deny}
order:
  - {tool: refund, at_most: 1, per: task, after: [search_documents], before: [post_note], never_with: [list_notes]}
  - {tool: search_documents, must_call: true, tasks: [research], reason: look first}
tools:
  post_note: {effect: send, repeat: keyed, returns: trusted, private: false, secrets: [CHAT_TOKEN], rate: {calls: 3}}
  refund: {domains: ["pay.example.com"], private_addresses: true, price_usd: 0.05}
approvals: {approvers: [ann, ben@desk], expires_hours: 2, notify: [ops]}
budgets:
  call: {max_usd: 0.1, max_tokens: 9000, max_seconds: 30}
  day: {max_usd: 5}
  month: {max_tokens: 1000000}
redact: ['[A-Z]{2}[0-9]{8}']
tests:
  - tool: refund
    expect: deny
    rule: rule 3
    arguments: {order: A1, amount: 5}
    agent: researcher
    crew: default
    effect: spend
    delegated_by: [researcher]
    tainted: true
    private: true
    confidence: 0.4
    at: 2026-11-20 14:30
"""
_SHORT = """
rules:
  - decide: ask
    tools: post_note
    agents: researcher
    crews: default
    effects: send
    arguments: {channel: general, text: [a, b]}
    paths: reports
    domains: example.org
    methods: post
    approval: ann
order: [{tool: refund, after: post_note, tasks: research}]
tools: {post_note: {secrets: CHAT_TOKEN, domains: example.org, rate: 60}, refund: {domains: []}}
approvals: {approvers: [ben, eve], expires_hours: 1, notify: ops}
redact: 'X[0-9]+'
tests: [{tool: post_note, expect: ask, delegated_by: researcher}]
"""
_OPS = "notify:\n  ops: {command: [./tell]}\n"


def _load(tmp_path: Path, policy: str, **more: str) -> Project:
    files = {"tools/own.py": _TOOLS, "config/policy.yaml": policy, "config/schedules.yaml": _OPS, **more}
    return load(write(tmp_path / "project", files))


def _notes(project: Project) -> list[str]:
    return [str(note) for note in project.notes if "config/schedules.yaml" not in str(note)]


def test_every_key_is_read(tmp_path: Path) -> None:
    project = _load(tmp_path, _FULL)
    assert project.policy == PolicySpec(
        rules=[
            RuleSpec(
                decide="allow",
                name="office notes",
                tools=["post_note", "list_*"],
                agents=["researcher"],
                crews=["default"],
                effects=["send", "write"],
                arguments={
                    "channel": ArgumentSpec(one_of=["general", 3], max_length=20),
                    "text": ArgumentSpec(pattern="[^@]*"),
                },
                paths=["reports/**"],
                domains=["api.example.com", "*.example.org", "10.0.0.1"],
                methods=["GET", "POST"],
                hours="mon-fri 09:00-17:00",
                timezone="Europe/Berlin",
                confidence_below=0.5,
                tainted=False,
                reason="notes are harmless",
            ),
            RuleSpec(
                decide="ask",
                tools=["refund"],
                arguments={"amount": ArgumentSpec(min=10, max=99.5)},
                approval=ApprovalSpec(approvers=["ann", "ben@desk"], four_eyes=True, expires_hours=2),
            ),
            RuleSpec(decide="deny", tools=["refund"]),
        ],
        defaults=DefaultsSpec(write="ask", send="deny", spend="deny", execute="deny"),
        order=[
            OrderSpec(
                tool="refund",
                at_most=1,
                per="task",
                after=["search_documents"],
                before=["post_note"],
                never_with=["list_notes"],
            ),
            OrderSpec(tool="search_documents", must_call=True, tasks=["research"], reason="look first"),
        ],
        tools={
            "post_note": ToolPolicySpec(
                effect="send",
                repeat="keyed",
                returns="trusted",
                private=False,
                secrets=["CHAT_TOKEN"],
                rate=RateSpec(calls=3),
            ),
            "refund": ToolPolicySpec(domains=["pay.example.com"], private_addresses=True, price_usd=Decimal("0.05")),
        },
        approvals=ApprovalsSpec(approvers=["ann", "ben@desk"], expires_hours=2, notify=["ops"]),
        budgets=BudgetsSpec(
            call=CallBudgetSpec(max_usd=Decimal("0.1"), max_tokens=9000, max_seconds=30),
            day=BudgetSpec(max_usd=Decimal(5)),
            month=BudgetSpec(max_tokens=1_000_000),
        ),
        redact=["[A-Z]{2}[0-9]{8}"],
        tests=[
            ExampleSpec(
                tool="refund",
                expect="deny",
                rule="rule 3",
                arguments={"order": "A1", "amount": 5},
                agent="researcher",
                crew="default",
                effect="spend",
                delegated_by=["researcher"],
                tainted=True,
                private=True,
                confidence=0.4,
                at="2026-11-20 14:30",
            )
        ],
    )
    assert project.notes == ()


def test_short_forms_are_read(tmp_path: Path) -> None:
    policy = _load(tmp_path, _SHORT).policy
    rule = policy.rules[0]
    assert rule == RuleSpec(
        decide="ask",
        tools=["post_note"],
        agents=["researcher"],
        crews=["default"],
        effects=["send"],
        arguments={"channel": ArgumentSpec(one_of=["general"]), "text": ArgumentSpec(one_of=["a", "b"])},
        paths=["reports"],
        domains=["example.org"],
        methods=["POST"],
        approval=ApprovalSpec(approvers=["ann"], expires_hours=1),
    )
    assert (policy.order[0].after, policy.order[0].tasks) == (["post_note"], ["research"])
    assert policy.tools["post_note"] == ToolPolicySpec(
        secrets=["CHAT_TOKEN"], domains=["example.org"], rate=RateSpec(calls=60)
    )
    assert policy.tools["refund"].domains == []
    assert (policy.approvals.notify, policy.redact) == (["ops"], ["X[0-9]+"])
    assert policy.tests[0].delegated_by == ["researcher"]


@pytest.mark.parametrize("text", [_FULL, _SHORT], ids=["long", "short"])
def test_what_is_read_is_right_for_editors(text: str) -> None:
    validator: Any = Draft7Validator(make_schemas()["policy"])
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize("text", ["", "# later\n", "rules:\ndefaults:\norder:\ntools:\nbudgets:\ntests:\n"])
def test_an_empty_policy_is_the_defaults(text: str, tmp_path: Path) -> None:
    assert _load(tmp_path, text).policy == PolicySpec()


def test_a_project_without_a_policy_has_the_defaults_and_nothing_is_said(tmp_path: Path) -> None:
    project = load(write(tmp_path / "project"))
    assert project.policy == PolicySpec()
    assert project.notes == ()


def test_another_policy_is_another_digest(tmp_path: Path) -> None:
    digests = {_load(tmp_path / decide, f"defaults: {{send: {decide}}}\n").digest for decide in ("ask", "deny")}
    assert len(digests) == 2


def test_classes_of_crewai_tools_may_be_named(tmp_path: Path) -> None:
    names = load(write(tmp_path / "project")).crewai_tools
    if not names:
        pytest.skip("crewai-tools is not installed")
    policy = _load(tmp_path, "rules: [{decide: deny, tools: [FileWriterTool, '*WriterTool']}]\n").policy
    assert policy.rules[0].tools == ["FileWriterTool", "*WriterTool"]


def test_the_starter_has_a_policy_that_changes_nothing_for_its_crews() -> None:
    policy = load_project(_ROOT, _ROOT / "tools").policy
    assert policy.model_copy(update={"rules": [], "tests": []}) == PolicySpec()
    assert [(rule.name, rule.decide, rule.tools) for rule in policy.rules] == [
        ("no hidden files", "deny", ["write_file"])
    ]
    assert [test.expect for test in policy.tests] == ["allow", "deny"]


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("tools: refund", "tools: refund, arguments: {amount: 3}"),
        ("tools: 're*'", "tools: [refund]"),
        ("effects: spend", "tools: refund"),
        ("tools: refund, agents: [researcher]", "tools: refund, agents: [researcher], crews: [default]"),
        ("arguments: {amount: {min: 3}}, tools: refund", "arguments: {amount: {min: 5, max: 9}}, tools: refund"),
        ("arguments: {text: [a, b]}, tools: post_note", "arguments: {text: a}, tools: post_note"),
        ("domains: '*.example.org'", "domains: [a.example.org], hours: mon"),
        ("paths: 'reports/**'", "paths: [reports/2026/a.md]"),
        ("methods: [GET, POST], tools: post_note", "methods: GET, tools: post_note"),
        ("confidence_below: 0.5", "confidence_below: 0.4"),
        ("tools: refund", "tools: refund, tainted: true"),
        ("reason: all", "effects: [read]"),
    ],
)
def test_a_rule_that_is_never_reached_is_noted(early: str, late: str, tmp_path: Path) -> None:
    project = _load(tmp_path, f"rules:\n  - {{decide: ask, {early}}}\n  - {{decide: deny, name: late, {late}}}\n")
    what = "is never reached: `rule 1` fits every call that it fits"
    assert _notes(project) == [f"config/policy.yaml:3:5: rules: {what}"]


@pytest.mark.parametrize(
    ("early", "late"),
    [
        ("tools: refund, arguments: {amount: 3}", "tools: refund"),
        ("tools: refund", "tools: 're*'"),
        ("effects: send", "tools: [refund, post_note]"),
        ("tools: refund, hours: mon", "tools: refund"),
        ("tools: refund, tainted: false", "tools: refund"),
        ("arguments: {text: {pattern: a}}, tools: post_note", "arguments: {text: a}, tools: post_note"),
        ("paths: 'reports/*'", "paths: [reports/2026/a.md]"),
        ("domains: '*.example.org'", "domains: [example.org]"),
        ("confidence_below: 0.4", "confidence_below: 0.5"),
        ("agents: [researcher]", "tools: refund"),
        ("decide: allow, paths: 'reports/**'", "paths: [reports/a.md]"),
    ],
)
def test_a_rule_that_may_be_reached_is_not(early: str, late: str, tmp_path: Path) -> None:
    project = _load(tmp_path, f"rules:\n  - {{{_ask(early)}}}\n  - {{decide: deny, {late}}}\n")
    assert _notes(project) == []


def _ask(rule: str) -> str:
    return rule if rule.startswith("decide:") else f"decide: ask, {rule}"


def test_the_effect_that_the_policy_gives_a_tool_counts_for_what_is_reached(tmp_path: Path) -> None:
    rules = "rules: [{decide: ask, effects: read}, {decide: deny, tools: refund}]\n"
    assert _notes(_load(tmp_path / "a", rules)) == []
    assert len(_notes(_load(tmp_path / "b", rules + "tools: {refund: {effect: read}}\n"))) == 1


def test_what_does_nothing_is_noted(tmp_path: Path) -> None:
    policy = """\
rules:
  - {decide: deny, tools: "mail_*", agents: "w*", crews: "x*"}
  - {decide: ask, tools: refund, timezone: Europe/Berlin}
  - {decide: deny, tools: post_note, approval: ann}
  - {decide: allow, reason: whatever}
  - {decide: allow, tools: refund, approval: ann}
"""
    assert _notes(_load(tmp_path, policy)) == [
        "config/policy.yaml:2:27: rules.tools: no tool has a name that fits `mail_*`",
        "config/policy.yaml:2:45: rules.agents: no agent has a name that fits `w*`",
        "config/policy.yaml:2:58: rules.crews: no crew has a name that fits `x*`",
        "config/policy.yaml:3:34: rules.timezone: counts only with `hours`",
        "config/policy.yaml:4:38: rules.approval: nobody is asked: the rule denies",
        "config/policy.yaml:5:5: rules: allows every call of every tool",
        "config/policy.yaml:6:5: rules: is never reached: `rule 2` fits every call that it fits",
        "config/policy.yaml:6:36: rules.approval: nobody is asked: the rule allows",
    ]


def test_a_rule_that_does_not_reach_the_shell_is_noted(tmp_path: Path) -> None:
    shell = '\n\n@tool(effect="execute")\ndef shell(command: str) -> str:\n    """Run."""\n    return ""\n'
    policy = """\
rules:
  - {decide: ask, tools: shell}
  - {decide: allow, tools: shell, arguments: {command: [git status]}}
  - {decide: allow, effects: [execute]}
  - {decide: allow, effects: [read]}
"""
    more = {"tools/own.py": _TOOLS + shell, "config/agents.yaml": AGENTS + "  tools: [shell]\n"}
    what = "does not reach `shell`, which runs only commands that a rule for it names one by one"
    reached = "is never reached: `rule 1` fits every call that it fits"
    assert _notes(_load(tmp_path / "a", policy, **more)) == [
        f"config/policy.yaml:2:5: rules: {what}",
        f"config/policy.yaml:3:5: rules: {reached}",
        f"config/policy.yaml:4:5: rules: {what}",
    ]


def test_a_channel_that_only_approvals_name_is_named(tmp_path: Path) -> None:
    assert _load(tmp_path / "a", "approvals: {notify: [ops]}\n").notes == ()
    note = "config/schedules.yaml:2:3: notify.ops: nothing names this channel"
    assert [str(note) for note in _load(tmp_path / "b", "").notes] == [note]


def test_order_rules_of_different_tasks_do_not_contradict(tmp_path: Path) -> None:
    tasks = TASKS + TASKS.replace("research:", "check:", 1)
    policy = """\
order:
  - {tool: refund, after: [post_note], tasks: [research]}
  - {tool: post_note, after: [refund], tasks: [check]}
  - {tool: list_notes, never_with: [refund], must_call: true, tasks: [research]}
  - {tool: refund, must_call: true, tasks: [check]}
"""
    assert len(_load(tmp_path, policy, **{"config/tasks.yaml": tasks}).policy.order) == 4


def test_agents_tasks_and_schedules_have_ceilings_of_their_own(tmp_path: Path) -> None:
    agent = "  autonomy: supervised\n  clearance: public\n  budget: {max_usd: 1}\n  max_tools: 8\n"
    daily = 'schedules:\n  d: {crew: default, cron: "0 7 * * *", daily_budget: {max_usd: 2}}\n'
    files = {
        "config/agents.yaml": AGENTS + agent,
        "config/tasks.yaml": TASKS + "  budget: {max_tokens: 500}\n",
        "config/schedules.yaml": daily,
    }
    project = load(write(tmp_path / "project", files))
    found = project.agents["researcher"]
    assert (found.autonomy, found.clearance, found.max_tools) == ("supervised", "public", 8)
    assert found.budget == BudgetSpec(max_usd=Decimal(1))
    assert project.tasks["research"].budget == BudgetSpec(max_tokens=500)
    assert project.schedules["d"].daily_budget == BudgetSpec(max_usd=Decimal(2))


# -- hours

_MONDAY = datetime(2026, 11, 16)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("mon-fri 09:00-17:00", ["mon 09:00", "fri 16:59"], ["mon 08:59", "mon 17:00", "sat 12:00"]),
        ("sat,sun", ["sat 00:00", "sun 23:59"], ["fri 23:59", "mon 00:00"]),
        ("22:00-06:00", ["mon 22:00", "tue 05:59", "sun 23:00"], ["mon 06:00", "mon 21:59"]),
        ("fri 22:00-06:00", ["fri 22:00", "sat 05:59"], ["fri 05:00", "sat 06:00", "sat 22:00"]),
        ("sun 23:00-01:00", ["sun 23:00", "mon 00:59"], ["mon 01:00", "mon 23:00"]),
        ("sat-mon 10:00-11:00", ["sat 10:00", "sun 10:00", "mon 10:00"], ["tue 10:00", "fri 10:00"]),
        ("mon,wed 09:00-12:00, fri 13:00-14:00", ["wed 09:00", "fri 13:30"], ["tue 09:00", "fri 09:00"]),
        ("mon-fri 09:00-12:00, 13:00-17:00", ["tue 13:00"], ["sat 13:00", "tue 12:30"]),
        ("Monday 00:00-24:00", ["mon 00:00", "mon 23:59"], ["tue 00:00"]),
        ("9:00-12:00", ["sun 09:00"], ["sun 08:59"]),
        ("fri-mon", ["fri 00:00", "mon 23:59"], ["tue 00:00", "thu 23:59"]),
    ],
)
def test_hours_hold_when_they_say(text: str, inside: list[str], outside: list[str]) -> None:
    hours = read_hours(text)
    assert [said for said in inside if not hours.holds(_at(said))] == []
    assert [said for said in outside if hours.holds(_at(said))] == []


def _at(said: str) -> datetime:
    day, clock = said.split()
    hour, minute = clock.split(":")
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun").index(day)
    return _MONDAY + timedelta(days=days, hours=int(hour), minutes=int(minute))


@given(st.integers(0, 6), st.integers(0, 1439), st.integers(1, 1439), st.integers(0, 7 * 1440 - 1))
@settings(max_examples=300, deadline=None)
def test_a_span_holds_for_as_long_as_it_says_from_its_day_on(day: int, start: int, length: int, minute: int) -> None:
    end = (start + length) % 1440
    name = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day]
    text = f"{name} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    since = (minute - (day * 1440 + start)) % (7 * 1440)
    assert read_hours(text).holds(_MONDAY + timedelta(minutes=minute)) == (since < length)


@given(st.text(alphabet="monfrisatu0123456789:-, ", max_size=24))
@settings(max_examples=400, deadline=None)
def test_whatever_is_read_as_hours_holds_at_some_time(text: str) -> None:
    with contextlib.suppress(ValueError):
        hours = read_hours(text)
        assert any(hours.holds(_MONDAY + timedelta(minutes=minute)) for minute in range(7 * 1440))


def test_a_moment_without_a_zone_is_utc() -> None:
    assert read_instant("2026-11-20 14:30") == datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    assert read_instant("2026-11-20T14:30+02:00") == datetime(2026, 11, 20, 12, 30, tzinfo=UTC)


# -- expressions


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+", "(a*)*", r"(\w+\s?)+$", "(a|a+)*", "(?:x+x+)+y", "((a+)b?)+", r"(.*,)*", "(a{1,9}b?)+", "x(?=(a+)+)"],
)
def test_an_expression_that_would_never_end_is_refused(pattern: str) -> None:
    assert what_is_wrong(pattern).startswith("repeats what repeats already")


@pytest.mark.parametrize(
    "pattern",
    [
        r"([a-z]+\.)+[a-z]+", "(a|b)*", r"(\d+,)*\d+", "^(.*)$", r"[A-Z]{2}\d{2}( ?\d{4}){4,7}", r"(\w+@\w+\.)+",
        "(foo|far)*", r"(.*\n)+", "(?>a+)+", "(a++)+", "(a{3})+", r"(?:[^\"\\]|\\.)*",
    ],
)  # fmt: skip
def test_an_expression_that_ends_is_taken(pattern: str) -> None:
    assert what_is_wrong(pattern) == ""


@given(st.text(alphabet="ab()*+?{}1,|[]^.\\wd:=!<>", max_size=20))
@settings(max_examples=400, deadline=None)
def test_no_expression_breaks_it(pattern: str) -> None:
    assert "\n" not in what_is_wrong(pattern)


def test_a_rule_whose_tools_have_none_of_its_effects_is_noted(tmp_path: Path) -> None:
    policy = """\
rules:
  - {decide: allow, tools: refund, effects: [read]}
  - {decide: deny, tools: [refund, post_note], effects: [execute, write]}
  - {decide: ask, tools: 're*', effects: [read]}
  - {decide: deny, tools: refund, effects: [spend, send]}
"""
    assert _notes(_load(tmp_path, policy)) == [
        "config/policy.yaml:2:45: rules.effects: fits no call: `refund` is `spend`",
        "config/policy.yaml:3:57: rules.effects: fits no call: `refund` is `spend`, `post_note` is `send`",
    ]
