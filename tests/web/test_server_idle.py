"""Who connects and asks for nothing, or not to the end, holds a descriptor for a while only: with TLS as without."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import pytest
from aiohttp import web

from provisioner.tls import Tls
from provisioner.web import bodies
from provisioner.web import server as module
from provisioner.web.app import machine_app
from provisioner.web.ports import Route
from provisioner.web.server import Server

US = "127.0.0.1"
ASKED = b"GET / HTTP/1.1\r\nHost: us\r\n\r\n"
SENT = b"POST / HTTP/1.1\r\nHost: us\r\nContent-Length: 100\r\n\r\nhalf"


async def stream(request: web.Request) -> web.Response:
    return web.Response(body=b"".join([piece async for piece in bodies.pieces(request)]))


async def read(request: web.Request) -> web.Response:
    return web.Response(body=await bodies.read_body(request, 1000))


WAYS: dict[str, tuple[bytes, bytes, bytes]] = {
    # what is sent, what is sent again and again, and what is answered
    "nothing": (b"", b"", b""),
    "half of a request": (b"GET / HT", b"", b""),
    "a header that never ends": (b"GET / HTTP/1.1\r\n", b"a: b\r\n", b""),
    "a request, and no other": (ASKED, b"", b"HTTP/1.1 200 OK"),
    "half of a body": (SENT, b"", b"HTTP/1.1 408 Request Timeout"),
    "half of a large body": (SENT.replace(b"POST", b"PUT"), b"", b"HTTP/1.1 408 Request Timeout"),
    "a body that comes too slowly": (SENT, b".", b"HTTP/1.1 408 Request Timeout"),
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A CA and a certificate, made once."""
    return Tls(tmp_path_factory.mktemp("tls"), [US])


async def drip(writer: asyncio.StreamWriter, octets: bytes) -> None:
    while octets:
        writer.write(octets)
        await asyncio.sleep(0.05)


async def connected(
    port: int, first: bytes, trusting: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and say that. Without TLS it lies there before who listens has a look: from then on one is idle."""
    if trusting is not None:
        reader, writer = await asyncio.open_connection(US, port, ssl=trusting)
        writer.write(first)
        return reader, writer
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex((US, port))
    await asyncio.get_running_loop().sock_sendall(sock, first)
    return await asyncio.open_connection(sock=sock)


@pytest.mark.parametrize(
    "secure", [pytest.param(False, id="http"), pytest.param(True, id="https", marks=pytest.mark.slow)]
)
async def test_who_is_idle_goes(keys: Tls, monkeypatch: pytest.MonkeyPatch, secure: bool) -> None:
    # with TLS one is idle from the handshake on, before what it sends has come: those of all share one loop
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 2.0 if secure else 0.1)
    monkeypatch.setattr(module, "LINGER_S", 0.1)
    monkeypatch.setattr(bodies, "PATIENCE_S", 0.1)
    monkeypatch.setattr(bodies, "STILL_S", 0.1)
    server = Server(machine_app([Route("GET", "/", read), Route("POST", "/", read), Route("PUT", "/", stream)]))
    port = await server.listen_tcp(US, 0, keys.context if secure else None)
    trusting = ssl.create_default_context(cadata=keys.root.decode()) if secure else None

    async def answered(first: bytes, more: bytes) -> bytes:
        reader, writer = await connected(port, first, trusting)
        dripping = asyncio.create_task(drip(writer, more))  # noqa: TID251  awaited below
        answer = b""
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionResetError):  # who still drips when the door closes is told so
                answer = await reader.readline()
                dripping.cancel()
                await reader.read()
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
        writer.close()
        return answer.rstrip(b"\r\n")

    answers = await asyncio.gather(*(answered(first, more) for first, more, _ in WAYS.values()))
    assert dict(zip(WAYS, answers, strict=True)) == {what: answer for what, (_, _, answer) in WAYS.items()}
    await server.close()
