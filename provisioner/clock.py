"""Time for whatever has deadlines: wall-clock seconds that do not jump while the daemon runs."""

from __future__ import annotations

import time


class SteadyClock:
    """Seconds since the epoch, read once and carried on by the monotonic clock.

    An operator or NTP that sets the clock by a day must not end every deadline at once, nor keep one from ever ending.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return the time; never goes back, never jumps."""
        return self._offset + time.monotonic()

    def drift_s(self) -> float:
        """Return how far the wall clock is ahead of ours: it was set since the daemon started."""
        return time.time() - self.now()
