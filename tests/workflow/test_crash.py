"""The daemon is killed at every point at which it touches the world in the middle of a workflow, and started again.

The points are enumerated, not sampled: each workflow is played once to list every BMC call and every durable write,
before and after; then once more for each of them, with a daemon that dies there. What destroys is done exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from provisioner.model.workflow import FlowRun, FlowStatus
from tests.lifecycle.breaking import take_over
from tests.lifecycle.points import LIVES, Point, Points, certain
from tests.lifecycle.test_crash import check_events
from tests.workflow.rack import FlowRack
from tests.workflow.test_engine import over, ready, reasons

DISCOVERY = """
name: discovery
title: scripts in the discovery system, one of which destroys, behind a barrier and for all by a leader
goal: [all.done]
steps:
  look: {where: discovery, provides: [looked.at], script: look}
  wipe:
    {where: discovery, requires: [looked.at], provides: [disk.wiped], destructive: true, barrier: true, script: wipe}
  tell:
    {where: daemon, action: webhook, with: {url: "HOOK"}, requires: [disk.wiped], provides: [all.done], leader: true}
"""
DEPLOY = """
name: deploy
title: an image, then a step on the system that it makes
goal: [system.set-up]
steps:
  image: {where: daemon, action: boot, with: {bootenv: debian-12}, destructive: true, provides: [system.running]}
  lamp: {where: bmc, verb: led.set, with: {wanted: lit}, requires: [system.running], provides: [lamp.on]}
  setup: {where: system, requires: [lamp.on], provides: [system.set-up], destructive: true, script: setup}
"""
INSTALL = """
name: install
title: a step at the end of a distribution's installer
goal: [os.made]
steps:
  begin:
    {where: daemon, action: boot, with: {bootenv: fake-installer, until: installer}, destructive: true,
     provides: [installer.running]}
  disks: {where: installer, provides: [disks.prepared], destructive: true, script: pvcreate}
  wait: {where: daemon, action: wait, with: {state: active}, requires: [disks.prepared], provides: [os.made]}
"""
CYCLE = """
name: cycle
title: a verb that is not the same when it is done twice
goal: [power.cycled]
steps:
  cycle: {where: bmc, verb: power.cycle, provides: [power.cycled], on_error: back}
  back: {where: daemon, action: hold, with: {reason: "look at it"}}
"""

STORIES: dict[str, tuple[str, tuple[str, ...], dict[str, int]]] = {
    # the workflow, its machines, how often each effect that lasts is to be seen on each machine
    "discovery": (DISCOVERY, ("node17", "node18"), {"look": 1, "wipe": 1, "power on": 1}),
    "deploy": (DEPLOY, ("node17",), {"job job": 1, "setup": 1, "power on": 3, "power off": 2}),
    "install": (INSTALL, ("node17",), {"install": 1, "disks": 1, "power on": 2, "power off": 1}),
}


@asynccontextmanager
async def hook() -> AsyncIterator[tuple[str, list[str]]]:
    """A receiver that notes the key of each message."""
    keys: list[str] = []

    async def take(request: web.Request) -> web.Response:
        keys.append(request.headers["Idempotency-Key"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/", take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", keys
    finally:
        await runner.cleanup()


Judge = Callable[[FlowRack, FlowRun, list[str], str], None]


async def inspected(folder: Path, names: tuple[str, ...]) -> FlowRack:
    """Bring machines to where a workflow starts that begins with a boot."""
    rack = FlowRack(folder, names)
    async with rack.alive(), rack.daemon():
        await ready(rack)
    return rack


async def start_of(factory: pytest.TempPathFactory, story: str) -> FlowRack | None:
    """Begin a story's lives there; where its steps are for the discovery system, which has to run, at the beginning."""
    return None if story == "discovery" else await inspected(factory.mktemp("start"), STORIES[story][1])


async def play(
    folder: Path,
    story: tuple[str, tuple[str, ...]],
    die_at: Point | None,
    judge: Judge,
    where: str = "",
    start: FlowRack | None = None,
) -> Points:
    """Run a workflow with a daemon that dies at a point, let another go on, and judge the end."""
    flow, names = story
    async with hook() as (url, keys):
        rack, points = FlowRack(folder, names, flow.replace("HOOK", url)), Points(die_at)
        workflow = rack.library.all()[0].name
        if start is not None:
            await asyncio.to_thread(take_over, rack, start)
        async with rack.alive():
            if start is None:
                async with rack.daemon():
                    await ready(rack)
            async with rack.daemon(points):
                await over(rack, await rack.begin(workflow))
            async with rack.daemon() as conductor:
                run = await over(rack, await rack.begin(workflow))  # the same key: begun before the crash or now, once
                check_events(
                    [e for e in await conductor.events(0, 10_000) if not e.type.startswith("workflow.")], False
                )
                judge(rack, run, keys, where)
    return points


def reached(counts: dict[str, int]) -> Judge:
    def judge(rack: FlowRack, run: FlowRun, keys: list[str], where: str) -> None:
        assert (run.status, set(reasons(run).values())) == (FlowStatus.DONE, {""}), where
        for metal in rack.metal:
            assert {what: metal.log.count(what) for what in counts} == counts, f"{where}: {metal.name}: {metal.log}"
        assert len(set(keys)) <= 1, where  # one leader, one key

    return judge


def at_most_once(rack: FlowRack, run: FlowRun, keys: list[str], where: str) -> None:
    done = rack.one().log.count("power.cycle")
    assert done <= 1, where
    if run.status is FlowStatus.DONE:
        assert done == 1, where
    else:
        assert "nobody knows whether it was done" in reasons(run)["node17"], where


async def enumerate_points(
    factory: pytest.TempPathFactory, story: tuple[str, tuple[str, ...]], judge: Judge, start: FlowRack | None
) -> None:
    lives = [await play(factory.mktemp("whole"), story, None, judge, "not killed", start) for _ in range(LIVES)]
    whole = certain(lives)
    assert len(whole) >= 6
    for at, point in enumerate(whole):
        where = f"killed {point.name} for the {point.nth + 1}. time (point {at + 1} of {len(whole)})"
        async with asyncio.timeout(30):
            died = await play(factory.mktemp(f"at{at}"), story, point, judge, where, start)
        assert died.dead.is_set(), where


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", STORIES)
async def test_killed_at_every_point(tmp_path_factory: pytest.TempPathFactory, story: str) -> None:
    flow, names, counts = STORIES[story]
    start = await start_of(tmp_path_factory, story)
    await enumerate_points(tmp_path_factory, (flow, names), reached(counts), start)


@pytest.mark.slow
async def test_what_nobody_can_know_is_said_and_never_done_twice(tmp_path_factory: pytest.TempPathFactory) -> None:
    start = await inspected(tmp_path_factory.mktemp("start"), ("node17",))
    await enumerate_points(tmp_path_factory, (CYCLE, ("node17",)), at_most_once, start)
