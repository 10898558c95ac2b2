"""Runs of workflows, their machines and what their steps printed. A change and its events go into one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from provisioner.model.intent import UNKEYED, Asked, Event
from provisioner.model.workflow import FlowMember, FlowRun
from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database
from provisioner.store.intents import put_intent

_member_in = Reader(FlowMember)
_flow_in = Reader(FlowRun)

OUTPUT_LIMIT = 1 << 20
"""Octets kept of what one try printed, the last ones; a hundred runs of twenty tries with that are 2 GB at the most."""

Told = Sequence[tuple[str, str, dict[str, Any]]]
"""Events: type, machine, data."""


class WorkflowStore:
    """The workflows' tables."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> list[FlowRun]:
        """Read every run, the oldest first."""
        return await self._db.read(_load)

    async def create(self, run: FlowRun, intent: Asked, events: Told) -> list[Event]:
        """Write a new run durably, and the request for it; return its events with their numbers."""
        head, members = _head(run), list(enumerate(map(encode, run.members)))
        named = [(kind, machine, encode(data), data) for kind, machine, data in events]

        def work(cursor: sqlite3.Cursor) -> list[Event]:
            put_intent(cursor, intent, run.id, run.created)
            cursor.execute("INSERT INTO flow VALUES (?, ?, ?)", (run.id, run.created, head))
            _put_members(cursor, run.id, members)
            return _put_events(cursor, run.created, named)

        return await self._db.submit(work)

    async def save(
        self, before: FlowRun, after: FlowRun, events: Told, now: float, intent: Asked = UNKEYED
    ) -> list[Event]:
        """Write what changed, durably, and the request that did it; return the events with their numbers."""
        changed = replace(before, members=()) != replace(after, members=())
        head = _head(after) if changed else None
        pairs = zip(before.members, after.members, strict=True)
        members = [(at, encode(new)) for at, (old, new) in enumerate(pairs) if old is not new and old != new]
        named = [(kind, machine, encode(data), data) for kind, machine, data in events]

        def work(cursor: sqlite3.Cursor) -> list[Event]:
            put_intent(cursor, intent, after.id, now)
            if head is not None:
                cursor.execute("UPDATE flow SET document = ? WHERE id = ?", (head, after.id))
            _put_members(cursor, after.id, members)
            return _put_events(cursor, now, named)

        return await self._db.submit(work)

    async def forget(self, run: str) -> None:
        """Remove a run and all that its steps printed."""

        def work(cursor: sqlite3.Cursor) -> None:
            cursor.execute("DELETE FROM flow WHERE id = ?", (run,))
            cursor.execute("DELETE FROM flow_member WHERE flow = ?", (run,))
            cursor.execute("DELETE FROM flow_output WHERE flow = ?", (run,))

        await self._db.submit(work)

    # what steps print

    async def put_output(self, run: str, machine: str, fence: int, place: int, text: bytes) -> None:
        """Keep a piece that begins at `place`, instead of those that it overlaps; the last `OUTPUT_LIMIT` stay.

        One that comes late, with which a longer piece begins that is kept, is nothing new.
        """
        delete = "DELETE FROM flow_output WHERE flow = ? AND machine = ? AND fence = ? AND place < ?"
        longer = (
            "SELECT 1 FROM flow_output WHERE flow = ? AND machine = ? AND fence = ?"
            " AND place = ? AND length(text) > ? AND substr(text, 1, ?) = ?"
        )
        end = "SELECT place + length(text) FROM flow_output WHERE flow = ? AND machine = ? AND fence = ?"

        def work(cursor: sqlite3.Cursor) -> None:
            whose = (run, machine, fence)
            if cursor.execute(longer, (*whose, place, len(text), len(text), text)).fetchone():
                return
            cursor.execute(f"{delete} AND place + length(text) > ?", (*whose, place + len(text), place))
            cursor.execute("INSERT INTO flow_output VALUES (?, ?, ?, ?, ?)", (*whose, place, text))
            (newest,) = cursor.execute(f"{end} ORDER BY place DESC LIMIT 1", whose).fetchone()
            cursor.execute(delete, (*whose, newest - OUTPUT_LIMIT))

        await self._db.submit(work)

    async def output(self, run: str, machine: str, fence: int, after: int, limit: int) -> tuple[bytes, int]:
        """Read what a try printed from place `after` on, at most some `limit` octets, and the place behind it."""
        query = (
            "SELECT place, text FROM flow_output WHERE flow = ? AND machine = ? AND fence = ?"
            " AND place + length(text) > ? ORDER BY place"
        )
        rows = await self._db.read(lambda c: c.execute(query, (run, machine, fence, after)).fetchall())
        parts, at = [], after
        for place, text in rows:
            piece = text[max(0, at - place) :]
            parts.append(piece)
            at = max(at, place) + len(piece)
            if sum(map(len, parts)) >= limit:
                break
        return b"".join(parts), at


def _head(run: FlowRun) -> bytes:
    return encode(replace(run, members=()))


def _put_members(cursor: sqlite3.Cursor, run: str, members: Sequence[tuple[int, bytes]]) -> None:
    rows = [(run, at, document) for at, document in members]
    cursor.executemany("INSERT OR REPLACE INTO flow_member VALUES (?, ?, ?)", rows)


def _put_events(
    cursor: sqlite3.Cursor, at: float, events: Sequence[tuple[str, str, bytes, dict[str, Any]]]
) -> list[Event]:
    written = []
    for kind, machine, document, data in events:
        insert = "INSERT INTO event (at, type, machine, document) VALUES (?, ?, ?, ?)"
        cursor.execute(insert, (at, kind, machine, document))
        assert cursor.lastrowid is not None
        written.append(Event(cursor.lastrowid, at, kind, machine, data))
    return written


def _load(cursor: sqlite3.Cursor) -> list[FlowRun]:
    members: dict[str, list[FlowMember]] = {}
    for run, document in cursor.execute("SELECT flow, document FROM flow_member ORDER BY flow, position"):
        members.setdefault(run, []).append(_member_in(document))
    rows = cursor.execute("SELECT id, document FROM flow ORDER BY created").fetchall()
    return [replace(_flow_in(document), members=tuple(members.get(ref, ()))) for ref, document in rows]
