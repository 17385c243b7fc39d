"""What is done when a tool's call fails: made again, or made with another tool, as its use in YAML says."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from models.answer import ToolCall
from project.spec import ToolRetrySpec, ToolUse
from runs.calls.lanes import Seam
from runs.calls.tool_calls import ToolCalls
from runs.calls.toolbox import tool_of
from tools.tool import Tool, found_nothing

_LONGEST_BACKOFF = 60.0


class ToolRetries:
    """Makes the tool calls of one lane, with the retries and fallbacks that its tools have."""

    def __init__(self, seam: Seam, tools: Mapping[str, Tool], uses: Sequence[ToolUse]) -> None:
        self._seam, self._lane = seam, seam.lane
        self._calls = ToolCalls(seam, tools)
        declared = [use for use in uses if use.retry is not None or use.fallback]
        self._uses = {tool_of(seam.run, use).name: use for use in declared}
        self._others: dict[str, ToolCalls] = {}

    def act(self, call: ToolCall) -> str:
        """Run the tool that the model called, again or another where that is declared; return what the model reads.

        Raises: as `ToolCalls.make`.
        """
        use = self._uses.get(call.name)
        if use is None:
            text, record = self._calls.make(call)
            self._note(call.name, _wrong(record, None))
            return text
        text, wrong, tries = self._tries(call, use)
        if not wrong:
            self._note(call.name, "")
            return text
        return self._fall_back(call, use, text, wrong, tries)

    def _tries(self, call: ToolCall, use: ToolUse) -> tuple[str, str, int]:
        """Make the call until it succeeds or its attempts are used up; return the text, what is wrong, the attempts."""
        retry = use.retry
        text, record = self._calls.make(call)
        tries = 1
        while wrong := _wrong(record, retry):
            if retry is None or tries >= retry.attempts or not _again(record, retry):
                break
            self._back_off(call.name, tries, retry, wrong)
            again, record = self._calls.make(call, tries + 1)
            if _is_out_of_order(record):  # its calls are used up: the agent reads what was wrong with the last one
                return text, wrong, tries
            tries += 1
            text = again
        return text, wrong, tries

    def _fall_back(self, call: ToolCall, use: ToolUse, text: str, wrong: str, tries: int) -> str:
        told = f"{call.name} failed{f' {tries} times' if tries > 1 else ''}: {wrong}"
        for position, other in enumerate(use.fallback):
            self._record_choice(call.name, other.name, told, [one.name for one in use.fallback[position:]])
            tries += 1
            text, record = self._make_with(other, call, tries)
            wrong = _wrong(record, use.retry)
            if "refused" in record:  # nor is yet another one tried: that would go around who refused it
                self._note(call.name, f"{told}; {text}")
                return f"Error: {told}; {text}"
            if not wrong:
                self._note(call.name, "")
                return f"[{told}; {other.name} was called in its place]\n{text}"
            told = f"{told}; {other.name} failed: {wrong}"
        self._note(call.name, told)
        return f"Error: {told}" if use.fallback or tries > 1 else text

    def _make_with(self, other: ToolUse, call: ToolCall, attempt: int) -> tuple[str, dict[str, Any]]:
        """Make the call with a tool that the model does not see."""
        tool = tool_of(self._seam.run, other)
        key = other.model_dump_json()
        if key not in self._others:
            self._others[key] = ToolCalls(self._seam.with_tools({tool.name: tool}), {tool.name: tool})
        return self._others[key].make(ToolCall(call.id, tool.name, call.arguments), attempt)

    def _back_off(self, tool: str, tries: int, retry: ToolRetrySpec, why: str) -> None:
        seconds = min(retry.backoff_seconds * 2 ** min(tries - 1, 20), _LONGEST_BACKOFF)

        def wait() -> dict[str, Any]:
            began = time.monotonic()
            self._seam.pause(seconds)
            return {
                "kind": "backoff",
                "task": self._lane.task,
                "agent": self._lane.agent,
                "tool": tool,
                "seconds": round(time.monotonic() - began, 3),
                "reason": why,
            }

        self._seam.journal(f"{tool}#{self._lane.tool_calls}/backoff#{tries}", wait)

    def _record_choice(self, tool: str, other: str, why: str, among: Sequence[str]) -> None:
        record: dict[str, Any] = {
            "kind": "decision",
            "decision": "fallback",
            "about": self._lane.task,
            "chosen": f"tool {other}",
            "among": [*(f"tool {name}" for name in among), "tell the agent"],
            "why": why,
            "evidence": [f"{self._lane.name}/{tool}#{self._lane.tool_calls}"],
            "by": "rule",
            "seconds": 0.0,
        }
        self._seam.journal(f"{tool}#{self._lane.tool_calls}/fallback#{other}", lambda: record)

    def _note(self, tool: str, why: str) -> None:
        self._lane.failed_tools.pop(tool, None)
        if why:
            self._lane.failed_tools[tool] = why


def _wrong(record: Mapping[str, Any], retry: ToolRetrySpec | None) -> str:
    """Say what was wrong with a call; "" where nothing was, or where nothing may be done about it."""
    if "refused" in record or "unknown_outcome" in record:
        return ""
    if "error" in record:
        return str(record["error"]["message"])
    empty = retry is not None and "empty" in retry.on and found_nothing(str(record.get("result", "")))
    return "it found nothing" if empty else ""


def _is_out_of_order(record: Mapping[str, Any]) -> bool:
    """Say whether the order rules let no further attempt be made."""
    return "refused" in record and record.get("rule") == "order"


def _again(record: Mapping[str, Any], retry: ToolRetrySpec) -> bool:
    if "error" not in record:
        return "empty" in retry.on
    kind = str(record["error"]["kind"])
    return kind in retry.on or ("error" in retry.on and kind != "timeout")
