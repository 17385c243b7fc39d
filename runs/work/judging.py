"""Whether a task's answer is accepted: by contract, rules, functions, a model, a person. Each verdict is a step."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from models.make import clean
from models.marks import NOTICE
from models.offline.respond import NEEDS_MODEL
from policy.order import not_called
from project.spec import GuardrailSpec
from runs.calls.seams import Guard
from runs.calls.tool_hosts import call_guardrail
from runs.executing.state import Parked
from runs.people.asking import ask_person
from runs.people.questions import Question
from runs.work.reviewing import Reviewer
from runs.work.unit import Unit, evidence_for
from tasks.contracts import ask_again, canonical, read_contract
from tasks.evidence import Evidence
from tasks.guardrails import check_rule, is_empty

Sources = Callable[[str], "str | None"]
"""Takes a citation such as `path:12`; returns the text there, or None."""

_JUDGE_PROMPT = """You check a text against one demand. Judge only that demand, strictly and by what the text says.
Reply with exactly one JSON object: {"passed": true or false, "reasons": ["what is wrong, where", ...]}"""
_JUDGE_TRIES = 3
_CONFIDENCE = re.compile(
    r"\n[ \t*_]*confidence[ \t*_]*[:=][ \t*_]*(\d{1,3}(?:\.\d{1,6})?)[ \t]*(%?)[ \t*_.]*\s*\Z", re.I
)
_A_DOCUMENT = 500
"""Characters from which an input is a text that can be read, and not a name."""
_HELD_AGAINST_EVIDENCE = ("supported", "claimed_calls")


@dataclass
class Judge:
    """The judge of one task. `guard` is its own lane: a guardrail's model calls stand apart from the agent's."""

    unit: Unit
    guard: Guard
    sources: Sources
    offline: bool
    reviewer: Reviewer | None = None
    tools: Sequence[str] = ()
    """Names of the tools that the agent could call."""
    accepted: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    partial: list[str] = field(default_factory=list[str])
    """What the accepted answer lacks."""
    said_confidence: float | None = None
    """What the agent itself said of it, 0 to 1."""
    _round: int = 0
    _rejections: int = 0
    _asked: int = 0
    _checks_of: dict[str, list[dict[str, Any]]] = field(default_factory=dict[str, list[dict[str, Any]]])

    def __call__(self, answer: str) -> str | None:
        """Judge an answer: None when it is accepted, else the reasons, as a message for the model.

        Raises: Parked when the answers are used up, or when a person is to be asked and there is none.
        """
        self._round += 1
        if self.unit.min_confidence is not None:
            answer, self.said_confidence = read_confidence(answer)
        verdict = self._judge_by_rules(answer)
        reasons: list[str] = list(verdict["reasons"])
        checks: list[dict[str, Any]] = list(verdict["checks"])
        fatal: list[str] = list(verdict.get("fatal", []))
        if not reasons and not fatal:
            judged = [self._ask_model(guardrail, verdict["text"]) for guardrail in self._spoken()]
            self._record_spoken(judged)
            reasons = [reason for check in judged if "gate" not in check for reason in check["reasons"]]
            fatal = [reason for check in judged if check.get("gate") == "fail" for reason in check["reasons"]]
            checks += judged
        self.checks = checks
        if reasons or fatal:
            return self._reject([*fatal, *reasons], fatal=bool(fatal))
        self.accepted = verdict["text"]
        self._checks_of[self.accepted] = checks
        if self.reviewer is not None:
            review = self.reviewer(verdict["text"])
            self.accepted, self.partial = review.text, review.partial
            self.checks = self._checks_of[self.accepted]
            if review.feedback:
                return review.feedback
        if self.unit.planned.task.human_input:
            return self._ask_person(self.accepted)
        return None

    def _judge_by_rules(self, answer: str) -> dict[str, Any]:
        planned = self.unit.planned
        plain = planned.contract is None and all(guardrail.text is not None for guardrail in planned.task.guardrails)
        plain = plain and not self._must_call()
        if plain and not is_empty(answer):  # nothing to judge, so nothing to journal
            return {"text": answer, "reasons": [], "checks": []}
        return self.guard.journal(f"verdict#{self._round}", lambda: self._verdict(answer))[1]

    def _reject(self, reasons: Sequence[str], *, fatal: bool) -> str:
        self._rejections += 1
        if fatal or self._rejections > self.unit.planned.task.guardrail_max_retries:
            why = f"the output was not accepted: {'; '.join(reasons[:5])}"
            if self.unit.gives_up(why):
                fix = f"`muster runs trace {self.unit.run.run_id}` shows every answer and verdict"
                raise Parked("failed", why, fix, "guardrail")
            self._rejections = 0
        return ask_again(reasons)

    def _record_spoken(self, judged: Sequence[dict[str, Any]]) -> None:
        """Journal what came of the demands in plain language; `runs why` tells it."""
        if not any("not_judged" not in check for check in judged):
            return
        wrong = [check for check in judged if not check["passed"]]
        stops = [check for check in wrong if not check.get("warned")]
        chosen = "accepted" if not stops else "failed" if any("gate" in check for check in stops) else "sent back"
        self.unit.decisions.record(
            "gate",
            chosen,
            "; ".join(reason for check in wrong for reason in check["reasons"]) or "every demand is met",
            among=["accepted", "sent back", "failed"],
            evidence=[f"{check['check']}: {'passed' if check['passed'] else 'not passed'}" for check in judged],
            by="judge",
        )

    def _verdict(self, answer: str) -> dict[str, Any]:
        began = time.monotonic()
        text, checks = self._check(answer)
        reasons = [reason for check in checks if "gate" not in check for reason in check["reasons"]]
        fatal = [reason for check in checks if check.get("gate") == "fail" for reason in check["reasons"]]
        return {
            "kind": "verdict",
            "task": self.unit.path,
            "agent": self.unit.planned.agent_name,
            "text": text,
            "passed": not reasons and not fatal,
            "reasons": reasons,
            "fatal": fatal,
            "checks": checks,
            "demands": len(self._spoken()),
            "seconds": round(time.monotonic() - began, 4),
        }

    def _check(self, answer: str) -> tuple[str, list[dict[str, Any]]]:
        planned = self.unit.planned
        text, checks = answer, cast(list[dict[str, Any]], [])

        def note(name: str, found: Sequence[str], gate: str = "revise") -> None:
            checks.append(_gated({"check": name, "passed": not found, "reasons": list(found)}, gate))

        if self.offline and planned.contract is not None and answer.startswith(NEEDS_MODEL):
            note("offline", [answer])
            return text, checks
        if is_empty(answer) and not self.offline:
            note("not empty", ["the answer says nothing"])
        if self._must_call():
            note("must_call", self.unit.run.governor.not_called(self.tools, self.unit.path))
        if planned.contract is not None:
            value, problems = read_contract(answer, planned.contract)
            note("contract", problems)
            if value is not None and not problems:
                text = canonical(value)
        return text, [*checks, *check_by_rules(self.unit, text, self.sources, self.tools)]

    def _must_call(self) -> bool:
        """Say whether a rule of the policy wants a tool to be called here: the same whatever was called by now."""
        governor = self.unit.run.governor
        names = [governor.written(name) for name in self.tools]
        return governor.policy is not None and bool(not_called(governor.policy.order, names, self.unit.path, ()))

    def _spoken(self) -> list[GuardrailSpec]:
        spoken = [guardrail for guardrail in self.unit.planned.task.guardrails if guardrail.text is not None]
        goal = self.unit.lead.get("goal") or self.unit.scope.goal
        if self.unit.planned.task.check_goal and goal:
            spoken.append(GuardrailSpec(text=f"The text works towards this goal and does not drift from it: {goal}"))
        return spoken

    def _ask_model(self, guardrail: GuardrailSpec, text: str) -> dict[str, Any]:
        """Return the model's verdict on one demand."""
        demand = guardrail.text or ""
        if self.offline:
            return {"check": demand, "passed": True, "not_judged": True, "reasons": []}
        shown = self.unit.reading.apart(text, f"output of {self.unit.path}")
        prompt = _JUDGE_PROMPT if shown == text else f"{_JUDGE_PROMPT}\n{NOTICE}"
        messages = [
            {"role": "system", "content": prompt},
            {"role": "user", "content": f"The demand:\n{demand}\n\nThe text:\n{shown}"},
        ]
        self.guard.lane.sent = 0
        for _ in range(_JUDGE_TRIES):
            reply = self.guard.ask(messages, [])
            found = _read_verdict(reply.text)
            if found is not None:
                return _gated({"check": demand, **found}, guardrail.gate)
            messages += [
                {"role": "assistant", "content": reply.text or "(nothing)"},
                {"role": "user", "content": 'Reply with exactly one JSON object: {"passed": ..., "reasons": [...]}'},
            ]
        refused = {"check": demand, "passed": False, "reasons": [f"could not be judged: {demand}"]}
        return _gated(refused, guardrail.gate)

    def _ask_person(self, text: str) -> str | None:
        self._asked += 1
        prompt = f"Accept the output of {self.unit.planned.name}? Enter accepts; or say what should change"
        question = Question(self.unit.path, prompt, text, kind="review")
        said = ask_person(self.unit.run, f"{self.guard.lane.name}/answer#{self._asked}", question, needed=True).said
        if not said:
            return None
        return f"A person has read your answer and wants this changed:\n{said}\n\nGive the complete answer again."


