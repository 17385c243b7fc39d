"""A task done for each entry of a list: reading the list, filling the task, joining the results in order."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from crews.planned import PlannedTask, fill_use, fill_way
from project.errors import AppError
from project.fill import fill_item, fill_item_settings
from project.spec import TaskSpec

_MOST_ENTRIES = 1000
_KINDS = ((bool, "true or false"), (str, "a text"), (int | float, "a number"), (dict, "an object"))


def read_entries(value: Any) -> list[Any]:
    """Return the list's entries. Raises: AppError when it is no list or has more than 1,000."""
    if not isinstance(value, list):
        got = next((words for kind, words in _KINDS if isinstance(value, kind)), "nothing")
        raise AppError(f"`for_each` must give a list, got {got}", fix="name a field of type list")
    entries = cast(list[Any], value)
    if len(entries) > _MOST_ENTRIES:
        raise AppError(f"`for_each` gives {len(entries)} entries; at most {_MOST_ENTRIES}", fix="shorten it")
    return entries


def fill_entry(task: TaskSpec, entry: Any, number: int, told: Any = None) -> TaskSpec:
    """Put an entry and its position, from 1, into the texts of a task; `told` is the entry as a model is to read it."""
    told = entry if told is None else told

    def filled(text: str) -> str:
        return fill_item(text, entry, number)

    def read(text: str) -> str:
        return fill_item(text, told, number)

    changes: dict[str, Any] = {
        "description": read(task.description),
        "expected_output": read(task.expected_output),
        "output_file": filled(task.output_file) if task.output_file else None,
        "guardrails": [
            rule.model_copy(update={"text": read(rule.text)}) if rule.text else rule for rule in task.guardrails
        ],
    }
    if task.tools is not None:
        changes["tools"] = [fill_use(use, lambda given: fill_item_settings(given, entry, number)) for use in task.tools]
    if task.fallback:
        changes["fallback"] = [fill_way(way, filled) for way in task.fallback]
    return task.model_copy(update=changes)


def join_entries(planned: PlannedTask, entries: Sequence[Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Make one result of those of the entries, in their order; with a contract a JSON list, null for what failed."""
    partial = [
        f"entry {number} ({_title(entry)}): {result['failed']}"
        for number, (entry, result) in enumerate(zip(entries, results, strict=True), 1)
        if "failed" in result
    ]
    if planned.contract is not None:
        values = [json.loads(result["output"]) if _has_output(result) else None for result in results]
        output = json.dumps(values, ensure_ascii=False, indent=2)
    else:
        parts = [
            f"## {_title(entry)}\n\n{result['output']}"
            for entry, result in zip(entries, results, strict=True)
            if _has_output(result)
        ]
        output = "\n\n".join(parts) or "(no entries)"
    sure: list[dict[str, Any]] = [result.get("confidence") or {"value": None} for result in results]
    known = [confidence for confidence in sure if confidence["value"] is not None]
    least = min(known, key=lambda confidence: confidence["value"], default=None)
    nobody: Mapping[str, Any] = {}
    first = next((result for result in results if "output" in result), nobody)
    return {
        "output": output,
        "agent": planned.agent_name,
        "model": first.get("model", ""),
        "offline": bool(first.get("offline", False)),
        "checks": [],
        "confidence": least or {"value": None, "measured": False, "from": []},
        "partial": [*partial, *(note for result in results for note in result.get("partial", []))],
        "entries": len(entries),
        "json": planned.contract is not None,
    }


def _has_output(result: Mapping[str, Any]) -> bool:
    return "output" in result and not result.get("skipped")


def _title(entry: Any) -> str:
    if isinstance(entry, dict):
        named = cast(dict[str, Any], entry)
        return str(next((named[key] for key in ("title", "name", "id", "heading") if key in named), json.dumps(named)))
    return str(entry)
