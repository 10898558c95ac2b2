"""The store keeps what it acknowledged, and one bad piece of work takes nobody else's with it."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from provisioner.errors import ConflictError, StoreError
from provisioner.store.db import HERE_ROWS, Database
from provisioner.store.pace import SLOW_S
from provisioner.store.rows import MOST_ROWS
from provisioner.store.schema import Migration, bundled_migrations, migrate


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


def put(key: str) -> object:
    return lambda cursor: cursor.execute("INSERT INTO secret VALUES (?, x'00')", (key,)) and key


async def keys(db: Database) -> list[str]:
    return await db.read(lambda c: [row[0] for row in c.execute("SELECT id FROM secret ORDER BY id")])


async def test_what_resolved_can_be_read(db: Database) -> None:
    assert await asyncio.gather(*(db.submit(put(f"k{n}")) for n in range(50))) == [f"k{n}" for n in range(50)]
    assert len(await keys(db)) == 50


async def test_one_failure_leaves_the_group_alone(db: Database) -> None:
    def refuse(_: sqlite3.Cursor) -> None:
        raise ConflictError("no")

    def bug(cursor: sqlite3.Cursor) -> None:
        cursor.execute("INSERT INTO secret VALUES ('half', x'00')")
        cursor.execute("SELECT * FROM no_such_table")

    futures = [db.submit(work) for work in (put("a"), refuse, put("b"), bug, put("a"), put("c"))]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(o).__name__ for o in outcomes] == ["str", "ConflictError", "str", "StoreError", "StoreError", "str"]
    assert await keys(db) == ["a", "b", "c"]


async def test_a_store_that_another_process_locks_refuses_and_recovers(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.submit(lambda c: c.execute("PRAGMA busy_timeout=10").fetchall())
    other = await asyncio.to_thread(sqlite3.connect, db.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        await db.submit(put("a"))
    assert "locked" in db.failure
    other.execute("ROLLBACK")
    await db.submit(put("b"))
    assert await keys(db) == ["b"]
    assert db.failure == ""
    await asyncio.to_thread(other.close)


async def test_a_full_disk_refuses_the_group_and_recovers(db: Database) -> None:
    pages = await db.submit(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    await db.submit(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone())
    big = db.submit(lambda c: c.execute("INSERT INTO secret VALUES ('big', zeroblob(1000000))") and None)
    small = db.submit(put("small"))
    outcomes = await asyncio.gather(big, small, return_exceptions=True)
    assert any(isinstance(o, StoreError) and "full" in str(o) for o in outcomes)
    await db.submit(lambda c: c.execute("PRAGMA max_page_count=100000").fetchone())
    await db.submit(put("after"))
    assert "after" in await keys(db)
    assert "big" not in await keys(db)


async def test_closing_commits_what_was_submitted(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    futures = [db.submit(put(f"k{n}")) for n in range(10)]
    await db.close()
    assert all(f.done() for f in futures)
    with pytest.raises(StoreError, match="not open"):
        db.submit(put("late"))


async def test_a_file_that_is_no_database_is_refused_with_its_path(tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "state.db").write_bytes, b"not a database" * 100)
    with pytest.raises(StoreError, match=r"state\.db: cannot open the store: .*restore it from your backup"):
        await Database(tmp_path / "state.db").open()


@pytest.mark.netns
@pytest.mark.slow
def test_a_full_disk_at_the_start_is_called_full() -> None:
    """SQLite says "disk I/O error" there. A disk of its own, in a mount namespace of its own."""
    lines = (
        "import asyncio, pathlib",
        "from provisioner.store.db import Database",
        "asyncio.run(Database(pathlib.Path('/mnt/state.db')).open())",
    )
    ran = on_a_disk_of("64k", "head -c 60k /dev/zero > /mnt/x", lines)
    said = ran.stderr.splitlines()[-1]
    assert "/mnt/state.db: cannot open the store: " in said
    assert said.endswith("(its disk is full: 0.0 MB free)")


def on_a_disk_of(size: str, before: str, lines: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run lines of Python beside a file system of a size, at /mnt, that nobody else sees."""
    script = f'mount -t tmpfs -o size={size} tmpfs /mnt; {before}; exec {sys.executable} -c "$0"'
    command = ("unshare", "-m", "sh", "-c", script, "\n".join(lines))
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.netns
@pytest.mark.slow
def test_a_disk_without_room_for_a_long_log_is_written_to_all_the_same() -> None:
    lines = (
        "import asyncio, logging, pathlib",
        "from provisioner.store.db import Database",
        "logging.basicConfig()",
        "async def main():",
        "    db = Database(pathlib.Path('/mnt/state.db'))",
        "    await db.open(written_out=True)",
        "    await db.submit(lambda c: c.execute('INSERT INTO secret VALUES (?, ?)', ('k', b'x' * 100_000)) and None)",
        "    print(await db.read(lambda c: c.execute('SELECT count(*) FROM secret').fetchone()[0]))",
        "    await db.close()",
        "asyncio.run(main())",
    )
    ran = on_a_disk_of("2m", "true", lines)
    assert (ran.returncode, ran.stdout) == (0, "1\n"), ran.stderr
    assert "store.log-short path=/mnt/state.db-wal error=No space left on device" in ran.stderr


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
        yield memory


