"""What an approval is bound to: exactly the call that was shown, and no other."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from policy.decide import Call


def bound_call(step: str, call: Call, told: Callable[[str], str] = str) -> dict[str, Any]:
    """Return what is hashed of a call as a person is shown it, as JSON: which step, who, for whom, what, with what.

    Where its paths lead is part of it: another link makes another call. `told` returns a path as it is on all machines.
    """
    places = {name: told(place) for name, place in call.places.items()}
    return {
        "run": call.run,
        "step": step,
        "task": call.task,
        "agent": call.agent,
        "chain": list(call.principal.chain),
        "tool": call.name,
        "effect": call.effect,
        "arguments": dict(call.arguments),
        **({"places": places} if places else {}),
    }


def hash_of(bound: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what `bound_call` returned, also after it was stored as JSON."""
    return hashlib.sha256(json.dumps(bound, sort_keys=True, ensure_ascii=True, default=str).encode()).hexdigest()
