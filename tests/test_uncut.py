"""A cancellation that comes amid what must not be cut in two: it waits, and nothing is left out."""

from __future__ import annotations

import asyncio

import pytest

from provisioner.uncut import uncut


class Change:
    """Something durable, and what is live: the second has to follow the first."""

    def __init__(self) -> None:
        self.begun, self.commit = asyncio.Event(), asyncio.get_running_loop().create_future()
        self.done: list[str] = []

    async def make(self, *, steps: int = 1) -> str:
        with uncut() as whole:
            for _ in range(steps):
                self.begun.set()
                self.done.append(await whole(self.commit))
            self.done.append("live")
        self.done.append("after")
        return "made"


async def begun(change: Change, **given: int) -> asyncio.Task[str]:
    task = asyncio.get_running_loop().create_task(change.make(**given))
    await change.begun.wait()
    await asyncio.sleep(0)
    return task


async def test_nobody_goes_away() -> None:
    change = Change()
    task = await begun(change)
    change.commit.set_result("durable")
    assert await task == "made"
    assert change.done == ["durable", "live", "after"]


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 2])
async def test_who_goes_away_cuts_nothing_in_two(times: int, steps: int) -> None:
    change = Change()
    task = await begun(change, steps=steps)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    assert not task.done()
    change.commit.set_result("durable")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert change.done == [*["durable"] * steps, "live"]


async def test_what_failed_is_the_reason_behind_a_cancellation() -> None:
    change = Change()
    task = await begun(change)
    task.cancel()
    await asyncio.sleep(0)
    change.commit.set_exception(OSError(28, "full"))
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__context__, OSError)
    assert change.done == []


async def test_what_fails_while_nobody_goes_away_is_raised() -> None:
    change = Change()
    task = await begun(change)
    change.commit.set_exception(OSError(28, "full"))
    with pytest.raises(OSError, match="full"):
        await task


async def test_what_was_cancelled_itself_is_no_result() -> None:
    change = Change()
    task = await begun(change)
    change.commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert change.done == []


async def test_a_limit_is_over_where_it_was_set() -> None:
    change = Change()

    async def limited() -> None:
        async with asyncio.timeout(0):
            await change.make()

    task = asyncio.get_running_loop().create_task(limited())
    await change.begun.wait()
    for _ in range(3):
        await asyncio.sleep(0)
    change.commit.set_result("durable")
    with pytest.raises(TimeoutError):
        await task
    assert change.done == ["durable", "live"]
    assert task.cancelling() == 0
