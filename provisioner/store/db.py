"""The SQLite file: one writer thread with group commit, readers beside it. Home of sqlite3.

Whatever was submitted while the last transaction was being made durable goes into the next one together: with
`synchronous=FULL` this costs one fdatasync a group instead of one a change. A piece of work that fails takes nobody
else's with it: its group is then run again, with a savepoint for each. Futures resolve only after the commit: what is
acknowledged is durable, or with the kernel where whoever submitted it asked for no more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from provisioner.errors import ProvisionerError, StoreError
from provisioner.store.checkpoint import Checkpointer, write_out
from provisioner.store.rows import Row, statements

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Cursor], T]

BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for a lock that another process holds before the group is refused."""
CACHE_KIB = 16 * 1024
"""Pages that the writer keeps in memory: the leases of 100,000 machines."""
FULL_BYTES = 1 << 20
"""A disk with less than this free is called full: a transaction needs some pages of the log."""

GROUP_LIMIT = 1024
"""Most pieces of work in one transaction: bounds how long one commit can take."""

TOLD_AT_ONCE = 16
"""Most futures that resolve in one turn of the loop: what follows a change takes 0.2 to 0.5 ms of it."""


class _Item(NamedTuple):
    work: Work[Any]
    future: asyncio.Future[Any]
    insert: str = ""
    rows: Sequence[Row] = ()
    """The work as rows and what is done with them, where it is that (`rows.statements`)."""
    durable: bool = True
    then: Callable[[], Any] | None = None
    """Called by the writer's thread once this is committed; the future gives what it returns."""


