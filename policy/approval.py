"""What an approval is bound to: exactly the call that was shown, and no other."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from policy.decide import Call


def binding(step: str, call: Call, arguments: Mapping[str, Any] | None = None) -> str:
    """Return the SHA-256 of a call as a person is shown it: which step, who, on whose behalf, what, with what.

    `arguments` stand in place of the call's own where a person has edited them.
    """
    return hash_of(bound_call(step, call, arguments))


def bound_call(step: str, call: Call, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return what is hashed of a call, as JSON."""
    return {
        "run": call.run,
        "step": step,
        "task": call.task,
        "agent": call.agent,
        "chain": list(call.principal.chain),
        "tool": call.name,
        "effect": call.effect,
        "arguments": dict(call.arguments if arguments is None else arguments),
    }


def hash_of(bound: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what `bound_call` returned, also after it was stored as JSON."""
    return hashlib.sha256(json.dumps(bound, sort_keys=True, ensure_ascii=True, default=str).encode()).hexdigest()
