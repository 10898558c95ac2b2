"""The SQLite file: one writer thread with group commit, readers beside it. Home of sqlite3.

Whatever was submitted while the last transaction was being made durable goes into the next one together: with
`synchronous=FULL` this costs one fdatasync a group instead of one a change. A piece of work that fails takes nobody
else's with it: its group is then run again, with a savepoint for each. Futures resolve only after the commit: what is
acknowledged is durable, or with the kernel where whoever submitted it asked for no more. That the loop commits by
itself while the writer has nothing to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from provisioner.errors import ProvisionerError, StoreError
from provisioner.store.checkpoint import Checkpointer, write_out
from provisioner.store.pace import Pace
from provisioner.store.rows import Row, statements
from provisioner.store.schema import bundled_migrations, migrate
from provisioner.store.trouble import hint_for, unopened

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[sqlite3.Cursor], T]

BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for a lock that another process holds before the group is refused."""
CACHE_KIB = 16 * 1024
"""Pages that the writer keeps in memory: the leases of 100,000 machines."""

GROUP_LIMIT = 1024
"""Most pieces of work in one transaction: bounds how long one commit can take."""

HERE_ROWS = 128
"""Most rows that the loop commits itself: a quarter of a millisecond."""

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
        self._connection: sqlite3.Connection | None = None
        """The writer's."""
        self._checkpointer: Checkpointer | None = None
        self._syncs = True
        """Commits wait for the disk now (synchronous=FULL)."""
        self._patient = True
        """They wait for a lock now that another process holds."""
        self._given = self._worked_off = 0
        """Pieces of work that the writer was given, as the loop counts them, and that it is done with, as it does."""
        self._pace = Pace()
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
        not a power cut, which is what most DHCP servers promise. It may have resolved already when it is returned.

        `then` is called as soon as they are that safe, by whoever made them so, most often the writer's thread: what
        waits for the disk alone needs not wait for the loop. It must be quick; what it raises fails the future.
        """
        work = partial(insert_rows, insert, rows)
        item = _Item(work, self._new_future(), insert, rows, durable, then)
        if durable or not self._commit_here(item):
            self._put(item)
        return item.future

    def _new_future(self) -> asyncio.Future[Any]:
        if self._thread is None or self._loop is None:
            raise StoreError("the store is not open")
        return self._loop.create_future()

    def _put(self, item: _Item) -> asyncio.Future[Any]:
        self._given += 1
        self._queue.put(item)
        return item.future

    def _commit_here(self, item: _Item) -> bool:
        """Commit rows that need not wait for the disk in the loop's own thread; False: the writer has to.

        That takes a tenth of a millisecond, and handing them over and hearing of them twice that. Only while the writer
        has nothing to do, so that nothing is overtaken and one thread uses the connection; and not where it would wait
        for something: the disk, a lock, or a copy of the log.
        """
        connection, checkpointer = self._connection, self._checkpointer
        if connection is None or checkpointer is None or self._given != self._worked_off or len(item.rows) > HERE_ROWS:
            return False
        if checkpointer.unsettled or not self._pace.allows(begun := time.monotonic()):
            return False
        cursor, worked = connection.cursor(), time.thread_time()
        try:
            self._wait_for(cursor, disk=False, lock=False)
            _all_rows(cursor, [item])
        except (sqlite3.Error, ValueError, OverflowError):  # the writer finds out what it is, and says so
            if connection.in_transaction:
                connection.rollback()
            return False
        checkpointer.count(connection)
        ended, worked = time.monotonic(), time.thread_time() - worked
        self._pace.waited(ended - begun - worked, ended)
        self.failure = ""
        _settle((item.future, None, None) if item.then is None else _done(item.future, item.then))
        return True

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
            self._deliver([(opened, None, unopened(self.path, error))])
            return
        self._checkpointer = checkpointer = Checkpointer(self._file)
        checkpointer.start()
        self._connection = connection
        self._deliver([(opened, None, None)])
        while (first := self._queue.get()) is not None:
            group, stop = self._gather(first)
            self._deliver(self._commit(connection, group))
            with contextlib.suppress(sqlite3.Error):  # the log keeps what could not be copied; commits tell of the disk
                checkpointer.committed(connection)
            self._worked_off += len(group)
            if stop:
                break
        self._connection = None
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
            self._wait_for(cursor, disk=any(item.durable for item in group), lock=True)
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

    def _wait_for(self, cursor: sqlite3.Cursor, *, disk: bool, lock: bool) -> None:
        """Have the next commit wait for the disk or not, and for a lock or not."""
        if disk is not self._syncs:
            cursor.execute(f"PRAGMA synchronous={'FULL' if disk else 'NORMAL'}")
            self._syncs = disk
        if lock is not self._patient:
            cursor.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1e3) if lock else 0}").fetchall()
            self._patient = lock

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, self._loop, outcomes)
        except RuntimeError:
            return  # the loop is gone: nobody waits for the answer any more


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
    for outcome in outcomes[:TOLD_AT_ONCE]:
        _settle(outcome)
    if len(outcomes) > TOLD_AT_ONCE:
        loop.call_soon(_resolve, loop, outcomes[TOLD_AT_ONCE:])


def _settle(outcome: _Outcome) -> None:
    future, result, error = outcome
    if future.done():  # cancelled by who waited: the work is committed all the same
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
