"""What is told while an answer is waited for, and of what answers and is no daemon."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from provisioner.cli.client import Client, waited_for, who_may
from provisioner.cli.exits import ApiProblem, Exit, Stranger, exit_of

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

WAITED_FOR = {
    "a machine's board": ("/v1/machines/node17/boot", "the BMC of node17"),
    "a name with what a terminal obeys": ("/v1/machines/a%1b/boot", "the BMC of a\\x1b"),
    "a board that is put on record": ("/v1/machines", "the BMC"),
    "anything else": ("/v1/artifacts/verify", "the daemon"),
}


@pytest.mark.parametrize(("path", "whom"), WAITED_FOR.values(), ids=WAITED_FOR.keys())
def test_waited_for(path: str, whom: str) -> None:
    assert waited_for(path) == whom


GROUPS = {
    "the rack's": ("root", "it is root's: use sudo"),
    "one that cannot be looked at": ("", "it is root's: use sudo"),
    "the daemon's": (
        "provisioner",
        "join its group (`sudo usermod -aG provisioner $USER`, then log in anew), or use sudo",
    ),
}


@pytest.mark.parametrize(("group", "hint"), GROUPS.values(), ids=GROUPS.keys())
def test_who_may(group: str, hint: str) -> None:
    assert who_may(group) == hint


@contextmanager
def slow(path: Path, until: threading.Event, times: int) -> Iterator[None]:
    """A daemon that answers once something has happened."""

    def serve() -> None:
        for _ in range(times):
            connection, _ = listening.accept()
            with connection:
                connection.recv(4096)
                assert until.wait(20)
                connection.sendall(ANSWER)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        server = threading.Thread(target=serve)
        server.start()
        yield
        server.join()


def test_who_waits_is_told_for_what_and_once(tmp_path: Path) -> None:
    told, heard = list[str](), threading.Event()

    def note(text: str) -> None:
        told.append(text)
        heard.set()

    with slow(tmp_path / "api.sock", heard, times=2):
        client = Client(str(tmp_path / "api.sock"), note, note_after_s=0.0)
        for _ in range(2):
            assert client.get("/v1/machines/node17/plan", slow=True) == {}
    assert told == ["waiting for the BMC of node17"]


def test_an_answer_that_comes_at_once_is_not_announced(tmp_path: Path) -> None:
    told, heard = list[str](), threading.Event()
    heard.set()
    with slow(tmp_path / "api.sock", heard, times=2):
        client = Client(str(tmp_path / "api.sock"), told.append, note_after_s=3600.0)
        assert client.get("/v1/machines/node17/plan", slow=True) == {}
        assert client.get("/v1/machines/node17") == {}
    assert told == []


STRANGERS = {
    "what machines ask": (404, "text/plain", "HTTP 404 Not Found"),
    "a server that knows no such verb": (405, "text/plain", "HTTP 405 Method Not Allowed"),
    "a port of TLS": (400, "text/html", "HTTP 400 Bad Request"),
    "somebody's page": (200, "text/html", "HTTP 200 OK"),
}


@pytest.mark.parametrize(("status", "kind", "said"), STRANGERS.values(), ids=STRANGERS.keys())
async def test_what_is_no_daemon_is_not_taken_for_one(status: int, kind: str, said: str) -> None:
    async def stranger(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text="not found", content_type=kind)

    async with RawTestServer(stranger) as server:
        url = f"http://127.0.0.1:{server.port}"
        with pytest.raises(Stranger, match=f"{url} is not the operator API: {said} .that is a UNIX socket") as caught:
            await asyncio.to_thread(Client(url).get, "/v1/machines/node17")
    assert exit_of(caught.value) == Exit.UNREACHABLE


async def test_what_a_proxy_says_before_a_daemon_stays_what_it_is() -> None:
    async def proxy(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=401)

    async with RawTestServer(proxy) as server:
        with pytest.raises(ApiProblem, match="401") as caught:
            await asyncio.to_thread(Client(f"http://127.0.0.1:{server.port}").get, "/v1/machines")
    assert exit_of(caught.value) == Exit.AUTH
