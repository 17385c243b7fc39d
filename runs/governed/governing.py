"""What the policy needs to know of a run: its rules, who acts for whom, and which tools were called."""

import os
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from policy.decide import ALLOWED, Call, Principal, Taint, Verdict
from policy.order import Made, not_called, out_of_order
from policy.outward import words_sent
from policy.places import NOWHERE, places_in
from policy.rulebook import Rulebook
from project.errors import AppError
from project.spec_policy import PolicySpec, ToolPolicySpec
from runs.governed.carried import Carried
from runs.told.report import Step
from tools.tool import Tool

_NOTHING = ToolPolicySpec()
_PART = re.compile(r"/(?:approved#\d+|intent)(?:\.\d+)?")
_TURN = re.compile(r"\.\d+$")


class Governor:
    """Decides about the tool calls of one run, by the policy that it carries."""

    def __init__(self, policy: PolicySpec | None, by: str = "", schedule: str = "") -> None:
        """`policy` is None for runs that were started before there were policies: they go on as they began."""
        self.policy = policy
        self.by, self.schedule = by, schedule
        self.carried = Carried()
        """What the run's files carry of what it has read."""
        self._rules = Rulebook(policy) if policy is not None else None
        self._made: dict[str, Made] = {}
        self._begun: set[str] = set()
        self._named: dict[str, str] = {}
        self._lock = threading.Lock()

    def declare(self, name: str, written: str) -> None:
        """Note what a tool is called in YAML, which need not be what agents call it: the rules know it by that name.

        Raises: AppError when agents call another tool so, and the rules could not tell which of the two is called.
        """
        before = self._named.get(name)
        if before == written:
            return
        if before is not None and (name in (before, written) or self._tells_tools_apart):
            what = (
                f"agents would call two tools `{name}`: {before} and {written}; policy.yaml could not tell them apart"
            )
            raise AppError(what, fix="give one of them another `name`", exit_code=3)
        with self._lock:
            self._named[name] = written
            for step, made in self._made.items():  # calls of earlier executions
                if made.tool == name:
                    self._made[step] = replace(made, tool=written)

    @property
    def _tells_tools_apart(self) -> bool:
        return self.policy is not None and bool(self.policy.rules or self.policy.order or self.policy.tools)

    def tool(self, name: str) -> ToolPolicySpec:
        """Return what policy.yaml says of a tool, by its name in YAML or that which agents call it by."""
        if self.policy is None:
            return _NOTHING
        return self.policy.tools.get(self.written(name)) or self.policy.tools.get(name, _NOTHING)

    def written(self, name: str) -> str:
        """Return the name of a tool in YAML."""
        return self._named.get(name, name)

    def verdict(self, call: Call) -> Verdict:
        """Say what the rules decide about a call. Fails closed: whatever goes wrong in a rule denies."""
        if self._rules is None:
            return ALLOWED
        try:
            return self._rules.verdict(replace(call, name=self.written(call.name)))
        except Exception as error:  # a gate that cannot decide refuses
            return Verdict("deny", "rule error", f"the policy could not decide ({type(error).__name__}: {error})")

    def out_of_order(self, step: str, call: Call) -> str:
        """Say why the order rules forbid a call now; "" when they do not. `step` makes it."""
        if self.policy is None or not self.policy.order:
            return ""
        return out_of_order(self.policy.order, self.written(call.name), call.task, self._calls(but=_call_of(step)))

    def not_called(self, tools: Sequence[str], task: str) -> list[str]:
        """Say what must be called before an answer of a task is accepted."""
        if self.policy is None or not self.policy.order:
            return []
        called = {self.written(name): name for name in tools}  # the agent is told of its tools by its own names
        told = not_called(self.policy.order, list(called), task, self._calls())
        return [re.sub(r"(?<=^the tool `)\w+", lambda found: called[found[0]], one) for one in told]

    def _calls(self, but: str = "") -> list[Made]:
        with self._lock:
            return [made for step, made in self._made.items() if step != but]

    def begin(self, step: str, call: Call) -> None:
        """Count a call that is about to be made: lanes side by side share the order rules."""
        with self._lock:
            if _call_of(step) not in self._made:
                self._begun.add(_call_of(step))
                self._made[_call_of(step)] = Made(call.task, self.written(call.name), False)

    def note(self, step: str, record: Mapping[str, Any]) -> None:
        """Note how a call ended, and which files it left; one that was not made is not counted."""
        self.carried.note(record)
        if record.get("kind") != "tool":
            return
        with self._lock:
            if "refused" in record or "asks" in record:
                if _call_of(step) in self._begun:  # what was made before a crash is not taken back
                    self._made.pop(_call_of(step), None)
            else:
                failed = any(key in record for key in ("error", "unknown_outcome", "lost"))
                self._made[_call_of(step)] = Made(record["task"], self.written(record["tool"]), not failed)
            self._begun.discard(_call_of(step))

    def remember(self, steps: Sequence[Step]) -> None:
        """Take up the calls of earlier executions of the run."""
        announced = {_call_of(step.name) for step in steps if step.kind == "intent"}
        for step in steps:
            if step.kind == "intent" and not step.record.get("refused") and "asks" not in step.record:
                name = _call_of(step.name)
                tool = name.rpartition("/")[2].partition("#")[0]
                with self._lock:
                    self._made.setdefault(name, Made(step.record["task"], self.written(tool), False))
            self.note(_settled_call(step.name, announced), step.record)