class Database:
    """One SQLite database in WAL mode."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._syncs = True
        """Commits wait for the disk now (synchronous=FULL)."""
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: str = ""
        """Why the last group could not be committed; empty while all is well. Health reports it."""
        self.fresh = False
        """Nothing was in the file when it was opened, or there was none."""

    async def open(self, *, written_out: bool = False) -> None:
        """Open or create the file, bring its schema up to date and start the writer. Raises `StoreError`.

        `written_out` makes the commits to come cheap: ten megabytes are written once.
        """
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="store-read")
        opened: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._write_forever, args=(opened,), name="store-write", daemon=True)
        self._thread.start()
        await opened
        if written_out:
            await self.submit(lambda cursor: write_out(self.path))

    async def close(self) -> None:
        """Commit what was submitted, then close. Safe to call twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(thread.join)
        readers, self._readers = self._readers, None
        if readers is not None:
            await asyncio.to_thread(self._close_readers, readers)

    def _close_readers(self, readers: ThreadPoolExecutor) -> None:
        readers.shutdown()
        while self._connections:
            self._connections.pop().close()

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        """Run `work(cursor)` in the next group's transaction; the future resolves when that is durable.

        `work` runs in the writer thread: it must only use the cursor and values of its own, and may run twice if the
        group has to be repeated. The future fails with what `work` raised (ours as it is, others as `StoreError`).
        """
        return self._put(_Item(work, self._new_future()))

    def submit_rows(
        self, insert: str, rows: Sequence[Row], *, durable: bool = True, then: Callable[[], T] | None = None
    ) -> asyncio.Future[T]:
        """Execute `insert` (`INSERT INTO ... VALUES`) with rows of one length in the next group's transaction.

        For those who write thousands of rows a second: what was gathered goes into few statements together.

        Not `durable`: the future resolves when the rows are with the kernel. They outlive a crash of the daemon and
        not a power cut, which is what most DHCP servers promise.

        `then` is called by the writer's thread as soon as they are that safe: what waits for the disk alone needs not
        wait for the loop. It must be quick; what it raises fails the future.
        """
        work = partial(insert_rows, insert, rows)
        return self._put(_Item(work, self._new_future(), insert, rows, durable, then))

    def _new_future(self) -> asyncio.Future[Any]:
        if self._thread is None or self._loop is None:
            raise StoreError("the store is not open")
        return self._loop.create_future()

    def _put(self, item: _Item) -> asyncio.Future[Any]:
        self._queue.put(item)
        return item.future

    async def read(self, work: Work[T]) -> T:
        """Run `work(cursor)` on a read-only connection, in a thread. Sees all that was committed before the call."""
        if self._readers is None:
            raise StoreError("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def _read(self, work: Work[T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._file()
                self._connections.append(connection)
                connection.execute("PRAGMA query_only=ON")
                self._local.connection = connection
            return work(connection.cursor())
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot read: {error}") from error

    # the writer thread

    def _write_forever(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except ProvisionerError as error:
            self._deliver([(opened, None, error)])
            return
        except (sqlite3.Error, OSError) as error:
            self._deliver([(opened, None, _unopened(self.path, error))])
            return
        checkpointer = Checkpointer(self._file)
        checkpointer.start()
        self._deliver([(opened, None, None)])
        while (first := self._queue.get()) is not None:
            group, stop = self._gather(first)
            self._deliver(self._commit(connection, group))
            with contextlib.suppress(sqlite3.Error):  # the log keeps what could not be copied; commits tell of the disk
                checkpointer.committed(connection)
            if stop:
                break
        checkpointer.stop()
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        with contextlib.ExitStack() as undo:
            connection = undo.enter_context(contextlib.closing(self._file()))
            self.path.chmod(0o640)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            connection.execute("PRAGMA foreign_keys=ON")
            self.fresh = not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
            migrate(connection, bundled_migrations(), str(self.path))
            undo.pop_all()
        return connection

    def _file(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False)

    def _gather(self, first: _Item) -> tuple[list[_Item], bool]:
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            group.append(item)
        return group, False

    def _commit(self, connection: sqlite3.Connection, group: list[_Item]) -> list[_Outcome]:
        cursor = connection.cursor()
        outcomes: list[_Outcome] = []
        try:
            self._sync(cursor, any(item.durable for item in group))
            outcomes = _together(cursor, group) or _apart(cursor, group)
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.rollback()
            self.failure = f"{self.path}: cannot commit: {error}"
            refusal = StoreError(self.failure, hint=hint_for(self.path, error))
            return [(item.future, None, refusal) for item in group]
        self.failure = ""
        return [
            outcome if item.then is None or outcome[2] is not None else _done(item.future, item.then)
            for item, outcome in zip(group, outcomes, strict=True)
        ]

    def _sync(self, cursor: sqlite3.Cursor, syncs: bool) -> None:
        """Have the next commit wait for the disk or not."""
        if syncs is not self._syncs:
            cursor.execute(f"PRAGMA synchronous={'FULL' if syncs else 'NORMAL'}")
            self._syncs = syncs

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, self._loop, outcomes)
        except RuntimeError:
            return  # the loop is gone: nobody waits for the answer any more


def _unopened(path: Path, error: Exception) -> StoreError:
    return StoreError(f"{path}: cannot open the store: {error}", hint=hint_for(path, error))


def hint_for(path: Path, error: Exception) -> str:
    """Say what to do about a store that cannot be opened or written: SQLite says "disk I/O error" of a full disk."""
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in str(error) or "not a database" in str(error)):
        return "restore it from your backup"
    with contextlib.suppress(OSError):
        disk = os.statvfs(path.parent)
        if (free := disk.f_bavail * disk.f_frsize) < FULL_BYTES:
            return f"its disk is full: {free / 1e6:.1f} MB free"
    return "check free space and permissions of the state directory"


_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


def _done(future: asyncio.Future[Any], then: Callable[[], Any]) -> _Outcome:
    try:
        return future, then(), None
    except Exception as error:
        log.exception("store.unfinished")
        return future, None, error


def _together(cursor: sqlite3.Cursor, group: list[_Item]) -> list[_Outcome]:
    """Run a group as if nothing in it could fail; nothing of it is kept, and nothing returned, where something does.

    Nearly always nothing does, and two statements less for each piece of work are as many turns less of the
    interpreter's lock, which the loop waits for.
    """
    try:
        if all(item.insert for item in group):
            return _all_rows(cursor, group)
        cursor.execute("BEGIN IMMEDIATE")
        outcomes: list[_Outcome] = [(item.future, item.work(cursor), None) for item in group]
        cursor.execute("COMMIT")
    except Exception as error:
        if _concerns_all(error):
            raise
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")
        return []
    return outcomes


