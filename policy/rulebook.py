"""The rules of policy.yaml, made ready to decide about calls: the first rule that fits is the one that counts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from policy.addresses import holds_url
from policy.argument_tests import Why
from policy.decide import Call, Verdict
from policy.matching import Facts, Rule, effect_of, is_pattern, make_ready
from policy.places import is_outside
from policy.values import all_given
from project.hints import listed, quoted
from project.spec_policy import ApprovalSpec, PolicySpec, Ruling

_STRICTNESS = {"allow": 0, "ask": 1, "deny": 2}
_OUTWARD = ("send", "spend", "execute")
_SHELL, _COMMAND = "shell", "command"
_HTTP_GET = "http_get"
_READ_NOTHING_AFAR = ("calculator", "list_documents", "read_document", "run_python", "search_documents")
"""Tools of Muster's own that reach nothing, whatever addresses stand in their arguments."""
_MOST_AT_HAND = 1000
"""Kinds of calls whose rules are kept at hand."""
_DOES = {
    "read": "reads something",
    "write": "writes something",
    "send": "sends something out of this machine",
    "spend": "spends money",
    "execute": "runs a program",
}


@dataclass(frozen=True)
class Account:
    """How a call was decided for one agent: what was decided, and why the rules before did not fit."""

    agent: str
    verdict: Verdict
    passed: tuple[tuple[str, str], ...]
    """Rules that were looked at and did not fit: name, and the first condition that was not met."""
    decided: bool
    """Whether a rule fits; else the defaults decide."""


