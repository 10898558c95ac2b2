"""Loopback ports that are free until whoever asked for one listens there: the kernel gives them to nobody meanwhile.

A program that others wrote is told its port and binds it a while later; so does who listens again where it did before.
Each process of the tests has a block of ports to itself, below those that the kernel picks from (it may be told
otherwise, `net.ipv4.ip_local_port_range`).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle, islice

FIRST, BLOCK, BLOCKS = 20_480, 64, 192


@cache
def _ports() -> Iterator[int]:
    """All ports of a block that no other process has, for ever: its first one is held as long as this process lives."""
    for at in range(BLOCKS):
        first = FIRST + (os.getpid() + at) % BLOCKS * BLOCK
        claim = socket.socket()
        with contextlib.suppress(OSError):
            claim.bind(("127.0.0.1", first))
            claim.detach()  # the descriptor stays open
            return cycle(range(first + 1, first + BLOCK))
        claim.close()
    raise OSError(f"others hold all {BLOCKS} blocks of ports")


def free_port(*kinds: socket.SocketKind) -> int:
    """Return a loopback port that nothing uses now, and nobody else is given before all others of the block were.

    It is free for sockets of all these kinds; for TCP where none is named.
    """
    for port in islice(_ports(), BLOCK):
        with contextlib.suppress(OSError), contextlib.ExitStack() as probes:
            for kind in kinds or (socket.SOCK_STREAM,):
                probes.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
            return port
    raise OSError("all ports of this process are in use")