def _all_rows(cursor: sqlite3.Cursor, group: list[_Item]) -> list[_Outcome]:
    """Write the rows of a group, all of which is rows. One statement is a transaction by itself."""
    found = [
        each
        for insert, items in groupby(group, attrgetter("insert"))
        for each in statements(insert, [row for item in items for row in item.rows])
    ]
    if len(found) > 1:
        found = [("BEGIN IMMEDIATE", []), *found, ("COMMIT", [])]
    for statement, values in found:
        cursor.execute(statement, values)
    return [(item.future, None, None) for item in group]


def _apart(cursor: sqlite3.Cursor, group: list[_Item]) -> list[_Outcome]:
    """Run a group with a savepoint for each piece of work: one that fails takes nobody else's with it."""
    cursor.execute("BEGIN IMMEDIATE")
    outcomes = [_run(cursor, item) for item in group]
    cursor.execute("COMMIT")
    return outcomes


def _run(cursor: sqlite3.Cursor, item: _Item) -> _Outcome:
    cursor.execute("SAVEPOINT work")
    try:
        outcome: _Outcome = (item.future, item.work(cursor), None)
    except ProvisionerError as error:
        outcome = (item.future, None, error)
    except Exception as error:
        if _concerns_all(error):
            raise
        failure = StoreError(f"cannot write: {type(error).__name__}: {error}")
        failure.__cause__ = error
        outcome = (item.future, None, failure)
    if outcome[2] is not None:
        cursor.execute("ROLLBACK TO work")
    cursor.execute("RELEASE work")
    return outcome


def insert_rows(insert: str, rows: Sequence[Row], cursor: sqlite3.Cursor) -> None:
    """Execute `insert` (`INSERT INTO ... VALUES`) with rows of one length, within a transaction."""
    for statement, values in statements(insert, rows):
        cursor.execute(statement, values)


def _concerns_all(error: Exception) -> bool:
    """Say whether this is about the file (full disk, I/O, lock), not about one statement: then the group fails."""
    one_statement = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE)
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 1) & 0xFF not in one_statement


def _resolve(loop: asyncio.AbstractEventLoop, outcomes: list[_Outcome]) -> None:
    """Tell who waits, some in each turn of the loop: all of a group at once would hold up everything else."""
    for future, result, error in outcomes[:TOLD_AT_ONCE]:
        if future.done():  # cancelled by who waited: the work is committed all the same
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
    if len(outcomes) > TOLD_AT_ONCE:
        loop.call_soon(_resolve, loop, outcomes[TOLD_AT_ONCE:])


class Migration(NamedTuple):
    """One numbered step of the schema."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text: a migration that was applied may never change."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def bundled_migrations() -> list[Migration]:
    """Read the migrations that travel with the package, in order."""
    folder = resources.files("provisioner.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name.removesuffix(".sql"), f.read_text()) for f in files]


def migrate(connection: sqlite3.Connection, migrations: Iterable[Migration], where: str) -> None:
    """Apply what is missing, each in a transaction of its own; refuse a store that a newer version wrote."""
    connection.execute("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, checksum TEXT NOT NULL)")
    applied = dict(connection.execute("SELECT name, checksum FROM migration"))
    known = list(migrations)
    if unknown := sorted(applied.keys() - {m.name for m in known}):
        raise StoreError(f"{where}: was written by a newer version ({', '.join(unknown)})", hint="upgrade provisioner")
    for migration in known:
        if migration.name not in applied:
            record = f"INSERT INTO migration VALUES ('{migration.name}', '{migration.checksum}')"  # noqa: S608  ours
            connection.executescript(f"BEGIN IMMEDIATE; {migration.sql}\n; {record}; COMMIT;")
        elif applied[migration.name] != migration.checksum:
            raise StoreError(f"{where}: migration {migration.name} was changed after it was applied")
