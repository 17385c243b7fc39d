"""The loop around the offline model: its calls are answered by the real document tools, as a run would."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.offline.respond import OfflineReply, OfflineTask, respond
from muster import ToolContext
from tools.list_documents import list_documents
from tools.read_document import read_document
from tools.search_documents import search_documents

ROOT = Path(__file__).parents[2]
BACKGROUND = ROOT / "docs" / "background"
MOST_TURNS = 12

_INTEGER = {"type": "integer", "minimum": 1}
_PARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "search_documents": {"query": {"type": "string"}, "limit": {**_INTEGER, "default": 12, "maximum": 50}},
    "read_document": {"path": {"type": "string"}, "start": {**_INTEGER, "default": 1}},
    "list_documents": {},
}


def definition(name: str, parameters: Mapping[str, Any], required: list[str] | None = None) -> dict[str, Any]:
    """Return a tool as it is offered; without `required`, all parameters that have no default are."""
    needed = [key for key, schema in parameters.items() if "default" not in schema] if required is None else required
    schema = {"type": "object", "properties": dict(parameters), "required": needed}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}


def document_tools(*names: str) -> list[dict[str, Any]]:
    return [definition(name, _PARAMETERS[name]) for name in names]


@dataclass
class Talk:
    """A conversation with the offline model until it answers in text."""

    task: OfflineTask
    tools: list[dict[str, Any]]
    run_tool: Callable[[str, dict[str, Any]], str]
    messages: list[dict[str, Any]] = field(default_factory=lambda: [{"role": "user", "content": "go"}])
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def answer(self) -> str:
        for _ in range(MOST_TURNS):
            reply = respond(self.messages, self.tools, self.task)
            if reply.text is not None:
                assert not reply.calls
                self.messages.append({"role": "assistant", "content": reply.text})
                return reply.text
            self._call(reply)
        raise AssertionError(f"no answer in {MOST_TURNS} turns: {self.calls}")

    def refuse(self, *reasons: str) -> str:
        """Say why the answer is not accepted, and return the next one."""
        listed = "\n".join(f"- {reason}" for reason in reasons)
        self.messages.append({"role": "user", "content": f"Your answer was not accepted:\n{listed}\n\nAnswer again."})
        return self.answer()

    def _call(self, reply: OfflineReply) -> None:
        (call,) = reply.calls
        self.calls.append((call.name, call.arguments))
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        asked = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call.id, "type": "function", "function": function}],
        }
        result = self.run_tool(call.name, call.arguments)
        self.messages += [asked, {"role": "tool", "tool_call_id": call.id, "content": result}]


def read_tools(folder: Path) -> Callable[[str, dict[str, Any]], str]:
    """Return what runs the document tools over a folder."""
    tools = {"search_documents": search_documents, "read_document": read_document, "list_documents": list_documents}
    context = ToolContext(folder.parent, folder.parent)
    return lambda name, arguments: tools[name](**arguments, folder=folder.name, context=context)


def a_task(description: str = "", **changes: Any) -> OfflineTask:
    return replace(OfflineTask(description, "", "Writer", None, None, {}, {}), **changes)


def talk(task: OfflineTask, *names: str, folder: Path = BACKGROUND) -> Talk:
    """Begin a conversation about a task; the document tools named read `folder`."""
    return Talk(task, document_tools(*names), read_tools(folder))


def claims(text: str) -> list[tuple[str, str, int]]:
    """Return (sentence, path, line) of each cited line."""
    found = re.findall(r"^(?:- )?(?!- )(.+?) \[([^\]\n]+):(\d+)\]$", text, re.MULTILINE)
    return [(sentence, path, int(line)) for sentence, path, line in found]
