"""A lane's tool calls: permitted, journaled, given their time; what may not be done twice is announced first."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from models.answer import ToolCall
from policy.budget import Spent
from policy.decide import Allow, Ask, Call, Refuse
from project.spec_policy import ApprovalSpec
from runs.calls.arguments import canonical, read_arguments
from runs.calls.calling import context_of, run_tool
from runs.calls.lanes import Seam
from runs.calls.left_open import UNKNOWN_OUTCOME, LeftOpen, left_open
from runs.calls.rates import Room
from runs.calls.tool_hosts import prepare_tool
from runs.calls.tool_records import allowed, asks, effects_of, refused, told_changed
from runs.calls.wanted import Wanted, begin_record, call_now
from runs.executing.state import read_found
from runs.governed.approving import Rejection, Standing, ask_approval
from runs.governed.governing import taint_of
from runs.stored.journal import digest
from tools.tool import Tool


@dataclass(frozen=True)
class _Permit:
    """What was decided about a call."""

    arguments: dict[str, Any] | None
    decision: Allow | Refuse | Ask
    anew: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of a call that people are asked about although they have approved it: why, and who has spoken for it already."""
    room: Room | None = None
    """Where it was counted at the rate of its tool."""


@dataclass(frozen=True)
class _Intent:
    """A call that was announced."""

    permit: _Permit
    lost: bool
    """Whether that was in an earlier execution, which was to make it next."""


