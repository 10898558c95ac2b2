"""Which interfaces are listened on and advertised on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provisioner.dhcp.places import Places, Terms, places_of, terms_of
from provisioner.dhcp.subnets import Mode, Subnet
from provisioner.dhcp.v6.subnets import Mode6, Subnet6

THERE = ("eth0", "eth1")

LISTENING = {
    "an interface of a subnet": (("eth1",), (), Places(("eth1",))),
    "two subnets on one wire": (("eth1", "eth1"), (), Places(("eth1",))),
    "relays only: they may come by any": (("",), (), Places(spare=THERE)),
    "relays come by the interface that is named": (("",), ("eth5",), Places(("eth5",))),
    "a wire and relays": (("eth1", ""), (), Places(("eth1",), ("eth0",))),
    "a wire and relays by a named one": (("eth1", ""), ("eth0",), Places(("eth0", "eth1"))),
    "one is named, and there are no relays": (("eth1",), ("eth5",), Places(("eth1",))),
    "no subnets": ((), (), Places()),
}


@pytest.mark.parametrize(("wires", "named", "wanted"), LISTENING.values(), ids=LISTENING.keys())
def test_where_to_listen(wires: tuple[str, ...], named: tuple[str, ...], wanted: Places) -> None:
    assert places_of(wires, named, THERE) == wanted


V4 = Subnet(network="10.0.0.0/24", interface="eth0", router_advertisements=True, ra_lifetime_s=9)
V6 = Subnet6(network="fd00::/64", interface="eth0", router_advertisements=True, ra_lifetime_s=7)
SILENT6 = Subnet6(network="fd01::/64", interface="eth0")
ELSEWHERE6 = Subnet6(network="fd02::/64", interface="eth1")

ADVERTISING = {
    "nothing is wanted": ((), (SILENT6,), {}),
    "IPv4's, so that iPXE need not wait": ((V4,), (ELSEWHERE6,), {"eth0": Terms(9)}),
    "those of DHCPv6 stand over them, with every network of the wire": (
        (V4,),
        (V6, SILENT6, ELSEWHERE6),
        {"eth0": Terms(7, True, ("fd00::/64", "fd01::/64"))},
    ),
    "a subnet that is off": ((replace(V4, mode=Mode.OFF),), (replace(V6, mode=Mode6.OFF),), {}),
    "one of DHCPv6 that is off stands over nothing": ((V4,), (replace(V6, mode=Mode6.OFF),), {"eth0": Terms(9)}),
    "a router of the site advertises DHCPv6": ((V4,), (SILENT6,), {}),
}


@pytest.mark.parametrize(("subnets", "subnets6", "wanted"), ADVERTISING.values(), ids=ADVERTISING.keys())
def test_what_to_advertise(
    subnets: tuple[Subnet, ...], subnets6: tuple[Subnet6, ...], wanted: dict[str, Terms]
) -> None:
    assert terms_of(subnets, subnets6) == wanted
