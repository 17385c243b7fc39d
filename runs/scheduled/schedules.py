"""Schedules: fire what is due, once over any number of processes; retry what failed; tell people.

A firing is claimed by inserting its row, then its run is stored under an id that follows from the firing. A process
that dies between the two leaves a claimed firing, which a later tick of any process takes on.
"""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from crews.planned import Plan
from project.cron import read_cron
from project.errors import AppError, UsageError
from project.load import Project
from project.settings import Settings
from project.spec_schedules import ScheduleSpec
from runs.governed.ceilings import day_of_schedule
from runs.people.notify import Notice, Outbox, send_notice
from runs.scheduled.firings import BY_FILE, Firing, Firings, Known
from runs.scheduled.timetable import Timetable, line_of, plan_firing, run_id_of, zone_of
from runs.stored.store import RunRow, RunStore

ON_TIME_SECONDS = 30.0
"""A firing found so long after it was due at most is no missed one."""
CLAIM_SECONDS = 30.0
"""A claimed firing without a run is taken on by another tick after so long."""
MOST_CAUGHT_UP = 1000
"""Of more firings that are due at once, the oldest are left out."""
HELD_UNTIL = 9_999_999_999.0
"""`not_before` of a queued run that waits for the one before it."""
_DAY_SECONDS = 86_400.0
_SEND_SECONDS = 1.0
_LONGEST_REASON = 1000


class Enqueue(Protocol):
    """Stores a plan as a queued run, such as `Runner.enqueue`. Raises: UsageError when the id is taken; AppError."""

    def __call__(
        self,
        plan: Plan,
        run_id: str,
        *,
        origin: Mapping[str, Any],
        not_before: float = 0.0,
        priority: int | None = None,
    ) -> str: ...


@dataclass
class _Due:
    """What is remembered of a schedule between ticks of this process, so that an idle tick is cheap."""

    line: str
    seen_at: float
    since: float = 0.0
    next_at: float | None = None