def _call_of(step: str) -> str:
    """Return the name of the call that a step is of: its intent, what a person approved. An attempt is a call."""
    return _PART.sub("", step)


def _settled_call(step: str, announced: Collection[str]) -> str:
    """Return the name of the call whose step this is, also where it settles one that a crash left open.

    Only what may be done once is announced and may be left open; it has no further attempts, and its turns are named
    as attempts are.
    """
    before = _TURN.sub("", _call_of(step))
    return before if before in announced else step


def principal_of(governor: Governor, run_id: str, crew: str, task: str, agent: str, chain: Sequence[str]) -> Principal:
    """Say who makes a call of a lane."""
    return Principal(run_id, crew, task, agent, tuple(chain), governor.by, governor.schedule)


def call_places(arguments: Mapping[str, Any], folder: Path, tool: Tool | None = None) -> dict[str, str]:
    """Return the paths among the arguments of a call, links resolved, by argument. `folder` is the run's own.

    What YAML fixes and what the tool takes by itself are arguments, too; but not with Muster's own tools, whose folders
    are those of the project.
    """
    if tool is not None and not tool.builtin:
        arguments = tool.whole(arguments)
    return places_in(arguments, folder, None if tool is None or tool.knows_run else working_folder())


def other_places(arguments: Mapping[str, Any], folder: Path, tool: Tool | None) -> dict[str, str]:
    """Return the paths of a call as if they were meant from the run's folder, where its tool does not know that.

    Rules are written with paths from there: one that denies must not lose what it was meant for.
    """
    return {} if tool is None or tool.knows_run else call_places(arguments, folder, replace(tool, knows_run=True))


def words_outward(
    arguments: Mapping[str, Any], folder: Path, tool: Tool | None, said: ToolPolicySpec
) -> dict[str, Any]:
    """Return the words among the arguments of a call that leave this machine although the tool only reads.

    Called inside a step only.
    """
    if tool is None or tool.effect != "read" or said.domains == [] or not reads_afar(tool):
        return {}
    return words_sent(arguments, folder, None if tool.knows_run else working_folder())


def reads_afar(tool: Tool) -> bool:
    """Say whether a tool that reads asks something outside of this machine, as far as is known of it.

    One of the project's that does not say so itself does, unless nobody else writes what it returns, or that is
    private: then what it asks is the user's own.
    """
    if tool.builtin:
        return False
    return tool.afar if tool.afar is not None else tool.returns == "untrusted" and not tool.private


def working_folder() -> str:
    """Return the folder from which tools take relative paths that know nothing of the run."""
    try:
        return os.getcwd()
    except OSError:  # it was removed: nobody can tell what lies in it
        return NOWHERE


def taint_of(step: str, record: Mapping[str, Any]) -> Taint:
    """Return what the result of a call adds to what its lane has read."""
    return Taint(
        (step,) if record.get("untrusted") else (),
        (step,) if record.get("private") else (),
    )


def now() -> datetime:
    """Return the instant of a decision. Called inside a step only."""
    return datetime.now(UTC)
