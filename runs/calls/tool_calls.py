"""A lane's tool calls: permitted, journaled, given their time; what may not be done twice is announced first."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from models.answer import ToolCall
from models.make import clean
from muster import ToolContext
from policy.budget import Spent
from policy.decide import Allow, Ask, Call, Principal, Refuse
from project.fill import map_texts
from project.spec_policy import ApprovalSpec
from runs.calls.lanes import Seam
from runs.calls.tool_hosts import FunctionFailed, call_tool, probe_tool
from runs.executing.state import Parked, read_found
from runs.governed.approving import Approval, Rejection, ask_approval, has_lapsed, is_bound, suffices
from runs.governed.governing import call_places, now, principal_of, taint_of
from runs.governed.redaction import protection_of
from runs.people.asking import ask_person
from runs.people.questions import Question
from runs.stored.half_written import look_at, written_since
from runs.stored.journal import digest
from tools.tool import Tool

_UNKNOWN_OUTCOME = (
    "The outcome of this call is unknown: the process died while it ran. It was not made again, because doing it twice "
    "could do harm. Do not assume that it happened or that it did not."
)
_CONFIRMED = (
    "The process died while this call ran, and a person has confirmed that it happened. It was not made again; what it "
    "returned is not known."
)
_ENDED = " It was ended in the middle: do not assume that it happened or that it did not."
_MOST_LEVELS = 100
"""Of arguments within arguments: what is deeper, not all that stores, shows or checks it can follow."""
_HAPPENED, _DID_NOT, _STOP = "it happened", "it did not", "stop"


@dataclass(frozen=True)
class _Intent:
    arguments: dict[str, Any] | None
    decision: Allow | Refuse
    lost: bool


@dataclass(frozen=True)
class _Wanted:
    """One call of a model's, as its steps tell it."""

    call: ToolCall
    tool: Tool | None
    number: int
    same: str
    key: str
    """Of the tool and its arguments, for `cache`."""
    step: str
    """Name of the step that makes it, or that it was to be made in before a person was asked."""
    approval: Approval | None = None
    """What a person said of it."""


@dataclass(frozen=True)
class _Settled:
    """How a call ended that a crash left open; `result` is what the model reads."""

    result: str
    by: Literal["probe", "person", "nobody"]


