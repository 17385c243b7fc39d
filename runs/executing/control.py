"""Start, resume, wait for and park runs in this process: what `muster run` and `muster runs resume` stand on."""

import contextlib
import json
import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from crews.planned import Plan
from policy.budget import Added
from project.errors import AppError, UsageError
from project.settings import Settings
from project.spec import BudgetSpec
from runs.audit.heads import open_audit
from runs.calls import tool_hosts
from runs.executing import state, workflow
from runs.executing.assembly import Assembly, Listener
from runs.executing.leases import Lease
from runs.executing.owners import LEASE_SECONDS, open_owners
from runs.executing.settling import TAKEN_OVER, WANTED, Outcome, Settler
from runs.executing.state import Parked, Question, RunState
from runs.executing.watching import Watch
from runs.governed import redaction
from runs.ids import check_run_id, new_run_id
from runs.people.inbox import Inbox
from runs.people.origin import started_by
from runs.stored.database import Patience, is_sqlite, open_database
from runs.stored.engine import Engine
from runs.stored.files import runs_folder
from runs.stored.half_written import find_half_written
from runs.stored.store import RunRow, RunStore, find_run
from runs.told.report import JournalSource

_GRACE_SECONDS = 10.0
_QUIET_SECONDS = 1.0
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 900.0

Ask = Callable[[Question], str]


class UnderWay(AppError):
    """The run is another process's, or has just become so."""


@dataclass
class _Execution:
    run: RunState
    questions: "queue.Queue[tuple[Question, queue.Queue[str]]]"


