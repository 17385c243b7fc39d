"""A scripted manager: what it answers to each of Muster's prompts, as a pure function of the messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.server_script import Reply, Script, scripted_reply

BRIEF = {"asked": "Get it done", "done": [], "questions": []}
AGENTS = {
    "worker": {"role": "Worker", "goal": "Do the work", "backstory": "You work."},
    "helper": {"role": "Helper", "goal": "Do the work", "backstory": "You help."},
    "critic": {"role": "Critic", "goal": "Judge the work", "backstory": "You judge."},
}


def subtask(name: str, description: str = "", **more: Any) -> dict[str, Any]:
    """Return a subtask of worker's, whose description directs the scripted model."""
    usual = {
        "id": name,
        "description": description or f"@answer: result of {name}",
        "expected_output": "A line.",
        "agent": "worker",
        "reason": "it does work of this kind",
        "depends_on": [],
    }
    return usual | more


def plan(*subtasks: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    return {"subtasks": list(subtasks), **more}


def boss(
    plans: Sequence[Any],
    *,
    brief: Any = BRIEF,
    again: Any = None,
    conflicts: Any = (),
    whole: str = "The whole.",
    review: Any = None,
) -> Script:
    """Return a script in which the n-th plan answers the n-th request for it; a text stands for itself."""

    def script(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Reply:
        asked = _text(messages)
        refused = sum(1 for message in messages if message["role"] == "user") - 1
        if "Before the work is planned" in asked:
            return _say(brief)
        if "You make the plan; the team does the work" in asked:
            known = plans if "failed" not in asked.lower() or again is None else [again]
            return _say(known[min(refused, len(known) - 1)])
        if "Do these outputs contradict each other" in asked:
            return _say({"conflicts": list(conflicts)})
        if "Make one complete text of the outputs" in asked or "Sum up the outputs" in asked:
            return Reply(whole)
        if review is not None and '"approved"' in asked:
            return _say(review)
        return scripted_reply({"messages": messages, "tools": [{"type": "function", "function": t} for t in tools]})

    return script


def _say(value: Any) -> Reply:
    return Reply(value if isinstance(value, str) else json.dumps(value))


def _text(messages: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(str(message.get("content")) for message in messages)
