"""Taking back what the tools of a run did: latest first, durably, as far as each tool says how."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from models.make import clean
from muster import ToolContext
from project.errors import AppError
from project.spec import ToolUse
from project.spec_policy import PolicySpec
from runs.calls.calling import call_key
from runs.calls.tool_hosts import FunctionFailed, undo_tool
from runs.governed import redaction
from runs.stored import engine
from runs.stored.journal import unpack
from runs.stored.store import RunRow
from runs.told.report import JournalSource, Step, read_steps
from tools.registry import load_tools
from tools.tool import Tool

_EFFECTS = ("write", "send", "spend", "execute")
_STEP = re.compile(r"(?P<lane>.*?)/[^/#]+#(?P<number>\d+)(?:\.\d+)?(?:/approved#\d+(?:\.\d+)?)?")
_UNDO = "undo"
_PREFIX = "~rollback"
"""Of the workflows that undo: no task can be called so."""


@dataclass(frozen=True)
class DoneCall:
    """A call of a tool that changed something, as the journal tells it."""

    step: str
    task: str
    tool: str
    arguments: Mapping[str, Any]
    result: str
    """"" where it is not known."""
    settings: Mapping[str, Any]
    started_at: float
    open: bool = False
    """Whether nobody knows if it happened."""


@dataclass(frozen=True)
class Undo:
    """One call that is to be taken back; `problem` says why it can't be."""

    call: DoneCall
    problem: str = ""


@dataclass
class Undone:
    """What came of a rollback, by the names of the calls' steps."""

    undone: dict[str, str] = field(default_factory=dict[str, str])
    """What each undo said."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Why an undo failed; the calls before it were then left alone, unless that was wanted otherwise."""


def find_undos(source: JournalSource, row: RunRow, folder: Path, project: Path, to: str = "") -> list[Undo]:
    """Return the calls to take back, latest first: those after the task `to` was done, or all; none taken back before.

    `project` is the project's folder on this machine.

    Raises: AppError when there is no such task, or it is not done.
    """
    steps = read_steps(source, row.run_id, folder)
    done = {step.record["of"] for step in steps if step.record.get("decision") == _UNDO and "error" not in step.record}
    calls = [call for call in map(_read_call, steps) if call is not None and call.step not in done]
    if to:
        after = _done_at(source, row, to)
        calls = [call for call in calls if call.started_at >= after and not _belongs(call.task, to)]
    return [_undo_of(project, call) for call in sorted(calls, key=lambda call: call.started_at, reverse=True)]


