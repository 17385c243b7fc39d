"""A run executed again from a copy of its journal: no model, no tool, no file, no socket, and the same bytes."""

import hashlib
import importlib.metadata
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar, cast

import muster
from crews.planned import Plan
from models.answer import Answer
from models.keys import key_variable
from models.make import Model, make_model
from project.code import code_hashes
from project.errors import AppError
from project.spec import BudgetSpec, ModelSpec
from runs.calls.toolbox import load_code
from runs.executing import state, workflow
from runs.executing.state import Parked, RunState
from runs.stored import engine
from runs.stored.database import open_sqlite
from runs.stored.files import place_of
from runs.stored.journal import unpack
from runs.stored.journal_rows import OPERATOR, JournalRows, Taken
from runs.stored.rows import Recorded
from runs.stored.store import RunRow

_R = TypeVar("_R")
_Made = tuple[str, str, Any]
"""Workflow, name of the step, what was journaled."""

_SOCKETS = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
)
_OF_A_SOCKET = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg"})
_LONGEST_SECONDS = 600.0
_LOOK_SECONDS = 0.2
_SHOWN = 160


@dataclass(frozen=True)
class Replayed:
    """What a replay came to. Field names are API."""

    run_id: str
    identical: bool
    steps: int
    hash: str
    """Over every workflow, step name, record and result of the journal."""
    replayed_hash: str
    """The same over what the replay made."""
    difference: str
    """The first one; "" when there is none."""
    sockets: int
    """Attempts to reach the network; each was refused."""
    seconds: float
    warnings: list[str] = field(default_factory=list[str])


