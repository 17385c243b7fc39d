"""A worker: executes queued runs and takes over those of dead processes, so many at once."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from project.errors import AppError
from runs.executing.control import Runner, UnderWay
from runs.executing.queueing import RunQueue
from runs.executing.settling import Outcome
from runs.stored.places import PlaceError
from runs.stored.store import RunRow

MOST_TAKEOVERS = 5
"""So often in a row a run may be taken over without having journaled anything; then it fails: it kills its process."""
_LOOK_SECONDS = 0.5
_TAKE_OVER_SECONDS = 2.0
_HAND_OVER_SECONDS = 5.0
_STATE_SECONDS = 10.0
_AGAIN_SECONDS = 30.0

Told = Callable[[str], None]


class Worker:
    """Executes runs of one project in threads of this process. `tell` takes a line about each.

    `ended` is called with each run as stored after an execution of it, in the run's thread.
    """

    def __init__(
        self,
        runner: Runner,
        project: Path,
        *,
        width: int,
        queues: Sequence[str] = (),
        tell: Told,
        ended: Callable[[RunRow], None] | None = None,
    ) -> None:
        self._runner, self._width, self._queues, self._tell, self._ended = runner, width, queues, tell, ended
        self._queue = RunQueue(runner.store, runner.owners, project.name)
        self._running: dict[str, threading.Thread] = {}
        self._free = threading.Event()
        self._looked_for_dead = -_TAKE_OVER_SECONDS

    def work(self, stopped: threading.Event, every: Callable[[], None] | None = None) -> None:
        """Execute what is queued until `stopped`; `every` is called at each look, twice a second or more often.

        While the database is gone nothing new is taken, and `every` is not called.
        """
        while not stopped.is_set():
            self._runner.patience.try_now(lambda: self._look(stopped, every))
            self._free.wait(_LOOK_SECONDS)
            self._free.clear()

    def wake(self) -> None:
        """Look again at once."""
        self._free.set()

    def _look(self, stopped: threading.Event, every: Callable[[], None] | None) -> None:
        if every is not None:
            every()
        if not stopped.is_set():
            self.take()

    def take(self) -> None:
        """Take over the runs of dead processes, then queued ones, as long as there is room."""
        if time.monotonic() - self._looked_for_dead >= _TAKE_OVER_SECONDS and self._runner.may_judge():
            self._looked_for_dead = time.monotonic()
            for run_id in self._queue.left_behind(self._queues):
                if len(self._running) < self._width and run_id not in self._running:
                    self._take_over(run_id)
        while len(self._running) < self._width:
            run_id = self._queue.claim(self._queues, self.running)
            if run_id is None:
                return
            self._begin(run_id, "started")

    @property
    def running(self) -> list[str]:
        """Ids of the runs under way here."""
        return list(self._running)

    def is_idle(self) -> bool:
        """Say whether nothing runs here, and nothing is there that this worker would take."""
        queue, queues = self._queue, self._queues
        return not self._running and queue.is_empty(queues) and not queue.left_behind(queues)

    def drain(self, seconds: float) -> None:
        """Take nothing more; let the runs end for so long, then hand over those that did not."""
        if self._running:
            self._tell(f"takes nothing more; {len(self._running)} under way get {seconds:g} s to end")
        self._join(seconds)
        for run_id in self.running:
            self._tell(f"run {run_id} is handed over")
            self._runner.hand_over(run_id, min(_HAND_OVER_SECONDS, seconds))
        self._join(_HAND_OVER_SECONDS + _STATE_SECONDS)

    def _join(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        for thread in list(self._running.values()):
            thread.join(max(0.0, until - time.monotonic()))

    def _take_over(self, run_id: str) -> None:
        """Take a dead process's run; one that was taken so often in vain fails."""
        owners, store = self._runner.owners, self._runner.store
        if not owners.acquire(run_id):
            return
        row = store.find(run_id)
        if row is None or row.state != "running":
            owners.release(run_id)
            return
        # Counted before anything of the run is loaded: that may be what kills the process.
        values = {"takeovers": row.takeovers + 1, "worker": owners.worker_id}
        store.change(run_id, values, state="running", **owners.mine())
        if row.takeovers >= MOST_TAKEOVERS:
            why = f"its process died {row.takeovers + 1} times in a row before anything more was done"
            self._fail(run_id, why)
            owners.release(run_id)
            return
        self._begin(run_id, "taken over from a process that died")

    def _begin(self, run_id: str, how: str) -> None:
        thread = threading.Thread(target=self._carry, args=(run_id, how), daemon=True, name=f"muster-{run_id[:40]}")
        self._running[run_id] = thread
        thread.start()

    def _carry(self, run_id: str, how: str) -> None:
        patience = self._runner.patience
        try:
            self._tell(f"run {run_id} {how}")
            patience.insist(lambda: self._runner.resume(run_id))
            self._report(self._runner.wait(run_id))
        except UnderWay:
            self._tell(f"run {run_id} is another process's")
        except PlaceError as error:  # the shared place is away: it will come back
            patience.insist(lambda error=error: self._put_back(run_id, str(error)))
        except AppError as error:  # not to be executed as it is: its code was changed, a key is missing
            why = "; ".join([str(error), *error.fixes()])
            patience.insist(lambda: self._fail(run_id, why))
        except Exception as error:  # a defect of ours must not end the other runs of this worker
            bug = f"unexpected {type(error).__name__}: {error}"
            patience.insist(lambda: self._fail(run_id, bug))
        finally:
            row = patience.insist(lambda: self._runner.store.find(run_id))
            self._running.pop(run_id, None)
            self._free.set()
            if row is not None and self._ended is not None:
                self._ended(row)

    def _put_back(self, run_id: str, why: str) -> None:
        now, nobody_else = time.time(), ("", self._runner.owners.worker_id)
        values = {"state": "queued", "reason": why, "updated_at": now, "worker": "", "not_before": now + _AGAIN_SECONDS}
        if self._runner.store.change(run_id, values, state="running", worker=nobody_else):
            self._tell(f"run {run_id} is tried again in {_AGAIN_SECONDS:g} s: {why}")

    def _fail(self, run_id: str, why: str) -> None:
        now, nobody_else = time.time(), ("", self._runner.owners.worker_id)
        values = {"state": "failed", "reason": why, "updated_at": now, "worker": "", "takeovers": 0}
        if self._runner.store.change(run_id, values, state="running", worker=nobody_else):
            self._tell(f"run {run_id} failed: {why}")

    def _report(self, outcome: Outcome) -> None:
        reason = f": {outcome.reason}" if outcome.reason else ""
        self._tell(f"run {outcome.run_id} {outcome.status}{reason}")
        for warning in outcome.warnings:
            self._tell(f"run {outcome.run_id}: {warning}")
