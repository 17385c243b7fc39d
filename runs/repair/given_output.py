"""An operator gives the output of a task that is stuck: checked against its contract, and recorded as theirs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import sqlalchemy as sa

from crews.planned import CrewPlan, PlannedTask, Value
from crews.state import written_by
from project.errors import AppError
from project.spec import BudgetSpec, FieldSpec
from runs.audit.heads import Audit
from runs.calls.toolbox import sources_of
from runs.executing.owners import open_owners
from runs.executing.state import RunState, read_found
from runs.governed.governing import taint_of
from runs.governed.tainting import NO_TAINT, read_basis, taint_json
from runs.repair.plan_changes import Place, find_place
from runs.stored.files import inside, write_atomically
from runs.stored.journal import pack, unpack
from runs.stored.journal_rows import OPERATOR, JournalRows
from runs.stored.rows import Recorded
from runs.stored.store import OVER, RunRow
from runs.stored.tables import QUESTIONS
from runs.work.judging import check_by_rules
from runs.work.unit import Decisions, Unit
from tasks.contracts import canonical, read_contract
from tasks.guardrails import is_empty
from tools.registry import load_guardrails

_MOST_ENTRIES = 1000
_SHOWN = 200


@dataclass(frozen=True)
class Repaired:
    """What an operator gave. Field names are API."""

    run_id: str
    task: str
    characters: int
    by: str
    file: str | None
    """The task's output file, which was written."""
    warnings: list[str]
    """What the task's rules say against it; it was taken all the same."""


def set_output(
    database: sa.Engine,
    runs_folder: Path,
    row: RunRow,
    task: str,
    text: str,
    *,
    reason: str = "",
    by: str,
    audit: Audit | None = None,
) -> Repaired:
    """Write `text` down as the output of a task that is not done, in a run that nobody executes.

    What waits for the task goes on with it when the run is resumed. Parts of the task that were under way end.
    `audit` signs the run as it then stands, with a note of who gave the output.
    Raises: AppError when the run or the task is done, the run is under way, or the text breaks the task's contract.
    """
    if row.state in OVER:
        raise AppError(f"run {row.run_id} is {row.state}", fix=f"`muster runs fork {row.run_id} --from {task}`")
    owners = open_owners(database, runs_folder)
    if not owners.acquire(row.run_id):
        what = f"run {row.run_id} is under way in {owners.holder(row.run_id) or 'another process'}"
        raise AppError(what, fix=f"`muster runs pause {row.run_id}` first")
    try:
        done = _Repair(database, row, runs_folder / row.run_id).set(task, text.rstrip("\n"), reason, by)
        if audit is not None:
            audit.append(row.run_id, note={"edit": "set", "task": task, "by": by, "why": reason})
        return done
    finally:
        owners.release(row.run_id)


