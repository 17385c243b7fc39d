"""Approvals of tool calls: what a person is shown, and whether what they said holds for the call that is made."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from policy.approval import bound_call, hash_of
from policy.decide import Call
from project.errors import UsageError
from project.spec_policy import ApprovalSpec
from runs.calls.lanes import Lane
from runs.executing.state import RunState
from runs.governed.call_text import Scene, prompt_of, text_of
from runs.governed.terms import Terms, Voice, Witness, expiry, may_answer, read_voices, until, why_void
from runs.governed.visible import visible_json
from runs.people.asking import ask_about_call
from runs.people.questions import Answer, Question, read_mapping
from tools.tool import Tool


@dataclass(frozen=True)
class Approval:
    """What people have approved. Instants are seconds since 1970, UTC."""

    arguments: dict[str, Any]
    """Arguments of the call, as they let it be made."""
    binding: str
    """Of the call with these arguments, as it was when they let it be made; "" fits no call."""
    until: float
    """It does not count any more after this."""
    by: tuple[str, ...]
    """Who approved, as user@host."""
    asked: ApprovalSpec = field(default_factory=ApprovalSpec)
    """Who was to approve it."""
    edited: bool = False
    """Whether the arguments are others than the agent's."""


@dataclass(frozen=True)
class Rejection:
    """What a person has rejected."""

    reason: str
    """Why; the agent reads it."""
    by: str = ""
    """Who, as user@host."""


Describe = Callable[[Mapping[str, Any]], Call]
"""Returns the call with other arguments, as it is now. Called inside a step only."""


@dataclass(frozen=True)
class Standing:
    """What people have let be made, held against the call that is about to be made."""

    run: RunState
    step: str
    approval: Approval
    witness: Witness | None
    """Who said, of a call that a crash left open, that it did not happen."""

    def why_void(self, call: Call, asked: ApprovalSpec) -> str:
        """Say why the approval does not let the call be made now; "" when it does. Called inside a step only.

        `asked` is how a rule wants it approved, which may be another one than the rule that asked. Who says that a call
        did not happen has it made again: so they must be who may approve it, and where two must, it takes another one.
        """
        approval, witness = self.approval, self.witness
        if approval.binding != _binding(self.run, self.step, call):
            return "the call is not the one that was approved"
        if time.time() >= approval.until:
            return "the approval was not used in time"
        if len(approval.by) < (2 if asked.four_eyes else 1) or not all(may_answer(by, asked) for by in approval.by):
            return "those who approved it are not whom this rule asks"
        if witness is None:
            return ""
        says = f"a crash left the call open; {witness.by} says that it did not happen"
        if not may_answer(witness.by, asked):
            return f"{says}, and may not have it made again"
        return f"{says}, and a second person must have it made again" if asked.four_eyes else ""

    def voices(self, call: Call, asked: ApprovalSpec) -> list[list[Any]]:
        """Return whose word counts already when it is approved anew: by whom and when. Called inside a step only.

        That is the witness of two people, if it is the approved call that they saw; else they all look at it afresh.
        """
        witness, now = self.witness, time.time()
        if witness is None or not asked.four_eyes or not may_answer(witness.by, asked):
            return []
        same = self.approval.binding == _binding(self.run, self.step, call)
        good = now < self.approval.until and now < expiry(asked, witness.at)
        return [[witness.by, witness.at]] if same and good else []


def _binding(run: RunState, step: str, call: Call) -> str:
    return hash_of(bound_call(step, call, run.paths.told))


@dataclass(frozen=True)
class _Turn:
    """What is asked about in one step."""

    arguments: dict[str, Any]
    approval: ApprovalSpec
    why: str
    rule: str
    voices: tuple[tuple[str, float], ...] = ()
    """Who has approved these arguments before the question is put, and when."""
    void: str = ""
    """Why an earlier answer does not count."""
    edited: bool = False