@engine.workflow("muster.rollback")
def rollback_workflow(
    run_id: str,
    project: str,
    folder: str,
    inputs: dict[str, Any],
    steps: Sequence[str],
    by: str,
    go_on: bool,
    network: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Take back these calls of a run in this order, each in a step; `go_on` past one that can't be."""
    found = _calls_by_step(run_id, Path(folder))
    for name in steps:
        call = found[name]
        secrets = redaction.protection_of(run_id).secrets.get(call.tool, {})
        reach = network.get(call.tool, {})
        context = ToolContext(Path(project), Path(folder, "files"), inputs, key_of(run_id, name), secrets, **reach)
        record = engine.step(f"{name}/{_UNDO}", lambda one=call, about=context: _undo_one(run_id, one, about, by))
        if "error" in record and not go_on:
            return


def roll_back(
    source: engine.Engine,
    row: RunRow,
    folder: Path,
    project: Path,
    undos: Sequence[Undo],
    by: str,
    *,
    go_on: bool,
) -> Undone:
    """Take back what can be, durably; return what came of it. The caller holds the run.

    Killed in the middle, it is called again: `find_undos` leaves out what is undone. The undo that was under way is
    made again. It stops at an undo that fails, since those before it may rest on it, unless `go_on`.
    """
    plan = row.read_plan()
    redaction.protect(row.run_id, plan)
    inputs = dict(plan.inputs)
    steps = [undo.call.step for undo in undos if not undo.problem]
    number = sum(1 for item in source.family(row.run_id) if item.id.startswith(f"{row.run_id}.{_PREFIX}")) + 1
    workflow_id = f"{row.run_id}.{_PREFIX}{number}"
    told = (row.run_id, str(project), str(folder), inputs, steps, by, go_on)
    network = _network_of(plan.policy)
    source.start(rollback_workflow, workflow_id, *told, *([network] if network else []))
    source.result(workflow_id)
    came = Undone()
    for step in source.steps(workflow_id):
        record = cast(dict[str, Any], step.output)
        kind = came.failed if "error" in record else came.undone
        kind[record["of"]] = record["why"]
    return came


def _network_of(policy: PolicySpec | None) -> dict[str, Any]:
    """Return where tools may connect to, by tool, as ToolContext has it, for those with `domains`."""
    tools = policy.tools.items() if policy is not None else ()
    return {
        name: {"domains": said.domains, "private_addresses": said.private_addresses}
        for name, said in tools
        if said.domains is not None
    }


def key_of(run_id: str, step: str) -> str:
    """Return the idempotency key that the call of this step had."""
    match = _STEP.fullmatch(step)
    assert match is not None
    return call_key(run_id, match["lane"], int(match["number"]))


def _undo_one(run_id: str, call: DoneCall, context: ToolContext, by: str) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": "decision",
        "decision": _UNDO,
        "about": call.task,
        "of": call.step,
        "among": ["undone", "left as it is"],
        "evidence": [call.step],
        "by": by,
        "seconds": 0.0,
    }
    try:
        tool = _load(context.project, call)
        said = undo_tool(run_id, tool, dict(call.arguments), call.result, context)
    except (AppError, FunctionFailed) as error:
        why = clean(" ".join(str(error).split()))[:2000] or type(error).__name__
        failed = {"error": {"kind": getattr(error, "kind", "AppError"), "message": why}}
        return record | failed | {"chosen": "left as it is", "why": f"its undo failed: {why}"}
    return record | {"chosen": "undone", "why": said[:2000] or "undone"}


def _undo_of(project: Path, call: DoneCall) -> Undo:
    try:
        tool = _load(project, call)
    except AppError as error:
        return Undo(call, str(error))
    if tool.undo is None:
        return Undo(call, f"`{call.tool}` has no undo")
    return Undo(call)


def _load(project: Path, call: DoneCall) -> Tool:
    return load_tools(project, [ToolUse(name=call.tool, settings=dict(call.settings))])[call.tool]


def _read_call(step: Step) -> DoneCall | None:
    record = step.record
    if step.kind != "tool" or record.get("effect") not in _EFFECTS or record.get("cached") or "refused" in record:
        return None
    error = record.get("error", {}).get("kind", "")
    is_open = error in ("timeout", "died") or "unknown_outcome" in record
    if error and not is_open:  # it said itself that it failed
        return None
    known = not is_open and record.get("settled_by") != "person"
    return DoneCall(
        step.name,
        step.task,
        record["tool"],
        record["arguments"],
        str(record["result"]) if known else "",
        record.get("settings", {}),
        step.started_at,
        is_open,
    )


def _calls_by_step(run_id: str, folder: Path) -> dict[str, DoneCall]:
    found: dict[str, DoneCall] = {}
    for row in engine.steps_of(run_id):
        output: Any = row.output
        record = cast(dict[str, Any], output) if isinstance(output, dict) else {}
        if record.get("kind") != "tool":
            continue
        task = row.workflow_id[len(run_id) + 1 :]
        step = Step(row.name, task, "tool", row.started_at or 0.0, 0.0, unpack(record, folder))
        call = _read_call(step)
        if call is not None:
            found[call.step] = call
    return found


def _done_at(source: JournalSource, row: RunRow, task: str) -> float:
    """Return when a task was done. Raises: AppError."""
    family = {item.id[len(row.run_id) + 1 :]: item for item in source.family(row.run_id)}
    if task not in family:
        known = ", ".join(name for name in family if name and not name.startswith("~"))
        raise AppError(f"run {row.run_id} has done no task {task!r}", fix=f"one of: {known}")
    if family[task].status != "SUCCESS":
        raise AppError(f"the task {task!r} is not done", fix="without --to all of the run is taken back")
    return family[task].updated_at


def _belongs(task: str, to: str) -> bool:
    return task == to or task.startswith(f"{to}.")
