"""The light, at the system or its chassis, in the old property and the new."""

from __future__ import annotations

import pytest

from provisioner.bmc.redfish.driver import Redfish
from provisioner.errors import BmcProtocolError, BmcUnsupported
from provisioner.model.board import Led
from tests.bmc.redfish.service import SYSTEM, Service, says

CHASSIS = "/redfish/v1/Chassis/1"


@pytest.fixture(autouse=True)
def with_chassis(board: Service) -> None:
    board.system["Links"]["Chassis"] = [{"@odata.id": CHASSIS}]
    board.resources[CHASSIS] = {}


@pytest.mark.parametrize("wanted", list(Led))
async def test_old_light_at_the_system(board: Service, bmc: Redfish, wanted: Led) -> None:
    board.system["IndicatorLED"] = "Off"
    await bmc.set_led(wanted)
    assert await bmc.led() is wanted


async def test_new_light_at_the_chassis(board: Service, bmc: Redfish) -> None:
    board.resources[CHASSIS]["LocationIndicatorActive"] = False
    await bmc.set_led(Led.ON)
    assert board.bodies == [{"LocationIndicatorActive": True}]
    assert await bmc.led() is Led.BLINKING
    await bmc.set_led(Led.OFF)
    assert await bmc.led() is Led.OFF


async def test_no_light(bmc: Redfish) -> None:
    with pytest.raises(BmcUnsupported, match="has a light"):
        await bmc.set_led(Led.ON)


async def test_a_light_that_stays_dark(board: Service, bmc: Redfish) -> None:
    board.system["IndicatorLED"] = "Off"
    board.next(f"PATCH {SYSTEM}", says(204))
    with pytest.raises(BmcProtocolError, match="the light is not on"):
        await bmc.set_led(Led.ON)
