"""A change of firmware settings is planned against what is set and what the registry allows."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.bmc.biosplan import plan_bios
from provisioner.model.board import BiosAttribute, BiosSettings, BiosValue

SETTINGS = BiosSettings(
    current={"BootMode": "Bios", "Cores": 0, "Asset": "", "Sriov": False, "Serial": "S1", "Free": "x"},
    pending={"Cores": 4},
    registry={
        "BootMode": BiosAttribute("BootMode", "enumeration", ("Bios", "Uefi")),
        "Cores": BiosAttribute("Cores", "integer", lowest=0, highest=8),
        "Asset": BiosAttribute("Asset", "string", longest=4),
        "Sriov": BiosAttribute("Sriov", "boolean"),
        "Serial": BiosAttribute("Serial", "string", read_only=True),
    },
)

PLANS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a change": ({"BootMode": "Uefi"}, {"BootMode": "Uefi"}, ""),
    "what is set already": ({"BootMode": "Bios"}, {}, ""),
    "what waits already": ({"Cores": 4}, {}, ""),
    "back to what is set, before it was applied": ({"Cores": 0}, {"Cores": 0}, ""),
    "no such setting": ({"Turbo": True}, {}, "Turbo: the board has no such setting"),
    "no such choice": ({"BootMode": "Coreboot"}, {}, "BootMode: 'Coreboot' is none of Bios, Uefi"),
    "too high": ({"Cores": 9}, {}, "Cores: 9 is above 8"),
    "too low": ({"Cores": -1}, {}, "Cores: -1 is below 0"),
    "a number as text": ({"Cores": "4"}, {}, "Cores: '4' is no whole number"),
    "true is no number": ({"Cores": True}, {}, "Cores: True is no whole number"),
    "too long": ({"Asset": "abcde"}, {}, "Asset: longer than 4 characters"),
    "a text as number": ({"Asset": 1}, {}, "Asset: 1 is no text"),
    "neither true nor false": ({"Sriov": "yes"}, {}, "Sriov: 'yes' is neither true nor false"),
    "read-only": ({"Serial": "S2"}, {}, "Serial: read-only"),
    "read-only, but as it is": ({"Serial": "S1"}, {}, ""),
    "not in the registry": ({"Free": "y"}, {"Free": "y"}, ""),
    "one fault stops all": ({"BootMode": "Uefi", "Cores": 9}, {}, "Cores: 9 is above 8"),
}


@pytest.mark.parametrize(("wanted", "changes", "fault"), PLANS.values(), ids=PLANS.keys())
def test_plan_bios(wanted: dict[str, BiosValue], changes: dict[str, BiosValue], fault: str) -> None:
    plan = plan_bios(SETTINGS, wanted)
    assert plan.changes == changes
    assert "; ".join(plan.faults) == fault
