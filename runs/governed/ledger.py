"""Reservations that outlive their process, and the totals that all runs of a project share.

A call is entered with its worst case before it is made and settled with what it really used after it, in one short
transaction each. The totals are one row for each day or month, so that a look costs the same however much was spent.
A reservation whose call is not known to have ended counts for ever: nobody can say that it cost less. A total begins
with what the runs that have no part in it spent in its period before its first call.
"""

import json
import time
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import ROUND_CEILING, Decimal
from typing import Any, Literal, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from policy.budget import Ceiling, Scope, Spent, first_over
from policy.decide import Call
from project.spec import BudgetSpec
from runs.governed.earlier import spent_since
from runs.stored.database import is_outage, is_sqlite
from runs.stored.tables import RESERVATIONS, TOTALS, insert_new

_T = TypeVar("_T")
_OUTAGE_SECONDS = 1.0
_PICO = 1_000_000_000_000
_MICRO = 1_000_000
_LARGEST = 2**62
_AMOUNTS = ("model_calls", "tool_calls", "tokens", "picodollars", "microseconds")
_COLUMNS = ("id", "run_id", "task", "agent", "call", "made_at", "state", "totals", *_AMOUNTS)
# Written out: to build and compile these for every call takes longer than the database does.
_INSERT = sa.text(
    f"INSERT INTO {RESERVATIONS.name} ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) "
    "ON CONFLICT DO NOTHING RETURNING id"
)
_SETTLE = sa.text(
    f"UPDATE {RESERVATIONS.name} SET state = :state, {', '.join(f'{name} = :{name}' for name in _AMOUNTS)} "
    "WHERE id = :id AND state = 'reserved'"
)
_FORGET = sa.text(f"DELETE FROM {RESERVATIONS.name} WHERE id = :id")
_LOOK = sa.text(f"SELECT {', '.join(_AMOUNTS)} FROM {TOTALS.name} WHERE name = :name")
_LOOK_AND_LOCK = sa.text(f"{_LOOK.text} FOR UPDATE")
_ADD = sa.text(
    f"UPDATE {TOTALS.name} SET {', '.join(f'{name} = {name} + :{name}' for name in _AMOUNTS)} WHERE name = :name"
)

Check = Callable[[], None]
"""Raises where no further call is to be made."""


@dataclass(frozen=True)
class Shared:
    """Ceilings of a day or a month, for all runs that count towards them."""

    scope: Scope
    budget: BudgetSpec
    name: str
    """What is counted, such as `project NAME` or `schedule PROJECT NAME`."""
    period: Literal["day", "month"]
    zone: tzinfo = UTC
    """Whose day it is."""
    project: str = ""
    """Name of the project whose runs count; "": what was spent before the first call is not looked for."""
    schedule: str = ""
    """Of which only the runs count; "": all of the project's."""

    def begins_at(self, now: float) -> float:
        """Return when the period of this instant began, in seconds since 1970."""
        midnight = datetime.fromtimestamp(now, self.zone).replace(hour=0, minute=0, second=0, microsecond=0)
        return (midnight if self.period == "day" else midnight.replace(day=1)).timestamp()

    def total(self, now: float) -> str:
        """Name the total into which a call of this instant counts."""
        local = datetime.fromtimestamp(now, self.zone)
        return f"{self.name} {local:%Y-%m-%d}" if self.period == "day" else f"{self.name} {local:%Y-%m}"


@dataclass(frozen=True)
class Reservation:
    """What is set aside for a call. `state`: `reserved`; `settled`, the amounts are what it used; `lost`."""

    id: str
    task: str
    agent: str
    call: str
    """The model or the tool."""
    spent: Spent
    totals: tuple[str, ...] = ()
    state: str = "reserved"


class _Full(Exception):
    """A shared ceiling has no room: the transaction is undone."""


class _New(Exception):
    """A total is not there yet: the transaction is undone."""


