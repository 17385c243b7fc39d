"""Start, resume, wait for and park runs in this process: what `muster run` and `muster runs resume` stand on."""

import contextlib
import importlib.metadata
import json
import platform
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import muster
from crews.plan import merge_budgets
from crews.planned import Plan
from models.make import Model, make_model
from models.prices import find_price
from project.code import code_hashes
from project.errors import AppError, UsageError
from project.settings import Settings
from project.spec import BudgetSpec
from runs import state, tool_hosts, workflow
from runs.database import Patience, is_sqlite, open_database
from runs.engine import JOURNAL_FORMAT, Engine, unfinished
from runs.files import bring_files, runs_folder, share_outputs
from runs.half_written import find_half_written
from runs.inbox import Inbox, queue_answered
from runs.input_files import RunPaths, bring_inputs, local_root, store_inputs
from runs.journal import unpack
from runs.leases import Lease
from runs.owners import LEASE_SECONDS, open_owners
from runs.places import PlaceError
from runs.rates import Rates
from runs.report import JournalSource, read_steps, spent_in
from runs.state import Event, Parked, Question, RunState
from runs.store import RunRow, RunStore, find_run
from runs.time_used import set_clock
from runs.toolbox import load_code
from runs.watching import Watch

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_GRACE_SECONDS = 10.0
_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 900.0
_TAKEN_OVER = "another process has taken the run over"
_WANTED = {
    "pause": "paused by an operator",
    "cancel": "cancelled by an operator",
    "hand over": "handed over by a worker that was stopped",
}
_WANTED_STATES = {"pause": "paused", "cancel": "cancelled", "hand over": "queued"}

Listener = Callable[[Event], None]
Ask = Callable[[Question], str]


class UnderWay(AppError):
    """The run is another process's, or has just become so."""


