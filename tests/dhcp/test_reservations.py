"""Who is known: by hardware address, by UUID, by switch port; and the limits on those who are not."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.dhcp.case import Arrival, Silence
from provisioner.dhcp.limit import Limiter
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, PortRule, Reservation
from provisioner.errors import ConfigError
from provisioner.model.boot import Unknown
from tests.dhcp.clients import MAC, NOW, OTHER_MAC, UNICAST, US, acquire, ask, discover, ip, request, said, site, subnet

RELAY = Arrival("eth0", ip(US), ("10.0.0.254", 67), unicast=True)
PORTS = (
    PortRule(circuit_id="ge-0/0/1", remote_id="sw1", name="node1", address="10.0.0.51"),
    PortRule(circuit_id="ge-0/0/1", name="somewhere"),
    PortRule(remote_id="0xab01", address="10.0.0.52"),
    PortRule(relay="10.0.0.254", circuit_id="ge-0/0/9", name="near"),
    PortRule(circuit_id="ge-0/0/9", name="far"),
)


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
    here = site(subnet(unknown=Unknown.IGNORE), ports=(port,))
    asked = request("10.0.0.60", MAC, behind(b"p1"), server=US, giaddr="10.0.0.254")
    assert said(ask(here, asked, RELAY)).type == Type.ACK
    assert isinstance(ask(here, request(mac=mac, ciaddr=address, options=options), UNICAST, now), Silence)


def test_a_reservation_outside_every_subnet_is_refused_and_changes_nothing() -> None:
    here = site(known=(Reservation(mac=MAC, address="10.0.0.50"),))
    with pytest.raises(ConfigError, match=r"10\.9\.9\.9 is in no subnet"):
        here.set_reservation(Reservation(mac=MAC, address="10.9.9.9"))
    assert acquire(here) == "10.0.0.50"


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


def test_unknown_machines_are_bounded_by_relay_or_interface() -> None:
    here = site(BIG)
    assert offered(here, macs(300)) == 100
    assert offered(here, macs(600)[300:], now=NOW + 2) == 20


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
