"""DHCP leases in the store."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.store.db import Database

log = logging.getLogger(__name__)

SAVE = "INSERT OR REPLACE INTO lease VALUES"
_LOAD = (
    "SELECT ip, key, pool, until, state, since, name, client_id, relay, circuit_id, remote_id, reason, machine"
    " FROM lease ORDER BY ip"
)


class LeaseStore:
    """Keeps leases durably."""

    def __init__(self, database: Database, *, durable: bool = True) -> None:
        self._database = database
        self._durable = durable
        """Leases are on the disk when their future resolves; else with the kernel (`dhcp.durability`)."""

    def save(self, leases: Sequence[Lease], then: Callable[[], Any] | None = None) -> asyncio.Future[Any]:
        """Store these; the future resolves when they are safe, or fails with `StoreError`.

        It gives what `then` returned, which the store's thread called at once (`Database.submit_rows`).
        """
        if not leases:
            return self._database.submit(lambda cursor: None)
        return self._database.submit_rows(SAVE, leases, durable=self._durable, then=then)

    async def load(self) -> list[Lease]:
        """Read all leases. A row that cannot be understood is logged and left out; raises `StoreError`."""
        return await self._database.read(_read)


def _read(cursor: sqlite3.Cursor) -> list[Lease]:
    found = []
    for row in cursor.execute(_LOAD):
        try:
            found.append(Lease(*row)._replace(state=LeaseState(row[4]), until=float(row[3]), since=float(row[5])))
        except (ValueError, TypeError) as error:
            log.error("dhcp.lease-unreadable row=%r error=%s", row, error)
    return found
