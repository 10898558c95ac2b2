"""Requests under one idempotency key take turns: the second sees what became of the first, however close they come."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

P = ParamSpec("P")
R = TypeVar("R")


class Turns:
    """Who waits for whom, by key. A key that nobody asks under any more is forgotten."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Wait for earlier requests under this key; without a key for nobody."""
        if not key:
            yield
            return
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield


class HasTurns(Protocol):
    """What takes requests with keys."""

    turns: Turns


S = TypeVar("S", bound=HasTurns)


def in_turn(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a method with a keyword `key` wait for its earlier calls under the same key."""

    @functools.wraps(method)
    async def asked(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        async with self.turns.of(str(kwargs.get("key", ""))):
            return await method(self, *args, **kwargs)

    return asked
