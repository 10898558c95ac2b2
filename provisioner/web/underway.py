"""Work that is brought to its end whoever waits for it: a client that hangs up takes nothing back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class UnderWay:
    """The work that is under way. Use as `async with`: its end breaks it off."""

    def __init__(self) -> None:
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> UnderWay:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def finish(self, work: Awaitable[T]) -> T:
        """Do the work to its end, also where the caller is cancelled meanwhile; return or raise what it does."""
        ended: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        task = self._tasks.create_task(_carry(work, ended))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(ended)


async def _carry(work: Awaitable[T], ended: asyncio.Future[T]) -> None:
    try:
        result = await work
    except asyncio.CancelledError:
        ended.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - it is the caller's, as if the work were its own
        ended.set_exception(error)
        ended.exception()  # heard: where the caller is gone it is nobody's
    else:
        ended.set_result(result)
