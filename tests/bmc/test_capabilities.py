"""Which driver keeps which Protocol."""

from __future__ import annotations

import pytest

from provisioner.bmc import capabilities
from provisioner.bmc.capabilities import beyond
from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.redfish.driver import Redfish
from tests.bmc.fake import FakeBmc

KEPT = {
    Ipmi: {"CanWatch", "CanTakeInventory", "CanShowConsole", "CanManageAccounts", "CanConfigureNetwork", "CanShine"},
    Redfish: {name for name in vars(capabilities) if name.startswith("Can")},
}


@pytest.mark.parametrize("driver", KEPT)
def test_a_driver_keeps_its_protocols_and_no_others(driver: type) -> None:
    protocols = {name: kind for name, kind in vars(capabilities).items() if name.startswith("Can")}
    assert {name for name, kind in protocols.items() if issubclass(driver, kind)} == KEPT[driver]


def test_what_is_beyond_a_driver() -> None:
    error = beyond(FakeBmc(), "console.open")
    assert "console.open: the redfish driver cannot do this" in error.message
