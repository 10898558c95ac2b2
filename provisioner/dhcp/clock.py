"""Time for leases: seconds since the epoch that no clock jump disturbs."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_S = 5.0
"""Below this it is adjustment, not a jump."""


class Clock:
    """The wall clock as it was at the start, driven by the monotonic one.

    When somebody sets the clock two days ahead, no lease in use may end for it.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._told = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._steady() + self._offset

    def jump(self) -> float:
        """Say by how many seconds the wall clock went off since this was last asked; 0.0 where it did not."""
        off = self._wall() - self.now() - self._told
        if abs(off) < JUMP_S:
            return 0.0
        self._told += off
        return off
