"""A new run out of an old one: what is done before a task is taken over from the journal, the rest is done anew."""

import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from crews.pipeline import stage_inputs
from crews.planned import CrewPlan, Plan
from crews.state import ancestors
from project.errors import AppError, UsageError
from runs.repair.plan_changes import Place, crew_changes, find_place, manager_changes, member_changes, task_changes
from runs.stored.files import copy_files
from runs.stored.journal import unpack
from runs.stored.journal_rows import JournalRows, Taken
from runs.stored.rows import Recorded, StepRow
from runs.stored.store import RunRow, digest_of, stored_plan
from runs.stored.tables import RUNS

_FOLDERS = ("payloads", "files")


@dataclass(frozen=True)
class Forked:
    """What a fork took over. Field names are API."""

    run_id: str
    fork_of: str
    task: str
    steps: int
    """Steps of the journal that were taken over."""
    kept: list[str]
    """Finished tasks, subtasks and stages that are not done again."""
    again: list[str]
    """Finished ones beside the task that a change reaches: they are done again."""


@dataclass
class _Selection:
    """What of the old run goes into the new one."""

    taken: list[Taken] = field(default_factory=list[Taken])
    kept: list[str] = field(default_factory=list[str])
    again: list[str] = field(default_factory=list[str])
    refused: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What a change reaches although it was done before the task."""


def fork_run(
    database: sa.Engine, runs_folder: Path, row: RunRow, plan: Plan, task: str, new_id: str, *, by: str, now: float
) -> Forked:
    """Store a run `new_id` of `plan` that goes on where run `row` had come to before `task`; it is not started.

    It stands in the table as `interrupted`: resuming it does the rest. `plan` is that of the old run, or another one
    of the same crew. Raises: AppError when the task was not reached, or a change reaches what was done before it;
    UsageError when the id is taken.
    """
    journal = JournalRows(database)
    if not journal.there:
        raise AppError(f"run {row.run_id} was not executed yet", fix=f"`muster runs resume {row.run_id}` starts it")
    selection = _Selector(journal, row, plan, runs_folder / row.run_id).select(task)
    if selection.refused:
        told = "; ".join(f"{name} ({', '.join(changes[:5])})" for name, changes in selection.refused.items())
        fix = f"fork from {next(iter(selection.refused))} or earlier, or start a new run"
        raise AppError(f"the change reaches work that was done before {task}: {told}", fix=fix)
    if plan.policy is not None and row.read_plan().policy is None and (selection.kept or selection.taken):
        what = f"run {row.run_id} was started before there were policies: what its tasks have read is not known"
        raise AppError(what, fix="start a new run, or fork it as it was, without a change")
    folder = runs_folder / new_id
    try:
        _copy_files(runs_folder / row.run_id, folder)
        copy_files(runs_folder / row.run_id, folder)
        with database.begin() as connection:
            connection.execute(RUNS.insert().values(_row_of_fork(row, plan, task, new_id, by, now, connection)))
            steps = journal.copy_to(journal, connection, selection.taken, row.run_id, new_id)
    except IntegrityError as error:
        raise UsageError(f"there is a run {new_id} already", fix="choose another --id") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Forked(new_id, row.run_id, task, steps, selection.kept, selection.again)


def _row_of_fork(
    row: RunRow, plan: Plan, task: str, new_id: str, by: str, now: float, connection: sa.Connection
) -> dict[str, Any]:
    found = connection.execute(sa.select(RUNS).where(RUNS.c.run_id == row.run_id)).mappings().one()
    changed: dict[str, Any] = {"plan": row.plan, "digest": row.digest}
    if plan != row.read_plan():
        text = stored_plan(plan)
        changed = {"plan": text, "digest": digest_of(text), "offline": plan.offline}
        changed["budget"] = plan.budget.model_dump_json()
    return {
        **found,
        **changed,
        "run_id": new_id,
        "created_at": now,
        "updated_at": now,
        "segment_started_at": now,
        "worked_seconds": 0.0,
        "state": "interrupted",
        "reason": f"forked from {row.run_id} at {task}",
        "starts": 0,
        "takeovers": 0,
        "spent": "{}",
        "worker": "",
        "wanted": "",
        "queued_at": 0.0,
        "not_before": 0.0,
        "origin": json.dumps({"fork_of": row.run_id, "from": task, "by": by}),
    }


def _copy_files(old: Path, new: Path) -> None:
    """Copy what the journal and the tools keep in the run's folder. Raises: UsageError when the new one is taken."""
    try:
        new.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise UsageError(f"there is a run {new.name} already", fix="choose another --id") from error
    for name in _FOLDERS:
        if (old / name).is_dir():
            shutil.copytree(old / name, new / name, symlinks=True)


