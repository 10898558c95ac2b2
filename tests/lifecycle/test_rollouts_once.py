"""Rollouts and orders of them under idempotency keys: whatever is asked again is done once, across every crash."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioner.errors import ConflictError
from provisioner.lifecycle import rollouts as module
from provisioner.lifecycle.fleet import Order, Rollout, Stage, Status
from provisioner.lifecycle.rollouts import Rollouts
from tests.lifecycle.points import Point, Points, killed_at_each_write
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_rollouts import NAMES, fleet, ready, until

ORDERS = (Order.PAUSE, Order.RESUME, Order.PAUSE, Order.ABORT)
HAPPENED = ["rollout.started", "rollout.paused", "rollout.resumed", "rollout.paused", "rollout.aborted"]


def begun(rollout: Rollout) -> bool:
    return rollout.count(Stage.RUNNING) == 1


async def begin(rollouts: Rollouts, key: str = "k") -> Rollout:
    return await rollouts.begin("debian-12", "node[01-02]", (1, 0), {}, key=key)


async def events(rack: Rack) -> list[str]:
    assert rack.conductor
    return [each.type for each in await rack.conductor.events(0, 10_000) if each.type.startswith("rollout.")]


async def test_what_comes_at_the_same_time_under_one_key_is_one(tmp_path: Path) -> None:
    rack = Rack(tmp_path, NAMES[:2])
    rack.during_job = lambda _metal: False
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        first, *more = await asyncio.gather(*(begin(rollouts) for _ in range(4)))
        assert {each.id for each in more} == {first.id}
        await until(rollouts, first.id, begun)
        for order in ORDERS:
            await asyncio.gather(*(rollouts.order(first.id, order, key=f"{order} 1") for _ in range(3)))
            if order is Order.RESUME:
                await rollouts.order(first.id, Order.PAUSE, key="pause 1")
                assert rollouts.get(first.id).status is Status.RUNNING, "that was the pause before"
                await rollouts.order(first.id, Order.PAUSE, key="pause 2")
        assert await events(rack) == HAPPENED


async def test_a_key_is_one_requests_and_outlives_its_rollout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 0)
    rack = Rack(tmp_path, NAMES[:2])
    rack.during_job = lambda _metal: False
    async with rack.alive(), fleet(rack) as rollouts:
        await ready(rack)
        rollout = await begin(rollouts)
        await until(rollouts, rollout.id, begun)
        with pytest.raises(ConflictError, match=r"'k' was used for rollout \("):
            await rollouts.order(rollout.id, Order.PAUSE, key="k")
        await rollouts.order(rollout.id, Order.PAUSE, key="k2")
        with pytest.raises(ConflictError, match=r"'k2' was used for rollout-pause \("):
            await rollouts.order(rollout.id, Order.ABORT, key="k2")
        with pytest.raises(ConflictError, match="cannot pause from there"):
            await rollouts.order(rollout.id, Order.PAUSE, key="k3")
        await rollouts.order(rollout.id, Order.RESUME, key="k3")  # what was refused did not use the key
        assert rack.conductor
        with pytest.raises(ConflictError, match=r"'k3' was used for rollout-resume \("):
            await rack.conductor.boot("node02", "debian-12", key="k3")
        await rollouts.order(rollout.id, Order.ABORT, key="k4")
        await rack.conductor.cancel("node01")
        async with asyncio.timeout(30):
            while rollouts.all():
                await asyncio.sleep(0.005)
        with pytest.raises(ConflictError, match=f"rollout {rollout.id}.* is no longer kept"):
            await begin(rollouts)
        assert rollouts.all() == []


async def client(rollouts: Rollouts, answered: list[Order]) -> None:
    """Begin and give the orders one by one, from the first on whose answer was lost; each has a key of its own."""
    rollout = await begin(rollouts)
    await until(rollouts, rollout.id, begun)
    while len(answered) < len(ORDERS):
        order = ORDERS[len(answered)]
        await rollouts.order(rollout.id, order, key=f"order {len(answered)}")
        answered.append(order)


async def play(folder: Path, die_at: Point | None, where: str) -> Points:
    rack, points, answered = Rack(folder, NAMES[:2]), Points(die_at), list[Order]()
    rack.during_job = lambda _metal: False
    async with rack.alive():
        async with rack.daemon():
            await ready(rack)
        async with fleet(rack, points) as rollouts:
            await client(rollouts, answered)
        async with fleet(rack) as rollouts:
            await client(rollouts, answered)
            assert (await events(rack), len(rollouts.all())) == (HAPPENED, 1), where
            assert [metal.log.count("job job") for metal in rack.metal][1] == 0, where
    return points


@pytest.mark.slow
async def test_killed_at_every_write_of_a_rollout_an_order_is_carried_out_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    times = await killed_at_each_write(tmp_path_factory, "RolloutStore", play)
    assert times == 2 * (1 + 2 + len(ORDERS)), "created, carried on, begun, and the orders"
