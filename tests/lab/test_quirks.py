"""Each quirk and fault under the daemon's own drivers, on the journey of a machine: what passes, and what is said.

Virtual time; the journey is that of tests/bmc/test_journey.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.bmc.verbs import Bmc
from provisioner.errors import BmcBusy, BmcError, BmcProtocolError, BmcTimeout, BmcWrongState
from provisioner.lab.chassis import Chassis
from provisioner.lab.faults import Fault, Faults
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from tests.bmc.faults import PASSWORD, USER, SimulatedBoard, Wire
from tests.bmc.test_journey import INSTALL, RELEASE, START, take

pytestmark = [pytest.mark.looptime, pytest.mark.peer, pytest.mark.timeout(600)]

IPMI, REDFISH = Driver.IPMI, Driver.REDFISH


def board_with(fault: Fault, times: int | None) -> SimulatedBoard:
    """A board whose machine runs, and which is like that from now on."""
    board = SimulatedBoard(Wire())
    faults = Faults()
    faults.start(fault, times)
    board.board.chassis = Chassis(board.machine, asyncio.get_running_loop().time, faults)
    return board


async def journey(driver: Driver, board: SimulatedBoard) -> tuple[list[BootTarget], list[BmcError]]:
    """Install, start and release; what the machine booted, and what failed on the way."""
    address = BmcAddress(driver, "192.0.2.1", 1, USER, "ab" * 32)
    make: Callable[[BmcAddress, str], Bmc] = board.driver
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.board.chassis.run())
        await board.machine.power_on()
        board.booted.clear()
        bmcs = Bmcs(quirks=(), make=make)
        failed = await take(bmcs, address, INSTALL)
        failed += await take(bmcs, address, START)
        failed += await take(bmcs, address, RELEASE)
        assert board.machine.power is Power.OFF
        running.cancel()
    return board.booted, failed


PASSES: dict[Fault, tuple[Driver, int | None]] = {
    Fault.NO_POWER_CYCLE: (REDFISH, None),
    Fault.MODE_RESET: (REDFISH, None),
    Fault.SETTINGS_OBJECT: (REDFISH, None),
    Fault.ETAG_REQUIRED: (REDFISH, None),
    Fault.ETAG_MOVES: (REDFISH, 2),
    Fault.SLASH_REDIRECT: (REDFISH, None),
    Fault.RESET_TASK: (REDFISH, None),
    Fault.STUCK_TASK: (REDFISH, None),
    Fault.ONCE_STAYS: (IPMI, None),
    Fault.FLAGS_EXPIRE: (IPMI, None),
    Fault.SLOW_POWER_OFF: (IPMI, None),
    Fault.STALE_POWER: (REDFISH, None),
    Fault.LOST_SESSION: (REDFISH, 1),
    Fault.SESSIONS_FULL: (REDFISH, 1),
    Fault.UNAVAILABLE: (REDFISH, 8),
    Fault.REDIRECT_LOOP: (REDFISH, 1),
    Fault.NODE_BUSY: (IPMI, 1),
    Fault.DEAF: (IPMI, 2),
}
"""Boards like this, or faults so often: nobody notices."""


@pytest.mark.parametrize("fault", PASSES, ids=str)
async def test_nobody_notices(fault: Fault) -> None:
    driver, times = PASSES[fault]
    booted, failed = await journey(driver, board_with(fault, times))
    assert failed == []
    assert booted == [BootTarget.PXE, BootTarget.DISK]


RECOVERS: dict[Fault, tuple[Driver, int, type[BmcError], str]] = {
    Fault.UNAVAILABLE: (REDFISH, 40, BmcBusy, "HTTP 503"),
    Fault.REDIRECT_LOOP: (REDFISH, 3, BmcProtocolError, "not followed"),
    Fault.NODE_BUSY: (IPMI, 8, BmcBusy, "node busy"),
}
"""Faults that last longer are said, and the step that is tried again passes."""


@pytest.mark.parametrize("fault", RECOVERS, ids=str)
async def test_what_lasts_is_said_and_passes_later(fault: Fault) -> None:
    driver, times, kind, words = RECOVERS[fault]
    booted, failed = await journey(driver, board_with(fault, times))
    assert failed
    assert {type(error) for error in failed} == {kind}
    assert words in failed[0].message
    assert booted == [BootTarget.PXE, BootTarget.DISK]


REFUSED: dict[Fault, tuple[Driver, type[BmcError], str]] = {
    Fault.FLAGS_UNREADABLE: (IPMI, BmcProtocolError, "taken, but the BMC reads back"),
    Fault.ETAG_MOVES: (REDFISH, BmcWrongState, "HTTP 412"),
    Fault.DEAF: (REDFISH, BmcTimeout, "power.off: not seen within"),
}
"""Boards that do not do what was asked: it is said, and the machine boots nothing that nobody asked for."""


@pytest.mark.parametrize("fault", REFUSED, ids=str)
async def test_what_is_not_done_is_said(fault: Fault) -> None:
    driver, kind, words = REFUSED[fault]
    board = board_with(fault, None)
    address = BmcAddress(driver, "192.0.2.1", 1, USER, "ab" * 32)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(board.board.chassis.run())
        bmcs = Bmcs(quirks=(), make=board.driver)
        await board.machine.power_on()
        ask = bmcs.set_power if fault is Fault.DEAF else bmcs.boot_once
        with pytest.raises(kind, match=words):
            await ask(address, PASSWORD, Power.OFF if fault is Fault.DEAF else BootTarget.PXE)  # type: ignore[arg-type]
        assert board.booted == [BootTarget.NONE]
        running.cancel()
