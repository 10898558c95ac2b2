"""Who is known: by hardware address, by UUID, by switch port; and the limits on those who are not."""

from __future__ import annotations

import uuid
from ipaddress import IPv4Address
from typing import Any

import pytest

from provisioner.dhcp.case import Arrival, Reply, Silence
from provisioner.dhcp.limit import Limiter
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import address
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, Overrides, PortRule, Reservation, Subnet
from provisioner.dhcp.topology import Net
from provisioner.model.boot import Trust, Unknown
from tests.dhcp.clients import (
    HTTP,
    MAC,
    NOW,
    OTHER_MAC,
    UEFI,
    UNICAST,
    US,
    acquire,
    ask,
    discover,
    ip,
    request,
    said,
    site,
    subnet,
)

RELAY = Arrival("eth0", ip(US), ("10.0.0.254", 67), unicast=True)
PORTS = (
    PortRule(circuit_id="ge-0/0/1", remote_id="sw1", name="node1", address="10.0.0.51"),
    PortRule(circuit_id="ge-0/0/1", name="somewhere"),
    PortRule(remote_id="0xab01", address="10.0.0.52"),
    PortRule(relay="10.0.0.254", circuit_id="ge-0/0/9", name="near"),
    PortRule(circuit_id="ge-0/0/9", name="far"),
)


def behind_only(circuit: bytes) -> dict[int, bytes]:
    """Option 82 of a switch port, and no list of what is wanted."""
    return {Opt.RELAY_AGENT: bytes((1, len(circuit))) + circuit}


def behind(circuit: bytes, remote: bytes = b"") -> dict[int, bytes]:
    """Option 82 of a switch port."""
    value = bytes((1, len(circuit))) + circuit + (bytes((2, len(remote))) + remote if remote else b"")
    return {Opt.RELAY_AGENT: value, Opt.REQUEST_LIST: b"\x0c"}


PLACES = {
    "circuit and remote id": (behind(b"ge-0/0/1", b"sw1"), "10.0.0.254", "10.0.0.51", b"node1"),
    "the circuit id alone": (behind(b"ge-0/0/1", b"sw2"), "10.0.0.254", "10.0.0.100", b"somewhere"),
    "the remote id alone": (behind(b"ge-0/0/7", b"\xab\1"), "10.0.0.254", "10.0.0.52", None),
    "this relay before any relay": (behind(b"ge-0/0/9"), "10.0.0.254", "10.0.0.100", b"near"),
    "any relay": (behind(b"ge-0/0/9"), "10.0.0.253", "10.0.0.100", b"far"),
}


@pytest.mark.parametrize(("options", "relay", "address", "name"), PLACES.values(), ids=PLACES.keys())
def test_a_machine_is_placed_and_named_by_its_switch_port(
    options: dict[int, bytes], relay: str, address: str, name: bytes | None
) -> None:
    here = site(subnet(unknown=Unknown.IGNORE), ports=PORTS)
    found = said(ask(here, discover(options=options, giaddr=relay), RELAY))
    assert (found.yiaddr, found.options.get(Opt.HOST_NAME)) == (ip(address), name)


def test_a_port_without_a_rule_makes_nobody_known() -> None:
    here = site(subnet(unknown=Unknown.IGNORE), ports=PORTS)
    found = ask(here, discover(options=behind(b"ge-0/0/3"), giaddr="10.0.0.254"), RELAY)
    assert isinstance(found, Silence)


def test_the_machines_own_reservation_comes_before_its_ports() -> None:
    here = site(known=(Reservation(mac=MAC, name="mine"),), ports=PORTS)
    found = said(ask(here, discover(options=behind(b"ge-0/0/1", b"sw1"), giaddr="10.0.0.254"), RELAY))
    assert (found.yiaddr, found.options[Opt.HOST_NAME]) == (ip("10.0.0.51"), b"mine")


SNOOPED = {
    "a switch wrote it": (subnet(unknown=Unknown.IGNORE, snooping=True), "10.0.0.51"),
    "a client may have": (subnet(unknown=Unknown.IGNORE), None),
}


