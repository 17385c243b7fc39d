"""Which tool the offline model calls next: a search for each aspect, a document to read, a file to save."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.offline.schema import listing, mapping
from models.offline.transcript import ToolResult

MAX_CALLS = 10
_MAX_PASSAGES = 30

_SEARCH_NAME = re.compile(r"search|find|query|retriev|look_?up|recall|knowledge|\brag\b|wiki|ask_docs", re.I)
_NO_SEARCH_NAME = re.compile(
    r"sql|execut|run|shell|command|eval|code|database|write|save|send|post|publish|delete|remove|create|update"
    r"|insert|buy|pay|order|book|upload|set_|replace|delegate|coworker",
    re.I,
)
_QUERY_KEYS = ("query", "search_query", "question", "search", "q", "topic", "keywords", "search_term", "term", "text")
_SAVE_NAME = re.compile(r"write|save|store|export|publish", re.I)
_PATH_KEYS = ("path", "file_path", "filename", "file_name", "file", "destination", "target")
_BODY_KEYS = ("text", "content", "contents", "body", "markdown", "data")
_READ_NAME = re.compile(r"read|open|load|fetch|scrape|get_(?:page|document|file)", re.I)
_ADDRESS_KEYS = ("path", "url", "website_url", "file_path", "file", "filename", "document")
_PATH = r"https?://[^\s\"'`<>()\[\]]+|(?:[\w.-]+/)*[\w.-]+\.(?:md|markdown|txt|rst|html?|pdf|docx|json|csv|ya?ml)\b"
_SAVE_AS = re.compile(
    rf"\b(?:save|write|store|publish|export|speichere|schreibe|enregistre|guarda)\b[^.\n]{{0,120}}?[`\"“']?({_PATH})",
    re.I,
)


@dataclass(frozen=True)
class Tool:
    """A tool as offered: its name and its parameters, name → JSON Schema."""

    name: str
    parameters: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...]


def read_tools(definitions: Sequence[Mapping[str, Any]]) -> list[Tool]:
    """Read OpenAI tool definitions; what is malformed is left out."""
    return [tool for definition in definitions for tool in _read_tool(definition)]


def next_search(
    tools: Sequence[Tool], results: Sequence[ToolResult], queries: Sequence[str]
) -> tuple[str, dict[str, Any]] | None:
    """Return the first search that was not made yet, as tool name and arguments; None when all were made."""
    tool = next((tool for tool in tools if _query_key(tool)), None)
    if tool is None:
        return None
    key = _query_key(tool)
    done = {_same(str(result.arguments.get(key, ""))) for result in results if result.name == tool.name}
    query = next((query for query in queries if _same(query) not in done), None)
    return None if query is None else (tool.name, _arguments(tool, {key: query}))


def searched_for(results: Sequence[ToolResult]) -> frozenset[str]:
    """Return what tools were asked for so far, lower case with single spaces."""
    return frozenset(_same(text) for result in results for text in result.arguments.values() if isinstance(text, str))


def searches(tools: Sequence[Tool]) -> bool:
    """Say whether a search tool is offered."""
    return any(_query_key(tool) for tool in tools)


def next_read(
    tools: Sequence[Tool], results: Sequence[ToolResult], wanted: Sequence[tuple[str, int]]
) -> tuple[str, dict[str, Any]] | None:
    """Return the reading of the first wanted (document, line) that was not read from there yet."""
    tool = next((tool for tool in tools if _address_key(tool)), None)
    if tool is None:
        return None
    key = _address_key(tool)
    done = [
        (str(result.arguments.get(key, "")), result.arguments.get("start", 1))
        for result in results
        if result.name == tool.name
    ]
    for path, line in wanted:
        start = line if "start" in tool.parameters else 1
        if (path, start) not in done:
            return tool.name, _arguments(tool, {key: path, **({"start": start} if "start" in tool.parameters else {})})
    return None


def named_documents(text: str) -> list[str]:
    """Return the files and addresses that a task's text names, in order."""
    return list(dict.fromkeys(match.rstrip(".,;:") for match in re.findall(_PATH, text[:20_000])))[:4]


def listed_documents(results: Sequence[ToolResult]) -> list[str]:
    """Return the paths of a list of documents, `path (N lines, title)` each."""
    lines = [line for result in results if "list" in result.name for line in result.text.split("\n")[:400]]
    return [
        match[1] for line in lines if (match := re.match(r"\s*(?:[-*]\s+)?(\S.*?) \(\d+ (?:lines?|pages?)\b", line))
    ]


