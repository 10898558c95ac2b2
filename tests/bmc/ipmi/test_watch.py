"""Sensors, log, parts and light by IPMI, against the lab's board and OpenIPMI's."""

from __future__ import annotations

import pytest

from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.ipmi.watch import health_of
from provisioner.model.bmc import BmcAddress, BmcIdentity, Power
from provisioner.model.board import Health, Led
from tests.bmc.simulated import Simulated

pytestmark = pytest.mark.peer


@pytest.mark.slow
async def test_sensors(bmc: Ipmi) -> None:
    found = {sensor.name: sensor for sensor in await bmc.sensors()}
    assert (found["Inlet Temp"].value, found["Inlet Temp"].unit) == (22.0, "C")
    assert found["Inlet Temp"].health is Health.OK
    await bmc.set_power(Power.ON)
    found = {sensor.name: sensor for sensor in await bmc.sensors()}
    assert found["CPU Temp"].value == 47.0
    assert await bmc.health() in (Health.OK, Health.WARNING, Health.CRITICAL)


@pytest.mark.slow
async def test_log(board: Simulated, bmc: Ipmi) -> None:
    await bmc.set_power(Power.ON)
    entries = await bmc.event_log()
    assert entries
    assert [int(entry.id) for entry in entries] == sorted(int(entry.id) for entry in entries)
    await bmc.clear_event_log()
    assert len(await bmc.event_log()) <= 1


async def test_log_of_openipmi(worker: WorkerLink, openipmi: BmcAddress) -> None:
    bmc = Ipmi(openipmi, "test", worker)
    assert await bmc.event_log() == ()
    await bmc.clear_event_log()


async def test_parts(board: Simulated, bmc: Ipmi) -> None:
    found = await bmc.inventory()
    assert found.facts.serial == board.machine.identity.serial
    assert found.facts.uuid == board.machine.identity.uuid
    assert (await bmc.identify()).serial == board.machine.identity.serial
    assert await bmc.whose() == BmcIdentity(board.machine.identity.uuid), "its records are not read before each change"


async def test_light(board: Simulated, bmc: Ipmi) -> None:
    await bmc.set_led(Led.ON)
    assert board.board.locating
    assert await bmc.led() in (Led.ON, Led.BLINKING)
    await bmc.set_led(Led.OFF)
    assert not board.board.locating


LEVELS = {0: Health.OK, 1: Health.WARNING, 2: Health.CRITICAL, 4: Health.CRITICAL, 3: Health.CRITICAL}


@pytest.mark.parametrize(("level", "health"), LEVELS.items())
def test_health_of(level: int, health: Health) -> None:
    assert health_of(level) is health
