"""Faults of the daemon's own, and races, that a run may meet: they stay where they are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import ConfigError, StoreError
from provisioner.lifecycle.plans import Signal
from provisioner.model.machine import Machine, State
from tests.lifecycle.points import KillableDatabase
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_conductor import ready, settled
from tests.lifecycle.test_crash import ACTIVE
from tests.lifecycle.test_faults import SetClock, at, until, working


async def test_who_is_told_of_changes_and_fails_keeps_no_run_from_going_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)

        def fails(before: Machine | None, _after: Machine | None) -> None:
            if before is not None:
                raise ConfigError("reservations: 10.0.8.200 is in no subnet")

        heard: list[str] = []
        conductor.follow(fails)
        conductor.follow(lambda _before, after: heard.append(after.name if after is not None else ""))
        await conductor.boot("node17", "debian-12")
        machine = await settled(conductor)
        assert (machine.state, machine.failure, rack.one().log) == (State.ACTIVE, None, ACTIVE)
        assert "node17" in heard
        assert not any(each.ends for each in conductor.services.standings())
    assert "life.bug machine=node17 step=told" in caplog.messages


async def test_a_machine_that_is_forgotten_while_its_run_waits_for_room_ends_nothing(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        await conductor.boot("node17", "discovery")
    rack.opened, rack.pace = filled, replace(rack.pace, unsaved=0.3)
    async with rack.alive(), rack.daemon() as conductor:
        db = conductor._store._db
        assert isinstance(db, KillableDatabase)
        async with asyncio.timeout(20):
            while "full" not in db.failure:
                await asyncio.sleep(0.005)
        db.full = False
        await conductor.cancel("node17")
        await conductor.forget("node17", force=True)
        await asyncio.sleep(0.4)  # it would have been taken up by now
        assert not any(each.ends for each in conductor.services.standings())


async def test_a_machine_that_is_sent_a_file_has_its_time_once_it_is_not(tmp_path: Path) -> None:
    """UEFI that boots an ISO says nothing before it has all of it: 5 GB take seven minutes at 100 Mbit/s."""
    rack = Rack(tmp_path)
    rack.clock = clock = SetClock()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        rack.boots = lambda _metal: None
        boots = conductor.booter.boots
        boots.sent_to = lambda: {"10.0.8.250", rack.one().ip}
        await conductor.boot("node17", "debian-12")
        await until(conductor, at("wait.dhcp"))
        conductor._runner.signal(conductor.machines.get("node17"), Signal.DHCP)
        due = (await until(conductor, at("wait.loader"))).run
        assert due is not None
        clock.ahead_s += 400.0
        machine = await until(conductor, lambda m: m.failure is not None or (m.run or due).deadline > due.deadline)
        assert (at("wait.loader")(machine), machine.failure) == (True, None)
        boots.sent_to = tuple
        clock.ahead_s += 400.0
        machine = await until(conductor, lambda m: m.failure is not None)
        assert machine.failure is not None
        assert machine.failure.reason == "it got an address but fetched no loader within 300 s"


async def filled(db: KillableDatabase) -> None:
    db.full = True


STEPS = {"nothing was said": ("wait.dhcp", False), "it asked": ("wait.dhcp", True), "at work": ("wait.job", False)}


@pytest.mark.parametrize(("step", "asked"), STEPS.values(), ids=STEPS.keys())
async def test_a_disk_that_is_full_for_longer_than_a_step_may_take_fails_no_run(
    tmp_path: Path, step: str, asked: bool
) -> None:
    """What was said meanwhile was not heard: such a boot soon begins anew. Otherwise the time counts again."""
    rack = Rack(tmp_path)
    rack.clock = clock = SetClock()
    async with rack.alive(), rack.daemon() as conductor:
        await ready(rack)
        db = conductor._store._db
        assert isinstance(db, KillableDatabase)
        boots, rack.boots = rack.boots, lambda metal: boots(metal) if step != "wait.dhcp" else None
        rack.during_job = lambda _metal: False  # its agent is at work
        await conductor.boot("node17", "debian-12")
        await until(conductor, at(step) if step == "wait.dhcp" else working)
        db.full = True
        with pytest.raises(StoreError, match="full"):
            await conductor.cancel("node17")
        if asked:
            conductor._runner.signal(conductor.machines.get("node17"), Signal.DHCP)
            await until(conductor, lambda m: m.id in conductor._runner._unheard)
        clock.ahead_s += 2 * 3600
        await asyncio.sleep(0.1)  # time for some looks at deadlines
        assert at(step)(conductor.machines.get("node17"))
        db.full = False
        await until(conductor, lambda _: not conductor._runner.refused)
        machine = conductor.machines.get("node17")
        assert (at(step)(machine), machine.failure) == (True, None)
        rack.boots = boots
        clock.ahead_s += 2 * 3600
        await until(conductor, lambda m: m.failure is not None or (asked and working(m)))
        assert (conductor.machines.get("node17").failure is None) == asked, "its time counts again"
