"""How far webhooks have delivered the outbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database

_waiting_in = Reader(dict[str, int])


@dataclass(frozen=True, slots=True)
class Progress:
    """Every event up to number `reach` was delivered, but for those of the machines that wait."""

    reach: int
    waiting: Mapping[str, int] = field(default_factory=dict)
    """Number of the first event of a machine (its id; empty: of none) that was not delivered, nor were its next."""

    @property
    def cursor(self) -> int:
        """Number up to which all was delivered."""
        return min(self.waiting.values(), default=self.reach + 1) - 1


class HookStore:
    """One row for each webhook."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self, name: str) -> Progress | None:
        """Read how far a webhook is; None for a new one."""
        query = "SELECT reach, waiting FROM hook WHERE name = ?"
        row = await self._db.read(lambda c: c.execute(query, (name,)).fetchone())
        return Progress(row[0], _waiting_in(row[1])) if row else None

    async def save(self, name: str, progress: Progress) -> None:
        """Keep it, durably."""
        row = (name, progress.cursor, progress.reach, encode(dict(progress.waiting)))
        statement = "INSERT OR REPLACE INTO hook (name, cursor, reach, waiting) VALUES (?, ?, ?, ?)"
        await self._db.submit(lambda c: c.execute(statement, row) and None)
