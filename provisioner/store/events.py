"""Events that are no change of a machine, in the outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from provisioner.model.intent import Event
from provisioner.store.codec import encode
from provisioner.store.db import Database


class EventStore:
    """Writes events of the site, and what happened to a machine without a change of it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def add(self, kind: str, data: Mapping[str, Any], at: float, machine: str = "") -> Event:
        """Write one event durably; return it with its number. Raises `StoreError`."""
        document = encode(data)

        def work(cursor: sqlite3.Cursor) -> Event:
            row = (at, kind, machine, document)
            cursor.execute("INSERT INTO event (at, type, machine, document) VALUES (?, ?, ?, ?)", row)
            assert cursor.lastrowid is not None
            return Event(cursor.lastrowid, at, kind, machine, dict(data))

        return await self._db.submit(work)
