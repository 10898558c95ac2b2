"""Changes of a running server: reservations, subnets, interfaces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.subnets import Dhcp, Mode, PortRule, Reservation
from provisioner.errors import ListenError
from provisioner.model.facts import SwitchPort
from provisioner.model.net import Mac
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from tests.dhcp.clients import MAC, OTHER_MAC, US, discover, ip, request, subnet
from tests.dhcp.netns import inside
from tests.dhcp.rig import RELAY, Rig
from tests.dhcp.wires import Wires, wires

pytestmark = pytest.mark.netns


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


@pytest.fixture
async def rig(lan: Wires) -> AsyncIterator[Rig]:
    it = Rig(lan)
    yield it
    it.socket.close()


async def test_where_a_machine_is_plugged_in(rig: Rig) -> None:
    rule = PortRule(circuit_id="ge-0/0/1", name="placed", profile="")
    server = await rig.start(rig.server(Dhcp(subnets=(subnet(),), ports=(rule,))))
    here = {Opt.RELAY_AGENT: b"\1\x08ge-0/0/1\2\2\xab\1"}
    assert (await rig.ask(request("", options=here, ciaddr="10.0.0.105"))).type == Type.ACK
    assert (await rig.ask(request("", OTHER_MAC, ciaddr="10.0.0.106"))).type == Type.ACK
    assert server.port_of("10.0.0.105") == SwitchPort(RELAY, "ge-0/0/1", "0xab01", "placed")
    assert server.port_of("10.0.0.106") == SwitchPort(RELAY)
    assert server.port_of("10.0.0.107") is None
    await server.stop()


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


async def test_an_interface_that_was_made_anew_is_served_again(rig: Rig) -> None:
    """The bridge is deleted and made again; an ACK that waited meanwhile does not leave by anything else."""
    server = await rig.start(rig.server())
    await rig.acquire()
    before = list(server.links)
    rig.store.stall = True
    rig.say(request("10.0.0.100", ciaddr="10.0.0.100"))
    await rig.ask(discover(OTHER_MAC))
    rig.lan.ip("server", "link", "del", "eth0")
    with inside(rig.lan.names["server"]):
        server.links.keep_up()
    assert list(server.links) == before  # nothing to listen on yet
    rig.lan.cable("server", "eth0", "relay", "eth0")
    rig.lan.ip("server", "addr", "add", f"{US}/24", "dev", "eth0")
    rig.lan.ip("relay", "addr", "add", f"{RELAY}/24", "dev", "eth0")
    with inside(rig.lan.names["server"]):
        server.links.keep_up()
        server.links.keep_up()
    assert len(list(server.links)) == len(before)
    assert not set(server.links) & set(before)
    rig.store.go_on()
    assert (await rig.ask(discover(OTHER_MAC))).type == Type.OFFER
    assert rig.lines[-2].text.endswith(
        "the ack of 10.0.0.100 could not leave: the socket that it came by was closed since"
    )
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
