"""Python's garbage collector, kept out of the way of whoever waits for an answer."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

EVERY = 10_000
"""Objects made before the youngest are looked through: 1 ms of silence, every 1,600 exchanges of DHCP or more."""
AGAIN = 3
"""So many times more before those are looked through that were left: some 5 ms (with 20 times 30 ms and more)."""
ALL = 600
"""And so many times that before all are looked through that were made since the start."""


@contextmanager
def importing() -> Iterator[None]:
    """Keep it off what is imported, which all stays: a tenth of the time that this takes."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def settle() -> None:
    """Keep the garbage collector off what was built at the start and stays: 300 ms of silence on a large site."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(EVERY, AGAIN, ALL)
