"""`muster policy test` and `muster policy explain`: what they print, in full, and how they end."""

import json
import re
import shlex
from typing import Any

import pytest

from tests.cli.conftest import Muster, finish, spawn
from tests.lab import APPLICATION, Lab
from tests.runs.scene import write_project

TOOLS = '''
from muster import tool


@tool(effect="send")
def send_mail(to: str, text: str) -> str:
    """Send a mail."""
    return "sent"


@tool(effect="spend")
def pay(amount: float) -> str:
    """Pay."""
    return "paid"
'''
POLICY = """
rules:
  - {name: nights, decide: deny, tools: [send_mail], hours: "22:00-06:00", reason: nobody is awake}
  - {name: colleagues, decide: allow, tools: ["send_*"], domains: [example.com]}
  - decide: ask
    tools: [pay]
    arguments: {amount: {max: 100}}
    approval: {approvers: [ann@desk, bob@desk], four_eyes: true, expires_hours: 2}
"""


@pytest.fixture
def project(lab: Lab) -> Lab:
    write_project(lab, {"work": "@answer: x"}, {"tools": ["send_mail", "pay"]})
    lab.write(tools__mail_py=TOOLS, policy=POLICY)
    return lab


def tests(lab: Lab, *examples: str) -> None:
    lab.write(policy=POLICY + "tests:\n" + "".join(f"  - {example}\n" for example in examples))


def test_examples_that_are_decided_as_expected_are_listed(muster: Muster, project: Lab) -> None:
    tests(
        project,
        "{tool: send_mail, arguments: {to: ann@example.com, text: hi}, expect: allow, rule: colleagues}",
        "{tool: send_mail, arguments: {to: ann@example.com, text: hi}, expect: deny, at: '2026-11-20 23:00'}",
        "{tool: pay, arguments: {amount: 200}, expect: ask, rule: default for spend}",
    )
    printed = muster("policy", "test")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (
        "TEST      TOOL       EXPECTED  DECIDED  BY\n"
        "1     ok  send_mail  allow     allow    colleagues\n"
        "2     ok  send_mail  deny      deny     nights\n"
        "3     ok  pay        ask       ask      default for spend\n"
        "\n3 of 3 as expected\n"
    )


def test_an_example_that_fails_is_told_with_the_rule_that_decided_and_why(muster: Muster, project: Lab) -> None:
    tests(
        project,
        "{tool: send_mail, arguments: {to: eve@evil.com}, expect: deny}",
        "{tool: pay, arguments: {amount: 5}, expect: ask}",
    )
    printed = muster("policy", "test")
    assert printed.code == 1
    assert printed.out.endswith(
        '\n\ntest 1: send_mail {"to": "eve@evil.com"}\n'
        "  expected  deny\n"
        "  decided   ask by default for send\n"
        "  why       no rule is about this call; it sends something out of this machine, "
        "and by default a person decides about that\n"
        "\n1 of 2 as expected\n"
    )
    document = json.loads(muster("policy", "test", "--json").out)
    assert (document["passed"], [one["passed"] for one in document["tests"]]) == (False, [False, True])
    assert document["tests"][1] == {
        "tool": "pay",
        "arguments": {"amount": 5},
        "expected": "ask",
        "expected_rule": None,
        "decided": "ask",
        "rule": "rule 3",
        "reason": "the policy asks about it (rule 3)",
        "passed": True,
    }


def test_the_right_decision_by_the_wrong_rule_fails(muster: Muster, project: Lab) -> None:
    tests(project, "{tool: pay, arguments: {amount: 5}, expect: ask, rule: default for spend}")
    printed = muster("policy", "test")
    assert printed.code == 1
    assert "  expected  ask by default for spend\n  decided   ask by rule 3\n" in printed.out


def test_no_examples_is_no_failure(muster: Muster, project: Lab) -> None:
    printed = muster("policy", "test")
    assert (printed.code, printed.out, printed.err) == (0, "", "policy.yaml has no `tests:`\n")


def test_a_wrong_policy_file_ends_with_three(muster: Muster, project: Lab) -> None:
    project.write(policy="rules:\n  - {decide: perhaps}\n")
    assert muster("policy", "test").code == 3
    assert muster("policy", "explain", "pay").code == 3


