"""Machines, their runs and the outbox of events, in one transaction each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from provisioner.errors import ConflictError, CursorError
from provisioner.model.bmc import secret_of
from provisioner.model.intent import UNKEYED, Asked, Event
from provisioner.model.machine import Machine, Run
from provisioner.model.trace import TraceLine
from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database
from provisioner.store.intents import put_intent
from provisioner.store.sealed import UNCHANGED, Sealed
from provisioner.store.trace import write_lines

_machine_in = Reader(Machine)
_run_in = Reader(Run)
_data_in = Reader(dict)
_NEWEST = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'event'"


@dataclass(frozen=True, slots=True)
class Change:
    """What one event made of one machine, to be written whole or not at all.

    `before` is None for a new machine, `after` None for one that is forgotten: with its trace and the passwords of its
    BMC. `intent` is the request for it, `lines` what is to be in traces then, `secrets` what changes of passwords.
    """

    at: float
    before: Machine | None
    after: Machine | None
    events: Sequence[tuple[str, dict[str, Any]]] = field(default_factory=tuple)
    intent: Asked = UNKEYED
    lines: Sequence[TraceLine] = ()
    secrets: Sealed = UNCHANGED


class MachineStore:
    """The machines' tables."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> list[Machine]:
        """Read every machine."""
        rows = await self._db.read(lambda c: c.execute("SELECT document FROM machine ORDER BY name").fetchall())
        return [_machine_in(row[0]) for row in rows]

    async def save(self, change: Change) -> list[Event]:
        """Write a change durably and return its events with their numbers. Raises `ConflictError`, `StoreError`."""
        return await self._db.submit(prepared(change))

    async def events(self, after: int, limit: int, machine: str = "") -> list[Event]:
        """Read events with a number above `after`, oldest first; from 0 on: what is kept.

        Raises `CursorError` where some of them are gone, and where no event had the number `after` yet: it is of
        another store, or of a time after the backup that this one was restored from.
        """
        where = "seq > ?" + (" AND machine = ?" if machine else "")
        values = (after, machine, limit) if machine else (after, limit)
        query = f"SELECT seq, at, type, machine, document FROM event WHERE {where} ORDER BY seq LIMIT ?"  # noqa: S608

        def work(cursor: sqlite3.Cursor) -> list[Any]:
            (newest,) = cursor.execute(_NEWEST).fetchone()
            (oldest,) = cursor.execute("SELECT coalesce(min(seq), ?) FROM event", (newest + 1,)).fetchone()
            hint = "read the machines anew, and go on from the last event"
            if 0 < after < oldest - 1:
                gone = f"events up to {oldest - 1} are no longer kept, and {after} was asked for"
                raise CursorError(gone, oldest=oldest, hint=hint)
            if after > newest:
                raise CursorError(f"no event has the number {after}: the last is {newest}", oldest=oldest, hint=hint)
            return cursor.execute(query, values).fetchall()

        rows = await self._db.read(work)
        return [Event(seq, at, kind, name, _data_in(data)) for seq, at, kind, name, data in rows]

    async def last_event(self) -> int:
        """Return the number of the newest event; 0 when there is none."""
        return await self._db.read(lambda c: c.execute(_NEWEST).fetchone()[0])

    async def run(self, run_id: str) -> Run | None:
        """Read a run that has ended; None where it is not kept."""
        query = "SELECT document FROM run WHERE id = ?"
        row = await self._db.read(lambda c: c.execute(query, (run_id,)).fetchone())
        return _run_in(row[0]) if row else None

    async def runs(self, machine: str, limit: int = 20) -> list[Run]:
        """Read the runs of a machine that have ended, newest first."""
        query = "SELECT document FROM run WHERE machine = ? ORDER BY started DESC LIMIT ?"
        rows = await self._db.read(lambda c: c.execute(query, (machine, limit)).fetchall())
        return [_run_in(row[0]) for row in rows]


def prepared(change: Change) -> Callable[[sqlite3.Cursor], list[Event]]:
    """Encode a change, for whoever writes it in a transaction of its own or with others."""
    document = encode(change.after) if change.after else b""
    events = [(kind, encode(data), data) for kind, data in change.events]
    return lambda cursor: _write(cursor, change, document, events)


def _write(
    cursor: sqlite3.Cursor, change: Change, document: bytes, events: list[tuple[str, bytes, dict[str, Any]]]
) -> list[Event]:
    machine = change.after or change.before
    assert machine is not None
    if change.after is None:
        cursor.execute("DELETE FROM machine WHERE id = ?", (machine.id,))
        cursor.execute("DELETE FROM trace WHERE machine = ?", (machine.id,))
        password = secret_of(machine.id)
        cursor.execute("DELETE FROM secret WHERE id = ? OR id GLOB ?", (password, f"{password}/*"))
    else:
        _put(cursor, change.before, change.after, document)
        change.secrets.write(cursor)
    put_intent(cursor, change.intent, machine.id, change.at, machine.run.id if machine.run is not None else "")
    _keep_ended_run(cursor, change)
    if change.lines:
        write_lines(cursor, change.lines)
    return _put_events(cursor, change, machine.id, events)


def _put_events(
    cursor: sqlite3.Cursor, change: Change, machine: str, events: list[tuple[str, bytes, dict[str, Any]]]
) -> list[Event]:
    """Write a change's events with one statement: each costs the loop a turn of the interpreter's lock.

    One writer, one statement: their numbers follow each other, and the last is the one that SQLite tells.
    """
    if not events:
        return []
    rows = ",".join(("(?, ?, ?, ?)",) * len(events))
    values = [value for kind, encoded, _ in events for value in (change.at, kind, machine, encoded)]
    cursor.execute(f"INSERT INTO event (at, type, machine, document) VALUES {rows}", values)  # noqa: S608  ours
    assert cursor.lastrowid is not None
    first = cursor.lastrowid - len(events) + 1
    return [Event(seq, change.at, kind, machine, data) for seq, (kind, _, data) in enumerate(events, start=first)]


def _put(cursor: sqlite3.Cursor, before: Machine | None, machine: Machine, document: bytes) -> None:
    if before is None or before.name != machine.name:
        query = "SELECT id FROM machine WHERE name = ? AND id != ?"
        if cursor.execute(query, (machine.name, machine.id)).fetchone():
            raise ConflictError(f"there is a machine {machine.name!r} already")
    if before is None:
        row = (machine.id, machine.name, machine.generation, document)
        cursor.execute("INSERT INTO machine VALUES (?, ?, ?, ?)", row)
        return
    values = (machine.name, machine.generation, document, machine.id)
    cursor.execute("UPDATE machine SET name = ?, generation = ?, document = ? WHERE id = ?", values)
    if cursor.rowcount == 0:
        raise ConflictError(f"{machine.name} was forgotten meanwhile")


def _keep_ended_run(cursor: sqlite3.Cursor, change: Change) -> None:
    if change.before is None or change.after is None:
        return
    before, after = change.before.run, change.after.run
    if before is not None and before.step is not None and after is not None and after.step is None:
        row = (after.id, change.after.id, after.started, encode(after))
        cursor.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?)", row)
