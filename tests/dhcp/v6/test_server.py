"""The DHCPv6 server's shell: sockets in a namespace, stores that fail or stall, live changes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.dhcp.places import Terms
from provisioner.dhcp.subnets import Dhcp, Reservation, Subnet
from provisioner.dhcp.v6.advertising import Advertising
from provisioner.dhcp.v6.message import Message, Type, decode, encode
from provisioner.dhcp.v6.options import Opt
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.errors import ListenError, StoreError
from provisioner.model.boot import Plan
from provisioner.model.net import Mac
from provisioner.model.trace import TraceLine
from provisioner.store.db import Database
from provisioner.store.leases6 import LeaseStore6
from tests.dhcp.clients import chain
from tests.dhcp.netns import inside
from tests.dhcp.v6.clients import MAC, OTHER_MAC, SERVER_DUID, Says, by_relay, duid_ll, ia, ip, link_local, subnet
from tests.dhcp.v6.wires import joined, until_ready
from tests.dhcp.wires import Wires

pytestmark = pytest.mark.netns
US, RELAY = "fd00::1", "fd00::fe"
SOLICIT, REQUEST = Type.SOLICIT, Type.REQUEST
ONE, OTHER = Says(duid_ll()), Says(duid_ll(OTHER_MAC))


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[Wires]:
    with joined(tmp_path, US, RELAY) as it:
        yield it


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

    async def server_duid(self, fresh: bytes) -> bytes:
        assert len(fresh) == 18
        return SERVER_DUID


class Rig:
    """A running server, and a relay to talk to it through."""

    def __init__(self, lan: Wires) -> None:
        self.lan = lan
        self.store = Store()
        self.lines: list[TraceLine] = []
        self.told: list[Lease] = []
        with inside(lan.names["relay"]):
            self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self.socket.bind((RELAY, 547))
            self.socket.setblocking(False)

    def server(
        self, config: Dhcp | None = None, store: object = None, advertising: Advertising | None = None
    ) -> Dhcp6Server:
        return Dhcp6Server(
            config or Dhcp(subnets6=(subnet(),)),
            decide=chain,
            leases=store or self.store,  # type: ignore[arg-type]
            observe=self.lines.append,
            on_lease=self.told.append,
            advertising=advertising,
        )

    async def start(self, server: Dhcp6Server) -> Dhcp6Server:
        with inside(self.lan.names["server"]):
            await server.start()
        return server

    def say(self, question: Message, mac: str = MAC, link: str = RELAY) -> None:
        self.socket.sendto(encode(by_relay(question, link, link_local(mac))), (US, 547))

    async def hear(self) -> Message:
        async with asyncio.timeout(10):
            return decode(await asyncio.get_running_loop().sock_recv(self.socket, 4096))

    async def ask(self, question: Message, mac: str = MAC) -> Message:
        self.say(question, mac)
        return await self.hear()

    async def acquire(self, client: Says = ONE, mac: str = MAC) -> int:
        found = await self.ask(client.message(REQUEST, ia(), server=SERVER_DUID), mac)
        assert found.type == Type.REPLY
        return [lease.ip for lease in self.told if lease.state is LeaseState.BOUND][-1]


@pytest.fixture
async def rig(lan: Wires) -> AsyncIterator[Rig]:
    it = Rig(lan)
    yield it
    it.socket.close()


async def test_replies_leave_from_the_address_that_was_asked(rig: Rig) -> None:
    """That of the interface where it was a group: a client's link-local address is told nothing from another kind."""
    rig.lan.ip("server", "addr", "add", "fd00::9/64", "dev", "eth0", "nodad")
    server = await rig.start(rig.server())
    loop = asyncio.get_running_loop()
    for us in ("fd00::9", US):
        rig.socket.sendto(encode(by_relay(ONE.message(SOLICIT, ia()), RELAY, link_local(MAC))), (us, 547))
        async with asyncio.timeout(10):
            assert (await loop.sock_recvfrom(rig.socket, 4096))[1][:2] == (us, 547)
    with inside(rig.lan.names["relay"]):
        index = socket.if_nametoindex("eth0")
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.bind(("::", 546))
    with client:
        client.setblocking(False)
        client.sendto(encode(ONE.message(SOLICIT, ia())), ("ff02::1:2", 547, 0, index))
        async with asyncio.timeout(10):
            assert (await loop.sock_recvfrom(client, 4096))[1][0].startswith("fe80::")
    await server.stop()


