"""Says whether the loop may commit by itself what needs not wait for the disk. No I/O.

To hand something to the kernel takes no time, but on a disk that is behind with its work: then the thread that may wait
does it, and the loop goes on.
"""

from __future__ import annotations

import math

SLOW_S = 0.005
"""Waiting so long in a commit, beside what it takes of the processor, is waiting for something."""
FIRST_S, LONGEST_S = 0.1, 10.0
"""So long no other is tried, twice as long each time: once it may have been another thread or program."""


class Pace:
    """Remembers the last one that waited."""

    def __init__(self) -> None:
        self._until = -math.inf
        self._rest_s = FIRST_S

    def allows(self, now: float) -> bool:
        """Say whether a commit will take no time, as far as can be told."""
        return now >= self._until

    def waited(self, seconds: float, now: float) -> None:
        """Hear how long one waited."""
        if seconds > SLOW_S:
            again = now - self._until < LONGEST_S
            self._rest_s = min(self._rest_s * 2, LONGEST_S) if again else FIRST_S
            self._until = now + self._rest_s
