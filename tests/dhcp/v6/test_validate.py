"""What is wrong with DHCPv6 settings is said at load, all of it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.dhcp.subnets import Dhcp
from provisioner.dhcp.v6.subnets import Mode6, Reservation6, Subnet6
from provisioner.dhcp.v6.validate import faults_of
from provisioner.dhcp.validate import faults_of as faults_of_all
from provisioner.model.boot import Unknown
from tests.dhcp.v6.clients import MAC, OTHER_MAC, UUID, subnet

RESERVED = {"mode": Mode6.RESERVATIONS_ONLY, "pools": ()}

SUBNETS: dict[str, tuple[dict[str, Any], str]] = {
    "in order": ({}, ""),
    "quarantine in order": ({"unknown": Unknown.QUARANTINE, "quarantine_pools": ("fd00::200",)}, ""),
    "reservations only in order": (RESERVED, ""),
    "no network": ({"network": "10.0.0.0/24"}, "network: "),
    "an address in the network": ({"network": "fd00::1/64"}, "network: fd00::1/64 has host bits set"),
    "a group's network": ({"network": "ff02::/64", "pools": ()}, "ff02::/64 is no network that machines are on"),
    "our own network": ({"network": "::1/128", "pools": ()}, "::1/128 is no network that machines are on"),
    "all addresses": ({"network": "::/0", "pools": ()}, "::/0 is no network that machines are on"),
    "a link's own network": ({"network": "fe80::/64", "pools": ()}, "fe80::/64 is no network that machines are on"),
    "a pool that is none": ({"pools": ("fd00::x",)}, "pool 'fd00::x'"),
    "a pool elsewhere": ({"pools": ("fd01::1",)}, "pools: fd01::1-fd01::1: not inside fd00::/64"),
    "a pool that is turned round": ({"pools": ("fd00::9-fd00::1",)}, "ends before it begins"),
    "pools that overlap": ({"pools": ("fd00::1-fd00::9", "fd00::9")}, "pools: fd00::1- and fd00::9- overlap"),
    "our address in a pool": ({"server_address": "fd00::105"}, "holds fd00::105, which is the subnet's server_address"),
    "our address is none": ({"server_address": "fd00"}, "server_address: "),
    "a name server that is none": ({"dns": ("10.0.0.1",)}, "options: "),
    "an option that we set": ({"options": {"3": "x"}}, "options: option 3 is set by the server itself"),
    "an option that is none": ({"options": {"dns": "x"}}, "options: 'dns' is no option"),
    "an interface that cannot be": ({"interface": "eth 0"}, "interface: 'eth 0' is none: 1 to 15 characters"),
    "a loader with a blank": ({"loader": {"efi-x64": "a b"}}, "loader: efi-x64: 'a b' cannot be told to firmware"),
    "an architecture that is none": ({"loader": {"x86": "a"}}, "loader: unknown architecture 'x86'"),
    "too short a lease": ({"lease_s": 59}, "lease_s: 59: from 60 to 2147483647"),
    "preferred longer than valid": ({"preferred_s": 3601}, "preferred_s: 3601: from 0 to 3600"),
    "a preference that is none": ({"preference": 256}, "preference: 256: from 0 to 255"),
    "pools where only reservations count": ({"mode": Mode6.RESERVATIONS_ONLY}, "pools: mode reservations-only"),
    "nothing to give": ({"pools": ()}, "pools: unknown is discover, and there is no pool"),
    "quarantine without a pool": ({"unknown": Unknown.QUARANTINE}, "quarantine_pools: unknown is quarantine"),
    "a pool that nobody gets": ({"quarantine_pools": ("fd00::200",)}, "quarantine_pools: unknown is discover"),
    "name servers twice": ({"dns": ("fd00::2",), "options": {"23": "hex:00"}}, "options: dns writes option 23 already"),
    "search domains twice": ({"search": ("a.b",), "options": {"24": "hex:00"}}, "search writes option 24 already"),
    "time servers twice": ({"ntp": ("fd00::2",), "options": {"56": "hex:00"}}, "ntp writes option 56 already"),
    "no new machine at once": ({"new_burst": 0}, "new_burst: 0: from 1 to 2147483647"),
    "out of use for less than no time": ({"decline_s": -1}, "decline_s: -1: from 1"),
    "reservations only, and quarantine": (RESERVED | {"unknown": Unknown.QUARANTINE}, "unknown: quarantine needs"),
    "advertisements to nowhere": ({"router_advertisements": True, "interface": ""}, "router_advertisements: needs an"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "words"), SUBNETS.values(), ids=SUBNETS.keys())
def test_subnet(settings: dict[str, Any], words: str) -> None:
    found = faults_of([subnet(**settings)], [])
    assert any(words in fault for fault in found) if words else found == []


OTHER = {"network": "fd01::/64", "interface": "eth1", "pools": ("fd01::1",)}
PAIRS: dict[str, tuple[Subnet6, str]] = {
    "in order": (subnet(**OTHER), ""),
    "networks that overlap": (subnet(**OTHER | {"network": "fd00::/48", "pools": ("fd00::1",)}), "overlap"),
    "one name": (subnet(**OTHER, name="fd00::/64"), "both are called fd00::/64"),
    "one interface": (subnet(**OTHER | {"interface": "eth0"}), "both on eth0: give them the same shared_network"),
}


@pytest.mark.parametrize(("other", "words"), PAIRS.values(), ids=PAIRS.keys())
def test_between_subnets(other: Subnet6, words: str) -> None:
    found = faults_of([subnet(), other], [])
    assert any(words in fault for fault in found) if words else found == []


def test_shared_networks_agree() -> None:
    shared = [subnet(shared_network="w"), subnet(**OTHER | {"interface": "eth0"}, shared_network="w")]
    assert faults_of(shared, []) == []
    shared[1] = subnet(**OTHER, shared_network="w")
    assert faults_of(shared, []) == [
        "subnets6 fd00::/64 and fd01::/64: they share w, but differ in interface: change them together"
    ]


RESERVATIONS: dict[str, tuple[tuple[Reservation6, ...], str]] = {
    "in order": ((Reservation6(address="fd00::5", mac=MAC), Reservation6(address="fd00::6", uuid=UUID)), ""),
    "for nobody": ((Reservation6(address="fd00::5"),), "mac, duid or uuid: one of them"),
    "no address": ((Reservation6(mac=MAC),), "address: "),
    "in no subnet": ((Reservation6(address="fd09::5", mac=MAC),), "address: fd09::5 is in no subnet"),
    "a group's hardware address": ((Reservation6(address="fd00::5", mac="33:33:00:00:00:01"),), "is no network port's"),
    "a UUID that is none": ((Reservation6(address="fd00::5", uuid="zzz"),), "uuid: 'zzz' is none"),
    "a DUID that is none": ((Reservation6(address="fd00::5", duid="00"),), "duid: "),
    "an address twice": (
        (Reservation6(address="fd00::5", mac=MAC), Reservation6(address="fd00:0::5", mac=OTHER_MAC)),
        "fd00::5 is given twice",
    ),
    "a machine twice": (
        (Reservation6(address="fd00::5", mac=MAC), Reservation6(address="fd00::6", mac=MAC.upper())),
        "fd00::5 and fd00::6 are for the same machine",
    ),
}


@pytest.mark.parametrize(("reservations", "words"), RESERVATIONS.values(), ids=RESERVATIONS.keys())
def test_reservations(reservations: tuple[Reservation6, ...], words: str) -> None:
    found = faults_of([subnet()], reservations)
    assert any(words in fault for fault in found) if words else found == []


@pytest.mark.unmeasured
def test_thousands_are_looked_at_one_by_one() -> None:
    """Compared in pairs, as they once were, these alone would take all of the suite's minute."""
    machines = [
        Reservation6(address=f"fd00::1:{at:x}", mac=f"02:00:00:00:{at >> 8:02x}:{at & 255:02x}") for at in range(3000)
    ]
    assert faults_of([subnet()], machines) == []
    last = machines[-1]
    assert faults_of([subnet()], [*machines, last]) == [
        f"reservations6[3000]: address: {last.address} is given twice",
        f"reservations6[3000]: {last.address} and {last.address} are for the same machine",
    ]


def test_addresses_that_nobody_can_have() -> None:
    strangers = subnet(unknown=Unknown.QUARANTINE, quarantine_pools=("fd00::200-fd00::20f",), server_address="fd00::9")
    found = faults_of([strangers], [Reservation6(address=each, mac=MAC) for each in ("fd00::205", "fd00::9")])
    assert [fault.partition(": address: ")[2] for fault in found] == [
        "fd00::205 is in quarantine_pools, which are for unknown machines: take it out of there",
        "fd00::9 is the subnet's server_address",
    ]


def test_reservations_where_nothing_is_served() -> None:
    off = subnet(mode=Mode6.OFF, pools=())
    assert "which is off" in faults_of([off], [Reservation6(address="fd00::5", mac=MAC)])[0]


def test_both_families_are_looked_at() -> None:
    assert faults_of_all(Dhcp(subnets6=(Subnet6(),)))[0].startswith("subnets6[0]: network: ")
