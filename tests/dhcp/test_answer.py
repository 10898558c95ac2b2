"""What the server says to each packet, and why (RFC 2131 section 4.3): the rules as tables."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.dhcp.case import Arrival, Reply, Silence, To, Via
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import BROADCAST, Packet
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, Reservation
from provisioner.model.boot import BootClient, LocalDisk, NoBoot, Plan, Unknown
from tests.dhcp.clients import (
    DIRECT,
    MAC,
    NOW,
    OTHER_MAC,
    UNICAST,
    US,
    acquire,
    ask,
    discover,
    ip,
    packet,
    request,
    said,
    site,
    subnet,
)

FIXED = Reservation(mac=MAC, address="10.0.0.50", name="node1")
KNOWN = Reservation(mac=MAC, name="node1")


def none(_: BootClient) -> Plan:
    return NoBoot("not ours")


def disk(_: BootClient) -> Plan:
    return LocalDisk("installed")


NAKS = {
    "SELECTING what was offered": (request("10.0.0.100", server=US), Type.ACK),
    "SELECTING an address of another network": (request("10.9.0.1", server=US), Type.NAK),
    "SELECTING an address outside the pool": (request("10.0.0.50", server=US), Type.NAK),
    "SELECTING what another machine holds": (request("10.0.0.101", server=US), Type.NAK),
    "INIT-REBOOT with its own": (request("10.0.0.100"), Type.ACK),
    "INIT-REBOOT on another network": (request("192.168.1.5"), Type.NAK),
    "INIT-REBOOT with what is not on record": (request("10.0.0.105"), Type.NAK),
    "INIT-REBOOT with what another machine holds": (request("10.0.0.101"), Type.NAK),
    "RENEWING its own": (request(ciaddr="10.0.0.100"), Type.ACK),
    "REBINDING a free one that nobody recorded (a lease of the server before us)": (
        request(ciaddr="10.0.0.107", mac="52:54:00:00:00:09"),
        Type.ACK,
    ),
    "REBINDING what another machine holds": (request(ciaddr="10.0.0.101"), Type.NAK),
    "REBINDING an address of another network": (request(ciaddr="10.9.0.1"), Type.NAK),
    "for another server": (request("10.0.0.100", server="10.0.0.77"), None),
    "with no address at all": (request(), None),
}


@pytest.mark.parametrize(("question", "kind"), NAKS.values(), ids=NAKS.keys())
def test_request(question: Packet, kind: Type | None) -> None:
    here = site()
    assert (acquire(here), acquire(here, OTHER_MAC)) == ("10.0.0.100", "10.0.0.101")
    found = ask(here, question)
    assert (said(found).type if isinstance(found, Reply) else None) == kind


UNKNOWN_AND_KNOWN: dict[str, tuple[Site, str | None]] = {
    "an unknown machine is discovered": (site(), "10.0.0.100"),
    "an unknown machine is ignored": (site(subnet(unknown=Unknown.IGNORE)), None),
    "an unknown machine in quarantine": (
        site(subnet(unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.200-10.0.0.201",))),
        "10.0.0.200",
    ),
    "a known machine where unknown ones are ignored": (
        site(subnet(unknown=Unknown.IGNORE), known=(KNOWN,)),
        "10.0.0.100",
    ),
    "a known machine is not in quarantine": (
        site(subnet(unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.200-10.0.0.201",)), known=(KNOWN,)),
        "10.0.0.100",
    ),
    "a fixed address": (site(known=(FIXED,)), "10.0.0.50"),
    "reservations only: a fixed address": (
        site(subnet(mode=Mode.RESERVATIONS_ONLY, pools=()), known=(FIXED,)),
        "10.0.0.50",
    ),
    "reservations only: known without one": (site(subnet(mode=Mode.RESERVATIONS_ONLY, pools=()), known=(KNOWN,)), None),
    "reservations only: unknown": (site(subnet(mode=Mode.RESERVATIONS_ONLY, pools=())), None),
    "switched off": (site(subnet(mode=Mode.OFF)), None),
    "another interface": (site(subnet(interface="eth1")), None),
    "the plan is to give nothing": (site(decide=none), None),
    "the plan is the disk: an address all the same": (site(decide=disk), "10.0.0.100"),
}


@pytest.mark.parametrize(("here", "address"), UNKNOWN_AND_KNOWN.values(), ids=UNKNOWN_AND_KNOWN.keys())
def test_who_gets_an_address(here: Site, address: str | None) -> None:
    found = ask(here, discover())
    if address is None:
        assert isinstance(found, Silence)
        assert found.reason
    else:
        assert said(found).yiaddr == ip(address)
        assert acquire(here) == address


RELAYED = {"giaddr": "10.0.0.254"}
FROM_RELAY = Arrival("eth9", ip(US), ("10.0.0.254", 67), unicast=True)
DESTINATIONS: dict[str, tuple[Packet, Arrival, To]] = {
    "no address yet: a frame to its hardware address": (discover(), DIRECT, To(Via.FRAME, ip("10.0.0.100"), 68)),
    "the broadcast flag": (discover(flags=BROADCAST), DIRECT, To(Via.BROADCAST, 0xFFFFFFFF, 68)),
    "a relay": (discover(**RELAYED), FROM_RELAY, To(Via.UDP, ip("10.0.0.254"), 67)),
    "a relay, whatever the flag": (discover(flags=BROADCAST, **RELAYED), FROM_RELAY, To(Via.UDP, ip("10.0.0.254"), 67)),
    "renewing: its address": (request(ciaddr="10.0.0.100"), UNICAST, To(Via.UDP, ip("10.0.0.100"), 68)),
    "a refusal is broadcast": (request("10.9.9.9"), DIRECT, To(Via.BROADCAST, 0xFFFFFFFF, 68)),
    "a refusal through a relay": (request("10.9.9.9", **RELAYED), FROM_RELAY, To(Via.UDP, ip("10.0.0.254"), 67)),
    "INFORM: its address": (packet(Type.INFORM, ciaddr="10.0.0.77"), UNICAST, To(Via.UDP, ip("10.0.0.77"), 68)),
}


@pytest.mark.parametrize(("question", "arrival", "to"), DESTINATIONS.values(), ids=DESTINATIONS.keys())
def test_where_the_reply_goes(question: Packet, arrival: Arrival, to: To) -> None:
    found = ask(site(), question, arrival)
    assert isinstance(found, Reply)
    assert found.to == to


def test_header_of_an_offer() -> None:
    """RFC 2131 table 3."""
    sent = discover(xid=0xCAFE, secs=7, flags=BROADCAST, giaddr="10.0.0.254", hops=1)
    found = said(ask(site(), sent, FROM_RELAY))
    assert (found.op, found.htype, found.hops, found.xid, found.secs) == (2, 1, 0, 0xCAFE, 0)
    assert (found.flags, found.ciaddr, found.giaddr) == (BROADCAST, 0, ip("10.0.0.254"))
    assert found.chaddr == sent.chaddr


def test_a_refusal_says_why_and_nothing_else() -> None:
    found = said(
        ask(site(), request("10.9.9.9", options={Opt.CLIENT_ID: b"\0id", Opt.RELAY_AGENT: b"\1\1x"}, **RELAYED))
    )
    assert list(found.options) == [Opt.MESSAGE_TYPE, Opt.SERVER_ID, Opt.MESSAGE, Opt.CLIENT_ID, Opt.RELAY_AGENT]
    assert (found.yiaddr, found.ciaddr, found.flags) == (0, 0, BROADCAST)


def test_rom_and_operating_system_are_one_machine() -> None:
    here = site()
    first = acquire(here, options={Opt.CLIENT_ID: b"\1" + bytes.fromhex("525400000001")})
    assert acquire(here, options={Opt.CLIENT_ID: b"\xff\0\0\0\1 a DUID of systemd"}) == first


def test_another_port_of_a_known_machine_is_known() -> None:
    uuid = "77000000-0000-4000-8000-000000000001"
    here = site(subnet(unknown=Unknown.IGNORE), known=(Reservation(mac=MAC, address="10.0.0.50", uuid=uuid),))
    wire = bytes.fromhex("00" + "00000077 0000 0040 8000 000000000001".replace(" ", ""))
    assert acquire(here, OTHER_MAC, {Opt.CLIENT_UUID: wire}) == "10.0.0.100"
    assert acquire(here, MAC, {Opt.CLIENT_UUID: wire}) == "10.0.0.50"


def test_a_decline_quarantines_the_address() -> None:
    here = site()
    assert acquire(here) == "10.0.0.100"
    found = ask(here, packet(Type.DECLINE, options={Opt.REQUESTED_ADDRESS: bytes((10, 0, 0, 100))}))
    assert isinstance(found, Silence)
    assert found.event == "dhcp.decline"
    assert MAC in found.store[0].reason
    assert acquire(here) == "10.0.0.101"


def test_a_decline_of_what_another_machine_holds_changes_nothing() -> None:
    here = site()
    assert acquire(here) == "10.0.0.100"
    stranger = packet(Type.DECLINE, OTHER_MAC, {Opt.REQUESTED_ADDRESS: bytes((10, 0, 0, 100))})
    assert ask(here, stranger) == Silence("a decline of 10.0.0.100, which the machine does not hold")
    assert acquire(here) == "10.0.0.100"


def test_a_released_address_is_kept_for_its_machine() -> None:
    here = site()
    assert acquire(here) == "10.0.0.100"
    found = ask(here, packet(Type.RELEASE, ciaddr="10.0.0.100"), UNICAST)
    assert isinstance(found, Silence)
    assert found.event == "dhcp.release"
    assert acquire(here, OTHER_MAC) == "10.0.0.101"
    assert acquire(here) == "10.0.0.100"


def test_a_release_of_what_another_machine_holds_changes_nothing() -> None:
    here = site()
    assert acquire(here) == "10.0.0.100"
    found = ask(here, packet(Type.RELEASE, OTHER_MAC, ciaddr="10.0.0.100"), UNICAST)
    assert isinstance(found, Silence)
    assert not found.store


def test_an_inform_gets_settings_and_no_address() -> None:
    found = said(ask(site(), packet(Type.INFORM, ciaddr="10.0.0.77"), UNICAST))
    assert (found.type, found.yiaddr, found.ciaddr) == (Type.ACK, 0, ip("10.0.0.77"))
    assert Opt.LEASE_TIME not in found.options
    assert found.options[Opt.DNS] == bytes((10, 0, 0, 2, 10, 0, 0, 3))


def test_rapid_commit() -> None:
    here = site(subnet(rapid_commit=True))
    found = ask(here, discover(options={Opt.RAPID_COMMIT: b""}))
    assert said(found).type == Type.ACK
    assert Opt.RAPID_COMMIT in said(found).options
    assert isinstance(found, Reply)
    assert found.store
    assert said(ask(here, discover(OTHER_MAC))).type == Type.OFFER


def test_rapid_commit_is_an_offer_where_it_is_not_switched_on() -> None:
    found = said(ask(site(), discover(options={Opt.RAPID_COMMIT: b""})))
    assert found.type == Type.OFFER
    assert Opt.RAPID_COMMIT not in found.options


BOOTP: dict[str, tuple[Site, str | None]] = {
    "with a fixed address": (site(known=(FIXED,)), "10.0.0.50"),
    "known without one": (site(known=(KNOWN,)), None),
    "unknown": (site(), None),
    "switched off": (site(subnet(bootp=False), known=(FIXED,)), None),
}


@pytest.mark.parametrize(("here", "address"), BOOTP.values(), ids=BOOTP.keys())
def test_bootp(here: Site, address: str | None) -> None:
    found = ask(here, packet(0))
    if address is None:
        assert isinstance(found, Silence)
        return
    reply = said(found)
    assert reply.yiaddr == ip(address)
    assert not {Opt.MESSAGE_TYPE, Opt.LEASE_TIME, Opt.SERVER_ID} & reply.options.keys()
    assert isinstance(found, Reply)
    assert len(found.data) == 300


def test_a_full_pool_is_silent_with_its_reason() -> None:
    here = site(subnet(pools=("10.0.0.100-10.0.0.100",)))
    acquire(here)
    assert ask(here, discover(OTHER_MAC)) == Silence("no address left in 10.0.0.0/24", "dhcp.pool-empty")


def test_a_changed_reservation_moves_the_machine_at_its_next_renewal() -> None:
    here = site()
    assert acquire(here) == "10.0.0.100"
    here.set_reservation(FIXED)
    assert said(ask(here, request(ciaddr="10.0.0.100"), UNICAST)).type == Type.NAK
    assert acquire(here) == "10.0.0.50"
    here.remove_reservation(bytes.fromhex(MAC.replace(":", "")))
    assert said(ask(here, request(ciaddr="10.0.0.50"), UNICAST)).type == Type.NAK
    assert acquire(here).startswith("10.0.0.10")


def test_a_fixed_address_that_another_machine_still_holds_is_not_taken_from_it() -> None:
    here = site()
    assert acquire(here, OTHER_MAC) == "10.0.0.100"
    here.set_reservation(Reservation(mac=MAC, address="10.0.0.100"))
    assert acquire(here) == "10.0.0.101"
    assert said(ask(here, request(ciaddr="10.0.0.100", mac=OTHER_MAC), UNICAST)).type == Type.NAK
    assert acquire(here, now=NOW + 4000) == "10.0.0.100"


TRAVELS = Reservation(mac=MAC, address="10.0.0.50", addresses=("10.5.0.50",))


def test_a_machine_has_a_fixed_address_in_each_of_several_subnets() -> None:
    there = subnet(network="10.5.0.0/24", interface="eth1", pools=("10.5.0.100-10.5.0.109",))
    here = site(subnet(), there, known=(TRAVELS,))
    assert acquire(here) == "10.0.0.50"
    other = Arrival("eth1", ip(US))
    assert said(ask(here, discover(), other)).yiaddr == ip("10.5.0.50")
    assert said(ask(here, request("10.0.0.50"), other)).type == Type.NAK
    here.set_reservation(Reservation(mac=MAC, address="10.5.0.50"))
    assert acquire(here) == "10.0.0.100"
    assert said(ask(here, discover(), other)).yiaddr == ip("10.5.0.50")
    here.remove_reservation(bytes.fromhex(MAC.replace(":", "")))
    assert not any(pool.is_fixed(ip(each)) for pool in here.pools() for each in ("10.0.0.50", "10.5.0.50"))


def test_on_a_shared_network_it_keeps_the_one_that_it_asks_for() -> None:
    there = subnet(network="10.5.0.0/24", pools=("10.5.0.100-10.5.0.109",), **SHARED)
    here = site(subnet(**SHARED), there, known=(TRAVELS,))
    assert said(ask(here, discover())).yiaddr == ip("10.0.0.50")
    assert said(ask(here, request("10.5.0.50"))).type == Type.ACK


SHARED: dict[str, Any] = {"shared_network": "lab", "interface": "eth0"}


def test_a_shared_network_goes_on_in_the_next_subnet() -> None:
    here = site(
        subnet(pools=("10.0.0.100-10.0.0.100",), **SHARED),
        subnet(network="10.0.1.0/24", pools=("10.0.1.100-10.0.1.100",), router=("10.0.1.1",), **SHARED),
    )
    assert acquire(here, MAC) == "10.0.0.100"
    assert acquire(here, OTHER_MAC) == "10.0.1.100"
    assert acquire(here, OTHER_MAC) == "10.0.1.100"
    assert isinstance(ask(here, discover("52:54:00:00:00:03")), Silence)


@pytest.mark.parametrize(
    ("arrival", "relay"),
    [(DIRECT, 0), (UNICAST, 0), (FROM_RELAY, "10.0.0.254"), (FROM_RELAY, "10.0.1.254")],
    ids=["to everybody", "to us", "by a relay in the first subnet", "by a relay in its own"],
)
def test_on_a_shared_network_an_inform_gets_the_settings_of_its_own_subnet(arrival: Arrival, relay: str | int) -> None:
    there = subnet(network="10.0.1.0/24", pools=(), unknown="ignore", router=("10.0.1.1",), **SHARED)
    here = site(subnet(unknown="ignore", **SHARED), there, known=(Reservation(mac=MAC),))
    found = said(ask(here, packet(Type.INFORM, ciaddr="10.0.1.77", giaddr=relay), arrival))
    assert found.options[Opt.ROUTER] == bytes((10, 0, 1, 1))
    found = said(ask(here, packet(Type.INFORM, ciaddr="192.0.2.7", giaddr="10.0.0.254"), FROM_RELAY))
    assert found.options[Opt.ROUTER] == bytes((10, 0, 0, 1))


RELAY_82 = bytes.fromhex("0103736531" + "0202ab01")
LINKS: dict[str, tuple[Packet, Arrival, str]] = {
    "by the relay's address": (discover(giaddr="10.2.0.1"), FROM_RELAY, "10.2.0.100"),
    "by link selection, giaddr only says where to answer (RFC 3527)": (
        discover(giaddr="10.0.0.254", options={Opt.RELAY_AGENT: b"\5\4" + bytes((10, 2, 0, 0))}),
        FROM_RELAY,
        "10.2.0.100",
    ),
    "by subnet selection (RFC 3011)": (
        discover(giaddr="10.0.0.254", options={Opt.SUBNET_SELECTION: bytes((10, 2, 0, 0))}),
        FROM_RELAY,
        "10.2.0.100",
    ),
    "by subnet selection only where a relay says it": (
        discover(options={Opt.SUBNET_SELECTION: bytes((10, 2, 0, 0))}),
        DIRECT,
        "10.0.0.100",
    ),
    "by link selection only where a relay says it": (
        discover(options={Opt.RELAY_AGENT: b"\5\4" + bytes((10, 2, 0, 0))}),
        DIRECT,
        "10.0.0.100",
    ),
    "by the interface": (discover(), DIRECT, "10.0.0.100"),
}


@pytest.mark.parametrize(("question", "arrival", "address"), LINKS.values(), ids=LINKS.keys())
def test_which_subnet(question: Packet, arrival: Arrival, address: str) -> None:
    far = subnet(network="10.2.0.0/24", interface="", pools=("10.2.0.100-10.2.0.110",), router=())
    found = ask(site(subnet(), far), question, arrival)
    assert said(found).yiaddr == ip(address)


def test_a_relays_information_goes_back_as_it_came_and_last() -> None:
    found = said(ask(site(), discover(giaddr="10.0.0.254", options={Opt.RELAY_AGENT: RELAY_82}), FROM_RELAY))
    assert list(found.options)[-1] == Opt.RELAY_AGENT
    assert found.options[Opt.RELAY_AGENT] == RELAY_82


def test_a_relays_information_is_stored_with_the_lease() -> None:
    here = site()
    offer = said(ask(here, discover(giaddr="10.0.0.254", options={Opt.RELAY_AGENT: RELAY_82}), FROM_RELAY))
    asked = request("10.0.0.100", options={Opt.RELAY_AGENT: RELAY_82}, server=US, giaddr="10.0.0.254")
    found = ask(here, asked, FROM_RELAY)
    assert offer.yiaddr == ip("10.0.0.100")
    assert isinstance(found, Reply)
    (lease,) = found.store
    assert (lease.relay, lease.circuit_id, lease.remote_id) == (ip("10.0.0.254"), b"se1", b"\xab\1")


def test_a_renewal_past_the_relay_keeps_what_the_relay_said() -> None:
    here = site()
    through = {"options": {Opt.RELAY_AGENT: RELAY_82}, "giaddr": "10.0.0.254"}
    ask(here, request(ciaddr="10.0.0.100", **through), FROM_RELAY)  # type: ignore[arg-type]
    found = ask(here, request(ciaddr="10.0.0.100"), UNICAST)
    assert isinstance(found, Reply)
    (lease,) = found.store
    assert (lease.relay, lease.circuit_id, lease.remote_id) == (ip("10.0.0.254"), b"se1", b"\xab\1")


def test_server_identifier_override() -> None:
    """RFC 5107: the client talks to the relay only, and takes it for the server."""
    override = {Opt.RELAY_AGENT: b"\x0b\4" + bytes((10, 0, 0, 254))}
    here = site()
    offer = said(ask(here, discover(giaddr="10.0.0.254", options=override), FROM_RELAY))
    assert offer.options[Opt.SERVER_ID] == bytes((10, 0, 0, 254))
    asked = request("10.0.0.100", options=override, server="10.0.0.254", giaddr="10.0.0.254")
    assert said(ask(here, asked, FROM_RELAY)).type == Type.ACK
    by_itself = said(ask(here, discover(OTHER_MAC, override), DIRECT))
    assert by_itself.options[Opt.SERVER_ID] == bytes((10, 0, 0, 1))
