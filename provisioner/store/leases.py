"""DHCP leases in the store."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
from collections.abc import Sequence

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.store.db import Database

log = logging.getLogger(__name__)

ROWS_LIMIT = 128
"""Most rows in one statement. sqlite3 gives the interpreter lock away and takes it back several times a statement, and
the thread that answers packets does not let go of it gladly: one statement for a batch is worth a third of the rate."""
_COLUMNS = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SAVE = [f"INSERT OR REPLACE INTO lease VALUES {', '.join([_COLUMNS] * rows)}" for rows in range(ROWS_LIMIT + 1)]  # noqa: S608
_LOAD = (
    "SELECT ip, key, pool, until, state, since, name, client_id, relay, circuit_id, remote_id, reason"
    " FROM lease ORDER BY ip"
)


class LeaseStore:
    """Keeps leases durably."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, leases: Sequence[Lease]) -> asyncio.Future[None]:
        """Store these; the future resolves when they are durable, or fails with `StoreError`."""
        if len(leases) > ROWS_LIMIT or not leases:
            return self._database.submit(lambda cursor: _save_many(cursor, leases))
        sql, values = _SAVE[len(leases)], list(itertools.chain.from_iterable(leases))

        def work(cursor: sqlite3.Cursor) -> None:
            cursor.execute(sql, values)

        return self._database.submit(work, single=True)

    async def load(self) -> list[Lease]:
        """Read all leases. A row that cannot be understood is logged and left out; raises `StoreError`."""
        return await self._database.read(_read)


def _save_many(cursor: sqlite3.Cursor, leases: Sequence[Lease]) -> None:
    cursor.executemany(_SAVE[1], leases)


def _read(cursor: sqlite3.Cursor) -> list[Lease]:
    found = []
    for row in cursor.execute(_LOAD):
        try:
            found.append(Lease(*row)._replace(state=LeaseState(row[4]), until=float(row[3])))
        except (ValueError, TypeError) as error:
            log.error("dhcp.lease-unreadable row=%r error=%s", row, error)
    return found
