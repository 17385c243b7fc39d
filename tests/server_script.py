"""What the scripted server says: a pure function of the messages and the tools, never of a counter.

Without directives: when tools are offered and the task's text says "tool" or names one of them, each offered tool is
called once, in order, with arguments made from its JSON schema (a tool is done when a call of that name is in the
conversation). Then comes the answer: an example object when a JSON schema is asked for (in `response_format`, or as
JSON in a user message), else a text that names role and topic and echoes the digest of all messages.

A *refusal* is a user message right after a text answer. A *complaint* is any user message after the first one that is
not a tool's result. CrewAI's "Previous attempt failed validation" in the first user message counts as both.

Directives are lines of the first user message (above "This is the context you're working with"), else of the system
message. An unknown one is an error (HTTP 400), and with any of them only directed calls are made. Plan, in order:

    @call TOOL {"a": 1}             call it; without arguments, they are made from its schema
    @malformed TOOL {"a": 1}        the arguments are broken JSON, once; after the error came back, the right call
    @list-arguments TOOL {"a": 1}   the arguments are a list, once; after the error came back, the right call
    @unknown-tool NAME              call a tool that nobody offered (default `no_such_tool`), once
    @keep-calling TOOL {"a": 1}     call it again and again, as long as tools are offered
    @parallel                       the call lines right below it, up to any other line, go into one reply

Tools that are not offered any more (or `tool_choice: none`) end the plan. Then the answer:

    @answer: TEXT                   or `@answer:` alone, then lines up to a line `@end`
    @after-refusal: TEXT            the answer after a refusal; the n-th line after the n-th, the last one from then on
    @echo                           the texts of all tool results, one a line
    @long N                         N words
    @empty                          no text at all, unless a complaint is in the conversation
    @cut-off                        half of the answer with `finish_reason: length`, unless a complaint is there

For models without function calling, when no tools are offered but in the prompt:

    @text-tool-json                 every reply is exactly one JSON object, {"tool": NAME, "arguments": {...}} or
                                    {"answer": "..."}; what the user says right after the former is the tool's result
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, pairwise
from typing import Any, cast

from models.marks import strip_marks

Json = dict[str, Any]

_CONTEXT = re.compile(r"This is the context you(?:'re| are) working with", re.IGNORECASE)
_RETRIED = "Previous attempt failed validation"
_DIRECTIVE = re.compile(r"\s*(?:Current Task:\s*)?@([a-z]+(?:-[a-z]+)*):?(?:\s+(.*?))?\s*$")
_CALLS = ("call", "malformed", "list-arguments", "unknown-tool", "keep-calling")
_SWITCHES = ("echo", "empty", "cut-off", "text-tool-json")
_ROLE = re.compile(r"You are (?:the |an? )?([^.\n]{1,80})")
_TOPICS = (re.compile(r"\b(topic-[\w.-]*\w)"), re.compile(r"\babout ([^.,;:!?\n]{1,60})"))
_PROSE = (
    "the findings agree with the notes and the main risk is known so the next step is small cheap and reversible keep "
    "the summary short and name an owner for every action"
)
_FORMATS = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "email": "person@example.invalid",
    "uri": "http://127.0.0.1/",
}


class ScriptError(Exception):
    """The text directs something that does not exist or cannot be read."""


@dataclass(frozen=True)
class ToolCall:
    """One call in a reply or in the conversation."""

    name: str
    arguments: str = "{}"
    """JSON as it is sent, which some scripts break on purpose."""


@dataclass(frozen=True)
class Reply:
    """What the model says."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish: str = ""
    """The finish reason. Unset: `tool_calls` when there are calls, else `stop`."""
    cached_tokens: int = 0
    """Tokens of the prompt that are reported as read from the provider's cache."""


@dataclass(frozen=True)
class Turn:
    """One message without its ids."""

    role: str
    text: str
    calls: tuple[ToolCall, ...] = ()


Script = Callable[[list[Json], list[Json]], Reply]
"""The messages and the offered tools as they were sent, to the reply."""


def read_turns(messages: Sequence[Json]) -> tuple[Turn, ...]:
    """Return the messages of a request without what changes from attempt to attempt, and without marks."""
    return tuple(
        Turn(str(message.get("role", "")), strip_marks(_text_of(message.get("content"))), _calls_of(message))
        for message in messages
    )


