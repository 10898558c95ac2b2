"""A machine's serial console: one stream that any number of watchers may read and write, across power cycles."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from io import RawIOBase
from typing import Protocol

CHUNK_BYTES = 4096

Watcher = Callable[[bytes], None]


class Keyboard(Protocol):
    """Where keys go: a stream to the guest."""

    def write(self, data: bytes) -> None: ...
    def is_closing(self) -> bool: ...


class Console:
    """The serial port as its BMC sees it. The guest's end comes and goes with the machine's power."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._guest: Keyboard | None = None

    def attach(self, watcher: Watcher) -> None:
        """Call `watcher` with everything that the guest prints from now on."""
        self._watchers.add(watcher)

    def detach(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    @contextlib.contextmanager
    def watch(self) -> Iterator[asyncio.Queue[bytes]]:
        """A queue of everything that the guest prints while the context lasts."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.attach(queue.put_nowait)
        try:
            yield queue
        finally:
            self.detach(queue.put_nowait)

    @contextlib.contextmanager
    def logged(self, file: RawIOBase) -> Iterator[None]:
        """Write what the guest prints to `file` while the context lasts; a full disk costs the log, not the guest."""

        def write(data: bytes) -> None:
            with contextlib.suppress(OSError):
                file.write(data)

        self.attach(write)
        try:
            yield
        finally:
            self.detach(write)

    def feed(self, data: bytes) -> None:
        """Hand what the guest printed to every watcher."""
        for watcher in tuple(self._watchers):
            watcher(data)

    def type(self, data: bytes) -> None:
        """Send keys to the guest; lost while it is off, as on a real serial line."""
        if self._guest is not None and not self._guest.is_closing():
            self._guest.write(data)

    def connect(self, guest: Keyboard | None) -> None:
        """Plug the guest's end in, or out."""
        self._guest = guest

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what the guest prints, and what is typed, until the guest's end closes."""
        self.connect(writer)
        try:
            with contextlib.suppress(ConnectionError):
                while data := await reader.read(CHUNK_BYTES):
                    self.feed(data)
        finally:
            self.connect(None)
            writer.close()
