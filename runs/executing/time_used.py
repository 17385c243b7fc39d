"""What a run had used of its limits of time before it is executed again."""

import time

import sqlalchemy as sa

from crews.planned import Plan
from runs.executing.clock import Interval, calls_in, seconds_used
from runs.executing.state import RunState
from runs.stored.store import RunRow
from runs.stored.tables import QUESTIONS
from runs.told.report import JournalSource, read_steps


def set_clock(run: RunState, row: RunRow, source: JournalSource, first_start: float, database: sa.Engine) -> None:
    """Set the clock of a run that goes on. One that failed has all its time again: who resumes it wants it to succeed.

    `first_start` is when its workflow was made, seconds since 1970.
    """
    if row.state == "failed":
        run.clock.set_deadline(run.plan.deadline_seconds)
        return
    if run.plan.deadline_seconds is not None:
        now = time.time()
        used = seconds_used(now, first_start, _waits(database, run.run_id, now))
        run.clock.set_deadline(run.plan.deadline_seconds, used)
    if _has_limits(run.plan):
        steps = read_steps(source, run.run_id, run.folder)
        run.clock.seed(calls_in((step.task, step.record, step.started_at, step.seconds) for step in steps))


def _waits(database: sa.Engine, run_id: str, now: float) -> list[Interval]:
    """Return when persons were waited for."""
    query = sa.select(QUESTIONS.c.asked_at, QUESTIONS.c.answered_at).where(QUESTIONS.c.run_id == run_id)
    with database.connect() as connection:
        return [(asked, answered or now) for asked, answered in connection.execute(query)]


def _has_limits(plan: Plan) -> bool:
    return any(
        any(planned.task.timeout_seconds for planned in scope.tasks)
        or any(member.agent.max_execution_time for member in scope.members.values())
        for scope in (plan, *plan.crews.values())
    )