def test_migrations_are_applied_once_and_never_change(connection: sqlite3.Connection) -> None:
    first, second = Migration("0001", "CREATE TABLE a (x)"), Migration("0002", "CREATE TABLE b (x)")
    migrate(connection, [first], "here")
    migrate(connection, [first, second], "here")
    migrate(connection, [first, second], "here")
    with pytest.raises(StoreError, match="0002 was changed"):
        migrate(connection, [first, Migration("0002", "CREATE TABLE c (x)")], "here")
    with pytest.raises(StoreError, match="newer version"):
        migrate(connection, [first], "here")


def test_a_migration_that_fails_leaves_nothing_behind(connection: sqlite3.Connection) -> None:
    with pytest.raises(sqlite3.Error):
        migrate(connection, [Migration("0001", "CREATE TABLE a (x); CREATE TABLE a (x)")], "here")
    connection.rollback()
    assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'a'").fetchone() == (0,)


def test_bundled_migrations_are_numbered() -> None:
    names = [m.name for m in bundled_migrations()]
    assert names == sorted(names)
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_how_far_webhooks_are_outlives_the_change_of_what_is_kept(connection: sqlite3.Connection) -> None:
    known = bundled_migrations()
    before = next(at for at, migration in enumerate(known) if migration.name.startswith("0017"))
    migrate(connection, known[:before], "here")
    events = [(machine,) for machine in ("a", "a", "b", "a", "b", "", "c")]
    connection.executemany("INSERT INTO event (at, type, machine, document) VALUES (1.0, 'x', ?, '{}')", events)
    hooks = [("idle", 7, b"[]"), ("half", 1, b"[2,3,6]")]
    connection.executemany("INSERT INTO hook (name, cursor, ahead) VALUES (?, ?, ?)", hooks)
    migrate(connection, known, "here")
    kept = connection.execute("SELECT name, cursor, reach, waiting FROM hook ORDER BY name").fetchall()
    assert kept == [("half", 1, 6, b'{"a":4,"b":5}'), ("idle", 7, 7, b"{}")]


def test_keys_of_rollouts_and_runs_outlive_the_change_of_where_they_are_kept(connection: sqlite3.Connection) -> None:
    known = bundled_migrations()
    before = next(at for at, migration in enumerate(known) if migration.name.startswith("0019"))
    migrate(connection, known[:before], "here")
    connection.execute("INSERT INTO intent VALUES ('k1', 'm1', 'r1', 1.0, 'boot x')")
    rows = [("R1", "k2", 2.0, b"r1"), ("R2", None, 3.0, b"r2"), ("R3", "k1", 4.0, b"r3")]
    connection.executemany("INSERT INTO rollout VALUES (?, ?, ?, ?)", rows)
    connection.execute("INSERT INTO flow VALUES ('F1', 'k3', 5.0, 'f1')")
    migrate(connection, known, "here")
    kept = connection.execute("SELECT key, subject, run, at, request FROM intent ORDER BY key").fetchall()
    assert kept == [
        ("k1", "m1", "r1", 1.0, "boot x"),
        ("k2", "R1", "", 2.0, "rollout"),
        ("k3", "F1", "", 5.0, "workflow-run"),
    ]
    assert connection.execute("SELECT id, created, document FROM rollout ORDER BY id").fetchall() == [
        (name, at, document) for name, _, at, document in rows
    ]
    assert connection.execute("SELECT id, created FROM flow").fetchall() == [("F1", 5.0)]


def test_leases_outlive_that_they_say_whose_port_holds_them(connection: sqlite3.Connection) -> None:
    known = bundled_migrations()
    before = next(at for at, migration in enumerate(known) if migration.name.startswith("0020"))
    migrate(connection, known[:before], "here")
    row = (1, b"k", "p", 2.0, "bound", 1.0, "n", b"c", 3, b"i", b"r", "")
    for table in ("lease", "lease6"):
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    migrate(connection, known, "here")
    for table in ("lease", "lease6"):
        assert connection.execute(f"SELECT * FROM {table}").fetchall() == [(*row, b"")]


def rows(db: Database, *names: str, durable: bool = True) -> asyncio.Future[None]:
    return db.submit_rows("INSERT INTO secret VALUES", [(name, b"\0") for name in names], durable=durable)


async def test_rows_go_with_the_rest(db: Database) -> None:
    await rows(db, "alone")
    await asyncio.gather(*(rows(db, name) for name in "abc"), rows(db, "x", "y", durable=False))
    await asyncio.gather(db.submit(put("d")), rows(db, "e"), db.submit(put("f")))
    assert await keys(db) == ["a", "alone", "b", "c", "d", "e", "f", "x", "y"]


async def test_rows_for_several_tables_and_too_many_for_one_statement(db: Database) -> None:
    replace = "INSERT OR REPLACE INTO secret VALUES"
    many = [(str(number), bytes(number)) for number in range(150)]
    await asyncio.gather(
        rows(db, "a"),
        db.submit_rows(replace, [("a", b"1")]),
        db.submit_rows(replace, many[:99]),
        db.submit_rows(replace, many[99:]),
    )
    assert dict(await db.read(lambda c: c.execute("SELECT * FROM secret").fetchall())) == dict(many) | {"a": b"1"}