@dataclass(frozen=True)
class _Asking:
    """One call that people are asked about, with all that it is judged by.

    Between steps nothing of it is looked at but what was journaled: whatever is bound comes from the step that asks.
    """

    run: RunState
    lane: Lane
    step: str
    describe: Describe
    tool: Tool
    agent_arguments: Mapping[str, Any]

    def terms(self, name: str, turn: _Turn, call: Call) -> Terms:
        """Return when an answer counts to the question in the step `name`."""
        bound = bound_call(self.step, call, self.run.paths.told) | {"question": name}
        own = hash_of(bound)
        voices = tuple(Voice(by, at, own) for by, at in turn.voices)
        taint = call.taint
        return Terms(bound, own, turn.approval, turn.rule, taint.untrusted, taint.private, voices)

    def question(self, name: str, turn: _Turn) -> Question:
        """Return the question. Called inside a step only."""
        run, lane, call = self.run, self.lane, self.describe(turn.arguments)
        terms = self.terms(name, turn, call)
        earlier, was = self._earlier()
        with run.lock:
            found = [one for one in run.found.get(lane.task, ()) if one.id.startswith(f"{lane.name}/")]
            spent = run.spending.spent
        scene = Scene(
            call,
            self.tool,
            turn.arguments,
            terms,
            turn.why,
            turn.void,
            self.agent_arguments if turn.edited else None,
            earlier,
            was,
            found,
            spent,
            Path(run.folder, "files"),
        )
        editable = visible_json(turn.arguments)
        prompt = prompt_of(call, self.tool)
        return Question(lane.task, prompt, text_of(scene), editable, "approval", terms=terms)

    def _earlier(self) -> tuple[Mapping[str, Any] | None, str]:
        """Return the arguments of the last call of this tool in the lane that was decided, and how."""
        if self.run.inbox is None:
            return None, ""
        for row in reversed(self.run.inbox.all(self.run.run_id)):
            terms = row.question.terms
            if terms is None or row.answer is None or row.step.startswith(f"{self.step}/"):
                continue
            if terms.call["tool"] == self.tool.name and row.step.startswith(f"{self.lane.name}/"):
                return terms.call["arguments"], "rejected" if row.answer.rejected else "approved"
        return None, ""

    def judge(self, name: str, turn: _Turn, stored: Question, answer: Answer, asked_at: float) -> dict[str, Any]:
        """Say what an answer comes to, for its record: `void` why it does not count, `again` what is asked next.

        Called inside a step only. The hash is computed from the call that is about to be made, not from what is stored.
        """
        call = self.describe(turn.arguments)
        terms = self.terms(name, turn, call)
        terms = replace(terms, expires_at=stored.terms.expires_at if stored.terms is not None else 0.0)
        told = {"tool": call.name, "rule": turn.rule, "binding": terms.binding, "arguments": turn.arguments}
        bound = _binding(self.run, self.step, call)
        record: dict[str, Any] = {"call": told, "bound": bound, "void": "", "again": None, "edited": None}
        try:
            edited = read_mapping(answer.said) if answer.said and not answer.rejected else None
        except UsageError:
            return record | {"void": "the arguments that were given can't be read"}
        said = terms.binding if edited is None else terms.with_arguments(edited)
        wanted = replace(terms, approval=_by_one(turn.approval)) if edited is not None else terms
        void = why_void(wanted, answer.voices, answer.seen, said, asked_at, rejected=answer.rejected)
        if void or edited is None:
            return record | {"void": void}
        return record | {"edited": edited} | self._edited(turn, edited, answer)

    def _edited(self, turn: _Turn, edited: Any, answer: Answer) -> dict[str, Any]:
        """Judge arguments that a person has changed, by the tool's schema and by the policy, as if they were new."""
        problems = self.tool.check(edited)
        if problems:
            return {"void": f"the changed arguments are wrong: {'; '.join(problems)}"}
        call = self.describe(edited)
        verdict = self.run.governor.verdict(call)
        if verdict.decide == "deny":
            return {"void": f"the changed arguments are refused: {verdict.reason or verdict.rule}"}
        spec, why, rule = turn.approval, turn.why, turn.rule
        if verdict.decide == "ask":
            spec, why, rule = verdict.approval, verdict.reason or verdict.rule, verdict.rule
        allowed = may_answer(answer.by, spec)
        if allowed and not spec.four_eyes:
            return {"bound": _binding(self.run, self.step, call)}
        again = {"arguments": edited, "approval": spec.model_dump(mode="json"), "why": why, "rule": rule}
        return {"again": again | {"voices": [[answer.by, answer.at]] if allowed else []}}


def ask_approval(
    run: RunState,
    lane: Lane,
    name: str,
    step: str,
    describe: Describe,
    tool: Tool,
    arguments: Mapping[str, Any],
    asks: Mapping[str, Any],
) -> Approval | Rejection:
    """Ask people about a call in the step `name`. `step` is the call's own, `asks` is journaled: why they are asked.

    An answer that does not count is journaled with the reason, and the question put anew in `<name>.2`, `<name>.3` …

    Raises: Parked (waiting) with nobody to ask.
    """
    spec = ApprovalSpec.model_validate(asks["approval"])
    asking = _Asking(run, lane, step, describe, tool, arguments)
    voices, void = _read_pairs(asks.get("voices", ())), asks.get("void", "")
    turn = _Turn(dict(arguments), spec, asks["question"], asks["rule"], voices, void)
    number = 0
    while True:
        number += 1
        here = name if number == 1 else f"{name}.{number}"
        judge: Callable[[Question, Answer, float], Mapping[str, Any]] = functools.partial(asking.judge, here, turn)
        record = ask_about_call(run, here, functools.partial(asking.question, here, turn), judge)
        if record["void"]:
            turn = replace(turn, void=f"{record['void']} (the answer of {record['by']})")
        elif record["again"]:
            turn = _next(turn, record)
        elif record.get("rejected"):
            return Rejection(record["reason"] or "no reason given", record["by"])
        else:
            return _approval(asking, turn, record)


def _next(turn: _Turn, record: Mapping[str, Any]) -> _Turn:
    """Return what is asked about when a person has changed the arguments, and another one must approve them."""
    again = record["again"]
    voices = _read_pairs(again["voices"])
    spec = ApprovalSpec.model_validate(again["approval"])
    void = f"{record['by']} has changed the arguments"
    return _Turn(again["arguments"], spec, again["why"], again["rule"], voices, void, edited=True)


def _approval(asking: _Asking, turn: _Turn, record: Mapping[str, Any]) -> Approval:
    arguments = turn.arguments if record["edited"] is None else record["edited"]
    voices = read_voices(record["voices"])
    by = tuple(voice.by for voice in voices)
    changed = arguments != asking.agent_arguments
    bound = record.get("bound", "")  # journals of before it was noted: it is approved anew
    return Approval(arguments, bound, until(voices, turn.approval), by, turn.approval, changed)


def _read_pairs(found: Sequence[Sequence[Any]]) -> tuple[tuple[str, float], ...]:
    return tuple((str(by), float(at)) for by, at in found)


def _by_one(approval: ApprovalSpec) -> ApprovalSpec:
    return approval.model_copy(update={"four_eyes": False})