class Rulebook:
    """What a policy says of tool calls. Pure; made once for a run."""

    def __init__(self, policy: PolicySpec) -> None:
        """Make the rules ready. Raises: nothing; a rule that is broken denies what it is asked about."""
        self.policy = policy
        self._rules = tuple(make_ready(spec, number) for number, spec in enumerate(policy.rules, 1))
        self._exact: dict[str, list[Rule]] = {}
        self._others: list[Rule] = []
        for rule in self._rules:
            if rule.spec.tools and not any(is_pattern(name) for name in rule.spec.tools):
                for name in dict.fromkeys(rule.spec.tools):
                    self._exact.setdefault(name, []).append(rule)
            else:
                self._others.append(rule)
        self._needs = tuple(dict.fromkeys(rule.needs for rule in self._rules if rule.needs))
        self._at_hand: dict[tuple[str, ...], tuple[Rule, ...]] = {}
        self._approval = ApprovalSpec(**policy.approvals.model_dump(include=set(ApprovalSpec.model_fields)))

    def verdict(self, call: Call) -> Verdict:
        """Say what the rules decide about a tool call of a known effect.

        A call on behalf of others is decided for each agent of the chain, and the strictest counts. Raises: nothing: a
        rule that cannot be decided denies.
        """
        facts = Facts(call)
        verdicts = [self._decide(facts, agent, self._first(facts, agent)) for agent in _agents(call)]
        return _strictest(verdicts)

    def explain(self, call: Call) -> tuple[Verdict, list[Account]]:
        """Return what `verdict` returns, and for each agent on whose behalf the call is made how that came about."""
        facts = Facts(call)
        accounts = [self._account(facts, agent) for agent in _agents(call)]
        return _strictest([account.verdict for account in accounts]), accounts

    def _rules_for(self, facts: Facts, agent: str) -> tuple[Rule, ...]:
        """Return the rules that calls of this kind must be held against, in their order; no other one can fit."""
        call, has = facts.call, [needs for needs in self._needs if facts.has(needs)]
        kind = (call.name, agent, call.principal.crew, effect_of(call), *has)
        rules = self._at_hand.get(kind)
        if rules is None:
            there = {"", *has}
            found = [*self._exact.get(call.name, ()), *(rule for rule in self._others if rule.tools(call.name))]
            found = [rule for rule in found if rule.is_for(call, agent) and rule.needs in there]
            rules = tuple(sorted(found, key=lambda rule: rule.number))
            if len(self._at_hand) < _MOST_AT_HAND:
                self._at_hand[kind] = rules
        return rules

    def _first(self, facts: Facts, agent: str) -> Rule | Verdict | None:
        """Return the first rule that fits, or that it could not be decided; None when none fits."""
        for rule in self._rules_for(facts, agent):
            try:
                if rule.why_not(facts) is None:
                    return rule
            except Exception as error:  # a gate that cannot decide refuses
                return _undecided(rule, error)
        return None

    def _account(self, facts: Facts, agent: str) -> Account:
        passed: list[tuple[str, str]] = []
        found: Rule | Verdict | None = None
        for rule in self._rules:
            try:
                why = _for_others(rule, facts.call.name, agent) or rule.why_not(facts)
            except Exception as error:  # as in `_first`
                found = _undecided(rule, error)
                break
            if why is None:
                found = rule
                break
            passed.append((rule.name, why()))
        return Account(agent, self._decide(facts, agent, found), tuple(passed), found is not None)

    def _decide(self, facts: Facts, agent: str, found: Rule | Verdict | None) -> Verdict:
        """Return what is decided for one agent: by the rule found, else by default, and by the rules on top of both."""
        call = facts.call
        if call.private and call.clearance == "public" and agent == call.agent:
            why = f"what it returns is private, and {agent or 'the agent'} may not read that"
            return Verdict("deny", "clearance", why)
        if isinstance(found, Verdict):
            return found
        if call.name == _SHELL and not _may_run(found, call.arguments.get(_COMMAND)):
            why = "shell runs only commands that a rule of policy.yaml names one by one (`arguments: {command: [...]}`)"
            return Verdict("deny", "default for shell", why)
        verdict = self._by_default(call, agent) if found is None else self._by_rule(call, found)
        covered = found is not None and found.spec.tainted is True
        if verdict.decide == "allow" and not covered and self._is_tainted(call):
            return Verdict("ask", "untrusted content", _told_taint(call), self._approval)
        return verdict

    def _is_tainted(self, call: Call) -> bool:
        """Say whether a call could carry private content to where untrusted content wants it."""
        if not call.taint.untrusted or not call.taint.private:
            return False
        if self._reaches_out(call):
            return not all_given(call.arguments, call.given)
        return bool(call.outward) and not all_given(call.outward, call.given)

    def _reaches_out(self, call: Call) -> bool:
        """Say whether a call leaves this machine, if only by the address that it reads from."""
        said = self.policy.tools.get(call.name)
        if call.effect == "read" and said is not None and said.domains == []:
            return False  # it connects to nothing
        return (
            (call.effect or "send") in _OUTWARD
            or call.name == _HTTP_GET
            or (said is not None and said.domains is not None)
            or (call.effect == "read" and call.name not in _READ_NOTHING_AFAR and holds_url(call.arguments))
        )

    def _by_rule(self, call: Call, rule: Rule) -> Verdict:
        reason = rule.spec.reason.strip()
        if rule.spec.decide == "deny" or not reason:
            verb = {"allow": "allows", "ask": "asks about", "deny": "denies"}[rule.spec.decide]
            because = f": {reason.rstrip('.')}" if reason else ""
            reason = f"the policy {verb} it ({rule.name}){because}"
        return Verdict(rule.spec.decide, rule.name, reason, rule.spec.approval or self._approval)

    def _by_default(self, call: Call, agent: str) -> Verdict:
        effect = call.effect or "send"
        name = f"default for {effect}"
        verdict: Ruling = getattr(self.policy.defaults, effect)
        outside = sorted(place for place in call.places.values() if is_outside(place))
        if effect == "write" and verdict == "allow" and outside:
            where = quoted(outside[0].replace("\0", "…"))
            why = f"no rule is about this call, and {where} lies outside the run's own folder"
            return Verdict("ask", "path outside the run's folder", why, self._approval)
        if call.autonomy == "supervised" and effect != "read" and verdict == "allow":
            why = f"no rule allows this call, and {quoted(call.agent)} is supervised"
            return Verdict("ask", "supervised agent", why, self._approval)
        # Its freedom is the agent's own: on behalf of another it may do no more than that one.
        if call.autonomy == "autonomous" and verdict == "ask" and agent == call.agent:
            return Verdict(
                "allow", "autonomous agent", f"no rule is about this call, and {quoted(agent)} is autonomous"
            )
        if verdict == "allow":
            return Verdict("allow", name, "no rule is about this call", self._approval)
        said = "a person decides about that" if verdict == "ask" else "that is denied"
        why = f"no rule is about this call; it {_DOES[effect]}, and by default {said}"
        return Verdict(verdict, name, why, self._approval)


