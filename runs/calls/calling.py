"""How a tool is really called: with what it is given, in its time, and what it wrote."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from muster import ToolContext
from policy.decide import Taint
from project.fill import map_texts
from runs.calls.lanes import Seam
from runs.calls.tool_hosts import FunctionFailed, call_tool
from runs.calls.tool_records import effects_of, failed
from runs.calls.wanted import Wanted, files_read
from runs.governed.carried import left_by, taint_json
from runs.governed.governing import call_places, taint_of
from runs.governed.redaction import protection_of
from runs.stored.journal import digest
from runs.stored.left_files import look_at, written_since
from tools.tool import Tool


def run_tool(seam: Seam, wanted: Wanted, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
    """Make the call; return what is journaled of it. A tool's error is data: the model reads it."""
    run, context = seam.run, context_of(seam, wanted)
    before = look_at(context.output_folder)
    here = run.paths.all_here(arguments)
    began = time.monotonic()
    places = call_places(here, context.output_folder, tool)
    carries = seam.lane.taint.plus(files_read(seam, tool, here, lambda: places)).plus(
        taint_of(wanted.step, effects_of(tool))
    )
    left = _outside(seam, tool, places, carries)
    run.governor.carried.note(left)  # first: whoever finds the file finds what it carries
    with run.governor.carried.at_work(carries):
        try:
            limit = seam.time_left(tool.timeout_seconds)
            made: dict[str, Any] = {"result": call_tool(run.run_id, tool, here, context, limit)}
        except FunctionFailed as error:
            made = failed(tool, error)
        made = map_texts(made, run.paths.told)
        made["seconds"] = round(time.monotonic() - began, 4)
        if files := written_since(before, context.output_folder):
            made["files"] = files
        new = {str(file["path"]) for file in files if file["path"] not in before}
        places_now = partial(call_places, here, context.output_folder, tool)  # the call itself may have made a link
        read = files_read(seam, tool, here, places_now, but=new)
        if (files or left) and run.governor.policy is not None and (told := taint_json(carries.plus(read))):
            made |= left | {"carries": told}
        run.governor.carried.note(made)
    return made | dict.fromkeys(taint_json(read), True)


def _outside(seam: Seam, tool: Tool, places: Mapping[str, str], carries: Taint) -> dict[str, Any]:
    """Return what a call's record says of the files that it may leave outside of the run's folder."""
    run = seam.run
    if run.governor.policy is None or not taint_json(carries):
        return {}
    found = left_by(tool, places)
    return {"outside": [run.paths.told(path) for path in found], "carries": taint_json(carries)} if found else {}


def context_of(seam: Seam, wanted: Wanted) -> ToolContext:
    """Return what the tool is told of the run."""
    run, said = seam.run, seam.run.governor.tool(wanted.call.name)
    return ToolContext(
        project=run.project,
        output_folder=Path(run.folder, "files"),
        inputs=run.paths.all_here(run.plan.inputs),
        idempotency_key=call_key(run.run_id, seam.lane.name, wanted.number),
        secrets=protection_of(run.run_id).secrets.get(wanted.tool.name if wanted.tool else "", {}),
        domains=tuple(said.domains) if said.domains is not None else None,
        private_addresses=said.private_addresses,
    )


def call_key(run_id: str, lane: str, number: int) -> str:
    """Return the idempotency key of a lane's call: the same after a crash, another one in another run."""
    return digest(run_id, lane, number)
