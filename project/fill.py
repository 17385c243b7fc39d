"""Placeholders in texts: `{topic}` becomes the input's value, once; a value is never read for placeholders itself."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

from project.errors import AppError
from project.hints import quoted, suggest

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)\}")
"""As CrewAI has it: JSON's braces are none."""
ITEM_NAMES = ("item", "number")
"""Placeholders of a task with `for_each`: the entry and its position, from 1."""

_DOTTED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)((?:\.[A-Za-z0-9_\-]+)*)\}")
_ITEM = re.compile(r"\{(\u2060?)(item|number)((?:\.[A-Za-z0-9_\-]+)*)\}")
_GUARD = "\u2060"  # no width, no break: what stands in a value is told apart from the placeholder until `fill_item`


def placeholders(text: str) -> list[str]:
    """Return the names of the placeholders in `text`, each once, in order."""
    return list(dict.fromkeys(PLACEHOLDER.findall(text)))


def dotted_placeholders(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the placeholders in `text` that may name fields, such as `{plan.title}`: name and fields, each once."""
    found = [(name, tuple(fields.split(".")[1:])) for name, fields in _DOTTED.findall(text)]
    return list(dict.fromkeys(found))


def placeholders_in_settings(settings: Any) -> list[str]:
    """Return the names of the placeholders in all texts of plain data, each once, in order; keys are not read."""
    return list(dict.fromkeys(name for text in texts_in(settings) for name in placeholders(text)))


def texts_in(settings: Any) -> list[str]:
    """Return all texts of plain data, in order; keys are none."""
    if isinstance(settings, str):
        return [settings]
    inner: list[Any] = []
    if isinstance(settings, dict):
        inner = list(cast(dict[str, Any], settings).values())
    elif isinstance(settings, list):
        inner = cast(list[Any], settings)
    return [text for value in inner for text in texts_in(value)]


def fill(text: str, values: Mapping[str, str | int | float], leave: Collection[str] = ()) -> str:
    """Put `values` in the place of their placeholders, in one pass: a `{name}` inside a value stays as it is.

    Placeholders named in `leave` stay for `fill_item`, which does not read the values that were put in here either.

    Raises: AppError (exit 3) naming every placeholder without a value.
    """
    missing = [name for name in placeholders(text) if name not in values and name not in leave]
    if missing:
        named = ", ".join(f"`{name}`" for name in missing)
        raise AppError(f"no value for {named}", fix=f"give it by -i {missing[0]}=VALUE", exit_code=3)

    def value_of(found: re.Match[str]) -> str:
        if found[1] in leave:
            return found[0]
        value = str(values[found[1]])
        return _ITEM.sub(lambda inner: f"{{{_GUARD}{inner[0][1:]}", value) if leave else value

    return PLACEHOLDER.sub(value_of, text)


def fill_settings(
    settings: Mapping[str, Any], values: Mapping[str, str | int | float], leave: Collection[str] = ()
) -> dict[str, Any]:
    """Fill the texts at any depth of a tool's settings; what is no text, and every key, stays as it is.

    Raises: AppError (exit 3) as `fill`.
    """
    return {key: _fill_value(value, values, leave) for key, value in settings.items()}


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain data with each text in it changed; keys stay as they are."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: map_texts(inner, change) for key, inner in cast(dict[str, Any], value).items()}
    return [map_texts(inner, change) for inner in cast(list[Any], value)] if isinstance(value, list) else value


def fill_item(text: str, item: Any, number: int | None = None) -> str:
    """Put an entry of `for_each` in the place of `{item}` and `{item.field}`, and its position in that of `{number}`.

    A text stands as it is, everything else as JSON. Without `number`, `{number}` stays.

    Raises: AppError when the entry has no such field.
    """

    def value_of(found: re.Match[str]) -> str:
        guard, name, fields = found[1], found[2], found[3].split(".")[1:]
        if guard:
            return f"{{{name}{found[3]}}}"
        if name == "item":
            return _told(_field_of(item, fields, found[0]))
        return found[0] if number is None or fields else str(number)

    return _ITEM.sub(value_of, text)


def fill_item_settings(settings: Mapping[str, Any], item: Any, number: int | None = None) -> dict[str, Any]:
    """Fill the texts at any depth of a tool's settings as `fill_item` does. Raises: as it."""

    return map_texts(dict(settings), lambda text: fill_item(text, item, number))


def _fill_value(value: Any, values: Mapping[str, str | int | float], leave: Collection[str]) -> Any:
    if isinstance(value, str):
        return fill(value, values, leave)
    if isinstance(value, dict):
        return fill_settings(cast(dict[str, Any], value), values, leave)
    if isinstance(value, list):
        return [_fill_value(item, values, leave) for item in cast(list[Any], value)]
    return value


def _field_of(item: Any, fields: list[str], shown: str) -> Any:
    value = item
    for field in fields:
        if not isinstance(value, dict):
            what = f"`{shown}` cannot be filled: the entry is no mapping with fields"
            raise AppError(what, fix="write `{item}`")
        entry = cast(dict[str, Any], value)
        if field not in entry:
            what = f"`{shown}` cannot be filled: the entry has no field {quoted(field)}"
            raise AppError(what, fix=suggest(field, list(entry), "it has", "it has no fields: write `{item}`"))
        value = entry[field]
    return value


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
