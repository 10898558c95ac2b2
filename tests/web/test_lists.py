"""Long lists are sent in pieces, encoded once, and hold nobody up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from provisioner.web.lists import PIECE, SPARE, Encoded
from tests.web.fakes import NODE17, FakeConductor

MANY = 10_000


def fill(conductor: FakeConductor, count: int) -> None:
    machines = [replace(NODE17, id=f"m-{n}", name=f"node{n:05}") for n in range(count)]
    conductor.machines.by_name = {machine.name: machine for machine in machines}


async def names(api: aiohttp.ClientSession, path: str = "/v1/machines") -> list[str]:
    async with api.get(path) as response:
        return [machine["name"] for machine in json.loads(await response.read())["machines"]]


@pytest.mark.slow
async def test_ten_thousand_machines_leave_the_loop_to_others(
    api: aiohttp.ClientSession, conductor: FakeConductor
) -> None:
    """While the list is made, the loop turns more than once for each piece: nobody waits for the whole."""
    fill(conductor, MANY)
    turns, listing = 0, True

    async def turn() -> None:
        nonlocal turns
        while listing:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(turn())
        assert await names(api) == [f"node{n:05}" for n in range(MANY)]
        listing = False
    assert turns > MANY / PIECE


async def test_lists_around_the_size_of_a_piece(api: aiohttp.ClientSession, conductor: FakeConductor) -> None:
    for count in (0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1):
        fill(conductor, count)
        assert len(await names(api)) == count


async def test_a_change_is_seen_and_what_did_not_change_is_not_encoded_again(
    api: aiohttp.ClientSession, conductor: FakeConductor
) -> None:
    fill(conductor, 3)
    assert await names(api) == ["node00000", "node00001", "node00002"]
    await conductor.put(replace(conductor.machines.by_name["node00001"], tags=("new",)), "machine.tags")
    assert await names(api, "/v1/machines?tag=new") == ["node00001"]
    async with api.get("/v1/machines") as response:
        assert [machine["tags"] for machine in json.loads(await response.read())["machines"]][1] == ["new"]


def test_what_is_gone_is_dropped() -> None:
    encoded = Encoded()
    for number in range(SPARE + 2):
        encoded._of(replace(NODE17, id=str(number)))
    assert encoded._of(replace(NODE17, id="0"))[1]
    encoded.trim([replace(NODE17, id="0")])
    assert list(encoded._kept) == ["0"]
    kept = replace(NODE17, id="1")
    assert [encoded._of(kept)[1], encoded._of(kept)[1]] == [True, False]


HEADS = {"a long list": ("/v1/machines", ""), "events": ("/v1/events", "Accept: text/event-stream\r\n")}


@pytest.mark.parametrize(("path", "header"), HEADS.values(), ids=HEADS.keys())
async def test_the_head_of_what_is_streamed_has_no_body(
    api: aiohttp.ClientSession, conductor: FakeConductor, tmp_path: Path, path: str, header: str
) -> None:
    fill(conductor, PIECE + 1)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "api.sock"))
    writer.write(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert (head.partition(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", b"")
    writer.close()
