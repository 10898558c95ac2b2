"""Who connects is taken, a few in a turn, and watched only where the connection lasts."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import ExitStack
from typing import Any

import pytest
from aiohttp import web

from provisioner.fairloop import BULK_AT_ONCE, FairSelector
from provisioner.web.app import machine_app
from provisioner.web.plaindoor import PlainDoor
from provisioner.web.ports import Route
from provisioner.web.server import Server
from provisioner.web.whole import WholeAnswer
from tests.web.test_connection import US, Ear


def listening() -> socket.socket:
    sock = socket.create_server((US, 0), backlog=8 * BULK_AT_ONCE)
    sock.setblocking(False)
    return sock


class Noting(FairSelector):
    """Notes whom it is asked to watch."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: list[object] = []

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        self.watched.append(fileobj)
        return super().register(fileobj, events, data)


def asked(port: int) -> socket.socket:
    """Connect and ask."""
    sock = socket.create_connection((US, port), 10)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    return sock


def answer(sock: socket.socket) -> bytes:
    """Read to the end of the answer."""
    with sock:
        said = b""
        while piece := sock.recv(65536):
            said += piece
        return said


async def at_once(_request: web.Request) -> WholeAnswer:
    return WholeAnswer(b"hello\n")


async def after_some_turns(_request: web.Request) -> WholeAnswer:
    for _ in range(8):
        await asyncio.sleep(0)
    return WholeAnswer(b"hello\n")


WATCHED = {"an answer that waits for nothing": (at_once, 0), "one that waits": (after_some_turns, 1)}


@pytest.mark.parametrize(("handler", "times"), WATCHED.values(), ids=WATCHED.keys())
def test_a_connection_is_watched_where_it_lasts(handler: Any, times: int) -> None:
    selector = Noting()

    async def main() -> None:
        server = Server(machine_app([Route("GET", "/", handler)]), drain_s=0)
        port = await server.listen_tcp(US, 0)
        await asyncio.to_thread(answer, asked(port))  # the thread is there, and what it takes is watched
        selector.watched.clear()
        asking = asked(port)  # while the loop stands still: who connects has said all when he is taken
        assert (await asyncio.to_thread(answer, asking)).endswith(b"hello\n")
        await server.close()
        assert len(selector.watched) == times

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(main())


async def test_who_leaves_ends_what_it_asked_for() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def wait(_request: web.Request) -> WholeAnswer:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return WholeAnswer(b"")

    server = Server(machine_app([Route("GET", "/", wait)]), drain_s=0)
    port = await server.listen_tcp(US, 0)
    async with asyncio.timeout(10):
        _, writer = await asyncio.open_connection(US, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.wait()
        writer.close()
        await ended.wait()
    await server.close()


async def test_a_crowd_is_taken_a_few_in_a_turn_and_all_of_it_is_heard() -> None:
    sock, ears = listening(), list[Ear]()

    def ear() -> Ear:
        ears.append(Ear())
        return ears[-1]

    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(sock.getsockname())) for _ in range(3 * BULK_AT_ONCE)]
        door = PlainDoor(sock, ear)
        door.open()
        before = 0
        async with asyncio.timeout(10):
            while len(ears) < len(clients):
                await asyncio.sleep(0)
                assert len(ears) - before <= BULK_AT_ONCE
                before = len(ears)
            for client in clients:
                client.sendall(b"x")
            for each in ears:
                await each.hears(("made", None), ("data", b"x"))
        door.close()
        for each in ears:
            each.transport.abort()


async def test_who_was_taken_stays_when_the_door_closes() -> None:
    sock, ear = listening(), Ear()
    address = sock.getsockname()
    door = PlainDoor(sock, lambda: ear)
    door.open()
    with socket.create_connection(address) as client:
        await ear.hears(("made", None))
        door.close()
        with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
            pass
        client.sendall(b"still here")
        await ear.hears(("data", b"still here"))
    await ear.hears(("eof", None), ("lost", None))


async def test_what_cannot_be_taken_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    sock, ear = listening(), Ear()
    sock.shutdown(socket.SHUT_RD)  # accept(2) fails from now on, as without descriptors
    door = PlainDoor(sock, lambda: ear, pause_s=0.001)
    with caplog.at_level(logging.ERROR):
        door.open()
        async with asyncio.timeout(10):
            while "http.accept-failed" not in caplog.text:
                await asyncio.sleep(0)
            sock.listen()
            with socket.create_connection(sock.getsockname()):
                await ear.hears(("made", None))
    ear.transport.abort()
    door.close()
