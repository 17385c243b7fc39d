"""What becomes of the runs under way in this process while they are: asked for all of them at once, not for each."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from runs.executing.owners import Owners
from runs.stored.tables import RUNS

_FRESH_SECONDS = 0.4


@dataclass(frozen=True)
class Sight:
    """What was seen of one run: whether it still is this process's, and what an operator wants of it."""

    mine: bool
    wanted: str


class Watch:
    """Looks at the rows of runs under way, at most about twice a second however many threads ask."""

    def __init__(self, database: sa.Engine, owners: Owners) -> None:
        self._database, self._owners = database, owners
        self._lock = threading.Lock()
        self._seen: dict[str, Sight] = {}
        self._looked_at = -float("inf")

    def look(self, run_id: str, under_way: Iterable[str]) -> Sight:
        """Return what is known of this run, one of those under way. Raises: SQLAlchemyError."""
        with self._lock:
            if run_id not in self._seen or time.monotonic() - self._looked_at >= _FRESH_SECONDS:
                self._looked_at = time.monotonic()  # one thread at a time waits for a database that is gone
                self._seen = self._read({run_id, *under_way})
            return self._seen[run_id]

    def _read(self, run_ids: set[str]) -> dict[str, Sight]:
        query = sa.select(RUNS.c.run_id, RUNS.c.worker, RUNS.c.wanted).where(RUNS.c.run_id.in_(sorted(run_ids)))
        with self._database.connect() as connection:
            rows = {row.run_id: row for row in connection.execute(query)}
        mine = self._owners.mine()
        return {run_id: self._sight(run_id, rows.get(run_id), mine) for run_id in run_ids}

    def _sight(self, run_id: str, row: Any, mine: dict[str, str]) -> Sight:
        if row is None:  # deleted
            return Sight(False, "")
        held = row.worker == mine["worker"] if mine else self._owners.holds(run_id)
        return Sight(held, row.wanted)