class Runner:
    """Executes runs in this process. Only those it is told to: the runs of other processes are left alone."""

    def __init__(
        self, settings: Settings, *, lease_seconds: float = LEASE_SECONDS, tell: Callable[[str], None] | None = None
    ) -> None:
        """Launch the engine. `tell` takes a line about the database being gone, and one about its coming back."""
        self._settings = settings
        self._folder = runs_folder(settings)
        self.patience = Patience(tell or (lambda _line: None))
        self.database = open_database(settings)
        self._engine = Engine(self.database)
        self._engine.launch()
        self.store = RunStore(self.database)
        self.owners = open_owners(self.database, Path(self._folder))
        self._lease = None if is_sqlite(self.database) else Lease(self.database, self.owners.worker_id, lease_seconds)
        if self._lease is not None:
            self._lease.start()
        self._watch = Watch(self.database, self.owners)
        self.inbox = Inbox(self.database, self.patience)
        self._assembly = Assembly(settings, self._folder, self.database, self._engine, self.inbox)
        self.audit = open_audit(self.database, settings)
        self._settler = Settler(self._engine, self.store, self.owners, self.inbox, self.audit)
        self._executions: dict[str, _Execution] = {}

    def close(self) -> None:
        """Stop. Runs still under way stay unfinished and can be resumed."""
        for run_id, execution in list(self._executions.items()):
            execution.run.stopping = execution.run.stopping or "the process ended"
            self.patience.try_now(lambda run_id=run_id: self.owners.release(run_id))
        if self._lease is not None:
            self._lease.stop()
        tool_hosts.close()
        self._engine.close()

    def start(
        self, plan: Plan, run_id: str | None = None, *, listener: Listener | None = None, attended: bool = False
    ) -> str:
        """Store the plan and start a run of it; return its id. `attended`: `wait` will be called with `ask`.

        Raises: AppError before anything is stored when a model, tool or price is not to be had; UsageError for a bad
        or taken id.
        """
        run_id, plan = check_run_id(run_id) if run_id else new_run_id(plan.crew), redaction.clean_plan(plan)
        now = time.time()
        if run_id in self._executions or not self.owners.acquire(run_id):
            raise UsageError(f"run {run_id} is under way in another process", fix=f"`muster runs watch {run_id}`")
        try:
            run = self._assembly.new(run_id, plan, now, listener)
            self._share_inputs(run)
            self._assembly.take_inputs(run)
            origin = json.dumps({"by": started_by()})
            self._insert(run_id, plan, now, worker=self.owners.worker_id, origin=origin)
        except BaseException:
            self.owners.release(run_id)
            raise
        self._execute(run, attended)
        self._engine.start(workflow.run_workflow, run_id, run_id)
        return run_id

    def enqueue(
        self,
        plan: Plan,
        run_id: str | None = None,
        *,
        origin: Mapping[str, Any] | None = None,
        not_before: float = 0.0,
        priority: int | None = None,
    ) -> str:
        """Store the plan as a queued run, for `muster serve` or a worker to execute; return its id.

        Raises: as `start`: what is wrong with a model, tool or price is said here and not by the worker.
        """
        run_id, plan = check_run_id(run_id) if run_id else new_run_id(plan.crew), redaction.clean_plan(plan)
        now = time.time()
        self._share_inputs(self._assembly.new(run_id, plan, now, origin=origin))
        redaction.forget(run_id)
        self._insert(
            run_id,
            plan,
            now,
            state="queued",
            queued_at=now,
            not_before=not_before,
            starts=0,
            origin=json.dumps(dict(origin or {})),
            queue=plan.queue.name,
            max_running=plan.queue.max_running or 0,
            priority=plan.queue.priority if priority is None else priority,
        )
        return run_id

    def _share_inputs(self, run: RunState) -> None:
        if self._settings.files and self.store.find(run.run_id) is not None:
            raise _taken(run.run_id)  # its files are not to be written over
        self._assembly.share_inputs(run)

    def _insert(self, run_id: str, plan: Plan, now: float, **more: Any) -> None:
        if not self.store.insert(run_id, plan, self._assembly.versions, now, **more):
            raise _taken(run_id)

    def resume(
        self,
        run_id: str,
        *,
        budget: BudgetSpec | None = None,
        added: Added | None = None,
        accept_code_change: bool = False,
        listener: Listener | None = None,
        attended: bool = False,
    ) -> None:
        """Go on with an unfinished run, from its journal. A failed call is made again. `attended` as with `start`.

        `budget` is put in the place of the run's own ceilings, `added` raises all that apply to it, for good.

        Raises: AppError when it is finished, under way elsewhere, or not to be resumed by this version or code.
        """
        run_id = self.find(run_id).run_id
        if run_id in self._executions or not self.owners.acquire(run_id):
            who = self.owners.holder(run_id) or "another process"
            raise UnderWay(f"run {run_id} is under way in {who}", fix=f"`muster runs watch {run_id}` follows it")
        row = self.find(run_id)
        try:
            run = self._assembly.resumed(row, budget, accept_code_change, listener, added)
            self._begin_again(row, run)
        except BaseException:
            self.owners.release(run_id)
            raise
        run.warnings += find_half_written(run)
        self._execute(run, attended)
        if not run.ended.is_set():
            self.patience.insist(lambda: self._take_up(run_id), _PATIENCE_SECONDS)

    def _begin_again(self, row: RunRow, run: RunState) -> None:
        now = time.time()
        values = {
            "state": "running",
            "reason": "",
            "updated_at": now,
            "segment_started_at": now,
            "worked_seconds": run.worked_before,
            "budget": run.budget.model_dump_json(),
            "added": json.dumps(run.spending.added.to_json()),
            "starts": row.starts + 1,
            # What was journaled since the last start shows that the run does not just kill its process.
            "takeovers": row.takeovers if row.state == "running" and run.worked_before == row.worked_seconds else 0,
            "worker": self.owners.worker_id,
            "wanted": "",
        }
        if not self.store.change(row.run_id, values, state=row.state, **self.owners.mine()):
            raise UnderWay(f"run {row.run_id} has just changed", fix="try again")

    def _take_up(self, run_id: str) -> None:
        taken = self._engine.resume(run_id, self._owned(run_id))
        if taken is not None and run_id not in taken:  # the process died between storing the run and starting it
            self._engine.start(workflow.run_workflow, run_id, run_id)
            if not self._engine.is_here(run_id):  # and it was not dead: it has just started it
                self._engine.resume(run_id, self._owned(run_id))

    def _owned(self, run_id: str) -> Callable[[sa.Connection], bool]:
        return lambda connection: self.owners.holds_in(connection, run_id)

    def wait(self, run_id: str, *, ask: Ask | None = None) -> Outcome:
        """Wait until the run ends or parks. `ask` is called here, in this thread, when a person is to be asked.

        A KeyboardInterrupt goes through; call `interrupt` then.
        """
        execution = self._executions[run_id]
        if ask is not None:
            execution.run.asker = lambda question: _hand_over(execution, question)
        run, looked = execution.run, time.monotonic()
        while not run.ended.wait(0.05 if ask else 0.2):
            with contextlib.suppress(queue.Empty):
                question, reply = execution.questions.get_nowait()
                assert ask is not None
                said = ask(replace(question, dropped=lambda: self._is_stopping(execution)))
                if not run.stopping:
                    reply.put(said)
            if time.monotonic() - looked >= _LOOK_SECONDS:
                looked = time.monotonic()
                self._look(execution)
            if run.stopping and time.monotonic() >= run.give_up_at:
                tool_hosts.abandon(run_id)
                break
        return self._settle(execution)

    def _look(self, execution: _Execution) -> None:
        """See what an operator wants of the run, and whether it still is this process's."""
        run = execution.run
        seen = self.patience.try_now(lambda: self._watch.look(run.run_id, list(self._executions)))
        if seen is None:  # the database is gone: nobody can have taken the run over
            return
        if not seen.mine:
            run.stop(TAKEN_OVER, grace_seconds=0)
        elif seen.wanted == "cancel":
            run.stop(WANTED["cancel"], "cancel", grace_seconds=0)
        elif seen.wanted == "pause" and not run.stopping:
            run.stop(WANTED["pause"], "pause")

    def _is_stopping(self, execution: _Execution) -> bool:
        self._look(execution)
        return bool(execution.run.stopping)

    def may_judge(self) -> bool:
        """Say whether this process sees enough of the database to call another one dead."""
        return self._lease is None or self._lease.may_judge()

    def hand_over(self, run_id: str, grace_seconds: float) -> None:
        """Let another worker go on with a run that another thread waits for; calls under way get the grace."""
        execution = self._executions.get(run_id)
        if execution is not None:
            execution.run.stop(WANTED["hand over"], "hand over", grace_seconds)

    def interrupt(self, run_id: str, reason: str) -> Outcome:
        """Park the run: no new call is made, those in flight are waited for a little, then given up."""
        execution = self._executions[run_id]
        execution.run.stopping = reason
        now = time.monotonic()
        until, quiet_until = now + _GRACE_SECONDS, now + _QUIET_SECONDS
        while not execution.run.ended.wait(0.05) and time.monotonic() < min(until, quiet_until):
            if execution.run.in_flight:
                quiet_until = time.monotonic() + _QUIET_SECONDS
        return self._settle(execution)

    def abandon(self, run_id: str, reason: str) -> Outcome:
        """Park the run at once; a call in flight is made again when it is resumed."""
        execution = self._executions[run_id]
        execution.run.stopping = reason
        tool_hosts.abandon(run_id)
        return self._settle(execution)

    def source(self) -> JournalSource:
        """Return what reads the journal in this process."""
        return self._engine

    def _settle(self, execution: _Execution) -> Outcome:
        now, lost = time.time(), Outcome(execution.run.run_id, "interrupted", reason=TAKEN_OVER)
        outcome = self.patience.insist(lambda: self._settler.settle(execution.run, now), _PATIENCE_SECONDS)
        return self._forget(execution.run, replace(outcome or lost, warnings=tuple(execution.run.warnings)))

    def _forget(self, run: RunState, outcome: Outcome) -> Outcome:
        self.patience.try_now(run.spending.close)
        self.owners.settled(run.run_id)
        state.forget(run.run_id)
        self._executions.pop(run.run_id, None)
        return outcome

    # -- parts

    def folder(self, run_id: str) -> Path:
        """Return the folder of a run's files."""
        return self._folder / run_id

    def find(self, run_id: str) -> RunRow:
        """Return the run. Raises: AppError with the nearest ids."""
        return find_run(self.store, run_id)

    def _execute(self, run: RunState, attended: bool) -> None:
        run.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        execution = _Execution(run, queue.Queue())
        self._executions[run.run_id] = execution
        if attended:  # before anything is executed: the first task may ask
            run.asker = lambda question: _hand_over(execution, question)
        state.register(run)


def _taken(run_id: str) -> UsageError:
    return UsageError(f"there is a run {run_id} already", fix="choose another --id")


def _hand_over(execution: _Execution, question: Question) -> str:
    reply: queue.Queue[str] = queue.Queue()
    execution.questions.put((question, reply))
    while True:
        with contextlib.suppress(queue.Empty):
            return reply.get(timeout=0.1)
        if execution.run.stopping:
            raise Parked("interrupted", execution.run.stopping)
