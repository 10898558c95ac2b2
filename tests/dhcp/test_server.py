"""The server's shell: sockets in a namespace, stores that fail or stall, live changes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from provisioner.dhcp.leases import Lease
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import Packet, decode, encode
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Mode, Reservation
from provisioner.errors import ListenError, StoreError
from provisioner.model.net import Mac
from provisioner.model.trace import TraceLine
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from tests.dhcp.clients import MAC, OTHER_MAC, US, chain, discover, ip, request, subnet
from tests.dhcp.netns import inside
from tests.dhcp.wires import Wires, wires

pytestmark = pytest.mark.netns
RELAY = "10.0.0.254"


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    """A server's namespace and a relay's, joined."""
    with wires(tmp_path) as it:
        it.add("server")
        it.add("relay")
        it.cable("server", "eth0", "relay", "eth0")
        it.ip("server", "addr", "add", f"{US}/24", "dev", "eth0")
        it.ip("relay", "addr", "add", f"{RELAY}/24", "dev", "eth0")
        yield it


class Store:
    """Leases in memory: `fail` refuses, `stall` keeps the disk busy until `go_on`."""

    def __init__(self) -> None:
        self.fail = self.stall = False
        self.kept: dict[int, Lease] = {}
        self.waiting: list[tuple[asyncio.Future[None], list[Lease]]] = []

    def save(self, leases: list[Lease]) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.fail:
            future.set_exception(StoreError("no space left"))
            future.add_done_callback(lambda done: done.exception())
            return future
        self.waiting.append((future, leases))
        if not self.stall:
            self.go_on()
        return future

    def go_on(self) -> None:
        self.stall = False
        for future, leases in self.waiting:
            self.kept |= {lease.ip: lease for lease in leases}
            future.set_result(None)
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
        asyncio.get_running_loop().call_soon(future.set_result, self.probes.get(address, ""))
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


@pytest.fixture
async def rig(lan: Wires) -> AsyncIterator[Rig]:
    it = Rig(lan)
    yield it
    it.socket.close()


async def test_a_lease_is_stored_before_it_is_acknowledged(rig: Rig) -> None:
    server = await rig.start(rig.server())
    assert (await rig.ask(discover())).type == Type.OFFER
    rig.store.stall = True
    rig.say(request("10.0.0.100", server=US))
    assert (await rig.ask(discover(OTHER_MAC))).type == Type.OFFER  # offers do not wait for the disk
    assert not rig.told
    rig.store.go_on()
    assert (await rig.hear()).type == Type.ACK
    assert [lease.ip for lease in rig.told] == [ip("10.0.0.100")]
    await server.stop()


async def test_what_could_not_be_stored_is_not_acknowledged(rig: Rig) -> None:
    """A full disk: the server says so, keeps serving, and goes on when there is space again."""
    server = await rig.start(rig.server())
    await rig.ask(discover())
    rig.store.fail = True
    rig.say(request("10.0.0.100", server=US))
    assert (await rig.ask(discover(OTHER_MAC))).type == Type.OFFER
    assert "the lease could not be stored: no space left" in next(line for line in rig.lines if not line.ok).text
    rig.store.fail = False
    assert (await rig.ask(request("10.0.0.100", server=US))).type == Type.ACK
    await server.stop()


async def test_stopping_lets_waiting_acknowledgements_leave(rig: Rig) -> None:
    server = await rig.start(rig.server())
    await rig.ask(discover())
    rig.store.stall = True
    rig.say(request("10.0.0.100", server=US))
    assert (await rig.ask(discover(OTHER_MAC))).type == Type.OFFER
    async with asyncio.TaskGroup() as group:
        group.create_task(server.stop())
        asyncio.get_running_loop().call_soon(rig.store.go_on)
    assert (await rig.hear()).type == Type.ACK


async def test_answers_that_wait_for_the_disk_are_bounded(rig: Rig) -> None:
    server = await rig.start(rig.server())
    server.held_limit = 1
    await rig.ask(discover())
    await rig.ask(discover(OTHER_MAC))
    rig.store.stall = True
    rig.say(request("10.0.0.100", server=US))
    await rig.ask(discover())
    rig.say(request("10.0.0.101", OTHER_MAC, server=US))
    await rig.ask(discover())
    assert [line.text for line in rig.lines if not line.ok] == [
        "REQUEST by relay 10.0.0.254: too many answers wait for the disk"
    ]
    rig.store.go_on()
    assert (await rig.hear()).chaddr.hex(":") == MAC
    await server.stop()


async def test_garbage_is_counted_and_the_next_packet_served(rig: Rig) -> None:
    server = await rig.start(rig.server())
    for data in (b"", b"x" * 100, encode(discover())[:242], bytes(2000), b"\1" + b"\xff" * 400):
        rig.socket.sendto(data, (US, 67))
    assert (await rig.ask(discover())).type == Type.OFFER
    assert server.trace.counts["dhcp.malformed"] == 4
    await server.stop()


async def test_an_address_in_use_is_not_offered(rig: Rig) -> None:
    rig.probes = {ip("10.0.0.100"): "de:ad:be:ef:00:01", ip("10.0.0.101"): "de:ad:be:ef:00:02"}
    server = await rig.start(rig.server(probing=True))
    assert (await rig.ask(discover())).yiaddr == ip("10.0.0.102")
    assert rig.events() == ["dhcp.conflict", "dhcp.conflict", "dhcp.offer"]
    assert "de:ad:be:ef:00:01 uses it already" in rig.store.kept[ip("10.0.0.100")].reason
    await server.stop()


async def test_the_machine_that_answers_for_its_own_address_gets_it(rig: Rig) -> None:
    rig.probes = {ip("10.0.0.100"): MAC}
    server = await rig.start(rig.server(probing=True))
    assert (await rig.ask(discover())).yiaddr == ip("10.0.0.100")
    await server.stop()


async def test_an_address_in_use_is_not_acknowledged_at_once(rig: Rig) -> None:
    rig.probes = {ip("10.0.0.100"): OTHER_MAC}
    server = await rig.start(rig.server(Dhcp(subnets=(subnet(rapid_commit=True),)), probing=True))
    found = await rig.ask(discover(options={Opt.RAPID_COMMIT: b""}))
    assert (found.type, found.yiaddr) == (Type.ACK, ip("10.0.0.101"))
    assert server.lease_of("10.0.0.100") is None
    assert server.lease_of("10.0.0.101") == MAC
    await server.stop()


async def test_beside_another_server_an_address_is_whose_it_says(rig: Rig) -> None:
    proxy = subnet(mode=Mode.PROXY, pools=(), router=(), dns=(), domain="")
    server = await rig.start(rig.server(Dhcp(subnets=(proxy,))))
    assert server.lease_of("10.0.0.200") is None
    await rig.silence(server, request("10.0.0.200", server="10.0.0.66"))
    assert server.lease_of("10.0.0.200") == MAC
    await server.stop()


async def test_a_known_address_is_not_probed(rig: Rig) -> None:
    server = await rig.start(rig.server(probing=True))
    await rig.acquire()
    rig.probes = {ip("10.0.0.100"): "the machine itself"}
    assert (await rig.ask(discover())).yiaddr == ip("10.0.0.100")
    server.set_reservation(Reservation(mac=OTHER_MAC, address="10.0.0.50"))
    rig.probes = {ip("10.0.0.50"): "the machine itself"}
    assert (await rig.ask(discover(OTHER_MAC))).yiaddr == ip("10.0.0.50")
    await server.stop()


async def test_look_ups(rig: Rig) -> None:
    server = await rig.start(rig.server())
    assert await rig.acquire() == "10.0.0.100"
    assert server.lease_of("10.0.0.100") == MAC
    assert server.lease_of("10.0.0.101") is None
    assert server.lease_of("192.168.9.9") is None
    lease = server.lease_for(Mac(MAC))
    assert lease is not None
    assert lease.ip == ip("10.0.0.100")
    assert server.lease_for(Mac(OTHER_MAC)) is None
    assert len(server.leases()) == 1
    await server.stop()


async def test_leases_outlive_the_server(rig: Rig, tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    await database.open()
    first = await rig.start(rig.server(store=LeaseStore(database)))
    await rig.acquire(OTHER_MAC)
    assert await rig.acquire() == "10.0.0.101"
    await first.stop()
    second = await rig.start(rig.server(store=LeaseStore(database)))
    assert second.lease_of("10.0.0.101") == MAC
    assert await rig.acquire() == "10.0.0.101"
    await second.stop()
    await database.close()


async def test_live_changes(rig: Rig) -> None:
    server = await rig.start(rig.server())
    server.set_reservation(Reservation(mac=MAC, address="10.0.0.50", name="node1"))
    assert await rig.acquire() == "10.0.0.50"
    server.set_reservation(Reservation(mac=MAC, address="10.0.0.51"))
    assert await rig.acquire() == "10.0.0.51"
    server.remove_reservation(Mac(MAC))
    assert await rig.acquire() == "10.0.0.100"
    server.set_subnet(subnet(pools=("10.0.0.200-10.0.0.210",)))
    assert await rig.acquire() == "10.0.0.200"
    server.set_subnet(subnet(mode=Mode.OFF))
    assert await rig.silence(server, discover()) == "the subnet is switched off"
    server.set_subnet(subnet())
    assert (await rig.acquire(OTHER_MAC)).startswith("10.0.0.10")
    server.remove_subnet("10.0.0.0/24")
    assert await rig.silence(server, discover()) == "no subnet of ours on that link"
    server.set_subnet(subnet())
    assert (await rig.ask(discover())).type == Type.OFFER
    await server.stop()


async def test_a_reservation_outlives_its_subnet(rig: Rig) -> None:
    server = await rig.start(rig.server())
    server.set_reservation(Reservation(mac=MAC, address="10.0.0.50"))
    server.remove_subnet("10.0.0.0/24")
    with inside(rig.lan.names["server"]):
        server.set_subnet(subnet())
    assert await rig.acquire() == "10.0.0.50"
    await server.stop()


async def test_a_subnet_on_an_interface_that_is_not_there_changes_nothing(rig: Rig) -> None:
    server = await rig.start(rig.server())
    with pytest.raises(ListenError, match="DHCP cannot listen on eth7 port 67: No such device"):
        server.set_subnet(subnet(network="10.7.0.0/24", interface="eth7", pools=()))
    assert server.site.net_at(ip("10.7.0.1")) is None
    await server.stop()


async def test_a_new_interface_is_served_while_the_server_runs(rig: Rig) -> None:
    """The server began with relays only; the subnet on eth0 comes later."""
    server = await rig.start(rig.server(Dhcp(subnets=(subnet(network="10.9.0.0/24", interface="lo", pools=()),))))
    with inside(rig.lan.names["server"]):
        server.set_subnet(subnet())
    assert await rig.acquire() == "10.0.0.100"
    server.remove_subnet("10.0.0.0/24")
    assert "no subnet of ours" in await rig.silence(server, discover())
    await server.stop()


async def test_leases_are_found_again_after_their_subnet_was_renamed(rig: Rig, tmp_path: Path) -> None:
    database = Database(tmp_path / "renamed.db")
    await database.open()
    try:
        first = await rig.start(rig.server(store=LeaseStore(database)))
        assert await rig.acquire() == "10.0.0.100"
        await first.stop()
        second = rig.server(Dhcp(subnets=(subnet(name="rack1"),)), store=LeaseStore(database))
        await rig.start(second)
        assert await rig.acquire(OTHER_MAC) == "10.0.0.101"
        assert second.lease_of("10.0.0.100") == MAC
        await second.stop()
    finally:
        await database.close()


async def test_an_interface_that_is_not_there(rig: Rig) -> None:
    with pytest.raises(ListenError, match=r"DHCP cannot listen on eth9 port 67: No such device .*`ip link` lists them"):
        await rig.start(rig.server(Dhcp(subnets=(subnet(interface="eth9"),))))


async def test_a_second_server_on_the_same_interface_does_not_start(rig: Rig) -> None:
    server = await rig.start(rig.server())
    with pytest.raises(ListenError, match=r"Address already in use .*another DHCP server runs on this machine"):
        await rig.start(rig.server())
    assert (await rig.ask(discover())).type == Type.OFFER
    await server.stop()


async def test_the_interface_may_go_and_the_server_goes_on(rig: Rig) -> None:
    server = await rig.start(rig.server())
    rig.lan.ip("server", "link", "set", "eth0", "down")
    rig.lan.ip("server", "link", "set", "eth0", "up")
    for _ in range(20):  # the first may be lost, as on any wire that has just come up
        rig.say(discover())
        with contextlib.suppress(TimeoutError):
            assert (await rig.hear(1)).type == Type.OFFER
            break
    else:
        pytest.fail("no answer after the interface came back")
    await server.stop()


async def test_ports_rules_and_profiles_come_from_the_configuration(rig: Rig) -> None:
    from provisioner.dhcp.subnets import Overrides, PortRule

    config = Dhcp(
        subnets=(subnet(),),
        ports=(PortRule(circuit_id="p1", name="placed", profile="gpu"),),
        profiles={"gpu": Overrides(options={"domain-name": "gpu.example"})},
    )
    server = await rig.start(rig.server(config))
    options = {Opt.RELAY_AGENT: b"\1\2p1", Opt.REQUEST_LIST: bytes((Opt.HOST_NAME, Opt.DOMAIN_NAME))}
    found = (await rig.ask(discover(options=options))).options
    assert (found[Opt.HOST_NAME], found[Opt.DOMAIN_NAME]) == (b"placed", b"gpu.example")
    await server.stop()