class _Repair:
    """The run as it stands, without an engine."""

    def __init__(self, database: sa.Engine, row: RunRow, folder: Path) -> None:
        self._journal = JournalRows(database)
        self._row, self._folder = row, folder
        self._plan = row.read_plan()
        if not self._journal.there:
            raise AppError(f"run {row.run_id} was not executed yet", fix=f"`muster runs resume {row.run_id}` starts it")
        self._family = {one.id: one for one in self._journal.family(row.run_id)}

    def set(self, path: str, text: str, reason: str, by: str) -> Repaired:
        place = find_place(self._plan, path)
        workflow_id = f"{self._row.run_id}.{path}"
        planned = self._planned(place, path, self._family.get(workflow_id))
        text = _checked(planned, text)
        scope = self._scope(place)
        unit = self._unit(place, planned, scope, path)
        result = _result_of(planned, text, by)
        warnings, checks = self._warnings(unit, text)
        result["checks"] = checks
        result |= self._taint(workflow_id)
        file = self._write_file(planned, path, text, warnings)
        if file is not None:
            result["file"] = file
        self._write(workflow_id, path, result, self._decision(path, text, reason, by))
        return Repaired(self._row.run_id, path, len(text), by, file, warnings)

    def _taint(self, workflow_id: str) -> dict[str, Any]:
        """Return what was read at the task before: a person may have changed one word of what came of it."""
        taint = NO_TAINT
        for one in self._family if self._plan.policy is not None else ():
            if one == workflow_id or one.startswith(f"{workflow_id}."):
                taint = taint.plus(read_basis(self._journal.work(one, self._folder).get("basis")).taint)
                for step in self._journal.steps(one):
                    output: Any = step.output
                    record = cast(dict[str, Any], output) if isinstance(output, dict) else {}
                    taint = taint.plus(taint_of(step.name, record))
        return {"taint": told} if (told := taint_json(taint)) else {}

    def _planned(self, place: Place, path: str, found: Recorded | None) -> PlannedTask:
        if place.scope.stages:
            raise AppError(f"{path} is a stage", fix=f"name a task of it: {path}.TASK")
        if found is not None and found.status == "SUCCESS":
            fix = f"`muster runs fork {self._row.run_id} --from {path}` does it again"
            raise AppError(f"{path} is done already", fix=fix)
        if place.scope.process == "sequential":
            return place.scope.task(place.name)
        if found is None:
            raise AppError(f"the manager has not given {path} out yet", fix="wait until it is begun")
        work = self._journal.work(found.id, self._folder)
        return PlannedTask.model_validate(work["planned"]) if "planned" in work else place.scope.task(work["task"])

    def _scope(self, place: Place) -> CrewPlan:
        """Return the task's crew with the inputs of its stage, where that was entered."""
        values: Mapping[str, Value] = place.scope.inputs
        if place.prefix:
            above = place.above[-1]
            for step in self._journal.steps(f"{self._row.run_id}.{above}"):
                if step.name == f"{above}/inputs":
                    values = unpack(cast(dict[str, Any], step.output), self._folder)["values"]
        return place.scope.model_copy(update={"inputs": dict(values)})

    def _unit(self, place: Place, planned: PlannedTask, scope: CrewPlan, path: str) -> Unit:
        run = RunState(
            run_id=self._row.run_id,
            plan=self._plan,
            budget=BudgetSpec.model_validate_json(self._row.budget),
            folder=self._folder,
            versions=self._row.read_versions(),
            started_on="",
            same_versions=True,
        )
        for one in self._family:
            at = one[len(run.run_id) + 1 :]
            for step in self._journal.steps(one):
                record = unpack(cast(dict[str, Any], step.output), self._folder) if step.output else {}
                found = read_found(step.name, record)
                if found is not None:
                    run.note_found(at, found)
        before = [name for name in self._outputs(place) if name in planned.waits_for]
        outputs = {name: text for name, text in self._outputs(place).items() if name in before}
        upstream = [f"{place.prefix}{name}" for name in before]
        return Unit(
            run, path, scope, planned, _never, Decisions(path, self._folder), outputs=outputs, upstream=upstream
        )

    def _outputs(self, place: Place) -> dict[str, str]:
        found: dict[str, str] = {}
        for planned in place.scope.tasks:
            one = self._family.get(f"{self._row.run_id}.{place.prefix}{planned.name}")
            if one is not None and one.status == "SUCCESS":
                result = unpack(cast(dict[str, Any], one.output), self._folder)
                found[planned.name] = str(result.get("output", ""))
        return found

    def _warnings(self, unit: Unit, text: str) -> tuple[list[str], list[dict[str, Any]]]:
        try:
            unit.run.guardrails = load_guardrails(Path(self._plan.project))
            checks = check_by_rules(unit, text, sources_of(unit.run, unit.scope))
        except AppError as error:
            return [f"its rules could not be checked: {error}"], []
        return [f"{check['check']}: {reason}" for check in checks for reason in check["reasons"]], checks

    def _write_file(self, planned: PlannedTask, path: str, text: str, warnings: list[str]) -> str | None:
        """Put the output into the task's file, as the task would have. Raises: AppError when it can't be written."""
        name = planned.task.output_file
        if not name:
            return None
        if "{" in name:
            warnings.append(f"the output file {name!r} is not written: where it stands is known only to the task")
            return None
        target = inside(Path(self._plan.project), name)
        try:
            write_atomically(target, f"{text}\n".encode(), mode=0o644)
        except OSError as error:
            raise AppError(f"{path}: output_file {name!r} can't be written: {error.strerror}") from error
        return name

    def _decision(self, path: str, text: str, reason: str, by: str) -> dict[str, Any]:
        shown = " ".join(text.split())
        return {
            "kind": "decision",
            "decision": "set",
            "about": path,
            "chosen": shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 1]}…",
            "among": [],
            "why": reason or "an operator gave the output; no reason was given",
            "evidence": [],
            "by": by,
            "seconds": 0.0,
        }

    def _write(self, workflow_id: str, path: str, result: dict[str, Any], decision: dict[str, Any]) -> None:
        """Close the task and what was open below it, and void what was asked for it: all of it or nothing."""
        ended = {"failed": "an operator gave the output of the task", "fix": "", "piece": True}
        parent = workflow_id.rpartition(".")[0]
        asked = QUESTIONS.c.task
        with self._journal.database.begin() as connection:
            for one in self._family.values():
                if one.id.startswith(f"{workflow_id}.") and one.status != "SUCCESS":
                    self._journal.close(connection, one.id, workflow_id, ended)
            self._journal.close(connection, workflow_id, parent, pack(result, self._folder))
            self._journal.add_step(connection, workflow_id, f"{path}/{OPERATOR}#1", decision)
            of_task = sa.or_(asked == path, asked.startswith(f"{path}.", autoescape=True))
            where = (QUESTIONS.c.run_id == self._row.run_id, QUESTIONS.c.state == "open", of_task)
            connection.execute(QUESTIONS.update().where(*where).values(state="void"))


