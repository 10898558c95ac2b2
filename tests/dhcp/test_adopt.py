"""What becomes of another server's leases and reservations, case by case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provisioner.dhcp.adopt import Adoption, Kind, Verdict, Want, What
from provisioner.dhcp.layers import Layers, Origin
from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, PortRule, Reservation
from provisioner.model.boot import Unknown
from tests.dhcp.clients import MAC, NOW, OTHER_MAC, acquire, ip, site, subnet

ONE, TWO = (bytes.fromhex(mac.replace(":", "")) for mac in (MAC, OTHER_MAC))
FAR = NOW + 1000


def lease(address: str = "10.0.0.105", key: bytes = ONE, **more: Any) -> Want:
    return Want(Kind.LEASE, ip(address), key, until=FAR, **more)


def fixed(address: str = "10.0.0.50", key: bytes = ONE, **more: Any) -> Want:
    return Want(Kind.RESERVATION, ip(address) if address else 0, key, **more)


class Here:
    """A site and its layers; by default 10.0.0.0/24 with a pool from .100 to .109."""

    def __init__(self, *subnets: Any, said: tuple[tuple[Origin, Reservation], ...] = ()) -> None:
        self.site = site(*subnets, ports=(PortRule(circuit_id="p1", address="10.0.0.77"),))
        self.layers = Layers()
        for origin, reservation in said:
            self.site.set_reservation(self.layers.with_(origin, reservation))
            self.layers.set(origin, reservation)

    def judge(self, *wants: Want) -> list[Verdict]:
        adoption = Adoption(self.site, self.layers, NOW)
        return [adoption.judge(want) for want in wants]


def here(do: Callable[[Site], object] = lambda _: None, **subnet_changes: Any) -> Here:
    found = Here(subnet(**subnet_changes))
    do(found.site)
    return found


def given(address: str, mac: str, state: str = "") -> Callable[[Site], None]:
    """Let a machine hold an address first; `state` ends that again."""

    def do(where: Site) -> None:
        assert acquire(where, mac, {50: bytes(int(part) for part in address.split("."))}) == address
        if state == "released":
            pool = next(iter(where.pools()))
            assert pool is not None
            pool.release(bytes.fromhex(mac.replace(":", "")), ip(address), NOW)

    return do


SAID_ONE = ((Origin.FILE, Reservation(mac=MAC, address="10.0.0.50", name="one")),)
SAID_TWO = ((Origin.OPERATOR, Reservation(mac=OTHER_MAC, address="10.0.0.105")),)
KNOWN = ((Origin.MACHINE, Reservation(mac=MAC, name="node1")),)

ROUTED = ((Origin.FILE, Reservation(mac=MAC, address="10.0.0.50", options={"3": "10.0.0.9"})),)

LEASES: dict[str, tuple[Here, Want, What, str]] = {
    "an address that nobody has": (here(), lease(), What.NEW, ""),
    "no hardware address": (here(), lease(key=b""), What.LEFT_OUT, "it names no hardware address"),
    "in no subnet of ours": (here(), lease("10.9.0.5"), What.CONFLICT, "it is in no subnet that is served here"),
    "in no pool of ours": (
        here(),
        lease("10.0.0.20"),
        What.CONFLICT,
        "it is in none of the pools of subnet 10.0.0.0/24",
    ),
    "where we are a proxy": (here(mode=Mode.PROXY, pools=(), router=(), dns=()), lease(), What.CONFLICT, "subnet"),
    "where we are still switched off": (here(mode=Mode.OFF), lease(), What.NEW, ""),
    "where we give fixed addresses only": (
        here(mode=Mode.RESERVATIONS_ONLY, pools=()),
        lease(),
        What.CONFLICT,
        "subnet 10.0.0.0/24 gives fixed addresses only",
    ),
    "another machine holds it": (here(given("10.0.0.105", OTHER_MAC)), lease(), What.CONFLICT, f"{OTHER_MAC} holds it"),
    "another machine held it": (here(given("10.0.0.105", OTHER_MAC, "released")), lease(), What.NEW, ""),
    "it has a newer one from us": (
        here(given("10.0.0.101", MAC)),
        lease(),
        What.LEFT_OUT,
        "the machine has a newer lease here, 10.0.0.101",
    ),
    "it had another one from us": (here(given("10.0.0.101", MAC, "released")), lease(), What.NEW, ""),
    "it has that from us, for longer": (here(given("10.0.0.105", MAC)), lease(), What.SAME, ""),
    "it has that from us, not for so long": (
        here(given("10.0.0.105", MAC), lease_s=100),
        lease(),
        What.SAME,
        "it lasts longer now",
    ),
    "its fixed address": (Here(said=SAID_ONE), lease("10.0.0.50"), What.NEW, ""),
    "not its fixed address": (Here(said=SAID_ONE), lease(), What.LEFT_OUT, "its fixed address is 10.0.0.50"),
    "another's fixed address": (Here(said=SAID_TWO), lease(), What.CONFLICT, "it is reserved for another machine"),
    "an unknown machine where such are in quarantine": (
        here(unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.200-10.0.0.209",)),
        lease(),
        What.CONFLICT,
        "it is in none of the quarantine_pools of subnet 10.0.0.0/24",
    ),
    "a known machine there": (
        Here(subnet(unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.200-10.0.0.209",)), said=KNOWN),
        lease(),
        What.NEW,
        "",
    ),
}


@pytest.mark.parametrize(("where", "want", "what", "reason"), LEASES.values(), ids=LEASES.keys())
def test_leases(where: Here, want: Want, what: What, reason: str) -> None:
    (found,) = where.judge(want)
    assert (found.what, found.reason[: len(reason)]) == (what, reason)
    assert bool(found.leases) == (what is What.NEW or "longer" in reason)


def test_an_address_that_was_declined_is_a_conflict_with_its_reason() -> None:
    where = here()
    where.site.decline(ip("10.0.0.105"), NOW, "the printer uses it")
    (found,) = where.judge(lease())
    assert (found.what, found.reason) == (What.CONFLICT, "it is out of use: the printer uses it")


def test_the_lease_that_a_machine_had_before_is_ended_with_it() -> None:
    where = here(given("10.0.0.101", MAC, "released"))
    (found,) = where.judge(lease())
    assert [(row.ip, row.state) for row in found.leases] == [
        (ip("10.0.0.105"), LeaseState.BOUND),
        (ip("10.0.0.101"), LeaseState.RELEASED),
    ]


def test_what_a_lease_says_is_kept() -> None:
    want = lease(name="n", since=NOW - 5, client_id=b"\1x", circuit_id=b"ge1", remote_id=b"sw1")
    (row,) = here().judge(want)[0].leases
    assert (row.until, row.since, row.name, row.client_id) == (FAR, NOW - 5, "n", b"\1x")
    assert (row.circuit_id, row.remote_id, row.pool) == (b"ge1", b"sw1", "10.0.0.0/24")


RESERVATIONS: dict[str, tuple[Here, Want, What, str]] = {
    "an address that nobody has": (here(), fixed(), What.NEW, ""),
    "inside a pool": (here(), fixed("10.0.0.105"), What.NEW, ""),
    "a name alone": (here(), fixed("", name="one"), What.NEW, ""),
    "hardware that is not Ethernet": (here(), fixed(key=b"\x20" + ONE), What.LEFT_OUT, "its hardware address"),
    "in no subnet of ours": (here(), fixed("10.9.0.5"), What.CONFLICT, "it is in no subnet that is served here"),
    "where we are a proxy": (
        here(mode=Mode.PROXY, pools=(), router=(), dns=()),
        fixed(),
        What.CONFLICT,
        "subnet 10.0.0.0/24 gives no addresses (mode proxy)",
    ),
    "where we are still switched off": (here(mode=Mode.OFF), fixed(), What.NEW, ""),
    "another machine holds it": (here(given("10.0.0.105", OTHER_MAC)), fixed("10.0.0.105"), What.CONFLICT, OTHER_MAC),
    "the machine itself holds it": (here(given("10.0.0.105", MAC)), fixed("10.0.0.105"), What.NEW, ""),
    "the same": (Here(said=SAID_ONE), fixed(), What.SAME, ""),
    "the same with another name": (Here(said=SAID_ONE), fixed(name="uno"), What.SAME, "it keeps the name one"),
    "an address in another subnet": (
        Here(subnet(), subnet(network="10.5.0.0/24", interface="eth1", pools=()), said=SAID_ONE),
        fixed("10.5.0.50"),
        What.NEW,
        "",
    ),
    "another address": (Here(said=SAID_ONE), fixed("10.0.0.51"), What.CONFLICT, "10.0.0.50 is reserved for it"),
    "another machine's address": (
        Here(said=SAID_TWO),
        fixed("10.0.0.105"),
        What.CONFLICT,
        f"it is reserved for {OTHER_MAC}",
    ),
    "the router's address": (here(), fixed("10.0.0.1"), What.CONFLICT, "it is the subnet's router"),
    "among the addresses of strangers": (
        here(unknown=Unknown.QUARANTINE, quarantine_pools=("10.0.0.200-10.0.0.209",)),
        fixed("10.0.0.200"),
        What.CONFLICT,
        "it is in quarantine_pools",
    ),
    "a switch port's address": (
        here(),
        fixed("10.0.0.77"),
        What.CONFLICT,
        "a rule in `dhcp.ports` gives it to whatever machine is on that port",
    ),
    "a machine on record": (Here(said=KNOWN), fixed(name="old"), What.NEW, "it keeps the name node1"),
    "options alone": (here(), fixed("", options={"routers": "10.0.0.9"}), What.NEW, ""),
    "options that it has": (Here(said=ROUTED), fixed(options={"routers": "10.0.0.9"}), What.SAME, ""),
    "an option more": (Here(said=ROUTED), fixed(options={"ntp-servers": "10.0.0.8"}), What.NEW, ""),
    "another value of an option": (
        Here(said=ROUTED),
        fixed(options={"routers": "10.0.0.8", "ntp-servers": "10.0.0.8"}),
        What.NEW,
        "it keeps its routers",
    ),
    "a name that is none": (here(), fixed(name="a b"), What.NEW, "'a b' is no host name, and is left out"),
}


@pytest.mark.parametrize(("where", "want", "what", "reason"), RESERVATIONS.values(), ids=RESERVATIONS.keys())
def test_reservations(where: Here, want: Want, what: What, reason: str) -> None:
    (found,) = where.judge(want)
    assert (found.what, found.reason[: len(reason)]) == (what, reason)
    assert (found.reservation is not None) == (what is What.NEW)


TOGETHER: dict[str, tuple[tuple[Want, ...], list[What]]] = {
    "one address for two machines": ((lease(), lease(key=TWO)), [What.NEW, What.CONFLICT]),
    "two addresses for one machine: the first, which is newer": (
        (lease(), lease("10.0.0.106")),
        [What.NEW, What.LEFT_OUT],
    ),
    "a lease of the address that is fixed for it": ((fixed(), lease("10.0.0.50")), [What.NEW, What.NEW]),
    "a lease of another address": ((fixed(), lease()), [What.NEW, What.LEFT_OUT]),
    "a lease of another machine's fixed address": ((fixed("10.0.0.105"), lease(key=TWO)), [What.NEW, What.CONFLICT]),
    "one fixed address for two machines": (
        (fixed(where="f:1"), fixed(key=TWO, where="f:2")),
        [What.NEW, What.CONFLICT],
    ),
    "one fixed address for two ports on one line": (
        (fixed(where="f:1"), fixed(key=TWO, where="f:1")),
        [What.NEW, What.NEW],
    ),
    "two fixed addresses for one machine": ((fixed(), fixed("10.0.0.51")), [What.NEW, What.CONFLICT]),
    "the same reservation twice": ((fixed(name="one"), fixed(name="one")), [What.NEW, What.SAME]),
}


@pytest.mark.parametrize(("wants", "whats"), TOGETHER.values(), ids=TOGETHER.keys())
def test_what_stands_in_one_import(wants: tuple[Want, ...], whats: list[What]) -> None:
    assert [found.what for found in here().judge(*wants)] == whats


RANGES = {
    "within a pool": ("10.0.0.100", "10.0.0.105", What.SAME),
    "larger than the pool": ("10.0.0.100", "10.0.0.150", What.LEFT_OUT),
    "elsewhere": ("10.9.0.1", "10.9.0.9", What.LEFT_OUT),
}


@pytest.mark.parametrize(("low", "high", "what"), RANGES.values(), ids=RANGES.keys())
def test_ranges(low: str, high: str, what: What) -> None:
    (found,) = here().judge(Want(Kind.RANGE, ip(low), high=ip(high)))
    assert found.what is what


def test_judging_changes_nothing() -> None:
    where = here()
    where.judge(fixed(), lease(key=TWO))
    pool = next(iter(where.site.pools()))
    assert pool is not None
    assert (pool.by_ip, list(where.layers), pool.offered(TWO)) == ({}, [], None)
