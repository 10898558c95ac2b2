"""A machine's journey with a fault after every request: it ends where it should, and never boots what nobody asked for.

The journey is the conductor's: off, boot from the network once, on; once installed off, from then on the disk, on;
at last released: off, own order. A step that fails is tried again later, as the conductor does it. Virtual time.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from provisioner.bmc.pool import Bmcs
from provisioner.errors import BmcAuthError, BmcError, BmcUnsupported
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from tests.bmc.faults import PASSWORD, Fault, SimulatedBoard, Wire, spoilt
from tests.share import Share

# no thread has anything to say: no turn of the loop has to be waited for before time moves on
pytestmark = [pytest.mark.looptime(noop_cycles=0), pytest.mark.peer, pytest.mark.timeout(600)]

INSTALL: tuple[tuple[str, Any], ...] = (
    ("set_power", Power.OFF),
    ("boot_once", BootTarget.PXE),
    ("set_power", Power.ON),
)
START: tuple[tuple[str, Any], ...] = (
    ("set_power", Power.OFF),
    ("boot_always", BootTarget.DISK),
    ("set_power", Power.ON),
)
RELEASE: tuple[tuple[str, Any], ...] = (
    ("set_power", Power.OFF),
    ("boot_always", BootTarget.NONE),
)
TRIES = 4
PAUSE_S = 150.0
"""Longer than the breaker's longest rest."""


async def take(bmcs: Bmcs, address: BmcAddress, steps: tuple[tuple[str, Any], ...]) -> list[BmcError]:
    """Take steps one after the other, each again when it fails; return what failed on the way."""
    failed: list[BmcError] = []
    for verb, wanted in steps:
        for _ in range(TRIES):
            try:
                await getattr(bmcs, verb)(address, PASSWORD, wanted)
                break
            except BmcError as error:
                failed.append(error)
                await asyncio.sleep(PAUSE_S)
        else:
            pytest.fail(f"{verb} {wanted} failed {TRIES} times: {failed[-1]}")
    return failed


async def journey(driver: Driver, wire: Wire) -> tuple[SimulatedBoard, list[BmcError]]:
    """Install and release a machine that runs something else at first."""
    async with spoilt(driver, wire) as (bmcs, address, board):
        await board.machine.power_on()
        assert board.booted == [BootTarget.NONE]
        board.booted.clear()
        failed = await take(bmcs, address, INSTALL)
        assert board.machine.power is Power.ON
        assert board.booted == [BootTarget.PXE], "it booted once, and from the network"
        failed += await take(bmcs, address, START)
        assert board.booted == [BootTarget.PXE, BootTarget.DISK], "then from its disk"
        await asyncio.sleep(60)
        board.machine.guest_restarts()
        assert board.booted.pop() is BootTarget.DISK, "and again, when it restarts by itself"
        failed += await take(bmcs, address, RELEASE)
        assert board.machine.power is Power.OFF
        assert board.booted == [BootTarget.PXE, BootTarget.DISK], "released: it booted nothing more"
        return board, failed


async def count(driver: Driver) -> int:
    wire = Wire()
    _, failed = await journey(driver, wire)
    assert failed == []
    return wire.asked


@pytest.mark.parametrize("driver", [Driver.IPMI, Driver.REDFISH])
async def test_nothing_goes_wrong(driver: Driver) -> None:
    assert 15 <= await count(driver) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("driver", [Driver.IPMI, Driver.REDFISH])
async def test_a_fault_after_every_request(driver: Driver, fault: Fault, share: Share) -> None:
    for at, _ in share.of(range(await count(driver)), fault, list(Fault)):
        wire = Wire(fault, at)
        _, failed = await journey(driver, wire)
        spoiled = wire.log[at]
        for error in failed:
            assert not isinstance(error, BmcAuthError | BmcUnsupported), f"{spoiled}: {error}"
            assert str(driver) in error.message, "an error says which driver"
            assert PASSWORD not in str(error)


async def restart(driver: Driver, verb: str, wire: Wire) -> int:
    """Restart a running machine once; return how many requests that took."""
    async with spoilt(driver, wire) as (bmcs, address, board):
        await board.machine.power_on()
        await bmcs.do(address, PASSWORD, verb)
        await asyncio.sleep(60)
        assert len(board.booted) == 2
    return wire.asked


@pytest.mark.parametrize("verb", ["power.reset", "power.cycle"])
@pytest.mark.parametrize("driver", [Driver.IPMI, Driver.REDFISH])
async def test_what_is_sent_once_is_sent_again_to_a_bmc_that_was_busy(driver: Driver, verb: str) -> None:
    for at in range(await restart(driver, verb, Wire())):
        await restart(driver, verb, Wire(Fault.BUSY, at))


@pytest.mark.slow
@pytest.mark.parametrize("driver", [Driver.IPMI, Driver.REDFISH])
async def test_what_passes_by_itself_is_not_even_noticed(driver: Driver) -> None:
    """A lost packet, a page of HTML, or a BMC that is busy once, costs nobody an error."""
    for fault in (Fault.LOST, Fault.BUSY, *((Fault.GARBAGE,) if driver is Driver.REDFISH else ())):
        for at in range(await count(driver)):
            _, failed = await journey(driver, Wire(fault, at))
            assert failed == [], f"{fault} at request {at}: {failed}"
