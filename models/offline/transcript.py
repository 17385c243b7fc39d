"""The conversation so far, read from chat messages: tool calls with results, and why an answer was refused."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from models.marks import strip_marks

_MAX_CHARACTERS = 400_000
_HARMFUL = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
_MAX_CHARACTERS_ALL = 2_000_000


@dataclass(frozen=True)
class ToolResult:
    """One tool call that was made, and what came back; `number` counts from 1."""

    number: int
    name: str
    arguments: Mapping[str, Any]
    text: str

    @property
    def failed(self) -> bool:
        """Say whether the result reads like an error or a refusal and not like an answer."""
        opening = self.text.lstrip()[:40].lower()
        return opening.startswith(("error", "refused", "failed", "traceback", "exception", "timeout", "not allowed"))


def message_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message's content, which is a string, a list of parts, or nothing; without marks."""
    content = message.get("content")
    if isinstance(content, list):
        parts = [cast(Mapping[str, Any], part) for part in cast(list[Any], content) if isinstance(part, Mapping)]
        content = "\n".join(str(part.get("text") or "") for part in parts)
    return readable(strip_marks(content)) if isinstance(content, str) else ""


def readable(text: str) -> str:
    """Return the first 400,000 characters, with U+FFFD for those that harm a terminal or cannot be stored."""
    return _HARMFUL.sub("\ufffd", text[:_MAX_CHARACTERS].replace("\r\n", "\n"))


def count_calls(messages: Sequence[Mapping[str, Any]]) -> int:
    """Count the tool calls asked for so far, answered or not."""
    return sum(len(_calls_of(message)) for message in messages)


def tool_results(messages: Sequence[Mapping[str, Any]]) -> list[ToolResult]:
    """Pair the tool calls with their results, in the order of the results; an unanswered call is left out."""
    asked: dict[str, tuple[str, Mapping[str, Any]]] = {}
    found: list[ToolResult] = []
    room = _MAX_CHARACTERS_ALL
    for message in messages:
        for call in _calls_of(message):
            asked[str(call.get("id") or "")] = _name_and_arguments(call)
        if message.get("role") == "tool":
            known = asked.get(str(message.get("tool_call_id") or ""))
            name, arguments = known or (str(message.get("name") or "tool"), cast(Mapping[str, Any], {}))
            text = message_text(message)[:room]
            room -= len(text)
            found.append(ToolResult(len(found) + 1, name, arguments, text))
    return found


def refusals(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the user's messages that came after an answer in text: why it was not accepted."""
    found: list[str] = []
    answered = False
    for message in messages:
        if message.get("role") == "assistant":
            answered = answered or bool(message_text(message).strip() and not _calls_of(message))
        elif message.get("role") == "user" and answered:
            found.append(message_text(message)[:20_000])
    return found


def _calls_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    calls = message.get("tool_calls") if message.get("role") == "assistant" else None
    if not isinstance(calls, list):
        return []
    return [cast(Mapping[str, Any], call) for call in cast(list[Any], calls) if isinstance(call, Mapping)]


def _name_and_arguments(call: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    function: Any = call.get("function")
    described = cast(Mapping[str, Any], function) if isinstance(function, Mapping) else call
    arguments: Any = described.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None
    known: Mapping[str, Any] = cast(Mapping[str, Any], arguments) if isinstance(arguments, Mapping) else {}
    return str(described.get("name") or "tool"), known
