"""What the policy needs to know of a run: its rules, who acts for whom, and which tools were called."""

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policy.decide import ALLOWED, Call, Principal, Taint, Verdict
from policy.order import Made, not_called, out_of_order
from policy.places import places_in
from policy.rulebook import Rulebook
from project.spec_policy import PolicySpec, ToolPolicySpec
from runs.report import Step

_NOTHING = ToolPolicySpec()


class Governor:
    """Decides about the tool calls of one run, by the policy that it carries."""

    def __init__(self, policy: PolicySpec | None, by: str = "", schedule: str = "") -> None:
        """`policy` is None for runs that were started before there were policies: they go on as they began."""
        self.policy = policy
        self.by, self.schedule = by, schedule
        self._rules = Rulebook(policy) if policy is not None else None
        self._made: dict[str, Made] = {}
        self._lock = threading.Lock()

    def tool(self, name: str) -> ToolPolicySpec:
        """Return what policy.yaml says of a tool."""
        return self.policy.tools.get(name, _NOTHING) if self.policy is not None else _NOTHING

    def verdict(self, call: Call) -> Verdict:
        """Say what the rules decide about a call. Fails closed: whatever goes wrong in a rule denies."""
        if self._rules is None:
            return ALLOWED
        try:
            return self._rules.verdict(call)
        except Exception as error:  # a gate that cannot decide refuses
            return Verdict("deny", "rule error", f"the policy could not decide ({type(error).__name__}: {error})")

    def out_of_order(self, call: Call) -> str:
        """Say why the order rules forbid a call now; "" when they do not."""
        if self.policy is None or not self.policy.order:
            return ""
        with self._lock:
            made = list(self._made.values())
        return out_of_order(self.policy.order, call.name, call.task, made)

    def not_called(self, tools: Sequence[str], task: str) -> list[str]:
        """Say what must be called before an answer of a task is accepted."""
        if self.policy is None or not self.policy.order:
            return []
        with self._lock:
            made = list(self._made.values())
        return not_called(self.policy.order, tools, task, made)

    def begin(self, step: str, call: Call) -> None:
        """Count a call that is about to be made: lanes side by side share the order rules."""
        with self._lock:
            self._made.setdefault(step, Made(call.task, call.name, False))

    def note(self, step: str, record: Mapping[str, Any]) -> None:
        """Note how a call ended; one that was not made is not counted."""
        if record.get("kind") != "tool":
            return
        with self._lock:
            if "refused" in record or "asks" in record:
                self._made.pop(step, None)
            else:
                failed = any(key in record for key in ("error", "unknown_outcome", "lost"))
                self._made[step] = Made(record["task"], record["tool"], not failed)

    def remember(self, steps: Sequence[Step]) -> None:
        """Take up the calls of earlier executions of the run."""
        for step in steps:
            if step.kind == "intent" and not step.record.get("refused") and "asks" not in step.record:
                name = step.name.removesuffix("/intent")
                tool = name.rpartition("/")[2].partition("#")[0]
                with self._lock:
                    self._made.setdefault(name, Made(step.record["task"], tool, False))
            self.note(step.name, step.record)


def principal_of(governor: Governor, run_id: str, crew: str, task: str, agent: str, chain: Sequence[str]) -> Principal:
    """Say who makes a call of a lane."""
    return Principal(run_id, crew, task, agent, tuple(chain), governor.by, governor.schedule)


def call_places(arguments: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Return the paths among the arguments of a call, links resolved, by argument. `folder` is the run's own."""
    return places_in(arguments, folder)


def taint_of(step: str, record: Mapping[str, Any]) -> Taint:
    """Return what the result of a call adds to what its lane has read."""
    return Taint(
        (step,) if record.get("untrusted") else (),
        (step,) if record.get("private") else (),
    )


def now() -> datetime:
    """Return the instant of a decision. Called inside a step only."""
    return datetime.now(UTC)
