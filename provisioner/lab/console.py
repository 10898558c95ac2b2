"""A machine's serial console: one stream that any number of watchers may read and write, across power cycles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

BACKLOG = 256
"""Chunks (at most 4 KiB each) kept for a watcher that does not read: 1 MiB, then the oldest are dropped."""
CHUNK_BYTES = 4096


class Console:
    """The serial port as its BMC sees it. The guest's end comes and goes with the machine's power."""

    def __init__(self) -> None:
        self._watchers: set[asyncio.Queue[bytes]] = set()
        self._guest: asyncio.StreamWriter | None = None

    @contextlib.contextmanager
    def watch(self) -> Iterator[asyncio.Queue[bytes]]:
        """A queue that gets everything the guest prints from now on."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(BACKLOG)
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)

    def feed(self, data: bytes) -> None:
        """Hand what the guest printed to every watcher."""
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(data)

    def type(self, data: bytes) -> None:
        """Send keys to the guest; lost while it is off, as on a real serial line."""
        if self._guest is not None and not self._guest.is_closing():
            self._guest.write(data)

    async def pump(self, path: Path) -> None:
        """Carry the guest's output from QEMU's socket at `path` until it closes."""
        reader, writer = await asyncio.open_unix_connection(path)
        self._guest = writer
        try:
            async for data in _chunks(reader):
                self.feed(data)
        finally:
            self._guest = None
            writer.close()


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(CHUNK_BYTES):
            yield data
