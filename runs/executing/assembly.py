"""A run as this process executes it: models, tools, ceilings and files, all as its stored plan says."""

import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

import muster
from crews.plan import merge_budgets
from crews.planned import Plan
from models.make import Model, make_model
from models.prices import find_price
from policy.budget import Added
from project.code import code_hashes
from project.errors import AppError
from project.secrets import check_secrets_set
from project.settings import Settings
from project.spec import BudgetSpec
from runs.calls.rates import Rates
from runs.calls.toolbox import load_code, tool_names
from runs.executing.state import Event, RunState
from runs.executing.time_used import set_clock
from runs.governed import redaction
from runs.governed.ceilings import Ceilings, ceilings_of, unpriced
from runs.governed.governing import Governor
from runs.governed.ledger import Ledger
from runs.governed.spending import Spending
from runs.people.inbox import Inbox
from runs.people.origin import started_by
from runs.stored.engine import JOURNAL_FORMAT, Engine, unfinished
from runs.stored.files import bring_files
from runs.stored.input_files import RunPaths, bring_inputs, local_root, store_inputs
from runs.stored.store import RunRow
from runs.told.report import read_steps, spent_in

Listener = Callable[[Event], None]


class Assembly:
    """Makes the state of runs. Provider clients are shared by all runs of the process."""

    def __init__(self, settings: Settings, folder: Path, database: sa.Engine, engine: Engine, inbox: Inbox) -> None:
        self.versions = versions_now()
        self._settings, self._folder, self._database, self._engine = settings, folder, database, engine
        self._inbox, self._rates, self._ledger = inbox, Rates(database), Ledger(database)
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()

    def new(
        self,
        run_id: str,
        plan: Plan,
        now: float,
        listener: Listener | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> RunState:
        """Make the state of a run that is to be started or queued. Raises: AppError for what is not to be had."""
        origin = origin or {"by": started_by()}
        run = self._state(run_id, plan, plan.budget, self._make_models(plan), now, self.versions, listener, origin)
        run.clock.set_deadline(plan.deadline_seconds)
        return run

    def share_inputs(self, run: RunState) -> None:
        """Let other machines have the files that are inputs of a new run. Raises: AppError."""
        if self._settings.files:
            store_inputs(run.folder, run.plan, self._settings.files_max_bytes)

    def take_inputs(self, run: RunState) -> None:
        """Let a new run read what goes with it, and not what it was made from: that may change meanwhile."""
        run.paths = self._paths(run.run_id, run.plan)
        if run.paths.moved:
            run.tools.clear()
            load_code(run)

    def resumed(
        self,
        row: RunRow,
        budget: BudgetSpec | None,
        accept_code_change: bool,
        listener: Listener | None,
        added: Added | None = None,
    ) -> RunState:
        """Make the state of a run that goes on. `added` is what its ceilings are raised by now.

        Raises: AppError when it is over, or not to be resumed by this code.
        """
        added = added or Added()
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
        ceilings = added.to(merge_budgets(BudgetSpec.model_validate_json(row.budget), budget))
        paths = self._paths(row.run_id, plan)
        models = self._make_models(plan)
        origin = row.read_origin()
        run = self._state(
            row.run_id,
            plan,
            ceilings,
            models,
            row.created_at,
            versions,
            listener,
            origin,
            paths,
            row.read_added().plus(added),
        )
        run.resumed = True
        set_clock(run, row, self._engine, found.created_at if found else time.time(), self._database)
        if ended:  # its process died after the end, before that was noted
            run.ended.set()
        run.same_versions = run.same_versions and not accept_code_change
        self._bring_files(run)
        steps = read_steps(self._engine, row.run_id, run.folder)
        run.governor.remember(steps)
        run.spending.remember(steps)
        _, last_step_at = spent_in(steps)
        lost = max(0.0, last_step_at - row.segment_started_at) if row.state == "running" else 0.0
        run.worked_before = row.worked_seconds + lost
        return run

    def _bring_files(self, run: RunState) -> None:
        if self._settings.files:
            steps = read_steps(self._engine, run.run_id, run.folder)
            ended = sorted(steps, key=lambda step: step.started_at + step.seconds)
            run.warnings += bring_files(run.folder, run.project, [step.record for step in ended])

    def _paths(self, run_id: str, plan: Plan) -> RunPaths:
        root = local_root(self._settings, plan)
        return bring_inputs(self._folder / run_id, plan, root, self._settings.files_max_bytes)

    def _state(
        self,
        run_id: str,
        plan: Plan,
        budget: BudgetSpec,
        models: dict[str, Model],
        created_at: float,
        versions: Mapping[str, str],
        listener: Listener | None,
        origin: Mapping[str, Any],
        paths: RunPaths | None = None,
        added: Added | None = None,
    ) -> RunState:
        beside = ceilings_of(plan, origin)
        prices = {name: find_price(spec) for name, spec in plan.models.items()}
        paths = paths or RunPaths()
        redaction.protect(run_id, plan)
        if paths.root is not None:  # this machine's checkout is what the run's code is loaded from
            plan = plan.model_copy(update={"project": str(paths.root)})
        run = RunState(
            run_id=run_id,
            plan=plan,
            budget=budget,
            folder=self._folder / run_id,
            versions=versions,
            started_on=datetime.fromtimestamp(created_at, UTC).strftime("%Y-%m-%d"),
            same_versions=all(versions.get(name) == self.versions[name] for name in ("muster", "crewai")),
            listener=listener,
            paths=paths,
            governor=Governor(plan.policy, str(origin.get("by", "")), str(origin.get("schedule", ""))),
            rates=self._rates,
            spending=Spending(budget, beside, run_id=run_id, added=added, ledger=self._ledger),
            inbox=self._inbox,
            models=models,
            prices={name: (price, source) for name, (price, source) in prices.items()},
        )
        _check_prices(run, beside)
        load_code(run)
        if plan.policy is not None:
            check_secrets_set(plan.policy, tool_names(run), self._settings.environment)
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


def _check_prices(run: RunState, beside: Ceilings) -> None:
    found = unpriced(run.plan, run.budget, beside, run.prices)
    if found is not None:
        name, ceiling = found
        raise AppError(
            f"the price of {run.plan.models[name].model} is not known, so {ceiling} can't be kept",
            fix=f"write `price: {{input: N, output: N}}` at {name} in models.yaml, in US dollars per million tokens",
        )


def _check_code(plan: Plan, root: Path) -> None:
    now = code_hashes(root)
    changed = sorted(path for path in {*now, *plan.code} if now.get(path) != plan.code.get(path))
    if changed:
        fix = "put the files back, or resume with --accept-code-change"
        raise AppError(f"code of the run was changed since it started: {', '.join(changed)}", fix=fix)


def versions_now() -> dict[str, str]:
    """Return the versions that a run is made with, by what they are of; `format` is the journal's."""
    return {
        "format": JOURNAL_FORMAT,
        "muster": muster.__version__,
        "crewai": importlib.metadata.version("crewai"),
        "dbos": importlib.metadata.version("dbos"),
        "python": platform.python_version(),
    }
