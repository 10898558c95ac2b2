"""The whole journey (discover, install, release) behind boards that misbehave, with the daemon's own parts.

Each quirk and fault of `lab/faults.py`, and every single request of the journey spoilt once. Virtual time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.bmc.quirks import Quirk
from provisioner.lab.faults import Fault, Faults
from provisioner.model.bmc import BootTarget, Driver, Power
from provisioner.model.machine import State
from tests.bmc.faults import PASSWORD, Wire
from tests.bmc.faults import Fault as Spoilt
from tests.lab.world import World

pytestmark = [pytest.mark.looptime, pytest.mark.slow, pytest.mark.timeout(600)]

IPMI, REDFISH = Driver.IPMI, Driver.REDFISH


async def journey(world: World) -> None:
    """Discover, install, release; look at everything that must hold after each of them."""
    metal, board = world.machine, world.board
    async with world.at_work() as conductor:
        machine = await world.discovered(conductor)
        assert machine.state is State.READY
        assert board.booted == [BootTarget.NONE], "found as it stood: nothing was done to it"
        board.booted.clear()
        await world.persisted(lambda: conductor.boot("node17", "debian-12"))
        machine = await world.settled(conductor)
        assert machine.failure is None
        assert (machine.state, machine.bootenv, board.machine.power) == (State.ACTIVE, "debian-12", Power.ON)
        assert board.booted == [BootTarget.PXE, BootTarget.DISK], "the network once, then its disk"
        board.machine.guest_restarts()
        await world.settled(conductor)
        assert board.booted.pop() in (BootTarget.DISK, BootTarget.NONE), "it restarts by itself: its disk"
        assert machine.power is Power.ON
        await world.persisted(lambda: conductor.release("node17"))
        machine = await world.settled(conductor)
        assert machine.failure is None
        assert (machine.state, machine.bootenv, metal.disk) == (State.READY, "", "")
        assert board.booted == [BootTarget.PXE, BootTarget.DISK, BootTarget.PXE], "erased from the network, once"
        assert (board.machine.power, machine.power) == (Power.OFF, Power.OFF)
        assert [line for line in metal.log if line.startswith("job")] == ["job job", "job erase"]
    assert not any(PASSWORD in said for said in world.said)


@pytest.mark.parametrize("driver", [IPMI, REDFISH])
async def test_nothing_goes_wrong(tmp_path: Path, driver: Driver) -> None:
    wire = Wire()
    await journey(World(tmp_path, driver, wire=wire))
    assert 20 < wire.asked < 120


PROFILES: dict[Fault, tuple[Driver, int | None]] = {
    Fault.NO_POWER_CYCLE: (REDFISH, None),
    Fault.MODE_RESET: (REDFISH, None),
    Fault.SETTINGS_OBJECT: (REDFISH, None),
    Fault.ETAG_REQUIRED: (REDFISH, None),
    Fault.ETAG_MOVES: (REDFISH, 2),
    Fault.SLASH_REDIRECT: (REDFISH, None),
    Fault.RESET_TASK: (REDFISH, None),
    Fault.STUCK_TASK: (REDFISH, None),
    Fault.STUCK_MEDIA: (REDFISH, None),
    Fault.ONCE_STAYS: (IPMI, None),
    Fault.FLAGS_EXPIRE: (IPMI, None),
    Fault.SLOW_POWER_OFF: (IPMI, None),
    Fault.STALE_POWER: (REDFISH, None),
    Fault.LOST_SESSION: (REDFISH, 1),
    Fault.SESSIONS_FULL: (REDFISH, 1),
    Fault.UNAVAILABLE: (REDFISH, 40),
    Fault.REDIRECT_LOOP: (REDFISH, 3),
    Fault.NODE_BUSY: (IPMI, 8),
    Fault.DEAF: (IPMI, 2),
    Fault.NOT_JSON: (REDFISH, 5),
    Fault.TRUNCATED: (REDFISH, 5),
    Fault.SLOW_ANSWERS: (REDFISH, 20),
    Fault.LOSSY: (IPMI, None),
    Fault.FLAGS_UNREADABLE: (IPMI, None),
}
"""Boards like this from the first request on, or so often. A dead board passes nothing (test_pool.py), and cipher
suites are below the requests that are made here (test_faults.py)."""

TRUSTING = Quirk(IPMI, "*", "*", "*", {"boot_readback": False}, "flags read as not valid", "the table", "this")
QUIRKS = {Fault.FLAGS_UNREADABLE: (TRUSTING,)}
"""What the table of quirks has for boards like this."""


@pytest.mark.parametrize("fault", PROFILES, ids=str)
async def test_every_profile_passes_the_same_journey(tmp_path: Path, fault: Fault) -> None:
    driver, times = PROFILES[fault]
    faults = Faults()
    faults.start(fault, times)
    world = World(tmp_path, driver, faults=faults, quirks=QUIRKS.get(fault, ()))
    await journey(world)
    assert faults.on(fault) is (times is None), "what strikes so often has struck"


async def requests(tmp_path: Path, driver: Driver) -> int:
    wire = Wire()
    await journey(World(tmp_path / "clean", driver, wire=wire))
    return wire.asked


@pytest.mark.parametrize("spoilt", list(Spoilt), ids=lambda spoilt: spoilt.name.lower())
@pytest.mark.parametrize("driver", [IPMI, REDFISH])
async def test_a_fault_after_every_request_leaves_the_machine_as_the_daemon_means(
    tmp_path: Path, driver: Driver, spoilt: Spoilt
) -> None:
    for at in range(await requests(tmp_path, driver)):
        wire = Wire(spoilt, at)
        await journey(World(tmp_path / str(at), driver, wire=wire))
        assert wire.asked > at, "it was spoilt"
