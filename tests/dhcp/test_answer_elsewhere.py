"""Addresses that are not of the client's link, or not the only one of it."""

from __future__ import annotations

import pytest

from provisioner.dhcp.case import Arrival, Reply, Silence, To, Via
from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.options import Type
from provisioner.dhcp.packet import BROADCAST, Packet
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, Reservation
from tests.dhcp.clients import (
    DIRECT,
    MAC,
    NOW,
    OTHER_MAC,
    UEFI,
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

FAR = "198.51.100.8"
ON_4011 = Arrival("eth0", ip(US), ("10.0.0.77", 4011), 4011)
FROM_FAR = Arrival("eth0", ip(US), (FAR, 4011), 4011)
NOT_OURS = f"it has {FAR}, which is not an address of this network"
AT_HOME, TO_ALL = To(Via.FRAME, ip("10.0.0.100"), 68), To(Via.BROADCAST, 0xFFFFFFFF, 68)
BOOTS = Reservation(mac=MAC, address="10.0.0.100")
PROXY = subnet(mode=Mode.PROXY, pools=(), router=(), dns=(), domain="")
REFLECTED: dict[str, tuple[Site, Packet, Arrival, To | str]] = {
    "INFORM": (site(), packet(Type.INFORM, ciaddr=FAR), DIRECT, NOT_OURS),
    "DISCOVER": (site(), discover(ciaddr=FAR), DIRECT, AT_HOME),
    "DISCOVER, broadcast": (site(), discover(ciaddr=FAR, flags=BROADCAST), DIRECT, TO_ALL),
    "SELECTING": (site(), request("10.0.0.100", server=US, ciaddr=FAR), DIRECT, AT_HOME),
    "BOOTP": (site(known=(BOOTS,)), packet(0, ciaddr=FAR), DIRECT, AT_HOME),
    "beside another server": (site(PROXY), discover(options=UEFI, ciaddr=FAR), DIRECT, TO_ALL),
    "port 4011": (site(PROXY), packet(Type.INFORM, options=UEFI, ciaddr=FAR), ON_4011, NOT_OURS),
    "port 4011, by its source": (site(PROXY), packet(Type.INFORM, options=UEFI), FROM_FAR, NOT_OURS),
    "port 4011, of this network": (
        site(PROXY),
        packet(Type.REQUEST, options=UEFI),
        ON_4011,
        To(Via.UDP, ip("10.0.0.77"), 4011),
    ),
}


@pytest.mark.parametrize(("here", "question", "arrival", "to"), REFLECTED.values(), ids=REFLECTED.keys())
def test_nobody_has_us_send_to_another_network(here: Site, question: Packet, arrival: Arrival, to: To | str) -> None:
    found = ask(here, question, arrival)
    assert (found.to if isinstance(found, Reply) else found.reason) == to


def test_a_machine_has_one_address_on_a_shared_network() -> None:
    """That it asks for another one ends the lease of the first, and what was offered is free again."""
    shared = {"shared_network": "lab", "interface": "eth0"}
    there = subnet(network="10.0.1.0/24", pools=("10.0.1.100-10.0.1.109",), router=("10.0.1.1",), **shared)
    here = site(subnet(pools=("10.0.0.100-10.0.0.101",), **shared), there)
    assert acquire(here) == "10.0.0.100"
    assert said(ask(here, discover(OTHER_MAC))).yiaddr == ip("10.0.0.101")
    found = ask(here, request("10.0.1.108", server=US), now=NOW + 5)
    assert isinstance(found, Reply)
    assert [(lease.ip, lease.state) for lease in found.store] == [
        (ip("10.0.1.108"), LeaseState.BOUND),
        (ip("10.0.0.100"), LeaseState.RELEASED),
    ]
    assert said(ask(here, request("10.0.1.109", OTHER_MAC, server=US), now=NOW + 5)).type == Type.ACK
    net = here.topology.at(ip("10.0.0.1"))[0]
    assert net.pool.used(NOW + 6) == 0
    assert not isinstance(ask(here, request(ciaddr="10.0.1.108"), now=NOW + 9), Silence)
