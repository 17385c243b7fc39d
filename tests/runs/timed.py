"""A project with schedules, its database, and schedulers that are told what time it is. Also used by benchmarks."""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from crews.planned import Plan
from project.errors import UsageError
from project.settings import Settings
from runs.people.notify import Outbox
from runs.scheduled.firings import Firing, Firings
from runs.scheduled.schedules import Scheduler
from runs.stored.database import open_sqlite
from runs.stored.store import RunRow, RunStore
from tests.lab import Lab

PROJECT = {
    "agents": "worker: {role: Worker, goal: Do the work, backstory: You work.}\n",
    "tasks": "work: {description: 'Tell of {topic}', expected_output: A line., agent: worker}\n",
    "crews": "brief: {tasks: [work], inputs: {topic: solar}}\n",
    "models": "default: offline\n",
}
DAILY = "schedules:\n  morning: {crew: brief, cron: 0 7 * * *, timezone: Europe/Berlin}\n"


def at(text: str, zone: str = "Europe/Berlin") -> float:
    """Return the instant of a time on the wall: `at("2026-11-21 07:00")`."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


class Enqueuer:
    """Stores queued runs, as `Runner.enqueue` does, without an engine."""

    def __init__(self, store: RunStore) -> None:
        self.store = store

    def __call__(
        self,
        plan: Plan,
        run_id: str,
        *,
        origin: Mapping[str, Any],
        not_before: float = 0.0,
        priority: int | None = None,
    ) -> str:
        more = {"state": "queued", "starts": 0, "not_before": not_before, "priority": priority or 0}
        if not self.store.insert(run_id, plan, {}, 0.0, origin=json.dumps(dict(origin)), **more):
            raise UsageError(f"there is a run {run_id} already")
        return run_id


class Timed:
    """A project under `root` whose schedules are ticked by hand."""

    def __init__(self, root: Path, schedules: str = DAILY, database: sa.Engine | None = None) -> None:
        self.lab = Lab(root)
        self.lab.write(**PROJECT, schedules=schedules)
        self.database = database or open_sqlite(root / ".muster" / "muster.db")
        self.settings = Settings(root, root / ".muster", dict(os.environ))
        self.store = RunStore(self.database)
        self.said: list[str] = []
        self.firings = Firings(self.database, root.name)
        self.outbox = Outbox(self.database, root.name)
        self.scheduler = self.another()

    def another(self, enqueue: Any = None) -> Scheduler:
        """Return the scheduler of another process."""
        return Scheduler(self.settings, self.store, enqueue or Enqueuer(self.store), tell=self.said.append)

    def rewrite(self, **files: str) -> None:
        """Write files anew; their times differ, whatever the clock of the disk can tell apart."""
        self.lab.write(**files)
        for name in files:
            path = self.lab.root / f"config/{name}.yaml"
            os.utime(path, ns=(path.stat().st_mtime_ns + 1_000_000_000,) * 2)

    def tick(self, *times: str) -> list[Firing]:
        """Tick at each of these times in Berlin; return the firings of the last."""
        fired: list[Firing] = []
        for text in times:
            fired = self.scheduler.tick(at(text))
        return fired

    def runs(self) -> list[RunRow]:
        return sorted(self.store.list(1000), key=lambda row: row.run_id)

    def ends(self, run_id: str, state: str, reason: str = "") -> None:
        """Let a run end, or wait."""
        self.store.set(run_id, state=state, reason=reason)

    def rows(self) -> list[tuple[str, str]]:
        """Return each firing: when it was due in Berlin, and its state."""
        every = self.firings.in_state("claimed", "fired", "held", "skipped", "missed", "failed", "done")
        zone = ZoneInfo("Europe/Berlin")
        return [(f"{datetime.fromtimestamp(row.due_at, zone):%m-%d %H:%M}", row.state) for row in every]

    def notices(self) -> list[dict[str, Any]]:
        """Return what is told, or waits to be."""
        return [json.loads(row["document"]) for row in self.outbox.all()]