class Replayer:
    """Replays runs in a scratch database in a folder of its own. DBOS must not be launched in this process already."""

    def __init__(self) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="muster-replay-"))
        self._engine = engine.Engine(open_sqlite(self._scratch / "journal.db"))
        self._sockets = _Sockets()
        self._journal_step = engine.step
        self._made: list[_Made] = []
        self._missing: list[str] = []
        self._failed: dict[str, tuple[str, str]] = {}
        """Parts of tasks whose result is that they failed, why, and how to go on."""
        self._lock = threading.Lock()

    def __enter__(self) -> "Replayer":
        self._engine.launch()
        self._rows = JournalRows(self._engine.database)
        sys.addaudithook(self._sockets.watch)
        engine.step = self._step  # the one place through which everything goes that touches the world
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        engine.step = self._journal_step
        self._engine.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def replay(self, journal: JournalRows, row: RunRow, folder: Path) -> Replayed:
        """Execute the run again and compare. `journal` and `folder` are only read.

        Raises: AppError when the run cannot be rebuilt here: its code was changed, or its journal is of another format.
        """
        began = time.monotonic()
        plan = row.read_plan()
        _check(row, plan)
        family = journal.family(row.run_id)
        given = _given_by_operator(journal, family)
        if place_of(folder) is not None:  # parts of the journal may lie only in the shared place: reading brings them
            _bring_payloads(journal, family, folder)
        run = self._state(row, plan, folder)
        with self._rows.database.begin() as writing, journal.database.connect() as reading:
            taken = [Taken(one.id, None if _is_below(one.id, given) else sys.maxsize) for one in family]
            journal.copy_to(self._rows, writing, taken, row.run_id, row.run_id, reading)
        self._made, self._missing = [], []
        self._failed = {one.id: found for one in family if (found := _failure(one)) is not None}
        open_ids = [one.id for one in family if not _is_below(one.id, given)]
        self._sockets.begin()
        try:
            self._execute(run, open_ids)
        finally:
            self._sockets.active = False
        return self._compare(journal, row, family, given, run, time.monotonic() - began)

    # -- executing

    def _step(self, name: str, body: Callable[[], _R]) -> _R:
        """Return what was journaled under `name`; a step that is not in the journal is not made."""

        def missing() -> NoReturn:
            failed = self._failed.get(str(engine.DBOS.workflow_id))
            if failed is not None:  # it came to its end in this step, at a ceiling or a limit of time
                raise Parked("failed", *failed)
            with self._lock:
                self._missing.append(name)
            raise Parked("interrupted", f"step {name} is not in the journal")

        record = self._journal_step(name, missing)
        with self._lock:
            self._made.append((str(engine.DBOS.workflow_id), name, record))
        return record

    def _state(self, row: RunRow, plan: Plan, folder: Path) -> RunState:
        here = self._scratch / row.run_id
        here.mkdir(mode=0o700)
        if (folder / "payloads").is_dir():
            shutil.copytree(folder / "payloads", here / "payloads")
        versions = row.read_versions()
        now = {"muster": muster.__version__, "crewai": importlib.metadata.version("crewai")}
        run = RunState(
            run_id=row.run_id,
            plan=plan,
            budget=BudgetSpec.model_validate_json(row.budget),
            folder=here,
            versions=versions,
            started_on=datetime.fromtimestamp(row.created_at, UTC).strftime("%Y-%m-%d"),
            same_versions=all(versions.get(name) == version for name, version in now.items()),
            models={name: _silent(name, spec) for name, spec in plan.models.items() if spec.model != "offline"},
            prices=dict.fromkeys(plan.models, (None, "unknown")),
        )
        run.resumed = True
        load_code(run)
        return run

    def _execute(self, run: RunState, workflow_ids: Sequence[str]) -> None:
        state.register(run)
        try:
            if run.run_id in workflow_ids:
                self._engine.resume(run.run_id, lambda _connection: True)
            else:
                self._engine.start(workflow.run_workflow, run.run_id, run.run_id)
            until = time.monotonic() + _LONGEST_SECONDS
            paths = [one.partition(".")[2] for one in workflow_ids if one != run.run_id]
            while not run.ended.wait(_LOOK_SECONDS) or not _settled(run, paths):
                if time.monotonic() > until:
                    raise AppError(f"the replay of {run.run_id} did not come to an end")
        finally:
            if run.outcome is not None or not run.ended.is_set():
                self._engine.park(run.run_id)
            else:
                self._engine.result(run.run_id)
            state.forget(run.run_id)

    # -- comparing

    def _compare(
        self,
        journal: JournalRows,
        row: RunRow,
        family: Sequence[Recorded],
        given: Sequence[str],
        run: RunState,
        seconds: float,
    ) -> Replayed:
        ids = [one.id for one in family]
        was = {one: _journaled(journal, one) for one in ids}
        made: dict[str, list[tuple[str, Any]]] = {
            one: _journaled(self._rows, one) if _is_below(one, given) else [] for one in ids
        }
        for workflow_id, name, record in self._made:
            made.setdefault(workflow_id, []).append((name, record))
        difference = _first_difference(row.run_id, was, made) or self._beyond(row, family, ids, run)
        if self._sockets.refused:
            difference = f"the network was asked for: {self._sockets.first}; {difference}".rstrip("; ")
        for one in ids:
            for source, found in ((journal, was), (self._rows, made)):
                text = source.result_text(one)
                if text is not None:
                    found[one].append(("result", text))
        difference = difference or _first_difference(row.run_id, was, made)
        return Replayed(
            row.run_id,
            not difference,
            sum(len([name for name, _ in steps if name != "result"]) for steps in was.values()),
            _hash(row.run_id, was),
            _hash(row.run_id, made),
            difference,
            self._sockets.refused,
            round(seconds, 3),
            list(run.warnings),
        )

    def _beyond(self, row: RunRow, family: Sequence[Recorded], ids: Sequence[str], run: RunState) -> str:
        """Say what the replay wanted beyond the journal; a run that did not end wants what was not done yet."""
        open_before = [one for one in family if one.status != "SUCCESS"]
        new = [one.id for one in self._rows.family(row.run_id) if one.id not in ids]
        if self._missing and (row.state == "succeeded" or len(self._missing) > len(open_before) + len(new)):
            return f"step {self._missing[0]} is not in the journal"
        if row.state == "succeeded" and run.outcome is not None:
            return f"the replay did not end: {run.outcome.reason}"
        return f"{new[0]} is not in the journal" if new and row.state == "succeeded" else ""


class _Sockets:
    """Refuses and counts attempts to reach the network while `active`. An audit hook can never be taken out again."""

    def __init__(self) -> None:
        self.active = False
        self.refused = 0
        self.first = ""

    def begin(self) -> None:
        self.refused, self.first, self.active = 0, "", True

    def watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.active and event in _SOCKETS:
            self.refused += 1
            self.first = self.first or f"{event} {arguments[1:] if event in _OF_A_SOCKET else arguments[:2]}"
            raise OSError(f"a replay reaches no network: {event}")


