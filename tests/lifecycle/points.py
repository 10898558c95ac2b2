"""Every point at which a daemon touches the world, and a store that can be cut off at each of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from provisioner.errors import StoreError
from provisioner.store.db import Database, T, Work
from tests.stores import laid


class Killed(BaseException):
    """The daemon was killed here: nothing of it happens any more."""


class Point(NamedTuple):
    """A point at which a daemon touches the world: what it does there, and how often it came by that before."""

    name: str
    nth: int


class Points:
    """Every point at which one daemon touches the world: each BMC call and each durable write, before and after.

    `die_at` is the point at which it is killed; `passed` are those that it came by.
    """

    def __init__(self, die_at: Point | None = None) -> None:
        self.die_at = die_at
        self.passed: list[Point] = []
        self.dead = asyncio.Event()
        self._came_by: Counter[str] = Counter()

    def point(self, name: str) -> None:
        point = Point(name, self._came_by[name])
        if point == self.die_at:
            self.dead.set()
        if self.dead.is_set():
            raise Killed(name)
        self._came_by[name] += 1
        self.passed.append(point)


LIVES = 3
"""So many whole lives tell what every life comes by."""


def certain(lives: Iterable[Points]) -> list[Point]:
    """Those that a daemon comes by however slow the machine is, in the life that has the fewest.

    What no change of a machine has taken along into the trace is written twice a second: in some lives there is none.
    Two things that a machine says are one write, or two.
    """
    return min(([point for point in life.passed if not point.name.endswith(" Trace.flush")] for life in lives), key=len)


Play = Callable[[Path, Point | None, str], Coroutine[Any, Any, Points]]
"""Lives a life in a folder, with a daemon that dies at a point; says where if the end of it is wrong."""


async def killed_at_each_write(factory: pytest.TempPathFactory, store: str, play: Play) -> int:
    """Live once, then once for each write to a store, with a daemon that dies there; return how many points these are.

    Only for lives that write to it as often however slow the machine is.
    """
    whole = await play(factory.mktemp("whole"), None, "not killed at all")
    points = [point for point in whole.passed if f" {store}." in point.name]
    for point in points:
        where = f"killed {point.name} for the {point.nth + 1}. time"
        async with asyncio.timeout(30):
            died = await play(factory.mktemp("at"), point, where)
        assert died.dead.is_set(), where
    return len(points)


class KillableDatabase(Database):
    """The real store, of a daemon that can be killed before or after each write."""

    points: Points
    full = False
    """Whatever is written from now on meets what SQLite says of a full disk."""
    pending = 0
    """Writes that are not durable yet."""

    async def open(self, *, written_out: bool = False) -> None:
        await asyncio.to_thread(laid, self.path)
        await super().open(written_out=written_out)

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        name = getattr(work, "__qualname__", "work").split(".<locals>")[0]
        self.points.point(f"before {name}")
        if self.full:
            work = _full
        self.pending += 1
        return asyncio.ensure_future(self._written(super().submit(work), name))  # noqa: TID251  awaited by who submits

    async def _written(self, write: asyncio.Future[T], name: str) -> T:
        try:
            done = await write
        except StoreError:
            self.refused()
            raise
        finally:
            self.pending -= 1
        self.points.point(f"after {name}")
        return done

    def refused(self) -> None:
        """Be told that something could not be written."""


def _full(_cursor: sqlite3.Cursor) -> Any:
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error
