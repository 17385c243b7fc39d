"""The two durable workflows: a run walks its crew; a task, stage or part of one is a child. Functions of JSON."""

import traceback
from collections.abc import Mapping
from typing import Any

from crewai.hooks import HookAborted, InterceptionPoint, on

from agents.loop import AgentFailed
from models.make import is_guarded_call
from project.errors import AppError, database_trouble
from runs.executing.state import Diverged, Parked, RunState, running
from runs.governed.redaction import redactor_of
from runs.governed.tainting import Reading, read_basis
from runs.stored import engine
from runs.stored.files import NotShared, write_atomically
from runs.stored.journal import pack, unpack
from runs.work.carrying import carry_out
from runs.work.crewing import CrewRun, as_task_result, crew_for, enter_crew, walk_stages, walk_tasks
from runs.work.managing import manage
from runs.work.unit import Decisions, Unit, read_work


@on(InterceptionPoint.PRE_MODEL_CALL)
def _only_guarded(_context: Any) -> None:
    # The second line: a model call that CrewAI makes by itself would be neither journaled nor counted.
    if not is_guarded_call():
        raise HookAborted("a model call that did not come through Muster's guard", source="muster")


@engine.workflow("muster.run")
def run_workflow(run_id: str) -> dict[str, Any]:
    """Walk the plan of `run_id`. Returns the run's result."""
    run = running(run_id)
    try:
        reading = Reading(run.plan.policy, crew=run.plan.crew)
        crew = CrewRun(
            run, run.plan, "", lambda path, work: _start(run, path, work), Decisions("", run.folder), reading
        )
        return pack(_walk(crew), run.folder)
    except BaseException as error:
        run.outcome = _stop(run, "run", error)
        if engine.is_lost(error):
            raise
        raise run.outcome from error
    finally:
        run.ended.set()


@engine.workflow("muster.task")
def task_workflow(run_id: str, path: str, work: dict[str, Any]) -> dict[str, Any]:
    """Carry out what is at `path`: a task, a part of one, or a stage. Returns its result.

    With `soft` in its work a failure is a result, `{"failed": why}`: somebody goes on with it.
    """
    run = running(run_id)
    reading = Reading(run.plan.policy)
    try:
        given = unpack(work, run.folder)
        chain, supervised = tuple(given.get("chain", ())), bool(given.get("supervised"))
        reading = Reading(run.plan.policy, read_basis(given.get("basis")), chain=chain, supervised=supervised)
        result = pack(reading.told(_carry_out(run, path, given, reading)), run.folder)
    except BaseException as error:
        stop = _stop(run, path, error)
        if engine.is_lost(error):
            run.note_parked(path, stop)
            raise
        if stop.kind != "failed" or not work.get("soft") or not _foreseen(error):
            run.note_parked(path, stop)
            raise stop from error
        result: dict[str, Any] = {"failed": stop.reason, "fix": stop.fix}
        if stop.cause:
            result["cause"] = stop.cause
        result = reading.told(result)
    if work.get("piece"):
        result["piece"] = True
    run.note_result(path, result)
    return result


def _start(run: RunState, path: str, work: dict[str, Any]) -> Any:
    return engine.start_child(task_workflow, f"{run.run_id}.{path}", run.run_id, path, work)


def _carry_out(run: RunState, path: str, work: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    def start(child: str, child_work: dict[str, Any]) -> Any:
        return _start(run, child, child_work)

    if "stage" in work:
        return _walk(enter_crew(run, work["stage"], path, work["given"], start, reading))
    return carry_out(read_work(run, path, work, start, reading), _by_crew)


def _by_crew(unit: Unit) -> dict[str, Any]:
    """Let a crew do a task; where its output cannot be taken the task fails, and a resume lets the crew try again."""
    number = 0
    while True:
        number += 1
        result = _walk(crew_for(unit, number))
        try:
            return as_task_result(unit, result, number)
        except AppError as error:
            if unit.gives_up(str(error)):
                raise


def _walk(crew: CrewRun) -> dict[str, Any]:
    if crew.scope.stages:
        return walk_stages(crew)
    return manage(crew) if crew.scope.process == "hierarchical" else walk_tasks(crew)


def _foreseen(error: BaseException) -> bool:
    return isinstance(error, Parked | AppError | AgentFailed)


def _stop(run: RunState, where: str, error: BaseException) -> Parked:
    """Say what becomes of the run when `error` ends a part of it; the reason holds no secret."""
    stop, hide = _reason(run, where, error), redactor_of(run.run_id).text
    reason, fix = hide(stop.reason), hide(stop.fix)
    return stop if (reason, fix) == (stop.reason, stop.fix) else Parked(stop.kind, reason, fix, stop.cause)


def _reason(run: RunState, where: str, error: BaseException) -> Parked:
    match error:
        case Parked():
            return error
        case Diverged():
            return Parked("failed", str(error))
        case NotShared():
            return Parked("interrupted", str(error), error.fix)
        case AppError():
            return Parked("failed", str(error), "; ".join(error.fixes()))
        case AgentFailed():
            return Parked("failed", str(error), error.fix, "model")
        case Exception():
            return _bug(run, where, error)
        case _ if engine.is_lost(error):
            return Parked("interrupted", run.stopping or "another process has taken the run over")
        case _:
            raise error


def _bug(run: RunState, where: str, error: Exception) -> Parked:
    """Keep the run, and the traceback, when Muster or a library fails in a way nobody foresaw."""
    if trouble := database_trouble(error):
        what, _, fix = trouble.partition(". ")
        return Parked("failed", f"the journal can't be written: {what}", fix)
    path = run.folder / "error.txt"
    first = (str(error).splitlines() or [""])[0]
    what = f"unexpected {type(error).__name__}: {first}"
    try:
        told = redactor_of(run.run_id).text(f"{where}\n{traceback.format_exc()}")
        write_atomically(path, told.encode("utf-8", "replace"))
    except OSError as full:
        return Parked("failed", what, f"its traceback could not be kept: {full.strerror}")
    return Parked("failed", what, f"the traceback is in {path}")
