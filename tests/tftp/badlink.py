"""A link between two network namespaces that loses, repeats and reorders packets. Kernels need no netem for it.

    python badlink.py SEED LOSS REPEAT REORDER SPARED NAMESPACE:ADDRESS/PREFIX NAMESPACE:ADDRESS/PREFIX

With SPARED 1 the answers to a TFTP request and their acknowledgement pass unharmed. Each end is a TUN device `bad0`.
Says "ready" when both are up; ends with SIGTERM, and says how many packets it lost.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
CLONE_NEWNET = 0x40000000
LATE_S = (0.002, 0.02)
"""A packet that is reordered arrives so much later than the ones behind it."""


def open_end(end: str) -> int:
    """Make the device in its namespace, and say its descriptor, which works from anywhere."""
    namespace, _, address = end.partition(":")
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open() as place:
        if libc.setns(place.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", b"bad0", IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "addr", "add", address, "dev", "bad0"], check=True)
    subprocess.run(["ip", "link", "set", "bad0", "up", "mtu", "1500"], check=True)
    return descriptor


def is_handshake(packet: bytes) -> bool:
    """Say whether this is an OACK, or the acknowledgement of one, in IPv4 and UDP."""
    return packet[28:30] == b"\0\6" or packet[28:32] == b"\0\4\0\0"


def main(seed: str, loss: str, repeat: str, reorder: str, spared: str, *ends: str) -> None:
    chance = random.Random(int(seed))
    left, right = (open_end(end) for end in ends)
    other = {left: right, right: left}
    late: list[tuple[float, int, int, bytes]] = []
    counts = {"carried": 0, "lost": 0, "repeated": 0, "reordered": 0}
    running = True

    def stop(*_: object) -> None:
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    while running:
        pause = max(0.0, late[0][0] - time.monotonic()) if late else 1.0
        for end in select.select([left, right], [], [], pause)[0]:
            packet = os.read(end, 65536)
            counts["carried"] += 1
            if spared == "1" and is_handshake(packet):
                os.write(other[end], packet)
                continue
            if chance.random() < float(loss):
                counts["lost"] += 1
                continue
            times = 1 + (chance.random() < float(repeat))
            counts["repeated"] += times - 1
            for _ in range(times):
                held = chance.random() < float(reorder)
                counts["reordered"] += held
                due = time.monotonic() + (chance.uniform(*LATE_S) if held else 0.0)
                heapq.heappush(late, (due, counts["carried"], other[end], packet))
        while late and late[0][0] <= time.monotonic():
            _, _, end, packet = heapq.heappop(late)
            os.write(end, packet)
    print(*(f"{name}={count}" for name, count in counts.items()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