class ToolCalls:
    """Makes the tool calls of one lane."""

    def __init__(self, seam: Seam, tools: Mapping[str, Tool]) -> None:
        self._seam, self._run, self._lane = seam, seam.run, seam.lane
        self._tools = tools
        self._left_open = LeftOpen(seam, self._make)
        self._done: dict[str, str] = {}

    def make(self, call: ToolCall, attempt: int = 1) -> tuple[str, dict[str, Any]]:
        """Run the tool that the model called; return what the model is to read, and what was journaled of it.

        A further `attempt` has the number and the key of the first, whichever tool makes it.

        Raises: Parked at a ceiling, when the process ends, or when a person is to be asked and there is none; Diverged.
        """
        lane = self._lane
        lane.tool_calls += attempt == 1
        number = lane.tool_calls
        same = digest(lane.name, "tool", number, lane.history, call.name, call.arguments)
        tool = self._tools.get(call.name)
        name = f"{lane.name}/{call.name if tool else 'unknown_tool'}#{number}" + (f".{attempt}" if attempt > 1 else "")
        wanted = Wanted(call, tool, number, same, digest(call.name, canonical(call.arguments)), name)
        name, wanted, record = self._made(name, wanted)
        self._run.governor.note(wanted.step, record)
        lane.taint = lane.taint.plus(taint_of(name, record))
        found = read_found(name, record)
        if found is not None:
            self._run.note_found(lane.task, found)
        result = str(record.get("refused") or record["result"])
        if tool is not None and tool.cache and "error" not in record and "refused" not in record:
            self._done[wanted.key] = result
        lane.history = digest(lane.history, result)
        return result, record

    def _made(self, name: str, wanted: Wanted) -> tuple[str, Wanted, dict[str, Any]]:
        """Make the call, with all that lies between: a person is asked, a call that a crash left open is settled.

        Returns the name and the record of the step that ended it, and the call as a person has let it be made.
        """
        record, asked = self._make(name, f"{name}/intent", wanted), 0
        while True:
            if "lost" in record:
                name, wanted, record = self._left_open.settle(name, wanted)
            elif "asks" in record:
                asked += 1
                name, wanted, record = self._approved(wanted, record["asks"], asked)
            else:
                return name, wanted, record

    def _make(self, name: str, intent_name: str, wanted: Wanted) -> dict[str, Any]:
        """Make the call as the step `name`; one that may not be made twice is announced in a step before it.

        The record says `asks` where a person must approve it first, and `lost` where a crash left it open.
        """
        once = wanted.tool is not None and wanted.tool.repeat == "once"
        intent = self._intend(intent_name, wanted) if once else None
        if isinstance(intent, dict):
            return intent
        _, record = self._seam.journaled(name, lambda: self._execute(wanted, intent))
        self._seam.check(name, record, wanted.same, None)
        return record

    def _execute(self, wanted: Wanted, intent: _Intent | None) -> dict[str, Any]:
        call, tool = wanted.call, wanted.tool
        permit = self._admit(wanted) if intent is None else intent.permit
        arguments, decision = permit.arguments, permit.decision
        record = begin_record(self._seam, wanted, arguments if arguments is not None else call.arguments)
        if isinstance(decision, Ask):
            return record | asks(decision, permit.anew)
        lost = intent is not None and intent.lost and isinstance(decision, Allow) and wanted.key not in self._done
        if lost and tool is not None and (tool.probe is not None or tool.if_unknown == "ask"):
            return record | left_open(tool)
        self._seam.spend("call", call.name, Spent(tool_calls=1))
        if isinstance(decision, Refuse):
            return record | refused(decision)
        assert tool is not None
        assert arguments is not None
        record |= effects_of(tool) | allowed(decision, wanted)
        if wanted.key in self._done:
            return record | {"result": self._done[wanted.key], "cached": True, "seconds": 0.0}
        if lost:
            return record | {"result": UNKNOWN_OUTCOME, "unknown_outcome": True, "seconds": 0.0}
        if permit.room is not None and self._run.rates is not None:
            self._run.rates.begin(permit.room)
        return record | told_changed(wanted.approval, run_tool(self._seam, wanted, tool, arguments))

    def _intend(self, name: str, wanted: Wanted) -> "_Intent | dict[str, Any]":
        """Journal, before a call that may not be made twice, that it is about to be made.

        A journaled intent without a journaled call is a call whose outcome nobody knows. All that can stop the call or
        keep it waiting comes before the intent, so that only a crash comes between the two. Where a person must approve
        the call first, the record itself is returned, which says so.
        """

        room: Room | None = None

        def intend() -> dict[str, Any]:
            nonlocal room
            permit = self._admit(wanted)
            room = permit.room
            arguments, decision = permit.arguments, permit.decision
            found = {"kind": "intent", "task": self._lane.task, "same": wanted.same, "seconds": 0.0}
            if isinstance(decision, Ask):
                return found | {"arguments": arguments, "refused": ""} | asks(decision, permit.anew)
            why = decision.reason if isinstance(decision, Refuse) else ""
            return found | {"arguments": arguments, "refused": why, "rule": decision.rule}

        fresh, record = self._seam.journaled(name, intend)
        self._seam.check(name, record, wanted.same, None)
        if "asks" in record:
            return record
        why, rule = record["refused"], record.get("rule", "")
        permit = _Permit(record["arguments"], Refuse(why, rule) if why else Allow(rule), room=room)
        return _Intent(permit, lost=not fresh)

    # -- whether it may be made

    def _admit(self, wanted: Wanted) -> _Permit:
        """Decide about a call, and count it where its tool has a rate.

        Where the rate has no room, it is decided about again after the wait: by then its hours may be over, and its
        approval too. Raises: Parked.
        """
        tool, key = wanted.tool, f"tool {self._run.project.name} {wanted.call.name}"
        rate = self._run.governor.tool(wanted.call.name).rate
        if tool is None or rate is None or self._run.rates is None or wanted.key in self._done:
            return self._permit(wanted)
        prepare_tool(self._run.run_id, tool, context_of(self._seam, wanted))
        while True:
            permit = self._permit(wanted)
            if not isinstance(permit.decision, Allow):
                return permit
            room = self._run.rates.take(key, rate.calls, rate.seconds)
            if room.left <= 0:
                return replace(permit, room=room)
            self._seam.give_back()
            self._seam.pause(room.left)

    def _permit(self, wanted: Wanted) -> _Permit:
        """Say whether the call may be made now. Called inside a step only. Raises: Parked."""
        self._seam.stop_if_asked()
        arguments, problems = read_arguments(wanted.call.arguments)
        if wanted.tool is not None and arguments is not None:
            problems = wanted.tool.check(arguments)
        anew: dict[str, Any] = {}

        def approved(call: Call, asked: ApprovalSpec) -> bool:
            if wanted.approval is None:
                return False
            standing = Standing(self._run, wanted.step, wanted.approval, wanted.witness)
            anew["void"] = standing.why_void(call, asked)
            anew["voices"] = standing.voices(call, asked)
            return not anew["void"]

        describe = functools.partial(call_now, self._seam, wanted, arguments or {})
        decision = self._seam.decide(describe(), renew=describe, step=wanted.step, problems=problems, approved=approved)
        return _Permit(arguments, decision, anew)

    # -- what a person said

    def _approved(self, wanted: Wanted, asked: Mapping[str, Any], turn: int) -> tuple[str, Wanted, dict[str, Any]]:
        """Ask a person, and make the call as they let it be made; return as `_made`. Raises: Parked."""
        base, tool = wanted.step, wanted.tool
        assert tool is not None
        arguments, _ = read_arguments(wanted.call.arguments)
        describe = functools.partial(call_now, self._seam, wanted)
        said = ask_approval(
            self._run, self._lane, f"{base}/approval#{turn}", base, describe, tool, arguments or {}, asked
        )
        name = f"{base}/approved#{turn}"
        if isinstance(said, Rejection):
            _, record = self._seam.journaled(name, lambda: self._rejected(wanted, arguments or {}, said))
            self._seam.check(name, record, wanted.same, None)
            return name, wanted, record
        text = json.dumps(said.arguments, ensure_ascii=False)
        made = replace(wanted, call=replace(wanted.call, arguments=text), approval=said, witness=None)
        made = replace(made, key=digest(wanted.call.name, canonical(text)))
        return name, made, self._make(name, f"{name}/intent", made)

    def _rejected(self, wanted: Wanted, arguments: dict[str, Any], said: Rejection) -> dict[str, Any]:
        name = wanted.call.name
        self._seam.spend("call", name, Spent(tool_calls=1))
        told = f"{name} was not called: a person has rejected it: {said.reason}"
        why = refused(Refuse(told, "a person"))
        return begin_record(self._seam, wanted, arguments) | why | {"rejected_by": said.by}
