"""Time for whatever has deadlines: wall-clock seconds that do not jump while the daemon runs."""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_S = 5.0
"""Below this it is adjustment, not a jump."""


class SteadyClock:
    """Seconds since the epoch, read once and carried on by the monotonic clock.

    An operator or NTP that sets the clock by a day must not end every lease and deadline at once, nor keep one from
    ever ending.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()
        self._told = 0.0

    def now(self) -> float:
        """Return the time; never goes back, never jumps."""
        return self._steady() + self._offset

    def jump(self) -> float:
        """Say by how many seconds the wall clock was set since this was last asked; 0.0 where it was not."""
        off = self._wall() - self.now() - self._told
        if abs(off) < JUMP_S:
            return 0.0
        self._told += off
        return off
