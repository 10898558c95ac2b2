"""Which records are, or may be, in the DNS."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

from provisioner.ddns.names import Owner
from provisioner.store.db import Database


class Record(NamedTuple):
    """An address under a name. Not `done`: it was about to be written."""

    address: bytes
    name: str
    owner: Owner
    done: bool

    @property
    def text(self) -> str:
        """The address as people write it."""
        return str(ip_address(self.address))


class NameStore:
    """One row for each address and name."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> Sequence[Record]:
        """Read all; raises `StoreError`."""
        query = "SELECT address, name, kind, identifier, done FROM dns_record"
        rows = await self._db.read(lambda c: c.execute(query).fetchall())
        return [
            Record(address, name, Owner(kind, identifier), bool(done)) for address, name, kind, identifier, done in rows
        ]

    async def put(self, record: Record) -> None:
        """Keep it, durably."""
        row = (record.address, record.name, record.owner.kind, record.owner.identifier, record.done)
        await self._db.submit(
            lambda c: c.execute("INSERT OR REPLACE INTO dns_record VALUES (?, ?, ?, ?, ?)", row) and None
        )

    async def remove(self, record: Record) -> None:
        """Forget it, durably."""
        key = (record.address, record.name)
        await self._db.submit(
            lambda c: c.execute("DELETE FROM dns_record WHERE address = ? AND name = ?", key) and None
        )