@dataclass(frozen=True)
class Outcome:
    """How an execution of a run ended. `output` is set when it succeeded."""

    run_id: str
    status: str
    output: str = ""
    reason: str = ""
    fix: str = ""
    partial: tuple[str, ...] = ()
    """What the output lacks."""
    warnings: tuple[str, ...] = ()
    """What a person should know of the run: half-written files, changed prompts, files that could not be shared."""


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
        self._rates = Rates(self.database)
        self._executions: dict[str, _Execution] = {}
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()
        self._versions = _versions()

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
        run_id = check_run_id(run_id) if run_id else new_run_id(plan.crew)
        models = self._make_models(plan)
        now = time.time()
        if run_id in self._executions or not self.owners.acquire(run_id):
            raise UsageError(f"run {run_id} is under way in another process")
        try:
            run = self._state(run_id, plan, plan.budget, models, now, self._versions, listener)
            run.clock.set_deadline(plan.deadline_seconds)
            self._share_inputs(run)
            self._take_inputs(run)
            self._insert(run_id, plan, now, worker=self.owners.worker_id)
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
        run_id = check_run_id(run_id) if run_id else new_run_id(plan.crew)
        now = time.time()
        self._share_inputs(self._state(run_id, plan, plan.budget, self._make_models(plan), now, self._versions, None))
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
        """Let other machines have the files that are inputs of a new run. Raises: AppError."""
        if self._settings.files:
            if self.store.find(run.run_id) is not None:
                raise _taken(run.run_id)
            store_inputs(run.folder, run.plan, self._settings.files_max_bytes)

    def _paths(self, run_id: str, plan: Plan) -> RunPaths:
        root = local_root(self._settings, plan)
        return bring_inputs(self.folder(run_id), plan, root, self._settings.files_max_bytes)

    def _take_inputs(self, run: RunState) -> None:
        """Let a new run read what goes with it, and not what it was made from: that may change meanwhile."""
        run.paths = self._paths(run.run_id, run.plan)
        if run.paths.moved:
            run.tools.clear()
            load_code(run)

    def _insert(self, run_id: str, plan: Plan, now: float, **more: Any) -> None:
        if not self.store.insert(run_id, plan, self._versions, now, **more):
            raise _taken(run_id)

    def resume(
        self,
        run_id: str,
        *,
        budget: BudgetSpec | None = None,
        accept_code_change: bool = False,
        listener: Listener | None = None,
        attended: bool = False,
    ) -> None:
        """Go on with an unfinished run, from its journal. A failed call is made again. `attended` as with `start`.

        Raises: AppError when it is finished, under way elsewhere, or not to be resumed by this version or code.
        """
        run_id = self.find(run_id).run_id
        if run_id in self._executions or not self.owners.acquire(run_id):
            raise UnderWay(f"run {run_id} is under way in {self.owners.holder(run_id) or 'another process'}")
        row = self.find(run_id)
        try:
            run = self._prepare_resume(row, budget, accept_code_change, listener)
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

    def _prepare_resume(
        self, row: RunRow, budget: BudgetSpec | None, accept_code_change: bool, listener: Listener | None
    ) -> RunState:
        found = self._engine.find(row.run_id)
        ended = found is not None and not unfinished(found)
        if ended and row.state == "succeeded":
            raise AppError(f"run {row.run_id} is finished", fix=f"`muster runs show {row.run_id}` prints its result")
        if row.state == "cancelled":
            fix = f"`muster runs fork {row.run_id} --from TASK` makes a new run of it, with what is done"
            raise AppError(f"run {row.run_id} was cancelled", fix=fix)
        plan = row.read_plan()
        versions = row.read_versions()
        if versions["format"] != JOURNAL_FORMAT:
            fix = f"finish it with Muster {versions['muster']}"
            raise AppError(f"run {row.run_id} was written in journal format {versions['format']}", fix=fix)
        if not accept_code_change:
            _check_code(plan, local_root(self._settings, plan))
        ceilings = merge_budgets(BudgetSpec.model_validate_json(row.budget), budget)
        paths = self._paths(row.run_id, plan)
        models = self._make_models(plan)
        run = self._state(row.run_id, plan, ceilings, models, row.created_at, versions, listener, paths)
        run.resumed = True
        set_clock(run, row, self._engine, found.created_at if found else time.time(), self.database)
        if ended:  # its process died after the end, before that was noted
            run.ended.set()
        run.same_versions = run.same_versions and not accept_code_change
        self._bring_files(run)
        run.spent, last_step_at = spent_in(self._engine, row.run_id, run.folder)
        lost = max(0.0, last_step_at - row.segment_started_at) if row.state == "running" else 0.0
        run.worked_before = row.worked_seconds + lost
        return run

    def _bring_files(self, run: RunState) -> None:
        if self._settings.files:
            steps = read_steps(self._engine, run.run_id, run.folder)
            ended = sorted(steps, key=lambda step: step.started_at + step.seconds)
            run.warnings += bring_files(run.folder, run.project, [step.record for step in ended])

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
            run.stop(_TAKEN_OVER, grace_seconds=0)
        elif seen.wanted == "cancel":
            run.stop(_WANTED["cancel"], "cancel", grace_seconds=0)
        elif seen.wanted == "pause" and not run.stopping:
            run.stop(_WANTED["pause"], "pause")

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
            execution.run.stop(_WANTED["hand over"], "hand over", grace_seconds)

    def interrupt(self, run_id: str, reason: str) -> Outcome:
        """Park the run: no new call is made, those in flight are waited for a little, then given up."""
        execution = self._executions[run_id]
        execution.run.stopping = reason
        until = time.monotonic() + _GRACE_SECONDS
        while not execution.run.ended.wait(0.05) and execution.run.in_flight and time.monotonic() < until:
            pass
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
        now, lost = time.time(), Outcome(execution.run.run_id, "interrupted", reason=_TAKEN_OVER)
        outcome = self.patience.insist(lambda: self._settle_now(execution.run, now), _PATIENCE_SECONDS)
        return self._forget(execution.run, replace(outcome or lost, warnings=tuple(execution.run.warnings)))

    def _settle_now(self, run: RunState, now: float) -> Outcome | None:
        """Write down how the execution ended; None when the run is another process's. May be called again."""
        row = self.store.find(run.run_id)
        written = row is not None and row.updated_at == now  # by a first try whose success was not heard of
        if not written and not self.owners.holds(run.run_id):  # nothing of it may be written any more
            return None
        outcome = self._succeeded(run) if run.ended.is_set() and run.outcome is None else self._park(run)
        values = {
            "state": outcome.status,
            "reason": outcome.reason,
            "updated_at": now,
            "queued_at": now,
            "worked_seconds": run.worked_seconds(),
            "spent": json.dumps(run.spent.to_json()),
            "wanted": "",
            "worker": "",
            "takeovers": 0,
        }
        _keep_outputs(run)
        if not written and not self.store.change(run.run_id, values, state="running", **self.owners.mine()):
            return None
        if outcome.status == "waiting" and self.inbox.answered_meanwhile(run.run_id):
            queue_answered(self.store, run.run_id, now)
        if outcome.status == "cancelled":
            self.inbox.void(run.run_id)
        return outcome

    def _forget(self, run: RunState, outcome: Outcome) -> Outcome:
        self.owners.settled(run.run_id)
        state.forget(run.run_id)
        self._executions.pop(run.run_id, None)
        return outcome

    def _succeeded(self, run: RunState) -> Outcome:
        result = self._engine.result(run.run_id)  # the workflow has returned; its outcome is being written
        found = unpack(result, run.folder)
        return Outcome(run.run_id, "succeeded", found["output"], partial=tuple(found["partial"]))

    def _park(self, run: RunState) -> Outcome:
        stop = run.outcome or Parked("interrupted", run.stopping)
        self._engine.park(run.run_id)
        if run.wanted and stop.kind == "interrupted":
            return Outcome(run.run_id, _WANTED_STATES[run.wanted], reason=_WANTED[run.wanted])
        return Outcome(run.run_id, stop.kind, reason=stop.reason, fix=stop.fix)

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

    def _state(
        self,
        run_id: str,
        plan: Plan,
        budget: BudgetSpec,
        models: dict[str, Model],
        created_at: float,
        versions: Mapping[str, str],
        listener: Listener | None,
        paths: RunPaths | None = None,
    ) -> RunState:
        prices = {name: find_price(spec) for name, spec in plan.models.items()}
        paths = paths or RunPaths()
        if paths.root is not None:  # this machine's checkout is what the run's code is loaded from
            plan = plan.model_copy(update={"project": str(paths.root)})
        run = RunState(
            run_id=run_id,
            plan=plan,
            budget=budget,
            folder=self.folder(run_id),
            versions=versions,
            started_on=datetime.fromtimestamp(created_at, UTC).strftime("%Y-%m-%d"),
            same_versions=all(versions.get(name) == self._versions[name] for name in ("muster", "crewai")),
            listener=listener,
            paths=paths,
            rates=self._rates,
            inbox=self.inbox,
            models=models,
            prices={name: (price, source) for name, (price, source) in prices.items()},
        )
        _check_prices(run)
        load_code(run)
        return run

    def _make_models(self, plan: Plan) -> dict[str, Model]:
        made: dict[str, Model] = {}
        with self._lock:
            for name, spec in plan.models.items():
                if spec.model == "offline":
                    continue
                key = f"{name} {spec.model_dump_json()}"
                if key not in self._models:
                    self._models[key] = make_model(name, spec, self._settings.environment)
                made[name] = self._models[key]
        return made


