"""Whose turn it is to be sent a file: so many at once, and so many of one address, so that nobody takes them all."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack


class Turns:
    """At most `at_once` at the same time, and `each` of one address; others wait in the order of their asking."""

    def __init__(self, at_once: int, each: int) -> None:
        self._all, self._each = asyncio.Semaphore(at_once), each
        self._own: dict[str, asyncio.Semaphore] = {}
        self.asking: Counter[str] = Counter()
        """How many of an address have a turn or wait for one; nothing of those that do neither."""

    async def begin(self, address: str) -> ExitStack:
        """Wait for a turn, which lasts until what is given is closed. Who is cancelled has none."""
        with ExitStack() as turn:
            own = self._own.setdefault(address, asyncio.Semaphore(self._each))
            self.asking[address] += 1
            turn.callback(self._leave, address)
            for semaphore in (own, self._all):
                await semaphore.acquire()
                turn.callback(semaphore.release)
            return turn.pop_all()

    def _leave(self, address: str) -> None:
        self.asking[address] -= 1
        if not self.asking[address]:
            del self.asking[address], self._own[address]
