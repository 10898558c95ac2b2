"""Python's garbage collector, kept out of the way of whoever waits for an answer."""

from __future__ import annotations

import gc

EVERY = 10_000
"""Objects made before the youngest are looked through: 1 ms of silence, every 1,600 exchanges of DHCP or more."""
AGAIN = 3
"""So many times more before those are looked through that were left: some 5 ms (with 20 times 30 ms and more)."""
ALL = 600
"""And so many times that before all are looked through that were made since the start."""


def settle() -> None:
    """Keep the garbage collector off what was built at the start and stays: 300 ms of silence on a large site."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(EVERY, AGAIN, ALL)
