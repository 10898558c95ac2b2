"""A site is restored from a backup that was made in the middle of things: no BMC is told anything, until somebody says.

Backups are made at every point at which the daemon touches the world. Then life goes on: machines are installed and in
use. A daemon that took up what a backup holds would switch them off and write to their disks.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.errors import ConflictError
from provisioner.lifecycle.fleet import Order as FleetOrder
from provisioner.lifecycle.fleet import Stage, Status
from provisioner.lifecycle.restored import reason_of
from provisioner.lifecycle.rollouts import Rollouts
from provisioner.model.machine import State
from provisioner.model.workflow import FlowStatus
from provisioner.model.workflow import Stage as FlowStage
from provisioner.store.backup import copy
from provisioner.workflow.progress import Order
from tests.lifecycle.points import Point, Points
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_rollouts import fleet
from tests.lifecycle.test_rollouts import over as rolled_out
from tests.lifecycle.test_rollouts import until as until_rollout
from tests.workflow.rack import FlowRack
from tests.workflow.test_crash import DEPLOY
from tests.workflow.test_engine import over, ready, until

AT = time.time()
REASON = reason_of(AT)


class Watched(Points):
    """A daemon whose store is copied, as it is, at some of the points at which it touches the world."""

    def __init__(self, source: Path, folder: Path, wanted: Callable[[Point], bool]) -> None:
        super().__init__()
        self._source, self._folder, self._wanted = source, folder, wanted
        self.copies: dict[str, Path] = {}

    def point(self, name: str) -> None:
        super().point(name)
        if not self._wanted(self.passed[-1]):
            return
        path = self._folder / f"{len(self.copies)}.db"
        with closing(sqlite3.connect(self._source)) as there, closing(sqlite3.connect(path)) as here:
            there.backup(here)
        self.copies[f"{name} ({self.passed[-1].nth})"] = path


Journey = Callable[[FlowRack, Rollouts], Awaitable[None]]


async def by_hand(rack: FlowRack, _rollouts: Rollouts) -> None:
    assert rack.conductor
    await rack.conductor.boot("node17", "debian-12")
    await settled(rack.conductor)


async def in_rollout(_rack: FlowRack, rollouts: Rollouts) -> None:
    begun = await rollouts.begin("debian-12", "node17", (1, 0), {})
    await until_rollout(rollouts, begun.id, rolled_out)


async def in_workflow(rack: FlowRack, _rollouts: Rollouts) -> None:
    await over(rack, await rack.begin("deploy"))


JOURNEYS: dict[str, Journey] = {"boot": by_hand, "rollout": in_rollout, "workflow": in_workflow}


async def live(folder: Path, journey: Journey, wanted: Callable[[Point], bool]) -> tuple[FlowRack, dict[str, Path]]:
    """Bring a machine into use, with backups on the way."""
    rack = FlowRack(folder / "site", ("node17",), DEPLOY)
    points = Watched(rack.folder / "state.db", folder, wanted)
    async with rack.alive():
        async with rack.daemon():
            await ready(rack)
        async with fleet(rack, points) as rollouts:
            await journey(rack, rollouts)
            assert rack.conductor
            assert rack.conductor.machines.get("node17").state is State.ACTIVE
    assert points.copies
    return rack, points.copies


async def restored(rack: FlowRack, path: Path, folder: Path, where: str) -> None:
    """Start a daemon from a backup, beside a machine in use; then take up what it holds."""
    await asyncio.to_thread(lambda: (folder.mkdir(), shutil.copy(rack.folder / "key", folder / "key")))
    found = await asyncio.to_thread(copy, path, folder / "state.db", AT)
    site, rack.folder = rack.folder, folder
    in_use, rack.metal = rack.metal, [replace(metal, log=[]) for metal in rack.metal]
    points = Points()
    try:
        async with rack.alive(), fleet(rack, points) as rollouts:
            assert rack.conductor
            machine = rack.conductor.machines.get("node17")
            assert machine.run is None or machine.run.step is None, where
            for rollout in [each for each in rollouts.all() if not each.over]:
                await until_rollout(
                    rollouts, rollout.id, lambda r: r.over or not r.count(Stage.RUNNING, Stage.STARTING)
                )
            for run in [each for each in rack.engine.all() if not each.over]:
                await until(rack, run, lambda r: r.over or r.count(FlowStage.WAITING))
            touched = [point.name for point in points.passed if "power" in point.name or "boot" in point.name]
            touched += [point.name for point in points.passed if point.name.endswith("led.set")]
            assert (touched, rack.metal[0].log) == ([], []), where
            if found.machines:
                assert machine.failure, where
                assert machine.failure.reason == REASON, where
            await taken_up(rack, rollouts, where)
    finally:
        rack.folder, rack.metal = site, in_use


async def taken_up(rack: FlowRack, rollouts: Rollouts, where: str) -> None:
    """An operator has looked, and goes on with all that the backup holds."""
    conductor = rack.conductor
    assert conductor
    for run in rack.engine.all():
        if run.status is FlowStatus.PAUSED:  # what destroys is begun once in a run, whatever happens
            await rack.engine.order(run.id, Order.ABORT)
    for rollout in rollouts.all():
        if rollout.status is Status.PAUSED:
            assert rollout.reason == REASON, where
            if rollout.count(Stage.WAITING):
                with pytest.raises(ConflictError, match="would install 1 machines, even where that was done since"):
                    await rollouts.order(rollout.id, FleetOrder.RESUME)
            resumed = await rollouts.order(rollout.id, FleetOrder.RESUME, sure=True)
            await until_rollout(rollouts, resumed.id, rolled_out)
    if conductor.machines.get("node17").failure is not None:
        await conductor.resume("node17")
        assert (await settled(conductor)).state is State.ACTIVE, where


@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=JOURNEYS.keys())
async def test_a_backup_from_the_middle_of_it_takes_nothing_up(tmp_path: Path, journey: Journey) -> None:
    rack, copies = await live(tmp_path, journey, lambda point: point.name == "after power on")
    for at, (where, path) in enumerate(copies.items()):
        await restored(rack, path, tmp_path / f"restored{at}", where)


async def test_a_machine_that_is_adopted_as_what_a_rollout_brings_is_left_alone(tmp_path: Path) -> None:
    rack, copies = await live(tmp_path, in_rollout, lambda point: point == Point("after RolloutStore.create", 0))
    (path,), folder = copies.values(), tmp_path / "restored"
    await asyncio.to_thread(lambda: (folder.mkdir(), shutil.copy(rack.folder / "key", folder / "key")))
    await asyncio.to_thread(copy, path, folder / "state.db", time.time())
    rack.folder, log = folder, list(rack.one().log)
    async with rack.alive(), fleet(rack) as rollouts:
        assert rack.conductor
        await rack.conductor.adopt("node17", "debian-12")
        resumed = await rollouts.order(rollouts.all()[0].id, FleetOrder.RESUME)
        resumed = await until_rollout(rollouts, resumed.id, rolled_out)
        assert (resumed.status, [member.stage for member in resumed.members]) == (Status.DONE, [Stage.SKIPPED])
        assert rack.one().log == log


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=JOURNEYS.keys())
async def test_nor_does_one_from_any_point(tmp_path: Path, journey: Journey) -> None:
    rack, copies = await live(tmp_path, journey, lambda _point: True)
    for at, (where, path) in enumerate(copies.items()):
        async with asyncio.timeout(20):
            await restored(rack, path, tmp_path / f"restored{at}", where)