class ToolCalls:
    """Makes the tool calls of one lane."""

    def __init__(self, seam: Seam, tools: Mapping[str, Tool]) -> None:
        self._seam, self._run, self._lane = seam, seam.run, seam.lane
        self._tools = tools
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
        wanted = _Wanted(call, tool, number, same, digest(call.name, _canonical(call.arguments)), name)
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

    def _made(self, name: str, wanted: "_Wanted") -> tuple[str, "_Wanted", dict[str, Any]]:
        """Make the call, with all that lies between: a person is asked, a call that a crash left open is settled.

        Returns the name and the record of the step that ended it, and the call as a person has let it be made.
        """
        record, asked = self._make(name, f"{name}/intent", wanted), 0
        while True:
            if "lost" in record:
                name, record = self._settle(name, wanted)
            elif "asks" in record:
                asked += 1
                name, wanted, record = self._approved(wanted, record["asks"], asked)
            else:
                return name, wanted, record

    def _make(self, name: str, intent_name: str, wanted: "_Wanted") -> dict[str, Any]:
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

    def _execute(self, wanted: "_Wanted", intent: "_Intent | None") -> dict[str, Any]:
        call, tool = wanted.call, wanted.tool
        arguments, decision = self._permit(wanted) if intent is None else (intent.arguments, intent.decision)
        record = self._record(wanted, arguments if arguments is not None else call.arguments)
        if isinstance(decision, Ask):
            return record | _asks(decision)
        allowed = isinstance(decision, Allow)
        lost = intent is not None and intent.lost and allowed and wanted.key not in self._done
        if lost and tool is not None and (tool.probe is not None or tool.if_unknown == "ask"):
            return record | _left_open(tool)
        if tool is not None and allowed and not lost and wanted.key not in self._done:
            self._pace(tool)  # before it counts as begun: it may be told to stop while it waits
        self._seam.spend("call", call.name, Spent(tool_calls=1))
        if isinstance(decision, Refuse):
            return record | _refused(decision)
        assert tool is not None
        assert arguments is not None
        record |= _effects_of(tool) | _allowed(decision, wanted.approval)
        if wanted.key in self._done:
            return record | {"result": self._done[wanted.key], "cached": True, "seconds": 0.0}
        if lost:
            return record | {"result": _UNKNOWN_OUTCOME, "unknown_outcome": True, "seconds": 0.0}
        return record | _told_changed(wanted.approval, self._run_tool(tool, arguments, self._context(wanted)))

    def _pace(self, tool: Tool) -> None:
        """Wait until the tool's rate has room."""
        rate = self._run.governor.tool(tool.name).rate
        if rate is not None and self._run.rates is not None:
            key = f"tool {self._run.project.name} {tool.name}"
            self._run.rates.wait(key, rate.calls, rate.seconds, self._seam.stop_if_asked)

    def _record(self, wanted: "_Wanted", arguments: Any) -> dict[str, Any]:
        return {
            "kind": "tool",
            "task": self._lane.task,
            "agent": self._lane.agent,
            "tool": wanted.call.name,
            "arguments": arguments,
            "same": wanted.same,
            "principal": self._principal().to_json(),
        }

    def _principal(self) -> Principal:
        run, lane = self._run, self._lane
        return principal_of(run.governor, run.run_id, lane.crew, lane.task, lane.agent, lane.chain)

    def _permit(self, wanted: "_Wanted") -> tuple[dict[str, Any] | None, Allow | Refuse | Ask]:
        """Return the call's arguments, and whether it may be made now. Raises: Parked."""
        self._seam.stop_if_asked()
        tool, approval = wanted.tool, wanted.approval
        arguments, problems = _read_arguments(wanted.call.arguments)
        if tool is not None and arguments is not None:
            problems = tool.check(arguments)
        call = self._call(wanted, arguments or {})

        def approved(asked: ApprovalSpec) -> bool:
            if approval is None or not is_bound(approval, wanted.step, call) or has_lapsed(approval):
                return False
            return suffices(approval, asked)

        decision = self._seam.decide(call, step=wanted.step, problems=problems, approved=approved)
        return arguments, decision

    def _call(self, wanted: "_Wanted", arguments: dict[str, Any]) -> Call:
        """Return the call as the policy looks at it. Called inside a step only."""
        run, lane, tool = self._run, self._lane, wanted.tool
        return Call(
            "tool",
            run.run_id,
            lane.task,
            lane.agent,
            wanted.call.name,
            arguments,
            cast(Any, tool.effect) if tool else None,
            cast(Any, tool.repeat) if tool else None,
            fixed=tool.settings if tool else {},
            principal=self._principal(),
            taint=lane.taint,
            given=tuple(str(value) for value in run.plan.inputs.values()),
            places=call_places(run.paths.all_here(arguments), Path(run.folder, "files"), tool),
            confidence=lane.confidence,
            autonomy=lane.autonomy,
            at=now(),
        )

    def _approved(self, wanted: "_Wanted", asks: Mapping[str, Any], turn: int) -> tuple[str, "_Wanted", dict[str, Any]]:
        """Ask a person, and make the call as they let it be made; return as `_made`. Raises: Parked."""
        base, tool = wanted.step, wanted.tool
        assert tool is not None
        arguments, _ = _read_arguments(wanted.call.arguments)
        call = self._call(wanted, arguments or {})
        said = ask_approval(self._run, self._lane, f"{base}/approval#{turn}", base, call, tool, asks)
        name = f"{base}/approved#{turn}"
        if isinstance(said, Rejection):
            _, record = self._seam.journaled(name, lambda: self._rejected(wanted, call, said))
            self._seam.check(name, record, wanted.same, None)
            return name, wanted, record
        text = json.dumps(said.arguments, ensure_ascii=False)
        made = replace(wanted, call=replace(wanted.call, arguments=text), approval=said)
        made = replace(made, key=digest(wanted.call.name, _canonical(text)))
        return name, made, self._make(name, f"{name}/intent", made)

    def _rejected(self, wanted: "_Wanted", call: Call, said: Rejection) -> dict[str, Any]:
        self._seam.spend("call", call.name, Spent(tool_calls=1))
        told = f"{call.name} was not called: a person has rejected it: {said.reason}"
        return (
            self._record(wanted, dict(call.arguments)) | _refused(Refuse(told, "a person")) | {"rejected_by": said.by}
        )

    def _context(self, wanted: "_Wanted") -> ToolContext:
        said = self._run.governor.tool(wanted.call.name)
        return ToolContext(
            project=self._run.project,
            output_folder=Path(self._run.folder, "files"),
            inputs=self._run.paths.all_here(self._run.plan.inputs),
            idempotency_key=call_key(self._run.run_id, self._lane.name, wanted.number),
            secrets=protection_of(self._run.run_id).secrets.get(wanted.tool.name if wanted.tool else "", {}),
            domains=tuple(said.domains) if said.domains is not None else None,
            private_addresses=said.private_addresses,
        )

    def _run_tool(self, tool: Tool, arguments: dict[str, Any], context: ToolContext) -> dict[str, Any]:
        """Make the call; return what is journaled of it. A tool's error is data: the model reads it."""
        before = look_at(context.output_folder)
        here = self._run.paths.all_here(arguments)
        began = time.monotonic()
        try:
            limit = self._seam.time_left(tool.timeout_seconds)
            made: dict[str, Any] = {"result": call_tool(self._run.run_id, tool, here, context, limit)}
        except FunctionFailed as error:
            made = _failure(tool, error)
        made = map_texts(made, self._run.paths.told)
        made["seconds"] = round(time.monotonic() - began, 4)
        if files := written_since(before, context.output_folder):
            made["files"] = files
        return made

    def _intend(self, name: str, wanted: "_Wanted") -> "_Intent | dict[str, Any]":
        """Journal, before a call that may not be made twice, that it is about to be made.

        A journaled intent without a journaled call is a call whose outcome nobody knows. All that can stop the call is
        decided before the intent, so that only a crash comes between the two. Where a person must approve the call
        first, the record itself is returned, which says so.
        """

        def intend() -> dict[str, Any]:
            arguments, decision = self._permit(wanted)
            found = {"kind": "intent", "task": self._lane.task, "same": wanted.same, "seconds": 0.0}
            if isinstance(decision, Ask):
                return found | {"arguments": arguments, "refused": ""} | _asks(decision)
            refused = decision.reason if isinstance(decision, Refuse) else ""
            return found | {"arguments": arguments, "refused": refused, "rule": decision.rule}

        fresh, record = self._seam.journaled(name, intend)
        self._seam.check(name, record, wanted.same, None)
        if "asks" in record:
            return record
        refused, rule = record["refused"], record.get("rule", "")
        return _Intent(record["arguments"], Refuse(refused, rule) if refused else Allow(rule), lost=not fresh)

    # -- a call that a crash left open

    def _settle(self, name: str, wanted: "_Wanted") -> tuple[str, dict[str, Any]]:
        """Find out whether a call happened that a crash left open, and make it again only where it did not.

        Its probe says it, else a person. Returns the name and the record of the step that settles it. Raises: Parked.
        """
        tool = wanted.tool
        assert tool is not None
        arguments, _ = _read_arguments(wanted.call.arguments)
        assert arguments is not None
        turn = 1
        while True:
            found = self._find_out(name, turn, tool, arguments, wanted)
            turn += 1
            again = f"{name}.{turn}"
            if found is not None:
                return again, self._conclude(again, wanted, tool, arguments, found)
            record = self._make(again, f"{name}/intent.{turn}", wanted)
            if "lost" not in record:  # made, or a person must approve it anew
                return again, record

    def _conclude(
        self, name: str, wanted: "_Wanted", tool: Tool, arguments: dict[str, Any], found: "_Settled"
    ) -> dict[str, Any]:
        _, record = self._seam.journaled(name, lambda: self._settled(wanted, tool, arguments, found))
        self._seam.check(name, record, wanted.same, None)
        return record

    def _settled(self, wanted: "_Wanted", tool: Tool, arguments: dict[str, Any], found: "_Settled") -> dict[str, Any]:
        self._seam.spend("call", tool.name, Spent(tool_calls=1))
        told: dict[str, Any] = {"result": found.result, "settled_by": found.by, "seconds": 0.0}
        if found.by == "nobody":
            told["unknown_outcome"] = True
        return self._record(wanted, arguments) | _effects_of(tool) | told

    def _find_out(
        self, name: str, turn: int, tool: Tool, arguments: dict[str, Any], wanted: "_Wanted"
    ) -> "_Settled | None":
        """Return how the call ended; None when it did not happen. Raises: Parked."""
        nth = "" if turn == 1 else f".{turn}"
        why = "a crash left open whether it happened"
        if tool.probe is not None:
            _, record = self._seam.journaled(f"{name}/probe{nth}", lambda: self._probe(tool, arguments, wanted))
            if "error" not in record:
                return _Settled(record["result"], "probe") if record["happened"] else None
            why += f", and its probe failed: {record['error']['message']}"
            if tool.if_unknown == "tell":
                return _Settled(_UNKNOWN_OUTCOME, "nobody")
        return self._ask(f"{name}/asked{nth}", tool, arguments, why)

    def _probe(self, tool: Tool, arguments: dict[str, Any], wanted: "_Wanted") -> dict[str, Any]:
        self._seam.stop_if_asked()
        began = time.monotonic()
        try:
            limit = self._seam.time_left(tool.timeout_seconds)
            here = self._run.paths.all_here(arguments)
            found = probe_tool(self._run.run_id, tool, here, self._context(wanted), limit)
            why = "it found nothing of the call" if found is None else f"it found: {found}"
            told: dict[str, Any] = {"chosen": _DID_NOT if found is None else _HAPPENED, "why": why}
            told |= {"happened": found is not None, "result": found}
        except FunctionFailed as error:
            message = _message(error)
            told = {"chosen": "ask a person" if tool.if_unknown == "ask" else "tell the agent", "why": message}
            told["error"] = {"kind": error.kind, "message": message}
        seconds = round(time.monotonic() - began, 4)
        among = (_HAPPENED, _DID_NOT, "ask a person", "tell the agent")
        return _decision("probe", self._lane.task, among) | told | {"seconds": seconds}

    def _ask(self, name: str, tool: Tool, arguments: dict[str, Any], why: str) -> "_Settled | None":
        """Ask a person, until the answer is not an earlier execution's `stop`. Raises: Parked."""
        shown = json.dumps(arguments, ensure_ascii=False, indent=2)
        question = Question(
            self._lane.task,
            f"Did this call of `{tool.name}` happen?",
            f"{self._lane.agent} called `{tool.name}` ({tool.effect}); {why}. It is not made again without your word.\n"
            f"{shown}\n"
            f"{_HAPPENED}: the agent is told so; {_DID_NOT}: it is made now; {_STOP}: the task fails",
            kind="unknown_outcome",
            choices=(_HAPPENED, _DID_NOT, _STOP),
        )
        number = 0
        while True:
            number += 1
            asked = ask_person(self._run, name if number == 1 else f"{name}#{number}", question, needed=True)
            if asked.said == _HAPPENED:
                return _Settled(_CONFIRMED, "person")
            if asked.said == _DID_NOT:
                return None
            if asked.now:
                what = f"a person stopped it: a crash left open whether a call of `{tool.name}` happened"
                raise Parked("failed", what, f"`muster runs resume {self._run.run_id}` asks again")


