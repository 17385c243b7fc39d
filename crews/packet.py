"""The handoff packet: what one task hands to the next, complete or refused at the door."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from project.spec import FieldSpec, Spec
from tasks.contracts import read_contract
from tasks.guardrails import is_empty

_MOST_EVIDENCE = 20
_EXCERPT = 300


class Packet(Spec):
    """What is handed over with an output."""

    task: str
    """Whose output it is."""
    agent: str
    """Who made it."""
    goal: str
    """What the task was to reach: its expected output."""
    output: str
    """The output."""
    contract: list[str] = []
    """Fields of the output, where it has a contract."""
    evidence: list[dict[str, str]] = []
    """Tool results behind it: `id` of the step, `source` (the tool), `arguments`, `text` (its beginning)."""
    state: dict[str, Any] = {}
    """State that the task wrote."""
    open_questions: list[str] = []
    """What it left open: partial parts, findings of a review that were not settled."""
    confidence: dict[str, Any] = {}
    """`value` (0 to 1, or null), `measured`, `from`."""
    reason: str = ""
    """Why it was handed to this agent."""


def make_packet(
    name: str,
    result: Mapping[str, Any],
    goal: str,
    contract: Mapping[str, FieldSpec] | None,
    evidence: Sequence[Mapping[str, str]] = (),
    reason: str = "",
) -> Packet:
    """Make the packet of a finished task out of its result."""
    review: Mapping[str, Any] = result.get("review") or {}
    left = [str(issue.get("problem", "")) for issue in review.get("issues", []) if not review.get("approved", True)]
    return Packet(
        task=name,
        agent=str(result.get("agent", "")),
        goal=goal,
        output=str(result.get("output", "")),
        contract=list(contract or {}),
        evidence=[{**item, "text": " ".join(item["text"].split())[:_EXCERPT]} for item in evidence[:_MOST_EVIDENCE]],
        state=dict(result.get("writes") or {}),
        open_questions=[*map(str, result.get("partial") or []), *left],
        confidence=dict(result.get("confidence") or {}),
        reason=reason,
    )


def packet_problems(packet: Packet, contract: Mapping[str, FieldSpec] | None) -> list[str]:
    """Say what the packet lacks of what its contract asks; [] when it may be passed on."""
    if is_empty(packet.output):
        return [f"{packet.task} hands over nothing"]
    if contract is None:
        return []
    return [
        f"{packet.task} hands over an incomplete output: {problem}"
        for problem in read_contract(packet.output, contract)[1]
    ]


def packet_text(packet: Packet) -> str:
    """Tell the packet to the agent that goes on with it."""
    head = f"## {packet.task} (by {packet.agent}{_sure(packet.confidence)})"
    parts = [head, f"Asked for: {packet.goal}", packet.output]
    if packet.state:
        parts.append(f"State: {json.dumps(packet.state, ensure_ascii=False)}")
    if packet.evidence:
        lines = [f"- {item['id']}: {item['source']}({item['arguments']}) → {item['text']}" for item in packet.evidence]
        parts.append("\n".join(["Evidence (tool calls behind it):", *lines]))
    if packet.open_questions:
        parts.append("\n".join(["Left open:", *(f"- {question}" for question in packet.open_questions)]))
    return "\n\n".join(parts)


def _sure(confidence: Mapping[str, Any]) -> str:
    value = confidence.get("value")
    if value is None:
        return ""
    return f", confidence {value:g}, {'measured' if confidence.get('measured') else 'by its own word'}"