def test_a_decision_is_explained(muster: Muster, project: Lab) -> None:
    printed = muster("policy", "explain", "pay", "-a", "amount=5", "--agent", "worker")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (
        "tool     pay (spend)\n"
        "decided  ask\n"
        "rule     rule 3\n"
        "why      the policy asks about it (rule 3)\n"
        "asked    ann@desk, bob@desk; two different people must approve; the question counts for 2 h\n"
        "\n"
        "RULE        WHY IT DOES NOT FIT\n"
        "nights      it is for send_mail\n"
        "colleagues  it is for send_*\n"
    )


def test_an_explanation_as_json(muster: Muster, project: Lab) -> None:
    printed = muster("policy", "explain", "send_mail", "-a", "to=eve@evil.com", "--tainted", "--private", "--json")
    ask: dict[str, Any] = {"approvers": [], "four_eyes": False, "expires_hours": 24.0}
    why = (
        "no rule is about this call; it sends something out of this machine, and by default a person decides about that"
    )
    decided: dict[str, Any] = {"decided": "ask", "rule": "default for send", "reason": why, "asked": ask}
    assert json.loads(printed.out) == {
        "tool": "send_mail",
        "effect": "send",
        **decided,
        "agents": [
            {
                "agent": None,
                **decided,
                "passed": [
                    {"rule": "nights", "why": "it holds 22:00-06:00 (UTC), and it is Wed 12:00"},
                    {"rule": "colleagues", "why": "the address of `evil.com` is not at example.com"},
                    {"rule": "rule 3", "why": "it is for pay"},
                ],
            }
        ],
        "besides": [],
    }


def test_each_agent_of_a_delegation_is_explained(muster: Muster, project: Lab) -> None:
    agents = {name: {"role": "R", "goal": "G", "backstory": "B"} for name in ("worker", "boss")}
    project.write(agents=json.dumps({**agents, "worker": agents["worker"] | {"autonomy": "autonomous"}}))
    out = muster("policy", "explain", "pay", "-a", "amount=500", "--agent", "worker", "--delegated-by", "boss").out
    assert out.startswith("tool     pay (spend)\ndecided  ask\nrule     default for spend\n")
    assert "\nfor worker: allow by autonomous agent\n" in out
    assert "\nfor boss: ask by default for spend\n" in out


def test_what_an_agent_may_not_read_is_explained(muster: Muster, project: Lab) -> None:
    project.write(
        agents=json.dumps({"worker": {"role": "R", "goal": "G", "backstory": "B", "clearance": "public"}}),
        policy="rules: [{decide: allow, tools: pay}]\ntools: {pay: {private: true}}\n",
    )
    told = [muster("policy", "explain", "pay", *agent).out.splitlines() for agent in (["--agent", "worker"], [])]
    assert told[0][1:4] == [
        "decided  deny",
        "rule     clearance",
        "why      what it returns is private, and worker may not read that",
    ]
    assert told[1][1:3] == ["decided  allow", "rule     rule 1"]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--at", "2026-11-20 23:00"], "nights"),
        (["--tainted", "--private"], "untrusted content"),
        ([], "colleagues"),
        (["--effect", "read"], "colleagues"),
    ],
)
def test_what_is_given_counts(muster: Muster, project: Lab, options: list[str], rule: str) -> None:
    out = muster("policy", "explain", "send_mail", "-a", 'to=["ann@example.com"]', *options, "--json").out
    assert json.loads(out)["rule"] == rule


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["send_mial"], 3, "unknown tool 'send_mial'\n\nhint: did you mean `send_mail`"),
        (["pay", "--agent", "wroker"], 3, "unknown agent 'wroker'\n\nhint: did you mean `worker`"),
        (["pay", "-a", "amount"], 2, "-a takes KEY=VALUE, got 'amount'"),
        (["pay", "-a", "amount=1", "-a", "amount=2"], 2, "argument 'amount' is given twice"),
        (["pay", "--at", "soon"], 2, "--at is no time: 'soon'"),
        (["pay", "--effect", "eat"], 2, "unknown effect 'eat'"),
        (["pay", "-a", "amuont=1"], 3, "the tool 'pay' has no argument 'amuont'\n\nhint: did you mean `amount`"),
        (["pay", "--crew", "defautl"], 3, "unknown crew 'defautl'\n\nhint: did you mean `default`"),
        (["other", "--effect", "read"], 0, ""),
    ],
)
def test_what_is_asked_wrongly_is_said(muster: Muster, project: Lab, words: list[str], code: int, told: str) -> None:
    printed = muster("policy", "explain", *words)
    assert printed.code == code
    assert printed.err.startswith(told)


