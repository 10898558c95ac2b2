"""Processes that the daemon keeps beside it, and that end when it hangs up: what ends all of them is its to handle."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

FOR_THE_DAEMON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A service that is stopped has them sent to daemon and children alike; it may still want an answer."""


@contextmanager
def hearing_no_signals() -> Iterator[None]:
    """Have what this thread starts hear none of them, from its first instruction on: it inherits what is blocked.

    So may a thread or program that another task starts meanwhile, which is no harm: what the daemon ends, it kills.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_DAEMON)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_THE_DAEMON)  # whatever was: others may be starting one
