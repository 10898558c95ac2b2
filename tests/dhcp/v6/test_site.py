"""Which machine asks, and which of its associations has which address."""

from __future__ import annotations

import pytest

from provisioner.dhcp.leases import LeaseState
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.case import Reply6
from provisioner.dhcp.v6.message import Type
from provisioner.dhcp.v6.options import (
    Opt,
    addresses_in,
    decode_ia,
    decode_status,
    every,
    first,
)
from provisioner.dhcp.v6.subnets import Mode6, Reservation6
from provisioner.model.boot import BootClient, LocalDisk, Plan
from tests.dhcp.v6.clients import (
    FIRMWARE,
    IPXE_DUID,
    LOADER,
    MAC,
    OS,
    OTHER_MAC,
    OVMF_DUID,
    PXE,
    SYSTEM,
    UUID,
    Says,
    acquire,
    ask,
    direct,
    duid_ll,
    given,
    ia,
    ip,
    outcome,
    said,
    site,
    subnet,
    us,
)

SOLICIT, REQUEST, CONFIRM, RENEW = Type.SOLICIT, Type.REQUEST, Type.CONFIRM, Type.RENEW
REBIND, RELEASE, DECLINE, INFORM = Type.REBIND, Type.RELEASE, Type.DECLINE, Type.INFORMATION_REQUEST


def test_decisions_are_about_machines_and_their_uuid() -> None:
    asked: list[BootClient] = []

    def decide(client: BootClient) -> Plan:
        asked.append(client)
        return LocalDisk("")

    here = site(decide=decide)
    for client in (FIRMWARE, LOADER):
        ask(here, client.message(SOLICIT, ia()))
    assert {(each.mac, each.uuid, each.arch) for each in asked} == {(MAC, UUID, 7)}


def test_of_two_uuids_the_one_on_record_is_meant() -> None:
    odd = bytes.fromhex("0004 00112233 4455 6677 8899aabbccddeeff")
    asked: list[BootClient] = []

    def decide(client: BootClient) -> Plan:
        asked.append(client)
        return LocalDisk("")

    here = site(decide=decide, known=(Reservation(mac=OTHER_MAC, uuid="00112233-4455-6677-8899-AABBCCDDEEFF"),))
    ask(here, Says(odd, PXE).message(SOLICIT, ia()))
    assert asked[0].uuid == "00112233-4455-6677-8899-aabbccddeeff"


def test_firmware_loader_and_system_of_a_machine_have_one_address() -> None:
    here = site()
    assert {acquire(here, client) for client in (FIRMWARE, LOADER, OS, FIRMWARE)} == {"fd00::100"}
    assert acquire(here, OS._replace(duid=duid_ll(OTHER_MAC)), OTHER_MAC) == "fd00::101"


def test_firmware_that_makes_up_a_number_for_each_boot_keeps_its_address() -> None:
    here = site()
    assert [acquire(here, FIRMWARE, iaid=number) for number in (71, 72, 73)] == ["fd00::100"] * 3


def test_a_system_with_the_duid_of_its_loader_has_its_address() -> None:
    """dhcpcd makes its DUID of the SMBIOS UUID, as iPXE does. The daemon may restart between them."""
    here, system = site(), Says(IPXE_DUID, SYSTEM)
    assert acquire(here, LOADER, iaid=1) == "fd00::100"
    pool = next(iter(here.topology)).pool
    again = site()
    next(iter(again.topology)).pool.load(pool.by_ip.values())
    for where in (here, again):
        assert acquire(where, system, iaid=2) == "fd00::100"
        assert acquire(where, system, iaid=3) == "fd00::101"
        assert [acquire(where, LOADER, iaid=4), acquire(where, system, iaid=2)] == ["fd00::100"] * 2
        assert acquire(where, system, iaid=3) == "fd00::101"


def test_a_system_that_starts_from_the_disk_after_its_installer_has_its_address() -> None:
    """Nothing boots from the network in between. So two that live at once behind one port share it (docs/dhcp.md)."""
    here = site(fixed=(Reservation6(address="fd00::50", mac=MAC),))
    installer = OS._replace(duid=duid_ll("52:54:00:00:00:77"))
    assert [acquire(here, each) for each in (installer, OS)] == ["fd00::50"] * 2


EDK2_IA = (Opt.IA_NA, b"\0\0\0\7" + b"\xff" * 8)
EDK2 = Says(OVMF_DUID, ((Opt.REQUEST_LIST, b"\0\x17"),))
"""UEFI's own configuration, which a router advertisement told to ask."""


def test_what_ovmf_asks_beside_takes_nothing_from_what_it_boots_with() -> None:
    """It may be the first to ask, and must not have the fixed address."""
    here = site(fixed=(Reservation6(address="fd00::50", uuid=UUID),))
    beside = [ask(here, EDK2.message(Type.SOLICIT, EDK2_IA)), ask(here, us(EDK2, Type.REQUEST, EDK2_IA))]
    assert [given(each) for each in beside] == [[["fd00::100"]]] * 2
    assert [acquire(here, FIRMWARE, iaid=number) for number in (1, 2)] == ["fd00::50"] * 2
    assert given(ask(here, us(EDK2, Type.RENEW, EDK2_IA))) == [["fd00::100"]]
    only = site(subnet(mode=Mode6.RESERVATIONS_ONLY, pools=()), fixed=(Reservation6(address="fd00::50", uuid=UUID),))
    assert outcome(ask(only, EDK2.message(Type.SOLICIT, EDK2_IA))) == "ADVERTISE status 2"
    assert acquire(only, FIRMWARE) == "fd00::50"