def digest(turns: Sequence[Turn]) -> str:
    """Return the name of a conversation, 16 hexadecimal digits."""
    plain = [(turn.role, turn.text, [(call.name, call.arguments) for call in turn.calls]) for turn in turns]
    return hashlib.blake2b(repr(plain).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def scripted_reply(body: Json, answer_words: int = 40) -> Reply:
    """Return the reply to the body of a request. `answer_words`: about how many words a plain answer has.

    Raises: ScriptError, when a directive cannot be read.
    """
    turns = read_turns(body["messages"])
    task = _task_of(turns)
    orders = _read_orders(task) or _read_orders(_first(turns, "system")) or _Orders()
    tools = offered_tools(body)
    talk = _Talk(turns, task, tools, _complained(turns), _refusals(turns, orders.json_tools))
    if calls := _next_calls(orders, talk, body.get("tool_choice")):
        if orders.json_tools:
            return Reply(_protocol_text(calls[0]))
        return Reply(calls=calls)
    return _answer(orders, talk, body, answer_words)


def offered_tools(body: Json) -> list[Json]:
    """Return the `function` objects of the tools that may be called."""
    if body.get("tool_choice") == "none":
        return []
    return [_object(tool.get("function")) for tool in body.get("tools") or ()]


def words(number: int) -> str:
    """Return a text of so many words, always the same."""
    return " ".join(islice(cycle(_PROSE.split()), number))


def example(schema: Json, subject: str = "the subject") -> Any:
    """Return a value that fits a JSON schema: required properties only, or all when it does not say which."""
    return _example(schema, "", subject, _object(schema.get("$defs") or schema.get("definitions")), 0)


@dataclass(frozen=True)
class _Planned:
    kind: str
    name: str
    arguments: str
    """JSON; empty: to be made from the tool's schema."""


@dataclass(frozen=True)
class _Orders:
    plan: tuple[tuple[_Planned, ...], ...] | None = None
    """Groups of calls, each group one reply. None: no directive was given at all."""
    answer: str | None = None
    after_refusal: tuple[str, ...] = ()
    length: int | None = None
    switches: frozenset[str] = frozenset()

    @property
    def json_tools(self) -> bool:
        return "text-tool-json" in self.switches


@dataclass(frozen=True)
class _Talk:
    turns: tuple[Turn, ...]
    task: str
    tools: list[Json]
    complained: bool
    refusals: int

    @property
    def subject(self) -> str:
        whole = "\n".join(turn.text for turn in self.turns)
        found = (topic.search(text) for text in (self.task, whole) for topic in _TOPICS)
        return next((match.group(1).strip() for match in found if match), "the subject")


def _read_orders(text: str) -> _Orders | None:
    if "@" not in text:
        return None
    plan: list[list[_Planned]] = []
    group: list[_Planned] | None = None
    answer, length, refused, switches = None, None, list[str](), set[str]()
    lines = iter(text.splitlines())
    found = False
    for line in lines:
        match = _DIRECTIVE.match(line)
        name, rest = (match.group(1), match.group(2) or "") if match else ("", "")
        found = found or bool(match)
        if name in _CALLS:
            planned = _read_call(name, rest)
            if group is None:
                plan.append([planned])
            else:
                group.append(planned)
            continue
        group = None
        if name == "parallel":
            group = []
            plan.append(group)
        elif name == "answer":
            answer = rest or _block(lines)
        elif name == "after-refusal":
            refused.append(rest or _block(lines))
        elif name == "long":
            length = _number(rest)
        elif name in _SWITCHES:
            switches.add(name)
        elif name:
            raise ScriptError(f"no such directive: @{name}")
    if not found:
        return None
    return _Orders(tuple(tuple(calls) for calls in plan), answer, tuple(refused), length, frozenset(switches))


def _read_call(kind: str, rest: str) -> _Planned:
    name, _, arguments = rest.partition(" ")
    arguments = arguments.strip()
    if arguments:
        try:
            value = json.loads(arguments)
        except ValueError as error:
            raise ScriptError(f"@{kind} {name}: arguments are not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ScriptError(f"@{kind} {name}: arguments must be a JSON object")
    if kind in ("call", "keep-calling") and not name:
        raise ScriptError(f"@{kind}: which tool?")
    return _Planned(kind, name or ("no_such_tool" if kind == "unknown-tool" else ""), arguments)


def _block(lines: Iterator[str]) -> str:
    block: list[str] = []
    for line in lines:
        if line.strip() == "@end":
            return "\n".join(block)
        block.append(line)
    raise ScriptError("a block has no @end")


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ScriptError(f"@long: not a number: {text!r}")
    return int(text)


def _next_calls(orders: _Orders, talk: _Talk, choice: Any) -> tuple[ToolCall, ...]:
    if not talk.tools and not orders.json_tools:
        return ()
    if isinstance(choice, dict):
        name = str(_object(cast(Json, choice).get("function")).get("name"))
        return (ToolCall(name, _arguments(name, talk)),)
    made = [
        call for turn in talk.turns if turn.role == "assistant" for call in turn.calls or _protocol_calls(turn.text)
    ]
    plan = orders.plan if orders.plan is not None else _default_plan(talk)
    for group in plan:
        missing = tuple(call for planned in group if (call := _pending(planned, made, talk)))
        if missing:
            return missing
    if choice == "required" and not made:
        name = str(talk.tools[0].get("name"))
        return (ToolCall(name, _arguments(name, talk)),)
    return ()


def _default_plan(talk: _Talk) -> tuple[tuple[_Planned, ...], ...]:
    names = [str(tool.get("name")) for tool in talk.tools]
    asked = re.search(r"\btools?\b", talk.task, re.IGNORECASE) or any(
        re.search(rf"\b{re.escape(name)}\b", talk.task) for name in names
    )
    return tuple((_Planned("call", name, ""),) for name in names) if asked else ()


def _pending(planned: _Planned, made: list[ToolCall], talk: _Talk) -> ToolCall | None:
    """Take the planned call out of those that were made; when it is not among them, return what to send."""
    name = planned.name or (str(talk.tools[0].get("name")) if talk.tools else "tool")
    right = planned.arguments or _arguments(name, talk)
    if planned.kind == "keep-calling":
        return ToolCall(name, right)
    mine = [call for call in made if call.name == name]
    if planned.kind in ("malformed", "list-arguments"):
        if not mine and not talk.complained:
            return ToolCall(name, _spoil(planned.kind, right))
        # The loop may keep the broken call, mend it to `{}`, or drop it and only complain: only a call like the right
        # one is taken for the right one.
        if mine and (right == "{}" or not _same_json(mine[0].arguments, right)):
            made.remove(mine.pop(0))
    if mine:
        made.remove(mine[0])
        return None
    if planned.kind == "unknown-tool" and talk.complained:
        return None
    return ToolCall(name, right)


def _spoil(kind: str, arguments: str) -> str:
    if kind == "malformed":
        return arguments.rstrip()[:-1]
    return json.dumps(list(json.loads(arguments).values()), ensure_ascii=False)


def _same_json(left: str, right: str) -> bool:
    try:
        return json.loads(left) == json.loads(right)
    except ValueError:
        return False


def _arguments(name: str, talk: _Talk) -> str:
    offered = {str(tool.get("name")): _object(tool.get("parameters")) for tool in talk.tools}
    schema = offered.get(name) or Json()
    value: Json = example(schema, talk.subject) if schema.get("properties") else {}
    return json.dumps(value, ensure_ascii=False)


def _answer(orders: _Orders, talk: _Talk, body: Json, answer_words: int) -> Reply:
    if "empty" in orders.switches and not talk.complained:
        return Reply("")
    if talk.refusals and orders.after_refusal:
        text = orders.after_refusal[min(talk.refusals, len(orders.after_refusal)) - 1]
    elif orders.answer is not None:
        text = orders.answer
    elif "echo" in orders.switches:
        text = "\n".join(_results(talk.turns))
    elif orders.length is not None:
        text = words(orders.length)
    else:
        text = _own_answer(talk, body, answer_words)
    if orders.json_tools:
        text = json.dumps({"answer": text}, ensure_ascii=False)
    if "cut-off" in orders.switches and not talk.complained:
        return Reply(text[: len(text) // 2], finish="length")
    return Reply(text)


def _own_answer(talk: _Talk, body: Json, answer_words: int) -> str:
    wanted = _object(body.get("response_format"))
    schema = _object(_object(wanted.get("json_schema")).get("schema")) or _schema_in_prompt(talk)
    if schema:
        return json.dumps(example(schema, talk.subject), ensure_ascii=False)
    match = _ROLE.search(_first(talk.turns, "system") or talk.task)
    role = match.group(1).strip() if match else "model"
    text = f"{role[:1].upper()}{role[1:]} result for {talk.subject}. Inputs {digest(talk.turns)}."
    if answer_words > len(text.split()):
        text += f" In short, {words(answer_words - len(text.split()) - 2)}."
    return json.dumps({"result": text}, ensure_ascii=False) if wanted.get("type") == "json_object" else text


def _results(turns: Sequence[Turn]) -> Iterator[str]:
    for at, turn in enumerate(turns):
        if turn.role == "tool" or _answers_protocol_call(turns, at):
            yield turn.text


def _schema_in_prompt(talk: _Talk) -> Json:
    """Return the last JSON schema of an object in what the user says, without the outputs of other tasks."""
    later = [turn.text for turn in talk.turns if turn.role == "user"][1:]
    return next((schema for text in reversed([talk.task, *later]) if (schema := _last_schema(text))), Json())


def _last_schema(text: str) -> Json:
    found: Json = {}
    decoder = json.JSONDecoder()
    at = text.find("{") if '"properties"' in text else -1
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            end = at + 1
        else:
            schema = _object(value)
            schema = _object(_object(schema.get("json_schema")).get("schema")) or schema
            found = schema if isinstance(schema.get("properties"), dict) else found
        at = text.find("{", end)
    return found


def _example(schema: Json, name: str, subject: str, defs: Json, depth: int) -> Any:
    if "$ref" in schema:
        schema = _object(defs.get(str(schema["$ref"]).rsplit("/", 1)[-1]))
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for union in ("anyOf", "oneOf", "allOf"):
        if options := [_object(option) for option in schema.get(union) or () if option.get("type") != "null"]:
            return _example(options[0], name, subject, defs, depth)
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in cast(list[str], kind) if one != "null"), "null")
    if kind == "object":
        return _example_object(schema, subject, defs, depth)
    if kind == "array":
        number = min(max(1, schema.get("minItems", 1)), schema.get("maxItems", 100))
        return [_example(_object(schema.get("items")), name, subject, defs, depth + 1)] * number
    if kind in ("integer", "number"):
        return _example_number(schema)
    return {"boolean": True, "null": None}.get(str(kind), _example_text(schema, name, subject))


def _example_object(schema: Json, subject: str, defs: Json, depth: int) -> Json:
    properties = _object(schema.get("properties"))
    required: list[str] = schema.get("required", list(properties)) if depth < 8 else []
    return {key: _example(_object(properties.get(key)), key, subject, defs, depth + 1) for key in required}


def _example_number(schema: Json) -> int | float:
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    number = min(max(1, least), schema.get("maximum", schema.get("exclusiveMaximum", 1e9) - 1))
    return int(number) if schema.get("type") == "integer" else number


def _example_text(schema: Json, name: str, subject: str) -> str:
    text = _FORMATS.get(str(schema.get("format"))) or f"{name or 'value'} of {subject}"
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]


def _task_of(turns: Sequence[Turn]) -> str:
    return _CONTEXT.split(_first(turns, "user"), maxsplit=1)[0]


def _first(turns: Sequence[Turn], role: str) -> str:
    return next((turn.text for turn in turns if turn.role == role), "")


def _complained(turns: Sequence[Turn]) -> bool:
    users = [at for at, turn in enumerate(turns) if turn.role == "user"]
    return _RETRIED in _first(turns, "user") or any(not _answers_protocol_call(turns, at) for at in users[1:])


def _refusals(turns: Sequence[Turn], json_tools: bool) -> int:
    number = int(_RETRIED in _first(turns, "user"))
    for before, turn in pairwise(turns):
        if turn.role == "user" and before.role == "assistant" and before.text.strip() and not before.calls:
            answered = "answer" in _only_object(before.text) if json_tools else not _protocol_calls(before.text)
            number += answered
    return number


def _answers_protocol_call(turns: Sequence[Turn], at: int) -> bool:
    before = turns[at - 1] if at else None
    return bool(turns[at].role == "user" and before and before.role == "assistant" and _protocol_calls(before.text))


def _protocol_text(call: ToolCall) -> str:
    # Put together by hand, since the arguments may be broken on purpose.
    return f'{{"tool": {json.dumps(call.name)}, "arguments": {call.arguments}}}'


def _protocol_calls(text: str) -> tuple[ToolCall, ...]:
    value = _only_object(text)
    if not isinstance(value.get("tool"), str):
        return ()
    return (ToolCall(value["tool"], json.dumps(value.get("arguments"), ensure_ascii=False)),)


def _only_object(text: str) -> Json:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        return _object(json.loads(text))
    except ValueError:
        return {}


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(_part_text(_object(part)) for part in cast(list[Any], content))
    return "" if content is None else str(content)


def _part_text(part: Json) -> str:
    return str(part["text"]) if "text" in part else json.dumps(part, sort_keys=True)


def _calls_of(message: Json) -> tuple[ToolCall, ...]:
    functions = [_object(call.get("function")) for call in message.get("tool_calls") or ()]
    return tuple(ToolCall(str(one.get("name")), str(one.get("arguments"))) for one in functions)


def _object(value: Any) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}
