"""What is durable becomes live, whoever goes away meanwhile.

A client that hangs up, a limit that is over and a step that is called off cancel whoever waits for the store. What was
submitted is committed all the same: were what follows it left out, the disk would say one thing and the daemon another,
until a restart carries out what nobody sees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class uncut:  # read as `with uncut() as whole: ... await whole(commit) ...; what follows it`
    """A context whose `await whole(...)` goes on to its end; a cancellation that came meanwhile is raised at its own.

    Between the two nothing else may be awaited: only what is given to `whole` is safe. Where what is awaited fails, the
    cancellation is what is raised, with that failure as its context.
    """

    def __init__(self) -> None:
        self._cancelled: asyncio.CancelledError | None = None

    def __enter__(self) -> uncut:
        return self

    async def __call__(self, work: Awaitable[T]) -> T:
        """Wait for `work` to its end, and give what it gives."""
        task = asyncio.ensure_future(work)  # noqa: TID251  we are who waits for it
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                self._cancelled = error
        return task.result()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._cancelled is not None:
            raise self._cancelled
