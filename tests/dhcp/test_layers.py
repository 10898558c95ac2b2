"""Several say what is fixed for a machine: who is heard, and what is left when one is silent again."""

from __future__ import annotations

import pytest

from provisioner.dhcp.layers import Layers, Origin
from provisioner.dhcp.subnets import Reservation
from provisioner.errors import ConfigError
from provisioner.model.boot import Trust
from provisioner.model.net import Mac

MAC = Mac("52:54:00:00:00:01")
FILE = Reservation(mac=MAC, address="10.0.0.5", name="old", loader={"bios": "a"}, options={"42": "10.0.0.1"})
OPERATOR = Reservation(mac="52-54-00-00-00-01", address="10.0.0.6", loader={"efi-x64": "b"})
TRUSTS = Reservation(mac=MAC, https=Trust.FIRMWARE)
MACHINE = Reservation(mac=MAC, name="node17", uuid="u1", profile="small")

MERGED = {
    "one alone": ({Origin.FILE: FILE}, FILE),
    "a machine's name stands over the file's, the file's address stays": (
        {Origin.MACHINE: MACHINE, Origin.FILE: FILE},
        Reservation(
            mac=MAC,
            address="10.0.0.5",
            name="node17",
            uuid="u1",
            profile="small",
            loader={"bios": "a"},
            options={"42": "10.0.0.1"},
        ),
    ),
    "all fixed addresses are of who said one last": (
        {Origin.OPERATOR: OPERATOR, Origin.FILE: Reservation(mac=MAC, addresses=("10.5.0.5",), name="old")},
        Reservation(mac=MAC, address="10.0.0.6", name="old", loader={"efi-x64": "b"}),
    ),
    "what is trusted is of who said it last": (
        {Origin.OPERATOR: TRUSTS, Origin.FILE: Reservation(mac=MAC, https=Trust.NOBODY), Origin.MACHINE: MACHINE},
        Reservation(mac=MAC, name="node17", uuid="u1", profile="small", https=Trust.FIRMWARE),
    ),
    "an operator's address stands over the file's, loaders add up": (
        {Origin.OPERATOR: OPERATOR, Origin.FILE: FILE},
        Reservation(
            mac=MAC, address="10.0.0.6", name="old", loader={"bios": "a", "efi-x64": "b"}, options={"42": "10.0.0.1"}
        ),
    ),
}


@pytest.mark.parametrize(("said", "holds"), MERGED.values(), ids=MERGED.keys())
def test_what_holds(said: dict[Origin, Reservation], holds: Reservation) -> None:
    layers = Layers()
    for origin, reservation in said.items():
        assert layers.with_(origin, reservation).mac == MAC
        layers.set(origin, reservation)
    assert layers.merged(MAC) == holds
    assert {origin for origin, _ in layers} == said.keys()


def test_who_falls_silent_leaves_what_others_said() -> None:
    layers = Layers()
    layers.set(Origin.FILE, FILE)
    layers.set(Origin.MACHINE, MACHINE)
    assert layers.without(Origin.MACHINE, MAC) == FILE
    assert layers.remove(Origin.MACHINE, MAC) == MACHINE
    assert layers.merged(MAC) == FILE
    assert layers.get(MAC, Origin.MACHINE) is None
    assert layers.remove(Origin.MACHINE, MAC) is None
    layers.remove(Origin.FILE, MAC)
    assert layers.merged(MAC) is None
    assert layers.without(Origin.FILE, MAC) is None


def test_whose_an_address_is() -> None:
    layers = Layers()
    layers.set(Origin.FILE, FILE)
    layers.set(Origin.OPERATOR, Reservation(mac=MAC, address="10.0.0.5"))
    other = Reservation(mac="52:54:00:00:00:02", address="10.0.0.5")
    layers.set(Origin.OPERATOR, other)
    address = 0x0A000005
    assert layers.holders(address) == {MAC, other.mac}
    layers.remove(Origin.OPERATOR, MAC)
    assert layers.holders(address) == {MAC, other.mac}
    layers.set(Origin.FILE, MACHINE)
    layers.remove(Origin.OPERATOR, Mac(other.mac))
    assert layers.holders(address) == set()


def test_a_malformed_hardware_address_changes_nothing() -> None:
    layers = Layers()
    with pytest.raises(ConfigError):
        layers.with_(Origin.FILE, Reservation(mac="52:54"))
    assert list(layers) == []


def test_pages_in_the_order_of_hardware_addresses() -> None:
    layers = Layers()
    macs = [Mac(f"52:54:00:00:00:0{number}") for number in range(5)]
    for mac in reversed(macs[:3]):
        layers.set(Origin.FILE, Reservation(mac=mac))
    assert layers.page("", 2) == macs[:2]
    layers.set(Origin.FILE, Reservation(mac=macs[4]))
    layers.set(Origin.OPERATOR, Reservation(mac=macs[3]))
    layers.remove(Origin.FILE, macs[2])
    assert layers.page(macs[1], 9) == macs[3:]
    assert layers.page("", 9) == [*macs[:2], *macs[3:]]


def test_who_has_a_loader_or_a_profile_of_its_own() -> None:
    layers = Layers()
    macs = [Mac(f"52:54:00:00:00:0{number}") for number in range(4)]
    layers.set(Origin.FILE, Reservation(mac=macs[3], loader={"bios": "a"}, name="file"))
    layers.set(Origin.OPERATOR, Reservation(mac=macs[3], name="said"))
    layers.set(Origin.MACHINE, Reservation(mac=macs[1], profile="storage"))
    layers.set(Origin.FILE, Reservation(mac=macs[2], name="plain"))
    assert layers.special() == [
        Reservation(mac=macs[1], profile="storage"),
        Reservation(mac=macs[3], loader={"bios": "a"}, name="said"),
    ]
