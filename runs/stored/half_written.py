"""Files that a crash may have left half written: found when a run goes on, and reported."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from runs.executing.state import RunState
from runs.stored import engine
from runs.stored.journal import unpack
from runs.stored.left_files import account_of, files_below, is_temporary

_OF_A_WHOLE = re.compile(r"\..{1,40}\.[a-z0-9_]{8}")
"""Those of `write_atomically`, which could be a tool's in the folder of tools."""


def find_half_written(run: RunState) -> list[str]:
    """Say which files in the run's folder no finished call accounts for; a line each, for people.

    Called when a run goes on after a crash, before anything is executed. Temporary files of Muster's own are removed;
    what tools wrote is left as it is: the calls that were under way are made again, or asked about.
    """
    removed = [path for path in _temporaries(run.folder) if _remove(path)]
    lines = [f"removed {_shown(run, path)}: half of a file that Muster was writing" for path in removed]
    accounted = _accounted(run)
    for path, _ in files_below(run.folder / "files"):
        found = account_of(run.folder / "files", path)
        if found is not None and found["sha256"] not in accounted.get(path, set()):
            run.governor.carried.doubt([path])
            what = "changed since a finished call wrote it" if path in accounted else "no finished call wrote it"
            lines.append(f"files/{path} ({found['bytes']} bytes) may be half written: {what}")
    if lines:
        _journal(run, lines)
    return lines


@engine.workflow("muster.note")
def note_workflow(run_id: str, lines: Sequence[str]) -> None:
    """Journal what was found, for the trace."""
    note = {
        "kind": "decision",
        "decision": "half-written files",
        "about": run_id,
        "chosen": "reported",
        "among": ["reported"],
        "why": "; ".join(lines),
        "evidence": [],
        "by": "rule",
        "seconds": 0.0,
    }
    engine.step("half-written files", lambda: note)


def _journal(run: RunState, lines: Sequence[str]) -> None:
    # A workflow of its own: the steps of the run's own workflow must not depend on what lay on the disk.
    number = 1
    while engine.find(f"{run.run_id}.~files{number}") is not None:
        number += 1
    handle = engine.start_child(note_workflow, f"{run.run_id}.~files{number}", run.run_id, list(lines))
    engine.await_recorded(handle)


def _accounted(run: RunState) -> dict[str, set[str]]:
    """Return the digests that finished calls have left of each file, by path."""
    found: dict[str, set[str]] = {}
    for row in engine.steps_of(run.run_id):
        output: Any = row.output
        record = cast(dict[str, Any], output) if isinstance(output, dict) else {}
        if "files" in record:
            for account in unpack(record, run.folder)["files"]:
                found.setdefault(account["path"], set()).add(account["sha256"])
    return found


def _temporaries(folder: Path) -> list[Path]:
    of_tools = folder / "files"
    return [
        path
        for path in sorted(folder.rglob(".*"))
        if path.is_file()
        and (is_temporary(path.name) or (of_tools not in path.parents and _OF_A_WHOLE.fullmatch(path.name)))
    ]


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


def _shown(run: RunState, path: Path) -> str:
    return str(path.relative_to(run.folder))
