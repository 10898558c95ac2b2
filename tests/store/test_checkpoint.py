"""The write-ahead log is copied beside the writer, and does not grow for ever."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.errors import StoreError
from provisioner.store.checkpoint import COMMITS_AFTER, COPY_ROWS, LOG_BYTES, LONG_PAGES, Checkpointer, write_out
from provisioner.store.db import Database

PAGE = 4096


async def fill(db: Database, times: int, rows: int = COPY_ROWS) -> None:
    """Change many rows in big transactions, one after the other."""
    insert = "INSERT OR REPLACE INTO secret VALUES (?, zeroblob(1000))"
    for _ in range(times):
        await db.submit(lambda c: c.executemany(insert, ((f"k{n}",) for n in range(rows))) and None)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_log_begins_anew_under_load(tmp_path: Path) -> None:
    """Some 280 MB are written; how much of it lies in the log at once depends on how fast the disk takes a copy."""
    db = Database(tmp_path / "state.db")
    await db.open()
    await fill(db, 1)
    one = (await asyncio.to_thread((tmp_path / "state.db-wal").stat)).st_size
    await fill(db, 29)
    size = (await asyncio.to_thread((tmp_path / "state.db-wal").stat)).st_size
    await db.close()
    assert one > LONG_PAGES * PAGE / 4, "each transaction alone makes the log long"
    assert size < 30 * one / 3


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(tmp_path)) as found:
        found.execute("PRAGMA journal_mode=WAL")
        found.execute("PRAGMA wal_autocheckpoint=0")
        found.execute("CREATE TABLE t (x)")
        yield found


def connect(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "db", isolation_level=None, check_same_thread=False)


def test_the_writer_copies_the_rest_of_a_long_log(writer: sqlite3.Connection, tmp_path: Path) -> None:
    checkpointer = Checkpointer(lambda: connect(tmp_path))
    checkpointer.long = True
    checkpointer.committed(writer)
    assert not checkpointer.long
    before = (tmp_path / "db-wal").stat().st_size
    writer.execute("INSERT INTO t VALUES (1)")  # over what was copied
    assert (tmp_path / "db-wal").stat().st_size == before


def fill_directly(writer: sqlite3.Connection) -> None:
    writer.execute("BEGIN")
    writer.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(COPY_ROWS)))
    writer.execute("COMMIT")


class Copies:
    """Connections of a checkpointer; `begun` is set when it copies for the first time."""

    def __init__(self, folder: Path, authorize: int = sqlite3.SQLITE_OK) -> None:
        self.begun = threading.Event()
        self._folder = folder
        self._authorize = authorize

    def __call__(self) -> sqlite3.Connection:
        found = connect(self._folder)
        found.set_authorizer(self._ask)
        return found

    def _ask(self, *_: object) -> int:
        self.begun.set()
        return self._authorize


def test_what_was_committed_is_copied(writer: sqlite3.Connection, tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    checkpointer = Checkpointer(copies)
    checkpointer.start()
    fill_directly(writer)
    checkpointer.committed(writer)
    assert copies.begun.wait(10)
    checkpointer.stop()
    assert (tmp_path / "db").stat().st_size > 8 * PAGE


def test_after_a_copy_commits_may_wait_for_a_while(writer: sqlite3.Connection, tmp_path: Path) -> None:
    copies = Copies(tmp_path)
    checkpointer = Checkpointer(copies)
    checkpointer.start()
    found = [checkpointer.unsettled]
    for _ in range(COMMITS_AFTER):
        checkpointer.committed(writer)
        found.append(checkpointer.unsettled)
    fill_directly(writer)
    checkpointer.count(writer)
    assert copies.begun.wait(10)
    checkpointer.stop()  # the copy has ended
    for _ in range(COMMITS_AFTER):
        found.append(checkpointer.unsettled)
        checkpointer.committed(writer)
    found.append(checkpointer.unsettled)
    checkpointer.long = True
    found.append(checkpointer.unsettled)
    checkpointer.committed(writer)
    found.append(checkpointer.unsettled)
    assert found == [True, True, False, True, True, False, True, True]


def test_a_copy_that_fails_is_told(
    writer: sqlite3.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copies = Copies(tmp_path, sqlite3.SQLITE_DENY)
    checkpointer = Checkpointer(copies)
    checkpointer.start()
    fill_directly(writer)
    checkpointer.committed(writer)
    assert copies.begun.wait(10)
    checkpointer.stop()
    assert "store.uncopied" in caplog.text
    assert writer.execute("SELECT count(*) FROM t").fetchone() == (COPY_ROWS,)


async def test_a_log_that_is_written_out_beforehand_is_not_lengthened(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.open(written_out=True)
    sizes = []
    for number in range(3):
        await db.submit(lambda c, n=number: c.execute("INSERT INTO secret VALUES (?, x'00')", (f"k{n}",)) and None)
        sizes.append((tmp_path / "state.db-wal").stat().st_size)
    assert sizes == [LOG_BYTES] * 3
    await db.close()


async def test_what_stood_in_the_log_before_it_was_written_out_is_kept(tmp_path: Path) -> None:
    """As a crash leaves it: the log is all there is."""
    db = Database(tmp_path / "state.db")
    await db.open()
    await fill(db, 1, rows=100)
    await db.submit(lambda cursor: write_out(db.path))
    await fill(db, 1, rows=200)
    for name in ("state.db", "state.db-wal"):
        (tmp_path / f"crashed-{name}").write_bytes((tmp_path / name).read_bytes())
    await db.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "crashed-state.db")) as crashed:
        assert crashed.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert crashed.execute("SELECT count(*) FROM secret").fetchone() == (200,)


@pytest.mark.parametrize("syscall", ["posix_fallocate", "fsync"])
async def test_a_disk_that_fails_is_not_taken_for_one_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syscall: str
) -> None:
    """What it did not take may be lost: nobody goes on as if it were safe."""

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    db = Database(tmp_path / "state.db")
    await db.open()
    monkeypatch.setattr(os, syscall, fails)
    with pytest.raises(StoreError, match="Input/output error"):
        await db.submit(lambda cursor: write_out(db.path))
    await db.close()
