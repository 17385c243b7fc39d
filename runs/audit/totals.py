"""Whether the totals of days and months hold at least what runs have spent that count towards them.

A call counts into a total when it is reserved, which the id of its reservation tells; how much, its journaled record
says, or where there is none the reservation. What a deleted run had spent stands in its tombstone. A total may hold
more: calls that were lost and found again, and what was spent before there was the ceiling. So only what is lacking is
told.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast

import sqlalchemy as sa

from crews.planned import Plan
from runs.audit.chain import Snapshot, read_snapshots
from runs.governed.ceilings import ceilings_of
from runs.governed.ledger import reserved_at
from runs.governed.spending import RESERVED, amounts_in, may_be_billed
from runs.stored.database import is_sqlite
from runs.stored.tables import RESERVATIONS, TOTALS

Amounts = dict[str, int]
Share = dict[str, Amounts]
"""What counts to each total, by its name."""

_COUNTED = ("model_calls", "tool_calls", "tokens", "picodollars")
# Not the time: that of a call which was lost and found again is not in the total.
_PICO = 1_000_000_000_000


@dataclass(frozen=True)
class _Call:
    """A journaled call for which something had been reserved."""

    totals: tuple[str, ...]
    amounts: Amounts
    billed: bool
    """It failed in a way in which more may have been billed than its record says: its reservation counts, too."""


@dataclass
class Spendings:
    """The calls of runs that count towards totals, gathered run by run."""

    _calls: dict[str, _Call] = field(default_factory=dict[str, _Call])

    def add(self, run: Snapshot) -> None:
        """Take the calls of a run. Those that a fork has taken over from another run are that one's."""
        names: Callable[[float], tuple[str, ...]] | None = None
        for lane in run.lanes.values():
            for _, record in lane.records():
                reservation_id = str(record.get(RESERVED, ""))
                at = reserved_at(reservation_id)
                if at is None or at < float(run.row["created_at"]) - 0.001:
                    continue
                names = names or _names(run)
                if (totals := names(at)) and (amounts := _amounts_in(record)) is not None:
                    self._calls[reservation_id] = _Call(totals, amounts, may_be_billed(record))

    def share(self, reservations: Iterable[Mapping[Any, Any]]) -> Share:
        """Return what these calls and reservations count to each total, each of them once."""
        found: Share = {}
        calls = dict(self._calls)
        for row in reservations:
            call = calls.get(row["id"])
            if call is not None and row["state"] == "settled":
                continue  # what it used stands in the record, too
            if call is not None and not (row["state"] == "lost" and call.billed):
                del calls[row["id"]]  # the process ended before it could be settled: the totals hold what was reserved
            _plus(found, _totals_of(row), {name: int(row[name]) for name in _COUNTED})
        for call in calls.values():
            _plus(found, call.totals, call.amounts)
        return found


def shares_of(database: sa.Engine, run_ids: Sequence[str]) -> dict[str, Share]:
    """Return what each of these runs counts to totals; runs that count to none are left out.

    Raises: AppError without the key of the journal.
    """
    with database.connect() as connection:
        if connection.execute(sa.select(TOTALS.c.name).limit(1)).first() is None:
            return {}
    found: dict[str, Share] = {}
    for snapshot in read_snapshots(database, run_ids):
        spent = Spendings()
        spent.add(snapshot)
        run_id = str(snapshot.row["run_id"])
        with database.connect() as connection:
            rows = connection.execute(sa.select(RESERVATIONS).where(RESERVATIONS.c.run_id == run_id)).mappings().all()
        if share := spent.share(rows):
            found[run_id] = share
    return found


def lacking(database: sa.Engine, spent: Spendings, buried: Iterable[str]) -> list[str]:
    """Say of each total that is less than what was spent how much it lacks. `buried` are the shares of tombstones."""
    with database.begin() as connection:
        if not is_sqlite(database):
            connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        else:
            connection.exec_driver_sql("BEGIN")  # both tables as they are at one instant
        reservations = connection.execute(sa.select(RESERVATIONS)).mappings().all()
        totals = {row["name"]: row for row in connection.execute(sa.select(TOTALS)).mappings()}
    least = spent.share(reservations)
    for text in buried:
        for name, amounts in json.loads(text or "{}").items():
            _plus(least, [name], amounts)
    told: list[str] = []
    for name, amounts in sorted(least.items()):
        row = totals.get(name)
        held = {one: int(row[one]) if row is not None else 0 for one in _COUNTED}
        if any(held[one] < amounts[one] for one in _COUNTED):
            told.append(f"the total `{name}` holds {_told(held)}, and runs have spent {_told(amounts)} of it")
    return told


def _names(run: Snapshot) -> Callable[[float], tuple[str, ...]]:
    """Return what names the totals into which a call of a run counts at an instant; of an unreadable plan, none."""
    try:
        shared = ceilings_of(Plan.model_validate_json(run.row["plan"]), json.loads(run.row["origin"])).shared
    except (ValueError, KeyError, TypeError):
        shared = ()
    return lambda at: tuple(sorted(one.total(at) for one in shared))


def _amounts_in(record: Mapping[str, Any]) -> Amounts | None:
    """Return what a record says was spent; None where it was changed so that it cannot be read, as is told of it."""
    try:
        found = amounts_in(record)
    except (ValueError, ArithmeticError, KeyError, TypeError, AttributeError):
        return None
    return {name: found[name] for name in _COUNTED}


def _totals_of(row: Mapping[Any, Any]) -> list[str]:
    try:
        found: Any = json.loads(row["totals"])
    except ValueError:
        return []
    return [str(name) for name in cast(list[Any], found)] if isinstance(found, list) else []


def _plus(share: Share, names: Iterable[str], amounts: Mapping[str, int]) -> None:
    for name in names:
        there = share.setdefault(name, dict.fromkeys(_COUNTED, 0))
        for one in _COUNTED:
            there[one] += int(amounts.get(one, 0))


def _told(amounts: Mapping[str, int]) -> str:
    usd = Decimal(amounts["picodollars"]) / _PICO
    calls = f"{amounts['model_calls']} model calls, {amounts['tool_calls']} tool calls"
    return f"{calls}, {amounts['tokens']} tokens, {usd.normalize():f} USD"
