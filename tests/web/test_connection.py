"""A connection tells its protocol what asyncio's own transport tells: the same journeys run over both."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from provisioner.web.connection import HIGH_BYTES
from provisioner.web.plaindoor import PlainDoor

US = "127.0.0.1"
LONG = bytes(range(256)) * (32 << 10)
"""8 MiB: more than the buffers of both ends of a connection take."""
RESET = struct.pack("ii", 1, 0)  # SO_LINGER, socket(7): a close that tells the other end that it is lost


@dataclass
class Ear(asyncio.Protocol):
    """Writes down what it is told."""

    told: asyncio.Queue[tuple[str, object]] = field(default_factory=asyncio.Queue)
    keeps_open: bool = False
    fails: bool = False
    transport: asyncio.Transport = field(init=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.told.put_nowait(("made", None))

    def data_received(self, data: bytes) -> None:
        self.told.put_nowait(("data", data))
        if self.fails:
            raise ZeroDivisionError("canary")

    def eof_received(self) -> bool:
        self.told.put_nowait(("eof", None))
        return self.keeps_open

    def pause_writing(self) -> None:
        self.told.put_nowait(("pause", None))

    def resume_writing(self) -> None:
        self.told.put_nowait(("resume", None))

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.put_nowait(("lost", exc and type(exc)))

    async def hears(self, *events: tuple[str, object]) -> None:
        """Wait for these, and for nothing else before or between them."""
        for event in events:
            assert await self.told.get() == event


@asynccontextmanager
async def by_asyncio(sock: socket.socket, ear: Ear) -> AsyncIterator[None]:
    server = await asyncio.get_running_loop().create_server(lambda: ear, sock=sock)
    try:
        yield
    finally:
        server.close()


@asynccontextmanager
async def by_ours(sock: socket.socket, ear: Ear) -> AsyncIterator[None]:
    sock.listen()
    door = PlainDoor(sock, lambda: ear)
    door.open()
    try:
        yield
    finally:
        door.close()


Way = Callable[[socket.socket, Ear], AbstractAsyncContextManager[None]]
WAYS: dict[str, Way] = {"asyncio's": by_asyncio, "ours": by_ours}


class Client:
    """The other end: a socket, which the test reads and writes as it likes."""

    def __init__(self) -> None:
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def read(self) -> bytes:
        """Read to the end."""
        read = bytearray()
        while piece := await self._loop.sock_recv(self.sock, 1 << 20):
            read += piece
        return bytes(read)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


async def what_comes_is_told(ear: Ear, client: Client) -> None:
    transport = ear.transport
    assert transport.get_extra_info("peername") == client.sock.getsockname()
    assert transport.get_extra_info("sockname") == client.sock.getpeername()
    assert transport.get_extra_info("socket").fileno() >= 0
    assert transport.get_extra_info("cipher", "none") == "none"
    assert transport.is_reading()
    await client.send(b"one")
    await ear.hears(("data", b"one"))
    await client.send(b"two")
    await ear.hears(("data", b"two"))


async def a_long_answer_makes_its_writer_wait(ear: Ear, client: Client) -> None:
    ear.transport.write(LONG)
    await ear.hears(("pause", None))
    assert ear.transport.get_write_buffer_size() > HIGH_BYTES
    ear.transport.write(b"the end")  # behind all of it
    ear.transport.close()
    assert await client.read() == LONG + b"the end"
    await ear.hears(("resume", None), ("lost", None))
    assert ear.transport.get_write_buffer_size() == 0


async def limits_are_those_that_were_set(ear: Ear, client: Client) -> None:
    assert ear.transport.get_write_buffer_limits() == (HIGH_BYTES // 4, HIGH_BYTES)
    ear.transport.set_write_buffer_limits(2 * len(LONG))
    ear.transport.write(LONG)
    assert ear.told.empty()
    ear.transport.set_write_buffer_limits(0)  # tell when the last of it has left
    await ear.hears(("pause", None))
    ear.transport.set_write_buffer_limits(low=1)
    assert ear.transport.get_write_buffer_limits() == (1, 4)
    ear.transport.abort()
    await ear.hears(("lost", None))


async def what_is_aborted_is_not_sent(ear: Ear, client: Client) -> None:
    ear.transport.write(LONG)
    await ear.hears(("pause", None))
    ear.transport.abort()
    ear.transport.abort()
    assert ear.transport.is_closing()
    await ear.hears(("lost", None))
    assert len(await client.read()) < len(LONG)


async def who_has_said_everything_is_left(ear: Ear, client: Client) -> None:
    client.sock.shutdown(socket.SHUT_WR)
    await ear.hears(("eof", None), ("lost", None))
    ear.transport.write(b"too late")
    ear.transport.close()
    assert await client.read() == b""


async def who_has_said_everything_may_be_answered(ear: Ear, client: Client) -> None:
    ear.keeps_open = True
    client.sock.shutdown(socket.SHUT_WR)
    await ear.hears(("eof", None))
    ear.transport.write(b"answer")
    ear.transport.close()
    assert await client.read() == b"answer"
    await ear.hears(("lost", None))


async def a_reset_is_told(ear: Ear, client: Client) -> None:
    client.reset()
    await ear.hears(("lost", ConnectionResetError))


async def a_reset_is_told_to_who_writes(ear: Ear, client: Client) -> None:
    ear.transport.write(LONG)
    await ear.hears(("pause", None))
    ear.transport.pause_reading()
    client.reset()
    await ear.hears(("lost", ConnectionResetError))


async def nothing_is_told_while_it_does_not_read(ear: Ear, client: Client) -> None:
    ear.transport.pause_reading()
    ear.transport.pause_reading()
    assert not ear.transport.is_reading()
    await client.send(b"wait")
    waiting = ear.transport.get_extra_info("socket").fileno()
    with socket.socket(fileno=socket.dup(waiting)) as kernel:
        assert await asyncio.get_running_loop().sock_recv(kernel, 4) == b"wait"  # it lies there until it is read
    assert ear.told.empty()
    ear.transport.resume_reading()
    ear.transport.resume_reading()
    await client.send(b"go on")
    await ear.hears(("data", b"go on"))


async def a_fault_of_the_protocol_ends_it(ear: Ear, client: Client) -> None:
    ear.fails = True
    await client.send(b"x")
    await ear.hears(("data", b"x"), ("lost", ZeroDivisionError))


Journey = Callable[[Ear, Client], Awaitable[None]]
JOURNEYS: dict[str, Journey] = {
    journey.__name__.replace("_", " "): journey
    for journey in (
        what_comes_is_told,
        a_long_answer_makes_its_writer_wait,
        limits_are_those_that_were_set,
        what_is_aborted_is_not_sent,
        who_has_said_everything_is_left,
        who_has_said_everything_may_be_answered,
        a_reset_is_told,
        a_reset_is_told_to_who_writes,
        nothing_is_told_while_it_does_not_read,
        a_fault_of_the_protocol_ends_it,
    )
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("journey", JOURNEYS.values(), ids=JOURNEYS.keys())
async def test_is_as_asyncio_has_it(way: Way, journey: Journey) -> None:
    sock, ear = socket.create_server((US, 0)), Ear()
    sock.setblocking(False)
    async with asyncio.timeout(10), way(sock, ear):
        client = Client()
        with client.sock:
            await asyncio.get_running_loop().sock_connect(client.sock, sock.getsockname())
            await ear.hears(("made", None))
            await journey(ear, client)
            if not ear.transport.is_closing():
                ear.transport.abort()
                await asyncio.sleep(0)  # its turn, in which the socket is closed
