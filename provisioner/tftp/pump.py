"""Waits for the sockets of all transfers at once, and stays with them while they are busy.

A client that has one block outstanding answers within some ten microseconds; a turn of the event loop costs as much
again. So the pump has a poll of its own inside the loop's, and after a datagram was sent it waits for the next:
asleep, but for a single client that answered within `SPIN_S` the last time, since to fall asleep and be woken takes
longer than such an answer. Whatever else the loop has to do ends that: DHCP never waits for TFTP.
"""

from __future__ import annotations

import asyncio
import select
from typing import Any, Protocol

STAY_S = 0.001
"""Longest time in a row away from the loop: a bound for timers, which are all that the pump cannot see coming."""
WAIT_S = 0.0002
"""How long to wait for the next datagram: a few round trips of a rack."""
SPIN_S = 0.0001
"""How long to look again and again for the answer of a client that is so quick. Machines on a wire rarely are."""
BATCH = 64
"""Sockets that are read before the first of them answers."""
MAX_SELECT_FD = 1024  # FD_SETSIZE, select(2)


class Reader(Protocol):
    """Somebody who reads a socket and answers on it."""

    def receive(self) -> None:
        """Read what there is, send nothing yet."""

    def answer(self) -> None:
        """Send what there is to send."""


class Pump:
    """Lets every socket that can be read be read, then lets all answer.

    In this order the answers leave in one burst: a client that is woken for the first finds the others already there.
    On a virtual machine waking somebody costs more than sending a datagram.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._poll = select.epoll()
        self._readers: dict[int, Reader] = {}
        self._others = _descriptor_of(self._loop)
        self._quick = False
        self._loop.add_reader(self._poll.fileno(), self._ready)

    def add(self, descriptor: int, reader: Reader) -> None:
        """Call `reader` whenever there is something to read."""
        self._readers[descriptor] = reader
        self._poll.register(descriptor, select.EPOLLIN)

    def remove(self, descriptor: int) -> None:
        """Stop that. Called before the socket is closed."""
        if self._readers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def close(self) -> None:
        """Stop all of it."""
        self._loop.remove_reader(self._poll.fileno())
        self._poll.close()
        self._readers.clear()

    def _ready(self) -> None:
        time, poll, readers = self._loop.time, self._poll.poll, self._readers
        until = time() + STAY_S
        events = poll(0, BATCH)
        while events:
            batch = [readers[descriptor] for descriptor, _ in events]
            for reader in batch:
                reader.receive()
            for reader in batch:
                reader.answer()
            answered = time()
            if self._others is None or answered >= until:
                return
            events = self._spin(answered + SPIN_S) if self._quick and len(batch) == 1 else []
            if not events:
                if not select.select((self._others,), (), (), WAIT_S)[0]:
                    self._quick = False
                    return
                self._quick = time() - answered < SPIN_S
                events = poll(0, BATCH)

    def _spin(self, until: float) -> list[tuple[int, int]]:
        """Look for something to read until then, without falling asleep."""
        poll, time = self._poll.poll, self._loop.time
        while not (events := poll(0, BATCH)) and time() < until:
            pass
        return events


def _descriptor_of(loop: asyncio.AbstractEventLoop) -> int | None:
    """The descriptor that becomes readable when the loop has anything to do, our poll included; None: not to be had."""
    selector: Any = getattr(loop, "_selector", None)  # of asyncio's own loops; there is no public name for it
    if not hasattr(selector, "fileno"):
        return None
    descriptor: int = selector.fileno()
    return descriptor if descriptor < MAX_SELECT_FD else None