class _SilentModel(Model):
    """A model that is never asked: it only knows its window, which says how much an agent is shown."""

    def ask(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]],
        timeout_seconds: float,
        most_tokens: int | None = None,
    ) -> Answer:
        raise Parked("interrupted", f"a replay asks no model, and {self.name} was to be asked")


def _silent(name: str, spec: ModelSpec) -> Model:
    # Only the provider's class knows the window where models.yaml does not; it is given no key and is never called.
    made = make_model(name, spec, {spec.api_key_env or key_variable(spec.model.partition("/")[0]): "no-key"})
    return _SilentModel(name, spec, made.provider, made.context_window)


def _check(row: RunRow, plan: Plan) -> None:
    versions = row.read_versions()
    if versions["format"] != engine.JOURNAL_FORMAT:
        what = f"run {row.run_id} was written in journal format {versions['format']}"
        raise AppError(what, fix=f"replay it with Muster {versions['muster']}")
    now = code_hashes(Path(plan.project))
    changed = sorted(path for path in {*now, *plan.code} if now.get(path) != plan.code.get(path))
    if changed:
        what = f"code of the run was changed since it started: {', '.join(changed)}"
        raise AppError(what, fix="put the files back: what agents were told of their tools stands in them")


def _bring_payloads(journal: JournalRows, family: Sequence[Recorded], folder: Path) -> None:
    for one in family:
        journal.work(one.id, folder)
        records: list[Any] = [one.output, *(step.output for step in journal.steps(one.id))]
        for record in records:
            unpack(cast(dict[str, Any], record or {}), folder)


def _given_by_operator(journal: JournalRows, family: Sequence[Recorded]) -> list[str]:
    """Name the workflows whose output an operator gave: they were not executed to their end."""
    return [one.id for one in family if any(step.name.endswith(f"/{OPERATOR}#1") for step in journal.steps(one.id))]


def _failure(one: Recorded) -> tuple[str, str] | None:
    found = cast(dict[str, Any], one.output or {})
    return (str(found["failed"]), str(found.get("fix", ""))) if "failed" in found and "agent" not in found else None


def _is_below(workflow_id: str, given: Sequence[str]) -> bool:
    return any(workflow_id == one or workflow_id.startswith(f"{one}.") for one in given)


def _settled(run: RunState, paths: Sequence[str]) -> bool:
    with run.changed:
        return all(path in run.results or path in run.parked for path in paths)


def _journaled(rows: JournalRows, workflow_id: str) -> list[tuple[str, Any]]:
    return [(step.name, step.output) for step in rows.steps(workflow_id) if step.child_id is None]


def _first_difference(
    run_id: str, was: Mapping[str, Sequence[tuple[str, Any]]], made: Mapping[str, Sequence[tuple[str, Any]]]
) -> str:
    for workflow_id in dict.fromkeys([*was, *made]):
        where = workflow_id[len(run_id) + 1 :] or "run"
        before, after = was.get(workflow_id, []), made.get(workflow_id, [])
        for number, (one, other) in enumerate(zip(before, after, strict=False), 1):
            if one[0] != other[0]:
                return f"{where}: step {number} is {one[0]} in the journal, {other[0]} in the replay"
            if one[1] != other[1]:
                return f"{where}: {one[0]} is {_shown(one[1])} in the journal, {_shown(other[1])} in the replay"
        if len(before) > len(after):
            return f"{where}: {before[len(after)][0]} is in the journal and not in the replay"
        if len(after) > len(before):
            return f"{where}: {after[len(before)][0]} is in the replay and not in the journal"
    return ""


def _shown(record: Any) -> str:
    text = record if isinstance(record, str) else json.dumps(record, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _hash(run_id: str, steps: Mapping[str, Sequence[tuple[str, Any]]]) -> str:
    """Return a hash over every step of every workflow, and over the results, each workflow named by its path."""
    total = hashlib.sha256()
    for workflow_id in sorted(steps):
        for name, record in steps[workflow_id]:
            entry = [workflow_id[len(run_id) + 1 :], name, record]
            total.update(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode())
    return total.hexdigest()
