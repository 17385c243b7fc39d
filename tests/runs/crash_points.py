"""A run crashed after any step of any of its workflows, and what must then be the same; and what its journal says why."""

import shutil
import sqlite3
from collections.abc import Callable
from typing import Any

from tests.lab import Lab
from tests.runs.scene import database
from tests.scripted_server import ScriptedServer

_TOLD = ("name", "agent", "status", "output", "file", "checks", "confidence", "review", "partial", "attempts")


def assert_survives_crashes(
    lab: Lab, server: ScriptedServer, *, crew: str = "default", most: int = 5, ask: Callable[[Any], str] | None = None
) -> None:
    """Finish a run of a crew, copy it, crash each copy at another point, the first of all and the last among them.

    Resumed in a new runner, side by side unless a person is asked, each must end as the run did, with the same steps,
    and make only those model calls anew that were not journaled.
    """
    run_id = lab.run(crew, ask=ask).run_id
    calm = _end_of(lab, run_id)
    assert calm["status"] == "succeeded"
    lab.close()
    last = len(step_rows(lab, run_id)) - 1
    points = sorted({round(last * number / (most - 1)) for number in range(most)})
    copies = {steps: copy_run(lab, run_id, f"{run_id}-{steps}") for steps in points}
    kept = sum(rewind(lab, copy, steps) for steps, copy in copies.items())
    server.reset()
    if ask is None:
        for copy in copies.values():
            lab.runner.resume(copy)
    for steps, copy in copies.items():
        outcome = lab.runner.wait(copy) if ask is None else lab.resume(copy, ask=ask)
        found = _end_of(lab, copy)
        for what, was in calm.items():
            assert found[what] == was, f"crashed after {steps} steps: {what}; {outcome.reason}"
    assert server.stats()["attempts"] == len(copies) * calm["usage"]["model_calls"] - kept


def copy_run(lab: Lab, run_id: str, copy: str) -> str:
    """Put a finished run into the journal once more, under another id, which is returned. The runner must be closed."""
    of_run = f"in (select workflow_uuid from workflow_status where workflow_uuid = '{run_id}'"
    of_run += f" or workflow_uuid like '{run_id}.%')"
    with database(lab) as journal:
        for table, where in (
            ("operation_outputs", f"workflow_uuid {of_run}"),
            ("workflow_input", f"workflow_uuid {of_run}"),
            ("workflow_output", f"workflow_uuid {of_run}"),
            ("workflow_status", f"workflow_uuid {of_run}"),
            ("muster_runs", f"run_id = '{run_id}'"),
        ):
            columns = journal.execute(f"select name, type from pragma_table_info('{table}')").fetchall()
            named = ", ".join(name for name, _ in columns)
            values = ", ".join(
                f"replace({name}, '{run_id}', '{copy}')" if kind == "TEXT" else name for name, kind in columns
            )
            journal.execute(f"insert into {table} ({named}) select {values} from {table} where {where} order by rowid")
    journal.close()
    folder = lab.root / ".muster" / "runs"
    shutil.copytree(folder / run_id, folder / copy)
    return copy


def rewind(lab: Lab, run_id: str, steps: int) -> int:
    """Leave the first `steps` steps of a finished run, as a crash after them would have; return their model calls.

    Steps of all its workflows count, in the order in which they were written. The runner must be closed, as at the end
    of its process.
    """
    rows = step_rows(lab, run_id)
    kept, lost = rows[:steps], rows[steps:]
    started = {run_id, *(child for _, _, _, child, _ in kept if child)}
    cut_at = kept[-1][4] if kept else 0
    unfinished = {run_id, *(workflow for _, workflow, _, _, _ in lost)}
    with database(lab) as journal:
        journal.executemany("delete from operation_outputs where rowid = ?", [(row[0],) for row in lost])
        found = journal.execute(
            "select workflow_uuid, completed_at from workflow_status where workflow_uuid = ? or workflow_uuid like ?",
            (run_id, f"{run_id}.%"),
        ).fetchall()
        for workflow, completed_at in found:
            if workflow not in started:
                for table in ("workflow_status", "workflow_input", "workflow_output"):
                    journal.execute(f"delete from {table} where workflow_uuid = ?", (workflow,))
            elif workflow in unfinished or completed_at is None or completed_at > cut_at:
                set_pending(journal, workflow)
        journal.execute("update muster_runs set state = 'running', reason = '' where run_id = ?", (run_id,))
    journal.close()
    return sum("/model#" in name for _, _, name, _, _ in kept)


def rewind_to(lab: Lab, run_id: str, step: str) -> int:
    """Leave the steps of a finished run up to the one of this name; return how many model calls they are."""
    names = [name for _, _, name, _, _ in step_rows(lab, run_id)]
    return rewind(lab, run_id, names.index(step) + 1)


def step_rows(lab: Lab, run_id: str) -> list[tuple[int, str, str, str | None, int]]:
    """Return the steps of a run in the order written: number, workflow, name, the child it started, when it was done."""
    with database(lab) as journal:
        rows = journal.execute(
            "select rowid, workflow_uuid, function_name, child_workflow_id, completed_at_epoch_ms"
            " from operation_outputs where workflow_uuid = ? or workflow_uuid like ? order by rowid",
            (run_id, f"{run_id}.%"),
        ).fetchall()
    journal.close()
    return rows


def set_pending(journal: sqlite3.Connection, workflow: str) -> None:
    """Leave a workflow as one that its process did not finish."""
    journal.execute(
        "update workflow_status set status = 'PENDING', output = null, completed_at = null where workflow_uuid = ?",
        (workflow,),
    )
    journal.execute("delete from workflow_output where workflow_uuid = ?", (workflow,))


def reasons(lab: Lab, run_id: str, decision: str = "", task: str = "") -> list[dict[str, Any]]:
    """Return what `runs why` tells of a run, where asked only of one kind; each has a choice and a reason."""
    from runs.told.why import reasons_of

    told = reasons_of(lab.runner.source(), lab.runner.find(run_id), lab.runner.folder(run_id), task)
    for entry in told:
        assert entry["chosen"], entry
        assert entry["why"], entry
    return [entry for entry in told if not decision or entry["decision"] == decision]


def chosen(lab: Lab, run_id: str, decision: str, task: str = "") -> list[str]:
    """Return what was chosen, each time that this kind of decision was made."""
    return [entry["chosen"] for entry in reasons(lab, run_id, decision, task)]


def part(lab: Lab, run_id: str, name: str) -> dict[str, Any]:
    """Return one task of a run's summary."""
    return next(task for task in lab.summary(run_id)["tasks"] if task["name"] == name)


def _end_of(lab: Lab, run_id: str) -> dict[str, Any]:
    """Return what must be the same however often a run was interrupted."""
    summary = lab.summary(run_id)
    steps = [step for step in lab.steps(run_id) if step.kind != "join"]  # which of two ended first may differ
    return {
        "status": summary["status"],
        "output": summary["output"],
        "reason": summary["reason"],
        "confidence": summary["confidence"],
        "partial": summary["partial"],
        "tasks": [{key: task[key] for key in _TOLD} for task in summary["tasks"]],
        "steps": sorted((step.task, step.name, step.kind, str(step.record.get("exact", ""))) for step in steps),
        "usage": summary["usage"],
    }