@pytest.mark.parametrize(("served", "address"), SNOOPED.values(), ids=SNOOPED.keys())
def test_a_switch_port_without_a_relay_counts_where_switches_are_trusted(served: Subnet, address: str | None) -> None:
    """Whether it counts or not, the option goes back, which the switch takes out."""
    here = site(served, subnet(network="10.9.0.0/24", interface="eth9", snooping=True), ports=PORTS)
    info = behind(b"ge-0/0/1", b"sw1")
    assert isinstance(ask(here, discover(MAC)), Silence)
    found = ask(here, discover(MAC, info))
    assert (str(IPv4Address(said(found).yiaddr)) if isinstance(found, Reply) else None) == address
    if isinstance(found, Reply):
        assert said(found).options[Opt.RELAY_AGENT] == info[Opt.RELAY_AGENT]
        renewed = ask(here, request(ciaddr="10.0.0.51", options=info), UNICAST)
        assert isinstance(renewed, Reply)
        assert (renewed.store[0].relay, renewed.store[0].circuit_id) == (0, b"ge-0/0/1")


def test_made_up_switch_ports_pass_by_no_bound() -> None:
    here = site(subnet(network="10.0.0.0/16", pools=("10.0.1.0-10.0.4.255",), new_burst=10, port_burst=1))
    found = [ask(here, discover(mac, behind_only(str(number).encode()))) for number, mac in enumerate(macs(20))]
    assert sum(isinstance(each, Reply) for each in found) == 10
    again = [ask(here, discover(mac, behind_only(b"p1")), now=NOW + 9) for mac in macs(25)[20:]]
    assert all(isinstance(each, Reply) for each in again)


PROFILES = {
    "rack": Overrides(loader={"efi-x64": "rack.efi"}, options={"17": "rack"}),
    "secure": Overrides(https=Trust.FIRMWARE),
    "own": Overrides(loader={"efi-x64": "own.efi"}),
}
RACK = PortRule(circuit_id="p1", profile="rack")
SECURE = PortRule(circuit_id="p1", profile="secure")
UNRULED = PortRule(circuit_id="p1", name="placed")
AT_PORT: dict[str, tuple[PortRule, dict[str, Any] | None, bytes, bytes]] = {
    "a machine that is not on record": (RACK, None, b"rack.efi", b"rack"),
    "one on record": (RACK, {"name": "mine"}, b"rack.efi", b"rack"),
    "one whose profile changes nothing of DHCP": (RACK, {"profile": "other"}, b"rack.efi", b"rack"),
    "one whose own profile counts": (RACK, {"profile": "own"}, b"own.efi", b""),
    "one with a loader of its own": (RACK, {"loader": {"efi-x64": "mine.efi"}}, b"mine.efi", b"rack"),
    "one with an option of its own": (RACK, {"options": {"17": "mine"}}, b"rack.efi", b"mine"),
    "a port that changes nothing else": (UNRULED, {"options": {"17": "mine"}}, b"snponly.efi", b"mine"),
    "HTTPS": (SECURE, {}, b"https://10.0.0.1:8443/files/snponly.efi", b""),
    "HTTPS that the machine does not want": (
        SECURE,
        {"https": Trust.NOBODY},
        b"http://10.0.0.1:8080/files/snponly.efi",
        b"",
    ),
}


@pytest.mark.parametrize(("rule", "own", "loader", "root"), AT_PORT.values(), ids=AT_PORT.keys())
def test_the_profile_of_a_port_fills_what_the_machine_leaves_open(
    rule: PortRule, own: dict[str, Any] | None, loader: bytes, root: bytes
) -> None:
    known = () if own is None else (Reservation(mac=MAC, **own),)
    here = site(known=known, profiles=PROFILES, ports=(rule,), tls_port=8443)
    elsewhere = site(known=known, profiles=PROFILES, tls_port=8443)
    asked = (HTTP if rule is SECURE else UEFI) | {Opt.REQUEST_LIST: bytes((Opt.ROOT_PATH, Opt.BOOT_FILE))}

    def told(where: Site, port: bytes) -> tuple[bytes | None, bytes | None]:
        found = said(ask(where, discover(MAC, asked | behind_only(port), giaddr="10.0.0.254"), RELAY)).options
        return found.get(Opt.BOOT_FILE), found.get(Opt.ROOT_PATH)

    plain = told(elsewhere, b"p2")
    assert [told(here, port) for port in (b"p1", b"p2", b"p1")] == [
        (loader, root or None),
        plain,
        (loader, root or None),
    ]


