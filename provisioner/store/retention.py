"""What the store keeps of what has passed: events, keys of intents, runs that ended. Older ones go, an hour at a time.

Without this the file of a busy site grows by some gigabytes a year. What a configured webhook was not yet sent stays,
however much that is: nothing is dropped.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from provisioner.clock import SteadyClock
from provisioner.errors import StoreError
from provisioner.store.db import Database

log = logging.getLogger(__name__)

EVERY_S = 3600.0
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
        while some := await self._db.submit(self._some):
            gone += some
            await asyncio.sleep(0)
        if gone:
            log.info("store.pruned rows=%d", gone)
        return gone

    def _some(self, cursor: sqlite3.Cursor) -> int:
        events = "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE seq <= ? ORDER BY seq LIMIT ?)"
        intents = "DELETE FROM intent WHERE key IN (SELECT key FROM intent WHERE at < ? LIMIT ?)"
        runs = (
            "DELETE FROM run WHERE id IN (SELECT id FROM (SELECT id, row_number() OVER"
            " (PARTITION BY machine ORDER BY started DESC) AS place FROM run) WHERE place > ? LIMIT ?)"
        )
        until = self._clock.now() - self._keep.intent_s
        values = ((events, self._delivered(cursor)), (intents, until), (runs, self._keep.runs_each))
        return sum(cursor.execute(statement, (value, AT_ONCE)).rowcount for statement, value in values)

    def _delivered(self, cursor: sqlite3.Cursor) -> int:
        """Number of the last event that may go: beyond what is kept, and sent to every webhook."""
        (newest,) = cursor.execute("SELECT coalesce(max(seq), 0) FROM event").fetchone()
        cursors = dict(cursor.execute("SELECT name, cursor FROM hook").fetchall())
        sent = [int(cursors[name]) for name in self._hooks if name in cursors]
        return min([int(newest) - self._keep.events, *sent])
