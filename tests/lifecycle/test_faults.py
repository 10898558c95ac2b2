"""What breaks around the daemon: disk, lock, clock, agents, power, BMCs. Each story says where it has to end."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from provisioner.clock import SteadyClock
from provisioner.errors import BmcUnreachable, StoreError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.steps import SILENT_S
from provisioner.model.bmc import Power
from provisioner.model.machine import Machine, State
from provisioner.model.trace import NOW, Channel, TraceLine
from provisioner.store.db import Database
from tests.lifecycle.points import KillableDatabase, Points
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.test_conductor import ready, settled
from tests.lifecycle.test_crash import ACTIVE, check_events

DAY = 86400.0
AGAIN = ["power on", "power off", "power on"]
"""What a machine does that begins its deploy once more because its power was lost."""


class SetClock(SteadyClock):
    """A clock that runs ahead when it is told to, and that can be started from another time."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        super().__init__()
        self.ahead_s = ahead_s

    def now(self) -> float:
        return super().now() + self.ahead_s


async def until(conductor: Conductor, holds: Callable[[Machine], bool]) -> Machine:
    """Wait until something holds of node17."""
    async with asyncio.timeout(20):
        while not holds(machine := conductor.machines.get("node17")):
            await asyncio.sleep(0.005)
    return machine


def at(step: str) -> Callable[[Machine], bool]:
    return lambda m: m.run is not None and m.run.step is not None and m.run.step.name == step


def working(machine: Machine) -> bool:
    return machine.run is not None and machine.run.job_taken


# the store


@pytest.mark.parametrize("step", ["power.off", "power.on", "wait.facts", "wait.job", "finalize.on"])
async def test_a_full_disk_stops_everything_and_loses_nothing(tmp_path: Path, step: str) -> None:
    """What SQLite does when the disk is full, and that room helps, is tested with the store; this is what follows."""
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        db = conductor._store._db
        assert isinstance(db, KillableDatabase)
        filled: list[bool] = []

        def fill(_before: Machine | None, after: Machine | None) -> None:
            if not filled and after is not None and at(step)(after):
                filled.append(True)
                db.full = True

        conductor.follow(fill)
        begun = await conductor.boot("node17", "debian-12", key="k")
        async with asyncio.timeout(20):
            while "full" not in db.failure:
                await asyncio.sleep(0.005)
        stuck = conductor.machines.get("node17")
        await asyncio.sleep(0.1)  # time for a dozen more tries
        assert conductor.machines.get("node17") == stuck, "what cannot be kept does not happen"
        with pytest.raises(StoreError, match="full"):
            await conductor.cancel("node17")
        db.full = False
        machine = await settled(conductor)
        assert begun.run
        assert machine.run
        assert (machine.state, machine.run.id, machine.failure) == (State.ACTIVE, begun.run.id, None)
        assert rack.one().log == ACTIVE
        check_events(await conductor.events(0, 10_000))


async def test_a_store_that_cannot_be_written_at_the_start_is_waited_for(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon():
        await ready(rack)
    async with rack.daemon() as conductor:  # while it is off: nobody answers
        await conductor.boot("node17", "debian-12")
        await until(conductor, at("wait.dhcp"))
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)

    async def lock(db: Database) -> None:
        await db.submit(impatient)
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")

    rack.opened = lock
    async with rack.alive(), rack.daemon() as conductor:
        rack.boots(rack.one())
        async with asyncio.timeout(20):
            while "locked" not in conductor._store._db.failure:
                await asyncio.sleep(0.005)
        await asyncio.to_thread(other.execute, "ROLLBACK")
        other.close()
        machine = await settled(conductor)
        assert (machine.state, machine.failure, rack.one().log) == (State.ACTIVE, None, ACTIVE)


def impatient(cursor: sqlite3.Cursor) -> None:
    """Have the store wait 20 ms for a lock, not five seconds."""
    cursor.execute("PRAGMA busy_timeout=20")


@pytest.mark.parametrize("step", ["wait.dhcp", "wait.job", "wait.local-boot"])
async def test_a_store_that_another_process_locks_only_delays(tmp_path: Path, step: str) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor._store._db.submit(impatient)
        await conductor.boot("node17", "debian-12")
        await until(conductor, lambda m: at(step)(m) or m.state is State.ACTIVE)
        other = sqlite3.connect(tmp_path / "state.db", isolation_level=None, check_same_thread=False)
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        await asyncio.sleep(0.2)  # the lock is held for ten times as long as the store waits for one
        await asyncio.to_thread(other.execute, "ROLLBACK")
        other.close()
        machine = await settled(conductor)
        assert (machine.state, machine.failure, rack.one().log) == (State.ACTIVE, None, ACTIVE)
        check_events(await conductor.events(0, 10_000))


# the clock


