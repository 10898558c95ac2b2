"""An IPv6 address that was given outlives the server's sudden death: kill -9 under load, again and again."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.v6.message import Message, Type, decode, encode
from provisioner.dhcp.v6.options import Opt, addresses_in, decode_ia
from provisioner.store.db import Database
from provisioner.store.leases6 import LeaseStore6
from tests.dhcp.netns import inside
from tests.dhcp.v6.clients import Says, by_relay, duid_ll, ia, link_local
from tests.dhcp.v6.wires import add, until_ready
from tests.dhcp.wires import Wires, wires

US, RELAY = "fd00::1", "fd00::fe"
CONFIG = """
subnets6:
  - {network: "fd00::/64", interface: eth0, pools: ["fd00::1000-fd00::ffff"], new_per_s: 0, port_per_s: 0}
"""
TIMES = 20
MORE = (300, 700)
"""Leases between one crash and the next."""
UNDER_WAY = 64
ASKED = 20


class Clients:
    """A rack behind one relay, each of its machines new, and the record of what they were promised."""

    def __init__(self, it: Wires, seed: int) -> None:
        self.wires = it
        self.chance = random.Random(seed)
        self.held: dict[str, int] = {}
        self.server_duid = b""
        self.asked = 0
        with inside(it.names["relay"]):
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.socket.bind((RELAY, 547))
            self.socket.setblocking(False)

    def say(self, kind: Type, number: int, server: bytes | None = None, *addresses: str) -> None:
        mac = f"52:54:00:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
        question = Says(duid_ll(mac)).message(kind, ia(1, *addresses), server=server)
        self.socket.sendto(encode(by_relay(question, RELAY, link_local(mac))), (US, 547))

    async def hear(self) -> Message:
        async with asyncio.timeout(10):
            return decode(await asyncio.get_running_loop().sock_recv(self.socket, 4096))

    def remember(self, reply: Message) -> None:
        """Take note of an address that was given."""
        value = reply.option(Opt.IA_NA)
        duid = reply.option(Opt.CLIENT_ID)
        assert reply.type == Type.REPLY
        assert value is not None
        assert duid is not None
        (given,) = addresses_in(decode_ia(Opt.IA_NA, value))
        mac = duid[4:].hex(":")
        assert self.held.setdefault(mac, given.ip) == given.ip

    async def crash(self) -> None:
        """Serve until some more leases are held, and kill in the middle of others."""
        server = self.wires.serve("server", CONFIG)
        await self.still_ours()
        wanted = len(self.held) + self.chance.randint(*MORE)
        for _ in range(UNDER_WAY):
            self.ask_next()
        while len(self.held) < wanted:
            self.remember(await self.hear())
            self.ask_next()
        server.process.kill()
        server.process.wait()
        while True:  # what had left before
            try:
                self.remember(decode(self.socket.recv(4096)))
            except BlockingIOError:
                break

    def ask_next(self) -> None:
        self.asked += 1
        self.say(Type.REQUEST, self.asked, self.server_duid)

    async def still_ours(self) -> None:
        """Ask a server that has just begun: the same one as before, and addresses are whose they were."""
        self.say(Type.SOLICIT, 0)
        duid = (await self.hear()).option(Opt.SERVER_ID)
        assert duid
        assert self.server_duid in (b"", duid)
        self.server_duid = duid
        for mac, ip in self.chance.sample(sorted(self.held.items()), min(ASKED, len(self.held))):
            self.say(Type.RENEW, int(mac[9:].replace(":", ""), 16), duid)
            reply = await self.hear()
            self.remember(reply)
            assert self.held[mac] == ip

    async def none_lost(self) -> None:
        """Compare the store with the record."""
        database = Database(self.wires.folder / "state.db")
        await database.open()
        stored = {lease.ip: lease for lease in await LeaseStore6(database).load()}
        await database.close()
        for mac, ip in self.held.items():
            lease = stored[ip]
            assert (lease.key.hex(":"), lease.state) == (mac, LeaseState.BOUND)


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    with wires(tmp_path) as it:
        add(it, "server", "relay")
        it.cable("server", "eth0", "relay", "eth0")
        it.ip("server", "addr", "add", f"{US}/64", "dev", "eth0", "nodad")
        it.ip("relay", "addr", "add", f"{RELAY}/64", "dev", "eth0", "nodad")
        until_ready(it, server="eth0", relay="eth0")
        yield it


@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_kill_9_under_load_loses_no_address_that_was_given(lan: Wires) -> None:
    clients = Clients(lan, seed=1)
    for _ in range(TIMES):
        await clients.crash()
        await clients.none_lost()
    clients.socket.close()
    assert len(clients.held) > TIMES * MORE[0]
