"""What was applied last is kept, and nothing of what was applied before: it may be megabytes, every few minutes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.lifecycle.declared import Applied, Declared
from provisioner.store.db import Database
from provisioner.store.declarations import DROPPED, Batch, DeclarationStore, folder_in


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


def site(at: float) -> Applied:
    return Applied("abc", f"/srv/{at:.0f}", (Declared("node17", source="machines.yaml:1"),), at=at)


async def numbers(db: Database) -> list[int]:
    rows = await db.read(lambda c: c.execute("SELECT seq FROM declaration ORDER BY seq").fetchall())
    return [row[0] for row in rows]


async def test_the_last_one_alone_is_kept(db: Database, tmp_path: Path) -> None:
    store = DeclarationStore(db)
    for at in range(5):
        applied, _ = await store.write(Batch(site(at)))
    assert await numbers(db) == [applied.seq] == [5]
    assert await store.last() == applied
    assert await asyncio.to_thread(folder_in, tmp_path / "state.db") == applied.folder


async def test_what_an_earlier_version_kept_goes_a_few_at_a_time(db: Database) -> None:
    many = 2 * DROPPED
    row = "INSERT INTO declaration (at, revision, folder, document) VALUES (0, '', '', x'')"
    await db.submit(lambda c: [c.execute(row) for _ in range(many)] and None)
    store = DeclarationStore(db)
    await store.write(Batch(site(1)))
    assert len(await numbers(db)) == many - DROPPED + 1
    for at in (2, 3):
        applied, _ = await store.write(Batch(site(at)))
    assert await numbers(db) == [applied.seq]