def test_the_next_machine_on_a_port_gets_its_address_when_the_lease_of_the_last_is_over() -> None:
    here = site(ports=PORTS)
    options = behind(b"ge-0/0/1", b"sw1")
    first = said(ask(here, discover(MAC, options, giaddr="10.0.0.254"), RELAY))
    ask(here, request("10.0.0.51", MAC, options, server=US, giaddr="10.0.0.254"), RELAY)
    second = said(ask(here, discover(OTHER_MAC, options, giaddr="10.0.0.254"), RELAY))
    later = said(ask(here, discover(OTHER_MAC, options, giaddr="10.0.0.254"), RELAY, NOW + 4000))
    assert [each.yiaddr for each in (first, second, later)] == [ip("10.0.0.51"), ip("10.0.0.100"), ip("10.0.0.51")]


IGNORED = {"unknown": Unknown.IGNORE}
RENEWALS: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "an address outside the pool": ({}, "10.0.0.60", {}),
    "an address in the pool": ({}, "10.0.0.105", {}),
    "unknown machines are ignored": (IGNORED, "10.0.0.60", {}),
    "unknown machines are ignored, an address in the pool": (IGNORED, "10.0.0.105", {}),
    "no others are served": ({"mode": Mode.RESERVATIONS_ONLY, "pools": ()}, "10.0.0.60", {}),
    "the rule holds for one relay": ({}, "10.0.0.60", {"relay": "10.0.0.254"}),
}


@pytest.mark.parametrize("known", [(), (Reservation(mac=MAC, name="mine"),)], ids=["new", "on record"])
@pytest.mark.parametrize(("settings", "address", "rule"), RENEWALS.values(), ids=RENEWALS.keys())
def test_a_renewal_past_the_relay_is_still_of_the_switch_port(
    settings: dict[str, Any], address: str, rule: dict[str, str], known: tuple[Reservation, ...]
) -> None:
    port = PortRule(circuit_id="p1", address=address, name="placed", **rule)
    here = site(subnet(**settings), known=known, ports=(port,))
    asked = request(address, MAC, behind(b"p1"), server=US, giaddr="10.0.0.254")
    assert said(ask(here, asked, RELAY)).type == Type.ACK
    for turn, options in enumerate(({}, {}, behind(b"p1")), 1):  # a switch on the way may say the port again
        found = ask(here, request(ciaddr=address, options=options), UNICAST, NOW + turn * 3000)
        assert (said(found).type, said(found).yiaddr) == (Type.ACK, ip(address))
        (lease,) = found.store
        assert (lease.relay, lease.circuit_id) == (ip("10.0.0.254"), b"p1")


NO_RENEWALS = {
    "of a lease that is over": (MAC, "10.0.0.60", {}, NOW + 4000),
    "by another machine": (OTHER_MAC, "10.0.0.60", {}, NOW + 10),
    "of another address": (MAC, "10.0.0.61", {}, NOW + 10),
    "by a switch that says another port": (MAC, "10.0.0.60", behind(b"p2"), NOW + 10),
}


@pytest.mark.parametrize(("mac", "address", "options", "now"), NO_RENEWALS.values(), ids=NO_RENEWALS.keys())
def test_a_switch_port_speaks_for_nobody_else(mac: str, address: str, options: dict[int, bytes], now: float) -> None:
    port = PortRule(circuit_id="p1", address="10.0.0.60")
    here = site(subnet(unknown=Unknown.IGNORE, snooping=True), ports=(port,))
    asked = request("10.0.0.60", MAC, behind(b"p1"), server=US, giaddr="10.0.0.254")
    assert said(ask(here, asked, RELAY)).type == Type.ACK
    assert isinstance(ask(here, request(mac=mac, ciaddr=address, options=options), UNICAST, now), Silence)


