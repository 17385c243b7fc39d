"""Approvals of tool calls: what a person is shown, and whether what they said holds for the call that is made."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policy.approval import binding
from policy.decide import Call
from project.spec_policy import ApprovalSpec
from runs.asking import ask_person
from runs.lanes import Lane
from runs.questions import Question
from runs.state import RunState
from tools.tool import Tool

_HOUR = 3600.0


@dataclass(frozen=True)
class Approval:
    """What people have approved. Instants are seconds since 1970, UTC."""

    arguments: dict[str, Any]
    """Arguments of the call, as they let it be made."""
    binding: str
    """Of the call with these arguments."""
    until: float
    """It does not count any more after this."""
    by: tuple[str, ...]
    """Who approved, as user@host."""
    edited: bool = False
    """Whether the arguments are others than the agent's."""


@dataclass(frozen=True)
class Rejection:
    """What a person has rejected."""

    reason: str
    """Why; the agent reads it."""
    by: str = ""
    """Who, as user@host."""


def is_bound(approval: Approval, step: str, call: Call) -> bool:
    """Say whether an approval is one of exactly this call."""
    return approval.binding == binding(step, call)


def has_lapsed(approval: Approval) -> bool:
    """Say whether an approval does not count any more. Called inside a step only."""
    return time.time() >= approval.until


def ask_approval(
    run: RunState, lane: Lane, name: str, step: str, call: Call, tool: Tool, asks: Mapping[str, Any]
) -> Approval | Rejection:
    """Ask people about a call in the step `name`. `step` is the call's own, `asks` why they are asked.

    Raises: Parked (waiting) with nobody to ask.
    """
    spec = ApprovalSpec.model_validate(asks["approval"])
    shown = json.dumps(dict(call.arguments), ensure_ascii=False, indent=2)
    text = f"{call.agent} wants to call `{call.name}` ({call.effect}): {asks['question']}\n{shown}"
    question = Question(lane.task, f"Allow this call of `{call.name}`?", text, editable=shown, kind="approval")
    asked = ask_person(run, name, question, needed=True)
    if asked.rejected:
        return Rejection(asked.said or "no reason given")
    arguments = json.loads(asked.said) if asked.said else dict(call.arguments)
    bound = binding(step, call, arguments)
    return Approval(arguments, bound, time.time() + spec.expires_hours * _HOUR, ("somebody",), bool(asked.said))