def test_an_explanation_tells_what_a_call_must_keep_to_besides_the_rules(muster: Muster, project: Lab) -> None:
    project.write(
        policy="order:\n  - {tool: pay, at_most: 2, after: [send_mail], per: task}\n  - {tool: send_mail, must_call: true}\n"
        "tools:\n  pay: {rate: {calls: 1, seconds: 60}}\n  send_mail: {domains: [mail.example.com]}\n"
    )
    told = {
        tool: [
            line.strip() for line in muster("policy", "explain", tool).out.splitlines() if line.startswith("besides")
        ]
        for tool in ("pay", "send_mail", "http_get", "calculator")
    }
    assert told == {
        "pay": [
            "besides  pay at most 2 times; only after send_mail, within one task",
            "besides  pay at most 1 call within 60 s, in all runs",
        ],
        "send_mail": [
            "besides  send_mail must be called before an answer is accepted, within one run",
            "besides  send_mail connects only to mail.example.com",
        ],
        "http_get": [
            "besides  http_get connects to nothing, until `domains:` under `tools:` of policy.yaml say what it may"
        ],
        "calculator": [],
    }
    assert len(json.loads(muster("policy", "explain", "pay", "--json").out)["besides"]) == 2


def test_the_examples_of_the_guide_hold(muster: Muster, project: Lab) -> None:
    page = (APPLICATION / "docs" / "policy.md").read_text(encoding="utf-8")
    parts = re.findall(r"^```yaml\n# config/policy.yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    agents = {name: {"role": "R", "goal": "G", "backstory": "B"} for name in ("researcher", "writer", "worker")}
    write_project(project, {"report": "@answer: x"}, agents=json.dumps(agents))
    project.write(tools__mail_py=code, policy="".join(parts))
    printed = muster("policy", "test")
    assert (printed.code, printed.err, printed.out.splitlines()[-1]) == (0, "", "4 of 4 as expected")
    for line in re.findall(r"^muster (policy explain .*)$", page, re.MULTILINE):
        assert muster(*shlex.split(line)).code == 0


def test_trying_rules_needs_neither_crewai_nor_dbos(project: Lab) -> None:
    tests(project, "{tool: pay, arguments: {amount: 5}, expect: ask}")
    printed = finish(spawn(project, "policy", "test", PYTHONPROFILEIMPORTTIME="1"))
    assert printed.code == 0
    assert not [line for line in printed.err.splitlines() if line.rpartition("|")[2].strip() in ("crewai", "dbos")]


# -- muster plan, muster check


def told_by_plan(muster: Muster) -> list[str]:
    """Return what the plan says of single tools."""
    printed = muster("plan", "default")
    assert (printed.code, printed.err) == (0, "")
    return [line.strip() for line in printed.out.splitlines() if " by worker: " in line]


def test_a_plan_tells_what_is_decided_about_each_tool_and_which_rules_depend_on_the_call(
    muster: Muster, project: Lab
) -> None:
    assert told_by_plan(muster) == [
        "pay by worker: a person is asked (default for spend)",
        "send_mail by worker: a person is asked (default for send), unless one of these rules fits: nights, colleagues",
    ]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (["{decide: allow, effects: [spend]}", "{decide: deny, tools: send_mail, crews: default}"],
         ["send_mail by worker: denied (rule 2)"]),
        (["{name: late, decide: ask, hours: '22:00-23:00', tools: pay}", "{decide: allow, agents: worker}"],
         ["pay by worker: allowed (rule 2), unless one of these rules fits: late"]),
        (["{decide: allow, agents: worker}", "{name: never reached, decide: deny, tainted: true}"], []),
    ],
)  # fmt: skip
def test_a_plan_names_no_rule_that_decides_nothing_else(
    muster: Muster, project: Lab, rules: list[str], told: list[str]
) -> None:
    project.write(policy="rules:\n" + "".join(f"  - {rule}\n" for rule in rules))
    assert told_by_plan(muster) == told


