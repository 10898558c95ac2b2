"""What is kept of a machine comes and goes with its record, wherever the daemon dies on the way."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from provisioner.errors import ConflictError, StoreError
from provisioner.lifecycle.conductor import Conductor
from provisioner.lifecycle.inputs import Begin
from provisioner.lifecycle.plans import Verb
from provisioner.lifecycle.runner import new_run_id
from provisioner.lifecycle.steps import advance
from provisioner.model.bmc import PASSWORDS, owner_of
from provisioner.model.machine import State
from provisioner.model.trace import Channel, TraceLine
from tests.lifecycle.points import KillableDatabase, Killed, Point, Points
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_conductor import settled


async def kept(conductor: Conductor) -> tuple[set[str], set[str], set[str]]:
    """The machines on record, those whose passwords are kept, and those whose trace is."""
    query = "SELECT DISTINCT machine FROM trace"
    traced = {row[0] for row in await conductor._store._db.read(lambda c: c.execute(query).fetchall())}
    owners = {owner_of(name) for name in await conductor._secrets.names(PASSWORDS)}
    return {machine.id for machine in conductor.machines.all()}, owners, traced


async def come_and_go(conductor: Conductor, rack: Rack) -> None:
    machine = await rack.enrol()
    conductor.observe(TraceLine(1.0, Channel.LIFE, "test.line", "x", machine=machine.id))
    await conductor._trace.flush()
    await conductor.forget("node17", key="f")


async def points_of(folder: Path) -> list[Point]:
    points = Points()
    rack = Rack(folder)
    async with rack.daemon(points) as conductor:
        begun = len(points.passed)
        await come_and_go(conductor, rack)
        return points.passed[begun:]


async def test_killed_at_every_point_of_its_coming_and_going(tmp_path: Path) -> None:
    points = await points_of(tmp_path / "whole")
    assert len(points) > 6, points
    for number, point in enumerate(points):
        rack = Rack(tmp_path / str(number))
        async with rack.daemon(Points(point)) as conductor:
            with contextlib.suppress(Killed):
                await come_and_go(conductor, rack)
        async with rack.daemon() as conductor:
            await conductor._trace._trim_all()
            machines, owners, traced = await kept(conductor)
            assert owners == machines, point
            assert traced <= machines, point
            if machines:
                await conductor.forget("node17", key="f")
            assert await kept(conductor) == (set(), set(), set()), point


async def test_of_two_that_are_put_on_record_at_once_one_is_and_leaves_nothing_of_the_other(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        done = await asyncio.gather(rack.enrol(), rack.enrol(), return_exceptions=True)
        assert sorted(type(one).__name__ for one in done) == ["ConflictError", "Machine"]
        machines, owners, _ = await kept(conductor)
        assert owners == machines


async def test_a_full_disk_forgets_all_or_nothing(tmp_path: Path) -> None:
    rack = Rack(tmp_path)
    async with rack.daemon() as conductor:
        machine = await rack.enrol()
        database = conductor._store._db
        assert isinstance(database, KillableDatabase)
        database.full = True
        with pytest.raises(StoreError):
            await conductor.forget("node17", key="f")
        database.full = False
        assert (await kept(conductor))[:2] == ({machine.id}, {machine.id})
        await conductor.forget("node17", key="f")
        assert (await kept(conductor))[:2] == (set(), set())


async def test_what_is_in_use_is_forgotten_by_force_only(tmp_path: Path) -> None:
    """It would be found again as a new machine, ready for the next system, with the old one on its disk."""
    rack = Rack(tmp_path)
    async with rack.alive(), rack.daemon() as conductor:
        await rack.enrol()
        await conductor.boot("node17", "discovery")
        await settled(conductor)
        await conductor.adopt("node17", "debian-12")
        for first in ("`provisionctl release node17` first", "`provisionctl let-go node17` first, then `provisionctl "):
            if "let-go" in first:
                await conductor.hold("node17", "a new fan")
            with pytest.raises(ConflictError, match="not erased since it was in use") as refused:
                await conductor.forget("node17")
            assert refused.value.hint.startswith(first)
            assert refused.value.hint.endswith(", or `forget --force` where it is gone")
        assert conductor.machines.get("node17").state is State.MAINTENANCE
        await conductor.forget("node17", force=True)
        assert conductor.machines.find("node17") is None


@pytest.mark.parametrize("force", [False, True])
async def test_what_is_asked_of_a_machine_first_is_heard_by_who_forgets_it(tmp_path: Path, force: bool) -> None:
    rack = Rack(tmp_path)
    rack.boots = lambda _metal: None
    async with rack.daemon() as conductor:
        machine = await rack.enrol()
        begin = Begin(new_run_id(), Verb.INSPECT, "discovery")
        if force:
            first = conductor._runner.change(machine.id, lambda m, now: advance(m, begin, now))
        else:
            first = conductor.adopt("node17", "their-database")
        forgotten = conductor.forget("node17", force=force)
        _, refused = await asyncio.gather(first, forgotten, return_exceptions=True)
        assert isinstance(refused, ConflictError)
        assert refused.message.startswith("node17 is inspecting" if force else "node17 is active: its disks were not")
        assert conductor.machines.get("node17").state is (State.INSPECTING if force else State.ACTIVE)