def test_a_fixed_address_outside_every_subnet_waits_for_one_that_holds_it() -> None:
    """Who tells of a machine is not to fail because its subnet is not there."""
    here = site(known=(Reservation(mac=MAC, address="10.0.0.50"),))
    here.set_reservation(Reservation(mac=MAC, address="10.9.9.9"))
    assert acquire(here) == "10.0.0.100"
    here.set_net(Net(subnet(network="10.9.9.0/24", interface="", pools=(), router=(), unknown=Unknown.IGNORE)))
    assert here.topology.at(ip("10.9.9.9"))[0].pool.is_fixed(ip("10.9.9.9"))
    here.remove_reservation(bytes.fromhex(MAC.replace(":", "")))
    assert not here.topology.at(ip("10.9.9.9"))[0].pool.is_fixed(ip("10.9.9.9"))


def test_two_ports_of_one_machine_may_name_the_same_address() -> None:
    """The one that is up has it, the other gets one from the pool."""
    here = site(known=(Reservation(mac=MAC, address="10.0.0.50"), Reservation(mac=OTHER_MAC, address="10.0.0.50")))
    assert [acquire(here, MAC), acquire(here, OTHER_MAC)] == ["10.0.0.50", "10.0.0.100"]


def macs(count: int) -> list[str]:
    return [f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}" for number in range(count)]


def offered(here: Site, many: list[str], options: dict[int, bytes] | None = None, now: float = NOW) -> int:
    """How many of these machines get an offer."""
    asked = (ask(here, discover(mac, options, giaddr="10.0.0.254"), RELAY, now) for mac in many)
    return sum(not isinstance(found, Silence) for found in asked)


BIG = subnet(network="10.0.0.0/16", pools=("10.0.1.0-10.0.250.255",), new_per_s=10, new_burst=100, port_burst=4)


def test_unknown_machines_are_bounded_by_subnet_behind_a_relay() -> None:
    here = site(BIG)
    assert offered(here, macs(300)) == 100
    assert offered(here, macs(600)[300:], now=NOW + 2) == 20


OWN_WIRE = Arrival("eth0", ip(US))
BOUNDED = {
    "broadcast": (OWN_WIRE, False),
    "broadcast by what says that it is a relay, a new one each time": (OWN_WIRE, True),
    "sent to us by what says that it is a relay, a new one each time": (RELAY, True),
}


@pytest.mark.parametrize(("arrival", "relayed"), BOUNDED.values(), ids=BOUNDED.keys())
@pytest.mark.parametrize("kind", [Type.DISCOVER, Type.REQUEST])
def test_a_made_up_relay_passes_by_no_bound(arrival: Arrival, relayed: bool, kind: Type) -> None:
    here = site(BIG)
    answered = 0
    for number, mac in enumerate(macs(200)):
        giaddr = ip("10.0.251.0") + number if relayed else 0
        wanted = address(ip("10.0.1.0") + number)
        asked = request(wanted, mac, server=US) if kind is Type.REQUEST else discover(mac)
        answered += not isinstance(ask(here, asked._replace(giaddr=giaddr), arrival), Silence)
    assert answered == 100


def test_a_flood_on_one_wire_leaves_relayed_subnets_their_own_bound() -> None:
    here = site(BIG, subnet(network="10.9.0.0/24", interface="", pools=("10.9.0.10-10.9.0.99",), new_burst=5))
    flood = [ask(here, discover(mac, giaddr="10.0.0.254"), OWN_WIRE) for mac in macs(150)]
    assert sum(not isinstance(found, Silence) for found in flood) == 100
    behind = [ask(here, discover(mac, giaddr="10.9.0.1"), RELAY) for mac in macs(160)[150:]]
    assert sum(not isinstance(found, Silence) for found in behind) == 5


def test_unknown_machines_are_bounded_by_switch_port() -> None:
    here = site(BIG)
    assert offered(here, macs(50), behind(b"ge-0/0/1", b"sw9")) == 4
    assert offered(here, macs(100)[50:], behind(b"ge-0/0/2", b"sw9")) == 4


def test_a_machine_that_was_let_in_is_not_asked_again() -> None:
    here = site(BIG)
    many = macs(90)
    assert [offered(here, many) for _ in range(3)] == [90, 90, 90]


def test_known_machines_are_not_bounded() -> None:
    many = macs(300)
    here = site(BIG, known=tuple(Reservation(mac=mac) for mac in many))
    assert offered(here, many) == 300


