"""Answers that are sent whole say what aiohttp's own would, and keep the connection as it would."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

import pytest
from aiohttp import web

from provisioner.web.app import machine_app
from provisioner.web.ports import Route
from provisioner.web.server import Server
from provisioner.web.whole import WholeAnswer

TEXT = "öctets\n".encode() * 300
ASKED = {
    "HTTP/1.1": "HTTP/1.1\r\nHost: x",
    "HTTP/1.1, a connection for it alone": "HTTP/1.1\r\nHost: x\r\nConnection: close",
    "HTTP/1.0": "HTTP/1.0",
    "HTTP/1.0 that asks for more": "HTTP/1.0\r\nConnection: keep-alive",
}
KINDS = {"text": "text/plain; charset=utf-8", "XML": "application/xml"}


@dataclass(frozen=True)
class Given:
    """The same text, as we give it and as the library does."""

    kind: str

    async def ours(self, _request: web.Request) -> WholeAnswer:
        return WholeAnswer(TEXT, self.kind)

    async def theirs(self, _request: web.Request) -> web.Response:
        name, _, charset = self.kind.partition("; charset=")
        headers = {"Cache-Control": "no-store"}
        return web.Response(body=TEXT, content_type=name, charset=charset or None, headers=headers)

    def routes(self) -> list[Route]:
        return [Route("GET", "/ours", self.ours), Route("GET", "/theirs", self.theirs)]


async def ask(port: int, path: str, asked: str) -> tuple[dict[bytes, bytes], bytes, bool]:
    """Ask twice on one connection: the head as fields, the body, and whether the connection lasted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    question = f"GET {path} {asked}\r\n\r\n".encode()
    writer.write(question)
    head = await reader.readuntil(b"\r\n\r\n")
    status, *lines = head.rstrip().split(b"\r\n")
    fields = dict(line.split(b": ", 1) for line in lines) | {b"": status}
    body = await reader.readexactly(int(fields[b"Content-Length"]))
    writer.write(question)
    lasted = bool(await reader.read(1))
    writer.close()
    date = fields.pop(b"Date")
    assert re.fullmatch(rb"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", date)
    return fields, body, lasted


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED.keys())
async def test_says_what_the_library_would(kind: str, asked: str) -> None:
    server = Server(machine_app(Given(kind).routes()), drain_s=0)
    try:
        port = await server.listen_tcp("127.0.0.1", 0)
        answers = [await ask(port, path, asked) for path in ("/ours", "/theirs")]
    finally:
        await server.close()
    assert answers[0] == answers[1]
    assert answers[0][1] == TEXT
    assert answers[0][2] is (asked in (ASKED["HTTP/1.1"], ASKED["HTTP/1.0 that asks for more"]))


async def test_a_content_type_cannot_add_lines_to_the_head() -> None:
    server = Server(machine_app(Given("text/plain\r\nX: y").routes()), drain_s=0)
    try:
        port = await server.listen_tcp("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ours HTTP/1.0\r\n\r\n")
        assert b"X: y" not in await reader.read()
        writer.close()
    finally:
        await server.close()
