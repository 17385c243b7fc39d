"""What a model call gives back, and how one fails: plain values that a journal can hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ErrorKind = Literal[
    "rate_limit", "server", "timeout", "connection", "bad_response", "context", "auth", "not_found", "refused"
]
RETRYABLE: frozenset[str] = frozenset({"rate_limit", "server", "timeout", "connection", "bad_response"})


@dataclass(frozen=True)
class ToolCall:
    """One tool call that a model asks for; `arguments` is the JSON text as it came."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. `estimated`: the provider reported none and they were counted by length."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True)
class Answer:
    """A model's answer: text, or tool calls, or (when both are empty) nothing."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    cut_off: bool = False
    """True: the provider stopped at its output limit."""

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"text": self.text}
        if self.calls:
            found["calls"] = [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in self.calls]
        if self.cut_off:
            found["cut_off"] = True
        return found

    @staticmethod
    def from_json(found: Mapping[str, Any], usage: Mapping[str, Any]) -> "Answer":
        calls = tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in found.get("calls", ()))
        return Answer(found.get("text", ""), calls, Usage(**usage), bool(found.get("cut_off")))


class ModelError(Exception):
    """A model call that failed. `retryable`: another attempt may do better; `retry_after` in seconds, where told.

    `unsent` is True only where it is certain that nothing of the request has left this machine.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        retry_after: float | None = None,
        fix: str = "",
        unsent: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.retryable = kind in RETRYABLE
        self.retry_after = retry_after
        self.fix = fix
        self.unsent = unsent


def estimate_tokens(text: str) -> int:
    """Count tokens by length: about four characters each."""
    return (len(text) + 3) // 4