def test_a_request_out_of_the_blue_is_bounded_as_well() -> None:
    here = site(BIG)
    asked = [request(f"10.0.1.{n % 250}", mac, server=US, giaddr="10.0.0.254") for n, mac in enumerate(macs(150))]
    answered = [not isinstance(ask(here, question, RELAY), Silence) for question in asked]
    assert sum(answered) == 100


def test_buckets_are_bounded() -> None:
    limiter = Limiter(limit=10)
    assert all(limiter.take(source, 1.0, 1, NOW) for source in range(1000))
    assert len(limiter._buckets) == 10


def test_a_bucket_fills_up_to_its_burst_and_no_further() -> None:
    limiter = Limiter()
    taken = [limiter.take("x", 1.0, 3, now) for now in (0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 100.0, 100.0, 100.0, 100.0)]
    assert taken == [True, True, True, False, True, False, True, True, True, False]


UUID = "77000000-0000-4000-8000-000000000001"
WIRE_UUID = b"\0" + uuid.UUID(UUID).bytes_le
THIRD_MAC = "52:54:00:00:00:03"
FORGOTTEN = {
    "the first port is forgotten": ((MAC,), True),
    "the second port is forgotten": ((OTHER_MAC,), True),
    "a port is forgotten twice": ((MAC, MAC), True),
    "every port is forgotten": ((MAC, OTHER_MAC), False),
}


@pytest.mark.parametrize(("gone", "known"), FORGOTTEN.values(), ids=FORGOTTEN.keys())
def test_a_machine_is_known_by_its_uuid_as_long_as_one_port_is_on_record(gone: tuple[str, ...], known: bool) -> None:
    ports = (Reservation(mac=MAC, uuid=UUID), Reservation(mac=OTHER_MAC, uuid=UUID.upper()))
    here = site(subnet(unknown=Unknown.IGNORE), known=ports)
    for mac in gone:
        here.remove_reservation(bytes.fromhex(mac.replace(":", "")))
    found = ask(here, discover(THIRD_MAC, {Opt.CLIENT_UUID: WIRE_UUID}))
    assert isinstance(found, Silence) is not known


def test_a_port_whose_uuid_changes_leaves_the_other_machine() -> None:
    here = site(
        subnet(unknown=Unknown.IGNORE), known=(Reservation(mac=MAC, uuid=UUID), Reservation(mac=OTHER_MAC, uuid=UUID))
    )
    here.set_reservation(Reservation(mac=MAC, uuid="88000000-0000-4000-8000-000000000001"))
    assert not isinstance(ask(here, discover(THIRD_MAC, {Opt.CLIENT_UUID: WIRE_UUID})), Silence)
    here.set_reservation(Reservation(mac=OTHER_MAC))
    assert isinstance(ask(here, discover(THIRD_MAC, {Opt.CLIENT_UUID: WIRE_UUID})), Silence)


NODE17 = Reservation(mac=MAC, uuid=UUID, name="node17")
TOLD = {Opt.CLIENT_UUID: WIRE_UUID}
OTHER_TOLD = {Opt.CLIENT_UUID: b"\0" + uuid.UUID(int=0x88 << 120).bytes_le}
ON_RECORD = {
    # what the port tells when it asks, one time after the other, and of whose port its lease says that it is
    "firmware tells the UUID": ((TOLD,), MAC),
    "its system tells none": ((TOLD, {}), MAC),
    "a stranger tells none": (({},), ""),
    "another machine's UUID": ((TOLD, OTHER_TOLD), ""),
}


@pytest.mark.parametrize(("told", "machine"), ON_RECORD.values(), ids=ON_RECORD.keys())
def test_a_lease_says_which_machine_the_port_belongs_to(told: tuple[dict[int, bytes], ...], machine: str) -> None:
    here = site(known=(NODE17,))
    for options in told:
        acquire(here, OTHER_MAC, options)
    (lease,) = here.topology.leases_of(bytes.fromhex(OTHER_MAC.replace(":", "")))
    assert lease.machine.hex(":") == machine


def test_a_port_on_record_is_its_own_machine() -> None:
    here = site(known=(NODE17, Reservation(mac=OTHER_MAC, uuid=UUID, name="node17")))
    acquire(here, OTHER_MAC, TOLD)
    assert [lease.machine for lease in here.topology.leases()] == [b""]
