"""The agent loop: ask the model, run the tools it calls, in their order, until it answers.

Knows no provider and no journal. Why not CrewAI's own: docs/architecture.md, "The agent loop".
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agents.tool_choice import FIND_TOOLS, FIND_TOOLS_SCHEMA, find_tools, name_of, tell_found
from models.answer import Answer, ToolCall, estimate_tokens
from models.marks import cut_inside, set_apart
from tools.tool import page, shorten

Ask = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], Answer]
Act = Callable[[ToolCall], str]
Source = Callable[[], str]
"""Names where the latest tool result comes from, if others may have written it; else ""."""

READ_MORE = "read_more"
_MAX_COMPLAINTS = 3
_MOST_REPEATS = 4
_GO_ROUND = "say in the task what to do when a tool gives nothing new, or try another model"
_CHARACTERS_PER_TOKEN = 4
_LEAST_RESULT = 2000
_KEPT_RESULTS = 2
_STUB = 300

_READ_MORE_TOOL = {
    "type": "function",
    "function": {
        "name": READ_MORE,
        "description": "Read on in a tool result that was cut, from the character that its note names.",
        "parameters": {
            "type": "object",
            "properties": {
                "call": {"type": "integer", "description": "Number of the call, as the note on the cut result says."},
                "start": {"type": "integer", "description": "First character to show, counted from 0."},
            },
            "required": ["call", "start"],
        },
    },
}

_JSON_PROTOCOL = """
Tools are called in JSON. Reply with exactly one JSON object and nothing around it, either
{"tool": "<name>", "arguments": {...}}
to call one tool and read its result, or
{"answer": "<your complete final answer>"}
to finish. The tools, each with the JSON Schema of its arguments:
"""


class AgentFailed(Exception):
    """The agent can't finish its task; the message says why, `fix` what would help."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


