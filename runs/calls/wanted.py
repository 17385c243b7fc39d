"""One call that a model wants to make: as its steps tell it, and as the policy looks at it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from models.answer import ToolCall
from policy.decide import Call, Principal, Taint
from runs.calls.lanes import Seam
from runs.governed.approving import Approval
from runs.governed.carried import NO_TAINT, Ground
from runs.governed.governing import call_places, now, other_places, principal_of, words_outward, working_folder
from runs.governed.terms import Witness
from tools.tool import Tool


@dataclass(frozen=True)
class Wanted:
    """One call of a model's."""

    call: ToolCall
    tool: Tool | None
    number: int
    same: str
    key: str
    """Of the tool and its arguments, for `cache`."""
    step: str
    """Name of the step that makes it, or that it was to be made in before a person was asked."""
    approval: Approval | None = None
    """What a person said of it."""
    witness: Witness | None = None
    """Who said, of a call that a crash left open, that it did not happen."""


def call_now(seam: Seam, wanted: Wanted, arguments: Mapping[str, Any]) -> Call:
    """Return the call as the policy looks at it now: it reads the clock and the disk. Called inside a step only."""
    run, lane, tool = seam.run, seam.lane, wanted.tool
    here, files = run.paths.all_here(arguments), Path(run.folder, "files")
    places = call_places(here, files, tool)
    carried = files_read(seam, tool, here, lambda: places)
    return Call(
        "tool",
        run.run_id,
        lane.task,
        lane.agent,
        wanted.call.name,
        arguments,
        cast(Any, tool.effect) if tool else None,
        cast(Any, tool.repeat) if tool else None,
        fixed=tool.settings if tool else {},
        taken=tool.taken(arguments) if tool else {},
        principal=principal_now(seam),
        taint=lane.taint.plus(carried),
        given=tuple(str(value) for value in run.plan.inputs.values()),
        places=places,
        other_places=other_places(here, files, tool),
        outward=words_outward(here, files, tool, run.governor.tool(wanted.call.name)),
        confidence=lane.confidence,
        autonomy=lane.autonomy,
        clearance=lane.clearance,
        private=tool is not None and (tool.private or bool(carried.private)),
        at=now(),
    )


def files_read(
    seam: Seam,
    tool: Tool | None,
    here: Mapping[str, Any],
    places: Callable[[], Mapping[str, str]],
    but: Collection[str] = frozenset(),
) -> Taint:
    """Return what a call may have read of the run's files, but of those that itself has made. Called inside a step.

    `here` are its arguments with paths as they are on this machine, `places` gives the paths among them.
    """
    run = seam.run
    if tool is None or run.governor.policy is None:
        return NO_TAINT
    ground = Ground(Path(run.folder, "files"), run.project, working_folder(), run.paths.here)
    return run.governor.carried.read_by(tool, here, ground, places, but)


def principal_now(seam: Seam) -> Principal:
    """Say who makes the calls of a lane, and on whose behalf."""
    run, lane = seam.run, seam.lane
    return principal_of(run.governor, run.run_id, lane.crew, lane.task, lane.agent, lane.chain)


def begin_record(seam: Seam, wanted: Wanted, arguments: Any) -> dict[str, Any]:
    """Return what the record of a call begins with, however the call ends."""
    return {
        "kind": "tool",
        "task": seam.lane.task,
        "agent": seam.lane.agent,
        "tool": wanted.call.name,
        "arguments": arguments,
        "same": wanted.same,
        "principal": principal_now(seam).to_json(),
    }
