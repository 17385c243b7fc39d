"""What runs have spent in a period already when the first call under a new ceiling of that period is made."""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa

from policy.budget import Spent
from runs.stored.journal_rows import JournalRows
from runs.stored.tables import RESERVATIONS, RUNS
from runs.told.report import spent_on

_COUNTED = ("succeeded", "stopped")
"""States in which a run's row says what it has spent."""


@dataclass(frozen=True)
class _Run:
    run_id: str
    created_at: float
    spent: Spent | None
    """Where its row says it."""
    copied_until: float
    """Steps before this instant were copied from the run that it is a fork of, which has paid for them."""


def spent_since(database: sa.Engine, project: str, schedule: str, since: float) -> Spent:
    """Add up what the runs of a project, or of one of its schedules, have spent since an instant, as far as is known.

    Whole runs count by their rows, others by their journals; calls whose end nobody knows count as what was reserved.
    What was deleted, and calls whose price was not known, count nothing.
    """
    runs = _runs(database, project, schedule, since)
    journal = JournalRows(database) if any(run.spent is None for run in runs) else None
    found = [_of_journal(journal, run, since) if run.spent is None and journal else run.spent for run in runs]
    lost = _lost(database, [run.run_id for run in runs], since)
    return functools.reduce(Spent.plus, (one for one in (*found, lost) if one is not None), Spent())


def _runs(database: sa.Engine, project: str, schedule: str, since: float) -> list[_Run]:
    columns = [RUNS.c[name] for name in ("run_id", "created_at", "state", "spent", "origin")]
    late = sa.or_(RUNS.c.updated_at >= since, RUNS.c.state == "running")
    query = sa.select(*columns).where(RUNS.c.project == project, late).order_by(RUNS.c.run_id)
    with database.connect() as connection:
        rows = list(connection.execute(query).mappings())
    found: list[_Run] = []
    for row in rows:
        origin: dict[str, Any] = json.loads(row["origin"])
        if schedule and origin.get("schedule") != schedule:
            continue
        is_fork = "fork_of" in origin
        whole = row["created_at"] >= since and row["state"] in _COUNTED and row["spent"] != "{}" and not is_fork
        spent = Spent.from_json(json.loads(row["spent"])) if whole else None
        found.append(_Run(row["run_id"], row["created_at"], spent, row["created_at"] if is_fork else 0.0))
    return found


def _of_journal(journal: JournalRows, run: _Run, since: float) -> Spent:
    """Add up the steps of a run that began since then."""
    found = Spent()
    if not journal.there:
        return found
    for workflow in journal.family(run.run_id):
        for row in journal.steps(workflow.id):
            output: Any = row.output
            record = cast(dict[str, Any], output) if isinstance(output, dict) else {}
            if record.get("kind") in ("model", "tool") and (row.started_at or 0.0) >= max(since, run.copied_until):
                found = found.plus(spent_on(record)).plus(Spent(seconds=float(record.get("seconds", 0.0))))
    return found


def _lost(database: sa.Engine, run_ids: Sequence[str], since: float) -> Spent:
    """Add up what is reserved, or was for calls whose end nobody knows, under other ceilings of these runs."""
    names = ("model_calls", "tool_calls", "tokens", "picodollars")
    columns = [RESERVATIONS.c[name] for name in ("run_id", *names)]
    query = sa.select(*columns).where(RESERVATIONS.c.made_at >= since, RESERVATIONS.c.state != "settled")
    mine = set(run_ids)
    with database.connect() as connection:
        rows = [row for row in connection.execute(query).mappings() if row["run_id"] in mine]
    calls, tools, tokens, money = (sum(row[name] for row in rows) for name in names)
    return Spent(model_calls=calls, tool_calls=tools, input_tokens=tokens, usd=Decimal(money) / 10**12)