def call_key(run_id: str, lane: str, number: int) -> str:
    """Return the idempotency key of a lane's call: the same after a crash, another one in another run."""
    return digest(run_id, lane, number)


def _decision(decision: str, about: str, among: Sequence[str]) -> dict[str, Any]:
    """Return the record of a choice, which `runs why` tells; `chosen` and `why` are to be added."""
    told = {"kind": "decision", "decision": decision, "about": about, "among": list(among)}
    return told | {"evidence": [], "by": "rule", "seconds": 0.0}


def _left_open(tool: Tool) -> dict[str, Any]:
    """Return what makes the record of a call that of one which a crash left open: it is settled by later steps."""
    chosen = "ask the probe" if tool.probe is not None else "ask a person"
    why = f"the process died while `{tool.name}` was under way, which may not be done twice"
    told = _decision("unknown outcome", "", ("ask the probe", "ask a person", "tell the agent"))
    return told | {"lost": True, "chosen": chosen, "why": why}


def _asks(decision: Ask) -> dict[str, Any]:
    """Return what makes the record of a call that of one which waits for a person."""
    asks = {"question": decision.question, "rule": decision.rule, "approval": decision.approval.model_dump(mode="json")}
    return {"asks": asks, "seconds": 0.0}


def _refused(refusal: Refuse) -> dict[str, Any]:
    return {"refused": refusal.reason, "seconds": 0.0} | ({"rule": refusal.rule} if refusal.rule else {})


