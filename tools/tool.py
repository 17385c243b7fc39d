"""A tool: what agents may call. Made from a function under `@tool`."""

import asyncio
import contextvars
import dataclasses
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from muster import ToolContext
from project.errors import AppError
from project.hints import suggest
from tools.arguments import (
    FIXED,
    HANDED,
    Parameter,
    arguments_model,
    json_schema,
    place_of,
    problems_with,
    read_parameters,
    split_docstring,
    validate,
    values_of,
)

__all__ = [
    "FIXED",
    "NO_RESULT",
    "Home",
    "Tool",
    "found_nothing",
    "make_tool",
    "openai_schema",
    "page",
    "shorten",
    "unset_parameters",
]

NO_RESULT = "(no result)"
"""What an agent reads where a tool returns None."""

_NOTHING = re.compile(
    r"\s*(?:\(no result\)|null|None|\[\s*\]|\{\s*\}|(?:no|nothing|0)\b[^\n]{0,300})?\s*", re.IGNORECASE
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_NO_SETTINGS: Mapping[str, Any] = MappingProxyType({})
_CLOSED_KEYS = {
    "type",
    "description",
    "enum",
    "const",
    "items",
    "anyOf",
    "properties",
    "required",
    "additionalProperties",
}


@dataclass(frozen=True)
class Home:
    """Where a function of the user's comes from, so that another process can load the same."""

    file: str
    """Its file, an absolute path."""
    name: str
    sources: Mapping[str, bytes] = field(repr=False)
    """The content of its file and of those beside it, by path, as they were loaded."""
    digest: str
    """Of all that is above."""


Probe = Callable[[dict[str, Any], ToolContext], "str | None"]
Undo = Callable[[dict[str, Any], str, ToolContext], str]


def _as_given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return dict(arguments)


@dataclass(frozen=True)
class Tool:
    """What an agent may call, as it is declared and as the agent reads it."""

    name: str
    """A name that every provider takes: at most 64 letters, digits and underscores."""
    description: str
    """The docstring without what it says of the parameters."""
    parameters: Mapping[str, Any]
    """JSON Schema of what the agent may set; it has no titles and no references."""
    effect: str
    """read, write, send, spend or execute."""
    repeat: str
    """safe, keyed or once: what doing it twice means."""
    returns: str
    """trusted or untrusted: what its result is."""
    private: bool
    timeout_seconds: float
    """Seconds for one call; whoever calls must keep them."""
    checker: Callable[[object], list[str]] = field(repr=False)
    runner: Callable[[dict[str, Any], ToolContext], str] = field(repr=False)
    cache: bool = False
    """True: the same call is made once in a run."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The arguments that YAML fixes."""
    taken: Callable[[Mapping[str, Any]], dict[str, Any]] = field(default=_as_given, repr=False)
    """Returns a call's arguments as the function takes them, as JSON: with what it adds where none is given."""
    builtin: bool = False
    """Whether it is one of Muster's own."""
    knows_run: bool = True
    """Whether it can know the run's folder; else relative paths among its arguments are meant from Muster's own."""
    afar: bool | None = None
    """Whether it asks something outside of this machine although it only reads; None: nobody has said."""
    home: Home | None = None
    """Where a process of its own finds it; None: it runs in Muster's."""
    if_unknown: str = "ask"
    """Who is asked when a crash leaves open whether a `once` call happened: ask (a person) or tell (the agent)."""
    probe: Probe | None = None
    """Says what a call returned, None where it did not happen: arguments, context."""
    undo: Undo | None = None
    """Takes a call back, and says so: arguments, the call's result, context."""

    def whole(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return all the arguments of a call: those given, what YAML fixes, and what the tool takes by itself."""
        return {**self.taken(arguments), **arguments, **self.settings}

    def check(self, arguments: object) -> list[str]:
        """Say what is wrong with an agent's arguments, so that it can mend them; [] when nothing is."""
        return self.checker(arguments)

    def call(self, arguments: dict[str, Any], context: ToolContext) -> str:
        """Run the tool and return its result as text: text as it is, None as NO_RESULT, all else as JSON.

        Raises: whatever the function raises; ValueError for arguments that `check` would refuse; TypeError for a result
        that has no text form.
        """
        return self.runner(arguments, context)


def found_nothing(result: str) -> bool:
    """Say whether a tool's result says that there is nothing: empty, or one line such as `No passage … was found`."""
    return _NOTHING.fullmatch(result) is not None


def make_tool(function: Callable[..., Any], settings: Mapping[str, Any] = _NO_SETTINGS) -> Tool:
    """Make a function under `@tool` into a Tool; `settings` are arguments that YAML fixes: the agent does not see them.

    Raises: AppError (exit 3) when the function cannot be a tool or a setting does not fit.
    """
    where = place_of(function)
    mark = cast("dict[str, Any] | None", getattr(function, "__muster_tool__", None))
    name = function.__name__
    if mark is None:
        raise AppError("not a tool", where=where, fix='put `@tool(effect="read")` above it', exit_code=3)
    if not _NAME.fullmatch(name):
        fix = "use at most 64 letters a-z, digits and underscores"
        raise AppError(f"no provider takes {name!r} as a tool's name", where=where, fix=fix, exit_code=3)
    description, described = split_docstring(function.__doc__ or "")
    if not description:
        fix = "say in one line what the tool does and returns"
        raise AppError("has no docstring; it is what the model reads", where=where, fix=fix, exit_code=3)
    parameters, handed = read_parameters(function, described)
    if mark["repeat"] == "keyed" and not handed:
        fix = "add a parameter `idempotency_key: str` or `context: ToolContext`"
        raise AppError('`repeat="keyed"` needs a parameter that takes the key', where=where, fix=fix, exit_code=3)
    fixed = _checked_settings(function, parameters, settings)
    free = [parameter for parameter in parameters if parameter.name not in fixed and not parameter.is_fixed]
    model = arguments_model(name, free, where)
    probe, undo = mark.get("probe"), mark.get("undo")
    call = _Call(function, model, fixed, parameters)
    return Tool(
        name=name,
        description=description,
        parameters=json_schema(model),
        effect=mark["effect"],
        repeat=mark["repeat"],
        returns=mark["returns"],
        private=mark["private"],
        timeout_seconds=mark["timeout_seconds"],
        checker=partial(problems_with, model=model, settings=fixed),
        runner=partial(_run, call, frozenset(handed)),
        cache=mark.get("cache", False),
        settings=dict(settings),
        taken=partial(_taken, call),
        knows_run="context" in handed,
        if_unknown=mark.get("if_unknown", "ask"),
        probe=partial(_probe, call, _beside(call, probe, "probe")) if probe is not None else None,
        undo=partial(_undo, call, _beside(call, undo, "undo")) if undo is not None else None,
    )


def unset_parameters(function: Callable[..., Any]) -> list[str]:
    """Return the parameters that only YAML may set and that have no default. Raises: AppError (exit 3)."""
    parameters, _ = read_parameters(function, {})
    return [parameter.name for parameter in parameters if parameter.is_fixed and parameter.default is ...]


def openai_schema(tool: Tool) -> dict[str, Any]:
    """Return the tool as it is offered to a model; `strict` stands there only where every server may rely on it."""
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }
    if _is_closed(tool.parameters):
        function["strict"] = True
    return {"type": "function", "function": function}


def shorten(text: str, limit: int, hint: str = "read_more(start=N)") -> str:
    """Return `text`, or its first page when it has more than `limit` characters.

    `hint` is the call that reads on; `start=N` in it becomes the character to go on from.
    """
    return text if len(text) <= limit else page(text, 0, limit, hint)


def page(text: str, start: int, limit: int, hint: str = "read_more with the same call and start=N") -> str:
    """Return at most `limit` characters of `text` from character `start` (from 0), to the end of a line where possible.

    A note after it says what is shown and how to go on. The pages that the notes lead to make up the whole text.
    """
    start = min(max(start, 0), len(text))
    end = _end_of_page(text, start, max(limit, 1))
    shown = f"characters {start}–{end} of {len(text)}"
    if end < len(text):
        note = f"[cut: {shown} shown; call {hint.replace('start=N', f'start={end}')} to go on]"
    else:
        note = f"[{shown} shown; this is the end]"
    body = text[start:end]
    return f"{body}{'' if not body or body.endswith(chr(10)) else chr(10)}{note}"


def _end_of_page(text: str, start: int, limit: int) -> int:
    end = start + limit
    if end >= len(text):
        return len(text)
    # A boundary in the first half would make pages needlessly small: rather a space, rather the middle of a word.
    for boundary in ("\n", " "):
        at = text.rfind(boundary, start + limit // 2, end)
        if at >= 0:
            return at + 1
    return end


def _checked_settings(
    function: Callable[..., Any], parameters: Sequence[Parameter], settings: Mapping[str, Any]
) -> dict[str, Any]:
    where, name = place_of(function), function.__name__
    known = {parameter.name: parameter for parameter in parameters}
    for key in settings:
        if key in HANDED:
            raise AppError(f"tool `{name}`: `{key}` is filled by Muster", fix="take it out", exit_code=3)
        if key not in known:
            fix = suggest(key, list(known), f"`{name}` takes", f"`{name}` takes no arguments")
            raise AppError(f"tool `{name}` has no argument `{key}`", fix=fix, exit_code=3)
    model = arguments_model(name, [known[key] for key in settings], where)
    try:
        return values_of(model.model_validate(dict(settings)))
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = ".".join(map(str, detail["loc"]))
        what = f"tool `{name}`: `{place}`: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
        raise AppError(what, fix=f"correct the setting of `{name}` in YAML", exit_code=3) from error


@dataclass(frozen=True)
class _Call:
    """What a call's values are read with."""

    function: Callable[..., Any]
    model: type[BaseModel]
    fixed: Mapping[str, Any]
    parameters: Sequence[Parameter]

    def values(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the values that are given. Raises: ValueError for arguments that `check` would refuse."""
        if problems := problems_with(arguments, self.model, self.fixed):
            raise ValueError("; ".join(problems))
        return values_of(validate(self.model, arguments)) | dict(self.fixed)

    def all_values(self, arguments: dict[str, Any], context: ToolContext, **more: Any) -> dict[str, Any]:
        """Return the values that are given and those that the function takes by default, and `more`."""
        usual = {parameter.name: parameter.default for parameter in self.parameters if parameter.default is not ...}
        return usual | self.values(arguments) | _handed(context) | more


def _handed(context: ToolContext) -> dict[str, Any]:
    return {"context": context, "idempotency_key": context.idempotency_key}


def _run(call: _Call, handed: frozenset[str], arguments: dict[str, Any], context: ToolContext) -> str:
    values = call.values(arguments)
    values |= {name: value for name, value in _handed(context).items() if name in handed}
    return _as_text(_settled(call.function(**values)), call.function.__name__)


def _taken(call: _Call, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as the function takes them, as JSON; {} where they are wrong. Raises: nothing."""
    usual = {parameter.name: parameter.default for parameter in call.parameters if parameter.default is not ...}
    try:
        values = usual | values_of(validate(call.model, arguments)) | dict(call.fixed)
        written = to_jsonable_python(values, by_alias=True, fallback=str, inf_nan_mode="constants")
    except (TypeError, ValueError, RecursionError):
        return {}
    return {name: value for name, value in written.items() if value is not None}


def _beside(call: _Call, function: Callable[..., Any], keyword: str) -> Callable[[Mapping[str, Any]], object]:
    """Return what calls a probe or an undo with those values that it names. Raises: AppError for one there is not."""
    known = {parameter.name for parameter in call.parameters} | set(HANDED)
    if keyword == "undo":
        known.add("result")
    wanted = inspect.signature(function).parameters
    for name, parameter in wanted.items():
        named = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if not named or (name not in known and parameter.default is parameter.empty):
            what = (
                f"`{keyword}={function.__name__}` has a parameter `{parameter}` that `{call.function.__name__}` lacks"
            )
            fix = f"let it take some of: {', '.join(sorted(known))}"
            raise AppError(what, where=place_of(function), fix=fix, exit_code=3)
    return lambda values: _settled(function(**{name: values[name] for name in wanted if name in values}))


def _probe(
    call: _Call, probe: Callable[[Mapping[str, Any]], object], arguments: dict[str, Any], context: ToolContext
) -> str | None:
    found = probe(call.all_values(arguments, context))
    return None if found is None else _as_text(found, f"the probe of {call.function.__name__}")


def _undo(
    call: _Call,
    undo: Callable[[Mapping[str, Any]], object],
    arguments: dict[str, Any],
    result: str,
    context: ToolContext,
) -> str:
    found = undo(call.all_values(arguments, context, result=result))
    return "undone" if found is None else _as_text(found, f"the undo of {call.function.__name__}")


def _settled(result: object) -> object:
    return _awaited(result) if inspect.isawaitable(result) else result


def _awaited(result: Awaitable[object]) -> object:
    async def wait() -> object:
        return await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(wait())
    # A loop runs in this thread already, so the tool gets one of its own in another.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, wait()).result()


def _as_text(result: object, name: str) -> str:
    if result is None:
        return NO_RESULT
    if isinstance(result, str):
        text = str(result.value) if isinstance(result, Enum) else result
    else:
        try:
            text = json.dumps(result, ensure_ascii=False, default=_plain)
        except (TypeError, ValueError, RecursionError, PydanticSerializationError) as error:
            what = f"{name} returned something of type {type(result).__name__} that has no text form"
            raise TypeError(f"{what}; return text or plain data") from error
    # Half characters could be written to no file and no database.
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: object) -> object:
    """Return what json.dumps can go on with."""
    if isinstance(value, set | frozenset):
        items = cast("set[object] | frozenset[object]", value)
        return [json.loads(text) for text in sorted(json.dumps(item, default=_plain) for item in items)]
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return to_jsonable_python(value)


def _is_closed(schema: Any) -> bool:
    """Say whether every property is required and no other allowed, at every depth, in words that all servers know."""
    if isinstance(schema, list):
        return all(_is_closed(item) for item in cast(list[Any], schema))
    if not isinstance(schema, Mapping):
        return True
    found = cast(Mapping[str, Any], schema)
    if not set(found) <= _CLOSED_KEYS or not {"type", "anyOf", "enum", "const"} & set(found):
        return False
    properties = cast(Mapping[str, Any], found.get("properties", {}))
    if found.get("type") == "object" and (
        found.get("additionalProperties") is not False or set(found.get("required", ())) != set(properties)
    ):
        return False
    return all(_is_closed(item) for item in [*properties.values(), found.get("items"), found.get("anyOf")])
