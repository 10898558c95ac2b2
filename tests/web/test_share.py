"""The fan-out over HTTP: only machines with a token, only images of the store, and what a machine is told to take."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from provisioner.boot.chunks import Chunker, ChunkList, decode
from provisioner.boot.fanout import SILENT_S
from provisioner.errors import TicketError
from provisioner.model.trace import TraceLine
from provisioner.web.app import machine_app
from provisioner.web.server import Server
from provisioner.web.share import Sharing

CONTENT = b"0123456789"
SHA = hashlib.sha256(CONTENT).hexdigest()
PATH = "0123456789abcdef"
OFFER = f"port 8089\npath {PATH}\n"
ONE = f"/agent/v1/share/{SHA}"


class Daemon:
    """Tokens are names; one image of three chunks."""

    now = 0.0

    def __init__(self) -> None:
        self.trace: list[TraceLine] = []
        self.sharing = Sharing(self.agent_machine, self.chunks, observe=self.trace.append, clock=lambda: self.now)

    def agent_machine(self, token: str, address: str) -> str:
        if not token.startswith("node"):
            raise TicketError("this token is not good here")
        return token

    async def chunks(self, sha256: str) -> ChunkList | None:
        chunker = Chunker(4)
        chunker.update(CONTENT)
        return chunker.finish() if sha256 == SHA else None


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def boot(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    server = Server(machine_app(daemon.sharing.routes()))
    port = await server.listen_tcp("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        yield session
    await server.close()


def node(number: int) -> dict[str, str]:
    return {"Authorization": f"Bearer node{number}"}


async def say(boot: aiohttp.ClientSession, number: int, call: str, text: str = "") -> tuple[int, str]:
    async with boot.post(call, data=text, headers=node(number)) as response:
        return response.status, await response.text()


async def test_a_machine_is_told_the_chunks_of_an_image(boot: aiohttp.ClientSession) -> None:
    async with boot.get(ONE, headers=node(1)) as response:
        assert decode(await response.text()).sha256 == SHA


async def test_the_second_machine_is_sent_to_the_first(boot: aiohttp.ClientSession) -> None:
    assert await say(boot, 1, f"{ONE}/join", OFFER) == (204, "")
    assert await say(boot, 2, f"{ONE}/join", OFFER) == (204, "")
    _, orders = await say(boot, 1, f"{ONE}/next")
    indexes = [line.split()[1] for line in orders.splitlines()]
    assert orders == "".join(f"get {index} -\n" for index in indexes)
    report = "".join(f"got {index}\n" for index in indexes)
    await say(boot, 1, f"{ONE}/next", report)
    _, orders = await say(boot, 2, f"{ONE}/next")
    assert f"http://127.0.0.1:8089/{PATH}/" in orders


async def test_who_gave_what_is_counted_and_told_at_the_end(boot: aiohttp.ClientSession, daemon: Daemon) -> None:
    await say(boot, 1, f"{ONE}/join", OFFER + "have 0-1\n")
    await say(boot, 2, f"{ONE}/join", OFFER)
    report = ""
    while (orders := (await say(boot, 2, f"{ONE}/next", report))[1]) != "done\n":
        report = "".join(f"got {line.split()[1]}\n" for line in orders.splitlines() if line.startswith("get"))
    assert await say(boot, 2, f"{ONE}/next") == (200, "done\n")
    assert daemon.sharing.counts == {"neighbour": 2, "origin": 1}
    ((machine, event, text),) = [(line.machine, line.event, line.text) for line in daemon.trace]
    assert (machine, event) == ("node2", "share.done")
    assert text.endswith("2 chunks from neighbours, 1 from here")


async def test_a_machine_that_restarts_is_sent_nobody(boot: aiohttp.ClientSession) -> None:
    await say(boot, 1, f"{ONE}/join", OFFER + "have 0-2\n")
    await say(boot, 2, f"{ONE}/join", OFFER)
    assert await say(boot, 1, "/agent/v1/share/leave") == (204, "")
    assert "http" not in (await say(boot, 2, f"{ONE}/next"))[1]
    assert (await say(boot, 1, f"{ONE}/next"))[0] == 409


async def test_an_image_that_nobody_takes_is_forgotten(boot: aiohttp.ClientSession, daemon: Daemon) -> None:
    await say(boot, 1, f"{ONE}/join", OFFER + "have 0-2\n")
    daemon.now = SILENT_S + 1
    await say(boot, 2, f"{ONE}/join", OFFER)
    assert "http" not in (await say(boot, 2, f"{ONE}/next"))[1]


REFUSED = {
    "to join without a word": (f"{ONE}/join", "", 400),
    "an offer of somebody else's port": (f"{ONE}/join", f"port 22\npath {PATH}\n", 400),
    "to ask before joining": (f"{ONE}/next", "", 409),
    "a report that is none": (f"{ONE}/next", "nonsense", 400),
    "an image that is not in store": (f"/agent/v1/share/{'0' * 64}/join", OFFER, 404),
    "a hash that is none": ("/agent/v1/share/abc/join", OFFER, 404),
    "a report without an end": (f"{ONE}/next", "got 1\n" * 20_000, 413),
}


@pytest.mark.parametrize(("call", "text", "status"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_refused(boot: aiohttp.ClientSession, call: str, text: str, status: int) -> None:
    assert (await say(boot, 1, call, text))[0] == status


@pytest.mark.parametrize("call", [f"{ONE}/join", f"{ONE}/next", "/agent/v1/share/leave"])
async def test_strangers_are_told_nothing(boot: aiohttp.ClientSession, call: str) -> None:
    async with boot.post(call, data=OFFER, headers={"Authorization": "Bearer stranger"}) as response:
        assert response.status == 401
    async with boot.get(ONE) as response:
        assert response.status == 401
