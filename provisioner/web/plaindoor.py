"""Connections without TLS, of one listening socket: those that are answered at once are over before they are watched.

`fairloop` lets a turn of the loop read a few connections of the many; of those that are new, it reads as few.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

from provisioner.fairloop import BULK_AT_ONCE
from provisioner.web.connection import Connection
from provisioner.web.tlsdoor import FULL_S

log = logging.getLogger(__name__)

TURNS = 3
"""Of the loop: aiohttp has a task for a connection and one for each request, and so many turns after what came was read
an answer that waits for nothing has left, and its connection is closed."""
Application = Callable[[], asyncio.Protocol]


class PlainDoor:
    """Gives whoever connects to an application, from `open` until `close`, which closes the listening socket."""

    def __init__(self, sock: socket.socket, application: Application, pause_s: float = FULL_S) -> None:
        self._sock, self._application, self._pause_s = sock, application, pause_s
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Take whoever comes."""
        self._loop.add_reader(self._sock, self._take)

    def close(self) -> None:
        """Take nobody any more. Who was taken stays."""
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._sock)
        self._sock.close()

    def _take(self) -> None:
        taken: list[Connection] = []
        while len(taken) < BULK_AT_ONCE and (came := self._accept()) is not None:
            sock, peer = came
            sock.setblocking(False)
            connection = Connection(self._loop, sock, peer, self._application())
            connection.begin()
            taken.append(connection)
        if taken:
            self._loop.call_soon(self._watch, taken, TURNS)

    def _accept(self) -> tuple[socket.socket, object] | None:
        try:
            return self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        except OSError as error:  # no descriptor is left, mostly
            log.error("http.accept-failed error=%s", error)
            self._loop.remove_reader(self._sock)
            self._again = self._loop.call_later(self._pause_s, self.open)
            return None

    def _watch(self, taken: Sequence[Connection], turns: int) -> None:
        if turns > 1:
            self._loop.call_soon(self._watch, taken, turns - 1)
            return
        for connection in taken:
            connection.watch()
