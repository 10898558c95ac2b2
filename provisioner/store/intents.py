"""What was accepted under idempotency keys. It is written in the transaction that makes the request come true."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from provisioner.errors import ConflictError
from provisioner.model.intent import Asked
from provisioner.store.db import Database


class Accepted(NamedTuple):
    """What was accepted under a key: of which machine, rollout or workflow run, a machine's run then, the request."""

    subject: str
    run: str
    request: str


class IntentStore:
    """The keys' table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(self, key: str) -> Accepted | None:
        """Find the request that was accepted under this key."""
        query = "SELECT subject, run, request FROM intent WHERE key = ?"
        row = await self._db.read(lambda c: c.execute(query, (key,)).fetchone())
        return Accepted(*row) if row else None


def put_intent(cursor: sqlite3.Cursor, intent: Asked, subject: str, at: float, run: str = "") -> None:
    """Keep that a request was accepted, if it has a key. Raises `ConflictError` where another one had that before."""
    if not intent.key:
        return
    row = (intent.key, subject, run, at, intent.request)
    if cursor.execute("INSERT OR IGNORE INTO intent VALUES (?, ?, ?, ?, ?)", row).rowcount == 0:
        raise ConflictError(f"the idempotency key {intent.key[:40]!r} was used for another request")
