"""A connection as a protocol of asyncio has it: a transport that is read before the loop watches its socket.

Installers and firmware make a connection for each file. asyncio's own transport takes a task and three turns of the
loop for one before anything is read of it, and then has it watched. Here what came with it is read at once, and it is
watched only where it lasts (`plaindoor`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
"""Read at once: a request has some hundred octets, what an agent sends comes in pieces of so many."""
HIGH_BYTES = 64 * 1024
"""What may wait to be sent before the protocol is told to wait, unless it says otherwise: as asyncio has it."""


class Connection(asyncio.Transport):
    """One connection, from `begin` until its protocol's `connection_lost`. It closes the socket, which never blocks."""

    __slots__ = (
        "_closing", "_high", "_is_full", "_is_reading", "_is_watched", "_loop", "_lost", "_low", "_peer", "_protocol",
        "_sock", "_unsent",
    )  # fmt: skip

    def __init__(
        self, loop: asyncio.AbstractEventLoop, sock: socket.socket, peer: object, protocol: asyncio.Protocol
    ) -> None:
        self._loop, self._sock, self._peer, self._protocol = loop, sock, peer, protocol
        self._unsent = bytearray()
        self._low, self._high = HIGH_BYTES // 4, HIGH_BYTES
        self._is_reading = self._is_watched = self._is_full = False
        self._closing = self._lost = False

    def begin(self) -> None:
        """Tell the protocol, and give it what came with the connection. What comes later waits for `watch`."""
        self._is_reading = True
        self._tell(self._protocol.connection_made, self)
        if self._is_reading:
            self._read()

    def watch(self) -> None:
        """Have the loop watch the socket from now on."""
        self._is_watched = True
        if self._is_reading:
            self._loop.add_reader(self._sock, self._read)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Give the `socket`, and both its addresses: `peername` and `sockname`."""
        match name:
            case "socket":
                return self._sock
            case "peername":
                return self._peer
            case "sockname" if not self._lost:
                return self._sock.getsockname()
        return default

    def _tell(self, what: Callable[..., Any], *words: Any) -> Any:
        """Tell the protocol something. One that fails over it loses its connection."""
        try:
            return what(*words)
        except Exception as error:
            log.exception("http.fault address=%s", self._peer)
            self._end(error)
            return None

    # reading

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(error)
            return
        if data:
            self._tell(self._protocol.data_received, data)
        elif self._tell(self._protocol.eof_received):
            self.pause_reading()  # it has more to say
        else:
            self.close()

    def is_reading(self) -> bool:
        """Say whether what comes is given to the protocol."""
        return self._is_reading

    def pause_reading(self) -> None:
        """Leave what comes to the kernel."""
        if self._is_reading and self._is_watched:
            self._loop.remove_reader(self._sock)
        self._is_reading = False

    def resume_reading(self) -> None:
        """Read again."""
        if self._is_reading or self._closing:
            return
        self._is_reading = True
        if self._is_watched:
            self._loop.add_reader(self._sock, self._read)

    # writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send what the socket takes, and the rest as it takes more."""
        if self._lost or not data:
            return
        if not self._unsent:
            sent = self._sent(data)
            if sent == len(data) or self._lost:
                return
            data = memoryview(data)[sent:]
            self._loop.add_writer(self._sock, self._write_more)
        self._unsent += data
        self._tell_of_room()

    def _sent(self, data: bytes | bytearray | memoryview) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._end(error)
            return 0

    def _write_more(self) -> None:
        del self._unsent[: self._sent(self._unsent)]
        if self._lost:
            return
        self._tell_of_room()
        if not self._unsent:
            self._loop.remove_writer(self._sock)
            if self._closing:
                self._end(None)

    def _tell_of_room(self) -> None:
        waiting = len(self._unsent)
        if waiting > self._high and not self._is_full:
            self._is_full = True
            self._tell(self._protocol.pause_writing)
        elif waiting <= self._low and self._is_full:
            self._is_full = False
            self._tell(self._protocol.resume_writing)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Say how many octets may wait until the protocol is told, and at how few it is told again."""
        self._high = high if high is not None else HIGH_BYTES if low is None else 4 * low
        self._low = low if low is not None else self._high // 4
        self._tell_of_room()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Give `low` and `high`."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Say how many octets wait to be sent."""
        return len(self._unsent)

    def can_write_eof(self) -> bool:
        """Say that half of a connection is never closed: HTTP has no use for it."""
        return False

    # the end

    def is_closing(self) -> bool:
        """Say whether it is closed, or will be."""
        return self._closing

    def close(self) -> None:
        """Read no more, and close once everything is sent."""
        if self._closing:
            return
        self.pause_reading()
        self._closing = True
        if not self._unsent:
            self._end(None)

    def abort(self) -> None:
        """Close, whatever is unsent."""
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if self._lost:
            return
        self.pause_reading()
        if self._unsent:
            self._unsent.clear()
            self._loop.remove_writer(self._sock)
        self._closing = self._lost = True
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._sock.close()
