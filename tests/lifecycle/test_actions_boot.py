"""What a machine's board is told to boot: by IPMI with the firmware that the machine has. Virtual time, no network."""

from __future__ import annotations

import pytest

from provisioner.bmc.ways import Ways
from provisioner.lab.chassis import Mode
from provisioner.lifecycle.actions import Actions
from provisioner.lifecycle.steps import Perform
from provisioner.model.bmc import BootTarget, Driver
from provisioner.model.facts import Facts
from provisioner.model.machine import Machine, Phase, State, Step
from tests.bmc.faults import PASSWORD, Wire, spoilt

pytestmark = [pytest.mark.looptime(noop_cycles=0), pytest.mark.peer]

UEFI, BIOS = Facts(firmware="uefi"), Facts(firmware="bios")


class Words:
    """The store's passwords."""

    async def get(self, name: str) -> str:
        return PASSWORD


TOLD: dict[str, tuple[Driver, Facts | None, bool | None, Mode | None]] = {
    # the driver, the facts, what the board was told before, and the mode that it is told
    "UEFI": (Driver.IPMI, UEFI, None, Mode.UEFI),
    "UEFI, after it was told otherwise": (Driver.IPMI, UEFI, False, Mode.UEFI),
    "BIOS": (Driver.IPMI, BIOS, True, Mode.LEGACY),
    "of no facts: as it was told before": (Driver.IPMI, None, True, Mode.UEFI),
    "of facts that do not say: as it was told before": (Driver.IPMI, Facts(), True, Mode.UEFI),
    "never told anything": (Driver.IPMI, None, None, Mode.LEGACY),
    "by Redfish it stays as it is set up": (Driver.REDFISH, UEFI, False, Mode.LEGACY),
}


@pytest.mark.parametrize(("driver", "facts", "before", "mode"), TOLD.values(), ids=TOLD.keys())
@pytest.mark.parametrize("step", ["boot.network", "boot.disk"])
async def test_the_firmware_that_is_told(
    step: str, driver: Driver, facts: Facts | None, before: bool | None, mode: Mode | None
) -> None:
    async with spoilt(driver, Wire()) as (bmcs, address, board):
        if before is not None:
            await bmcs.boot_once(address, PASSWORD, BootTarget.PXE, uefi=before)
        machine = Machine("m1", "node17", State.READY, bmc=address, facts=facts)
        ways = Ways(bmcs, Words(), lambda _: ())  # type: ignore[arg-type]
        actions = Actions(bmcs, ways, lambda _line: None)
        await actions.perform(machine, Perform("r1", 0, Step(step, Phase.POWER, 60.0)))
        assert board.board.chassis.override.mode is mode
