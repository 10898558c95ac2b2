"""Files on their way: on the disk of the state, for as long as they are needed, and never in the room of the state."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from provisioner.catalog.room import KEEP_FREE_BYTES
from provisioner.web.app import operator_app
from provisioner.web.ports import Route
from provisioner.web.spool import Spool

Client = TestClient[web.Request, web.Application]
LIMIT = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "firmware"


@pytest.fixture
async def client(root: Path) -> AsyncIterator[Client]:
    spool = Spool(root)

    async def put(request: web.Request) -> web.Response:
        async with spool.file(request, "x.bin", LIMIT) as file:
            content = await asyncio.to_thread(file.read_bytes)
            assert file.is_relative_to(root)
            return web.Response(text=f"{file.name} {len(content)}")

    async with TestClient(TestServer(operator_app([Route("PUT", "/", put)]))) as made:
        yield made
    left = await asyncio.to_thread(lambda: list(root.glob("*")))
    assert left == []


async def pieces(size_bytes: int) -> AsyncIterator[bytes]:
    yield bytes(size_bytes)


SENT: dict[str, tuple[Callable[[], object], int, int]] = {
    # what is sent, how much room there is beside what stays free, and what is answered
    "there is room": (lambda: bytes(LIMIT), LIMIT, 200),
    "no room for its length": (lambda: bytes(LIMIT), LIMIT - 1, 507),
    "no room for what comes": (lambda: pieces(LIMIT), LIMIT - 1, 507),
    "too large by its length": (lambda: bytes(LIMIT + 1), LIMIT * 2, 413),
    "too large as it comes": (lambda: pieces(LIMIT + 1), LIMIT * 2, 413),
}


@pytest.mark.parametrize(("sent", "room", "status"), SENT.values(), ids=SENT.keys())
async def test_a_file_that_is_sent(
    client: Client, monkeypatch: pytest.MonkeyPatch, sent: Callable[[], object], room: int, status: int
) -> None:
    disk = os.statvfs_result((1, 1, 0, 0, KEEP_FREE_BYTES + room, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    answer = await client.put("/", data=sent())
    assert answer.status == status
    if status == 200:
        assert await answer.text() == f"x.bin {LIMIT}"


async def test_a_disk_that_cannot_be_written_is_told(client: Client, root: Path) -> None:
    root.write_text("no folder")
    answer = await client.put("/", data=b"x")
    assert answer.status == 503
    assert f"{root}: cannot be written: File exists" in await answer.text()


async def test_a_daemon_that_stops_amid_the_tidying_leaves_nothing(root: Path) -> None:
    """No thread was free to begin with it."""
    spool, may_go_on, tidies = Spool(root), threading.Event(), asyncio.Event()

    async def use(request: web.Request) -> None:
        async with spool.file(request, "x.bin", LIMIT):
            asyncio.get_running_loop().run_in_executor(None, may_go_on.wait)
            tidies.set()

    async def put(request: web.Request) -> web.Response:
        async with asyncio.TaskGroup() as group:
            using = group.create_task(use(request))
            await tidies.wait()
            using.cancel()
            await asyncio.wait([using], timeout=0.01)  # what has not begun is called off by the loop's next rounds
            may_go_on.set()
        return web.Response(text=str(await asyncio.to_thread(lambda: list(root.iterdir()))))

    with ThreadPoolExecutor(1) as only:
        asyncio.get_running_loop().set_default_executor(only)
        async with TestClient(TestServer(operator_app([Route("PUT", "/", put)]))) as client:
            assert await (await client.put("/", data=b"x")).text() == "[]"


def test_what_a_daemon_that_was_killed_has_left_goes(root: Path) -> None:
    Spool(root).clear()
    (root / "left").mkdir(parents=True)
    (root / "left" / "x.bin").write_bytes(b"x")
    Spool(root).clear()
    assert not root.exists()
