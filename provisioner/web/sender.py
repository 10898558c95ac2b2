"""Sends files on sockets from threads of its own, so that the event loop never waits for a disk or a full link.

sendfile(2) gives up the interpreter's lock: a thread that does nothing else holds it for some microseconds in a
millisecond. On the loop, a hundred clients that can all take more would keep DHCP waiting for a tenth of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import threading
import time
from collections import deque

TURN_BYTES = 512 * 1024
"""Sent to one client before the next one's turn."""
THREADS = 2
"""A file that has to come from the disk holds up its thread's clients, not the other's."""
LOOK_S = 1.0
"""How often stalled clients are looked for."""


class Sending:
    """One range of a file on its way. `socket` is a descriptor of our own, so nobody can close it under us."""

    __slots__ = ("done", "end", "file", "given_up", "loop", "moved_at", "offset", "socket", "stall_s")

    def __init__(self, socket: int, file: int, offset: int, count: int, stall_s: float) -> None:
        self.socket, self.file, self.offset, self.end = socket, file, offset, offset + count
        self.stall_s, self.moved_at = stall_s, time.monotonic()
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.given_up = False

    def finish(self, error: Exception | None) -> None:
        """Close what is ours and tell the loop. Called in the thread."""
        os.close(self.socket)
        os.close(self.file)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._resolve, error)

    def _resolve(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class Sender:
    """Threads that send. They start with the first file and end with `close`."""

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = [_Thread(number) for number in range(threads)]

    async def send(self, socket: int, file: int, offset: int, count: int, stall_s: float) -> None:
        """Send a range of `file` on the non-blocking `socket`; both may be closed by the caller while it lasts.

        Raises `TimeoutError` when the client takes nothing for `stall_s`, `ConnectionError` when it is gone,
        `OSError` when the file cannot be read. Cancelling ends it soon.
        """
        sending = Sending(os.dup(socket), os.dup(file), offset, count, stall_s)
        min(self._threads, key=lambda thread: thread.load).add(sending)
        try:
            await sending.done
        finally:
            sending.given_up = True

    def close(self) -> None:
        """End the threads; what is under way fails."""
        for thread in self._threads:
            thread.close()


class _Thread:
    """One thread and the sockets that it serves in turn."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)
        self._new: deque[Sending] = deque()
        self._sendings: dict[int, Sending] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    @property
    def load(self) -> int:
        return len(self._sendings) + len(self._new)

    def add(self, sending: Sending) -> None:
        self._new.append(sending)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"sender-{self._number}", daemon=True)
            self._thread.start()
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        self._closing = True
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
        self._poll.close()
        os.close(self._wake)

    def _run(self) -> None:
        looked = time.monotonic()
        while not self._closing:
            for descriptor, _ in self._poll.poll(LOOK_S):
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                    self._take()
                elif (sending := self._sendings.get(descriptor)) is not None:
                    self._turn(sending)
            now = time.monotonic()
            if now - looked >= LOOK_S:
                looked = now
                self._drop_stalled(now)
        self._take()
        for sending in list(self._sendings.values()):
            self._end(sending, ConnectionAbortedError("the server stops"))

    def _take(self) -> None:
        while self._new:
            sending = self._new.popleft()
            self._sendings[sending.socket] = sending
            self._poll.register(sending.socket, select.EPOLLOUT)

    def _turn(self, sending: Sending) -> None:
        """Send as much as one turn allows and the socket takes."""
        try:
            count = min(TURN_BYTES, sending.end - sending.offset)
            sent = os.sendfile(sending.socket, sending.file, sending.offset, count)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(sending, error)
            return
        if sent == 0:
            self._end(sending, OSError("the file was cut short while it was sent"))
            return
        sending.offset += sent
        sending.moved_at = time.monotonic()
        if sending.given_up:
            self._end(sending, ConnectionAbortedError("given up"))
        elif sending.offset == sending.end:
            self._end(sending, None)

    def _drop_stalled(self, now: float) -> None:
        for sending in list(self._sendings.values()):
            if sending.given_up:
                self._end(sending, ConnectionAbortedError("given up"))
            elif now - sending.moved_at > sending.stall_s:
                self._end(sending, TimeoutError())

    def _end(self, sending: Sending, error: Exception | None) -> None:
        del self._sendings[sending.socket]
        self._poll.unregister(sending.socket)
        sending.finish(error)
