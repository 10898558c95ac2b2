"""A DHCP server in one namespace, and a relay in another to talk to it through."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from provisioner.dhcp.leases import Lease
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import Packet, decode, encode
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp
from provisioner.errors import StoreError
from provisioner.model.trace import TraceLine
from tests.dhcp.clients import MAC, US, chain, discover, ip, request, subnet
from tests.dhcp.netns import inside
from tests.dhcp.wires import Wires

RELAY = "10.0.0.254"


class Store:
    """Leases in memory: `fail` refuses, `stall` keeps the disk busy until `go_on`."""

    def __init__(self) -> None:
        self.fail = self.stall = False
        self.kept: dict[int, Lease] = {}
        self.waiting: list[tuple[asyncio.Future[Any], list[Lease], Callable[[], Any] | None]] = []

    def save(self, leases: list[Lease], then: Callable[[], Any] | None = None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.fail:
            future.set_exception(StoreError("no space left"))
            future.add_done_callback(lambda done: done.exception())
            return future
        self.waiting.append((future, leases, then))
        if not self.stall:
            self.go_on()
        return future

    def go_on(self) -> None:
        self.stall = False
        for future, leases, then in self.waiting:
            self.kept |= {lease.ip: lease for lease in leases}
            future.set_result(then() if then is not None else None)
        self.waiting.clear()

    async def load(self) -> list[Lease]:
        return list(self.kept.values())


class Rig:
    """A running server and a relay to talk to it through."""

    def __init__(self, lan: Wires) -> None:
        self.lan = lan
        self.store = Store()
        self.lines: list[TraceLine] = []
        self.probes: dict[int, str] = {}
        self.told: list[Lease] = []
        self.on_conflict: Callable[[], None] = lambda: None
        """Called when an address is found in use, before the server hears of it."""
        with inside(lan.names["relay"]):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind((RELAY, 67))
            self.socket.setblocking(False)

    def server(self, config: Dhcp | None = None, *, store: object = None, probing: bool = False) -> DhcpServer:
        return DhcpServer(
            config or Dhcp(subnets=(subnet(),)),
            decide=chain,
            leases=store or self.store,  # type: ignore[arg-type]
            observe=self.lines.append,
            probe=self.probe if probing else None,
            on_lease=self.told.append,
        )

    async def start(self, server: DhcpServer) -> DhcpServer:
        with inside(self.lan.names["server"]):
            await server.start()
        return server

    def probe(self, interface: str, address: int) -> asyncio.Future[str]:
        assert interface == "eth0"
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        user = self.probes.get(address, "")

        def tell() -> None:
            if user:
                self.on_conflict()
            future.set_result(user)

        asyncio.get_running_loop().call_soon(tell)
        return future

    def say(self, question: Packet) -> None:
        self.socket.sendto(encode(question._replace(giaddr=ip(RELAY))), (US, 67))

    async def hear(self, limit_s: float = 10) -> Packet:
        async with asyncio.timeout(limit_s):
            return decode(await asyncio.get_running_loop().sock_recv(self.socket, 2048))

    async def ask(self, question: Packet) -> Packet:
        self.say(question)
        return await self.hear()

    async def silence(self, server: DhcpServer, question: Packet) -> str:
        """Say something that gets no answer; the reason."""
        before = server.trace.counts["dhcp.silence"]
        self.say(question)
        async with asyncio.timeout(10):
            while server.trace.counts["dhcp.silence"] == before:
                await asyncio.sleep(0)
        return self.lines[-1].text.partition(": ")[2]

    async def acquire(self, mac: str = MAC) -> str:
        offer = await self.ask(discover(mac))
        address = ".".join(str(part) for part in offer.yiaddr.to_bytes(4, "big"))
        assert (await self.ask(request(address, mac, server=US))).type == Type.ACK
        return address

    def events(self) -> list[str]:
        return [line.event for line in self.lines]
