"""The order rules of policy.yaml: how often, after what and with what a tool may be called."""

from collections.abc import Sequence
from dataclasses import dataclass

from project.spec_policy import OrderSpec


@dataclass(frozen=True)
class Made:
    """A tool call that was made, or is under way."""

    task: str
    """Path of the task in which it was made."""
    tool: str
    succeeded: bool
    """Whether it gave a result: a failed, refused or unknown one does not count as done, but counts as called."""


def out_of_order(rules: Sequence[OrderSpec], tool: str, task: str, made: Sequence[Made]) -> str:
    """Say why `tool` may not be called now in `task`, for the agent; "" when it may."""
    return ""


def not_called(rules: Sequence[OrderSpec], tools: Sequence[str], task: str, made: Sequence[Made]) -> list[str]:
    """Say which tools must be called before an answer of `task` is accepted, of those that its agent has."""
    return []
