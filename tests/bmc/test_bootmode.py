"""The firmware that a board is told with a boot device, where a verb is asked for by its name."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.bmc.bootmode import told
from provisioner.model.bmc import BmcAddress, Driver
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, State

IPMI = BmcAddress(Driver.IPMI, "192.0.2.1", 623, "admin")
UEFI = Machine("m1", "node17", State.READY, facts=Facts(firmware="uefi"))

GIVEN: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "a boot": ("boot.once.pxe", {}, {"uefi": True}),
    "a boot that says it": ("boot.always.disk", {"uefi": False}, {"uefi": False}),
    "no boot": ("boot.read", {}, {}),
}


@pytest.mark.parametrize(("verb", "given", "arguments"), GIVEN.values(), ids=GIVEN.keys())
def test_told(verb: str, given: dict[str, Any], arguments: dict[str, Any]) -> None:
    assert told(UEFI, IPMI, verb, given) == arguments