class Scheduler:
    """The schedules of one project, in one of any number of processes.

    `tick` is to be called every second or so and does not wait for anything but the database; `send` tells people what
    waits to be told, and may take as long as its channels do: `keep_sending` calls it in a thread. `after` may be
    called when a run has ended or waits; the next tick would find that, too. All may be called from any thread.
    """

    def __init__(
        self, settings: Settings, store: RunStore, enqueue: Enqueue, *, tell: Callable[[str], None] | None = None
    ) -> None:
        self._settings, self._store, self._enqueue = settings, store, enqueue
        self._tell = tell or _say
        self._name = settings.root.name
        self._timetable = Timetable(settings.root)
        self._firings = Firings(store.database, self._name)
        self._outbox = Outbox(store.database, self._name)
        self._seen: dict[str, _Due] = {}
        self._told: set[tuple[str, str, int]] = set()
        self._pruned_at = 0.0
        self._lock = threading.Lock()

    def tick(self, now: float | None = None) -> list[Firing]:
        """Fire what is due at `now`; return the firings of this tick as they are stored. Raises: SQLAlchemyError."""
        now = time.time() if now is None else now
        with self._lock:
            problem = self._timetable.look()
            if problem is not None:
                self._tell("\n".join([*map(str, problem.problems), "schedules go on as they were last read"]))
            project = self._timetable.project
            if project is None:
                return []
            self._settle_ended(now)
            done = [self._carry_out(firing, project, now) for firing in self._take_left(now)]
            self._release(now)
            known = self._firings.known()
            for name, spec in project.schedules.items():
                done += [self._carry_out(firing, project, now) for firing in self._claim_due(name, spec, known, now)]
            for name in known.keys() - project.schedules.keys() if self._timetable.current else ():
                self._forget(known[name])
            if abs(now - self._pruned_at) > _DAY_SECONDS:
                self._firings.prune(now)
                self._pruned_at = now
            return done

    def after(self, row: RunRow, now: float | None = None) -> None:
        """Retry a run of a schedule that failed, and note what is to be told of it. Other runs are left alone."""
        project = self._timetable.project
        origin = row.read_origin()
        if project is None or row.project != self._name or "schedule" not in origin:
            return
        now = time.time() if now is None else now
        spec = project.schedules.get(origin["schedule"])
        retry = spec.on_failure.retry if spec is not None else None
        retried = int(origin.get("retries", 0))
        if row.state == "failed" and retry is not None and retried < retry.attempts:
            wait = min(retry.backoff_seconds * 2**retried, _DAY_SECONDS)
            again = {"state": "queued", "queued_at": now, "not_before": now + wait}
            origin = json.dumps({**origin, "retries": retried + 1})
            if self._store.change(row.run_id, {**again, "origin": origin}, state="failed", origin=row.origin):
                self._tell(f"run {row.run_id} failed and is tried again in {wait:g} s: {row.shown_reason}")
            return
        told = self._notice_of_run(row, spec, origin, now)
        if row.state == "waiting":
            mark = (row.run_id, row.state, row.starts)
            if mark not in self._told:
                self._firings.tell(told)
                self._told.add(mark)
        elif row.state in ("succeeded", "failed", "stopped", "cancelled"):
            firing = self._firings.of_run(row.run_id)
            if firing is None or not self._firings.change(firing, {"state": "done"}, told):
                self._firings.tell(told)  # ended before, and again now: a person has resumed it

    def send(self, now: float | None = None) -> None:
        """Tell people what waits to be told. A channel that fails is tried again later, and given up after a while."""
        project = self._timetable.project
        if project is None:
            return
        settings = self._settings
        now = time.time() if now is None else now
        for line in self._outbox.send(
            now,
            project.channels,
            lambda channel, document: send_notice(channel, document, settings.environment, settings.root),
        ):
            self._tell(line)

    def keep_sending(self, stopped: threading.Event) -> threading.Thread:
        """Send in a thread of its own until `stopped`."""

        def work() -> None:
            while not stopped.wait(_SEND_SECONDS):
                try:
                    self.send()
                except SQLAlchemyError as error:  # the notices are still there when the database is
                    self._tell(f"notices wait: the database does not answer ({type(error).__name__})")

        thread = threading.Thread(target=work, name="muster-notices", daemon=True)
        thread.start()
        return thread

    def run_by_hand(self, name: str, by: str, now: float | None = None) -> str:
        """Store a run of a schedule now, whatever it says about time and overlap; return its id.

        Raises: AppError when there is no such schedule, or the project or its inputs are wrong.
        """
        now = round(time.time() if now is None else now, 3)
        problem = self._timetable.look()
        if problem is not None:
            raise problem
        project = self._timetable.project_to_run()
        if name not in project.schedules:
            raise AppError(f"there is no schedule {name!r}", exit_code=3)
        spec = project.schedules[name]
        plan = plan_firing(project, name, spec, now, self._settings.environment)
        run_id = run_id_of(self._name, name, spec, now)
        origin = {"schedule": name, "due_at": now, "by": by, **day_of_schedule(spec)}
        self._enqueue(plan, run_id, origin=origin, priority=spec.priority)
        firing = Firing(self._name, name, now, now, run_id, "fired", f"by hand: {by}")
        self._firings.claim([firing], 0.0)
        return run_id

    # -- what is due

    def _claim_due(self, name: str, spec: ScheduleSpec, known: Mapping[str, Known], now: float) -> list[Firing]:
        """Claim the firings of one schedule that are due and that no process has; return those to carry out."""
        since = self._since(name, spec, known.get(name), now)
        if since is None:
            return []
        cron, zone = read_cron(spec.cron), zone_of(spec)
        due = deque(cron.due_between(since, now, zone), MOST_CAUGHT_UP)
        new = self._claim(name, spec, list(due), now) if due else []
        self._seen[name].next_at = next(cron.due_after(now, zone), None)  # only now: the database may have refused
        return [firing for firing in new if firing.state == "claimed"]

    def _claim(self, name: str, spec: ScheduleSpec, due: list[float], now: float) -> list[Firing]:
        late = [at for at in due if now - at > ON_TIME_SECONDS]
        missed = {"none": late, "latest": [at for at in late if at != due[-1]], "all": []}[spec.catch_up]
        left_out = set(missed)
        firings = [
            Firing(self._name, name, at, now, "", "missed", "nothing ran")
            if at in left_out
            else Firing(self._name, name, at, now, run_id_of(self._name, name, spec, at), "claimed", "")
            for at in due
        ]
        told = self._notice_of_missed(name, spec, missed, now) if missed else None
        return self._firings.claim(firings, due[-1], told)

    def _since(self, name: str, spec: ScheduleSpec, known: Known | None, now: float) -> float | None:
        """Return the instant after which firings are to be looked for; None when there is nothing to look for."""
        line = line_of(spec)
        seen = self._seen.get(name)
        if seen is None or seen.line != line:
            is_new = known is None or known.cron != line
            if is_new:  # or back, or changed: nothing fires from before now
                self._firings.see(name, line, now, BY_FILE if spec.paused else "")
            seen = self._seen[name] = _Due(line, now)
            if is_new:
                return None
        if known is None or known.looked_to is None or self._is_paused(name, spec, known, now):
            seen.next_at = None
            return None
        # Where another process has another line in its files, each goes by its own from when it saw it.
        since = max(known.looked_to, known.known_since, 0.0 if known.cron == line else seen.seen_at)
        if since > now + _DAY_SECONDS:
            self._firings.look_from(name, now)
            return None
        if seen.since == since and seen.next_at is not None and now < seen.next_at:
            return None
        seen.since, seen.next_at = since, None
        return since

    def _is_paused(self, name: str, spec: ScheduleSpec, known: Known, now: float) -> bool:
        if spec.paused and not known.paused_at:
            self._firings.pause(name, BY_FILE, now)
        elif not spec.paused and known.paused_at and known.paused_by == BY_FILE:
            self._firings.resume(name, now)
            return True  # until the next tick, which finds it resumed now
        return spec.paused or known.paused_at > 0

    def _forget(self, known: Known) -> None:
        if known.cron:
            self._firings.forget(known.schedule)
        self._seen.pop(known.schedule, None)

    # -- what is done about it

    def _take_left(self, now: float) -> list[Firing]:
        """Take on firings that a process claimed and did not store: it has died, or is slow, which does no harm."""
        left = [firing for firing in self._firings.in_state("claimed") if abs(now - firing.fired_at) > CLAIM_SECONDS]
        return [replace(firing, fired_at=now) for firing in left if self._firings.change(firing, {"fired_at": now})]

    def _carry_out(self, firing: Firing, project: Project, now: float) -> Firing:
        """Store the run of a claimed firing, or say why there is none; return the firing as it then is."""
        spec = project.schedules.get(firing.schedule)
        told = None
        try:
            state, reason = self._store_run(firing, spec)
        except SQLAlchemyError:
            raise  # the database is gone: the firing stays claimed
        except Exception as error:  # whatever is wrong with it: others go on, and people are told
            known = isinstance(error, AppError)
            reason = "; ".join(map(str, error.problems)) if known else f"unexpected {type(error).__name__}: {error}"
            state, reason = "failed", reason[:_LONGEST_REASON]
            told = self._notice_of_firing(firing, spec, reason, now)
        if state == "failed":
            self._tell(f"schedule {firing.schedule}: the firing of {_instant(firing.due_at)} failed: {reason}")
        self._firings.change(firing, {"state": state, "reason": reason}, told)
        return replace(firing, state=state, reason=reason)

    def _store_run(self, firing: Firing, spec: ScheduleSpec | None) -> tuple[str, str]:
        stored = self._store.find(firing.run_id)
        if stored is None:
            if spec is None:
                raise AppError(f"`{firing.schedule}` is not in schedules.yaml any more")
            before = self._firings.before(firing) if spec.overlapping() != "allow" else ""
            if before and spec.overlapping() == "skip":
                return "skipped", f"run {before} was not finished"
            project = self._timetable.project_to_run()
            plan = plan_firing(project, firing.schedule, spec, firing.due_at, self._settings.environment)
            origin = {"schedule": firing.schedule, "due_at": firing.due_at, **day_of_schedule(spec)}
            wait = HELD_UNTIL if before else 0.0
            try:
                self._enqueue(plan, firing.run_id, origin=origin, not_before=wait, priority=spec.priority)
            except UsageError:
                if self._store.find(firing.run_id) is None:
                    raise
            stored = self._store.find(firing.run_id)  # another process may have stored it first, and otherwise
        held = stored is not None and stored.state == "queued" and stored.not_before == HELD_UNTIL
        return ("held", "waits for the run before it") if held else ("fired", "")

    def _release(self, now: float) -> None:
        """Let the first run that is held of each schedule go, where none before it is unfinished."""
        first: dict[str, Firing] = {}
        for firing in self._firings.in_state("held"):
            first.setdefault(firing.schedule, firing)
        for firing in first.values():
            row = self._store.find(firing.run_id)
            if row is not None and row.state == "queued" and row.not_before == HELD_UNTIL:
                if self._firings.before(firing):
                    continue
                go = {"not_before": 0.0, "queued_at": now}
                self._store.change(firing.run_id, go, state="queued", not_before=HELD_UNTIL)
            self._firings.change(firing, {"state": "done" if row is None else "fired", "reason": ""})

    def _settle_ended(self, now: float) -> None:
        for found in self._firings.open_runs():
            row = self._store.find(found[0]) if found not in self._told else None
            if row is not None:
                self.after(row, now)

    # -- what is told

    def _notice_of_run(
        self, row: RunRow, spec: ScheduleSpec | None, origin: Mapping[str, Any], now: float
    ) -> Callable[[sa.Connection], None]:
        name, due_at = origin["schedule"], float(origin.get("due_at", 0.0))
        document = self._document(name, row.state, due_at, now) | {
            "crew": row.crew,
            "run_id": row.run_id,
            "reason": row.shown_reason,
            "retries": int(origin.get("retries", 0)),
            "text": f"Run {row.run_id} of the schedule {name} {_WORDS.get(row.state, row.state)}"
            + (f": {row.shown_reason}" if row.reason else ""),
        }
        return self._put(Notice(f"{name}/{row.run_id}/{row.state}/{row.starts}", document), row.state, spec, now)

    def _notice_of_firing(
        self, firing: Firing, spec: ScheduleSpec | None, reason: str, now: float
    ) -> Callable[[sa.Connection], None]:
        name = firing.schedule
        document = self._document(name, "failed", firing.due_at, now) | {
            "crew": spec.crew if spec else "",
            "reason": reason,
            "text": f"The schedule {name} could not start the run due at {_instant(firing.due_at)}: {reason}",
        }
        return self._put(Notice(f"{name}/{firing.due_at!r}/failed", document), "failed", spec, now)

    def _notice_of_missed(
        self, name: str, spec: ScheduleSpec, missed: list[float], now: float
    ) -> Callable[[sa.Connection], None]:
        times = f"{len(missed)} firing{'s' if len(missed) > 1 else ''}"
        document = self._document(name, "missed", missed[-1], now) | {
            "crew": spec.crew,
            "missed": len(missed),
            "first_due_at": _instant(missed[0]),
            "text": f"The schedule {name} missed {times}, the last one due at {_instant(missed[-1])}: nothing ran",
        }
        return self._put(Notice(f"{name}/{missed[-1]!r}/missed", document), "missed", spec, now)

    def _document(self, name: str, event: str, due_at: float, now: float) -> dict[str, Any]:
        head = {"event": event, "project": self._name, "schedule": name}
        return head | {"due_at": _instant(due_at), "at": _instant(now)}

    def _put(
        self, notice: Notice, event: str, spec: ScheduleSpec | None, now: float
    ) -> Callable[[sa.Connection], None]:
        wanted = spec is not None and event in spec.notify_on
        channels = spec.on_failure.notify if spec is not None and wanted else []
        return lambda connection: self._outbox.put(connection, notice, channels, now)


_WORDS: Mapping[str, str] = {"waiting": "waits for a person", "stopped": "stopped at a ceiling"}


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
