"""Sends files on sockets from threads of its own, so that the event loop never waits for a disk or a full link.

sendfile(2) gives up the interpreter's lock: a thread that does nothing else holds it for some microseconds in a
millisecond. On the loop, a hundred clients that can all take more would keep DHCP waiting for a tenth of a second.

Who boots comes before who writes an image, in the order of asking, so that a rack that is switched on at once comes up
machine by machine; nobody who can take something goes without for longer than `TRICKLE_S`, since firmware gives up on a
connection on which nothing comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass
from itertools import count

log = logging.getLogger(__name__)

TURN_BYTES = 256 * 1024
"""Sent to one client before the next one's turn: more at once keeps its other end waiting for all of it."""
CROWD, CROWD_TURN_BYTES = 32, 1024 * 1024
"""With so many clients there is always one that takes: larger turns cost fewer calls."""
THREADS = 2
"""A file that has to come from the disk holds up its thread's clients, not the other's."""
LOOK_S = 1.0
"""How often stalled clients are looked for."""
LAST_WORD_S = 1.0
"""A thread that waits for the interpreter has its last word by then, or is about to send to a closed socket."""
TRICKLE_S = 1.0
TRICKLE_BYTES = 16 * 1024
"""What everybody gets at least: UEFI waits 5 s for the next piece (EDK2, HTTP_BOOT_RESPONSE_TIMEOUT)."""
BURST_S = 0.02
"""A limit is kept to over so long: a full queue of the link would delay DHCP and TFTP."""
TC_PRIO_BULK = 2  # linux/pkt_sched.h: queues of the link send everything else first


