"""Hostile datagrams for the DHCPv6 server: `python -m tests.dhcp.v6.fuzz [COUNT]` (a million by default).

Real messages with bytes flipped, cut, joined, options spoilt and relays wrapped around, fed to decoder, rules and trace
as the server does it. What may come out is an answer, a silence or `WireError`; memory must not grow, and a good client
is served in between.
"""

from __future__ import annotations

import logging
import random
import struct
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable

from provisioner.dhcp.case import Silence
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.answer import answer
from provisioner.dhcp.v6.case import Arrival6, Reply6
from provisioner.dhcp.v6.message import Message, Type, decode, encode
from provisioner.dhcp.v6.options import Opt
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.dhcp.v6.trace import Trace6
from provisioner.errors import WireError
from tests.dhcp.clients import NOW
from tests.dhcp.v6.clients import (
    FIRMWARE,
    HTTP,
    LOADER,
    MAC,
    OS,
    OVMF_DUID,
    RELAYED,
    SERVER_DUID,
    US,
    Says,
    acquire,
    by_relay,
    direct,
    duid_ll,
    ia,
    ip,
    site,
    subnet,
    us,
)

GOOD = "52:54:00:99:99:99"
GOOD_EVERY = 1000
MEMORY_LIMIT = 64 << 20
"""Bytes that the server may hold after any number of messages: pools, caches and buckets at their bounds."""
ARRIVALS = (direct(), direct(target=ip(US)), RELAYED, Arrival6("eth0", 1), Arrival6("eth9", 2))
CODES = (1, 2, 3, 4, 5, 6, 8, 9, 13, 14, 15, 16, 18, 23, 25, 37, 39, 59, 60, 61, 62, 79, 135, 0, 65535)


def seeds() -> list[bytes]:
    """Well-formed messages of every kind."""
    http = Says(OVMF_DUID, HTTP)
    found = [client.message(Type.SOLICIT, ia(1), ia(2, "fd00::105")) for client in (FIRMWARE, LOADER, OS, http)]
    found += [client.message(Type.SOLICIT, ia(), (Opt.RAPID_COMMIT, b"")) for client in (FIRMWARE, OS)]
    found += [us(OS, kind, ia(1, "fd00::100", "fd00::9")) for kind in Type if kind < Type.RELAY_FORWARD]
    found += [OS.message(kind, ia(1, "fd00::100")) for kind in (Type.CONFIRM, Type.REBIND, Type.INFORMATION_REQUEST)]
    found.append(OS.message(Type.SOLICIT, ia(code=Opt.IA_TA), ia(code=Opt.IA_PD), (200, b"x" * 600)))
    found += [_wrapped(message) for message in found[:8]]
    return [encode(each) for each in found]


def _wrapped(message: Message) -> Message:
    port = ((Opt.INTERFACE_ID, b"se1"), (Opt.REMOTE_ID, b"\0\0\0\1x"), (Opt.LINK_LAYER_ADDRESS, b"\0\1" + bytes(6)))
    return by_relay(by_relay(message, "fd00::fe", 0, *port), "fd00::fd", 1, (Opt.RELAY_PORT, b"\0\0"))


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) + 1 :]


def grow(data: bytearray, chance: random.Random) -> None:
    data += chance.randbytes(chance.randrange(1500))


def spoil_option(data: bytearray, chance: random.Random) -> None:
    """An option of a known code with any length and value, where the options begin."""
    value = chance.randbytes(chance.randrange(30))
    at = 34 if data[0] in (Type.RELAY_FORWARD, Type.RELAY_REPLY) else 4
    data[at:at] = struct.pack("!HH", chance.choice(CODES), chance.choice((len(value), chance.randrange(256)))) + value


def wrap(data: bytearray, chance: random.Random) -> None:
    """One more relay around whatever it is."""
    head = bytes((chance.choice((12, 12, 13)), chance.randrange(40))) + chance.randbytes(32)
    data[:] = head + struct.pack("!HH", Opt.RELAY_MESSAGE, len(data)) + data


def another_machine(data: bytearray, chance: random.Random) -> None:
    data[:] = data.replace(OS.duid, duid_ll()[:4] + b"\2" + chance.randbytes(5))


MUTATIONS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip,
    cut,
    grow,
    spoil_option,
    wrap,
    another_machine,
)


class Fuzz:
    """A server's rules under fire."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seeds = seeds()
        self.seen: Counter[str] = Counter()
        known = (Reservation(mac=MAC, name="node1"), Reservation(mac=GOOD))
        fixed = (Reservation6(address="fd00::50", mac=MAC),)
        self.site = site(subnet(pools=("fd00::100-fd00::1ff",), rapid_commit=True), known=known, fixed=fixed)
        self.trace = Trace6(lambda _: None)
        self.now = NOW

    def datagram(self) -> bytes:
        """Make one."""
        data = bytearray(self.chance.choice(self.seeds))
        another_machine(data, self.chance)
        for _ in range(self.chance.randint(0, 3)):
            self.chance.choice(MUTATIONS)(data, self.chance)
            data = data or bytearray(1)
        return bytes(data)

    def feed(self, data: bytes) -> Reply6 | Silence | None:
        """Do with a datagram what the server does; anything but `WireError` escapes."""
        self.now += 0.001
        arrival = self.chance.choice(ARRIVALS)
        if arrival.mac:
            arrival = arrival._replace(mac=b"\2" + self.chance.randbytes(5))
        try:
            sent = decode(data)
            found = answer(sent, arrival, self.site, self.now)
        except WireError as error:
            self.trace.malformed(arrival, str(error), self.now)
            self.seen["malformed"] += 1
            return None
        self.trace.answered(sent, arrival, found, self.now)
        self.seen[found.event] += 1
        if isinstance(found, Reply6):
            assert len(found.data) <= 65535
            decode(found.data)
        return found

    def run(self, count: int) -> None:
        """Feed so many; a good client goes through its exchange now and then."""
        for number in range(count):
            self.feed(self.datagram())
            if number % GOOD_EVERY == 0:
                assert acquire(self.site, Says(duid_ll(GOOD)), GOOD, now=self.now).startswith("fd00::1")


def main(count: int) -> None:
    """Run, and say what was seen and how much memory is held."""
    logging.disable()
    tracemalloc.start()
    it = Fuzz(seed=count)
    assert it.site.duid == SERVER_DUID
    before = tracemalloc.get_traced_memory()[0]
    it.run(count)
    held = tracemalloc.get_traced_memory()[0] - before
    print(f"{count} datagrams, {held / 1e6:.1f} MB held: {dict(it.seen.most_common())}")
    assert held < MEMORY_LIMIT, "memory grows with what strangers send"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
