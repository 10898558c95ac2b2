"""A BMC and a machine are one by UUID, else by serial; an address says nothing."""

from __future__ import annotations

import pytest

from provisioner.bmc.join import Match, bmc_kind, is_serial, match, sole_twin
from provisioner.errors import ConflictError
from provisioner.model.bmc import BmcIdentity
from provisioner.model.machine import Machine, State

UUID = "4c4c4544-0042-3310-8052-b7c04f4d3132"
SWAPPED = "44454c4c-4200-1033-8052-b7c04f4d3132"

CASES = {
    "the same UUID": (UUID, "S1", UUID, "S1", "uuid"),
    "in the other byte order": (SWAPPED, "", UUID, "", "uuid"),
    "in capitals": (UUID.upper(), "", UUID, "", "uuid"),
    "another UUID, the serial of the chassis that both are in": (UUID, "C1", SWAPPED.replace("4", "5"), "C1", ""),
    "no UUID, the same serial": ("", "AB123", UUID, "ab123", "serial"),
    "a UUID of zeros, the same serial": ("00000000-0000-0000-0000-000000000000", "AB123", UUID, "AB123", "serial"),
    "a serial that nobody wrote": ("", "To be filled by O.E.M.", "", "To be filled by O.E.M.", ""),
    "nothing known": ("", "", "", "", ""),
    "no UUID but words": ("not a uuid", "AB123", UUID, "AB124", ""),
}


@pytest.mark.parametrize(("uuid", "serial", "machine", "label", "by"), CASES.values(), ids=CASES.keys())
def test_match(uuid: str, serial: str, machine: str, label: str, by: str) -> None:
    found = match(BmcIdentity(uuid=uuid, serial=serial), machine, label)
    assert (found.by if found else "") == by
    assert found is None or isinstance(found, Match)


BLADES = [Machine(name, name, State.READY, uuid=uuid, serial="CHASSIS7") for name, uuid in (("a", UUID), ("b", ""))]


@pytest.mark.parametrize(
    ("board", "name"), [(BmcIdentity(UUID, serial="CHASSIS7"), "a"), (BmcIdentity(serial="OTHER1"), "")]
)
def test_a_board_that_nobody_names_is_of_one_machine(board: BmcIdentity, name: str) -> None:
    twin = sole_twin(board, BLADES)
    assert (twin.name if twin is not None else "") == name


def test_the_serial_number_of_a_chassis_tells_no_blade_from_another() -> None:
    with pytest.raises(ConflictError, match=r"CHASSIS7, is that of a, b: whose it is, it does not say .*bmc add"):
        sole_twin(BmcIdentity(serial="CHASSIS7"), BLADES)


@pytest.mark.parametrize("text", ["", "0", "None", "Default string", "0123456789", "N/A", "....", "xxxx-000", "Empty"])
def test_what_is_no_serial(text: str) -> None:
    assert not is_serial(text)


KINDS = {
    "iDRAC": "iDRAC",
    "CPQRIB3": "iLO",
    "DCMI36465:1.5": "DCMI",
    "PXEClient:Arch:00007": "",
    "udhcp 1.36": "",
    "": "",
}


@pytest.mark.parametrize(("vendor_class", "kind"), KINDS.items())
def test_bmc_kind(vendor_class: str, kind: str) -> None:
    assert bmc_kind(vendor_class) == kind
