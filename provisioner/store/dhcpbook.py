"""What operators say of DHCP, durably, and leases by page: for lists, exports and imports."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from ipaddress import IPv6Address
from typing import Any, NamedTuple, Protocol, TypeVar

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.dhcp.subnets import Reservation, Subnet
from provisioner.dhcp.v6.subnets import Reservation6, Subnet6
from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database, insert_rows
from provisioner.store.leases import SAVE, LeaseStore
from provisioner.store.leases6 import SAVE6, rows6

T = TypeVar("T")

_reservation_in = Reader(Reservation)
_subnet_in = Reader(Subnet)
_reservation6_in = Reader(Reservation6)
_subnet6_in = Reader(Subnet6)

SLICE = 200
"""Leases written out at once: about a millisecond of the loop."""
_RESERVATION, _SUBNET, _RESERVATION6, _SUBNET6 = "reservation", "subnet", "reservation6", "subnet6"
_COLUMNS = "ip, key, pool, until, state, since, name, client_id, relay, circuit_id, remote_id, reason, machine"


class Filter(NamedTuple):
    """Which leases: of these addresses (IPv6 ones with `six`), of this hardware address, in this state."""

    low: int = 0
    high: int = 2**128 - 1
    key: bytes = b""
    state: str = ""
    """active, expired, released, declined; empty: all."""
    six: bool = False


_STATES = {
    "active": "state = 'bound' AND until > :now",
    "expired": "state = 'bound' AND until <= :now",
    "released": "state = 'released'",
    "declined": "state = 'declined' AND until > :now",
}
STATES = tuple(_STATES)


class Family(Protocol):
    """Says which family an entry is of."""

    @property
    def six(self) -> bool: ...


class Entry(Protocol):
    """What one entry of an import leaves to be kept."""

    @property
    def want(self) -> Family: ...

    @property
    def reservation(self) -> Reservation | Reservation6 | None: ...

    @property
    def leases(self) -> Sequence[Lease]: ...


class DhcpBookStore:
    """One row for each thing said; leases as `store.leases` keeps them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def settings(self) -> tuple[list[Reservation], list[Subnet]]:
        """Read everything that was said. Raises `StoreError`."""
        return await self._all(_RESERVATION, _reservation_in), await self._all(_SUBNET, _subnet_in)

    async def settings6(self) -> tuple[list[Reservation6], list[Subnet6]]:
        """Read everything that was said of DHCPv6. Raises `StoreError`."""
        return await self._all(_RESERVATION6, _reservation6_in), await self._all(_SUBNET6, _subnet6_in)

    async def _all(self, kind: str, read: Reader[T]) -> list[T]:
        query = "SELECT document FROM dhcp_setting WHERE kind = ?"
        rows = await self._db.read(lambda c: c.execute(query, (kind,)).fetchall())
        return [read(document) for (document,) in rows]

    async def put_reservation(self, reservation: Reservation) -> None:
        """Keep it, durably."""
        await self._keep(_said(reservation))

    async def remove_reservation(self, mac: str) -> None:
        """Forget it, durably."""
        await self._forget(_RESERVATION, mac)

    async def put_subnets(self, subnets: Sequence[Subnet]) -> None:
        """Keep them, durably: all or none."""
        await self._keep(*((_SUBNET, each.title, encode(each)) for each in subnets))

    async def remove_subnet(self, name: str) -> None:
        """Forget it, durably."""
        await self._forget(_SUBNET, name)

    async def put_reservation6(self, reservation: Reservation6) -> None:
        """Keep it, durably."""
        await self._keep(_said(reservation))

    async def remove_reservation6(self, address: str) -> None:
        """Forget it, durably."""
        await self._forget(_RESERVATION6, address)

    async def put_subnets6(self, subnets: Sequence[Subnet6]) -> None:
        """Keep them, durably: all or none."""
        await self._keep(*((_SUBNET6, each.title, encode(each)) for each in subnets))

    async def remove_subnet6(self, name: str) -> None:
        """Forget it, durably."""
        await self._forget(_SUBNET6, name)

    async def _keep(self, *rows: tuple[str, str, bytes]) -> None:
        await self._db.submit(lambda c: _put(c, rows))

    async def _forget(self, kind: str, name: str) -> None:
        await self._db.submit(lambda c: _remove(c, kind, name))

    async def take_over(self, entries: Sequence[Entry]) -> None:
        """Keep all of an import in one transaction, or nothing of it."""
        rows: list[tuple[str, str, bytes]] = []
        leases, leases6 = list[Lease](), list[Lease]()
        for at in range(0, len(entries), SLICE):
            some = entries[at : at + SLICE]
            rows += [_said(each.reservation) for each in some if each.reservation is not None]
            leases += [lease for each in some if not each.want.six for lease in each.leases]
            leases6 += rows6(lease for each in some if each.want.six for lease in each.leases)
            await asyncio.sleep(0)

        def work(cursor: sqlite3.Cursor) -> None:
            _put(cursor, rows)
            insert_rows(SAVE, leases, cursor)
            insert_rows(SAVE6, leases6, cursor)

        await self._db.submit(work)

    async def leases(self, wanted: Filter, now: float, *, after: int = -1, limit: int = 1000) -> list[Lease]:
        """Give leases in the order of their addresses, from the one behind `after`."""
        await LeaseStore(self._db).save([])  # an answer on its way to the disk counts
        where = ["ip BETWEEN :low AND :high"]
        if wanted.key:
            where.append("substr(key, 1, 6) = :key" if wanted.six else "key = :key")
        if wanted.state:
            where.append(_STATES[wanted.state])
        table = "lease6" if wanted.six else "lease"
        query = f"SELECT {_COLUMNS} FROM {table} WHERE {' AND '.join(where)} ORDER BY ip LIMIT :limit"  # noqa: S608  ours
        low, high = max(wanted.low, after + 1), min(wanted.high, 2**128 - 1 if wanted.six else 0xFFFFFFFF)
        if low > high:
            return []
        values = {"key": wanted.key, "now": now, "limit": limit, "low": low, "high": high}
        if wanted.six:  # addresses are octets there
            values |= {"low": low.to_bytes(16, "big"), "high": high.to_bytes(16, "big")}
        rows = await self._db.read(lambda c: c.execute(query, values).fetchall())
        return [_lease(row) for row in rows]


