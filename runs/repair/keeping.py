"""Retention while `muster serve` runs: once an hour, beside the work, what MUSTER_KEEP_DAYS and MUSTER_MAX_MB say."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from project.settings import Settings
from runs.audit.heads import audit_keys
from runs.audit.tombstones import Gravedigger
from runs.repair.retention import prune, read_limits
from runs.stored.store import RunStore

_EVERY_SECONDS = 3600.0


class Keeper:
    """Deletes runs that are over and too old or too many. Does nothing where neither limit is set."""

    def __init__(self, settings: Settings, store: RunStore, runs_folder: Path, tell: Callable[[str], None]) -> None:
        """Raises: AppError for a limit that is no number."""
        self._limits = read_limits(settings.environment)
        self._store, self._folder, self._tell = store, runs_folder, tell
        self._gravedigger = Gravedigger(keys=audit_keys(settings))
        self._next_at = 0.0
        self._thread: threading.Thread | None = None

    def turn(self, *, idle: bool) -> None:
        """Begin a round where one is due. The file is compacted only when nothing runs: that holds the database."""
        if self._limits == (None, None) or time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _EVERY_SECONDS
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._prune, args=(idle,), daemon=True, name="muster-retention")
            self._thread.start()

    def _prune(self, compact: bool) -> None:
        age, size = self._limits
        try:
            store, digger = self._store, self._gravedigger
            done = prune(store.database, store, self._folder, age, size, compact=compact, gravedigger=digger)
        except SQLAlchemyError as error:
            self._tell(f"old runs could not be deleted: {type(error).__name__}; tried again in an hour")
            return
        if done.run_ids:
            self._tell(f"{len(done.run_ids)} runs deleted, {done.bytes_after / 1e6:.1f} MB left")
