"""What the store keeps of what has passed: events, keys of intents, runs that ended. Older ones go, an hour at a time.

What has to be looked for is looked for on a reader, beside the writer: among a million runs that takes some 100 ms.
Rows then go by their keys, which is a matter of milliseconds.

Without this the file of a busy site grows by some gigabytes a year. What a configured webhook was not yet sent stays,
however much that is: nothing is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any

from provisioner.clock import SteadyClock
from provisioner.errors import StoreError
from provisioner.store.db import Database

log = logging.getLogger(__name__)

EVERY_S = 3600.0
Key = tuple[Any]
"""What a row is found by, as the one column of a row."""
AT_ONCE = 5_000
"""Rows of one kind that go in one transaction: some milliseconds, for which nobody waits."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How much is kept. An install is some 20 events of 300 octets: a million is 50,000 installs and 300 MB."""

    events: int = 1_000_000
    intent_s: float = 30 * 86400.0
    runs_each: int = 100


DEFAULT = Keep()


class Retention:
    """Drops what is too old. `hooks` are the names of the webhooks that are configured."""

    def __init__(
        self, db: Database, clock: SteadyClock, hooks: Collection[str], keep: Keep = DEFAULT, every_s: float = EVERY_S
    ) -> None:
        self._db = db
        self._clock = clock
        self._hooks = tuple(hooks)
        self._keep = keep
        self._every_s = every_s

    async def run(self) -> None:
        """Look every hour until cancelled."""
        while True:
            try:
                await self.drop()
            except StoreError as error:  # full or locked: the next hour is as good
                log.error("store.unpruned error=%s", error)
            await asyncio.sleep(self._every_s)

    async def drop(self) -> int:
        """Drop all that is too old; return how many rows went."""
        gone = 0
        last = await self._db.read(self._delivered)
        for find, delete in (
            (partial(_events_until, last), "DELETE FROM event WHERE seq = ?"),
            (self._old_intents, "DELETE FROM intent WHERE key = ?"),
            (self._old_runs, "DELETE FROM run WHERE id = ?"),
        ):
            while keys := await self._db.read(find):
                await self._db.submit(partial(_delete, delete, keys))
                gone += len(keys)
        if gone:
            log.info("store.pruned rows=%d", gone)
        return gone

    def _old_intents(self, cursor: sqlite3.Cursor) -> list[Key]:
        until = self._clock.now() - self._keep.intent_s
        return cursor.execute("SELECT key FROM intent WHERE at < ? LIMIT ?", (until, AT_ONCE)).fetchall()

    def _old_runs(self, cursor: sqlite3.Cursor) -> list[Key]:
        """Find runs beyond those that are kept of each machine; the index tells both whose they are and which."""
        each = self._keep.runs_each
        found: list[Key] = []
        busy = cursor.execute("SELECT machine FROM run GROUP BY machine HAVING count(*) > ?", (each,)).fetchall()
        for (machine,) in busy:
            query = "SELECT id FROM run WHERE machine = ? ORDER BY started DESC LIMIT ? OFFSET ?"
            found += cursor.execute(query, (machine, AT_ONCE - len(found), each)).fetchall()
            if len(found) == AT_ONCE:
                break
        return found

    def _delivered(self, cursor: sqlite3.Cursor) -> int:
        """Number of the last event that may go: beyond what is kept, and sent to every webhook."""
        beyond = "SELECT seq FROM event ORDER BY seq DESC LIMIT 1 OFFSET ?"  # counted: a restored store skips numbers
        (last,) = cursor.execute(beyond, (self._keep.events,)).fetchone() or (0,)
        cursors = dict(cursor.execute("SELECT name, cursor FROM hook").fetchall())
        sent = [int(cursors[name]) for name in self._hooks if name in cursors]
        return min([int(last), *sent])


def _events_until(last: int, cursor: sqlite3.Cursor) -> list[Key]:
    query = "SELECT seq FROM event WHERE seq <= ? ORDER BY seq LIMIT ?"
    return cursor.execute(query, (last, AT_ONCE)).fetchall()


def _delete(statement: str, keys: list[Key], cursor: sqlite3.Cursor) -> None:
    cursor.executemany(statement, keys)
