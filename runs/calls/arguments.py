"""What a model wrote as the arguments of a call: read, or told why it can't be."""

import json
from typing import Any, cast

_MOST_LEVELS = 100
"""Of arguments within arguments: what is deeper, not all that stores, shows or checks it can follow."""


def read_arguments(text: str) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the arguments, or None and what is wrong with them."""
    try:
        found: Any = json.loads(text or "{}")
        if "\\u" in text or not text.isascii():  # half of a pair of surrogates can be stored nowhere
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        return None, [f"the arguments are not valid JSON ({error}); nothing was run. Call again with a JSON object"]
    if not isinstance(found, dict):
        return None, [f"the arguments must be a JSON object, got {type(found).__name__}; nothing was run"]
    if text.count("[") + text.count("{") > _MOST_LEVELS and _is_too_deep(cast(object, found)):
        return None, [f"the arguments are nested more than {_MOST_LEVELS} levels deep; nothing was run"]
    return cast(dict[str, Any], found), []


def canonical(text: str) -> str:
    """Return the same text for the same arguments, in whatever order they were written."""
    arguments, _ = read_arguments(text)
    return json.dumps(arguments, sort_keys=True) if arguments is not None else text


def _is_too_deep(arguments: object) -> bool:
    level: list[Any] = [arguments]
    for _ in range(_MOST_LEVELS):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += cast(dict[str, Any], one).values()
            elif isinstance(one, list):
                below += cast(list[Any], one)
        level = below
    return bool(level)
