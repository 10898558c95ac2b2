"""Which firmware a board is told to boot by, with the device. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.bmc.table import VERBS
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.machine import Machine

BOOTS = frozenset({"boot_once", "boot_always"})
_IS_UEFI = {"uefi": True, "bios": False}


def told_uefi(machine: Machine, address: BmcAddress) -> bool | None:
    """Say which firmware a board has to be told with a boot device; None where that may stay as it is set up.

    IPMI cannot say that: what is not told to be UEFI boots as a BIOS does (table 28-14, data 1, bit 5).
    """
    if address.driver is not Driver.IPMI or machine.facts is None:
        return None
    return _IS_UEFI.get(machine.facts.firmware)


def told(machine: Machine, address: BmcAddress, verb: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verb's arguments as they were given, and with a boot device the firmware."""
    if VERBS[verb].method not in BOOTS:
        return dict(given)
    return {"uefi": told_uefi(machine, address), **given}
