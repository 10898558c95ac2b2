"""Rollouts and their machines. What changed and what it is called in the outbox go into one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from provisioner.lifecycle.fleet import Member, Rollout, Tally, tally
from provisioner.model.intent import UNKEYED, Asked, Event
from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database
from provisioner.store.intents import put_intent

_member_in = Reader(Member)
_rollout_in = Reader(Rollout)


class RolloutStore:
    """The rollouts' tables."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> list[Rollout]:
        """Read every rollout, the oldest first."""
        return await self._db.read(_load)

    async def create(
        self, rollout: Rollout, intent: Asked, events: Sequence[tuple[str, dict[str, Any]]]
    ) -> list[Event]:
        """Write a new rollout durably, and the request for it; return its events with their numbers."""
        head, members = _head(rollout), list(enumerate(map(encode, rollout.members)))
        named = [(kind, encode(data), data) for kind, data in events]

        def work(cursor: sqlite3.Cursor) -> list[Event]:
            put_intent(cursor, intent, rollout.id, rollout.created)
            cursor.execute("INSERT INTO rollout VALUES (?, ?, ?)", (rollout.id, rollout.created, head))
            _put_members(cursor, rollout.id, members)
            return _put_events(cursor, rollout.created, named)

        return await self._db.submit(work)

    async def save(
        self,
        before: Rollout,
        after: Rollout,
        events: Sequence[tuple[str, dict[str, Any]]],
        now: float,
        intent: Asked = UNKEYED,
    ) -> list[Event]:
        """Write what changed, durably, and the request that did it; return the events with their numbers."""
        head = _head(after) if _head(before) != _head(after) else None
        members = [(at, encode(after.members[at])) for at in after.tally.touched]
        named = [(kind, encode(data), data) for kind, data in events]

        def work(cursor: sqlite3.Cursor) -> list[Event]:
            put_intent(cursor, intent, after.id, now)
            if head is not None:
                cursor.execute("UPDATE rollout SET document = ? WHERE id = ?", (head, after.id))
            _put_members(cursor, after.id, members)
            return _put_events(cursor, now, named)

        return await self._db.submit(work)

    async def forget(self, rollout: str) -> None:
        """Remove a rollout and its machines."""

        def work(cursor: sqlite3.Cursor) -> None:
            cursor.execute("DELETE FROM rollout WHERE id = ?", (rollout,))
            cursor.execute("DELETE FROM rollout_member WHERE rollout = ?", (rollout,))

        await self._db.submit(work)


def _head(rollout: Rollout) -> bytes:
    return encode(replace(rollout, members=(), tally=Tally()))


def _put_members(cursor: sqlite3.Cursor, rollout: str, members: Sequence[tuple[int, bytes]]) -> None:
    rows = [(rollout, at, document) for at, document in members]
    cursor.executemany("INSERT OR REPLACE INTO rollout_member VALUES (?, ?, ?)", rows)


def _put_events(cursor: sqlite3.Cursor, at: float, events: Sequence[tuple[str, bytes, dict[str, Any]]]) -> list[Event]:
    written = []
    for kind, document, data in events:
        cursor.execute("INSERT INTO event (at, type, machine, document) VALUES (?, ?, '', ?)", (at, kind, document))
        assert cursor.lastrowid is not None
        written.append(Event(cursor.lastrowid, at, kind, "", data))
    return written


def _load(cursor: sqlite3.Cursor) -> list[Rollout]:
    members: dict[str, list[Member]] = {}
    for rollout, document in cursor.execute("SELECT rollout, document FROM rollout_member ORDER BY rollout, position"):
        members.setdefault(rollout, []).append(_member_in(document))
    rows = cursor.execute("SELECT id, document FROM rollout ORDER BY created").fetchall()
    return [_whole(_rollout_in(document), tuple(members.get(ref, ()))) for ref, document in rows]


def _whole(rollout: Rollout, members: tuple[Member, ...]) -> Rollout:
    return replace(rollout, members=members, tally=tally(members))