class _Selector:
    """Chooses the workflows that the new run takes over, and finds what a change reaches."""

    def __init__(self, journal: JournalRows, row: RunRow, plan: Plan, folder: Path) -> None:
        self._journal, self._run_id, self._folder = journal, row.run_id, folder
        self._old, self._new = row.read_plan(), plan
        self._family = {found.id: found for found in journal.family(row.run_id)}
        self._found = _Selection()

    def select(self, task: str) -> _Selection:
        if self._old.crew != self._new.crew:
            raise AppError(f"run {self._run_id} is one of crew {self._old.crew}, not of {self._new.crew}")
        before, after = find_place(self._old, task), find_place(self._new, task)
        if before.scope.process != after.scope.process or bool(before.scope.stages) != bool(after.scope.stages):
            raise AppError(f"crew {before.scope.crew} is led in another way now", fix="start a new run")
        self._stages(before)
        if before.scope.stages:
            pass  # the stages before it are all there is
        elif before.scope.process == "hierarchical":
            self._subtasks(before, after)
        else:
            self._tasks(before, after)
        return self._found

    # -- stages

    def _stages(self, place: Place) -> None:
        """Take the stages before the one in question over, at every level above the task."""
        old: CrewPlan = self._old
        new: CrewPlan = self._new
        prefix = ""
        for name in [*place.prefix.split(".")[:-1], *([place.name] if place.scope.stages else [])]:
            given_changes = self._stages_before(old, new, prefix, name)
            if (name, prefix) != (place.name, place.prefix) and given_changes:
                self._found.refused[f"{prefix}{name}"] = given_changes
            old, new, prefix = self._old.crews[name], self._new.crews[name], f"{prefix}{name}."

    def _stages_before(self, old: CrewPlan, new: CrewPlan, prefix: str, name: str) -> list[str]:
        """Take over what comes before stage `name`; return which of the inputs that it is given changed."""
        outputs: dict[str, str] = {}
        changes: list[str] = []
        later = {stage.crew: stage for stage in new.stages}
        for stage in old.stages:
            path = f"{prefix}{stage.crew}"
            changes = crew_changes(self._old, self._new, stage.crew) if stage.crew != name else []
            if stage.crew not in later:
                changes = ["is not there any more"]
            elif prefix == "":
                scope = self._old.crews[stage.crew]
                was = stage_inputs(stage, scope, old.inputs, outputs) if self._done(path) or stage.crew == name else {}
                now = stage_inputs(later[stage.crew], scope, new.inputs, outputs) if was else {}
                changes += [f"inputs.{key}" for key in was if was[key] != now.get(key)]
            elif stage.inputs != later[stage.crew].inputs:
                changes.append("inputs")
            if stage.crew == name:
                break
            if self._done(path):
                if changes:
                    self._found.refused[path] = changes
                self._keep(path)
                outputs[stage.crew] = str(self._result(path)["output"])
        return changes

    # -- tasks

    def _tasks(self, before: Place, after: Place) -> None:
        """Take over the finished tasks that do not wait for this one; what a change reaches beside it is done again."""
        tasks, prefix = after.scope.tasks, before.prefix
        needed = ancestors(tasks, before.name)
        anew = {before.name}
        for planned in tasks:
            changes = task_changes(self._old, before.scope, self._new, after.scope, planned.name)
            if not changes or not self._done(f"{prefix}{planned.name}") or planned.name == before.name:
                continue
            if planned.name in needed:
                self._found.refused[f"{prefix}{planned.name}"] = changes
            elif before.name not in ancestors(tasks, planned.name):
                anew.add(planned.name)
                self._found.again.append(f"{prefix}{planned.name}")
        for planned in tasks:
            waits = ancestors(tasks, planned.name)
            if planned.name not in anew and not anew.intersection(waits) and self._done(f"{prefix}{planned.name}"):
                self._keep(f"{prefix}{planned.name}")

    # -- subtasks

    def _subtasks(self, before: Place, after: Place) -> None:
        """Take over the manager's steps up to where it gave this subtask out, and the subtasks given out before."""
        changes = manager_changes(self._old, before.scope, self._new, after.scope)
        if changes:
            self._found.refused[f"{before.prefix}manager"] = changes
        above = before.above
        steps = self._journal.steps(self._id(above[-1]))
        cut = self._cut(steps, before)
        for row in steps:
            if row.child_id is not None and row.number < cut:
                self._keep_subtask(self._path(row.child_id), before, after)
        self._found.taken.append(Taken(self._id(above[-1]), cut))
        for path, below in itertools.pairwise(above):
            started = next(row for row in self._journal.steps(self._id(path)) if row.child_id == self._id(below))
            self._found.taken.append(Taken(self._id(path), started.number + 1))

    def _cut(self, steps: Sequence[StepRow], place: Place) -> int:
        """Return the number of the first step that is not taken over: where the subtask, or one not done, was begun."""
        wanted = self._id(f"{place.prefix}{place.name}")
        started = {row.child_id: position for position, row in enumerate(steps) if row.child_id is not None}
        if wanted not in started:
            known = ", ".join(self._path(child) for child in started) or "none yet"
            fix = f"subtasks that were begun: {known}"
            raise AppError(f"run {self._run_id} never came to {place.prefix}{place.name}", fix=fix)
        position = min(at for child, at in started.items() if child == wanted or not self._done(self._path(child)))
        before = cast(Mapping[str, Any], steps[position - 1].output if position else {}) or {}
        return steps[position - 1].number if before.get("decision") == "route" else steps[position].number

    def _keep_subtask(self, path: str, before: Place, after: Place) -> None:
        work = self._journal.work(self._id(path), self._folder)
        agent = str(work.get("planned", {}).get("agent_name", ""))
        name = str(work.get("task") or work.get("planned", {}).get("name", ""))
        changes = member_changes(self._old, before.scope, self._new, after.scope, agent) if agent else []
        if name in [task.name for task in before.scope.tasks]:
            changes += task_changes(self._old, before.scope, self._new, after.scope, name)
        if changes:
            self._found.refused[path] = changes
        self._keep(path)

    # -- parts

    def _keep(self, path: str) -> None:
        """Take a finished workflow over with those below it that are finished."""
        top = self._id(path)
        done = [found for found in self._family.values() if found.status == "SUCCESS"]
        self._found.taken += [Taken(found.id) for found in done if found.id == top or found.id.startswith(f"{top}.")]
        self._found.kept.append(path)

    def _done(self, path: str) -> bool:
        found = self._family.get(self._id(path))
        return found is not None and found.status == "SUCCESS"

    def _result(self, path: str) -> dict[str, Any]:
        found: Recorded = self._family[self._id(path)]
        return unpack(cast(dict[str, Any], found.output), self._folder)

    def _id(self, path: str) -> str:
        return f"{self._run_id}.{path}" if path else self._run_id

    def _path(self, workflow_id: str) -> str:
        return workflow_id[len(self._run_id) + 1 :]