def _lease(row: tuple[Any, ...]) -> Lease:
    lease = Lease(*row)._replace(state=LeaseState(row[4]))
    if isinstance(row[0], bytes):
        ip, relay = (int.from_bytes(octets, "big") for octets in (row[0], row[8]))
        return lease._replace(ip=ip, relay=relay)
    return lease


def write_reservations(cursor: sqlite3.Cursor, put: Sequence[Reservation], removed: Sequence[str]) -> None:
    """Keep and forget reservations, as a part of a transaction of others."""
    for mac in removed:
        _remove(cursor, _RESERVATION, mac)
    _put(cursor, [(_RESERVATION, each.mac, encode(each)) for each in put])


def _said(reservation: Reservation | Reservation6) -> tuple[str, str, bytes]:
    """Write one as the row that it is kept in."""
    if isinstance(reservation, Reservation):
        return _RESERVATION, reservation.mac, encode(reservation)
    return _RESERVATION6, str(IPv6Address(reservation.address)), encode(reservation)


def _put(cursor: sqlite3.Cursor, rows: Sequence[tuple[str, str, bytes]]) -> None:
    cursor.executemany("INSERT OR REPLACE INTO dhcp_setting VALUES (?, ?, ?)", rows)


def _remove(cursor: sqlite3.Cursor, kind: str, name: str) -> None:
    cursor.execute("DELETE FROM dhcp_setting WHERE kind = ? AND name = ?", (kind, name))
