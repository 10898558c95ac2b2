"""Sockets: who may open them, who is behind them, and what happens when they are taken."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from provisioner.errors import BmcUnreachable, ListenError
from provisioner.web.api import Api
from provisioner.web.app import machine_app, operator_app
from provisioner.web.ports import Route
from provisioner.web.server import Server
from tests.web.fakes import FakeConductor, site


async def hello(request: web.Request) -> web.Response:
    return web.Response(text="hello")


async def fault(request: web.Request) -> web.Response:
    raise ZeroDivisionError("canary")


APP = (Route("GET", "/", hello), Route("GET", "/fault", fault))


async def test_the_unix_socket_is_for_owner_and_group_only(tmp_path: Path) -> None:
    server = Server(operator_app(APP))
    path = tmp_path / "run" / "api.sock"
    await server.listen_unix(path, gid=os.getgid())
    assert path.stat().st_mode & 0o777 == 0o660
    assert server.addresses == (str(path),)
    assert [file.name for file in path.parent.iterdir()] == ["api.sock"]
    await server.close()
    assert not path.exists()


async def test_a_socket_file_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = Server(operator_app(APP))
    await server.listen_unix(path)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        assert await (await session.get("http://localhost/")).text() == "hello"
    await server.close()


@pytest.mark.parametrize("turns", range(5))
async def test_who_comes_while_it_closes_is_hung_up_on(tmp_path: Path, turns: int) -> None:
    """However far the loop is with taking the connection."""
    server, path = Server(operator_app(APP)), tmp_path / "api.sock"
    await server.listen_unix(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        client.connect(str(path))
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.close()
        await asyncio.sleep(0)
        with contextlib.suppress(ConnectionResetError):  # it was never taken
            assert client.recv(1) == b""


async def test_a_socket_that_somebody_answers_on_is_not_taken_over(tmp_path: Path) -> None:
    first, second = Server(operator_app(APP)), Server(operator_app(APP))
    await first.listen_unix(tmp_path / "api.sock")
    with pytest.raises(ListenError, match="another daemon answers on this socket"):
        await second.listen_unix(tmp_path / "api.sock")
    await first.close()


def a_file(path: Path) -> None:
    path.write_text("somebody else's")


def a_directory(path: Path) -> None:
    path.mkdir()


def a_link_to_a_file(path: Path) -> None:
    (path.parent / "target").write_text("somebody else's")
    path.symlink_to("target")


def a_link_to_a_dead_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path.parent / "target"))
    path.symlink_to("target")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


STRANGERS = {
    "a file": (a_file, "is a file and no socket"),
    "a directory": (a_directory, "is a directory and no socket"),
    "a link to a file": (a_link_to_a_file, "is a symbolic link and no socket"),
    "a link to a dead socket": (a_link_to_a_dead_socket, "is a symbolic link and no socket"),
    "a pipe": (a_pipe, "is a file and no socket"),
}


@pytest.mark.parametrize(("make", "said"), STRANGERS.values(), ids=STRANGERS.keys())
async def test_what_is_no_socket_is_neither_replaced_nor_removed(
    tmp_path: Path, make: Callable[[Path], None], said: str
) -> None:
    path = tmp_path / "api.sock"
    make(path)
    before = {each.name: each.lstat() for each in tmp_path.iterdir()}
    server = Server(operator_app(APP))
    with pytest.raises(ListenError, match=f"api.sock: {said}; it is left as it is .give another path"):
        await server.listen_unix(path)
    await server.close()
    assert {each.name: each.lstat() for each in tmp_path.iterdir()} == before


async def test_a_socket_of_another_kind_is_not_taken_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(tmp_path / "log"))
        with pytest.raises(ListenError, match="another daemon answers on this socket"):
            await Server(operator_app(APP)).listen_unix(tmp_path / "log")
        assert (tmp_path / "log").is_socket()


async def test_a_socket_whose_queue_is_full_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(ListenError, match="another daemon answers on this socket"):
            await Server(operator_app(APP)).listen_unix(path)
    assert path.is_socket()


def a_newer_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as newer:
        newer.bind(str(path))


def a_link_to_ours(path: Path) -> None:
    path.symlink_to("moved")


NEWER = {"a file": a_file, "a newer daemon's socket": a_newer_socket, "a link to the old one": a_link_to_ours}


@pytest.mark.parametrize("make", NEWER.values(), ids=NEWER.keys())
async def test_what_lies_there_when_it_stops_and_is_not_ours_is_left_alone(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "api.sock"
    server = Server(operator_app(APP))
    await server.listen_unix(path)
    path.rename(tmp_path / "moved")
    make(path)
    await server.close()
    assert path.is_symlink() or path.exists()
    assert (tmp_path / "moved").is_socket()


async def test_a_path_that_is_too_long_for_a_socket_says_so(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="cannot listen on this socket: AF_UNIX path too long"):
        await Server(operator_app(APP)).listen_unix(tmp_path / ("x" * 108))
    assert not list(tmp_path.iterdir())


async def test_a_taken_port_says_which_and_how_to_find_who(tmp_path: Path) -> None:
    first, second = Server(operator_app(APP)), Server(operator_app(APP))
    port = await first.listen_tcp("127.0.0.1", 0)
    said = (
        rf"cannot listen on 127.0.0.1:{port}: Address already in use \(`ss -ltnp 'sport = :{port}'` says who holds it"
    )
    with pytest.raises(ListenError, match=said):
        await second.listen_tcp("127.0.0.1", port)
    await first.close()


async def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ListenError, match="cannot listen on this socket"):
        await Server(operator_app(APP)).listen_unix(tmp_path / "file" / "api.sock")


OF_A_STRANGER = """
import os, pathlib
from provisioner.errors import ListenError
from provisioner.web.server import _bind_unix
os.setgroups([])
os.setresgid(64000, 64000, 64000)
os.setresuid(64000, 64000, 64000)
try:
    _bind_unix(pathlib.Path("api.sock"), 0o660, 0)
