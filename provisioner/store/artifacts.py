"""The index of the artefact store: which content stands behind which name."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from provisioner.model.artifact import Blob
from provisioner.store.db import Database


class ArtifactIndex:
    """The rows, durable when a call returns."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> list[Blob]:
        """Read every row."""
        return await self._db.read(_load)

    async def put(self, blobs: Sequence[Blob]) -> None:
        """Let each name stand for its content from now on: all of them or none."""
        await self._db.submit(lambda cursor: _put(cursor, blobs))

    async def drop(self, blobs: Sequence[Blob]) -> None:
        """Forget these names, as far as they stand for the same content still."""
        await self._db.submit(lambda cursor: _drop(cursor, blobs))


def _load(cursor: sqlite3.Cursor) -> list[Blob]:
    rows = cursor.execute(
        "SELECT bootenv, arch, name, sha256, size_bytes, origin, stored_at FROM artifact ORDER BY bootenv, arch, name"
    )
    return [Blob(*row) for row in rows]


def _put(cursor: sqlite3.Cursor, blobs: Sequence[Blob]) -> None:
    cursor.executemany(
        "INSERT OR REPLACE INTO artifact (bootenv, arch, name, sha256, size_bytes, origin, stored_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(b.bootenv, b.arch, b.name, b.sha256, b.size_bytes, b.origin, b.stored_at) for b in blobs],
    )


def _drop(cursor: sqlite3.Cursor, blobs: Sequence[Blob]) -> None:
    cursor.executemany(
        "DELETE FROM artifact WHERE bootenv = ? AND arch = ? AND name = ? AND sha256 = ?",
        [(b.bootenv, b.arch, b.name, b.sha256) for b in blobs],
    )