class Ledger:
    """The reservations of runs and the totals they share, in the database. May be used from any thread."""

    def __init__(self, database: sa.Engine) -> None:
        self._database = database

    def reserve(
        self,
        run_id: str,
        call: Call,
        worst: Spent,
        shared: Sequence[Shared],
        check: Check,
        done: Sequence[str] = (),
    ) -> Reservation | str:
        """Set the worst case of a call aside, where every shared ceiling has room for it; else say which has not.

        `done` are reservations that are not needed any more. `check` is called while the database is gone: without it
        no call is made.
        """
        now = time.time()
        totals = {one.total(now): one for one in shared}
        made = Reservation(_new_id(now), call.task, call.agent, call.name, worst, tuple(sorted(totals)))
        if worst.usd * _PICO > _LARGEST:
            return f"max_usd: the next call may cost {worst.usd:f}, which is more than can be counted"

        def work() -> str:
            try:
                with self._transaction() as connection:
                    self._reserve(connection, run_id, call, made, totals, now, done)
            except _Full as full:
                return str(full)
            except _New:
                self._begin(totals, now)
                return work()
            return ""

        return self._insist(work, check) or made

    def _begin(self, totals: Mapping[str, Shared], now: float) -> None:
        """Make the totals that are not there, with what was spent in their periods before; the first to do it wins.

        It is read outside the transaction. That counts nothing twice: who carries the ceiling makes no call before the
        total is there, and one that is there stays as it is.
        """
        there = self._there(list(totals))
        earlier = {
            name: spent_since(self._database, one.project, one.schedule, one.begins_at(now)) if one.project else Spent()
            for name, one in totals.items()
            if name not in there
        }
        with self._transaction() as connection:
            for name in sorted(earlier):
                insert_new(connection, TOTALS, {"name": name, **amounts_of(earlier[name])})

    def _reserve(
        self,
        connection: sa.Connection,
        run_id: str,
        call: Call,
        made: Reservation,
        totals: Mapping[str, Shared],
        now: float,
        done: Sequence[str],
    ) -> None:
        row = {"run_id": run_id, "task": made.task, "agent": made.agent, "call": made.call, "made_at": now}
        row |= {"id": made.id, "state": made.state, "totals": json.dumps(made.totals), **amounts_of(made.spent)}
        if connection.execute(_INSERT, row).first() is None:
            return  # a first try got through, and its success was not heard of
        found = _locked(connection, made.totals)
        ceilings = [Ceiling(one.scope, found[name], one.budget) for name, one in totals.items()]
        worst = made.spent
        tokens = worst.input_tokens + worst.output_tokens
        reason = first_over(ceilings, kind=call.kind, worst_usd=worst.usd, worst_tokens=tokens, name=call.name)
        if reason:
            raise _Full(reason)
        _add(connection, made.totals, amounts_of(worst))
        for reservation_id in done:
            connection.execute(_FORGET, {"id": reservation_id})

    def settle(self, made: Reservation, real: Spent, check: Check, *, lost: Spent | None = None) -> None:
        """Put what a call really used in the place of what was set aside for it; a second time changes nothing.

        `lost` is what it may have used beside that: the totals keep it, and it is kept as a lost reservation.
        """
        counted = real if lost is None else real.plus(lost)
        change = {name: amounts_of(counted)[name] - amount for name, amount in amounts_of(made.spent).items()}
        row = {"state": "settled", **amounts_of(real)} if lost is None else {"state": "lost", **amounts_of(lost)}
        row["id"] = made.id

        def work() -> None:
            with self._transaction() as connection:
                if connection.execute(_SETTLE, row).rowcount and any(change.values()):
                    _add(connection, made.totals, change)

        self._insist(work, check)

    def lose(self, reservation_id: str) -> None:
        """Let a reservation count for ever: nobody knows what became of its call."""
        mine = (RESERVATIONS.c.id == reservation_id, RESERVATIONS.c.state != "lost")
        with self._transaction() as connection:
            connection.execute(RESERVATIONS.update().where(*mine).values(state="lost"))

    def forget(self, reservation_ids: Sequence[str]) -> None:
        """Leave out reservations whose calls are settled and journaled; the totals stay."""
        if reservation_ids:
            with self._transaction() as connection:
                connection.execute(_FORGET, [{"id": one} for one in reservation_ids])

    def of_run(self, run_id: str) -> list[Reservation]:
        """Return the reservations of a run, in the order in which they were made."""
        query = sa.select(RESERVATIONS).where(RESERVATIONS.c.run_id == run_id).order_by(RESERVATIONS.c.made_at)
        with self._database.connect() as connection:
            return [_reservation(row) for row in connection.execute(query).mappings()]

    def totals(self, names: Sequence[str]) -> dict[str, Spent]:
        """Return what counts towards these totals, what is set aside included."""
        found = self._there(names)
        return {name: found.get(name, Spent()) for name in names}

    def _there(self, names: Sequence[str]) -> dict[str, Spent]:
        query = sa.select(TOTALS).where(TOTALS.c.name.in_(names))
        with self._database.connect() as connection:
            return {row["name"]: _spent(row) for row in connection.execute(query).mappings()}

    def look(self, names: Sequence[str], check: Check) -> dict[str, Spent]:
        """Return what `totals` does; `check` is called while the database is gone."""
        return self._insist(lambda: self.totals(names), check)

    @contextmanager
    def _transaction(self) -> Generator[sa.Connection]:
        with self._database.begin() as connection:
            if is_sqlite(self._database):  # before the first look, so that nobody else writes after it
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def _insist(self, work: Callable[[], _T], check: Check) -> _T:
        while True:
            try:
                return work()
            except SQLAlchemyError as error:
                if not is_outage(error):
                    raise
            until = time.monotonic() + _OUTAGE_SECONDS
            while time.monotonic() < until:
                check()
                time.sleep(0.1)


