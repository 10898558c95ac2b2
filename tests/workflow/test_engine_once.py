"""Runs and orders of them under idempotency keys: whatever is asked again is done once, across every crash."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioner.errors import ConflictError
from provisioner.model.workflow import FlowRun, FlowStatus, Stage
from provisioner.workflow.progress import Order
from tests.lifecycle.points import Point, Points, killed_at_each_write
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import until

LINE = """
name: line
title: one step after the other
goal: [line.third]
params: {minutes: {kind: number, default: 3}}
steps:
  one: {where: daemon, action: wait, with: {state: enrolled}, provides: [line.first]}
  two: {where: daemon, action: wait, with: {state: enrolled}, requires: [line.first], provides: [line.second]}
  three: {where: daemon, action: wait, with: {state: enrolled}, requires: [line.second], provides: [line.third]}
"""
ORDERS = (Order.STEP, Order.STEP, "signal", Order.ABORT)
HAPPENED = ["workflow.started", "workflow.signal", "workflow.aborted"]


async def begin(rack: FlowRack, key: str = "k", **wish: object) -> FlowRun:
    return await rack.begin("line", "node17", key, paused=True, **wish)


async def give(rack: FlowRack, run: FlowRun, order: Order | str, key: str) -> None:
    """Ask for something, and wait until what it begins has ended."""
    if isinstance(order, Order):
        await rack.engine.order(run.id, order, key=key)
    else:
        await rack.engine.signal(run.id, order, key=key)
    await until(rack, run, lambda r: not r.count(Stage.RUNNING))


async def test_what_comes_at_the_same_time_under_one_key_is_one(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), LINE)
    async with rack.daemon():
        await rack.enrol()
        first, *more = await asyncio.gather(*(begin(rack) for _ in range(4)))
        assert ({each.id for each in more}, len(rack.engine.all())) == ({first.id}, 1)
        for at, key in enumerate(("s1", "s2"), 1):
            await asyncio.gather(*(give(rack, first, Order.STEP, key) for _ in range(3)))
            await give(rack, first, Order.STEP, "s1")
            assert rack.engine.get(first.id).members[0].at == at
        for _ in range(2):
            await give(rack, first, "go", "g")
        await give(rack, first, Order.RESUME, "r")
        run = await until(rack, first, lambda r: r.over)
        assert (run.status, run.signals) == (FlowStatus.DONE, ("go",))
        await give(rack, first, "go", "g")  # it is over, and was told before


async def test_a_key_is_one_requests(tmp_path: Path) -> None:
    rack = FlowRack(tmp_path, ("node17",), LINE)
    async with rack.daemon() as conductor:
        await rack.enrol()
        run = await begin(rack)
        for wish in ({"params": {"minutes": 4}}, {"at_once": 1}, {"max_failures": 1}):
            with pytest.raises(ConflictError, match=r"'k' was used for another workflow-run \("):
                await begin(rack, **wish)
        with pytest.raises(ConflictError, match=r"'k' was used for workflow-run \("):
            await rack.engine.order(run.id, Order.STEP, key="k")
        await give(rack, run, Order.STEP, "k2")
        with pytest.raises(ConflictError, match=r"'k2' was used for workflow-step \("):
            await rack.engine.order(run.id, Order.ABORT, key="k2")
        await rack.engine.signal(run.id, "go", key="k3")
        with pytest.raises(ConflictError, match=r"'k3' was used for another workflow-signal \("):
            await rack.engine.signal(run.id, "stop", key="k3")
        with pytest.raises(ConflictError, match=r"'k3' was used for workflow-signal \("):
            await conductor.hold("node17", "x", key="k3")
        await rack.engine.order(run.id, Order.ABORT)
        await rack.engine.store.forget(run.id)
    async with rack.daemon():
        with pytest.raises(ConflictError, match=f"run {run.id}.* is no longer kept"):
            await begin(rack)
        assert rack.engine.all() == []


async def client(rack: FlowRack, answered: list[str]) -> FlowRun:
    """Begin and give the orders one by one, from the first on whose answer was lost; each has a key of its own."""
    run = await begin(rack)
    while len(answered) < len(ORDERS):
        order = ORDERS[len(answered)]
        await give(rack, run, order, f"order {len(answered)}")
        answered.append(order)
    return rack.engine.get(run.id)


async def play(folder: Path, die_at: Point | None, where: str) -> Points:
    rack, points, answered = FlowRack(folder, ("node17",), LINE), Points(die_at), list[str]()
    async with rack.daemon():
        await rack.enrol()
    async with rack.daemon(points):
        await client(rack, answered)
    async with rack.daemon() as conductor:
        run = await client(rack, answered)
        assert (len(rack.engine.all()), run.status, run.members[0].at) == (1, FlowStatus.ABORTED, 2), where
        told = [each.type for each in await conductor.events(0, 1000) if each.type.startswith("workflow.")]
        assert [each for each in told if each in HAPPENED] == HAPPENED, where
    return points


@pytest.mark.slow
async def test_killed_at_every_write_of_a_run_an_order_is_carried_out_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    times = await killed_at_each_write(tmp_path_factory, "WorkflowStore", play)
    assert times >= 2 * (1 + 2 * 2 + 2), "created, steps begun and ended, signal, aborted"
