"""What was applied from a directory of declarations: machines, secrets, fixed addresses and the catalogue at once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from provisioner.dhcp.subnets import Reservation
from provisioner.errors import StoreError
from provisioner.lifecycle.declared import Applied
from provisioner.model.intent import Event
from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database
from provisioner.store.dhcpbook import write_reservations
from provisioner.store.machines import Change, prepared
from provisioner.store.readonly import read_only

_applied_in = Reader(Applied)

DROPPED = 10
"""Earlier ones that go with each apply, of which there may be thousands from before: megabytes for a large site."""
_DROP = "DELETE FROM declaration WHERE seq IN (SELECT seq FROM declaration WHERE seq < ? ORDER BY seq LIMIT ?)"


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one apply writes. `freed` are hardware addresses."""

    applied: Applied
    changes: Sequence[Change] = ()
    reserved: Sequence[Reservation] = ()
    freed: Sequence[str] = ()
    told: dict[str, Any] = field(default_factory=dict)
    """What the event of the site says."""


def folder_in(path: Path) -> str:
    """Read from a database, beside its daemon or without, the folder of what was applied last; empty for nothing.

    Blocks. Raises `StoreError`.
    """
    try:
        if not path.exists():
            return ""
        with read_only(path) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'declaration'").fetchone():
                return ""
            row = connection.execute("SELECT folder FROM declaration ORDER BY seq DESC LIMIT 1").fetchone()
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: what was applied cannot be read: {error}", hint="as the daemon's user?") from error
    return row[0] if row else ""


class DeclarationStore:
    """The table of what was applied last. Of what was applied before, the events tell."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def last(self) -> Applied:
        """Read what was applied last; an empty one where nothing ever was."""
        query = "SELECT seq, document FROM declaration ORDER BY seq DESC LIMIT 1"
        row = await self._db.read(lambda c: c.execute(query).fetchone())
        return replace(_applied_in(row[1]), seq=row[0]) if row else Applied()

    async def write(self, batch: Batch) -> tuple[Applied, list[Event]]:
        """Write all of it in one transaction, or nothing. Returns it with its number, and the events."""
        applied, told = batch.applied, encode(batch.told)

        def encoded() -> tuple[list[Callable[[sqlite3.Cursor], list[Event]]], bytes]:
            return [prepared(change) for change in batch.changes], encode(applied)

        writes, document = await asyncio.to_thread(encoded)  # ten thousand machines: half a second
        row = (applied.at, applied.revision, applied.folder, document)

        def work(cursor: sqlite3.Cursor) -> tuple[int, list[Event]]:
            events = [event for write in writes for event in write(cursor)]
            write_reservations(cursor, batch.reserved, batch.freed)
            cursor.execute("INSERT INTO declaration (at, revision, folder, document) VALUES (?, ?, ?, ?)", row)
            seq = cursor.lastrowid or 0
            cursor.execute(_DROP, (seq, DROPPED))
            query = "INSERT INTO event (at, type, machine, document) VALUES (?, 'site.applied', '', ?)"
            cursor.execute(query, (applied.at, told))
            return seq, [*events, Event(cursor.lastrowid or 0, applied.at, "site.applied", "", batch.told)]

        seq, events = await self._db.submit(work)
        return replace(applied, seq=seq), events
