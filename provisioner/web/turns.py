"""Whose turn it is: so much at once, and so much of one address, so that nobody takes all of it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import ExitStack


class Turns:
    """At most `at_once` at the same time, and `each` of one address; others wait in the order of their asking."""

    def __init__(self, at_once: int, each: int) -> None:
        self._all, self._each = _Places(at_once), each
        self._own: dict[str, _Places] = {}
        self.asking: Counter[str] = Counter()
        """How many of an address have a turn or wait for one; nothing of those that do neither."""

    async def begin(self, address: str, count: int = 1) -> ExitStack:
        """Wait for a turn that takes so much, until what is given is closed. Who is cancelled has none.

        Nobody may ask for more than there is for one address.
        """
        with ExitStack() as turn:
            own = self._own.setdefault(address, _Places(self._each))
            self.asking[address] += 1
            turn.callback(self._leave, address)
            for places in (own, self._all):
                await places.take(count)
                turn.callback(places.give, count)
            return turn.pop_all()

    def _leave(self, address: str) -> None:
        self.asking[address] -= 1
        if not self.asking[address]:
            del self.asking[address], self._own[address]


class _Places:
    """A semaphore of which one may take several places at once: whoever asks for many is not passed by."""

    def __init__(self, free: int) -> None:
        self._free = free
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int) -> None:
        """Wait for so many."""
        if not self._waiting and count <= self._free:
            self._free -= count
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((count, future))
        try:
            await future
        except asyncio.CancelledError:
            self.give(0 if future.cancelled() else count)  # who is behind it may want less
            raise

    def give(self, count: int) -> None:
        """Give so many back."""
        self._free += count
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._free):
            wanted, future = self._waiting.popleft()
            if not future.cancelled():
                self._free -= wanted
                future.set_result(None)
