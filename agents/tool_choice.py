"""Which of many tools an agent is offered: those whose words fit its task, and one that finds the others."""

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

FIND_TOOLS = "find_tools"
_MOST_FOUND = 5
_MOST_WORDS = 200
_WORD = re.compile(r"\w{3,}|[\u3040-\u30ff\u3400-\u9fff]")
_EMPTY = frozenset(("the", "and", "for", "with", "into", "from", "that", "this", "one", "all", "any", "are", "your"))

FIND_TOOLS_SCHEMA: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": FIND_TOOLS,
        "description": "Find further tools by what they do. Those that are found can be called from then on.",
        "parameters": {
            "type": "object",
            "properties": {"wanted": {"type": "string", "description": "What the tool should do, in a few words."}},
            "required": ["wanted"],
        },
    },
}


def choose_tools(
    schemas: Sequence[Mapping[str, Any]], text: str, most: int
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Divide tools into those to offer for a task and those that are kept back; both in their own order.

    Of more than `most` tools the ones that fit `text` best are offered, one fewer than `most`, since FIND_TOOLS counts;
    where too few fit, the first ones fill the rest. The same text always gives the same choice.
    """
    if len(schemas) <= most:
        return list(schemas), []
    names = [name_of(schema) for schema in schemas]
    ranked = list(dict.fromkeys([*find_tools(schemas, text, len(schemas)), *names]))
    chosen = set(ranked[: most - 1])
    return [one for one in schemas if name_of(one) in chosen], [one for one in schemas if name_of(one) not in chosen]


def find_tools(schemas: Sequence[Mapping[str, Any]], wanted: str, most: int = _MOST_FOUND) -> list[str]:
    """Return the names of the tools whose words fit `wanted`, the best first; [] when none does."""
    found_words = (word.lower() for word in _WORD.findall(wanted))
    words = list(dict.fromkeys(word for word in found_words if word not in _EMPTY))[:_MOST_WORDS]
    if not words:
        return []
    index = sqlite3.connect(":memory:")
    try:
        index.execute("CREATE VIRTUAL TABLE tools USING fts5(name, about, tokenize = 'porter unicode61')")
        rows = [(name_of(schema).replace("_", " "), _about(schema)) for schema in schemas]
        index.executemany("INSERT INTO tools VALUES (?, ?)", rows)
        query = "SELECT rowid FROM tools WHERE tools MATCH ? ORDER BY bm25(tools, 4.0, 1.0), rowid LIMIT ?"
        found = index.execute(query, (" OR ".join(f'"{word}"' for word in words), most)).fetchall()
    finally:
        index.close()
    return [name_of(schemas[int(row[0]) - 1]) for row in found]


def tell_found(schemas: Sequence[Mapping[str, Any]], protocol: str) -> str:
    """Tell an agent which tools were found; in the JSON protocol with all that it needs to call them."""
    if not schemas:
        return "No other tool fits. Do with those that you have, or say it in other words."
    if protocol == "json":
        return "\n".join(["You can call now:", *(json.dumps(one["function"], ensure_ascii=False) for one in schemas)])
    lines = [f"- {name_of(one)}: {one['function'].get('description', '').splitlines()[0]}" for one in schemas]
    return "\n".join(["You can call now:", *lines])


def name_of(schema: Mapping[str, Any]) -> str:
    """Return the name of a tool as a model reads it."""
    return str(schema["function"]["name"])


def _about(schema: Mapping[str, Any]) -> str:
    properties: Mapping[str, Any] = schema["function"].get("parameters", {}).get("properties", {})
    parts = [str(schema["function"].get("description", ""))]
    parts += [f"{name.replace('_', ' ')} {about.get('description', '')}" for name, about in properties.items()]
    return " ".join(parts)
