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
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import muster
from crews.plan import merge_budgets
from crews.planned import Plan
from models.make import Model, make_model
from models.prices import find_price
from project.code import code_hashes
from project.errors import AppError, UsageError
from project.settings import Settings
from project.spec import BudgetSpec
from runs import state, workflow
from runs.database import database_path
from runs.engine import JOURNAL_FORMAT, Engine, unfinished
from runs.journal import unpack
from runs.locks import RunLock, holder
from runs.report import JournalSource, spent_in
from runs.state import Event, Parked, Question, RunState
from runs.store import RunRow, RunStore, find_run
from runs.toolbox import load_code

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_GRACE_SECONDS = 10.0

Listener = Callable[[Event], None]
Ask = Callable[[Question], str]


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


@dataclass
class _Execution:
    run: RunState
    lock: RunLock
    questions: "queue.Queue[tuple[Question, queue.Queue[str]]]"


class Runner:
    """Executes runs in this process. Only those it is told to: the runs of other processes are left alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = Engine(database_path(settings))
        self._engine.launch()
        self.store = RunStore(self._engine.database)
        self._executions: dict[str, _Execution] = {}
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()
        self._versions = _versions()

    def close(self) -> None:
        """Stop. Runs still under way stay unfinished and can be resumed."""
        for execution in list(self._executions.values()):
            execution.run.stopping = execution.run.stopping or "the process ended"
            execution.lock.release()
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
        lock = RunLock(self.folder(run_id))
        if not lock.acquire():
            raise UsageError(f"run {run_id} is under way in another process")
        try:
            run = self._state(run_id, plan, plan.budget, models, now, self._versions, listener)
            if not self.store.insert(run_id, plan, run.versions, now):
                raise UsageError(f"there is a run {run_id} already", fix="choose another --id")
        except BaseException:
            lock.release()
            raise
        self._execute(run, lock, attended)
        self._engine.start(workflow.run_workflow, run_id, run_id)
        return run_id

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
        row = self.find(run_id)
        lock = RunLock(self.folder(run_id))
        if not lock.acquire():
            raise AppError(f"run {run_id} is under way in process {holder(self.folder(run_id))}")
        try:
            run = self._prepare_resume(row, budget, accept_code_change, listener)
            if run.ended.is_set():
                self._execute(run, lock, attended)
                return
            family = sorted(item.id for item in self._engine.family(run_id) if unfinished(item))
            now = time.time()
            self.store.set(
                run_id,
                state="running",
                reason="",
                updated_at=now,
                segment_started_at=now,
                worked_seconds=run.worked_before,
                budget=run.budget.model_dump_json(),
                starts=row.starts + 1,
            )
        except BaseException:
            lock.release()
            raise
        self._execute(run, lock, attended)
        if run_id in family:
            self._engine.resume(family)
        else:  # the process died between storing the run and starting it
            self._engine.start(workflow.run_workflow, run_id, run_id)

    def _prepare_resume(
        self, row: RunRow, budget: BudgetSpec | None, accept_code_change: bool, listener: Listener | None
    ) -> RunState:
        found = self._engine.find(row.run_id)
        ended = found is not None and not unfinished(found)
        if ended and row.state == "succeeded":
            raise AppError(f"run {row.run_id} is finished", fix=f"`muster runs show {row.run_id}` prints its result")
        plan = row.read_plan()
        versions = row.read_versions()
        if versions["format"] != JOURNAL_FORMAT:
            fix = f"finish it with Muster {versions['muster']}"
            raise AppError(f"run {row.run_id} was written in journal format {versions['format']}", fix=fix)
        if not accept_code_change:
            _check_code(plan)
        ceilings = merge_budgets(BudgetSpec.model_validate_json(row.budget), budget)
        run = self._state(row.run_id, plan, ceilings, self._make_models(plan), row.created_at, versions, listener)
        run.resumed = True
        if ended:  # its process died after the end, before that was noted
            run.ended.set()
        run.same_versions = run.same_versions and not accept_code_change
        run.spent, last_step_at = spent_in(self._engine, row.run_id, run.folder)
        lost = max(0.0, last_step_at - row.segment_started_at) if row.state == "running" else 0.0
        run.worked_before = row.worked_seconds + lost
        return run

    def wait(self, run_id: str, *, ask: Ask | None = None) -> Outcome:
        """Wait until the run ends or parks. `ask` is called here, in this thread, when a person is to be asked.

        A KeyboardInterrupt goes through; call `interrupt` then.
        """
        execution = self._executions[run_id]
        if ask is not None:
            execution.run.asker = lambda question: _hand_over(execution, question)
        while not execution.run.ended.wait(0.05 if ask else 0.2):
            with contextlib.suppress(queue.Empty):
                question, reply = execution.questions.get_nowait()
                assert ask is not None
                reply.put(ask(question))
        return self._settle(execution)

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
        return self._settle(execution)

    def source(self) -> JournalSource:
        """Return what reads the journal in this process."""
        return self._engine

    def _settle(self, execution: _Execution) -> Outcome:
        run = execution.run
        outcome = self._succeeded(run) if run.ended.is_set() and run.outcome is None else self._park(run)
        self.store.set(
            run.run_id,
            state=outcome.status,
            reason=outcome.reason,
            updated_at=time.time(),
            worked_seconds=run.worked_seconds(),
            spent=json.dumps(run.spent.to_json()),
        )
        _keep_outputs(run)
        state.forget(run.run_id)
        self._executions.pop(run.run_id, None)
        execution.lock.release()
        return outcome

    def _succeeded(self, run: RunState) -> Outcome:
        result = self._engine.result(run.run_id)  # the workflow has returned; its outcome is being written
        found = unpack(result, run.folder)
        return Outcome(run.run_id, "succeeded", found["output"], partial=tuple(found["partial"]))

    def _park(self, run: RunState) -> Outcome:
        stop = run.outcome or Parked("interrupted", run.stopping)
        self._engine.park([item.id for item in self._engine.family(run.run_id) if unfinished(item)])
        return Outcome(run.run_id, stop.kind, reason=stop.reason, fix=stop.fix)

    # -- parts

    def folder(self, run_id: str) -> Path:
        """Return the folder of a run's files."""
        return self._settings.state_folder / "runs" / run_id

    def find(self, run_id: str) -> RunRow:
        """Return the run. Raises: AppError with the nearest ids."""
        return find_run(self.store, run_id)

    def warnings(self, run_id: str) -> list[str]:
        return list(self._executions[run_id].run.warnings)

    def _execute(self, run: RunState, lock: RunLock, attended: bool) -> None:
        execution = _Execution(run, lock, queue.Queue())
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
    ) -> RunState:
        prices = {name: find_price(spec) for name, spec in plan.models.items()}
        run = RunState(
            run_id=run_id,
            plan=plan,
            budget=budget,
            folder=self.folder(run_id),
            versions=versions,
            started_on=datetime.fromtimestamp(created_at, UTC).strftime("%Y-%m-%d"),
            same_versions=all(versions.get(name) == self._versions[name] for name in ("muster", "crewai")),
            listener=listener,
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


def _check_code(plan: Plan) -> None:
    now = code_hashes(Path(plan.project))
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
