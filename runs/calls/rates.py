"""Rate limits that all processes on a database share: so many calls begin, at most, within so many seconds."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from project.spec import ModelSpec
from runs.executing.owners import database_now
from runs.stored.database import is_outage, is_sqlite
from runs.stored.tables import CALLS

_LONGEST_SLEEP = 0.25
_OUTAGE_SECONDS = 1.0
_MARGIN_SECONDS = 0.05  # a call leaves a moment after it is counted, and that moment differs
_LOCK = 0x6D757374  # "must": one of PostgreSQL's advisory locks, held for the length of a transaction


@dataclass(frozen=True)
class Room:
    """Whether a call may begin."""

    left: float
    """Seconds until there may be room for it; 0.0: it was counted."""
    number: int = 0
    """Of the call that was counted."""


class Rates:
    """Lets calls begin when their provider's limit has room."""

    def __init__(self, database: sa.Engine) -> None:
        self._database = database

    def wait(self, key: str, calls: int, seconds: float, check: Callable[[], None]) -> None:
        """Wait until a call may begin, and count it. `check` is called meanwhile; what it raises goes through.

        Without the database no call begins: nobody could say whether there is room.
        """
        while (room := self.take(key, calls, seconds)).left > 0:
            until = time.monotonic() + room.left
            while (rest := until - time.monotonic()) > 0:
                check()
                time.sleep(min(rest, _LONGEST_SLEEP))

    def take(self, key: str, calls: int, seconds: float) -> Room:
        """Count a call that begins now, where there is room for it."""
        try:
            return self._take(key, calls, seconds + _MARGIN_SECONDS)
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            return Room(_OUTAGE_SECONDS)

    def begin(self, room: Room) -> None:
        """Note that a call which was counted begins only now: it was announced first, and that took its time."""
        with contextlib.suppress(SQLAlchemyError), self._database.begin() as connection:  # else it counts from before
            connection.execute(CALLS.update().where(CALLS.c.id == room.number).values(at=self._now(connection)))

    def _now(self, connection: sa.Connection) -> float:
        if is_sqlite(self._database):
            return time.time()
        return connection.execute(sa.select(database_now())).scalar_one()

    def _take(self, key: str, calls: int, seconds: float) -> Room:
        with self._database.begin() as connection:
            if not is_sqlite(self._database):
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
            now = self._now(connection)
            # A call of the future was noted before the clock was set back: it would block for as long.
            gone = sa.or_(CALLS.c.at <= now - seconds, CALLS.c.at > now + 1)
            connection.execute(CALLS.delete().where(CALLS.c.rate == key, gone))
            begun = (
                connection.execute(sa.select(CALLS.c.at).where(CALLS.c.rate == key).order_by(CALLS.c.at))
                .scalars()
                .all()
            )
            if len(begun) < calls:
                counted = connection.execute(CALLS.insert().values(rate=key, at=now)).inserted_primary_key
                return Room(0.0, counted[0] if counted is not None else 0)
            return Room(max(0.001, begun[len(begun) - calls] + seconds - now))


def rate_key(spec: ModelSpec) -> str:
    """Return what shares a limit: the provider, and the server where it is named."""
    return f"{spec.model.partition('/')[0]} {spec.base_url or ''}".strip()
