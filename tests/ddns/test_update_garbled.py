"""Updates against a DNS server that hangs up in its answer, or answers nonsense: what went wrong is said, always."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

import pytest

from provisioner.ddns.names import Owner
from provisioner.ddns.settings import Dns
from provisioner.ddns.update import Updates
from provisioner.errors import DnsError

ANSWERS, TRUNCATED = 0x80, 0x02
"""Bits of the third octet of a message (RFC 1035 section 4.1.1)."""
NO_UTF8 = bytes.fromhex("000029 04d0 00000000 0008 000f 0004 0000 fffe")
"""An OPT record with an extended error (RFC 8914) whose text is none."""


def truncated(query: bytes) -> bytes:
    return query[:2] + bytes((query[2] | ANSWERS | TRUNCATED, query[3])) + bytes(8)


def with_a_text_that_is_none(query: bytes) -> bytes:
    return query[:2] + bytes((query[2] | ANSWERS, query[3])) + bytes(6) + b"\0\1" + NO_UTF8


class Udp(asyncio.DatagramProtocol):
    """Answers each message by `answer`."""

    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._answer(data), addr)


@asynccontextmanager
async def server(answer: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """Answer by UDP as told, and hang up on who comes by TCP; give the port of both."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(2)
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as tcp:
        port = tcp.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Udp(answer), local_addr=("127.0.0.1", port))
        try:
            yield port
        finally:
            transport.close()


GARBLED = {
    "it is cut short, and who asks by TCP is hung up on": (truncated, "EOFError: EOF"),
    "a text in it is no UTF-8": (with_a_text_that_is_none, "FormError: 'utf-8' codec"),
}


@pytest.mark.parametrize(("answer", "said"), GARBLED.values(), ids=GARBLED.keys())
async def test_an_answer_of_which_nothing_can_be_made(answer: Callable[[bytes], bytes], said: str) -> None:
    async with server(answer) as port:
        updates = Updates(Dns(server="127.0.0.1", port=port, forward=("rack.example",)), None, timeout_s=0.5)
        with pytest.raises(DnsError, match=f"127.0.0.1 port {port}: {said}"):
            await updates.add("node1.rack.example.", Owner(0, b"\1\x52\x54\0\0\0\1"), [b"\x0a\0\0\5"])
