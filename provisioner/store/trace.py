"""The boot trace: a bounded ring in memory for everybody, rows in the store for the machines that are ours.

`note` is called from the hot paths of DHCP and TFTP: it appends to a list and returns. A flusher hands what has
gathered to the writer a few times a second; nobody waits for it. What a run says of itself is written with the change
that it tells of, and with all that was seen before it: a crash never leaves a machine further than its trace.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from provisioner.clock import SteadyClock
from provisioner.errors import CursorError, StoreError
from provisioner.model.net import Mac
from provisioner.model.trace import ALL_LINES, NOW, Channel, TraceFilter, TraceLine
from provisioner.store.db import Database

log = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.5
PENDING_LIMIT = 20_000
"""Lines that may wait for the writer; more are dropped and counted: 20,000 lines of 300 octets are 6 MB."""
STRANGERS = 2_000
"""Unknown MACs whose last lines are remembered; the one not heard of for longest goes first."""
LINES_EACH = 64
KEEP_ROWS_EACH = 5_000
"""Rows kept of one machine in the store: twenty installs, or a few with a talkative console."""
TRIM_EVERY = 1_000
"""Rows that come to a machine before its oldest ones go: so many more may be there for a while."""


class Trace:
    """Where every part says what it saw of a machine's journey."""

    def __init__(self, db: Database, clock: SteadyClock) -> None:
        self._db = db
        self._clock = clock
        self._pending: list[TraceLine] = []
        self._on_their_way: set[asyncio.Future[None]] = set()
        """Writes of lines that are not in the store yet: who reads waits for them."""
        self._strangers: OrderedDict[Mac, deque[tuple[int, TraceLine]]] = OrderedDict()
        self._heard = 0
        """Lines of strangers that were noted; a MAC that was forgotten and comes again has higher numbers, too."""
        self._grown: Counter[str] = Counter()
        """Rows that came to each machine since its oldest ones went."""
        self.lost = 0
        """Lines that were thrown away since the daemon was started, for the store did not take them in time."""
        self._told = 0
        """How many of them were said in the log."""

    def note(self, line: TraceLine) -> None:
        """Keep a line. Lines without a machine stay in memory only, by MAC, until the MAC is claimed."""
        if line.at == NOW:
            line = replace(line, at=self._clock.now())
        if line.machine:
            if len(self._pending) < PENDING_LIMIT:
                self._pending.append(line)
            else:
                self.lost += 1
        elif line.mac is not None:
            self._heard += 1
            self._ring(line.mac).append((self._heard, line))

    def claim(self, mac: Mac, machine: str, run: str = "") -> None:
        """Say whose MAC this is: what was seen of it before becomes part of the machine's trace."""
        for _, line in self._strangers.pop(mac, ()):
            self.note(TraceLine(line.at, line.channel, line.event, line.text, mac, machine, run, line.ok))

    def of_stranger(self, mac: Mac, after: int = 0) -> list[tuple[int, TraceLine]]:
        """List what is remembered of a MAC that is no machine's, with numbers above `after`. Raises `CursorError`."""
        lines = self._strangers.get(mac, ())
        _check_cursor(after, lines[-1][0] if lines else 0)
        return [(seq, line) for seq, line in lines if seq > after]

    def strangers(self) -> list[Mac]:
        """List the unknown MACs that were heard of, the latest last."""
        return list(self._strangers)

    def _ring(self, mac: Mac) -> deque[tuple[int, TraceLine]]:
        ring = self._strangers.get(mac)
        if ring is None:
            ring = self._strangers[mac] = deque(maxlen=LINES_EACH)
            if len(self._strangers) > STRANGERS:
                self._strangers.popitem(last=False)
        else:
            self._strangers.move_to_end(mac)
        return ring

    async def run(self) -> None:
        """Flush until cancelled. What earlier daemons left too much of goes meanwhile."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._trim_all(), name="trace of earlier daemons")
            while True:
                await asyncio.sleep(FLUSH_EVERY_S)
                with contextlib.suppress(StoreError):  # the store says so itself; the lines wait for the next try
                    await self.flush()

    async def flush(self) -> None:
        """Hand what has gathered to the store and wait until it is kept, and what others are writing.

        A change that took lines along may have to do something before it comes to the writer, and is overtaken there.
        """
        lines, self._pending = self._pending, []
        others = list(self._on_their_way)
        if not lines and not others:
            return
        if lines:
            with self._being_written():
                try:
                    await self._db.submit(lambda c: write_lines(c, lines))
                except StoreError:
                    self._put_back(lines)
                    raise
        if others:
            await asyncio.wait(others)
        if self.lost > self._told:
            log.warning("trace.lost lines=%d", self.lost - self._told)
            self._told = self.lost
        self._grown.update(line.machine for line in lines)
        for machine in [machine for machine, rows in self._grown.items() if rows >= TRIM_EVERY]:
            await self.trim(machine)

    @contextlib.contextmanager
    def _being_written(self) -> Iterator[None]:
        written = asyncio.get_running_loop().create_future()
        self._on_their_way.add(written)
        try:
            yield
        finally:
            self._on_their_way.discard(written)
            written.set_result(None)

    def _put_back(self, lines: list[TraceLine]) -> None:
        waiting = lines + self._pending
        self._pending = waiting[-PENDING_LIMIT:]
        self.lost += len(waiting) - len(self._pending)

    @contextlib.contextmanager
    def with_change(self, lines: Sequence[TraceLine]) -> Iterator[Sequence[TraceLine]]:
        """Give what has gathered, and then `lines`, to be written in the transaction of the change that they tell of.

        Where the body raises, that was not done: what had gathered waits on, and nobody hears of the change.
        """
        gathered, self._pending = self._pending, []
        with self._being_written():
            try:
                yield (*gathered, *lines)
            except Exception:
                self._put_back(gathered)
                raise
        self._grown.update(line.machine for line in (*gathered, *lines))

    async def read(
        self, machine: str, after: int, limit: int, only: TraceFilter = ALL_LINES
    ) -> list[tuple[int, TraceLine]]:
        """Read a machine's lines with a number above `after`, oldest first; flushes first. Raises `CursorError`."""
        with contextlib.suppress(StoreError):
            await self.flush()
        newest = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'trace'"
        _check_cursor(after, await self._db.read(lambda c: c.execute(newest).fetchone()[0]))
        narrow, values = _narrowed(only)
        return await self._select(f"seq > ?{narrow} ORDER BY seq LIMIT ?", machine, (after, *values, limit))

    async def since(self, machine: str, run: str) -> list[TraceLine]:
        """Read a machine's lines from the first one of a run on, as they came.

        Not by time: a daemon whose clock was ahead has left lines that are later than all of today.
        """
        with contextlib.suppress(StoreError):
            await self.flush()
        first = "SELECT min(seq) FROM trace WHERE machine = ? AND run = ?"
        where = f"seq >= ({first}) ORDER BY seq DESC LIMIT ?"
        found = await self._select(where, machine, (machine, run, KEEP_ROWS_EACH))
        return [line for _, line in reversed(found)]

    async def _select(self, where: str, machine: str, values: tuple[float | str, ...]) -> list[tuple[int, TraceLine]]:
        columns = "seq, at, channel, event, text, mac, machine, run, ok"
        query = f"SELECT {columns} FROM trace WHERE machine = ? AND {where}"  # noqa: S608  both are ours
        rows = await self._db.read(lambda c: c.execute(query, (machine, *values)).fetchall())
        return [
            (seq, TraceLine(at, Channel(channel), event, text, mac, owner, run, bool(ok)))
            for seq, at, channel, event, text, mac, owner, run, ok in rows
        ]

    async def trim(self, machine: str) -> None:
        """Drop the oldest rows of a machine beyond `KEEP_ROWS_EACH`."""
        oldest = "SELECT seq FROM trace WHERE machine = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
        delete = f"DELETE FROM trace WHERE machine = ? AND seq <= ({oldest})"  # noqa: S608
        await self._db.submit(lambda c: c.execute(delete, (machine, machine, KEEP_ROWS_EACH)) and None)
        self._grown.pop(machine, None)

    async def _trim_all(self) -> None:
        """Trim every machine that has too many rows: how many came to it is counted in memory only.

        Rows of machines that are no longer on record go: those that were noted while one was taken off it.
        """
        gone = "SELECT machine FROM trace GROUP BY machine EXCEPT SELECT id FROM machine"
        query = "SELECT machine FROM trace GROUP BY machine HAVING count(*) > ?"
        with contextlib.suppress(StoreError):  # the next start is as good
            for row in await self._db.read(lambda c: c.execute(query, (KEEP_ROWS_EACH,)).fetchall()):
                await self.trim(row[0])
            for row in await self._db.read(lambda c: c.execute(gone).fetchall()):
                await self.forget(row[0])

    async def forget(self, machine: str) -> None:
        """Drop all rows of a machine that is no longer on record."""
        self._pending = [line for line in self._pending if line.machine != machine]
        await self._db.submit(lambda c: c.execute("DELETE FROM trace WHERE machine = ?", (machine,)) and None)
        self._grown.pop(machine, None)


