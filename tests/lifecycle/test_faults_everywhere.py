"""Whatever breaks, at whichever point of a run: the machine gets where it was to go, and nothing lasting is done twice.

The points are enumerated, not sampled, as in `test_crash`: every BMC call and every durable write of each verb, before
and after; each meets its share of what breaks (`tests/share.py`). What cannot end well by itself ends with a reason,
and is taken up once somebody saw to it.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from provisioner.clock import SteadyClock
from provisioner.lifecycle.plans import Verb
from tests.lifecycle.breaking import BREAKAGES, UNBROKEN, breakable, done_to_disk, play, start_of
from tests.lifecycle.points import LIVES, Point, Points, certain
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_conductor import settled
from tests.lifecycle.test_crash import STORIES, ask, check_events
from tests.lifecycle.test_faults import DAY, SetClock
from tests.share import Share

JUMPS_S = (DAY, -DAY)


_known: dict[Verb, tuple[Rack, list[Point]]] = {}


async def known(factory: pytest.TempPathFactory, verb: Verb) -> tuple[Rack, list[Point]]:
    """Where a verb starts, and what each of its lives comes by where nothing breaks; found out once by each process."""
    if verb not in _known:
        _, end, effects = STORIES[verb]
        start = await start_of(factory.mktemp("start"), verb)
        lives = [await play(start, factory.mktemp("whole"), verb, UNBROKEN, None) for _ in range(LIVES)]
        assert all((machine.state, scene.metal.log) == (end, effects) for scene, machine in lives)
        _known[verb] = start, certain(scene.points for scene, _ in lives)
    return _known[verb]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("what", BREAKAGES)
async def test_something_breaks_at_every_point(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, what: str, verb: Verb, share: Share
) -> None:
    _, end, effects = STORIES[verb]
    start, whole = await known(tmp_path_factory, verb)
    for at, point in share.of(whole, what, list(BREAKAGES)):
        where = f"{what} {point.name} for the {point.nth + 1}. time (point {at + 1} of {len(whole)})"
        scene, machine = await play(start, tmp_path / f"at{at}", verb, BREAKAGES[what], point)
        assert scene.points.struck, where
        assert (machine.state, machine.failure) == (end, None), where
        done, wanted = done_to_disk(scene.metal.log), done_to_disk(effects)
        assert done[: len(wanted)] == wanted, where
        assert len(done) <= len(wanted) + scene.untold, where
        if not BREAKAGES[what].mended:
            assert scene.metal.log == effects, where


@pytest.mark.slow
@pytest.mark.parametrize("jump_s", JUMPS_S)
@pytest.mark.parametrize("verb", Verb)
async def test_the_clock_is_set_while_the_daemon_is_down_at_every_point(
    tmp_path: Path, verb: Verb, jump_s: float, share: Share
) -> None:
    _, end, effects = STORIES[verb]
    start = await start_of(tmp_path / "start", verb)

    async def killed(folder: Path, die_at: Point | None) -> Points:
        rack, points = await asyncio.to_thread(breakable, start, folder), Points(die_at)
        async with rack.alive():
            async with rack.daemon(points) as conductor:
                await ask(conductor, verb)
                await settled(conductor)
            rack.clock = SetClock(jump_s)
            async with rack.daemon() as conductor:
                await ask(conductor, verb)
                machine = await settled(conductor)
                check_events(await conductor.events(0, 10_000))
        assert (machine.state, machine.failure, rack.one().log) == (end, None, effects), f"{die_at}"
        return points

    whole = certain([await killed(tmp_path / f"whole{number}", None) for number in range(LIVES)])
    for at, point in share.of(whole, jump_s, JUMPS_S):
        assert (await killed(tmp_path / f"at{at}", point)).dead.is_set(), f"{point}"


class Restless(Points):
    """Sets the clock by a day at every point, on and back by turns."""

    ahead_s = DAY

    def point(self, name: str) -> None:
        super().point(name)
        self.ahead_s = -self.ahead_s


@pytest.mark.slow
@pytest.mark.parametrize("verb", Verb)
async def test_the_clock_is_set_under_a_daemon_at_every_point(tmp_path: Path, verb: Verb) -> None:
    _, end, effects = STORIES[verb]
    rack, points = breakable(await start_of(tmp_path / "start", verb), tmp_path / "rack"), Restless()
    rack.clock = SteadyClock(wall=lambda: time.time() + points.ahead_s)
    async with rack.alive(), rack.daemon(points) as conductor:
        await ask(conductor, verb)
        machine = await settled(conductor)
        check_events(await conductor.events(0, 10_000))
    assert (machine.state, machine.failure, rack.one().log) == (end, None, effects)
    assert len(points.passed) > 4
