"""Keeps what goes wrong in one service from ending the others: DHCP answers on, whatever a DNS server or a disk does.

What cannot be begun ends the start. What ends later by an exception, which is a fault of ours, is begun again: each
service takes up what the store has, as it does after a crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)
"""Before a service is begun again, after each end in a row; the last one repeats."""
HEALTHY_S = 600.0
"""What ran so long is begun again as if it had never ended."""

Service = Callable[[], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class Standing:
    """How a service stands: how often it has ended, by what the last time, and whether it runs again."""

    name: str
    ends: int = 0
    error: str = ""
    runs: bool = True


class Services:
    """The services of one daemon."""

    def __init__(self, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._pauses_s = tuple(pauses_s)
        self._all: dict[str, Standing] = {}

    def standings(self) -> list[Standing]:
        """Say of every service how it stands."""
        return list(self._all.values())

    async def keep(self, name: str, service: Service) -> None:
        """Run a service until it returns or this is cancelled; begin it again where it raises."""
        standing = self._all.setdefault(name, Standing(name))
        loop, tries = asyncio.get_running_loop(), 0
        while True:
            began, standing.runs = loop.time(), True
            try:
                return await service()
            except Exception as error:
                tries = 1 if loop.time() - began >= HEALTHY_S else tries + 1
                pause_s = self._pauses_s[min(tries, len(self._pauses_s)) - 1]
                standing.ends, standing.error, standing.runs = standing.ends + 1, cause(error), False
                log.exception("daemon.service-ended service=%s again_s=%g", name, pause_s)
            if _is_stopped():
                return None
            await asyncio.sleep(pause_s)


class Apart:
    """Tasks that end for themselves: what one of them raises is logged and ends no other. Use as `async with`."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Apart:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._group.__aexit__(None, None, None)

    def create_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Begin a task; `name` is what the log calls it."""
        return self._group.create_task(_alone(work, name), name=name)


async def _alone(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception:
        log.exception("daemon.task-failed task=%r", name)


def _is_stopped() -> bool:
    """Say whether somebody ends this task: a group that fails meanwhile raises that, and the cancellation is lost."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def cause(error: BaseException) -> str:
    """Put an exception into a line; of a group, the first that is in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    said = str(error).split("\n", 1)[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
