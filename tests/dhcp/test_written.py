"""Where the setting stands that a fault is about."""

from __future__ import annotations

import pytest

from provisioner.dhcp.subnets import Dhcp, Overrides, PortRule, Reservation, Subnet
from provisioner.dhcp.v6.subnets import Reservation6, Subnet6
from provisioner.dhcp.written import Place, places_in

NAMED = (
    Subnet(network="10.3.0.0/24", name="this and that"), Subnet(network="10.4.0.0/24", name="those and these"),
    Subnet(network="10.5.0.0/24", name="rack two"),
)  # fmt: skip
CONFIG = Dhcp(
    subnets=(Subnet(network="10.0.0.0/24"), Subnet(network="10.1.0.0/24", name="rack two"), Subnet(), *NAMED),
    subnets6=(Subnet6(network="fd00:8::/64"), Subnet6(network="fd00:9::/64", name="rack two")),
    reservations=(
        Reservation(mac="52:54:00:00:00:01"),
        Reservation(name="node17"),
        Reservation(mac="52:54:00:00:00:01"),
        Reservation(),
    ),
    reservations6=(Reservation6(address="fd00:8::5"), Reservation6(address="fd00:8::5")),
    ports=(PortRule(), PortRule()),
    profiles={"gpu": Overrides()},
)
PLACES: dict[str, tuple[str, Place]] = {
    "a subnet": ("subnet 10.0.0.0/24: pools: no range", ("dhcp", "subnets", 0, "pools")),
    "a subnet with a name": ("subnet rack two: lease_s: 1: from 60", ("dhcp", "subnets", 1, "lease_s")),
    "a subnet without a network": ("subnets[2]: network: ''", ("dhcp", "subnets", 2, "network")),
    "a subnet of IPv6": ("subnet6 fd00:8::/64: dns: x", ("dhcp", "subnets6", 0, "dns")),
    "a reservation": ("reservation 52:54:00:00:00:01: address: x", ("dhcp", "reservations", 0, "address")),
    "a reservation by name": ("reservation node17: mac: x", ("dhcp", "reservations", 1, "mac")),
    "a reservation of IPv6": ("reservation6 fd00:8::5: address: x", ("dhcp", "reservations6", 0, "address")),
    "a subnet with the name of one before": ("subnets[5]: pools: x", ("dhcp", "subnets", 5, "pools")),
    "a subnet of IPv6 with the name of one of IPv4": ("subnet6 rack two: dns: x", ("dhcp", "subnets6", 1, "dns")),
    "a reservation of a port that one before is of": ("reservations[2]: name: x", ("dhcp", "reservations", 2, "name")),
    "a reservation that says nothing": ("reservations[3]: mac: x", ("dhcp", "reservations", 3, "mac")),
    "a reservation of IPv6 of an address that one before is of": (
        "reservations6[1]: address: x", ("dhcp", "reservations6", 1, "address")),
    "a profile": ("profile gpu: loader: x", ("dhcp", "profiles", "gpu", "loader")),
    "a switch port": ("ports[1]: another rule", ("dhcp", "ports", 1, "another rule")),
    "a setting of all": ("watch_s: 1: from 5 to 3600, or 0", ("dhcp", "watch_s")),
    "two subnets, at the second one": (
        "subnets 10.0.0.0/24 and this and that: the networks overlap", ("dhcp", "subnets", 3)),
    "two of one name, at the last one": ("subnets rack two and rack two: x", ("dhcp", "subnets", 5)),
    "two of IPv6": ("subnets6 fd00:8::/64 and rack two: x", ("dhcp", "subnets6", 1)),
    "two of one name, which are told by their networks": (
        "subnets 10.0.0.0/24 and 10.1.0.0/24: both are called x", ("dhcp", "subnets", 1)),
    "names with the word that stands between them": (
        "subnets this and that and those and these: the networks overlap", ("dhcp", "subnets", 4)),
    "two of which nobody knows": ("subnets a and b: the networks overlap", ("dhcp", "subnets a and b")),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "place"), PLACES.values(), ids=PLACES.keys())
def test_place_of(fault: str, place: Place) -> None:
    assert places_in(CONFIG)(fault) == place
