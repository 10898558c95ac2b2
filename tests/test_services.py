"""Services that end by an exception are begun again, and end nobody else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from provisioner.errors import StoreError
from provisioner.services import HEALTHY_S, PAUSES_S, Apart, Services, Standing, cause

pytestmark = pytest.mark.looptime


class Flaky:
    """A service that ends by an exception after so long, each time, and then goes on for ever."""

    def __init__(self, *lasts_s: float) -> None:
        self._lasts_s = list(lasts_s)
        self.begun: list[float] = []

    async def run(self) -> None:
        self.begun.append(asyncio.get_running_loop().time())
        if not self._lasts_s:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(self._lasts_s.pop(0))
        raise EOFError("EOF")


ENDS = {
    "one that ends is begun again": ((5.0,), [0.0, 6.0]),
    "one that ends at once waits longer each time": ((0.0,) * 6, [0.0, 1.0, 6.0, 21.0, 81.0, 381.0, 681.0]),
    "one that ran for long is begun again as the first time": ((0.0, HEALTHY_S), [0.0, 1.0, 602.0]),
}


@pytest.mark.parametrize(("lasts_s", "begun"), ENDS.values(), ids=ENDS.keys())
async def test_pauses(lasts_s: tuple[float, ...], begun: list[float]) -> None:
    service, services = Flaky(*lasts_s), Services()
    async with asyncio.TaskGroup() as group:
        kept = group.create_task(services.keep("names", service.run))
        await asyncio.sleep(sum(lasts_s) + sum(PAUSES_S) * 2)
        kept.cancel()
    assert service.begun == pytest.approx(begun)
    assert services.standings() == [Standing("names", len(lasts_s), "EOFError: EOF", runs=True)]


async def test_one_that_ends_is_told_with_its_traceback_and_ends_no_other(caplog: pytest.LogCaptureFixture) -> None:
    services, other = Services(), Flaky()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(services.keep(name, each.run)) for name, each in (("a", Flaky(2.0)), ("b", other))]
        await asyncio.sleep(2.5)
        assert services.standings() == [Standing("a", 1, "EOFError: EOF", runs=False), Standing("b")]
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
    (told,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert told.getMessage() == "daemon.service-ended service=a again_s=1"
    assert told.exc_info is not None
    assert len(other.begun) == 1


async def test_one_whose_keeper_is_begun_again_is_counted_on() -> None:
    services, inner = Services(), Flaky(0.0)

    async def outer() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(services.keep("runner", inner.run))
            await asyncio.sleep(2)
            raise KeyError("machine")

    async with asyncio.TaskGroup() as group:
        kept = group.create_task(services.keep("conductor", outer))
        await asyncio.sleep(4)
        kept.cancel()
    assert [(each.name, each.ends) for each in services.standings()] == [("conductor", 1), ("runner", 1)]


async def test_one_that_has_nothing_to_do_is_not_begun_again() -> None:
    begun: list[str] = []

    async def nothing() -> None:
        begun.append("once")

    await Services().keep("webhooks", nothing)
    assert begun == ["once"]


async def test_one_whose_group_fails_while_it_is_stopped_is_not_begun_again() -> None:
    begun: list[str] = []

    async def fails_at_its_end() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            raise StoreError("full")

    async def run() -> None:
        begun.append("again")
        async with asyncio.TaskGroup() as group:
            group.create_task(fails_at_its_end())

    async with asyncio.TaskGroup() as group:
        kept = group.create_task(Services().keep("rollouts", run))
        await asyncio.sleep(1)
        kept.cancel()
        await asyncio.wait([kept])
    assert begun == ["again"]


async def raises() -> None:
    raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")


async def test_a_task_that_fails_ends_no_other_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    async def works() -> None:
        await asyncio.sleep(1)
        done.append("well")

    async with Apart() as tasks:
        tasks.create_task(works(), "one")
        tasks.create_task(raises(), "another")
    assert done == ["well"]
    assert caplog.messages == ["daemon.task-failed task='another'"]


def group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("unhandled errors in a TaskGroup", errors)


CAUSES: dict[str, tuple[Callable[[], Exception], str]] = {
    "an exception": (lambda: EOFError("EOF"), "EOFError: EOF"),
    "one that says nothing": (AssertionError, "AssertionError"),
    "the first of those of a group": (lambda: group(group(KeyError("a")), ValueError("b")), "KeyError: 'a'"),
    "one line of many": (lambda: StoreError("full", faults=("more",)), "StoreError: full"),
}


@pytest.mark.parametrize(("error", "said"), CAUSES.values(), ids=CAUSES.keys())
def test_cause(error: Callable[[], Exception], said: str) -> None:
    assert cause(error()) == said
