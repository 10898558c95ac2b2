"""Leases of BOOTP clients, which have no end: they last as long as the address is fixed for their machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from provisioner.dhcp.case import Arrival, Silence
from provisioner.dhcp.leases import BOOTP, FOR_EVER, Lease, LeaseState
from provisioner.dhcp.options import Opt
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Dhcp, Mode, PortRule, Reservation
from provisioner.model.net import Mac
from tests.dhcp.clients import MAC, NOW, OTHER_MAC, US, ask, chain, discover, ip, packet, said, site, subnet
from tests.dhcp.rig import Store

FIXED = Reservation(mac=MAC, address="10.0.0.50")
BOUND, RELEASED = LeaseState.BOUND, LeaseState.RELEASED
KEY = bytes.fromhex(MAC.replace(":", ""))


def served(store: Store, told: list[Lease], *subnets: object, reservations: tuple[Reservation, ...] = ()) -> DhcpServer:
    config = Dhcp(subnets=subnets or (subnet(),), reservations=reservations)  # type: ignore[arg-type]
    server = DhcpServer(config, decide=chain, leases=store, observe=lambda _line: None, on_lease=told.append)
    server.site.addresses = {"eth0": (ip(US),)}
    return server


Change = Callable[[DhcpServer], None]
CHANGES: dict[str, tuple[Change, LeaseState]] = {
    "its reservation is gone": (lambda server: server.remove_reservation(Mac(MAC)), RELEASED),
    "it has another address": (
        lambda server: server.set_reservation(Reservation(mac=MAC, address="10.0.0.51")),
        RELEASED,
    ),
    "it has no fixed address": (lambda server: server.set_reservation(Reservation(mac=MAC)), RELEASED),
    "it has a second address": (
        lambda server: server.set_reservation(Reservation(mac=MAC, address="10.0.0.51", addresses=("10.0.0.50",))),
        BOUND,
    ),
    "it has another name": (
        lambda server: server.set_reservation(Reservation(mac=MAC, address="10.0.0.50", name="n")),
        BOUND,
    ),
    "another machine's is gone": (lambda server: server.remove_reservation(Mac(OTHER_MAC)), BOUND),
}


@pytest.mark.parametrize(("change", "state"), CHANGES.values(), ids=CHANGES.keys())
async def test_what_is_fixed_changes(change: Change, state: LeaseState) -> None:
    store, told = Store(), []
    server = served(store, told, reservations=(FIXED, Reservation(mac=OTHER_MAC)))
    assert said(ask(server.site, packet(0), now=server.now())).yiaddr == ip("10.0.0.50")
    change(server)
    server.set_reservation(Reservation(mac=OTHER_MAC, address="10.0.0.50"))
    await asyncio.sleep(0)
    found = store.kept.get(ip("10.0.0.50"))
    assert (found.state if found is not None else BOUND) is state
    assert told == list(store.kept.values())
    offered = said(ask(server.site, discover(OTHER_MAC), now=server.now())).yiaddr
    assert offered == ip("10.0.0.50" if state is RELEASED else "10.0.0.100")


LOADED: dict[str, tuple[str, str, LeaseState]] = {
    "of a BOOTP client whose reservation is there": ("10.0.0.50", BOOTP, BOUND),
    "of a BOOTP client whose reservation was taken out of the file": ("10.0.0.60", BOOTP, RELEASED),
    "of another server, which gave it for ever": ("10.0.0.60", "", BOUND),
}


@pytest.mark.parametrize(("address", "reason", "state"), LOADED.values(), ids=LOADED.keys())
async def test_a_stored_lease(address: str, reason: str, state: LeaseState) -> None:
    store, told = Store(), []
    server = served(store, told, subnet(mode=Mode.OFF), reservations=(FIXED,))
    lease = Lease(ip(address), KEY, "10.0.0.0/24", FOR_EVER, since=NOW - 1000, reason=reason)
    server.set_subnet(subnet(mode=Mode.OFF), [lease])
    assert [each.state for each in server.leases()] == [state]
    assert [each.state for each in store.kept.values()] == ([RELEASED] if state is RELEASED else [])
    await asyncio.sleep(0)


def test_the_address_of_a_switch_port_is_for_the_next_machine_there() -> None:
    here = site(subnet(lease_s=3600), ports=(PortRule(circuit_id="p1", address="10.0.0.60"),))
    relay = Arrival("eth0", ip(US), ("10.0.0.254", 67), unicast=True)
    plugged = {Opt.RELAY_AGENT: b"\1\2p1"}

    def given(mac: str, now: float) -> int:
        found = ask(here, packet(0, mac, plugged, giaddr="10.0.0.254"), relay, now)
        return 0 if isinstance(found, Silence) else said(found).yiaddr

    assert [given(MAC, NOW), given(OTHER_MAC, NOW + 3599)] == [ip("10.0.0.60"), 0]
    assert given(OTHER_MAC, NOW + 3601) == ip("10.0.0.60")
