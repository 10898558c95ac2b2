"""The whole journey (discover, install, release) behind boards that misbehave, with the daemon's own parts.

Each quirk and fault of `lab/faults.py`, and every single request of the journey spoilt, each in a share of the ways
(`tests/share.py`). Virtual time.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.bmc.pool import Bmcs, Waiver
from provisioner.bmc.quirks import Quirk
from provisioner.bmc.resolve import Verdict
from provisioner.errors import BmcError, BmcProtocolError, BmcTimeout, BmcWrongState, ConflictError
from provisioner.lab.chassis import Chassis
from provisioner.lab.faults import Fault, Faults
from provisioner.lifecycle.doors import check_board
from provisioner.model.bmc import BmcAddress, BootTarget, Driver, Power
from provisioner.model.intent import EnrolRequest
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac
from tests.bmc.faults import PASSWORD, USER, SimulatedBoard, Wire
from tests.bmc.faults import Fault as Spoilt
from tests.lab.world import World
from tests.share import Share

# time stands still while the store's threads work, so no turn of the loop has to be waited for before it moves on
pytestmark = [pytest.mark.looptime(noop_cycles=0), pytest.mark.slow, pytest.mark.timeout(600)]

IPMI, REDFISH = Driver.IPMI, Driver.REDFISH


async def journey(world: World) -> list[str]:
    """Discover, install, release; look at everything that must hold after each of them. What was said on the way."""
    troubles: list[str] = []
    metal, board = world.machine, world.board
    async with world.at_work() as conductor:
        machine = await world.discovered(conductor)
        assert machine.state is State.READY
        assert board.booted == [BootTarget.NONE], "found as it stood: nothing was done to it"
        board.booted.clear()
        await world.persisted(lambda: conductor.boot("node17", "debian-12"))
        machine = await world.settled(conductor)
        troubles += noticed(machine)
        assert machine.failure is None
        assert (machine.state, machine.bootenv, board.machine.power) == (State.ACTIVE, "debian-12", Power.ON)
        assert board.booted == [BootTarget.PXE, BootTarget.DISK], "the network once, then its disk"
        board.machine.guest_restarts()
        await world.settled(conductor)
        assert board.booted.pop() in (BootTarget.DISK, BootTarget.NONE), "it restarts by itself: its disk"
        assert machine.power is Power.ON
        await world.persisted(lambda: conductor.release("node17"))
        machine = await world.settled(conductor)
        troubles += noticed(machine)
        assert machine.failure is None
        assert (machine.state, machine.bootenv, metal.disk) == (State.READY, "", "")
        assert board.booted == [BootTarget.PXE, BootTarget.DISK, BootTarget.PXE], "erased from the network, once"
        assert (board.machine.power, machine.power) == (Power.OFF, Power.OFF)
        assert [line for line in metal.log if line.startswith("job")] == ["job job", "job erase"]
    assert not any(PASSWORD in said for said in (*world.said, *troubles))
    return [*world.said, *troubles]


def noticed(machine: Machine) -> list[str]:
    """What the journal of the last run says of steps that had to be tried again."""
    assert machine.run is not None
    return [line.note for line in machine.run.journal if line.outcome != "done"]


@pytest.mark.parametrize("driver", [IPMI, REDFISH])
async def test_nothing_goes_wrong(tmp_path: Path, driver: Driver) -> None:
    wire = Wire()
    await journey(World(tmp_path, driver, wire=wire))
    assert 20 < wire.asked < 120


PROFILES: tuple[tuple[Fault, Driver, int | None, str], ...] = (
    (Fault.NO_POWER_CYCLE, REDFISH, None, ""),
    (Fault.MODE_RESET, REDFISH, None, ""),
    (Fault.SETTINGS_OBJECT, REDFISH, None, ""),
    (Fault.ETAG_REQUIRED, REDFISH, None, ""),
    (Fault.ETAG_MOVES, REDFISH, 2, ""),
    (Fault.SLASH_REDIRECT, REDFISH, None, ""),
    (Fault.RESET_TASK, REDFISH, None, ""),
    (Fault.STUCK_TASK, REDFISH, None, ""),
    (Fault.STUCK_MEDIA, REDFISH, None, ""),
    (Fault.CONSOLE_IN_SHELL, REDFISH, None, ""),
    (Fault.ONCE_STAYS, IPMI, None, ""),
    (Fault.FLAGS_EXPIRE, IPMI, None, ""),
    (Fault.SLOW_POWER_OFF, IPMI, None, ""),
    (Fault.STALE_POWER, REDFISH, None, ""),
    (Fault.LOST_SESSION, REDFISH, 1, ""),
    (Fault.SESSIONS_FULL, REDFISH, 1, ""),
    (Fault.UNAVAILABLE, REDFISH, 8, ""),
    (Fault.UNAVAILABLE, REDFISH, 40, "HTTP 503"),
    (Fault.REDIRECT_LOOP, REDFISH, 1, ""),
    (Fault.REDIRECT_LOOP, REDFISH, 3, "not followed"),
    (Fault.NODE_BUSY, IPMI, 1, ""),
    (Fault.NODE_BUSY, IPMI, 8, ""),
    (Fault.NODE_BUSY, IPMI, 40, "node busy"),
    (Fault.DEAF, IPMI, 2, ""),
    (Fault.NOT_JSON, REDFISH, 1, ""),
    (Fault.NOT_JSON, REDFISH, 5, "not JSON"),
    (Fault.TRUNCATED, REDFISH, 1, ""),
    (Fault.TRUNCATED, REDFISH, 5, "broke off"),
    (Fault.SLOW_ANSWERS, REDFISH, 20, ""),
    (Fault.LOSSY, IPMI, None, ""),
    (Fault.FLAGS_UNREADABLE, IPMI, None, ""),
)
"""Boards like this from the first request on, or so often, and what a user reads of it; nothing: nobody notices. A dead
board passes nothing (test_pool.py), and cipher suites are below the requests that are made here (test_faults.py)."""

TRUSTING = Quirk(IPMI, "*", "*", "*", {"boot_readback": False}, "flags read as not valid", "the table", "this")
QUIRKS = {Fault.FLAGS_UNREADABLE: (TRUSTING,)}
"""What the table of quirks has for boards like this."""


@pytest.mark.parametrize(("fault", "driver", "times", "said"), PROFILES, ids=lambda value: str(value or "always"))
async def test_every_profile_passes_the_same_journey(
    tmp_path: Path, fault: Fault, driver: Driver, times: int | None, said: str
) -> None:
    faults = Faults()
    faults.start(fault, times)
    world = World(tmp_path, driver, faults=faults, quirks=QUIRKS.get(fault, ()))
    read = await journey(world)
    assert faults.on(fault) is (times is None), "what strikes so often has struck"
    assert [line for line in read if said in line] if said else not read, read


REFUSED: dict[Fault, tuple[Driver, type[BmcError], str]] = {
    Fault.FLAGS_UNREADABLE: (IPMI, BmcProtocolError, "taken, but the BMC reads back"),
    Fault.ETAG_MOVES: (REDFISH, BmcWrongState, "HTTP 412"),
    Fault.DEAF: (REDFISH, BmcTimeout, "power.off: not seen within"),
}
"""Boards that do not do what was asked: it is said, and the machine boots nothing that nobody asked for."""


@pytest.mark.parametrize("fault", REFUSED, ids=str)
async def test_what_is_not_done_is_said(fault: Fault) -> None:
    driver, kind, words = REFUSED[fault]
    board, faults = SimulatedBoard(Wire()), Faults()
    faults.start(fault)
    board.board.chassis = Chassis(board.machine, asyncio.get_running_loop().time, faults)
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


async def requests(tmp_path: Path, driver: Driver) -> int:
    wire = Wire()
    await journey(World(tmp_path / "clean", driver, wire=wire))
    return wire.asked


@pytest.mark.parametrize("spoilt", list(Spoilt), ids=lambda spoilt: spoilt.name.lower())
@pytest.mark.parametrize("driver", [IPMI, REDFISH])
async def test_a_fault_after_every_request_leaves_the_machine_as_the_daemon_means(
    tmp_path: Path, driver: Driver, spoilt: Spoilt, share: Share
) -> None:
    for at, _ in share.of(range(await requests(tmp_path, driver)), spoilt, list(Spoilt)):
        wire = Wire(spoilt, at)
        await journey(World(tmp_path / str(at), driver, wire=wire))
        assert wire.asked > at, "it was spoilt"


async def test_verbs_go_by_the_way_that_was_proven_on_boards_like_it(tmp_path: Path) -> None:
    """Redfish beside IPMI: what one cannot the other does, and it is known from then on."""
    faults = Faults()
    world = World(tmp_path, REDFISH, faults=faults)
    async with world.at_work() as conductor:
        await world.discovered(conductor)
        ipmi = replace(world.address, driver=IPMI, fingerprint="")
        machine = await conductor.doors.add("node17", ipmi, PASSWORD)
        assert [one.driver for one in machine.more_bmcs] == [IPMI]
        ways = conductor.ways
        logins = await ways.all(machine)
        faults.start(Fault.NO_POWER_CYCLE)
        await ways.ask(machine, "power.cycle", lambda to, word: world.driven.do(to, word, "power.cycle"))
        found = await world.driven.resolve("power.cycle", logins)
        assert [(one.driver, one.verdict) for one in found.order] == [(IPMI, Verdict.PROVEN)]
        (left_out,) = found.left_out
        assert left_out.driver is REDFISH
        # by what it offers, or where that was read a moment ago by what it answered
        assert re.search("offers only|'PowerCycle' .* not supported", left_out.reason), left_out.reason
        await world.driven.waive("power.cycle", REDFISH, logins, Waiver("firmware 8 has it", 30))
        found = await world.driven.resolve("power.cycle", logins)
        assert [one.driver for one in found.order] == [IPMI, REDFISH], found.lines()
        await world.persisted(lambda: conductor.boot("node17", "debian-12"))
        assert (await world.settled(conductor)).state is State.ACTIVE
        other = await conductor.enrol(EnrolRequest("node18", None, "", macs=(Mac("52:54:00:00:00:99"),)))
        stranger = replace(other, uuid="11111111-0000-4000-8000-000000000001")
        board = await world.driven.identify(ipmi, PASSWORD)
        with pytest.raises(ConflictError, match="is not that of node18"):
            check_board(stranger, ipmi, board, [])
        with pytest.raises(ConflictError, match="says that it is node17"):
            check_board(other, ipmi, board, conductor.machines.like_board(board))
        assert (await conductor.doors.remove("node17", IPMI)).more_bmcs == ()
        with pytest.raises(ConflictError, match="no other way"):
            await conductor.doors.remove("node17", IPMI)