def write_lines(cursor: sqlite3.Cursor, lines: Sequence[TraceLine]) -> None:
    """Write lines of machines, in a transaction of whoever calls."""
    rows = [(x.at, x.mac, x.machine, x.run, str(x.channel), x.event, _writable(x.text), x.ok) for x in lines]
    insert = "INSERT INTO trace (at, mac, machine, run, channel, event, text, ok) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    cursor.executemany(insert, rows)


def _writable(text: str) -> str:
    """Replace what no UTF-8 has, half a surrogate pair: a line that can never be written holds up all that follow."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _check_cursor(after: int, newest: int) -> None:
    """Raise `CursorError` for a number that no line has yet: it was of a MAC that nobody owned, or of another store."""
    if after > newest:
        gone = f"no line of the trace has the number {after}: the last is {newest}"
        raise CursorError(gone, oldest=1, hint="read the trace from its beginning")


def _narrowed(only: TraceFilter) -> tuple[str, tuple[str, ...]]:
    """Write a filter as SQL with its values. LIKE is blind to case for ASCII, which is what our texts are."""
    parts: list[tuple[str, str]] = []
    if only.text:
        sought = only.text.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        parts.append((" AND (event || ' ' || text) LIKE ? ESCAPE '!'", f"%{sought}%"))
    if only.channel:
        parts.append((" AND channel = ?", only.channel))
    if only.run:
        parts.append((" AND run = ?", only.run))
    troubles = " AND ok = 0" if only.troubles else ""
    return "".join(sql for sql, _ in parts) + troubles, tuple(value for _, value in parts)