def check_by_rules(unit: Unit, text: str, sources: Sources, tools: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Hold a text to the rules and functions among the task's guardrails; each check with its gate."""
    checks: list[dict[str, Any]] = []
    for guardrail in unit.planned.task.guardrails:
        name = guardrail.rule or guardrail.function
        if name is None:
            continue
        found = (
            call_guardrail(unit.run, name, text)
            if guardrail.rule is None
            else _check_rule(unit, guardrail, text, sources, tools)
        )
        checks.append(_gated({"check": name, "passed": not found, "reasons": found}, guardrail.gate))
    return checks


def _check_rule(unit: Unit, guardrail: GuardrailSpec, text: str, sources: Sources, tools: Sequence[str]) -> list[str]:
    evidence = evidence_for(unit) if guardrail.rule in _HELD_AGAINST_EVIDENCE else []
    if guardrail.rule == "claimed_calls":  # who was handed a document may say that they read it
        evidence = [item for item in evidence if not item.id.startswith("input/") or len(item.text) >= _A_DOCUMENT]
        evidence += [Evidence(f"task/{name}", f"task {name}", text) for name, text in unit.outputs.items()]
    calls = {item.source for item in evidence if not item.id.startswith(("input/", "task/"))}
    return check_rule(
        guardrail.rule or "",
        guardrail.value,
        text,
        sources,
        contract=unit.planned.contract,
        evidence=evidence,
        calls=calls,
        tools=tools,
    )


def read_confidence(answer: str) -> tuple[str, float | None]:
    """Take the last line `Confidence: N` off an answer; return the rest and N, from 0 to 1."""
    match = _CONFIDENCE.search(answer)
    if match is None:
        return answer, None
    value = float(match[1]) / (100 if match[2] else 1)
    return answer[: match.start()].rstrip(), value if 0 <= value <= 1 else None


def _gated(check: dict[str, Any], gate: str) -> dict[str, Any]:
    if gate == "revise":
        return check
    return check | {"gate": gate} | ({"warned": True} if gate == "warn" and not check["passed"] else {})


def _read_verdict(text: str) -> dict[str, Any] | None:
    match = re.search(r"\{.*\}", text, re.DOTALL)
    try:
        found: Any = json.loads(match[0]) if match else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    verdict = cast(dict[str, Any], found)
    if not isinstance(verdict.get("passed"), bool):
        return None
    listed: Any = verdict.get("reasons") or []
    reasons = [clean(str(item))[:500] for item in (cast(list[Any], listed) if isinstance(listed, list) else [listed])]
    if verdict["passed"]:
        reasons = []  # some say what they liked
    elif not reasons:
        reasons = ["the demand is not met"]
    return {"passed": verdict["passed"], "reasons": reasons}
