"""DHCPv6 leases and the server's own DUID in the store."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.store.db import Database

log = logging.getLogger(__name__)

SAVE6 = "INSERT OR REPLACE INTO lease6 VALUES"
_LOAD = (
    "SELECT ip, key, pool, until, state, since, name, client_id, relay, circuit_id, remote_id, reason, machine"
    " FROM lease6 ORDER BY ip"
)
_ADDRESS_SIZE = 16


class LeaseStore6:
    """Keeps IPv6 leases durably, in the same groups as all else."""

    def __init__(self, database: Database, *, durable: bool = True) -> None:
        self._database = database
        self._durable = durable

    def save(self, leases: Sequence[Lease], then: Callable[[], Any] | None = None) -> asyncio.Future[Any]:
        """Store these; as `LeaseStore.save`."""
        if not leases:
            return self._database.submit(lambda cursor: None)
        return self._database.submit_rows(SAVE6, rows6(leases), durable=self._durable, then=then)

    async def load(self) -> list[Lease]:
        """Read all leases. A row that cannot be understood is logged and left out; raises `StoreError`."""
        return await self._database.read(_read)

    async def server_duid(self, fresh: bytes) -> bytes:
        """Give the server's DUID: the one that is stored, else `fresh`, which is stored. Raises `StoreError`."""

        def work(cursor: sqlite3.Cursor) -> bytes:
            cursor.execute("INSERT OR IGNORE INTO server_duid VALUES (1, ?)", (fresh,))
            found = cursor.execute("SELECT duid FROM server_duid").fetchone()
            return bytes(found[0])

        return await self._database.submit(work)


def rows6(leases: Iterable[Lease]) -> list[Lease]:
    """Write leases as rows: SQLite's numbers end at 64 bits, so addresses are octets."""
    return [lease._replace(ip=_octets(lease.ip), relay=_octets(lease.relay)) for lease in leases]


def _read(cursor: sqlite3.Cursor) -> list[Lease]:
    found = []
    for row in cursor.execute(_LOAD):
        try:
            lease = Lease(*row)._replace(ip=_number(row[0]), relay=_number(row[8]))
            found.append(lease._replace(state=LeaseState(row[4]), until=float(row[3]), since=float(row[5])))
        except (ValueError, TypeError) as error:
            log.error("dhcp6.lease-unreadable row=%r error=%s", row, error)
    return found


def _octets(address: int) -> Any:
    return address.to_bytes(_ADDRESS_SIZE, "big")


def _number(address: bytes) -> int:
    if len(address) != _ADDRESS_SIZE:
        raise ValueError(f"an address of {len(address)} octets")
    return int.from_bytes(address, "big")