async def test_what_could_not_leave_is_not_told_as_said(rig: Rig) -> None:
    server = await rig.start(rig.server())
    rig.store.stall = True
    rig.say(ONE.message(REQUEST, ia(), server=SERVER_DUID))
    assert (await rig.ask(OTHER.message(SOLICIT, ia()), OTHER_MAC)).type == Type.ADVERTISE
    rig.lan.ip("server", "link", "set", "eth0", "down")
    rig.store.go_on()
    async with asyncio.timeout(10):
        while not server.trace.counts["dhcp6.unsent"]:
            await asyncio.sleep(0)
    assert [line.event for line in rig.lines] == ["dhcp6.advertise", "dhcp6.unsent"]
    assert "the reply could not leave: the address that it was sent to is ours no more" in rig.lines[-1].text
    await server.stop()


async def test_a_lease_is_stored_before_it_is_given(rig: Rig) -> None:
    server = await rig.start(rig.server())
    assert (await rig.ask(ONE.message(SOLICIT, ia()))).type == Type.ADVERTISE
    rig.store.stall = True
    rig.say(ONE.message(REQUEST, ia(), server=SERVER_DUID))
    offered = await rig.ask(OTHER.message(SOLICIT, ia()), OTHER_MAC)
    assert (offered.type, rig.told) == (Type.ADVERTISE, [])  # offers do not wait for the disk
    rig.store.go_on()
    assert (await rig.hear()).type == Type.REPLY
    async with asyncio.timeout(10):
        while not rig.told:
            await asyncio.sleep(0)
    assert [lease.ip for lease in rig.told] == [ip("fd00::100")]
    await server.stop()


async def test_what_could_not_be_stored_is_not_given(rig: Rig) -> None:
    server = await rig.start(rig.server())
    rig.store.fail = True
    rig.say(ONE.message(REQUEST, ia(), server=SERVER_DUID))
    assert (await rig.ask(OTHER.message(SOLICIT, ia()), OTHER_MAC)).type == Type.ADVERTISE
    refused = next(line for line in rig.lines if not line.ok)
    assert "the lease could not be stored: no space left" in refused.text
    rig.store.fail = False
    assert await rig.acquire() == ip("fd00::100")
    rig.store.fail = True
    rig.say(ONE.message(Type.RELEASE, ia(1, "fd00::100"), server=SERVER_DUID))
    assert (await rig.ask(OTHER.message(SOLICIT, ia()), OTHER_MAC)).type == Type.ADVERTISE
    rig.store.fail = False
    assert await rig.acquire(OTHER, OTHER_MAC) == ip("fd00::101")
    assert rig.store.kept[ip("fd00::100")].state is LeaseState.RELEASED
    await server.stop()


async def test_answers_that_wait_for_the_disk_are_bounded(rig: Rig) -> None:
    server = await rig.start(rig.server())
    server.held.limit = 1
    rig.store.stall = True
    for client, mac in ((ONE, MAC), (OTHER, OTHER_MAC)):
        rig.say(client.message(REQUEST, ia(), server=SERVER_DUID), mac)
        await rig.ask(ONE.message(SOLICIT, ia()))
    assert [line.text for line in rig.lines if not line.ok] == [
        f"REQUEST by relay {RELAY}: too many answers wait for the disk"
    ]
    rig.store.go_on()
    assert (await rig.hear()).option(Opt.CLIENT_ID) == ONE.duid
    await server.stop()


async def test_stopping_lets_waiting_replies_leave(rig: Rig) -> None:
    server = await rig.start(rig.server())
    rig.store.stall = True
    rig.say(ONE.message(REQUEST, ia(), server=SERVER_DUID))
    await rig.ask(OTHER.message(SOLICIT, ia()), OTHER_MAC)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.stop())
        asyncio.get_running_loop().call_soon(rig.store.go_on)
    assert (await rig.hear()).type == Type.REPLY