@dataclass(frozen=True, slots=True)
class Patience:
    """What a client has to take so that it keeps its place: somebody else waits for it."""

    stall_s: float = 120.0
    """Something, in so long."""
    grace_s: float = 120.0
    slowest_bytes_per_s: float = 8 * 1024
    """So much on the whole, but for a grace: as by TFTP, and half of what a limit of ours leaves to everybody."""

    def is_over(self, sent_bytes: int, took_s: float) -> bool:
        """Say whether so much is too little for so long."""
        return took_s > self.grace_s + sent_bytes / self.slowest_bytes_per_s


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a file; `bulk`: whoever takes it can wait."""

    offset: int
    count: int
    bulk: bool = False


class Sending:
    """One range of a file on its way. `socket` is a descriptor of our own, so nobody can close it under us."""

    __slots__ = (
        "began", "bulk", "done", "end", "file", "first", "given_up", "loop", "moved_at", "number", "offset",
        "patience", "socket",
    )  # fmt: skip

    def __init__(self, descriptor: int, file: int, part: Range, patience: Patience) -> None:
        self.socket, self.file = descriptor, file
        self.first = self.offset = part.offset
        self.end, self.bulk = part.offset + part.count, part.bulk
        self.patience = patience
        self.began = self.moved_at = time.monotonic()
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.given_up = False
        self.number = 0
        """In the order of asking."""

    @property
    def is_whole(self) -> bool:
        """Say whether the kernel has all of it."""
        return self.offset == self.end

    async def over(self) -> None:
        """Wait for its end.

        Raises `TimeoutError` when the client takes too little, `ConnectionError` when it is gone, `OSError` when the
        file cannot be read. Cancelling ends it soon; what the thread says then is waited for, since a client that has
        all of it may close before the thread could tell.
        """
        try:
            await asyncio.shield(self.done)
        except asyncio.CancelledError:
            self.given_up = True
            await asyncio.wait((self.done,), timeout=LAST_WORD_S)
            if self.done.done():
                self.done.exception()  # heard
            raise

    def is_lost(self, now: float) -> bool:
        """Say whether its client took too little. Where it is we who send too little, the socket takes more."""
        if now - self.moved_at > self.patience.stall_s:
            return True
        return self.patience.is_over(self.offset - self.first, now - self.began) and not _takes_more(self.socket)

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
    """Threads that send. They start with the first file and end with `close`.

    With a `rate` in bytes a second there is one of them, which keeps to it.
    """

    def __init__(self, threads: int = THREADS, rate: float = 0.0) -> None:
        self._bucket = Bucket(rate, time.monotonic()) if rate else None
        self._threads = [_Thread(number, self._bucket) for number in range(1 if rate else threads)]
        self._asking = asyncio.Lock()

    def begin(self, descriptor: int, file: int, part: Range, patience: Patience) -> Sending:
        """Send a range of `file` on a non-blocking socket; both may be closed by the caller while it lasts."""
        with contextlib.ExitStack() as undo:
            ours = os.dup(descriptor)
            undo.callback(os.close, ours)
            copy = os.dup(file)
            undo.callback(os.close, copy)
            sending = Sending(ours, copy, part, patience)
            min(self._threads, key=lambda thread: thread.load).add(sending)
            undo.pop_all()
        return sending

    async def permit(self, wanted: int) -> int:
        """Wait until the limit has something left for who sends on the loop; say how many bytes it may send at most.

        TLS does: what it sends counts as what the threads send. Who asked first is served first.
        """
        if self._bucket is None:
            return wanted
        async with self._asking:
            while (left := self._bucket.left(time.monotonic())) <= 0:  # noqa: ASYNC110  time fills the bucket
                await asyncio.sleep(self._bucket.pause_s())
            allowed = min(wanted, max(left, TRICKLE_BYTES))
            self._bucket.take(allowed)
            return allowed

    def close(self) -> None:
        """End the threads; what is under way fails."""
        for thread in self._threads:
            thread.close()


class _Thread:
    """One thread and the sockets that it serves in turn."""

    def __init__(self, number: int, bucket: Bucket | None) -> None:
        self._number, self._bucket = number, bucket
        self._poll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)
        self._new: deque[Sending] = deque()
        self._sendings: dict[int, Sending] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._numbers = count(1)

    @property
    def load(self) -> int:
        return len(self._sendings) + len(self._new)

    def add(self, sending: Sending) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=f"sender-{self._number}", daemon=True)
            thread.start()
            self._thread = thread
        self._new.append(sending)
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
        self._poll.close()
        os.close(self._wake)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._serve()
            except Exception:
                log.exception("http.fault thread=sender-%d", self._number)
                self._end_all(ConnectionAbortedError("a fault of the daemon; its log has the details"))
        self._take()
        self._end_all(ConnectionAbortedError("the server stops"))

    def _serve(self) -> None:
        looked = time.monotonic()
        while not self._closed.is_set():
            ready = []
            for descriptor, _ in self._poll.poll(LOOK_S):
                if descriptor == self._wake:
                    os.eventfd_read(self._wake)
                    self._take()
                elif (sending := self._sendings.get(descriptor)) is not None:
                    ready.append(sending)
            if self._bucket is None:
                most = TURN_BYTES if len(ready) < CROWD else CROWD_TURN_BYTES
                for sending in sorted(ready, key=_is_bulk):
                    self._turn(sending, most)
            elif ready:
                self._limited(ready, self._bucket)
            now = time.monotonic()
            if now - looked >= LOOK_S:
                looked = now
                self._drop_stalled(now)

    def _limited(self, ready: list[Sending], bucket: Bucket) -> None:
        """Send what the limit allows, to whom it is due."""
        now = time.monotonic()
        left = bucket.left(now)
        for sending, most in turns(ready, now):
            if left <= 0:
                break
            sent = self._turn(sending, min(most, max(left, TRICKLE_BYTES)))
            left -= sent
            bucket.take(sent)
        if left <= 0:
            self._closed.wait(bucket.pause_s())

    def _take(self) -> None:
        while self._new:
            sending = self._new.popleft()
            sending.number = next(self._numbers)
            with contextlib.suppress(OSError):
                _socket_priority(sending)
            try:
                self._poll.register(sending.socket, select.EPOLLOUT)
            except OSError as error:
                sending.finish(error)
            else:
                self._sendings[sending.socket] = sending

    def _turn(self, sending: Sending, most: int) -> int:
        """Send at most so much, as far as the socket takes it; say how much it took."""
        try:
            sent = os.sendfile(sending.socket, sending.file, sending.offset, min(most, sending.end - sending.offset))
        except BlockingIOError:
            return 0
        except OSError as error:
            self._end(sending, error)
            return 0
        if sent == 0:
            self._end(sending, OSError("the file was cut short while it was sent"))
            return 0
        sending.offset += sent
        sending.moved_at = time.monotonic()
        if sending.given_up:
            self._end(sending, ConnectionAbortedError("given up"))
        elif sending.offset == sending.end:
            self._end(sending, None)
        return sent

    def _drop_stalled(self, now: float) -> None:
        for sending in list(self._sendings.values()):
            if sending.given_up:
                self._end(sending, ConnectionAbortedError("given up"))
            elif sending.is_lost(now):
                self._end(sending, TimeoutError())

    def _end_all(self, error: Exception) -> None:
        for sending in list(self._sendings.values()):
            self._end(sending, error)

    def _end(self, sending: Sending, error: Exception | None) -> None:
        del self._sendings[sending.socket]
        self._poll.unregister(sending.socket)
        sending.finish(error)


class Bucket:
    """How much of a rate is left: tokens gather for `BURST_S` and no longer. A thread and the loop share it."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate, self._most = rate, max(rate * BURST_S, TRICKLE_BYTES)
        self._tokens, self._at = self._most, now
        self._lock = threading.Lock()

    def left(self, now: float) -> int:
        """Bytes that may be sent now."""
        with self._lock:
            self._tokens = min(self._most, self._tokens + max(0.0, now - self._at) * self._rate)
            self._at = max(self._at, now)
            return int(self._tokens)

    def take(self, count: int) -> None:
        """So many were sent."""
        with self._lock:
            self._tokens -= count

    def pause_s(self) -> float:
        """How long until half of a burst may be sent."""
        return max(0.0, (self._most / 2 - self._tokens) / self._rate)


def turns(ready: list[Sending], now: float) -> list[tuple[Sending, int]]:
    """Say who is sent something, in which order, and how much at most. Each is named once: its turn may end it.

    Whoever got nothing for `TRICKLE_S` a little; then who boots, first come, first served; then images, in turn.
    """
    starving = [sending for sending in ready if now - sending.moved_at >= TRICKLE_S]
    booting = [sending for sending in ready if not sending.bulk and now - sending.moved_at < TRICKLE_S]
    images = [sending for sending in ready if sending.bulk and now - sending.moved_at < TRICKLE_S]
    order = [(sending, TRICKLE_BYTES) for sending in sorted(starving, key=_moved_at)]
    order += [(sending, TURN_BYTES) for sending in sorted(booting, key=lambda sending: sending.number)]
    return order + [(sending, TURN_BYTES) for sending in sorted(images, key=_moved_at)]


def _takes_more(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _moved_at(sending: Sending) -> float:
    return sending.moved_at


def _is_bulk(sending: Sending) -> bool:
    return sending.bulk


def _socket_priority(sending: Sending) -> None:
    """Let the link's queue send DHCP, TFTP and boot files before images (SO_PRIORITY, socket(7))."""
    sock = socket.socket(fileno=os.dup(sending.socket))
    with sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, TC_PRIO_BULK if sending.bulk else 0)
