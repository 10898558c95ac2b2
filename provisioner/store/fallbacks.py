"""Subnets in which we are only the proxy of another DHCP server, through restarts."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.store.db import Database


class FallbackStore:
    """One row for each such subnet."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> Mapping[str, str]:
        """Give the other server's address by subnet; raises `StoreError`."""
        query = "SELECT subnet, server FROM dhcp_fallback ORDER BY subnet"
        return dict(await self._db.read(lambda c: c.execute(query).fetchall()))

    async def put(self, subnet: str, server: str) -> None:
        """Keep it, durably."""
        row = (subnet, server)
        await self._db.submit(lambda c: c.execute("INSERT OR REPLACE INTO dhcp_fallback VALUES (?, ?)", row) and None)

    async def remove(self, subnet: str) -> None:
        """Forget it, durably."""
        await self._db.submit(lambda c: c.execute("DELETE FROM dhcp_fallback WHERE subnet = ?", (subnet,)) and None)
