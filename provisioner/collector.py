"""Python's garbage collector, kept out of the way of whoever waits for an answer."""

from __future__ import annotations

import gc

EVERY = 10_000
"""Objects made before the youngest are looked through: 1 ms of silence, every 1,600 exchanges of DHCP or more."""


def settle() -> None:
    """Keep the garbage collector off what was built at the start and stays: 300 ms of silence on a large site."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(EVERY, 20, 100)
