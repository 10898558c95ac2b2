"""What is kept of package mirrors: which content stands behind which path."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from provisioner.model.mirror import Kept
from provisioner.store.db import Database


class MirrorIndex:
    """The rows, durable when a call returns."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> list[Kept]:
        """Read every row."""
        return await self._db.read(_load)

    async def put(self, rows: Sequence[Kept]) -> None:
        """Remember these, in the place of what was known under their paths."""
        await self._db.submit(lambda cursor: _put(cursor, rows))

    async def drop(self, rows: Sequence[Kept]) -> None:
        """Forget these."""
        await self._db.submit(lambda cursor: _drop(cursor, rows))


def _load(cursor: sqlite3.Cursor) -> list[Kept]:
    return [
        Kept(*row)
        for row in cursor.execute("SELECT mirror, path, sha256, size_bytes, etag, modified, checked, used FROM mirror")
    ]


def _put(cursor: sqlite3.Cursor, rows: Sequence[Kept]) -> None:
    values = [(k.mirror, k.path, k.sha256, k.size_bytes, k.etag, k.modified, k.checked, k.used) for k in rows]
    cursor.executemany(
        "INSERT OR REPLACE INTO mirror (mirror, path, sha256, size_bytes, etag, modified, checked, used)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )


def _drop(cursor: sqlite3.Cursor, rows: Sequence[Kept]) -> None:
    cursor.executemany("DELETE FROM mirror WHERE mirror = ? AND path = ?", [(k.mirror, k.path) for k in rows])
