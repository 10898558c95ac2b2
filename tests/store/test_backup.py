"""Copies of a database: whole beside a writer, refused where nothing is to be copied, and what a start says of them."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from provisioner.errors import StoreError
from provisioner.model.machine import Machine, State
from provisioner.store.backup import Stopped, copy, tell_origin
from provisioner.store.db import Database
from provisioner.store.machines import Change, MachineStore
from provisioner.store.secrets import Secrets, load_key

AT = 1_790_000_000.0
NONE = Stopped(0, 0, 0)


async def save(db: Database, name: str) -> None:
    await MachineStore(db).save(Change(1.0, None, Machine(name, name, State.READY)))


async def names(path: Path) -> list[str]:
    db = Database(path)
    await db.open()
    found = [machine.name for machine in await MachineStore(db).load()]
    await db.close()
    return found


async def test_a_copy_beside_the_writer_is_whole_and_holds_nobody_up(tmp_path: Path) -> None:
    """A young store: all of it is in the write-ahead log, and a copy of the file alone is an empty site."""
    source, target = tmp_path / "state.db", tmp_path / "copy.db"
    db = Database(source)
    await db.open(written_out=True)
    await save(db, "node17")
    with closing(sqlite3.connect(source, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM machine").fetchone()  # somebody reads all the while
        assert await asyncio.to_thread(copy, source, target, AT) == NONE
    await save(db, "node18")
    await db.close()
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob("copy.db-*")))
    with closing(sqlite3.connect(target)) as read:
        assert read.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert await names(target) == ["node17"]
    assert await names(source) == ["node17", "node18"]


async def test_a_store_that_is_copied_without_its_daemon_stays_its_owner_s(tmp_path: Path) -> None:
    """SQLite leaves an empty log beside a file that was only read: root's would keep the daemon out."""
    source = tmp_path / "state" / "state.db"
    db = Database(source)
    await db.open()
    await save(db, "node17")
    await db.close()
    if os.geteuid() == 0:
        await asyncio.to_thread(os.chown, source, 64123, 64123)
    before = await asyncio.to_thread(source.read_bytes)
    await asyncio.to_thread(copy, source, tmp_path / "copy.db", AT)
    owners = await asyncio.to_thread(lambda: {path.stat().st_uid for path in source.parent.iterdir()})
    assert owners == {64123 if os.geteuid() == 0 else os.geteuid()}
    assert await asyncio.to_thread(source.read_bytes) == before


async def test_the_key_is_proven_to_open_the_copy(tmp_path: Path) -> None:
    source, key = tmp_path / "state.db", tmp_path / "secrets.key"
    db = Database(source)
    await db.open()
    await (await Secrets.opened(db, key)).put("bmc/1", "one")
    await db.close()
    await asyncio.to_thread(copy, source, tmp_path / "good.db", AT, key)
    await asyncio.to_thread(load_key, tmp_path / "other.key")
    with pytest.raises(StoreError, match=r"other\.key: does not open the secrets"):
        await asyncio.to_thread(copy, source, tmp_path / "bad.db", AT, tmp_path / "other.key")


def _nothing(_path: Path) -> None:
    return


def _other(path: Path) -> None:
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE x (y)")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no file": (_nothing, r"state\.db: cannot be copied .*unable to open"),
    "no database": (lambda path: path.write_text("x" * 5000), r"state\.db: cannot be copied .*not a database"),
    "without its log": (lambda path: path.write_bytes(b""), r"state\.db: holds no store \(was it copied without"),
    "somebody else's": (_other, r"state\.db: holds no store"),
    "a folder": (lambda path: path.mkdir(), r"state\.db: cannot be copied "),
}


@pytest.mark.parametrize(("make", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_copied_is_said(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "state.db")
    with pytest.raises(StoreError, match=said):
        copy(tmp_path / "state.db", tmp_path / "copy.db", AT)


async def said_at_start(path: Path, key_file: Path | None, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    db = Database(path)
    await db.open()
    with caplog.at_level(logging.WARNING):
        await tell_origin(db, key_file, AT + 60)
    await db.close()
    return caplog.text


async def test_a_start_says_what_it_was_restored_from_until_it_has_a_life_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, target, key = tmp_path / "state.db", tmp_path / "copy.db", tmp_path / "secrets.key"
    assert await said_at_start(source, key, caplog) == ""
    await asyncio.to_thread(copy, source, target, AT)
    for _ in range(2):  # a start that is cut short says it again
        assert "store.restored backup=1790000000 machines=0 rollouts=0 workflows=0: " in await said_at_start(
            target, key, caplog
        )
    db = Database(target)
    await db.open()
    await MachineStore(db).save(
        Change(1.0, None, Machine("a", "a", State.READY), (("machine.created", {"name": "a", "state": "ready"}),))
    )
    await db.close()
    assert await said_at_start(target, key, caplog) == ""


async def test_a_new_store_beside_an_old_key_is_half_a_restore(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, key = tmp_path / "state.db", tmp_path / "secrets.key"
    await asyncio.to_thread(load_key, key)
    await asyncio.to_thread(path.write_bytes, b"")  # as one that was copied without its log
    assert f"store.empty {path} is new, and {key} was there" in await said_at_start(path, key, caplog)
    assert await said_at_start(path, key, caplog) == "", "it is not new any more"
    assert await said_at_start(tmp_path / "2.db", None, caplog) == "", "the key comes from somewhere else"
    assert await said_at_start(tmp_path / "3.db", tmp_path / "none.key", caplog) == "", "a first start"


async def test_no_number_of_an_event_is_used_twice_however_often_a_backup_is_restored(tmp_path: Path) -> None:
    """Receivers tell doubles by numbers, and readers go on from them."""

    async def live(path: Path, at: float, *names: str) -> list[int]:
        db = Database(path)
        await db.open()
        await tell_origin(db, None, at)
        written = [event.seq for name in names for event in await MachineStore(db).save(begun(name))]
        await db.close()
        return written

    def begun(name: str) -> Change:
        return Change(1.0, None, Machine(name, name, State.READY), [("machine.enrolled", {"name": name})])

    first = await live(tmp_path / "state.db", AT - 60, "node17", "node18")
    await asyncio.to_thread(copy, tmp_path / "state.db", tmp_path / "backup.db", AT)
    first += await live(tmp_path / "state.db", AT, "node19", "node20", "node21")
    lives = [first]
    for nth in (1, 2):
        path = tmp_path / f"restored-{nth}.db"
        shutil.copy(tmp_path / "backup.db", path)
        lives.append(await live(path, AT + 60 * nth, "node22", "node23"))
    numbers = [number for life in lives for number in life]
    assert len(set(numbers)) == len(numbers)
    assert numbers == sorted(numbers)
    db = Database(path)
    await db.open()
    later = await MachineStore(db).events(first[-1], 10)
    assert [event.type for event in later] == ["site.restored", "machine.enrolled", "machine.enrolled"]
    await db.close()
