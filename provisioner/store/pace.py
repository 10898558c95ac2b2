"""Says whether the loop may commit by itself what needs not wait for the disk. No I/O.

To hand something to the kernel takes no time, but on a disk that is behind with its work: then the thread that may wait
does it, and the loop goes on.
"""

from __future__ import annotations

SLOW_S = 0.005
"""A commit that took so long waited for something."""
REST_S = 10.0
"""So long others are not tried."""


class Pace:
    """Remembers the last that was slow."""

    def __init__(self) -> None:
        self._until = 0.0

    def allows(self, now: float) -> bool:
        """Say whether a commit will take no time, as far as can be told."""
        return now >= self._until

    def took(self, begun: float, ended: float) -> None:
        """Hear how long one took."""
        if ended - begun > SLOW_S:
            self._until = ended + REST_S