def test_one_port_has_a_bounded_number_of_addresses() -> None:
    here = site(subnet(pools=("fd00::100-fd00::1ff",)))
    assert len({acquire(here, OS, iaid=number) for number in range(40)}) == 8


def test_associations_beyond_the_fourth_get_nothing() -> None:
    found = said(ask(site(), OS.message(SOLICIT, *(ia(number) for number in range(6)))))
    last = decode_ia(3, every(found.options, 3)[5])
    assert decode_status(first(last.options, 13))[0] == 2
    assert len(given(ask(site(), OS.message(SOLICIT, *(ia(number) for number in range(6)))))[3]) == 1


FIXED = {
    "by hardware address": (Reservation6(address="fd00::50", mac=MAC), OS, MAC),
    "by DUID, on whatever port": (Reservation6(address="fd00::50", duid=duid_ll().hex(":")), OS, OTHER_MAC),
    "by UUID, as firmware writes it": (Reservation6(address="fd00::50", uuid=UUID), FIRMWARE, MAC),
    "by UUID, as iPXE writes it": (Reservation6(address="fd00::50", uuid=UUID.upper()), LOADER, MAC),
    "by hardware address and UUID": (Reservation6(address="fd00::50", mac=MAC, uuid=UUID), FIRMWARE, MAC),
}


@pytest.mark.parametrize(("reservation", "client", "mac"), FIXED.values(), ids=FIXED.keys())
def test_fixed(reservation: Reservation6, client: Says, mac: str) -> None:
    here = site(fixed=(reservation,))
    assert acquire(here, client, mac) == "fd00::50"
    stranger = Says(b"\0\3\0\1\2\2\2\2\2\2")
    assert acquire(here, stranger, "02:02:02:02:02:02") == "fd00::100"


def test_a_reservation_wants_all_that_it_says() -> None:
    here = site(fixed=(Reservation6(address="fd00::50", mac=OTHER_MAC, uuid=UUID),))
    assert acquire(here, FIRMWARE, MAC) == "fd00::100"


def test_a_reservation_moves_its_machine_at_the_next_renewal() -> None:
    here = site()
    assert acquire(here) == "fd00::100"
    here.set_reservation(Reservation6(address="fd00::50", mac=MAC))
    found = ask(here, us(OS, RENEW, ia(1, "fd00::100")))
    association = decode_ia(3, said(found).option(3) or b"")
    assert [(each.ip, each.valid_s) for each in addresses_in(association)] == [
        (ip("fd00::50"), 3600),
        (ip("fd00::100"), 0),
    ]
    assert isinstance(found, Reply6)
    assert [(lease.ip, lease.state) for lease in found.store] == [
        (ip("fd00::50"), LeaseState.BOUND),
        (ip("fd00::100"), LeaseState.RELEASED),
    ]


FORGOTTEN = {
    "the first port is forgotten": ((MAC,), "node17"),
    "the second port is forgotten": ((OTHER_MAC,), "node17"),
    "every port is forgotten": ((MAC, OTHER_MAC), ""),
}


@pytest.mark.parametrize(("gone", "name"), FORGOTTEN.values(), ids=FORGOTTEN.keys())
def test_a_machine_is_known_by_its_uuid_as_long_as_one_port_is_on_record(gone: tuple[str, ...], name: str) -> None:
    here = site(known=tuple(Reservation(mac=mac, uuid=UUID, name="node17") for mac in (MAC, OTHER_MAC)))
    for mac in gone:
        here.remove_machine(bytes.fromhex(mac.replace(":", "")))
    found = ask(here, us(Says(IPXE_DUID, PXE), REQUEST, ia()), direct("52:54:00:00:00:03"))
    assert isinstance(found, Reply6)
    assert found.store[0].name == name
    left = [mac for mac in (MAC, OTHER_MAC) if mac not in gone]
    assert found.store[0].machine == bytes.fromhex("".join(left).replace(":", ""))


def test_a_lease_says_which_machine_the_port_belongs_to_when_its_system_does_not() -> None:
    here = site(known=(Reservation(mac=MAC, uuid=UUID, name="node17"),))
    for client in (Says(IPXE_DUID, PXE), OS._replace(duid=duid_ll(OTHER_MAC))):
        found = ask(here, us(client, REQUEST, ia()), direct(OTHER_MAC))
        assert isinstance(found, Reply6)
        assert [lease.machine.hex(":") for lease in found.store] == [MAC]


def test_another_duid_in_the_same_order_is_the_same_machine() -> None:
    here = site(known=(Reservation(mac=MAC, uuid=UUID, name="node17"),))
    found = ask(here, us(Says(IPXE_DUID, PXE), REQUEST, ia()), direct(OTHER_MAC))
    assert isinstance(found, Reply6)
    assert found.store[0].name == "node17"
