"""SSH host keys of BMCs as they were pinned, kept through restarts."""

from __future__ import annotations

from provisioner.bmc.hostkeys import HostKey
from provisioner.store.db import Database


class HostKeyStore:
    """One row for each port of a BMC."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> tuple[HostKey, ...]:
        """Read all."""
        rows = await self._db.read(lambda c: c.execute("SELECT host, port, fingerprint FROM host_key").fetchall())
        return tuple(HostKey(*row) for row in rows)

    async def save(self, one: HostKey) -> None:
        """Keep a key, or that it was forgotten, durably."""
        if one.fingerprint:
            row = (one.host, one.port, one.fingerprint)
            await self._db.submit(lambda c: c.execute("INSERT OR REPLACE INTO host_key VALUES (?, ?, ?)", row) and None)
        else:
            place = (one.host, one.port)
            await self._db.submit(
                lambda c: c.execute("DELETE FROM host_key WHERE host = ? AND port = ?", place) and None
            )