@dataclass
class Conversation:
    """One agent at one task: its messages so far, and what it may do.

    `protocol` is "native" (function calling) or "json"; `window` is the model's, in tokens.
    """

    messages: list[dict[str, Any]]
    tools: Sequence[Mapping[str, Any]]
    ask: Ask
    act: Act
    protocol: str
    window: int
    max_output_tokens: int
    kept_back: Sequence[Mapping[str, Any]] = ()
    """Tools that are offered only after the agent has found them."""
    source: Source = lambda: ""
    notice: str = ""
    """Added to what the agent is told first."""
    stalled: str = ""
    """Why tools were withdrawn before the agent was done; "" when they were not."""
    _results: list[str] = field(default_factory=list[str])
    _sources: list[str] = field(default_factory=list[str])
    _cut: bool = False
    _found: set[str] = field(default_factory=set[str])
    _seen: Counter[tuple[str, str, str]] = field(default_factory=Counter[tuple[str, str, str]])

    def __post_init__(self) -> None:
        if self.notice:
            self._add_to_system(self.notice)
        if self.protocol == "json" and self.tools:
            listing = "\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in self._offered())
            self._add_to_system(_JSON_PROTOCOL + listing)

    def run(self, max_steps: int) -> str:
        """Go on until the model answers, and return its answer. After `max_steps` calls it must answer without tools.

        Raises: AgentFailed.
        """
        complaints = 0
        for step in range(1, max_steps + _MAX_COMPLAINTS + 1):
            last = step >= max_steps or bool(self.stalled)
            if step == max_steps and max_steps > 1 and self.tools and not self.stalled:
                self._say(
                    "You have used all your steps. No tool can be called any more: give your best final answer now."
                )
            answer = self._ask_once(offer_tools=not last)
            if answer.calls and not last:
                self._run_calls(answer)
                continue
            text, complaint = self._read(answer, last)
            if not complaint:
                self.messages.append({"role": "assistant", "content": text})
                return text
            complaints += 1
            if complaints > _MAX_COMPLAINTS or last:
                raise AgentFailed(*(_give_up(complaint) if not self.stalled else (self.stalled, _GO_ROUND)))
            self._complain(answer, complaint)
        raise AgentFailed(f"no answer within {max_steps} steps", "raise the agent's `max_iter`")

    def refuse(self, reasons: str) -> None:
        """Send the last answer back with the reasons why it was not accepted."""
        self._say(reasons)

    def _ask_once(self, *, offer_tools: bool) -> Answer:
        tools = self._offered() if offer_tools else []
        self._fit(tools)
        answer = self.ask(self.messages, tools if self.protocol == "native" else [])
        if self.protocol == "json" and self.tools and not answer.calls:
            return _from_json_protocol(answer, len(self._results), allow_tools=offer_tools)
        return answer

    def _offered(self) -> list[Mapping[str, Any]]:
        found = [schema for schema in self.kept_back if name_of(schema) in self._found]
        extra = [FIND_TOOLS_SCHEMA] if self.kept_back else []
        extra += [_READ_MORE_TOOL] if self._cut and self.tools else []
        return [*self.tools, *found, *extra]

    def _read(self, answer: Answer, last: bool) -> tuple[str, str]:
        """Return the answer's text and what is wrong with it, if anything."""
        if answer.calls and last:
            return "", "You called a tool, but none can be called any more. Give your final answer as text."
        if answer.cut_off:
            return "", "Your answer was cut off at the output limit. Give the whole answer again, shorter."
        if answer.text.startswith(_BROKEN):
            return "", answer.text.removeprefix(_BROKEN)
        if not answer.text.strip():
            return "", "Your answer was empty. Give your complete final answer as text."
        return answer.text.strip(), ""

    def _complain(self, answer: Answer, complaint: str) -> None:
        if answer.text.strip() and not answer.text.startswith(_BROKEN):
            self.messages.append({"role": "assistant", "content": answer.text})
        self._say(complaint)

    def _run_calls(self, answer: Answer) -> None:
        if self.protocol == "native":
            calls = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in answer.calls
            ]
            # "" and not null: some servers refuse a null content (docs/models.md).
            self.messages.append({"role": "assistant", "content": answer.text, "tool_calls": calls})
        else:
            call = answer.calls[0]
            said = f'{{"tool": {json.dumps(call.name)}, "arguments": {call.arguments}}}'
            self.messages.append({"role": "assistant", "content": said})
        for call in answer.calls:
            shown = self._result_of(call)
            if self.protocol == "native":
                self.messages.append({"role": "tool", "tool_call_id": call.id, "name": call.name, "content": shown})
            else:
                self._say(f"Result of {call.name}:\n{shown}")

    def _result_of(self, call: ToolCall) -> str:
        limit = self._result_limit()
        if call.name == READ_MORE and self._cut:
            return self._read_on(call.arguments, limit)
        if call.name == FIND_TOOLS and self.kept_back:
            return self._find(call.arguments)
        result = self.act(call)
        self._results.append(result)
        self._sources.append(self.source())
        warning = self._note_repeat(call, result)
        if len(result) <= limit:
            return self._apart(result, len(self._results)) + warning
        self._cut = True
        shown = shorten(result, limit, f"{READ_MORE}(call={len(self._results)}, start=N)")
        return self._apart(shown, len(self._results))

    def _apart(self, shown: str, number: int) -> str:
        """Set what is shown of the n-th result apart, where others may have written it."""
        source = self._sources[number - 1]
        return set_apart(shown, source) if source else shown

    def _note_repeat(self, call: ToolCall, result: str) -> str:
        """Count the same call with the same result; return what the model is told of it."""
        key = (call.name, _canonical(call.arguments), result)
        self._seen[key] += 1
        times = self._seen[key]
        if times >= _MOST_REPEATS:
            self.stalled = f"{call.name} was called {times} times with the same arguments and the same result"
            return "\n[This call changes nothing any more. No tool can be called now: give your best final answer.]"
        if times == _MOST_REPEATS - 1:
            return f"\n[You made this call {times} times with the same result. Do something else, or give your answer.]"
        return ""

    def _read_on(self, arguments: str, limit: int) -> str:
        try:
            wanted = json.loads(arguments)
            number, start = int(wanted["call"]), int(wanted["start"])
            result = self._results[number - 1] if number >= 1 else ""
        except (ValueError, TypeError, KeyError, IndexError):
            return f'{READ_MORE} takes {{"call": 1 to {len(self._results)}, "start": a number}}'
        return self._apart(page(result, start, limit, f"{READ_MORE}(call={number}, start=N)"), number)

    def _find(self, arguments: str) -> str:
        """Offer the tools that fit what the agent wants, and tell it which."""
        try:
            wanted = str(json.loads(arguments)["wanted"])
        except (ValueError, TypeError, KeyError):
            return f'{FIND_TOOLS} takes {{"wanted": "what the tool should do"}}'
        names = find_tools(self.kept_back, wanted)
        self._found.update(names)
        return tell_found([schema for schema in self.kept_back if name_of(schema) in names], self.protocol)

    def _result_limit(self) -> int:
        return max(_LEAST_RESULT, self.window * _CHARACTERS_PER_TOKEN // 4)

    def _fit(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Make room: the oldest tool results shrink to their beginnings. Depends on the messages alone."""
        room = self.window - self.max_output_tokens - estimate_tokens(json.dumps(list(tools)))
        size = sum(_tokens(message) for message in self.messages)
        results = [message for message in self.messages if message["role"] == "tool"]
        for message in results[:-_KEPT_RESULTS] if len(results) > _KEPT_RESULTS else []:
            if size <= room:
                return
            content = str(message["content"])
            if len(content) > _STUB * 2:
                left = f"[the rest, {len(content) - _STUB} characters, left out to make room]"
                message["content"] = f"{cut_inside(content, _STUB)}\n{left}"
                size -= estimate_tokens(content) - _tokens(message)

    def _say(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def _add_to_system(self, text: str) -> None:
        first = self.messages[0]
        self.messages[0] = {**first, "content": f"{first['content']}\n{text}"}


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


_BROKEN = "\x00broken:"


def _from_json_protocol(answer: Answer, number: int, *, allow_tools: bool) -> Answer:
    """Read the strict JSON reply. Nothing is guessed: a reply in any other form goes back with the reason."""

    def broken(why: str) -> Answer:
        wanted = '{"answer": "..."}' + (' or {"tool": "<name>", "arguments": {...}}' if allow_tools else "")
        return Answer(f"{_BROKEN}{why} Reply with exactly one JSON object: {wanted}.", (), answer.usage)

    if answer.cut_off:
        return answer
    text = answer.text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        text = text[text.index("\n") + 1 : -3].strip()
    try:
        reply: Any = json.loads(text)
    except ValueError:
        return broken("Your reply was not one JSON object.")
    if not isinstance(reply, dict):
        return broken("Your reply was JSON, but not an object.")
    found = cast(dict[str, Any], reply)
    if set(found) == {"answer"}:
        value = found["answer"]
        said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return Answer(said, (), answer.usage)
    if set(found) <= {"tool", "arguments"} and isinstance(found.get("tool"), str):
        if not allow_tools:
            return broken("No tool can be called any more.")
        arguments = json.dumps(found.get("arguments", {}), ensure_ascii=False)
        return Answer("", (ToolCall(f"call_{number + 1}", found["tool"], arguments),), answer.usage)
    return broken("Your reply has other keys than the protocol's.")


def _give_up(complaint: str) -> tuple[str, str]:
    if "cut off" in complaint:
        return (
            "the model's answer was cut off at its output limit, also when asked again",
            "raise `max_tokens` of the model",
        )
    if "empty" in complaint:
        return "the model answered with nothing, also when asked again", "try another model (`--model`)"
    if "JSON" in complaint:
        return "the model does not keep to the JSON protocol", "use a model with function calling, or another one"
    return "the model went on calling tools instead of answering", "raise the agent's `max_iter`"


def _tokens(message: Mapping[str, Any]) -> int:
    calls = json.dumps(message["tool_calls"]) if "tool_calls" in message else ""
    return estimate_tokens(str(message.get("content") or "") + calls) + 4
