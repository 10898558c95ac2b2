"""How far webhooks have delivered the outbox."""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database

_numbers_in = Reader(list[int])


class HookStore:
    """One row for each webhook."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self, name: str) -> tuple[int, list[int]] | None:
        """Return the number up to which all was delivered, and those above it that were; None for a new webhook."""
        query = "SELECT cursor, ahead FROM hook WHERE name = ?"
        row = await self._db.read(lambda c: c.execute(query, (name,)).fetchone())
        return (row[0], _numbers_in(row[1])) if row else None

    async def save(self, name: str, cursor: int, ahead: Iterable[int]) -> None:
        """Keep it, durably."""
        row = (name, cursor, encode(sorted(ahead)))
        await self._db.submit(lambda c: c.execute("INSERT OR REPLACE INTO hook VALUES (?, ?, ?)", row) and None)
