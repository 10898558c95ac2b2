"""Hostile datagrams for the DHCP server: `python -m tests.dhcp.fuzz [COUNT]` (a million by default, a minute).

Real packets with bytes flipped, cut, joined and options spoilt, fed to decoder, rules and trace as the server does it.
What may come out is an answer, a silence or `WireError`; memory must not grow, and a good client is served in between.
"""

from __future__ import annotations

import logging
import random
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable
from ipaddress import IPv4Address

from provisioner.dhcp.answer import answer
from provisioner.dhcp.case import Arrival, Reply, Silence
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import HEADER_SIZE, decode, encode
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import PortRule, Reservation
from provisioner.dhcp.trace import Trace
from provisioner.errors import WireError
from tests.dhcp.clients import (
    BIOS,
    DIRECT,
    HTTP,
    IPXE,
    MAC,
    NOW,
    PROXY_PORT,
    UEFI,
    UNICAST,
    US,
    acquire,
    discover,
    ip,
    packet,
    request,
    site,
    subnet,
)

GOOD = "52:54:00:99:99:99"
GOOD_EVERY = 1000
MEMORY_LIMIT = 64 << 20
"""Bytes that the server may hold after any number of packets: pools, caches and buckets at their bounds."""

ARRIVALS = (DIRECT, UNICAST, PROXY_PORT, Arrival("eth0", ip(US), ("10.0.0.254", 67), unicast=True), Arrival("eth9", 0))


def seeds() -> list[bytes]:
    """Well-formed packets of every kind."""
    relayed = {Opt.RELAY_AGENT: b"\1\3se1\2\4abcd\5\4\x0a\0\0\0", Opt.SUBNET_SELECTION: bytes((10, 0, 0, 0))}
    found = [discover(options=options | relayed, giaddr="10.0.0.254") for options in (UEFI, BIOS, HTTP, IPXE)]
    found += [discover(options=options) for options in (UEFI, BIOS, HTTP, IPXE, {})]
    found += [request("10.0.0.100", server=US), request("10.0.0.100"), request(ciaddr="10.0.0.100")]
    found += [packet(kind, options={50: bytes((10, 0, 0, 100))}, ciaddr="10.0.0.100") for kind in range(12)]
    found.append(discover(options={224: b"x" * 600, Opt.CLIENT_ID: b"y" * 255, Opt.HOST_NAME: b"%%%"}))
    return [encode(each) for each in found]


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)


def flip_options(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(min(HEADER_SIZE, len(data) - 1), len(data))] = chance.randrange(256)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) + 1 :]


def grow(data: bytearray, chance: random.Random) -> None:
    data += chance.randbytes(chance.randrange(1500))


def spoil_option(data: bytearray, chance: random.Random) -> None:
    """An option of a known code with any length and value, where the options begin."""
    value = chance.randbytes(chance.randrange(12))
    data[240:240] = bytes((chance.choice(CODES), chance.choice((len(value), chance.randrange(256))))) + value


def another_machine(data: bytearray, chance: random.Random) -> None:
    data[28:34] = b"\2" + chance.randbytes(5)


CODES = (12, 43, 50, 52, 53, 54, 55, 57, 60, 61, 77, 80, 81, 82, 93, 94, 97, 118, 175, 0, 255)
MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    flip_options,
    cut,
    grow,
    spoil_option,
    another_machine,
)


class Fuzz:
    """A server's rules under fire."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seeds = seeds()
        self.seen: Counter[str] = Counter()
        known = (Reservation(mac=MAC, address="10.0.0.50", name="node1"), Reservation(mac=GOOD))
        ports = (PortRule(circuit_id="se1", name="placed"),)
        self.site: Site = site(subnet(pools=("10.0.0.100-10.0.0.250",), rapid_commit=True), known=known, ports=ports)
        self.trace = Trace(lambda _: None)
        self.now = NOW

    def datagram(self) -> bytes:
        """Make one."""
        data = bytearray(self.chance.choice(self.seeds))
        another_machine(data, self.chance)
        for _ in range(self.chance.randint(1, 3)):
            self.chance.choice(MUTATIONS)(data, self.chance)
            data = data or bytearray(1)
        return bytes(data)

    def feed(self, data: bytes) -> Reply | Silence | None:
        """Do with a datagram what the server does; anything but `WireError` escapes."""
        self.now += 0.001
        arrival = self.chance.choice(ARRIVALS)
        try:
            sent, kind = self.site.read(data)
            assert sent == decode(data)
            found = answer(sent, arrival, self.site, self.now, kind)
        except WireError as error:
            self.trace.malformed(data, arrival, str(error), self.now)
            self.seen["malformed"] += 1
            return None
        self.trace.answered(sent, arrival, found, self.now)
        self.seen[found.event] += 1
        if isinstance(found, Reply):
            assert len(found.data) <= 1472
            decode(found.data)
        return found

    def run(self, count: int) -> None:
        """Feed so many; a good client goes through its exchange now and then."""
        for number in range(count):
            self.feed(self.datagram())
            if number % GOOD_EVERY == 0:
                address = acquire(self.site, GOOD, now=self.now)
                assert self.site.topology.at(int(IPv4Address(address)))


def main(count: int) -> None:
    """Run, and say what was seen and how much memory is held."""
    logging.disable()
    tracemalloc.start()
    it = Fuzz(seed=count)
    before = tracemalloc.get_traced_memory()[0]
    it.run(count)
    held = tracemalloc.get_traced_memory()[0] - before
    print(f"{count} datagrams, {held / 1e6:.1f} MB held: {dict(it.seen.most_common())}")
    assert held < MEMORY_LIMIT, "memory grows with what strangers send"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
