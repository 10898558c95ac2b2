"""The server's shell: sockets in a namespace, stores that fail or stall, live changes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from provisioner.dhcp.conflicts import LOOKS, SEVERAL
from provisioner.dhcp.leases import DOUBTED_S, LeaseState
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import encode
from provisioner.dhcp.subnets import Dhcp, PortRule, Reservation
from provisioner.errors import ListenError
from provisioner.model.boot import Plan
from provisioner.model.net import Mac
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from tests.dhcp.clients import MAC, OTHER_MAC, US, chain, discover, ip, request, subnet
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


async def test_a_lease_is_stored_before_it_is_acknowledged(rig: Rig) -> None:
    server = await rig.start(rig.server())
    assert (await rig.ask(discover())).type == Type.OFFER
    rig.store.stall = True
    rig.say(request("10.0.0.100", server=US))
    assert (await rig.ask(discover(OTHER_MAC))).type == Type.OFFER  # offers do not wait for the disk
    assert not rig.told
    rig.store.go_on()
    assert (await rig.hear()).type == Type.ACK
    async with asyncio.timeout(10):
        while not rig.told:
            await asyncio.sleep(0)
    assert [lease.ip for lease in rig.told] == [ip("10.0.0.100")]
    await server.stop()


async def test_one_that_waits_alone_leaves_from_the_stores_thread_and_several_from_the_loop(rig: Rig) -> None:
    server = await rig.start(rig.server())
    await rig.ask(discover())
    await rig.ask(discover(OTHER_MAC))
    rig.store.stall = True
    rig.say(request("10.0.0.100", server=US))
    await rig.ask(discover())
    rig.say(request("10.0.0.101", OTHER_MAC, server=US))
    await rig.ask(discover(OTHER_MAC))
    alone, other = (then for _, _, then in rig.store.waiting)
    assert alone is not None
    assert other is None
    lost = await asyncio.to_thread(alone)
    assert lost == {}
    assert (await rig.hear()).chaddr.hex(":") == MAC
    rig.store.waiting[0] = (*rig.store.waiting[0][:2], lambda: lost)
    rig.store.go_on()
    assert (await rig.hear()).chaddr.hex(":") == OTHER_MAC
    await server.stop()
    assert rig.events().count("dhcp.ack") == 2


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


async def test_the_former_lease_ends_on_the_disk_though_the_first_try_failed(rig: Rig) -> None:
    server = await rig.start(rig.server())
    await rig.acquire()
    server.set_reservation(Reservation(mac=MAC, address="10.0.0.50"))
    rig.store.fail = True
    await rig.silence(server, request("10.0.0.50", server=US))
    rig.store.fail = False
    assert (await rig.ask(request("10.0.0.50", server=US))).type == Type.ACK
    kept = {each: lease.state for each, lease in rig.store.kept.items()}
    assert kept == {ip("10.0.0.50"): LeaseState.BOUND, ip("10.0.0.100"): LeaseState.RELEASED}
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
    server.held.limit = 1
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


async def test_what_could_not_leave_is_not_told_as_said(rig: Rig) -> None:
    """The interface goes down while two ACKs wait for the disk, and a third lease cannot be given."""
    server = await rig.start(rig.server())
    await rig.ask(discover())
    await rig.ask(discover(OTHER_MAC))
    rig.store.stall = True
    rig.say(request("10.0.0.100", server=US))
    rig.say(request("10.0.0.101", OTHER_MAC, server=US))
    await rig.ask(discover())
    rig.lan.ip("server", "link", "set", "eth0", "down")
    rig.store.go_on()
    async with asyncio.timeout(10):
        while server.trace.counts["dhcp.unsent"] < 2:
            await asyncio.sleep(0)
    assert [line.text for line in rig.lines if not line.ok] == [
        f"REQUEST by relay {RELAY}: the ack of 10.0.0.{number} could not leave: Network is unreachable"
        for number in (100, 101)
    ]
    assert "dhcp.ack" not in rig.events()
    await server.stop()


async def test_replies_leave_from_the_address_that_was_asked(rig: Rig) -> None:
    rig.lan.ip("server", "addr", "add", "10.0.0.9/24", "dev", "eth0")
    server = await rig.start(rig.server())
    for us in ("10.0.0.9", US):
        for mac in (MAC, OTHER_MAC):
            rig.socket.sendto(encode(discover(mac, giaddr=RELAY)), (us, 67))
        async with asyncio.timeout(10):
            heard = [(await asyncio.get_running_loop().sock_recvfrom(rig.socket, 2048))[1] for _ in range(2)]
        assert heard == [(us, 67)] * 2
    await server.stop()


async def test_garbage_is_counted_and_the_next_packet_served(rig: Rig) -> None:
    server = await rig.start(rig.server())
    for data in (b"", b"x" * 100, encode(discover())[:242], bytes(3000), b"\1" + b"\xff" * 400):
        rig.socket.sendto(data, (US, 67))
    assert (await rig.ask(discover())).type == Type.OFFER
    assert server.trace.counts["dhcp.malformed"] == 5
    await server.stop()


async def test_what_we_fail_at_is_in_the_machines_trace(rig: Rig) -> None:
    def fail(_: object) -> Plan:
        raise ValueError("a fault of ours")

    server = await rig.start(rig.server())
    server.site.decide = fail
    rig.say(discover())
    async with asyncio.timeout(10):
        while not rig.lines:
            await asyncio.sleep(0)
    assert [(line.event, line.mac) for line in rig.lines] == [("dhcp.fault", MAC)]
    server.site.decide = chain
    assert (await rig.ask(discover())).type == Type.OFFER
    await server.stop()


async def test_an_address_in_use_is_not_offered(rig: Rig) -> None:
    rig.probes = {ip("10.0.0.100"): "de:ad:be:ef:00:01", ip("10.0.0.101"): "de:ad:be:ef:00:02"}
    server = await rig.start(rig.server(probing=True))
    assert (await rig.ask(discover())).yiaddr == ip("10.0.0.102")
    assert rig.events() == ["dhcp.conflict", "dhcp.conflict", "dhcp.offer"]
    assert "de:ad:be:ef:00:01 uses it already" in rig.store.kept[ip("10.0.0.100")].reason
    await server.stop()


async def test_a_host_that_answers_for_all_addresses_is_not_asked_for_ever(rig: Rig) -> None:
    """A proxy ARP, or a port that is looped back: the pool is there again a minute after it is gone."""
    rig.probes = {ip("10.0.0.100") + number: "de:ad:be:ef:00:01" for number in range(99)}
    server = await rig.start(rig.server(Dhcp(subnets=(subnet(pools=("10.0.0.100-10.0.0.199",)),)), probing=True))
    rig.say(discover())
    async with asyncio.timeout(10):
        while len(rig.lines) < LOOKS:
            await asyncio.sleep(0)
    assert (await rig.ask(request(ciaddr="10.0.0.150", mac=OTHER_MAC))).type == Type.ACK
    assert rig.events() == ["dhcp.conflict"] * LOOKS + ["dhcp.ack"]
    assert rig.lines[LOOKS - 1].text.endswith("it may ask again, after 8 such addresses")
    declined = [lease for lease in rig.store.kept.values() if lease.state is LeaseState.DECLINED]
    assert sum(lease.until - lease.since > DOUBTED_S for lease in declined) == SEVERAL - 1
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
    kept = {each: lease.state for each, lease in rig.store.kept.items()}
    assert kept == {ip("10.0.0.100"): LeaseState.DECLINED, ip("10.0.0.101"): LeaseState.BOUND}
    told = [(lease.ip, lease.state) for lease in rig.told]
    assert told[0] == (ip("10.0.0.100"), LeaseState.BOUND)
    assert sorted(told[1:]) == sorted(kept.items())
    await server.stop()


async def test_an_acknowledgement_after_a_conflict_waits_for_the_disk(rig: Rig) -> None:
    rig.probes = {ip("10.0.0.100"): OTHER_MAC}
    server = await rig.start(rig.server(Dhcp(subnets=(subnet(rapid_commit=True),)), probing=True))
    rig.on_conflict = lambda: setattr(rig.store, "fail", True)
    rig.say(discover(options={Opt.RAPID_COMMIT: b""}))
    async with asyncio.timeout(10):
        while not any("could not be stored" in line.text for line in rig.lines):
            await asyncio.sleep(0)
    assert rig.events() == ["dhcp.conflict", "dhcp.silence"]
    rig.store.fail = False
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
    from provisioner.dhcp.subnets import Overrides

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


async def test_subnets_behind_relays_alone_are_served_on_every_interface(rig: Rig, lan: Wires) -> None:
    """Nobody says which interface relays come by; one of virtual machines has a server of its own, and that is well."""
    lan.ip("server", "link", "add", "virbr0", "type", "bridge")
    lan.ip("server", "addr", "add", "192.168.122.1/24", "dev", "virbr0")
    relayed = Dhcp(subnets=(subnet(interface=""),))
    other = await rig.start(
        rig.server(Dhcp(subnets=(subnet(network="192.168.122.0/24", interface="virbr0", pools=()),)))
    )
    server = await rig.start(rig.server(relayed))
    assert {link.interface for link in server.links} == {"eth0"}
    assert (await rig.ask(discover())).type == Type.OFFER
    await other.stop()
    await server.stop()


async def test_relays_and_no_interface_with_an_address(rig: Rig, lan: Wires) -> None:
    lan.ip("server", "addr", "flush", "dev", "eth0")
    with pytest.raises(
        ListenError, match=r"behind relays are served, and no interface has an address.*dhcp\.interfaces"
    ):
        await rig.start(rig.server(Dhcp(subnets=(subnet(interface=""),))))


async def test_relays_and_no_interface_that_can_be_listened_on(rig: Rig) -> None:
    first = await rig.start(rig.server())
    with pytest.raises(ListenError, match="none of eth0 can be listened on for relays"):
        await rig.start(rig.server(Dhcp(subnets=(subnet(interface=""),))))
    await first.stop()
