"""What people have said about the calls of a run, told from its journal."""

from collections.abc import Sequence
from typing import Any

from runs.told.report import Step, instant


def approvals_of(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Return what people have said about the calls of a run, as JSON, the first one first."""
    return [_told(step) for step in steps if step.kind == "answer" and "call" in step.record]


def _told(step: Step) -> dict[str, Any]:
    record = step.record
    state = "void" if record["void"] else "rejected" if record.get("rejected") else "approved"
    return {
        "step": step.name,
        "tool": record["call"]["tool"],
        "rule": record["call"]["rule"],
        "state": "changed" if record["again"] else state,
        "by": [voice["by"] for voice in record["voices"]] or [record["by"]],
        "at": instant(record["at"]),
        "edited": record["edited"] is not None,
        "reason": record["void"] or record.get("reason") or None,
        "binding": record["call"]["binding"],
    }
