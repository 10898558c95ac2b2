"""Turns: so many at once, so many of one address, in the order of asking, and nothing is kept of who is gone."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from provisioner.web.turns import Turns

pytestmark = pytest.mark.looptime

CROWDS = {
    "one address has its share": (8, 2, "aaaa", "aa"),
    "another has its own": (8, 2, "aaabbb", "aabb"),
    "all together have no more than there are": (3, 2, "aaabbb", "aab"),
    "who waits for its own keeps nobody out": (3, 1, "aaaabc", "abc"),
    "one address alone may have all": (4, 4, "aaaaaa", "aaaa"),
}


@pytest.mark.parametrize(("at_once", "each", "ask", "have"), CROWDS.values(), ids=CROWDS.keys())
async def test_who_has_a_turn(at_once: int, each: int, ask: str, have: str) -> None:
    turns, given = Turns(at_once, each), ""

    async def take(address: str) -> None:
        nonlocal given
        with await turns.begin(address):
            given += address
            await asyncio.sleep(10)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(take(address)) for address in ask]
        await asyncio.sleep(1)
        assert given == have
        for task in tasks:
            task.cancel()
    assert not turns.asking


SIZES = {
    "as many as fit": (10, 10, [("a", 4), ("b", 6)], "ab"),
    "who wants much is not passed by": (10, 10, [("a", 6), ("b", 6), ("c", 1)], "a"),
    "who wants too much for its address keeps nobody out": (10, 5, [("a", 5), ("a", 5), ("b", 5)], "ab"),
    "nothing fits always": (10, 10, [("a", 10), ("b", 0)], "ab"),
}


@pytest.mark.parametrize(("at_once", "each", "ask", "have"), SIZES.values(), ids=SIZES.keys())
async def test_turns_of_several_sizes(at_once: int, each: int, ask: list[tuple[str, int]], have: str) -> None:
    turns, given = Turns(at_once, each), ""

    async def take(address: str, count: int) -> None:
        nonlocal given
        with await turns.begin(address, count):
            given += address
            await asyncio.sleep(10)

    async with asyncio.TaskGroup() as group:
        for address, count in ask:
            group.create_task(take(address, count))
        await asyncio.sleep(1)
        assert given == have
    assert sorted(given) == sorted(address for address, _ in ask)
    assert not turns.asking


async def test_who_waits_for_much_and_gives_up_lets_those_behind_it_by() -> None:
    turns = Turns(10, 10)
    held = await turns.begin("a", 6)
    async with asyncio.TaskGroup() as group:
        much = group.create_task(turns.begin("b", 6))
        await asyncio.sleep(1)
        little = group.create_task(turns.begin("c", 4))
        await asyncio.sleep(1)
        assert not little.done()
        much.cancel()
    held.close()
    little.result().close()
    (await turns.begin("a", 10)).close()


async def test_who_gives_up_in_the_moment_of_its_turn_gives_it_back() -> None:
    turns = Turns(1, 1)
    held = await turns.begin("a")
    async with asyncio.TaskGroup() as group:
        waits = group.create_task(turns.begin("b"))
        await asyncio.sleep(1)
        held.close()
        waits.cancel()
    (await turns.begin("c")).close()


async def test_the_next_one_of_an_address_has_its_turn_when_one_ends() -> None:
    turns = Turns(8, 1)
    first = await turns.begin("a")
    async with asyncio.TaskGroup() as group:
        second = group.create_task(turns.begin("a"))
        await asyncio.sleep(1)
        assert not second.done()
        assert turns.asking["a"] == 2
        first.close()
    second.result().close()
    assert not turns.asking


async def test_who_gives_up_leaves_its_place_to_others() -> None:
    turns = Turns(1, 1)
    held = await turns.begin("a")
    for address in ("a", "b"):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await turns.begin(address)
    held.close()
    turn = await turns.begin("b")
    assert isinstance(turn, ExitStack)
    assert dict(turns.asking) == {"b": 1}