async def test_rows_that_cannot_be_written_take_no_others_with_them(db: Database) -> None:
    """Also where a value is none that SQLite has: what raises is not always an error of SQLite."""
    insert, good = "INSERT INTO secret VALUES", rows(db, "a", "b")
    bad = [rows(db, "c", "a"), db.submit_rows(insert, [(2**64, b"")]), db.submit_rows(insert, [("\ud800", b"")])]
    later = rows(db, "d")
    await asyncio.gather(good, later)
    for each in bad:
        with pytest.raises(StoreError):
            await each
    assert await keys(db) == ["a", "b", "d"]


async def test_a_statement_that_fails_takes_none_but_its_like_with_it(db: Database) -> None:
    first = db.submit(put("x"))
    bad, good = rows(db, "x"), db.submit(put("y"))
    await asyncio.gather(first, good)
    with pytest.raises(StoreError):
        await bad
    assert await keys(db) == ["x", "y"]


async def test_what_follows_is_done_once_rows_are_safe(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """By the writer's thread: nothing else comes in between. What fails then takes nothing back."""
    insert = "INSERT INTO secret VALUES"

    def names() -> tuple[str, list[str]]:
        with contextlib.closing(sqlite3.connect(db.path)) as other:
            return threading.current_thread().name, [name for (name,) in other.execute("SELECT id FROM secret")]

    done = db.submit_rows(insert, [("a", b"")], then=names)
    broken, refused = db.submit_rows(insert, [("b", b"")], then=[].pop), db.submit_rows(insert, [()], then=names)
    assert await done in [("store-write", ["a"]), ("store-write", ["a", "b"])]
    with pytest.raises(IndexError):
        await broken
    with pytest.raises(StoreError):
        await refused
    assert "store.unfinished" in caplog.text
    assert await keys(db) == ["a", "b"]


async def settled(db: Database) -> None:
    """Have the writer make the commits that come after the log was opened, and lay its pen down."""
    for name in ("a", "b"):
        await rows(db, name)
    await idle(db)


async def idle(db: Database) -> None:
    while db._given != db._worked_off:
        await asyncio.sleep(0)


async def test_rows_that_need_not_wait_for_the_disk_are_committed_at_once(db: Database) -> None:
    """While the writer has nothing to do: what was submitted before is never overtaken."""
    await settled(db)
    insert, replace = "INSERT INTO secret VALUES", "INSERT OR REPLACE INTO secret VALUES"
    done = db.submit_rows(insert, [("c", b"")], durable=False, then=lambda: threading.current_thread().name)
    assert done.done()
    assert done.result() == threading.current_thread().name
    free = threading.Event()
    held = db.submit(lambda _: free.wait(20) and None)
    first = db.submit_rows(replace, [("d", b"1")])
    second = db.submit_rows(replace, [("d", b"2")], durable=False, then=lambda: threading.current_thread().name)
    assert not second.done()
    free.set()
    await asyncio.gather(held, first)
    assert await second == "store-write"
    assert dict(await db.read(lambda c: c.execute("SELECT * FROM secret").fetchall()))["d"] == b"2"


async def test_a_commit_that_may_wait_is_the_writers(db: Database) -> None:
    """The first ones after the log was opened or copied, and those that are long."""
    found = [rows(db, name, durable=False) for name in "ab"]
    assert not any(each.done() for each in found)
    await asyncio.gather(*found)
    await rows(db, "c")
    await idle(db)
    long = rows(db, *map(str, range(HERE_ROWS + 1)), durable=False)
    assert not long.done()
    await long
    await idle(db)
    assert rows(db, "d", durable=False).done()


async def test_rows_that_cannot_be_committed_at_once_are_refused_by_the_writer(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisioner.store.db.BUSY_TIMEOUT_S", 0.01)
    insert = "INSERT INTO secret VALUES"
    await settled(db)
    two = [(f"k{number}", b"") for number in range(MOST_ROWS)] + [("a", b"")]  # the second of two statements
    for bad in ([("a", b"")], [(2**64, b"")], [("\ud800", b"")], [()], [("x", b""), ("y",)], two):
        refused = db.submit_rows(insert, bad, durable=False)
        assert not refused.done()
        with pytest.raises(StoreError):
            await refused
        await idle(db)
    assert await keys(db) == ["a", "b"]
    other = await asyncio.to_thread(sqlite3.connect, db.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked"):
        await rows(db, "c", durable=False)
    assert "locked" in db.failure
    await asyncio.to_thread(other.close)
    await idle(db)
    assert rows(db, "c", durable=False).done()
    assert db.failure == ""
    assert await keys(db) == ["a", "b", "c"]


async def test_after_one_that_waited_the_writer_makes_them(db: Database) -> None:
    await settled(db)
    db._pace.waited(SLOW_S * 2, time.monotonic() + 60)
    slow = rows(db, "c", durable=False)
    assert not slow.done()
    await slow
