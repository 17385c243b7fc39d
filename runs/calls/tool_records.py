"""What is journaled of a tool's call, by how it ended."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from models.make import clean
from policy.decide import Allow, Ask, Refuse
from runs.calls.tool_hosts import FunctionFailed
from runs.calls.wanted import Wanted
from runs.governed.approving import Approval
from tools.tool import Tool

_ENDED = " It was ended in the middle: do not assume that it happened or that it did not."


def asks(decision: Ask, anew: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes the record of a call that of one which waits for a person.

    `anew` tells why an approval does not count that was given before, and who has spoken for the call already.
    """
    told = {"question": decision.question, "rule": decision.rule, "approval": decision.approval.model_dump(mode="json")}
    return {"asks": told | dict(anew), "seconds": 0.0}


def refused(refusal: Refuse) -> dict[str, Any]:
    """Return what makes it that of a call which was refused."""
    return {"refused": refusal.reason, "seconds": 0.0} | ({"rule": refusal.rule} if refusal.rule else {})


def allowed(decision: Allow, wanted: Wanted) -> dict[str, Any]:
    """Return what it says of who let the call be made: a rule, and perhaps people."""
    found: dict[str, Any] = {"rule": decision.rule} if decision.rule else {}
    if wanted.witness is not None:
        found["said_by"] = wanted.witness.by
    approval = wanted.approval
    if approval is None:
        return found
    return found | {"approved_by": list(approval.by), "edited": approval.edited, "binding": approval.binding}


def told_changed(approval: Approval | None, made: dict[str, Any]) -> dict[str, Any]:
    """Tell the agent, in the result, that a person has changed its arguments."""
    if approval is None or not approval.edited:
        return made
    told = "A person has changed the arguments of this call. It was made with: "
    return made | {"result": f"{told}{json.dumps(approval.arguments, ensure_ascii=False)}\n{made['result']}"}


def effects_of(tool: Tool) -> dict[str, Any]:
    """Return what it says of the tool: what it does, and what its results are."""
    found: dict[str, Any] = {"effect": tool.effect, "repeat": tool.repeat}
    found |= {"untrusted": True} if tool.returns == "untrusted" else {}
    found |= {"private": True} if tool.private else {}
    return found | ({"settings": dict(tool.settings)} if tool.undo is not None and tool.settings else {})


def failed(tool: Tool, error: FunctionFailed) -> dict[str, Any]:
    """Return what makes it that of a call which failed: the model reads why."""
    message = message_of(error)
    said = f"{tool.name}: {message}" if error.ended else f"{tool.name} failed: {message}"
    more = _ENDED if error.ended and tool.repeat == "once" else ""
    full_stop = "." if more else ""
    return {"error": {"kind": error.kind, "message": message}, "result": f"Error: {said}{full_stop}{more}"}


def message_of(error: FunctionFailed) -> str:
    """Return what a function said when it failed, in one line."""
    return clean(" ".join(str(error).split()))[:2000] or error.kind


def begin_decision(decision: str, about: str, among: Sequence[str]) -> dict[str, Any]:
    """Return the record of a choice, which `runs why` tells; `chosen` and `why` are to be added."""
    told = {"kind": "decision", "decision": decision, "about": about, "among": list(among)}
    return told | {"evidence": [], "by": "rule", "seconds": 0.0}
