"""Placeholders in texts: `{topic}` becomes the input's value, once; a value is never read for placeholders itself."""

import re
from collections.abc import Mapping
from typing import Any, cast

from project.errors import AppError

PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)\}")
"""As CrewAI has it: JSON's braces are none."""


def placeholders(text: str) -> list[str]:
    """Return the names of the placeholders in `text`, each once, in order."""
    return list(dict.fromkeys(PLACEHOLDER.findall(text)))


def placeholders_in_settings(settings: Any) -> list[str]:
    """Return the names of the placeholders in all texts of plain data, each once, in order; keys are not read."""
    if isinstance(settings, str):
        return placeholders(settings)
    inner: list[Any] = []
    if isinstance(settings, dict):
        inner = list(cast(dict[str, Any], settings).values())
    elif isinstance(settings, list):
        inner = cast(list[Any], settings)
    return list(dict.fromkeys(name for value in inner for name in placeholders_in_settings(value)))


def fill(text: str, values: Mapping[str, str | int | float]) -> str:
    """Put `values` in the place of their placeholders, in one pass: a `{name}` inside a value stays as it is.

    Raises: AppError (exit 3) naming every placeholder without a value.
    """
    missing = [name for name in placeholders(text) if name not in values]
    if missing:
        named = ", ".join(f"`{name}`" for name in missing)
        raise AppError(f"no value for {named}", fix=f"give it by -i {missing[0]}=VALUE", exit_code=3)
    return PLACEHOLDER.sub(lambda found: str(values[found.group(1)]), text)


def fill_settings(settings: Mapping[str, Any], values: Mapping[str, str | int | float]) -> dict[str, Any]:
    """Fill the texts at any depth of a tool's settings; what is no text, and every key, stays as it is.

    Raises: AppError (exit 3) as `fill`.
    """
    return {key: _fill_value(value, values) for key, value in settings.items()}


def _fill_value(value: Any, values: Mapping[str, str | int | float]) -> Any:
    if isinstance(value, str):
        return fill(value, values)
    if isinstance(value, dict):
        return fill_settings(cast(dict[str, Any], value), values)
    if isinstance(value, list):
        return [_fill_value(item, values) for item in cast(list[Any], value)]
    return value
