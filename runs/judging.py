"""Whether a task's answer is accepted: by contract, rules, functions, a model, a person. Each verdict is a step."""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from crews.plan import PlannedTask
from models.make import clean
from models.offline.respond import NEEDS_MODEL
from project.spec import GuardrailSpec
from runs.seams import Guard
from runs.state import Parked, Question, RunState
from tasks.contracts import ask_again, canonical, read_contract
from tasks.guardrails import check_rule, is_empty

Sources = Callable[[str], "str | None"]
"""Takes a citation such as `path:12`; returns the text there, or None."""

_JUDGE_PROMPT = """You check a text against one demand. Judge only that demand, strictly and by what the text says.
Reply with exactly one JSON object: {"passed": true or false, "reasons": ["what is wrong, where", ...]}"""
_JUDGE_TRIES = 3


@dataclass
class Judge:
    """The judge of one task. `guard` is its own lane: a guardrail's model calls stand apart from the agent's."""

    run: RunState
    planned: PlannedTask
    guard: Guard
    functions: Mapping[str, Callable[[str], str]]
    sources: Sources
    offline: bool
    accepted: str = ""
    checks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    _round: int = 0
    _rejections: int = 0
    _asked: int = 0

    def __call__(self, answer: str) -> str | None:
        """Judge an answer: None when it is accepted, else the reasons, as a message for the model.

        Raises: Parked when the answers are used up, or when a person is to be asked and there is none.
        """
        self._round += 1
        fresh, verdict = self._judge_by_rules(answer)
        reasons: list[str] = list(verdict["reasons"])
        checks: list[dict[str, Any]] = list(verdict["checks"])
        if not reasons:
            for guardrail in self._spoken():
                judged_now, found = self._ask_model(guardrail, verdict["text"])
                checks.append(found)
                reasons += found["reasons"]
                fresh = fresh or judged_now
        self.checks = checks
        if reasons:
            return self._reject(reasons, fresh)
        self.accepted = verdict["text"]
        if self.planned.task.human_input:
            return self._ask_person(verdict["text"])
        return None

    def _judge_by_rules(self, answer: str) -> tuple[bool, dict[str, Any]]:
        task = self.planned.task
        plain = self.planned.contract is None and all(guardrail.text is not None for guardrail in task.guardrails)
        if plain and not is_empty(answer):  # nothing to judge, so nothing to journal
            return False, {"text": answer, "reasons": [], "checks": []}
        return self.guard.journal(f"verdict#{self._round}", lambda: self._verdict(answer))

    def _reject(self, reasons: Sequence[str], fresh: bool) -> str:
        # Rejections from before a resume do not count: who resumes a failed run gives it its tries again.
        self._rejections += fresh
        if fresh and self._rejections > self.planned.task.guardrail_max_retries:
            shown = "; ".join(reasons[:5])
            fix = f"`muster runs trace {self.run.run_id}` shows every answer and verdict"
            raise Parked("failed", f"the output was not accepted: {shown}", fix)
        return ask_again(reasons)

    def _verdict(self, answer: str) -> dict[str, Any]:
        began = time.monotonic()
        text, reasons, checks = self._check(answer)
        return {
            "kind": "verdict",
            "task": self.planned.name,
            "agent": self.planned.agent_name,
            "text": text,
            "passed": not reasons,
            "reasons": reasons,
            "checks": checks,
            "seconds": round(time.monotonic() - began, 4),
        }

    def _check(self, answer: str) -> tuple[str, list[str], list[dict[str, Any]]]:
        text, reasons, checks = answer, cast(list[str], []), cast(list[dict[str, Any]], [])

        def note(name: str, found: Sequence[str]) -> None:
            checks.append({"check": name, "passed": not found, "reasons": list(found)})
            reasons.extend(found)

        if self.offline and self.planned.contract is not None and answer.startswith(NEEDS_MODEL):
            note("offline", [answer])
            return text, reasons, checks
        if is_empty(answer) and not self.offline:
            note("not empty", ["the answer says nothing"])
        if self.planned.contract is not None:
            value, problems = read_contract(answer, self.planned.contract)
            note("contract", problems)
            if value is not None and not problems:
                text = canonical(value)
        for guardrail in self.planned.task.guardrails:
            if guardrail.rule is not None:
                found = check_rule(guardrail.rule, guardrail.value, text, self.sources, contract=self.planned.contract)
                note(guardrail.rule, found)
            elif guardrail.function is not None:
                note(guardrail.function, self._call(guardrail.function, text))
        return text, reasons, checks

    def _call(self, name: str, text: str) -> list[str]:
        try:
            said: Any = self.functions[name](text)
        except Exception as error:  # user code: its failure is a verdict that nobody can give, so it refuses
            return [f"the guardrail {name} failed: {type(error).__name__}: {clean(str(error))[:300]}"]
        if said is None or said is True or said == "":
            return []
        return [clean(str(said))[:2000] if said is not False else f"the guardrail {name} refused the text"]

    def _spoken(self) -> list[GuardrailSpec]:
        return [guardrail for guardrail in self.planned.task.guardrails if guardrail.text is not None]

    def _ask_model(self, guardrail: GuardrailSpec, text: str) -> tuple[bool, dict[str, Any]]:
        """Return whether the model was asked now (not replayed), and its verdict on one demand."""
        demand = guardrail.text or ""
        if self.offline:
            return False, {"check": demand, "passed": True, "not_judged": True, "reasons": []}
        messages = [
            {"role": "system", "content": _JUDGE_PROMPT},
            {"role": "user", "content": f"The demand:\n{demand}\n\nThe text:\n{text}"},
        ]
        self.guard.lane.sent = 0
        made = self.guard.made_now
        for _ in range(_JUDGE_TRIES):
            reply = self.guard.ask(messages, [])
            found = _read_verdict(reply.text)
            if found is not None:
                return self.guard.made_now > made, {"check": demand, **found}
            messages += [
                {"role": "assistant", "content": reply.text or "(nothing)"},
                {"role": "user", "content": 'Reply with exactly one JSON object: {"passed": ..., "reasons": [...]}'},
            ]
        refused = {"check": demand, "passed": False, "reasons": [f"could not be judged: {demand}"]}
        return self.guard.made_now > made, refused

    def _ask_person(self, text: str) -> str | None:
        self._asked += 1
        prompt = f"Accept the output of {self.planned.name}? Enter accepts; or say what should change"

        def ask() -> dict[str, Any]:
            if self.run.asker is None:
                raise Parked("waiting", f"a person is asked about the output of {self.planned.name}")
            began = time.monotonic()
            said = clean(self.run.asker(Question(self.planned.name, prompt, text))).strip()
            self.run.waited(time.monotonic() - began)
            return {"kind": "answer", "task": self.planned.name, "prompt": prompt, "said": said, "seconds": 0.0}

        _, record = self.guard.journal(f"answer#{self._asked}", ask)
        said: str = record["said"]
        if not said:
            return None
        return f"A person has read your answer and wants this changed:\n{said}\n\nGive the complete answer again."


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
    if not verdict["passed"] and not reasons:
        reasons = ["the demand is not met"]
    return {"passed": verdict["passed"], "reasons": reasons}
