"""The daemon's event loop: asyncio's own, over a selector that keeps urgent sockets ahead of the many.

A thousand machines that install at once have a thousand sockets ready. asyncio works off everything that is ready
before it looks again, so that an operator, or a DHCP client with four seconds of patience, waits behind all of them.
Here a turn of the loop takes what is urgent, whole, and at most `BULK_AT_ONCE` of the TCP connections to machines and
BMCs; the kernel hands those out in turns. A turn stays at some milliseconds however many wait.
"""

from __future__ import annotations

import asyncio
import math
import select
import selectors
import socket
from asyncio import sslproto
from collections.abc import Coroutine, Mapping
from typing import Any

BULK_AT_ONCE = 8
"""Connections that one turn reads: a request takes 0.2 to 0.5 ms of the loop, twice, for reading and answering."""
TLS_BUFFER_BYTES = 32 << 10
"""What asyncio keeps of each TLS connection for what it reads, 256 KiB unless told otherwise: a thousand BMCs that are
talked to would take 256 MiB. A BMC's answers are a few KiB; larger ones take more turns."""

File = int | Any
_INTERNET = frozenset({int(socket.AF_INET), int(socket.AF_INET6)})


class FairSelector(selectors.BaseSelector):
    """Two epolls, one in the other: urgent descriptors, and TCP connections."""

    def __init__(self) -> None:
        self._urgent = select.epoll()
        self._bulk = select.epoll()
        self._urgent.register(self._bulk.fileno(), select.EPOLLIN)
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._homes: dict[int, select.epoll] = {}

    def register(self, fileobj: File, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a descriptor; raise `KeyError` where it is watched already."""
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} is watched already")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        home = self._bulk if is_bulk(fd) else self._urgent
        home.register(fd, _mask(events))
        self._keys[fd], self._homes[fd] = key, home
        return key

    def unregister(self, fileobj: File) -> selectors.SelectorKey:
        """Watch a descriptor no more; raise `KeyError` where it is not watched."""
        key = self._keys.pop(self._known(fileobj))
        try:
            self._homes.pop(key.fd).unregister(key.fd)
        except OSError:
            return key  # closed before: the kernel has forgotten it
        return key

    def modify(self, fileobj: File, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch for other events; raise `KeyError` where the descriptor is not watched."""
        fd = self._known(fileobj)
        key = self._keys[fd]
        if events != key.events:
            self._homes[fd].modify(fd, _mask(events))
        key = self._keys[fd] = key._replace(events=events, data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for what is ready: everything urgent first, then a few of the many."""
        # epoll counts milliseconds: rounded up, or a wait that is nearly over would spin
        wait_s = -1.0 if timeout is None else max(0.0, math.ceil(timeout * 1e3) * 1e-3)
        try:
            found = self._urgent.poll(wait_s, len(self._keys) + 1)
            inner = self._bulk.fileno()
            ready = [one for one in found if one[0] != inner]
            if len(ready) < len(found):
                ready += self._bulk.poll(0, BULK_AT_ONCE)
        except InterruptedError:
            return []
        keys = self._keys
        return [(key, _events(mask) & key.events) for fd, mask in ready if (key := keys.get(fd)) is not None]

    def get_key(self, fileobj: File) -> selectors.SelectorKey:
        """Find what is known of a descriptor; raise `KeyError`."""
        return self._keys[self._known(fileobj)]

    def get_map(self) -> Mapping[File, selectors.SelectorKey]:
        """List what is watched, by descriptor."""
        return self._keys

    def close(self) -> None:
        """Let go of everything."""
        self._keys.clear()
        self._homes.clear()
        self._bulk.close()
        self._urgent.close()

    def _known(self, fileobj: File) -> int:
        """Find a descriptor, also of a file that was closed before it was unregistered."""
        if isinstance(fileobj, int):
            return fileobj
        fd: int = fileobj.fileno()
        return fd if fd >= 0 else next(key.fd for key in self._keys.values() if key.fileobj is fileobj)


def is_bulk(fd: int) -> bool:
    """Say whether a descriptor is one of the many: a TCP socket. Datagrams, pipes and UNIX sockets are urgent."""
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fd)  # as if it were: finding it out costs twice
    except OSError:
        return False
    try:
        family, kind = (sock.getsockopt(socket.SOL_SOCKET, what) for what in (socket.SO_DOMAIN, socket.SO_TYPE))
        return family in _INTERNET and kind == socket.SOCK_STREAM
    finally:
        sock.detach()


def _descriptor(fileobj: File) -> int:
    fd: int = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(f"{fileobj!r} is closed")
    return fd


def _mask(events: int) -> int:
    return (select.EPOLLIN if events & selectors.EVENT_READ else 0) | (
        select.EPOLLOUT if events & selectors.EVENT_WRITE else 0
    )


def _events(mask: int) -> int:
    """Translate: an error or a hang-up shows to whoever reads or writes next."""
    return (selectors.EVENT_WRITE if mask & ~select.EPOLLIN else 0) | (
        selectors.EVENT_READ if mask & ~select.EPOLLOUT else 0
    )


async def between(at: int, every: int) -> None:
    """Let others have the loop after `every` of many things that are counted from 1 (`at`)."""
    if at % every == 0:
        await asyncio.sleep(0)


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the daemon to its end, as `asyncio.run` does."""
    sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(FairSelector())) as runner:
        runner.run(main)