async def test_garbage_is_counted_and_the_next_message_served(rig: Rig) -> None:
    server = await rig.start(rig.server())
    good = encode(by_relay(ONE.message(SOLICIT, ia())))
    for data in (b"", b"x", good[:60], b"\x0c" + b"\xff" * 400, bytes(2000)):
        rig.socket.sendto(data, (US, 547))
    assert (await rig.ask(ONE.message(SOLICIT, ia()))).type == Type.ADVERTISE
    assert server.trace.counts["dhcp6.malformed"] == 5
    await server.stop()


async def test_a_client_is_heard_by_multicast_and_its_frame_names_it(rig: Rig, lan: Wires) -> None:
    """Its DUID and its address say nothing of its hardware address."""
    lan.ip("relay", "link", "set", "eth0", "addrgenmode", "none")
    lan.ip("relay", "addr", "flush", "dev", "eth0", "scope", "link")
    lan.ip("relay", "addr", "add", "fe80::77/64", "dev", "eth0", "nodad")
    mac = lan.ip("relay", "link", "show", "eth0").split("link/ether ")[1][:17]
    server = await rig.start(rig.server())
    with inside(lan.names["relay"]):
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.bind(("fe80::77", 546, 0, socket.if_nametoindex("eth0")))
        client.sendto(encode(Says(b"\0\2\0\0\0\1x").message(SOLICIT, ia())), ("ff02::1:2", 547, 0, 2))
    client.setblocking(False)
    async with asyncio.timeout(10):
        data = await asyncio.get_running_loop().sock_recv(client, 4096)
    client.close()
    assert decode(data).type == Type.ADVERTISE
    assert [(line.event, line.mac) for line in rig.lines] == [("dhcp6.advertise", mac)]
    await server.stop()


async def test_look_ups(rig: Rig) -> None:
    server = await rig.start(rig.server())
    await rig.acquire()
    assert server.lease_of("fd00::100") == MAC
    assert server.lease_of("fd00::100%eth0") == MAC
    assert server.lease_of("fd00::101") is None
    assert server.lease_of("fd99::1") is None
    assert [lease.ip for lease in server.leases()] == [ip("fd00::100")]
    await server.stop()


async def test_live_changes(rig: Rig, lan: Wires) -> None:
    server = await rig.start(rig.server())
    server.know(Mac(MAC), Reservation(mac=MAC, name="node1"))
    await rig.acquire()
    assert rig.told[-1].name == "node1"
    server.know(Mac(MAC), None)
    server.set_reservation(Reservation6(address="fd00::50", mac=MAC))
    assert await rig.acquire() == ip("fd00::50")
    server.remove_reservation(Reservation6(address="fd00::50", mac=MAC))
    server.set_subnet(subnet(pools=("fd00::200-fd00::20f",)))
    assert await rig.acquire() == ip("fd00::200")
    server.remove_subnet("fd00::/64")
    rig.say(ONE.message(SOLICIT, ia()))
    async with asyncio.timeout(10):
        while rig.lines[-1].event != "dhcp6.silence":
            await asyncio.sleep(0)
    assert rig.lines[-1].text.endswith("no subnet of ours on that link")
    with inside(lan.names["server"]):
        lan.ip("server", "link", "add", "eth1", "type", "bridge")
        lan.ip("server", "link", "set", "eth1", "up")
        server.set_subnet(subnet(network="fd01::/64", interface="eth1", pools=("fd01::1",)))
        with pytest.raises(ListenError, match="cannot listen on eth9: no interface with this name"):
            server.set_subnet(subnet(network="fd02::/64", interface="eth9", pools=("fd02::1",)))
    assert [link.interface for link in server.links] == ["eth0", "eth1"]
    await server.stop()


