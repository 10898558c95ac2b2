"""What has passed goes when it is too old, but nothing that somebody has still to be sent."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.clock import SteadyClock
from provisioner.errors import CursorError
from provisioner.store.db import Database
from provisioner.store.events import EventStore
from provisioner.store.hooks import HookStore, Progress
from provisioner.store.machines import MachineStore
from provisioner.store.retention import AT_ONCE, Keep, Retention

KEEP = Keep(events=10, intent_s=100.0, runs_each=2)


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    await database.submit(fill)
    yield database
    await database.close()


def fill(cursor: sqlite3.Cursor) -> None:
    """Forty events, keys of now and of long ago, five runs of each of two machines."""
    now = SteadyClock().now()
    cursor.executemany("INSERT INTO event (at, type, machine, document) VALUES (?, 'x', 'm', '{}')", [(now,)] * 40)
    cursor.executemany("INSERT INTO intent VALUES (?, 'm', 'r', ?, '')", [("old", now - 101), ("new", now - 50)])
    runs = [(f"{machine}{at}", machine, at, b"") for machine in "ab" for at in range(5)]
    cursor.executemany("INSERT INTO run VALUES (?, ?, ?, ?)", runs)


async def rows(db: Database, query: str) -> list[object]:
    return [row[0] for row in await db.read(lambda c: c.execute(query).fetchall())]


async def test_only_so_much_is_kept(db: Database) -> None:
    gone = await Retention(db, SteadyClock(), [], KEEP).drop()
    assert gone == 30 + 1 + 6
    assert await rows(db, "SELECT seq FROM event ORDER BY seq") == list(range(31, 41))
    assert await rows(db, "SELECT key FROM intent") == ["new"]
    assert await rows(db, "SELECT id FROM run ORDER BY id") == ["a3", "a4", "b3", "b4"]
    assert await Retention(db, SteadyClock(), [], KEEP).drop() == 0


async def test_numbers_that_were_left_out_do_not_count(db: Database) -> None:
    """A restored store goes on far from where it was."""
    await EventStore(db).leap(1_790_000_000.0)
    await EventStore(db).add("x", {}, 1.0)
    await Retention(db, SteadyClock(), [], KEEP).drop()
    assert await rows(db, "SELECT seq FROM event ORDER BY seq") == [*range(32, 41), 1_790_000_000_001]


async def test_what_a_webhook_was_not_sent_stays(db: Database) -> None:
    hooks = HookStore(db)
    await hooks.save("slow", Progress(30, {"m": 21, "other": 25}))
    await hooks.save("of a configuration that is gone", Progress(5))
    await Retention(db, SteadyClock(), ["slow", "new"], KEEP).drop()
    assert (await rows(db, "SELECT min(seq) FROM event"))[0] == 21


async def test_much_goes_in_pieces(db: Database) -> None:
    many = [(1.0,)] * (2 * AT_ONCE + 1)
    await db.submit(
        lambda c: (
            c.executemany("INSERT INTO event (at, type, machine, document) VALUES (?, 'x', '', '{}')", many) and None
        )
    )
    await Retention(db, SteadyClock(), [], KEEP).drop()
    assert len(await rows(db, "SELECT seq FROM event")) == 10


async def test_a_number_is_never_used_twice_and_an_old_cursor_is_told(db: Database) -> None:
    await Retention(db, SteadyClock(), [], Keep(events=0)).drop()
    store = MachineStore(db)
    assert await store.last_event() == 40
    await db.submit(lambda c: c.execute("INSERT INTO event VALUES (NULL, 1.0, 'x', 'm', '{}')") and None)
    assert [event.seq for event in await store.events(40, 10)] == [41]
    assert [event.seq for event in await store.events(0, 10)] == [41], "from the beginning means from what is kept"
    with pytest.raises(CursorError, match="events up to 40 are no longer kept"):
        await store.events(39, 10)
    with pytest.raises(CursorError, match="no event has the number 42: the last is 41"):
        await store.events(42, 10)
