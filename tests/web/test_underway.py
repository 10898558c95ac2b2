"""Work that goes on without whoever began it."""

from __future__ import annotations

import asyncio

import pytest

from provisioner.errors import BmcError
from provisioner.web.underway import UnderWay


async def test_what_it_ends_with_is_the_callers() -> None:
    async def works() -> int:
        return 7

    async def fails() -> None:
        raise BmcError("no")

    async with UnderWay() as underway:
        assert await underway.finish(works()) == 7
        with pytest.raises(BmcError, match="no"):
            await underway.finish(fails())


@pytest.mark.parametrize("ends_well", [True, False])
async def test_it_goes_on_when_the_caller_is_cancelled(ends_well: bool) -> None:
    began, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        began.set()
        await may_end.wait()
        ended.set()
        if not ends_well:
            raise BmcError("nobody hears it")

    async with UnderWay() as underway, asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(underway.finish(work()))
        await began.wait()
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        may_end.set()
        await ended.wait()


async def test_its_end_breaks_it_off() -> None:
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        async with UnderWay() as underway:
            caller = tasks.create_task(underway.finish(work()))
            await began.wait()
        await asyncio.wait([caller])
        assert caller.cancelled()