def lost_of(reservations: Sequence[Reservation]) -> dict[str, Any]:
    """Return as JSON what a run may have spent in calls of which nobody knows how they ended."""
    lost = [one for one in reservations if one.state == "lost"]
    usd = sum((one.spent.usd for one in lost), Decimal(0))
    tokens = sum(one.spent.input_tokens + one.spent.output_tokens for one in lost)
    return {"calls": len(lost), "tokens": tokens, "cost_usd": str(usd)}


def _new_id(now: float) -> str:
    """Return an id that says when it was made: by it, an auditor knows into which totals the call counts."""
    return f"{int(now * 1000)}.{uuid.uuid4().hex}"


def reserved_at(reservation_id: str) -> float | None:
    """Return when a reservation was made, in seconds since 1970; None where its id is of an older version."""
    at, dot, _ = reservation_id.partition(".")
    return int(at) / 1000 if dot and at.isdigit() else None


def _locked(connection: sa.Connection, names: Sequence[str]) -> dict[str, Spent]:
    """Return the totals of these names, which nobody else changes before the transaction ends. Raises: _New."""
    look = _LOOK if connection.dialect.name == "sqlite" else _LOOK_AND_LOCK
    found: dict[str, Spent] = {}
    for name in sorted(names):  # in this order in every process: none waits for another that waits for it
        row = connection.execute(look, {"name": name}).mappings().first()
        if row is None:
            raise _New
        found[name] = _spent(row)
    return found


def _add(connection: sa.Connection, names: Sequence[str], amounts: Mapping[str, int]) -> None:
    for name in sorted(names):
        connection.execute(_ADD, {"name": name, **amounts})


def amounts_of(spent: Spent) -> dict[str, int]:
    """Return whole numbers, money rounded up."""
    return {
        "model_calls": spent.model_calls,
        "tool_calls": spent.tool_calls,
        "tokens": spent.input_tokens + spent.output_tokens,
        "picodollars": int((spent.usd * _PICO).to_integral_value(ROUND_CEILING)),
        "microseconds": round(spent.seconds * _MICRO),
    }


def _spent(row: Mapping[Any, Any]) -> Spent:
    """Read what `amounts_of` wrote; tokens are not told apart."""
    return Spent(
        model_calls=row["model_calls"],
        tool_calls=row["tool_calls"],
        input_tokens=row["tokens"],
        usd=Decimal(row["picodollars"]) / _PICO,
        seconds=row["microseconds"] / _MICRO,
    )


def _reservation(row: Mapping[Any, Any]) -> Reservation:
    totals = tuple(json.loads(row["totals"]))
    return Reservation(row["id"], row["task"], row["agent"], row["call"], _spent(row), totals, row["state"])
