"""The disk is full, or another process locks the store, at every point of a workflow: it is carried out all the same.

The points are those of `test_crash`, and so is what has to be true in the end. What breaks takes turns at them
(`tests/share.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lifecycle.breaking import BreakableDatabase, Struck, hurried, once_there_is_room, take_over
from tests.lifecycle.points import LIVES, Point, certain
from tests.lifecycle.test_crash import check_events
from tests.share import Share
from tests.workflow.rack import FlowRack
from tests.workflow.test_crash import STORIES, hook, reached, start_of
from tests.workflow.test_engine import over, ready

BREAKAGES: dict[str, Callable[[BreakableDatabase], None]] = {
    "the disk is full": BreakableDatabase.fill,
    "another process locks the store": BreakableDatabase.lock,
}


async def play(
    folder: Path, story: str, breaks: Callable[[BreakableDatabase], None], at: Point | None, start: FlowRack | None
) -> Struck:
    """Run a workflow by a daemon whose store breaks at a point, and judge the end."""
    flow, names, counts = STORIES[story]
    async with hook() as (url, keys):
        rack = FlowRack(folder, names, flow.replace("HOOK", url))
        rack.database, rack.opened = BreakableDatabase, hurried

        def strike(_name: str) -> None:
            assert rack.conductor
            db = rack.conductor._store._db
            assert isinstance(db, BreakableDatabase)
            breaks(db)

        points = Struck(at, strike)
        if start is not None:
            await asyncio.to_thread(take_over, rack, start)
        async with rack.alive():
            if start is None:
                async with rack.daemon():
                    await ready(rack)
            async with rack.daemon(points) as conductor:
                run = await over(rack, await once_there_is_room(lambda: rack.begin(rack.library.all()[0].name)))
                check_events(
                    [e for e in await conductor.events(0, 10_000) if not e.type.startswith("workflow.")], False
                )
                reached(counts)(rack, run, keys, f"{at}")
    return points


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("what", BREAKAGES)
async def test_the_store_breaks_at_every_point(
    tmp_path_factory: pytest.TempPathFactory, what: str, story: str, share: Share
) -> None:
    start, breaks = await start_of(tmp_path_factory, story), BREAKAGES[what]
    whole = certain([await play(tmp_path_factory.mktemp("whole"), story, breaks, None, start) for _ in range(LIVES)])
    assert len(whole) >= 6
    for at, point in share.of(whole, what, list(BREAKAGES)):
        async with asyncio.timeout(30):
            struck = await play(tmp_path_factory.mktemp(f"at{at}"), story, breaks, point, start)
        assert struck.struck, point