async def test_what_we_fail_at_is_told(rig: Rig) -> None:
    def fail(_: object) -> Plan:
        raise ValueError("a fault of ours")

    server = await rig.start(rig.server())
    server.site.decide = fail
    rig.say(ONE.message(SOLICIT, ia()))
    async with asyncio.timeout(10):
        while not rig.lines:
            await asyncio.sleep(0)
    assert [(line.event, line.mac, line.ok) for line in rig.lines] == [("dhcp6.fault", None, False)]
    assert server.trace.counts["dhcp6.fault"] == 1
    server.site.decide = chain
    assert (await rig.ask(ONE.message(SOLICIT, ia()))).type == Type.ADVERTISE
    await server.stop()


async def test_who_follows_our_addresses_is_told_once_of_new_ones(rig: Rig, lan: Wires) -> None:
    server = await rig.start(rig.server())
    told: list[list[int]] = []
    server.links.followers.append(lambda: told.append(sorted(server.site.addresses["eth0"])))
    with inside(lan.names["server"]):
        server.links.keep_up()
        assert told == []
        lan.ip("server", "addr", "add", "fd00::9/64", "dev", "eth0", "nodad")
        server.links.keep_up()
        server.links.keep_up()
    assert told == [[ip(US), ip("fd00::9")]]
    await server.stop()


async def test_an_interface_that_was_made_anew_is_served_again(rig: Rig, lan: Wires) -> None:
    server = await rig.start(rig.server())
    lan.ip("server", "link", "del", "eth0")
    lan.cable("server", "eth0", "relay", "eth0")
    lan.ip("server", "addr", "add", f"{US}/64", "dev", "eth0", "nodad")
    lan.ip("relay", "addr", "add", f"{RELAY}/64", "dev", "eth0", "nodad")
    until_ready(lan, server="eth0", relay="eth0")
    with inside(lan.names["server"]):
        server.links.keep_up()
    assert [link.interface for link in server.links] == ["eth0"]
    assert (await rig.ask(ONE.message(SOLICIT, ia()))).type == Type.ADVERTISE
    await server.stop()


async def test_leases_and_identity_outlive_the_server(rig: Rig, tmp_path: Path) -> None:
    database = Database(tmp_path / "leases.db")
    await database.open()
    server = await rig.start(rig.server(store=LeaseStore6(database)))
    duid = server.site.duid
    await rig.ask(ONE.message(REQUEST, ia(), server=duid))
    await server.stop()
    again = await rig.start(rig.server(Dhcp(subnets6=(subnet(name="renamed"),)), LeaseStore6(database)))
    assert again.site.duid == duid != SERVER_DUID
    assert again.lease_of("fd00::100") == MAC
    await again.stop()
    await database.close()


async def test_a_port_that_is_taken_ends_the_start(rig: Rig) -> None:
    first = await rig.start(rig.server())
    with pytest.raises(ListenError, match="DHCPv6 cannot listen on eth0: Address already in use"):
        await rig.start(rig.server())
    await first.stop()


async def test_subnets_behind_relays_alone_are_served_on_every_interface(rig: Rig) -> None:
    server = await rig.start(rig.server(Dhcp(subnets6=(subnet(interface=""),))))
    assert [link.interface for link in server.links] == ["eth0"]
    assert (await rig.ask(ONE.message(SOLICIT, ia()))).type == Type.ADVERTISE
    await server.stop()


async def test_advertisements_follow_the_subnets(rig: Rig, lan: Wires) -> None:
    advertising = Advertising()
    server = await rig.start(rig.server(advertising=advertising))
    with inside(lan.names["server"]):
        advertising.start()
        assert advertising.terms() == {}
        server.set_subnet(subnet(router_advertisements=True))
        assert advertising.terms() == {"eth0": Terms(0, True, ("fd00::/64",))}
        server.set_subnet(subnet(router_advertisements=True, ra_lifetime_s=9))
        with pytest.raises(ListenError, match="router advertisements on eth9: No such device"):
            advertising.follow((Subnet(network="10.0.0.0/24", interface="eth9", router_advertisements=True),))
        assert advertising.terms() == {"eth0": Terms(9, True, ("fd00::/64",))}
        server.remove_subnet("fd00::/64")
    assert advertising.terms() == {}
    await server.stop()
    advertising.stop()