def _keep_outputs(run: RunState) -> None:
    """Lay the outputs of the finished tasks into the run's folder, for people; the journal is what counts."""
    folder = run.folder / "outputs"
    for path, packed in run.results.items():
        result = unpack(packed, run.folder)
        if not result.get("output") or result.get("piece"):
            continue
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / f"{path}.{'json' if result.get('json') else 'md'}"
        file.write_text(f"{result['output']}\n", encoding="utf-8")
        file.chmod(0o600)
    try:
        share_outputs(run.folder)
    except PlaceError as error:  # they are in the journal, too
        run.warnings.append(str(error))


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


def _check_prices(run: RunState) -> None:
    if run.budget.max_usd is None:
        return
    for name, (price, source) in run.prices.items():
        if price is None and source != "offline":
            raise AppError(
                f"the price of {run.plan.models[name].model} is not known, so max_usd can't be kept",
                fix=f"write it in models.yaml, in US dollars per million tokens: {name}: {{price: {{input: N, ...}}}}",
            )


def _check_code(plan: Plan, root: Path) -> None:
    now = code_hashes(root)
    changed = sorted(path for path in {*now, *plan.code} if now.get(path) != plan.code.get(path))
    if changed:
        fix = "put the files back, or resume with --accept-code-change"
        raise AppError(f"code of the run was changed since it started: {', '.join(changed)}", fix=fix)


def _versions() -> dict[str, str]:
    return {
        "format": JOURNAL_FORMAT,
        "muster": muster.__version__,
        "crewai": importlib.metadata.version("crewai"),
        "dbos": importlib.metadata.version("dbos"),
        "python": platform.python_version(),
    }


def check_run_id(run_id: str) -> str:
    """Return the id. Raises: UsageError when it can't be one."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(f"{run_id!r} can't be a run id", fix="letters, digits, `-` and `_`, at most 80")
    return run_id


def new_run_id(crew: str) -> str:
    """Make an id that sorts by time and can be read aloud."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", crew).strip("-")[:40] or "run"
    return f"{stem}-{datetime.now(UTC):%m%d-%H%M%S}-{secrets.token_hex(4)}"