def _allowed(decision: Allow, approval: Approval | None) -> dict[str, Any]:
    """Return what the record of a call says of who let it be made: a rule, and perhaps a person."""
    found: dict[str, Any] = {"rule": decision.rule} if decision.rule else {}
    if approval is None:
        return found
    return found | {"approved_by": list(approval.by), "edited": approval.edited, "binding": approval.binding}


def _told_changed(approval: Approval | None, made: dict[str, Any]) -> dict[str, Any]:
    """Tell the agent, in the result, that a person has changed its arguments."""
    if approval is None or not approval.edited:
        return made
    told = "A person has changed the arguments of this call. It was made with: "
    return made | {"result": f"{told}{json.dumps(approval.arguments, ensure_ascii=False)}\n{made['result']}"}


def _effects_of(tool: Tool) -> dict[str, Any]:
    found: dict[str, Any] = {"effect": tool.effect, "repeat": tool.repeat}
    found |= {"untrusted": True} if tool.returns == "untrusted" else {}
    found |= {"private": True} if tool.private else {}
    return found | ({"settings": dict(tool.settings)} if tool.undo is not None and tool.settings else {})


def _failure(tool: Tool, error: FunctionFailed) -> dict[str, Any]:
    message = _message(error)
    said = f"{tool.name}: {message}" if error.ended else f"{tool.name} failed: {message}"
    more = _ENDED if error.ended and tool.repeat == "once" else ""
    full_stop = "." if more else ""
    return {"error": {"kind": error.kind, "message": message}, "result": f"Error: {said}{full_stop}{more}"}


def _message(error: FunctionFailed) -> str:
    return clean(" ".join(str(error).split()))[:2000] or error.kind


def _read_arguments(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    try:
        found: Any = json.loads(text or "{}")
        if "\\u" in text or not text.isascii():  # half of a pair of surrogates can be stored nowhere
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return None, [f"the arguments are not valid JSON ({error}); nothing was run. Call again with a JSON object"]
    if not isinstance(found, dict):
        return None, [f"the arguments must be a JSON object, got {type(found).__name__}; nothing was run"]
    if text.count("[") + text.count("{") > _MOST_LEVELS and _is_too_deep(cast(object, found)):
        return None, [f"the arguments are nested more than {_MOST_LEVELS} levels deep; nothing was run"]
    return cast(dict[str, Any], found), []


def _is_too_deep(arguments: object) -> bool:
    level: list[Any] = [arguments]
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += cast(dict[str, Any], one).values()
            elif isinstance(one, list):
                below += cast(list[Any], one)
        level = below
    return bool(level)


def _canonical(text: str) -> str:
    arguments, _ = _read_arguments(text)
    return json.dumps(arguments, sort_keys=True) if arguments is not None else text
