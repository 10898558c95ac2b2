"""How far the wall clock was set while leases were written by the steady one, and leases that are moved by as much."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from provisioner.clock import JUMP_S
from provisioner.dhcp.leases import FOR_EVER
from provisioner.store.db import Database

log = logging.getLogger(__name__)

_ADD = (
    "INSERT INTO clock_set VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET seconds = clock_set.seconds + excluded.seconds"
)
_MOVE = "UPDATE {table} SET since = since + :by, until = until + :by WHERE since + :by <= :latest AND until < :for_ever"
"""One that would begin later than now was written before, by a clock that was right."""
_TABLES = ("lease", "lease6")


class ClockStore:
    """One number, in force from the jump of the clock to the next start."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def jumped(self, seconds: float) -> asyncio.Future[None]:
        """Note that the wall clock was set by so much; the future resolves when that is durable."""

        def work(cursor: sqlite3.Cursor) -> None:
            cursor.execute(_ADD, (seconds,))

        noted = self._db.submit(work)
        noted.add_done_callback(_log_failure)
        return noted

    async def settle(self, now: float) -> None:
        """Move stored leases of both families by what was noted, once. `now` is right, and nothing writes leases yet.

        Only forward: a clock that was set back has left leases that begin later than now, and `leases.sound` bounds
        those. Raises `StoreError`.
        """

        def work(cursor: sqlite3.Cursor) -> tuple[float, int]:
            (by,) = cursor.execute("SELECT coalesce(sum(seconds), 0.0) FROM clock_set").fetchone()
            cursor.execute("DELETE FROM clock_set")
            if by <= 0:
                return by, 0
            values = {"by": by, "latest": now + JUMP_S, "for_ever": FOR_EVER}
            return by, sum(cursor.execute(_MOVE.format(table=table), values).rowcount for table in _TABLES)

        by, count = await self._db.submit(work)
        if count:
            log.warning("dhcp.clock-settled seconds=%.0f leases=%d", by, count)


def _log_failure(noted: asyncio.Future[None]) -> None:
    if not noted.cancelled() and (error := noted.exception()) is not None:
        log.error("dhcp.clock-unsaved error=%s", error)