def _agents(call: Call) -> list[str]:
    """Return the agent that makes the call, and those on whose behalf it does."""
    return list(dict.fromkeys([call.agent, *call.principal.chain]))


def _strictness(verdict: Verdict) -> tuple[int, bool, bool]:
    """Order verdicts: denied, then asked of two people, of certain people, of anybody, then allowed."""
    if verdict.decide != "ask":
        return _STRICTNESS[verdict.decide], False, False
    return _STRICTNESS["ask"], verdict.approval.four_eyes, bool(verdict.approval.approvers)


def _strictest(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the strictest verdict; of equals the first, which is that of the agent itself.

    Where several ask, only who may answer for each of them may answer for all.
    """
    first = max(verdicts, key=_strictness)
    others = [verdict for verdict in verdicts if verdict.decide == "ask" and verdict.approval != first.approval]
    if first.decide != "ask" or not others:
        return first
    approval = first.approval
    for verdict in others:
        named = approval.approvers or verdict.approval.approvers
        approval = _both(approval, verdict.approval)
        if named and len(approval.approvers) < (2 if approval.four_eyes else 1):
            rules = listed([one.rule for one in (first, *others)])
            return Verdict("deny", first.rule, f"several rules ask about it ({rules}), and nobody may answer for all")
    return replace(first, approval=approval)


def _both(one: ApprovalSpec, other: ApprovalSpec) -> ApprovalSpec:
    """Return what satisfies both: the people whom both name, two where one wants two, the shorter time."""
    pairs = [(mine, theirs) for mine in one.approvers for theirs in other.approvers]
    named = [max(pair, key=len) for pair in pairs if pair[0] == pair[1] or _is_at(*pair) or _is_at(*reversed(pair))]
    return ApprovalSpec(
        approvers=list(dict.fromkeys(named)) if pairs else one.approvers or other.approvers,
        four_eyes=one.four_eyes or other.four_eyes,
        expires_hours=min(one.expires_hours, other.expires_hours),
    )


def _is_at(user: str, named: str) -> bool:
    """Say whether `named` is `user` at one host."""
    return named.startswith(f"{user}@")


def _for_others(rule: Rule, tool: str, agent: str) -> Why | None:
    if not rule.tools(tool):
        return lambda: f"it is for {listed(rule.spec.tools)}"
    if not rule.agents(agent):
        return lambda: f"it is for the agents {listed(rule.spec.agents)}, not {quoted(agent)}"
    return None


def _undecided(rule: Rule, error: Exception) -> Verdict:
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return Verdict("deny", rule.name, f"the policy could not decide: {rule.name} is broken ({what})")


def _may_run(rule: Rule | None, asked: object) -> bool:
    """Say whether a rule may decide about the shell: it denies, or names the shell and the exact commands."""
    if rule is None:
        return False
    command = rule.spec.arguments.get(_COMMAND)
    exact = command is not None and bool(command.one_of) and all(isinstance(one, str) for one in command.one_of or ())
    return rule.spec.decide == "deny" or (_SHELL in rule.spec.tools and exact and isinstance(asked, str))


def _told_taint(call: Call) -> str:
    untrusted, private = listed(call.taint.untrusted[:3]), listed(call.taint.private[:3])
    does = _DOES[call.effect or "send"]
    if call.effect == "read":
        asks = bool(call.outward) and not holds_url(call.arguments)
        does = "sends its words out of this machine" if asks else "names an address, which can carry words out"
    return f"it {does}, and before it untrusted content was read ({untrusted}) and private content ({private})"
