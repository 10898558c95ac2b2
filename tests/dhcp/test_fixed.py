"""What is wrong with reservations and rules for switch ports is said before anything is served."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.dhcp.subnets import Dhcp, Mode, Overrides, PortRule, Reservation, Rogue
from provisioner.dhcp.validate import faults_of
from provisioner.model.boot import Unknown
from tests.dhcp.clients import MAC, OTHER_MAC, subnet
from tests.dhcp.test_validate import OTHER, PROXY, known

QUARANTINE: dict[str, Any] = {"unknown": Unknown.QUARANTINE, "quarantine_pools": ("10.0.0.200-10.0.0.210",)}
IN_QUARANTINE = "is in quarantine_pools, which are for unknown machines: take it out of there"

WRONG = {
    "a hardware address that is none": (known(Reservation(mac="node1")), "reservation node1: mac: not a MAC address"),
    "a group's hardware address": (known(Reservation(mac="ff:ff:ff:ff:ff:ff")), "is no network port's, but a group's"),
    "a hardware address of zeros": (known(Reservation(mac="00:00:00:00:00:00")), "or zeros"),
    "a name that is too long": (known(Reservation(mac=MAC, name="n." * 126 + "xx")), "is longer than 253 characters"),
    "a hardware address twice": (
        known(Reservation(mac=MAC), Reservation(mac=MAC.upper())),
        f"mac {MAC.upper()} is taken",
    ),
    "two fixed addresses in one subnet": (
        known(Reservation(mac=MAC, address="10.0.0.5", addresses=("10.0.0.6",))),
        "addresses: 10.0.0.5 and 10.0.0.6 are both in 10.0.0.0/24: leave one of them out",
    ),
    "another address in no subnet": (
        known(Reservation(mac=MAC, address="10.0.0.5", addresses=("10.9.9.9",))),
        "10.9.9.9 is in no subnet",
    ),
    "another address that is none": (known(Reservation(mac=MAC, addresses=("here",))), "address: "),
    "a name twice": (
        known(Reservation(mac=MAC, name="n"), Reservation(mac=OTHER_MAC, name="n")),
        f"name n is taken by reservation {MAC}",
    ),
    "a name that is none": (known(Reservation(mac=MAC, name="a b")), "name: 'a b' is no domain name"),
    "an address in no subnet": (known(Reservation(mac=MAC, address="10.9.9.9")), "10.9.9.9 is in no subnet"),
    "an address where none are given": (
        Dhcp(
            subnets=(subnet(mode=Mode.PROXY, pools=(), router=(), dns=(), domain=""),),
            reservations=(Reservation(mac=MAC, address="10.0.0.5"),),
        ),
        "where mode proxy gives no addresses",
    ),
    "an address that is none": (known(Reservation(mac=MAC, address="here")), "address: "),
    "a profile that is none": (
        known(Reservation(mac=MAC, profile="gpu")),
        "'gpu' is not among the profiles (there are none)",
    ),
    "a profile with a wrong option": (
        Dhcp(profiles={"gpu": Overrides(options={"x": "y"})}),
        "profile gpu: options: 'x'",
    ),
    "a port that says nothing": (Dhcp(ports=(PortRule(name="x"),)), "ports[0]: circuit_id or remote_id"),
    "a port that gives nothing": (Dhcp(ports=(PortRule(circuit_id="x"),)), "ports[0]: name, address or profile"),
    "a port with wrong hex": (Dhcp(ports=(PortRule(circuit_id="0xzz", name="x"),)), "ports[0]: "),
    "a port twice": (
        Dhcp(ports=(PortRule(circuit_id="x", name="a"), PortRule(circuit_id="0x78", name="b"))),
        "ports[1]: another rule has the same relay",
    ),
    "a port with an address in no subnet": (
        Dhcp(subnets=(subnet(),), ports=(PortRule(circuit_id="x", address="10.9.9.9"),)),
        "ports[0]: address: 10.9.9.9 is in no subnet",
    ),
    "a port with the router's address": (
        Dhcp(subnets=(subnet(),), ports=(PortRule(circuit_id="x", address="10.0.0.1"),)),
        "ports[0]: address: 10.0.0.1 is the subnet's router",
    ),
    "a port and a reservation with one address": (
        known(Reservation(mac=MAC, address="10.0.0.50"), ports=(PortRule(circuit_id="x", address="10.0.0.50"),)),
        f"reservation {MAC}: address: 10.0.0.50 is also that of ports[0], for whatever machine is there",
    ),
    "two ports with one address": (
        Dhcp(
            subnets=(subnet(),),
            ports=(PortRule(circuit_id="x", address="10.0.0.50"), PortRule(circuit_id="y", address="10.0.0.50")),
        ),
        "ports[1]: address: 10.0.0.50 is also that of another rule: where one machine hangs on both, give both",
    ),
    "two ports with one address and two names": (
        Dhcp(
            subnets=(subnet(),),
            ports=(
                PortRule(circuit_id="x", address="10.0.0.50", name="a"),
                PortRule(circuit_id="y", address="10.0.0.50", name="b"),
            ),
        ),
        "ports[1]: address: 10.0.0.50 is also that of another rule",
    ),
    "two reservations with one address": (
        known(Reservation(mac=MAC, address="10.0.0.50"), Reservation(mac=OTHER_MAC, addresses=("10.0.0.50",))),
        f"reservation {OTHER_MAC}: address 10.0.0.50 is taken by reservation {MAC}",
    ),
    "a reservation of the router's address": (
        known(Reservation(mac=MAC, address="10.0.0.1")),
        "address: 10.0.0.1 is the subnet's router",
    ),
    "a reservation of our own address": (
        Dhcp(
            subnets=(subnet(server_address="10.0.0.9"),), reservations=(Reservation(mac=MAC, addresses=("10.0.0.9",)),)
        ),
        "address: 10.0.0.9 is the subnet's server_address",
    ),
    "a reservation of the network's own address": (
        known(Reservation(mac=MAC, address="10.0.0.0")),
        "address: 10.0.0.0 is the network's own address",
    ),
    "a reservation of the broadcast address": (
        known(Reservation(mac=MAC, address="10.0.0.255")),
        "address: 10.0.0.255 is the network's broadcast address",
    ),
    "a reservation among the addresses of strangers": (
        Dhcp(subnets=(subnet(**QUARANTINE),), reservations=(Reservation(mac=MAC, address="10.0.0.200"),)),
        f"address: 10.0.0.200 {IN_QUARANTINE}",
    ),
    "a UUID that is none": (known(Reservation(mac=MAC, uuid="zzz")), "uuid: 'zzz' is none: write it as Linux prints"),
    "a UUID that firmware has by the thousand": (
        known(Reservation(mac=MAC, uuid="03000200-0400-0500-0006-000700080009")),
        "uuid: 03000200-0400-0500-0006-000700080009 is sent by firmware that has none",
    ),
    "GRUB of a profile beside another server": (
        Dhcp(subnets=(subnet(**PROXY),), profiles={"gpu": Overrides(loader={"efi-x64": "bootia32.efi"})}),
        "profile gpu: loader: efi-x64: bootia32.efi does not work beside another DHCP server",
    ),
    "GRUB of a machine beside another server": (
        Dhcp(subnets=(subnet(**PROXY),), reservations=(Reservation(mac=MAC, loader={"efi-x64": "core.efi"}),)),
        f"reservation {MAC}: loader: efi-x64: core.efi does not work beside another DHCP server",
    ),
    "GRUB of a machine's profile where its address may come to be beside another server": (
        Dhcp(
            subnets=(subnet(rogue=Rogue.FALLBACK), subnet(**OTHER | {"interface": "eth1"})),
            profiles={"gpu": Overrides(loader={"efi-x64": "grubx64.efi"})},
            reservations=(Reservation(mac=MAC, profile="gpu", address="10.0.0.50"),),
        ),
        f"reservation {MAC}: loader: efi-x64: grubx64.efi does not work beside another DHCP server",
    ),
    "GRUB of a port's profile beside another server": (
        Dhcp(
            subnets=(subnet(**PROXY),),
            profiles={"gpu": Overrides(loader={"efi-x64": "grubx64.efi"})},
            ports=(PortRule(circuit_id="x", profile="gpu"),),
        ),
        "ports[0]: loader: efi-x64: grubx64.efi does not work beside another DHCP server",
    ),
}


@pytest.mark.parametrize(("config", "fault"), WRONG.values(), ids=WRONG.keys())
def test_wrong(config: Dhcp, fault: str) -> None:
    found = faults_of(config)
    assert [line for line in found if fault in line], found