def next_list(tools: Sequence[Tool], results: Sequence[ToolResult]) -> tuple[str, dict[str, Any]] | None:
    """Return the call that lists the documents, if there is such a tool and it was not called."""
    tool = next(
        (
            tool
            for tool in tools
            if re.search(r"list.*(?:doc|file|page|source)", tool.name, re.I) and _fillable(tool, ())
        ),
        None,
    )
    if tool is None or any(result.name == tool.name for result in results):
        return None
    return tool.name, _arguments(tool, {})


def saves(tool_name: str) -> bool:
    """Say whether a tool writes; what it returns is about the writing and no evidence."""
    return _SAVE_NAME.search(tool_name) is not None


def next_save(
    tools: Sequence[Tool], results: Sequence[ToolResult], description: str, text: str
) -> tuple[str, dict[str, Any]] | None:
    """Return the call that saves `text`, if the task says where to save and it was not saved yet."""
    place = _SAVE_AS.search(description[:20_000])
    if not place:
        return None
    for tool in tools:
        path, body = _first(_PATH_KEYS, tool), _first(_BODY_KEYS, tool)
        if path and body and _SAVE_NAME.search(tool.name) and _fillable(tool, (path, body)):
            if any(result.name == tool.name for result in results):
                return None
            return tool.name, _arguments(tool, {path: place[1].rstrip("."), body: text})
    return None


def _read_tool(definition: Mapping[str, Any]) -> Iterator[Tool]:
    described = mapping(definition.get("function")) or definition
    name, schema = described.get("name"), mapping(described.get("parameters"))
    if isinstance(name, str) and name:
        parameters = {str(key): mapping(inner) for key, inner in mapping(schema.get("properties")).items()}
        yield Tool(name, parameters, tuple(str(key) for key in listing(schema.get("required"))))


def _query_key(tool: Tool) -> str:
    if _NO_SEARCH_NAME.search(tool.name):
        return ""
    key = next((key for key in _QUERY_KEYS if key in tool.parameters and _takes(tool.parameters[key], "string")), "")
    fits = _SEARCH_NAME.search(tool.name) or key in ("query", "search_query", "q", "search")
    return key if key and fits and _fillable(tool, (key,)) else ""


def _address_key(tool: Tool) -> str:
    if not _READ_NAME.search(tool.name) or re.search(r"write|save|send|delete", tool.name, re.I):
        return ""
    key = _first(_ADDRESS_KEYS, tool)
    return key if key and _fillable(tool, (key,)) else ""


def _first(keys: Sequence[str], tool: Tool) -> str:
    return next((key for key in keys if key in tool.parameters and _takes(tool.parameters[key], "string")), "")


def _same(query: str) -> str:
    return " ".join(query.lower().split())


def _fillable(tool: Tool, given: Sequence[str]) -> bool:
    return all(key in given or _filler(key, tool.parameters.get(key, {})) is not _NOTHING for key in tool.required)


def _arguments(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Fill what is required and what limits the number of results; a strict schema calls every parameter required."""
    filled = dict(given)
    for key, schema in tool.parameters.items():
        if key not in filled and (key in tool.required or _is_limit(key)):
            value = _filler(key, schema)
            if value is not _NOTHING:
                filled[key] = value
    return filled


_NOTHING = object()


def _filler(key: str, schema: Mapping[str, Any]) -> object:
    if _takes(schema, "integer") and _is_limit(key):
        return int(min(_MAX_PASSAGES, _number(schema, "maximum", _MAX_PASSAGES)))
    if "default" in schema:
        return schema["default"]
    if _takes(schema, "null"):
        return None
    if listing(schema.get("enum")):
        return listing(schema["enum"])[0]
    if _takes(schema, "integer"):
        return int(_number(schema, "minimum", 1))
    if _takes(schema, "number"):
        return _number(schema, "minimum", 1.0)
    if _takes(schema, "boolean"):
        return False
    if _takes(schema, "array") and not schema.get("minItems"):
        return []
    return _NOTHING


def _is_limit(key: str) -> bool:
    return key in ("limit", "k", "top_k", "n", "n_results", "num_results", "max_results", "count")


def _number(schema: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = schema.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _takes(schema: Mapping[str, Any], kind: str) -> bool:
    """Say whether a schema allows a JSON type, directly or as one of several."""
    if schema.get("type") == kind or kind in listing(schema.get("type")):
        return True
    options = [*listing(schema.get("anyOf")), *listing(schema.get("oneOf"))]
    return any(mapping(option).get("type") == kind for option in options)
