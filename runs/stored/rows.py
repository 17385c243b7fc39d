"""A workflow and a step as DBOS stores them, in our own types."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recorded:
    """A workflow as stored. `status` is DBOS's; instants are seconds since 1970, UTC."""

    id: str
    status: str
    output: Any
    error: str
    executor: str
    created_at: float
    updated_at: float


@dataclass(frozen=True)
class StepRow:
    """A step as stored, in the order of its number within its workflow."""

    workflow_id: str
    number: int
    name: str
    output: Any
    child_id: str | None
    started_at: float | None
    completed_at: float | None
