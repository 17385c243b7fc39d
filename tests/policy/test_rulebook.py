"""Which rule decides about a call, and what is decided where none fits."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.decide import Call, Principal, Taint, Verdict
from policy.places import NOWHERE
from policy.rulebook import Rulebook
from project.spec_policy import ApprovalSpec, ApprovalsSpec, ArgumentSpec, DefaultsSpec, PolicySpec, RuleSpec

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
CALL = Call("tool", "r", "work", "writer", "send_mail", {"to": "ann@example.com"}, effect="send", at=NOON)
BOTH = Taint(("read#1",), ("crm#1",))


def rule(decide: Any, **more: Any) -> RuleSpec:
    return RuleSpec(decide=decide, **more)


def decided(*rules: RuleSpec, call: Call = CALL, **policy: Any) -> Verdict:
    return Rulebook(PolicySpec(rules=list(rules), **policy)).verdict(call)


def said(*rules: RuleSpec, call: Call = CALL, **policy: Any) -> tuple[str, str]:
    verdict = decided(*rules, call=call, **policy)
    return verdict.decide, verdict.rule


# -- which rule


def test_the_first_rule_that_fits_decides() -> None:
    assert said(rule("deny", tools=["pay"]), rule("allow"), rule("deny")) == ("allow", "rule 2")


def test_a_rule_is_told_by_its_name() -> None:
    assert said(rule("deny", name="no mails")) == ("deny", "no mails")


@pytest.mark.parametrize("exact_first", [True, False])
def test_first_is_by_position_however_rules_name_the_tool(exact_first: bool) -> None:
    exact, wild = rule("deny", tools=["send_mail"], name="exact"), rule("allow", tools=["send_*"], name="wild")
    rules = [exact, wild] if exact_first else [wild, exact]
    assert said(*rules) == (("deny", "exact") if exact_first else ("allow", "wild"))


def test_a_rule_for_exact_names_and_patterns_fits_both() -> None:
    both = rule("deny", tools=["send_mail", "pay*"])
    assert said(both) == ("deny", "rule 1")
    assert said(both, call=replace(CALL, name="pay_now")) == ("deny", "rule 1")
    assert said(both, call=replace(CALL, name="xpay")) == ("ask", "default for send")


@pytest.mark.parametrize("name", ["send_mаil", "send_mail ", "Send_mail", "send_mail\n", "ѕend_mail"])
def test_a_name_that_only_looks_alike_is_another(name: str) -> None:
    assert said(rule("allow", tools=["send_mail"]), call=replace(CALL, name=name)) == ("ask", "default for send")


def test_a_deny_names_its_rule_and_its_reason_to_the_agent() -> None:
    verdict = decided(rule("deny", name="no mails", reason="Mails go through Ann."))
    assert verdict.reason == "the policy denies it (no mails): Mails go through Ann"


def test_a_reason_is_what_the_person_who_is_asked_reads() -> None:
    assert decided(rule("ask", reason="Is the customer informed?")).reason == "Is the customer informed?"


def test_a_rule_asks_whom_it_says_else_whom_the_file_says() -> None:
    own, usual = ApprovalSpec(approvers=["ann"], four_eyes=True), ApprovalsSpec(approvers=["bob"], notify=["mail"])
    assert decided(rule("ask", approval=own), approvals=usual).approval == own
    assert decided(rule("ask"), approvals=usual).approval == ApprovalSpec(approvers=["bob"])
    assert decided(approvals=usual).approval == ApprovalSpec(approvers=["bob"])


@pytest.mark.parametrize(
    ("fits", "more"),
    [
        (True, {"agents": ["writer"]}),
        (True, {"agents": ["w*"]}),
        (False, {"agents": ["editor", "wri"]}),
        (True, {"crews": ["news"]}),
        (False, {"crews": ["new"]}),
        (True, {"effects": ["send", "spend"]}),
        (False, {"effects": ["read"]}),
        (True, {"tainted": False}),
        (False, {"tainted": True}),
        (True, {"hours": "mon-fri 09:00-17:00"}),
        (False, {"hours": "sat,sun"}),
        (False, {"hours": "09:00-12:00", "timezone": "UTC"}),
        (True, {"hours": "13:00-14:00", "timezone": "Europe/Berlin"}),
        (True, {"confidence_below": 0.6}),
        (False, {"confidence_below": 0.5}),
        (True, {"tools": ["send_mail"], "agents": ["writer"], "crews": ["news"], "effects": ["send"]}),
        (False, {"tools": ["send_mail"], "agents": ["writer"], "crews": ["news"], "effects": ["read"]}),
    ],
)
def test_everything_that_a_rule_names_must_fit(fits: bool, more: dict[str, Any]) -> None:
    call = replace(CALL, principal=Principal(crew="news"), confidence=0.5)
    assert (decided(rule("deny", **more), call=call).decide == "deny") is fits


# -- when it cannot be told


@pytest.mark.parametrize("more", [{"confidence_below": 0.5}, {"hours": "00:00-24:00"}])
def test_what_is_not_known_counts_against_the_call(more: dict[str, Any]) -> None:
    call = replace(CALL, confidence=None, at=None)
    assert said(rule("allow", **more), call=call) == ("ask", "default for send")
    assert said(rule("deny", **more), call=call) == ("deny", "rule 1")
    assert said(rule("ask", **more), call=call) == ("ask", "rule 1")


@pytest.mark.parametrize(
    "broken",
    [
        {"arguments": {"to": ArgumentSpec(pattern="(")}},
        {"arguments": {"to": ArgumentSpec(pattern="(a+)+b")}},
        {"hours": "whenever"},
        {"hours": "00:00-24:00", "timezone": "Mars/Base"},
        {"domains": ["exa mple.com"]},
        {"domains": ["*example.com"]},
    ],
)
@pytest.mark.parametrize("decide", ["allow", "ask", "deny"])
def test_a_rule_that_is_broken_denies_and_is_named(broken: dict[str, Any], decide: str) -> None:
    verdict = decided(rule(decide, name="the broken one", **broken), rule("allow"))
    assert (verdict.decide, verdict.rule) == ("deny", "the broken one")
    assert verdict.reason.startswith("the policy could not decide: the broken one is broken (ValueError: ")


@pytest.mark.parametrize(
    "absent",
    [
        {"arguments": {"amount": ArgumentSpec(min=1)}},
        {"methods": ["GET"]},
        {"paths": ["reports/**"]},
        {"domains": ["example.org"]},
    ],
)
def test_a_broken_rule_denies_though_the_call_has_not_what_it_is_about(absent: dict[str, Any]) -> None:
    there = CALL if "domains" not in absent else replace(CALL, arguments={})
    assert said(rule("deny", **absent), rule("allow"), call=there) == ("allow", "rule 2")
    broken = rule("deny", hours="00:00-24:00", timezone="Mars/Base", **absent)
    assert said(broken, rule("allow"), call=there) == ("deny", "rule 1")


def test_a_broken_rule_for_other_tools_is_not_in_the_way() -> None:
    assert said(rule("allow", tools=["pay"], hours="whenever"), rule("allow")) == ("allow", "rule 2")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_no_argument_makes_a_decision_fail(value: Any) -> None:
    book = Rulebook(
        PolicySpec(
            rules=[
                rule("allow", arguments={"a": ArgumentSpec(pattern=".*b", max_length=3), "a.b": ArgumentSpec(min=1)}),
                rule("allow", domains=["*.example.com"], methods=["GET"]),
                rule("allow", arguments={"a": ArgumentSpec(one_of=["x", 1, True])}, paths=["a/**"]),
            ]
        )
    )
    verdict = book.verdict(replace(CALL, arguments={"a": value, "method": value, "url": value}, taint=BOTH))
    assert verdict.decide == "ask"


def test_arguments_that_are_nested_without_end_decide_nothing() -> None:
    deep: Any = "x"
    for _ in range(50_000):
        deep = [deep]
    assert said(rule("allow", domains=["example.com"]), call=replace(CALL, arguments={"a": deep}))[0] == "ask"


# -- by default


@pytest.mark.parametrize(
    ("effect", "decide"),
    [("read", "allow"), ("write", "allow"), ("send", "ask"), ("spend", "ask"), ("execute", "ask"), (None, "ask")],
)
def test_the_effect_decides_where_no_rule_does(effect: Any, decide: str) -> None:
    assert said(call=replace(CALL, effect=effect)) == (decide, f"default for {effect or 'send'}")


def test_defaults_can_be_others() -> None:
    assert said(defaults=DefaultsSpec(send="deny")) == ("deny", "default for send")


@pytest.mark.parametrize("place", ["/etc/passwd", "C:/x", NOWHERE])
def test_writing_outside_the_runs_folder_is_asked_about(place: str) -> None:
    call = replace(CALL, effect="write", places={"a": "notes.md", "path": place})
    assert said(call=call) == ("ask", "path outside the run's folder")
    assert said(rule("allow"), call=call) == ("allow", "rule 1")
    assert said(call=replace(call, places={"a": "notes.md"})) == ("allow", "default for write")
    assert said(call=replace(call, autonomy="autonomous")) == ("ask", "path outside the run's folder")


def test_a_supervised_agent_is_asked_about_all_but_reading() -> None:
    call = replace(CALL, effect="write", autonomy="supervised")
    assert said(call=call) == ("ask", "supervised agent")
    assert said(call=replace(call, effect="read")) == ("allow", "default for read")
    assert said(rule("allow"), call=call) == ("allow", "rule 1")
    assert said(call=call, defaults=DefaultsSpec(write="deny")) == ("deny", "default for write")


def test_an_autonomous_agent_is_not_asked_by_default_but_by_rules() -> None:
    call = replace(CALL, autonomy="autonomous")
    assert said(call=call) == ("allow", "autonomous agent")
    assert said(rule("ask"), call=call) == ("ask", "rule 1")
    assert said(call=call, defaults=DefaultsSpec(send="deny")) == ("deny", "default for send")
    assert said(call=replace(call, taint=BOTH)) == ("ask", "untrusted content")


# -- on behalf of others


def on_behalf(*chain: str, **more: Any) -> Call:
    return replace(CALL, principal=Principal("r", "", "work", "writer", chain), **more)


def test_on_behalf_of_another_the_strictest_counts() -> None:
    rules = [rule("allow", agents=["writer"]), rule("deny", agents=["intern"]), rule("ask", agents=["boss"])]
    assert said(*rules) == ("allow", "rule 1")
    assert said(*rules, call=on_behalf("boss")) == ("ask", "rule 3")
    assert said(*rules, call=on_behalf("intern", "boss")) == ("deny", "rule 2")
    assert said(*rules, call=on_behalf("boss", "intern")) == ("deny", "rule 2")
    assert said(*rules, call=on_behalf("writer")) == ("allow", "rule 1")


def test_a_delegate_has_no_freedom_that_who_passed_the_work_on_does_not_have() -> None:
    assert said(call=on_behalf("boss", autonomy="autonomous")) == ("ask", "default for send")


def test_who_may_read_only_what_is_public_calls_no_private_tool_whatever_rules_say() -> None:
    private = replace(CALL, private=True)
    everything = rule("allow")
    assert said(everything, call=private) == ("allow", "rule 1")
    assert said(everything, call=replace(CALL, clearance="public")) == ("allow", "rule 1")
    verdict, (account,) = Rulebook(PolicySpec(rules=[everything])).explain(replace(private, clearance="public"))
    assert (verdict.decide, verdict.rule, account.verdict) == ("deny", "clearance", verdict)
    assert verdict.reason == "what it returns is private, and writer may not read that"


def test_of_two_who_ask_the_one_with_four_eyes_counts() -> None:
    strict = ApprovalSpec(approvers=["ann", "bob"], four_eyes=True)
    rules = [rule("ask", agents=["writer"]), rule("ask", agents=["boss"], approval=strict)]
    assert decided(*rules, call=on_behalf("boss")).approval == strict


# -- after untrusted content


@pytest.mark.parametrize("effect", ["send", "spend", "execute"])
@pytest.mark.parametrize("rules", [[rule("allow")], [rule("allow", tainted=False)], []])
def test_who_read_both_kinds_may_not_reach_out_without_a_person(effect: Any, rules: list[RuleSpec]) -> None:
    free = DefaultsSpec(send="allow", spend="allow", execute="allow")
    call = replace(CALL, effect=effect, taint=BOTH)
    assert said(*rules, call=call, defaults=free) == ("ask", "untrusted content")
    assert said(*rules, call=replace(call, effect="read"), defaults=free)[0] == "allow"


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        ({"website_url": "evil.example/?all"}, True),
        ({"page": "https://evil.example/?all"}, True),
        ({"pages": ["a", {"x": "see http://evil.example/?all"}]}, True),
        ({"url": 5}, True),
        ({"file": "file:///srv/a.md"}, False),
        ({"email": "ann@example.com", "query": "10:30 // late"}, False),
        ({"url": ""}, False),
    ],
)
def test_an_address_that_is_read_from_carries_words_out_too(arguments: dict[str, Any], asked: bool) -> None:
    call = replace(CALL, effect="read", arguments=arguments, taint=BOTH)
    assert said(rule("allow"), call=call) == (("ask", "untrusted content") if asked else ("allow", "rule 1"))
    assert said(rule("allow", tainted=True), call=call) == ("allow", "rule 1")
    assert said(rule("allow"), call=replace(call, name="read_document"))[0] == "allow"
    assert said(rule("allow"), call=replace(call, effect="write"))[0] == "allow"


@pytest.mark.parametrize("taint", [Taint(), Taint(untrusted=("a",)), Taint(private=("a",))])
def test_one_kind_alone_is_no_danger(taint: Taint) -> None:
    assert said(rule("allow"), call=replace(CALL, taint=taint)) == ("allow", "rule 1")


def test_a_rule_for_tainted_calls_covers_them() -> None:
    call = replace(CALL, taint=BOTH)
    assert said(rule("allow", tainted=True), call=call) == ("allow", "rule 1")
    assert said(rule("deny", tainted=True), call=call) == ("deny", "rule 1")


def test_the_person_is_told_what_was_read() -> None:
    assert decided(rule("allow"), call=replace(CALL, taint=BOTH)).reason == (
        "it sends something out of this machine, and before it untrusted content was read (read#1) "
        "and private content (crm#1)"
    )


@pytest.mark.parametrize(
    ("arguments", "given_text", "free"),
    [
        ({"to": "ann@example.com"}, "Send it to ann@example.com.", True),
        ({"to": "ann@example.com", "cents": 1200}, "Pay ann@example.com 1200 cents", True),
        ({"to": ["ann@example.com", "bob@example.com"]}, "ann@example.com, bob@example.com", True),
        ({"text": "Line one\nline two"}, "Line one\nline two", True),
        ({"to": "ann@example.com", "cc": ""}, "ann@example.com", True),
        ({"to": "eve@evil.com"}, "Send it to ann@example.com", False),
        ({"to": "ann@example.com", "text": "the numbers"}, "Send it to ann@example.com", False),
        ({"to": "ann@example.co"}, "Send it to ann@example.com", False),
        ({"to": "ann@example.com"}, "Send it to joann@example.com", False),
        ({"to": "example.com"}, "Send it to ann@example.com", False),
        ({"cents": 120}, "Pay 1200 cents", False),
        ({"cents": 1}, "Pay 1,200 cents", False),
        ({"force": True}, "force True", False),
        ({"to": {"eve@evil.com": "ann@example.com"}}, "ann@example.com", False),
        ({}, "deploy it", False),
    ],
)
def test_what_stands_in_the_users_own_words_is_not_tainted(
    arguments: dict[str, Any], given_text: str, free: bool
) -> None:
    call = replace(CALL, arguments=arguments, taint=BOTH, given=("solar power", given_text))
    assert (said(rule("allow"), call=call) == ("allow", "rule 1")) is free


# -- the shell


def shell(command: Any) -> Call:
    return replace(CALL, name="shell", arguments={"command": command}, effect="execute", autonomy="autonomous")


EXACT = rule("allow", tools=["shell"], arguments={"command": ArgumentSpec(one_of=["git status", "ls"])})


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [rule("allow")],
        [rule("allow", tools=["sh*"], arguments=EXACT.arguments)],
        [rule("allow", tools=["shell"])],
        [rule("ask", tools=["shell"])],
        [rule("allow", tools=["shell"], arguments={"command": ArgumentSpec(pattern="git .*")})],
    ],
)
def test_the_shell_is_off_where_no_rule_names_exact_commands(rules: list[RuleSpec]) -> None:
    verdict = decided(*rules, call=shell("git status"), defaults=DefaultsSpec(execute="allow"))
    assert (verdict.decide, verdict.rule) == ("deny", "default for shell")


def test_the_shell_runs_the_commands_that_a_rule_names_and_no_others() -> None:
    assert said(EXACT, call=shell("git status")) == ("allow", "rule 1")
    for other in ("git status; rm -rf /", "git status ", "GIT STATUS", "git  status", ["git status"], 1, None, "lѕ"):
        assert said(EXACT, call=shell(other))[0] == "deny", other
    asks = rule("ask", tools=["shell"], arguments=EXACT.arguments)
    assert said(asks, call=shell("ls")) == ("ask", "rule 1")
    assert said(rule("deny"), EXACT, call=shell("ls")) == ("deny", "rule 1")


# -- explaining


def test_an_explanation_says_why_each_rule_before_does_not_fit() -> None:
    rules = [
        rule("allow", tools=["pay"]),
        rule("allow", name="Eve", agents=["eve"]),
        rule("allow", hours="sat,sun"),
        rule("allow", domains=["evil.com"]),
        rule("deny", name="last"),
        rule("allow"),
    ]
    verdict, (account,) = Rulebook(PolicySpec(rules=rules)).explain(CALL)
    assert (verdict.rule, account.verdict, account.agent) == ("last", verdict, "writer")
    assert account.passed == (
        ("rule 1", "it is for pay"),
        ("Eve", "it is for the agents eve, not `writer`"),
        ("rule 3", "it holds sat,sun (UTC), and it is Wed 12:00"),
        ("rule 4", "the address of `example.com` is not at evil.com"),
    )


@given(st.lists(st.sampled_from(["allow", "ask", "deny"]), max_size=6), st.lists(st.sampled_from("abc"), max_size=3))
def test_an_explanation_comes_to_what_is_decided(decisions: list[str], chain: list[str]) -> None:
    kinds: list[dict[str, Any]] = [
        {"agents": ["a"]},
        {"tools": ["send_*"]},
        {"hours": "sat"},
        {"agents": ["b", "writer"]},
    ]
    rules = [rule(decide, **kinds[number % len(kinds)]) for number, decide in enumerate(decisions)]
    book = Rulebook(PolicySpec(rules=rules))
    call = on_behalf(*chain)
    assert book.explain(call)[0] == book.verdict(call)


def test_rules_look_at_what_yaml_fixes_of_a_call_as_well() -> None:
    rule = RuleSpec(decide="deny", tools=["pay"], arguments={"usd": ArgumentSpec(min=1000)})
    rules = Rulebook(PolicySpec(rules=[rule], defaults=DefaultsSpec(spend="allow")))
    call = Call("tool", "run", "work", "worker", "pay", {"to": "ann"}, "spend", "once", fixed={"usd": 5000})
    assert rules.verdict(call).decide == "deny"
    assert rules.verdict(replace(call, fixed={"usd": 50})).decide == "allow"
    assert rules.verdict(replace(call, arguments={"usd": 1})).decide == "deny"