except ListenError as error:
    print(error)
"""


@pytest.mark.netns  # root becomes somebody else
def test_a_group_that_the_daemon_is_not_in(tmp_path: Path) -> None:
    """Only root gives files to a group that it is not in."""
    tmp_path.chmod(0o777)
    command = (sys.executable, "-W", "error", "-c", OF_A_STRANGER)
    ran = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert "api.sock: cannot be given to the group root: Operation not permitted (the daemon's user" in ran.stdout
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


async def test_a_stop_ends_streams_that_would_never_end(tmp_path: Path) -> None:
    server = Server(operator_app(Api(site(FakeConductor())).routes()), drain_s=0.05)
    await server.listen_unix(tmp_path / "api.sock")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "api.sock"))) as session:
        stream = await session.get("http://localhost/v1/events", headers={"Accept": "text/event-stream"})
        async with asyncio.timeout(10):
            await server.close()
            with pytest.raises(aiohttp.ClientError):
                await stream.read()


async def test_the_log_says_who_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "provisioner.web")
    server = Server(operator_app(APP))
    await server.listen_unix(tmp_path / "api.sock")
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "api.sock"))) as session:
        await session.get("http://localhost/")
        await session.get("http://localhost/%0aforged%1b%5b31m")
    await server.close()
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("http.request method=GET path=/ status=200 ms=")
    assert first.endswith(f"uid={os.getuid()} pid={os.getpid()}")
    assert "forged" not in second


async def test_a_fault_of_ours_tells_the_client_nothing_and_the_log_all(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(operator_app(APP))
    port = await server.listen_tcp("127.0.0.1", 0)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/fault") as response:
        assert (response.status, "canary" in await response.text()) == (500, False)
    await server.close()
    assert "ZeroDivisionError: canary" in caplog.text


HOSTS = {
    "its name": ("provisioner.example", 200),
    "with a port": ("provisioner.example:8443", 200),
    "an IPv6 address": ("[::1]:80", 200),
    "a name that was pointed here": ("evil.example", 421),
}


@pytest.mark.parametrize(("host", "status"), HOSTS.values(), ids=HOSTS.keys())
async def test_only_names_on_the_list_are_answered(host: str, status: int) -> None:
    server = Server(operator_app(APP, hosts=frozenset({"provisioner.example", "[::1]"})))
    port = await server.listen_tcp("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}/"
    async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": host}) as response:
        assert response.status == status
    await server.close()


async def begun(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    raise BmcUnreachable("node17: the BMC does not answer")


@pytest.mark.parametrize("build", [operator_app, machine_app])
async def test_what_fails_after_its_head_ends_there(
    tmp_path: Path, build: Callable[[list[Route]], web.Application]
) -> None:
    server = Server(build([Route("GET", "/", begun)]))
    await server.listen_unix(tmp_path / "api.sock")
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "api.sock"))
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = await reader.read()
    assert answer.endswith(b"\r\n\r\n4\r\nhalf\r\n"), "no second head, and no end of the body either"
    writer.close()
    await server.close()