async def test_the_trace_has_the_time_that_runs_have_when_the_clock_was_set_back(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    rack.clock = clock = SteadyClock(wall=lambda: time.time() + DAY)  # as it was before somebody set it
    began = clock.now()
    async with rack.alive(), rack.daemon():
        conductor = await ready(rack)
        await conductor.boot("node17", "debian-12")
        await settled(conductor)
        lines = [line for _, line in await conductor.trace("node17")]
    assert {line.channel for line in lines} == {Channel.LIFE, Channel.BMC, Channel.HTTP, Channel.AGENT}
    assert not [line for line in lines if not began <= line.at <= clock.now()]


@pytest.mark.slow
async def test_why_tells_nothing_of_runs_from_when_the_clock_was_ahead(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    rack.clock = SetClock(DAY)
    async with rack.alive():
        async with rack.daemon() as conductor:
            await ready(rack)
            rack.during_job = lambda _metal: False
            await conductor.boot("node17", "debian-12")
            machine = await until(conductor, working)
            assert machine.run
            told = "[ 3.1] Out of memory: Killed process 1"
            conductor.observe(TraceLine(NOW, Channel.CONSOLE, "console.line", told, None, machine.id, machine.run.id))
            await conductor.cancel("node17")
            await settled(conductor)
        rack.clock = SteadyClock()
        async with rack.daemon() as conductor:
            await conductor.boot("node17", "debian-12")
            await until(conductor, working)
            assert (await conductor.why("node17")).id == "waiting"


@pytest.mark.parametrize("jump_s", [DAY, -DAY])
async def test_a_clock_that_was_set_by_a_day_between_two_daemons_ends_no_run(tmp_path: Path, jump_s: float) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon():
        await ready(rack)
    async with rack.daemon() as conductor:
        await conductor.boot("node17", "debian-12")
        await until(conductor, at("wait.dhcp"))
    rack.clock = clock = SetClock(jump_s)
    async with rack.alive(), rack.daemon() as conductor:
        machine = await until(conductor, lambda m: m.run is not None and 0 < m.run.deadline - clock.now() <= 600)
        assert machine.run
        assert 0 < machine.run.deadline - clock.now() <= 600
        assert 0 < machine.run.limit - clock.now() <= 3 * 3600
        rack.boots(rack.one())
        machine = await settled(conductor)
        assert (machine.state, machine.failure, rack.one().log) == (State.ACTIVE, None, ACTIVE)


STANDS = [
    *(("debian-12", step) for step in ("wait.job", "finalize.off", "finalize.on")),
    ("fake-installer", "wait.answer"),
]
"""Where a machine of these tests, which is fast, stands with something in its hand."""


@pytest.mark.parametrize("jump_s", [DAY, -DAY])
@pytest.mark.parametrize(("bootenv", "step"), STANDS)
async def test_what_a_machine_was_given_outlives_a_clock_that_is_set(
    tmp_path: Path, bootenv: str, step: str, jump_s: float
) -> None:
    """Tokens and tickets that a machine holds are good with the next daemon, too."""
    rack, points = Rack(tmp_path), Points()

    def die(_before: Machine | None, after: Machine | None) -> None:
        if after is not None and at(step)(after):
            points.dead.set()

    async with rack.alive():
        async with rack.daemon():
            await ready(rack)
        async with rack.daemon(points) as conductor:
            conductor.follow(die)
            await conductor.boot("node17", bootenv, key="k")
            async with asyncio.timeout(20):
                await points.dead.wait()
        rack.clock = SetClock(jump_s)
        async with rack.daemon() as conductor:
            machine = await settled(conductor)
    assert (machine.state, machine.failure) == (State.ACTIVE, None)


# agents and power


async def lose(rack: Rack, how: Callable[[Metal], None], times: int = 1) -> tuple[Machine, Rack]:
    """Deploy node17 while something happens to it in the middle of its job, `times` times."""
    rack.clock = clock = SetClock()
    left = times

    def during(metal: Metal) -> bool:
        nonlocal left
        left -= 1
        if left >= 0:
            how(metal)
        return left < 0

    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        rack.during_job = during
        await conductor.boot("node17", "debian-12")
        for _ in range(times):
            machine = await until(conductor, lambda m: working(m) or m.failure is not None)
            if machine.failure is not None:
                break
            attempt = machine.run and machine.run.attempt
            clock.ahead_s += SILENT_S
            await until(conductor, lambda m, a=attempt: m.run is None or m.run.attempt != a or not m.run.job_taken)
        machine = await settled(conductor)
    return machine, rack


def unplugged(metal: Metal) -> None:
    metal.power = Power.OFF
    metal.log.append("power lost")


async def test_power_lost_in_the_middle_of_an_install_is_noticed_and_the_install_begun_anew(tmp_path: Path) -> None:
    machine, rack = await lose(Rack(tmp_path), unplugged)
    assert (machine.state, machine.failure) == (State.ACTIVE, None)
    assert rack.one().log == [*AGAIN, "power lost", "power on", *ACTIVE[3:]]
    assert machine.run
    assert [line.note for line in machine.run.journal if line.outcome == "retried"] == [
        "its agent was not heard of for 300 s: its power is off"
    ]


async def test_power_that_is_lost_again_and_again_fails_the_install(tmp_path: Path) -> None:
    machine, rack = await lose(Rack(tmp_path), unplugged, times=3)
    assert machine.failure
    assert (machine.state, machine.bootenv) == (State.READY, "")
    assert machine.failure.reason == "its agent was not heard of for 300 s: its power is off"
    assert rack.one().log.count("power lost") == 3


async def test_an_agent_that_vanishes_with_the_power_on_fails_the_install_and_says_so(tmp_path: Path) -> None:
    machine, rack = await lose(Rack(tmp_path), lambda metal: None)
    assert machine.failure
    assert (machine.state, machine.failure.phase) == (State.READY, "install")
    assert machine.failure.reason.endswith("its power is on: it hangs or lost its network")
    assert machine.failure.hint == "look at its console"
    assert rack.one().log == AGAIN


@pytest.mark.slow
async def test_a_bmc_that_contradicts_itself_is_not_believed(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    rack.clock = clock = SetClock()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        rack.during_job = lambda _metal: False
        await conductor.boot("node17", "debian-12")
        before = await until(conductor, working)
        readings = [Power.OFF, Power.ON] * 10
        rack.reading = lambda metal: readings.pop(0) if readings else metal.power
        clock.ahead_s += SILENT_S
        async with asyncio.timeout(20):
            while readings:
                assert conductor.machines.get("node17") == before
                await asyncio.sleep(0.005)
        machine = await settled(conductor)
        assert machine.failure
        assert machine.failure.reason.endswith("its power is on: it hangs or lost its network")


@pytest.mark.parametrize("error", [BmcUnreachable("its BMC is dead, too"), KeyError("a fault of ours")], ids=str)
async def test_a_silent_machine_that_nobody_sees_is_left_to_its_time_limit(tmp_path: Path, error: Exception) -> None:
    rack = Rack(tmp_path)
    rack.clock = clock = SetClock()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        rack.during_job = lambda _metal: False
        await conductor.boot("node17", "debian-12")
        await until(conductor, working)
        rack.one().broken = error
        clock.ahead_s += SILENT_S
        await asyncio.sleep(0.2)  # time for a dozen looks at it
        assert not any(each.ends for each in conductor.services.standings())
        assert conductor.machines.get("node17").state is State.DEPLOYING
        clock.ahead_s += 3600
        machine = await settled(conductor)
        assert machine.failure
        assert machine.failure.reason == "the job on the machine did not end within 3600 s"


# BMCs


@pytest.mark.parametrize("dies_after", ["power off", "power on"])
async def test_a_bmc_that_dies_and_comes_back_within_the_tries_costs_time_only(tmp_path: Path, dies_after: str) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        died: list[str] = []

        def broke(metal: Metal) -> None:
            if metal.log[-1] == dies_after and len(died) < 2:
                died.append(dies_after)
                raise BmcUnreachable("ipmi://admin@bmc-node17:623: no answer")

        rack.broke = broke
        await conductor.boot("node17", "debian-12")
        machine = await settled(conductor)
        assert (machine.state, machine.failure, rack.one().log) == (State.ACTIVE, None, ACTIVE)
        assert machine.run
        assert [line.outcome for line in machine.run.journal if line.step == f"{dies_after.replace(' ', '.')}"] == [
            "retried", "retried", "done",
        ]  # fmt: skip


async def test_a_bmc_that_stays_dead_fails_the_run_and_resume_takes_it_up(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    metal = rack.one()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        rack.broke = lambda m: setattr(m, "broken", BmcUnreachable("no answer"))
        await conductor.boot("node17", "debian-12")
        machine = await settled(conductor)
        assert machine.failure
        assert (machine.state, machine.failure.reason, machine.failure.phase) == (State.READY, "no answer", "power")
        metal.broken, rack.broke = None, lambda _metal: None
        await conductor.resume("node17")
        machine = await settled(conductor)
        assert (machine.state, machine.failure, metal.log) == (State.ACTIVE, None, ACTIVE)


@pytest.mark.parametrize("later_s", [0.0, 20 * DAY], ids=["at once", "after weeks"])
async def test_a_system_that_reports_while_its_run_has_stopped_is_heard_when_that_is_taken_up(
    tmp_path: Path, later_s: float
) -> None:
    rack = Rack(tmp_path)
    metal, rack.clock = rack.one(), (clock := SetClock())
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)

        def broke(metal: Metal) -> None:
            if metal.disk and metal.log[-1] == "power on":  # its system starts, and nobody can say that it is on
                metal.broken = BmcUnreachable("no answer")
                raise metal.broken

        rack.broke = broke
        await conductor.boot("node17", "debian-12")
        machine = await settled(conductor)
        assert machine.failure
        assert (machine.state, machine.failure.phase) == (State.READY, "finalize")
        metal.broken, rack.broke, clock.ahead_s = None, lambda _metal: None, later_s
        await conductor.resume("node17")
        machine = await settled(conductor)
        assert (machine.state, machine.failure, metal.log) == (State.ACTIVE, None, [*ACTIVE, "power off", "power on"])