def test_a_plan_tells_order_rules_rates_and_every_ceiling_of_the_run(muster: Muster, project: Lab) -> None:
    project.write(
        policy="order: [{tool: pay, at_most: 1}]\ntools: {pay: {rate: 5}}\n"
        "budgets: {call: {max_tokens: 900}, day: {max_model_calls: 50}, month: {max_tool_calls: 7}}\n",
        crews="default:\n  tasks: [work]\n  budget: {max_tokens: 5000}\n",
    )
    lines = [line.strip() for line in muster("plan", "default").out.splitlines()]
    assert [line for line in lines if line.startswith("ceilings")] == [
        "ceilings max_tokens 5000",
        "ceilings of each model call: max_tokens 900",
        "ceilings of this day, all runs together: max_model_calls 50",
        "ceilings of this month, all runs together: max_tool_calls 7",
    ]
    assert "pay at most once, within one run" in lines
    assert "pay at most 5 calls within 60 s, in all runs" in lines


def test_a_plan_tells_what_changes_once_untrusted_and_private_content_was_read(muster: Muster, project: Lab) -> None:
    write_project(
        project, {"work": "@answer: x"}, {"tools": ["send_mail", "pay", {"read_document": {"folder": "docs"}}]}
    )
    rules = "rules: [{decide: allow, tools: [send_mail]}, {decide: allow, tools: [pay], tainted: true}]\n"
    project.write(policy=rules)
    assert told_by_plan(muster) == [
        "pay by worker: a person is asked (default for spend), unless one of these rules fits: rule 2"
    ]
    project.write(policy=rules + "tools: {read_document: {private: true}}\n")
    assert told_by_plan(muster) == [
        "pay by worker: a person is asked (default for spend), unless one of these rules fits: rule 2; "
        "allowed once untrusted and private content was read (rule 2)",
        "send_mail by worker: allowed (rule 1); "
        "a person is asked once untrusted and private content was read (untrusted content)",
    ]


def test_a_plan_tells_the_price_that_a_ceiling_needs(muster: Muster, project: Lab) -> None:
    project.write(policy="budgets: {month: {max_usd: 3}}\n", models="default: {model: openai/unheard-of}\n")
    line = "model default: its price is not known, so max_usd of this month refuses the run; "
    assert line + "write `price: {input: N, output: N}` at it in models.yaml" in muster("plan", "default").out


def test_a_plan_names_no_tool_of_an_agent_whose_tasks_have_their_own(muster: Muster, project: Lab) -> None:
    spec = {"agent": "worker", "description": "x", "expected_output": "y", "tools": ["pay"]}
    project.write(tasks=json.dumps({"work": spec}), policy="")
    assert told_by_plan(muster) == ["pay by worker: a person is asked (default for spend)"]


def test_what_is_known_of_a_class_of_crewai_tools_holds_without_a_declaration(muster: Muster, project: Lab) -> None:
    told = [muster("policy", "explain", *call).out.splitlines()[:3] for call in (["SerperDevTool"], ["DallETool"])]
    assert told == [
        ["tool     SerperDevTool (read)", "decided  allow", "rule     default for read"],
        ["tool     DallETool (spend)", "decided  ask", "rule     default for spend"],
    ]
    printed = muster("policy", "explain", "FileWriterTool", "-a", "filename=a.txt", "-a", "directory=.")
    assert "rule     path outside the run's folder\n" in printed.out  # it writes where the run was started


def test_check_notes_a_private_tool_where_no_key_encrypts_the_journal(muster: Muster, project: Lab) -> None:
    note = "`pay` returns private content: a run with it needs MUSTER_JOURNAL_KEY; `muster audit new-key` prints one"
    assert muster("check").err == ""
    project.write(policy="tools:\n  pay: {private: true}\n")
    assert muster("check").err == f"note: {note}\n"
    assert json.loads(muster("check", "--json").out)["notes"] == [{"where": None, "text": note}]
    (project.root / ".env").write_text(f"MUSTER_JOURNAL_KEY={'k' * 32}\n")
    assert muster("check").err == ""