def _never(path: str, work: dict[str, Any]) -> NoReturn:
    raise AssertionError(f"{path} is not to be started")


def _checked(planned: PlannedTask, text: str) -> str:
    """Return the output in the form in which tasks hand it over. Raises: AppError naming every breach."""
    if is_empty(text):
        raise AppError("the output is empty")
    if planned.contract is None:
        return text
    problems: list[str] = []
    value: Any = None
    if planned.task.for_each is None:
        value, problems = read_contract(text, planned.contract)
    else:
        value = _entries(text, planned.contract, problems)
    if value is None or problems:
        raise AppError("\n".join(["the output breaks the contract of the task:", *problems]))
    return json.dumps(value, ensure_ascii=False, indent=2) if planned.task.for_each is not None else canonical(value)


def _entries(text: str, contract: Mapping[str, FieldSpec], problems: list[str]) -> list[Any] | None:
    """Read the output of a task with `for_each`: a list, one object an entry, null for one that failed."""
    try:
        found: Any = json.loads(text)
    except ValueError as error:
        problems.append(f"a JSON list is needed, one object an entry: {error}")
        return None
    if not isinstance(found, list) or len(cast(list[Any], found)) > _MOST_ENTRIES:
        problems.append("a JSON list is needed, one object an entry")
        return None
    values: list[Any] = []
    for number, entry in enumerate(cast(Sequence[Any], found), 1):
        value, wrong = read_contract(json.dumps(entry), contract) if entry is not None else (None, [])
        problems += [f"entry {number}: {problem}" for problem in wrong]
        values.append(value)
    return values


def _result_of(planned: PlannedTask, text: str, by: str) -> dict[str, Any]:
    is_json = planned.contract is not None
    result: dict[str, Any] = {
        "output": text,
        "agent": OPERATOR,
        "model": "",
        "offline": False,
        "confidence": {"value": None, "measured": False, "from": [f"given by {by}"]},
        "partial": [],
        "by_person": True,
        "json": is_json,
    }
    if planned.task.for_each is not None:
        found: list[Any] = json.loads(text) if is_json else []
        result["entries"] = len(found)
        if planned.task.writes:
            result["writes_of_entries"] = [written_by(planned, value) for value in found if value]
    elif planned.task.writes:
        result["writes"] = written_by(planned, json.loads(text) if is_json else None)
    return result
