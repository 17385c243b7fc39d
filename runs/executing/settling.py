"""How an execution ends: what is written down of it, and only while the run is still this process's."""

import json
from dataclasses import dataclass

from runs.audit.heads import Audit
from runs.executing.owners import Owners
from runs.executing.state import Parked, RunState
from runs.people.inbox import Inbox, queue_answered
from runs.stored.engine import Engine
from runs.stored.files import share_outputs
from runs.stored.journal import unpack
from runs.stored.places import PlaceError
from runs.stored.sealing import seal_text
from runs.stored.store import RunStore

TAKEN_OVER = "another process has taken the run over"
WANTED = {
    "pause": "paused by an operator",
    "cancel": "cancelled by an operator",
    "hand over": "handed over by a worker that was stopped",
}
_WANTED_STATES = {"pause": "paused", "cancel": "cancelled", "hand over": "queued"}


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


@dataclass(frozen=True)
class Settler:
    """Writes down how executions end."""

    engine: Engine
    store: RunStore
    owners: Owners
    inbox: Inbox
    audit: Audit | None = None
    """Signs the head of each run that ends; None without a key."""

    def settle(self, run: RunState, now: float) -> Outcome | None:
        """Write down how the execution ended; None when the run is another process's. May be called again."""
        row = self.store.find(run.run_id)
        written = row is not None and row.updated_at == now  # by a first try whose success was not heard of
        if not written and not self.owners.holds(run.run_id):  # nothing of it may be written any more
            return None
        outcome = self._succeeded(run) if run.ended.is_set() and run.outcome is None else self._park(run)
        values = {
            "state": outcome.status,
            "reason": seal_text(outcome.reason) if outcome.reason and _has_private_tools(run) else outcome.reason,
            "updated_at": now,
            "queued_at": now,
            "worked_seconds": run.worked_seconds(),
            "spent": json.dumps(run.spending.spent.to_json()),
            "wanted": "",
            "worker": "",
            "takeovers": 0,
        }
        _keep_outputs(run)
        if self.audit is not None:
            # Before the end itself: after a crash in between the run goes on, and the head is one of its beginning.
            self.audit.append(run.run_id, values)
        if not written and not self.store.change(run.run_id, values, state="running", **self.owners.mine()):
            return None
        if outcome.status == "waiting" and self.inbox.answered_meanwhile(run.run_id):
            queue_answered(self.store, run.run_id, now)
        if outcome.status == "cancelled":
            self.inbox.void(run.run_id)
        return outcome

    def _succeeded(self, run: RunState) -> Outcome:
        result = self.engine.result(run.run_id)  # the workflow has returned; its outcome is being written
        found = unpack(result, run.folder)
        return Outcome(run.run_id, "succeeded", found["output"], partial=tuple(found["partial"]))

    def _park(self, run: RunState) -> Outcome:
        stop = run.outcome or Parked("interrupted", run.stopping)
        self.engine.park(run.run_id)
        if run.wanted and stop.kind == "interrupted":
            return Outcome(run.run_id, _WANTED_STATES[run.wanted], reason=WANTED[run.wanted])
        return Outcome(run.run_id, stop.kind, reason=stop.reason, fix=stop.fix)


def _has_private_tools(run: RunState) -> bool:
    return run.plan.policy is not None and any(tool.private for tools in run.tools.values() for tool in tools.values())


def _keep_outputs(run: RunState) -> None:
    """Lay the outputs of the finished tasks into the run's folder, for people; the journal is what counts."""
    if _has_private_tools(run):
        return  # what is private stands in the journal alone, which is encrypted
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
