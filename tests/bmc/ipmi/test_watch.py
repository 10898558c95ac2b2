"""Sensors, log, parts and light by IPMI, against the lab's board and OpenIPMI's."""

from __future__ import annotations

import asyncio

import pytest

from provisioner.bmc.ipmi import watch
from provisioner.bmc.ipmi.driver import Ipmi
from provisioner.bmc.ipmi.link import WorkerLink
from provisioner.bmc.ipmi.messages import Answer, Command, Reply, Request
from provisioner.bmc.ipmi.watch import health_of
from provisioner.bmc.table import VERBS
from provisioner.errors import BmcProtocolError
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver, Power
from provisioner.model.board import Health, Led
from tests.bmc.faults import MemoryLink, SimulatedBoard, Wire
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


class Slow(MemoryLink):
    """A board whose log takes so long to be erased."""

    def __init__(self, board: SimulatedBoard, erase_s: float) -> None:
        super().__init__(board)
        self._erase_s = erase_s
        self._done_at = 0.0

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        assert isinstance(request, Command)
        now = asyncio.get_running_loop().time()
        match request.command:
            case watch.CLEAR_SEL if request.data[5] == watch.CLEAR_START:
                self._done_at = now + self._erase_s
                return Answer(request.id, 0, b"\x00")
            case watch.CLEAR_SEL:
                return Answer(request.id, 0, bytes((now >= self._done_at,)))
            case watch.SEL_INFO:
                entries = 0 if now >= self._done_at else 300
                return Answer(request.id, 0, b"\x51" + entries.to_bytes(2, "little") + bytes(11))
        return await super().ask(request, timeout_s)


@pytest.mark.looptime
@pytest.mark.parametrize(("erase_s", "within_s"), [(1.0, 2.0), (60.0, 70.0)])
async def test_a_log_that_takes_its_time_to_be_erased_is_waited_for(erase_s: float, within_s: float) -> None:
    bmc = Ipmi(BmcAddress(Driver.IPMI, "192.0.2.1", 623, "admin"), "p", Slow(SimulatedBoard(Wire()), erase_s))
    await bmc.clear_event_log()
    assert asyncio.get_running_loop().time() <= within_s


@pytest.mark.looptime
async def test_a_log_that_is_not_erased_in_time_is_an_error() -> None:
    bmc = Ipmi(BmcAddress(Driver.IPMI, "192.0.2.1", 623, "admin"), "p", Slow(SimulatedBoard(Wire()), 1e9))
    with pytest.raises(BmcProtocolError, match="still has entries"):
        await bmc.clear_event_log()
    assert asyncio.get_running_loop().time() <= VERBS["log.clear"].limit_s


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
