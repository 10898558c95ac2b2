"""Secrets at rest: opened by the key alone, bound to their names, in no file as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.errors import NotFoundError, StoreError
from provisioner.store.db import Database
from provisioner.store.secrets import Secrets, load_key

CANARY = "hunter2-canary-4f1d"


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


async def test_a_secret_comes_back_and_goes(db: Database) -> None:
    secrets = Secrets(db, b"k" * 32)
    await secrets.put("bmc/1", CANARY)
    await secrets.put("bmc/1", CANARY + "!")
    assert await secrets.get("bmc/1") == CANARY + "!"
    await secrets.remove("bmc/1")
    with pytest.raises(NotFoundError, match="bmc/1"):
        await secrets.get("bmc/1")


async def test_the_files_hold_no_clear_text(db: Database, tmp_path: Path) -> None:
    await Secrets(db, b"k" * 32).put("bmc/1", CANARY)
    contents = await asyncio.to_thread(lambda: [p.read_bytes() for p in tmp_path.iterdir()])
    assert all(CANARY.encode() not in content for content in contents)


async def test_another_key_or_a_swapped_row_opens_nothing(db: Database) -> None:
    secrets = Secrets(db, b"k" * 32)
    await secrets.put("bmc/1", "one")
    await secrets.put("bmc/2", "two")
    with pytest.raises(StoreError, match="cannot be opened"):
        await Secrets(db, b"x" * 32).get("bmc/1")
    await db.submit(lambda c: c.execute("UPDATE secret SET sealed = (SELECT sealed FROM secret WHERE id = 'bmc/2')"))
    with pytest.raises(StoreError, match="cannot be opened"):
        await Secrets(db, b"k" * 32).get("bmc/1")


def test_the_key_is_made_once_and_only_ours_to_read(tmp_path: Path) -> None:
    key = load_key(tmp_path / "key")
    assert load_key(tmp_path / "key") == key
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="none/key: cannot make the key of the secrets: No such file or directory"):
        load_key(tmp_path / "none" / "key")
    assert not (tmp_path / "none").exists()


async def test_a_key_that_is_lost_is_not_replaced_by_a_new_one(db: Database, tmp_path: Path) -> None:
    file = tmp_path / "the.key"
    await (await Secrets.opened(db, file)).put("bmc/1", "one")
    assert await (await Secrets.opened(db, file)).get("bmc/1") == "one"
    await asyncio.to_thread(file.unlink)
    with pytest.raises(StoreError, match=r"the.key: cannot read the key .* No such file .*restore it from your backup"):
        await Secrets.opened(db, file)
    assert not await asyncio.to_thread(file.exists)


async def test_the_key_of_another_store_is_refused(db: Database, tmp_path: Path) -> None:
    await (await Secrets.opened(db, tmp_path / "the.key")).put("bmc/1", "one")
    await asyncio.to_thread(load_key, tmp_path / "other.key")
    with pytest.raises(StoreError, match=r"other.key: does not open the secrets of .*state.db .*both from one backup"):
        await Secrets.opened(db, tmp_path / "other.key")


def test_a_key_that_others_may_read_or_of_another_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    load_key(path)
    path.chmod(0o644)
    with pytest.raises(StoreError, match="others may read it"):
        load_key(path)
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(StoreError, match="has 5 octets, not 32"):
        load_key(path)


async def test_what_was_read_once_is_opened_from_memory_until_it_changes(db: Database) -> None:
    secrets = Secrets(db, b"k" * 32)
    await Secrets(db, b"k" * 32).put("bmc/1", "old")
    assert await secrets.get("bmc/1") == "old"
    await db.submit(lambda c: c.execute("DELETE FROM secret") and None)  # behind its back
    assert await secrets.get("bmc/1") == "old"
    await secrets.put("bmc/1", "new")
    assert await secrets.get("bmc/1") == "new"


async def test_a_reading_that_was_overtaken_is_not_remembered(db: Database) -> None:
    secrets = Secrets(db, b"k" * 32)
    await Secrets(db, b"k" * 32).put("bmc/1", "old")
    reading, _ = await asyncio.gather(secrets.get("bmc/1"), secrets.put("bmc/1", "new"))
    assert reading in ("old", "new")
    assert await secrets.get("bmc/1") == "new"
