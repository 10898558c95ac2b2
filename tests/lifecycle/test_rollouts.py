"""Rollouts over a rack in memory: batches, failures, orders, and daemons that are killed at every point."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from provisioner.errors import BmcUnreachable, ConfigError, ConflictError, NotFoundError
from provisioner.lifecycle import rollouts as module
from provisioner.lifecycle.fleet import Order, Rollout, Stage, Status
from provisioner.lifecycle.rollouts import Rollouts
from provisioner.model.machine import State
from tests.lifecycle.breaking import Struck, take_over
from tests.lifecycle.points import LIVES, KillableDatabase, Point, Points, certain
from tests.lifecycle.rack import Metal, Rack
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_crash import ACTIVE

NAMES = ("node01", "node02", "node03", "node04")


@asynccontextmanager
async def fleet(rack: Rack, points: Points | None = None) -> AsyncIterator[Rollouts]:
    """Run a daemon that carries out rollouts."""
    async with rack.daemon(points) as conductor:
        rollouts = Rollouts(conductor, conductor._store._db, 0.02)
        await rollouts.open()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(rollouts.run())
            yield rollouts
            running.cancel()


async def ready(rack: Rack) -> None:
    """Put every machine on record, and inspect it."""
    for metal in rack.metal:
        await rack.enrol(metal.name)
        assert rack.conductor
        await rack.conductor.boot(metal.name, "discovery")
    for metal in rack.metal:
        await settled(rack.conductor, metal.name)


async def until(rollouts: Rollouts, ref: str, holds: Callable[[Rollout], bool]) -> Rollout:
    async with asyncio.timeout(30):
        while not holds(rollout := rollouts.get(ref)):
            await asyncio.sleep(0.005)
    return rollout


def over(rollout: Rollout) -> bool:
    return rollout.over


async def test_all_machines_in_batches(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        begun = await rollouts.begin("debian-12", "node[01-03]", (2, 0), {})
        assert begun.count(Stage.STARTING) == 2
        rollout = await until(rollouts, begun.id, over)
        assert (rollout.status, rollout.count(Stage.DONE)) == (Status.DONE, 3)
        assert [metal.log for metal in rack.metal] == [ACTIVE] * 3 + [["power on"]]
        assert rack.conductor
        events = [e for e in await rack.conductor.events(0, 1000) if e.type.startswith("rollout.")]
        assert [e.type for e in events] == ["rollout.started", "rollout.done"]
        assert events[-1].data["done"] == 3


async def test_too_many_failures_pause_it_and_resume_goes_on(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        rack.one("node01").broken = rack.one("node02").broken = BmcUnreachable("no answer")
        begun = await rollouts.begin("debian-12", "name=*", (1, 1), {})
        rollout = await until(rollouts, begun.id, lambda r: r.status is Status.PAUSED)
        assert [m.stage for m in rollout.members] == [Stage.FAILED, Stage.FAILED, Stage.WAITING, Stage.WAITING]
        assert "no answer" in rollout.members[0].reason
        assert rollout.reason == "2 machines failed, 1 may"
        await rollouts.order(begun.id, Order.RESUME)
        rollout = await until(rollouts, begun.id, over)
        assert [m.stage for m in rollout.members] == [Stage.FAILED, Stage.FAILED, Stage.DONE, Stage.DONE]


async def test_a_run_that_is_cancelled_is_a_failure_and_a_machine_that_is_forgotten_too(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        rack.during_job = lambda _metal: False
        begun = await rollouts.begin("debian-12", "node[01-02]", (2, 5), {})
        await until(rollouts, begun.id, lambda r: r.count(Stage.RUNNING) == 2)
        assert rack.conductor
        for name in NAMES[:2]:
            await rack.conductor.cancel(name)
        rollout = await until(rollouts, begun.id, over)
        assert [m.reason for m in rollout.members] == ["cancelled by the operator"] * 2


async def test_abort_leaves_out_what_waits_and_sees_the_rest_to_its_end(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        at_work = asyncio.Event()

        def hold(_metal: Metal) -> bool:
            rack.up.clear()  # what it says from here on waits
            at_work.set()
            return True

        rack.during_job = hold
        begun = await rollouts.begin("debian-12", "name=*", (1, 0), {})
        await at_work.wait()
        await until(rollouts, begun.id, lambda r: bool(r.count(Stage.RUNNING)))
        await rollouts.order(begun.id, Order.ABORT)
        rack.up.set()
        rollout = await until(rollouts, begun.id, over)
        assert rollout.status is Status.ABORTED
        assert (rollout.count(Stage.DONE), rollout.count(Stage.SKIPPED)) == (1, 3)
        assert [metal.log.count("job job") for metal in rack.metal] == [1, 0, 0, 0]


async def test_what_is_still_looked_at_is_not_begun_after_an_abort_or_a_pause(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        conductor = rack.conductor
        assert conductor
        async with conductor._runner.holding([conductor.machines.get(name).id for name in NAMES]):
            begun = await rollouts.begin("debian-12", "name=*", (2, 0), {})
            assert (await rollouts.order(begun.id, Order.PAUSE)).count(Stage.STARTING) == 2
        rollout = await until(rollouts, begun.id, lambda r: r.count(Stage.WAITING) == 4)
        async with conductor._runner.holding([conductor.machines.get(name).id for name in NAMES]):
            assert (await rollouts.order(begun.id, Order.RESUME)).count(Stage.STARTING) == 2
            await rollouts.order(begun.id, Order.ABORT)
        rollout = await until(rollouts, begun.id, over)
        assert (rollout.status, rollout.count(Stage.SKIPPED)) == (Status.ABORTED, 4)
        assert [conductor.machines.get(name).state for name in NAMES] == [State.READY] * 4
        assert [metal.log for metal in rack.metal] == [["power on"]] * 4


async def test_who_was_taken_into_use_before_its_turn_is_left_out(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        conductor, ended = rack.conductor, asyncio.Event()
        assert conductor
        rack.during_job = lambda metal: metal.name != "node01" or ended.is_set()
        begun = await rollouts.begin("debian-12", "node*,!state=active", (1, 0), {})
        await until(rollouts, begun.id, lambda r: bool(r.count(Stage.RUNNING)))
        await conductor.adopt("node03", "a customer's database")
        await conductor.boot("node04", "debian-12")
        await settled(conductor, "node04")
        ended.set()
        await conductor.cancel("node01")
        rollout = await until(rollouts, begun.id, lambda r: r.status is Status.PAUSED)
        await rollouts.order(begun.id, Order.RESUME)
        rollout = await until(rollouts, begun.id, over)
        assert [m.stage for m in rollout.members] == [Stage.FAILED, Stage.DONE, Stage.SKIPPED, Stage.SKIPPED]
        assert rollout.members[2].reason.startswith("node03 is active by now (a customer's database)")
        assert (rollout.status, rollout.reason) == (Status.DONE, "2 of 4 machines were left out")
        assert [metal.log.count("job job") for metal in rack.metal] == [0, 1, 0, 1]


async def test_who_was_in_use_when_it_was_chosen_is_installed_anew(tmp_path: Path) -> None:
    rack = Rack(tmp_path, ("node17",))
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        assert rack.conductor
        await rack.conductor.adopt("node17", "theirs")
        begun = await rollouts.begin("debian-12", "state=active", (1, 0), {})
        assert (await until(rollouts, begun.id, over)).status is Status.DONE
        assert rack.one().log.count("job job") == 1


async def test_what_is_refused(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        with pytest.raises(NotFoundError, match="no bootenv"):
            await rollouts.begin("debain", "name=*", (1, 0), {})
        with pytest.raises(NotFoundError, match="no machine node05, node06"):
            await rollouts.begin("debian-12", "node[01-06]", (1, 0), {})
        with pytest.raises(ConfigError, match="no machine is like that"):
            await rollouts.begin("debian-12", "rack=r9", (1, 0), {})
        with pytest.raises(NotFoundError, match="no rollout 'x'"):
            await rollouts.order("x", Order.PAUSE)
        assert rollouts.all() == []
        rack.during_job = lambda _metal: False
        begun = await rollouts.begin("debian-12", "node01", (1, 0), {}, key="k")
        assert await rollouts.begin("debian-12", "node01", (1, 0), {}, key="k") == rollouts.get(begun.id)
        with pytest.raises(ConflictError, match="used for another rollout"):
            await rollouts.begin("debian-12", "node01", (2, 0), {}, key="k")
        with pytest.raises(ConflictError, match="in another rollout"):
            await rollouts.begin("debian-12", "node[01-02]", (1, 0), {})
        assert rollouts.all() == [rollouts.get(begun.id)]


async def on_record(rollouts: Rollouts) -> list[str]:
    """List the rollouts of the store, the oldest first, and see that it holds machines of no others."""
    kept = [rollout.id for rollout in await rollouts._store.load()]
    query = "SELECT DISTINCT rollout FROM rollout_member"
    rows = await rollouts._store._db.read(lambda c: c.execute(query).fetchall())
    assert sorted(row[0] for row in rows) == sorted(kept)
    return kept


async def test_those_that_ended_long_ago_go_from_the_store_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    rack = Rack(tmp_path, NAMES[:3])
    async with rack.alive():
        async with fleet(rack) as rollouts:
            await ready(rack)
            begun = [(await rollouts.begin("debian-12", name, (1, 0), {})).id for name in NAMES[:3]]
            async with asyncio.timeout(30):
                while [r.id for r in rollouts.all() if r.over] != begun[:0:-1]:
                    await asyncio.sleep(0.005)
            assert await on_record(rollouts) == begun[1:]
        monkeypatch.setattr(module, "KEPT", 1)
        async with fleet(rack) as rollouts:
            assert [rollout.id for rollout in rollouts.all()] == begun[2:]
            assert await on_record(rollouts) == begun[2:]


async def play(start: Rack, folder: Path, die_at: Point | None) -> tuple[Rack, Points]:
    """Roll out to three machines, with a daemon that dies at a point and another that goes on."""
    rack, points = Rack(folder), Points(die_at)
    await asyncio.to_thread(take_over, rack, start)
    async with rack.alive():
        async with fleet(rack, points) as rollouts:
            begun = await rollouts.begin("debian-12", "name=*", (2, 0), {}, key="key")
            await until(rollouts, begun.id, over)
        async with fleet(rack) as rollouts:
            begun = await rollouts.begin("debian-12", "name=*", (2, 0), {}, key="key")
            rollout = await until(rollouts, begun.id, over)
            assert (len(rollouts.all()), rollout.status, rollout.count(Stage.DONE)) == (1, Status.DONE, 3)
            assert rack.conductor
            machines = rack.conductor.machines.all()
            assert {m.state for m in machines} == {State.ACTIVE}, (rollout, machines)
            events = [e.type for e in await rack.conductor.events(0, 10_000) if e.type.startswith("rollout.")]
            assert events == ["rollout.started", "rollout.done"]
    return rack, points


@pytest.mark.slow
@pytest.mark.timeout(600)
# a task group that falls takes no more tasks, and Python before 3.13 leaves what it does not take
@pytest.mark.filterwarnings("ignore:coroutine 'Runner._act' was never awaited:RuntimeWarning")
async def test_killed_at_every_point(tmp_path_factory: pytest.TempPathFactory) -> None:
    start = Rack(tmp_path_factory.mktemp("start"), NAMES[:3])
    async with start.alive(), start.daemon():
        await ready(start)
    whole = certain([(await play(start, tmp_path_factory.mktemp("whole"), None))[1] for _ in range(LIVES)])
    assert len(whole) > 100
    for at, point in enumerate(whole):
        async with asyncio.timeout(30):
            rack, died = await play(start, tmp_path_factory.mktemp(f"at{at}"), point)
        where = f"killed {point.name} for the {point.nth + 1}. time (point {at + 1} of {len(whole)})"
        assert died.dead.is_set(), where
        assert [metal.log for metal in rack.metal] == [ACTIVE] * 3, where


async def test_a_fault_of_ours_fails_one_machine_and_the_rest_goes_on(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES)
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        rack.one("node01").broken = KeyError("PowerState")
        begun = await rollouts.begin("debian-12", "node[01-02]", (1, 1), {})
        rollout = await until(rollouts, begun.id, over)
        assert [m.stage for m in rollout.members] == [Stage.FAILED, Stage.DONE]
        assert rollout.members[0].reason == "internal error: KeyError: 'PowerState'"


async def test_one_whose_second_write_is_refused_goes_on_once_there_is_room(tmp_path: Path) -> None:
    def fill(_name: str) -> None:
        db.full = True

    rack = Rack(tmp_path, NAMES)
    points = Struck(Point("after RolloutStore.create", 0), fill)
    async with rack.alive(), fleet(rack, points) as rollouts:
        await ready(rack)
        assert rack.conductor
        db = rack.conductor._store._db
        assert isinstance(db, KillableDatabase)
        begun = await rollouts.begin("debian-12", "node[01-02]", (2, 0), {}, key="k")
        assert (begun.status, begun.count(Stage.WAITING)) == (Status.RUNNING, 2)
        db.full = False
        rollout = await until(rollouts, begun.id, over)
        assert (rollout.status, rollout.count(Stage.DONE)) == (Status.DONE, 2)
