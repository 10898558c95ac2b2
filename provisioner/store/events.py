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

    async def leap(self, at: float) -> None:
        """Number events and lines of traces from the milliseconds of `at` on, where they are not past those.

        What a store counted before it was copied, and what its daemon counted on to afterwards, is never counted again:
        nobody makes a thousand events a second for long.
        """

        def work(cursor: sqlite3.Cursor) -> None:
            for table in ("event", "trace"):
                cursor.execute(
                    "INSERT INTO sqlite_sequence SELECT ?1, 0 WHERE NOT EXISTS"
                    " (SELECT 1 FROM sqlite_sequence WHERE name = ?1)",
                    (table,),
                )
                least = int(at * 1000)
                cursor.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ? AND seq < ?", (least, table, least))

        await self._db.submit(work)
