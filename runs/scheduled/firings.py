"""Firings as stored: what makes each happen once over any number of processes, and schedules as they were last seen.

A firing is `claimed` by whoever inserts its row, then `fired` (its run is stored), or `held` (stored, but behind
another run of its schedule), `skipped`, `missed` or `failed`; when its run has ended and people are told, it is `done`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from runs.stored.tables import FIRINGS, LOOKS, RUNS, SCHEDULES, insert_new, make_tables

UNFINISHED = ("queued", "running", "waiting", "paused")
"""States of a run that another firing of its schedule must heed; an interrupted one goes on only by a person."""
BY_FILE = "schedules.yaml"
"""Who has paused a schedule that has `paused: true`."""
_KEPT_SECONDS = 90 * 86_400.0

Told = Callable[[sa.Connection], None]
"""Stores what is to be told, in the same transaction."""


@dataclass(frozen=True)
class Firing:
    """One firing. Instants are seconds since 1970, UTC."""

    project: str
    schedule: str
    due_at: float
    fired_at: float
    run_id: str
    state: str
    reason: str


@dataclass(frozen=True)
class Known:
    """A schedule as it was last seen by any process."""

    schedule: str
    known_since: float
    paused_at: float
    """0: it is not paused."""
    paused_by: str
    cron: str | None
    """Line and time zone; None where only its pause is known."""
    looked_to: float | None
    """Firings up to this instant are dealt with."""


class Firings:
    """The firings and schedules of one project."""

    def __init__(self, database: sa.Engine, project: str) -> None:
        self.database, self.project = database, project
        make_tables(database)

    def known(self) -> dict[str, Known]:
        """Return every schedule that was seen, by name."""
        same = (LOOKS.c.project == SCHEDULES.c.project) & (LOOKS.c.schedule == SCHEDULES.c.schedule)
        columns = [SCHEDULES.c[name] for name in ("schedule", "known_since", "paused_at", "paused_by")]
        query = sa.select(*columns, LOOKS.c.cron, LOOKS.c.looked_to).select_from(SCHEDULES.outerjoin(LOOKS, same))
        with self.database.connect() as connection:
            rows = connection.execute(query.where(SCHEDULES.c.project == self.project)).mappings()
            return {row["schedule"]: Known(**row) for row in rows}

    def see(self, schedule: str, cron: str, now: float, paused_by: str = "") -> None:
        """Note that a schedule has this line now; nothing from before fires, by it. `paused_by`: of a new one."""
        with self.database.begin() as connection:
            self._add(connection, schedule, now, paused_by)
            look = {"project": self.project, "schedule": schedule, "cron": cron, "looked_to": now}
            if not insert_new(connection, LOOKS, look):
                mine = (LOOKS.c.project == self.project, LOOKS.c.schedule == schedule, LOOKS.c.cron != cron)
                connection.execute(LOOKS.update().where(*mine).values(cron=cron, looked_to=now))

    def look_from(self, schedule: str, now: float) -> None:
        """Look for firings from `now` on: what was noted comes from a clock that was far ahead."""
        with self.database.begin() as connection:
            for table, values in ((LOOKS, {"looked_to": now}), (SCHEDULES, {"known_since": now})):
                mine = (table.c.project == self.project, table.c.schedule == schedule)
                connection.execute(table.update().where(*mine).values(values))

    def forget(self, schedule: str) -> None:
        """Note that a schedule is gone: when it comes back, it is new."""
        mine = (LOOKS.c.project == self.project, LOOKS.c.schedule == schedule)
        with self.database.begin() as connection:
            connection.execute(LOOKS.update().where(*mine).values(cron=""))

    def pause(self, schedule: str, by: str, now: float) -> bool:
        """Pause a schedule; False when it was."""
        mine = (SCHEDULES.c.project == self.project, SCHEDULES.c.schedule == schedule, SCHEDULES.c.paused_at == 0)
        with self.database.begin() as connection:
            if self._add(connection, schedule, now, by):
                return True
            return connection.execute(SCHEDULES.update().where(*mine).values(paused_at=now, paused_by=by)).rowcount == 1

    def resume(self, schedule: str, now: float) -> bool:
        """Let a schedule fire again; what was due meanwhile is not caught up. False when it was not paused."""
        mine = (SCHEDULES.c.project == self.project, SCHEDULES.c.schedule == schedule, SCHEDULES.c.paused_at != 0)
        values = {"paused_at": 0.0, "paused_by": "", "known_since": now}
        with self.database.begin() as connection:
            return connection.execute(SCHEDULES.update().where(*mine).values(values)).rowcount == 1

    def _add(self, connection: sa.Connection, schedule: str, now: float, paused_by: str) -> bool:
        row = {"project": self.project, "schedule": schedule, "known_since": now, "paused_by": paused_by}
        return insert_new(connection, SCHEDULES, {**row, "paused_at": now if paused_by else 0.0})

    # -- firings

    def claim(self, firings: Sequence[Firing], looked_to: float, told: Told | None = None) -> list[Firing]:
        """Store firings that nobody has stored, in one transaction; return those. `told` only where there are any."""
        with self.database.begin() as connection:
            new = [firing for firing in firings if insert_new(connection, FIRINGS, vars(firing))]
            mine = (LOOKS.c.project == self.project, LOOKS.c.schedule == firings[0].schedule)
            connection.execute(LOOKS.update().where(*mine, LOOKS.c.looked_to < looked_to).values(looked_to=looked_to))
            if told is not None and any(firing.state == "missed" for firing in new):
                told(connection)
        return new

    def change(self, firing: Firing, values: Mapping[str, Any], told: Told | None = None) -> bool:
        """Change a firing where nobody has changed its state or taken it since; `told` only then."""
        columns = ("project", "schedule", "due_at", "state", "fired_at")
        where = [FIRINGS.c[name] == getattr(firing, name) for name in columns]
        with self.database.begin() as connection:
            changed = connection.execute(FIRINGS.update().where(*where).values(dict(values))).rowcount == 1
            if changed and told is not None:
                told(connection)
        return changed

    def tell(self, told: Told) -> None:
        """Store what is to be told where no firing changes."""
        with self.database.begin() as connection:
            told(connection)

    def in_state(self, *states: str) -> list[Firing]:
        """Return the firings in these states, in the order in which they are due."""
        query = sa.select(FIRINGS).where(FIRINGS.c.project == self.project, FIRINGS.c.state.in_(states))
        with self.database.connect() as connection:
            return [Firing(**row) for row in connection.execute(query.order_by(FIRINGS.c.due_at)).mappings()]

    def of_run(self, run_id: str) -> Firing | None:
        """Return the firing that made a run."""
        query = sa.select(FIRINGS).where(FIRINGS.c.project == self.project, FIRINGS.c.run_id == run_id)
        with self.database.connect() as connection:
            row = connection.execute(query).mappings().first()
        return Firing(**row) if row else None

    def open_runs(self) -> list[tuple[str, str, int]]:
        """Return id, state and number of starts of the runs of `fired` firings that have ended or wait for a person."""
        columns = (RUNS.c.run_id, RUNS.c.state, RUNS.c.starts)
        query = sa.select(*columns).join(FIRINGS, FIRINGS.c.run_id == RUNS.c.run_id)
        told_of = ("succeeded", "failed", "stopped", "waiting", "cancelled")
        mine = (FIRINGS.c.project == self.project, FIRINGS.c.state == "fired", RUNS.c.state.in_(told_of))
        with self.database.connect() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(query.where(*mine))]

    def before(self, firing: Firing) -> str:
        """Return a run of the same schedule that is unfinished, or "": what overlap is about."""
        others = (
            FIRINGS.c.project == self.project,
            FIRINGS.c.schedule == firing.schedule,
            FIRINGS.c.due_at != firing.due_at,
        )
        earlier = FIRINGS.c.state.in_(("claimed", "held")) & (FIRINGS.c.due_at < firing.due_at)
        under_way = FIRINGS.c.state.in_(("fired", "done")) & RUNS.c.state.in_(UNFINISHED)
        joined = FIRINGS.outerjoin(RUNS, RUNS.c.run_id == FIRINGS.c.run_id)
        query = sa.select(FIRINGS.c.run_id).select_from(joined).where(*others, earlier | under_way)
        with self.database.connect() as connection:
            return connection.execute(query.order_by(FIRINGS.c.due_at.desc()).limit(1)).scalar() or ""

    def last(self, schedule: str) -> tuple[Firing, str] | None:
        """Return the latest firing that made a run, and that run's state ("" when it was deleted)."""
        joined = FIRINGS.outerjoin(RUNS, RUNS.c.run_id == FIRINGS.c.run_id)
        mine = (FIRINGS.c.project == self.project, FIRINGS.c.schedule == schedule)
        query = sa.select(FIRINGS, RUNS.c.state.label("run_state")).select_from(joined)
        made = FIRINGS.c.state.in_(("fired", "held", "done"))
        with self.database.connect() as connection:
            row = connection.execute(query.where(*mine, made).order_by(FIRINGS.c.due_at.desc())).mappings().first()
        if row is None:
            return None
        values = dict(row)
        state = values.pop("run_state") or ""
        return Firing(**values), state

    def counts(self, schedule: str) -> dict[str, int]:
        """Count the firings of a schedule by state."""
        mine = (FIRINGS.c.project == self.project, FIRINGS.c.schedule == schedule)
        query = sa.select(FIRINGS.c.state, sa.func.count()).where(*mine).group_by(FIRINGS.c.state)
        with self.database.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def prune(self, now: float) -> None:
        """Delete firings of 90 days ago and more that are over."""
        over = FIRINGS.c.state.in_(("done", "skipped", "missed", "failed"))
        old = (FIRINGS.c.project == self.project, FIRINGS.c.due_at < now - _KEPT_SECONDS, over)
        with self.database.begin() as connection:
            connection.execute(FIRINGS.delete().where(*old))
