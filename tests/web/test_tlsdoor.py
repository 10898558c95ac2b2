"""HTTPS, and who refuses it: clients that trust us are served, of all others it is told why they were not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from provisioner.boot.script import Dialect
from provisioner.model.net import Mac
from provisioner.tls import Tls
from provisioner.web.app import machine_app
from provisioner.web.machines import MachineSide
from provisioner.web.ports import Route
from provisioner.web.server import Server
from tests.web.fakes import FakeConductor

US = "127.0.0.1"


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello by {request.scheme}")


@dataclass
class Door:
    """A server by HTTPS, and what was told of who refused."""

    server: Server
    port: int
    root: str
    told: asyncio.Queue[tuple[str, str]]

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.root)

    async def get(self, trusting: ssl.SSLContext) -> str:
        async with aiohttp.ClientSession() as client, client.get(f"https://{US}:{self.port}/", ssl=trusting) as answer:
            return await answer.text()

    async def refused(self) -> str:
        async with asyncio.timeout(5):
            address, reason = await self.told.get()
        assert address == US
        return reason


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A CA and a certificate, made once."""
    return Tls(tmp_path_factory.mktemp("tls"), [US])


@pytest.fixture
async def door(keys: Tls) -> AsyncIterator[Door]:
    server = Server(machine_app([Route("GET", "/", hello)]))
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    server.refused = lambda address, reason: told.put_nowait((address, reason))
    port = await server.listen_tcp(US, 0, keys.context)
    yield Door(server, port, keys.root.decode(), told)
    await server.close()


async def test_who_trusts_us_is_served(door: Door) -> None:
    assert await door.get(door.trusting()) == "hello by https"
    assert door.told.empty()
    assert door.server.addresses == (f"https://{US}:{door.port}",)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_does_not_trust_us_says_so(door: Door, version: ssl.TLSVersion) -> None:
    """By TLS 1.2 in the middle of the handshake, by 1.3 once we hold it for done."""
    strange = ssl.create_default_context()
    strange.minimum_version = strange.maximum_version = version

    def refuse() -> None:  # as programs do that wait: asyncio hangs up without a word
        with socket.create_connection((US, door.port)) as sock, pytest.raises(ssl.SSLCertVerificationError):
            strange.wrap_socket(sock, server_hostname=US)

    await asyncio.to_thread(refuse)
    assert await door.refused() == "TLSV1_ALERT_UNKNOWN_CA"


async def test_firmware_without_elliptic_curves_is_served(door: Door) -> None:
    """EDK2 into 2022: RSA, and Diffie-Hellman in a field."""
    old = door.trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("DHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-SHA256")
    assert await door.get(old) == "hello by https"


SAID = {
    "nothing": (b"", ""),
    "a request without TLS": (b"GET / HTTP/1.1\r\n\r\n", "HTTP_REQUEST"),
    "nonsense": (b"\x16\x03\x01\x00\x05hello", "UNEXPECTED_MESSAGE"),
}


@pytest.mark.parametrize(("sent", "reason"), SAID.values(), ids=SAID.keys())
async def test_who_shakes_no_hands(door: Door, sent: bytes, reason: str) -> None:
    _, writer = await asyncio.open_connection(US, door.port)
    writer.write(sent)
    writer.write_eof()
    assert await door.refused() == reason
    writer.close()
    assert await door.get(door.trusting()) == "hello by https"


async def test_who_asks_by_https_is_sent_on_by_https(keys: Tls) -> None:
    """An iPXE that trusts us: what its script names comes as the script came."""
    asked: list[Dialect] = []

    class Scripts(FakeConductor):
        async def boot_script(self, mac: Mac, address: str, dialect: Dialect) -> bytes:
            asked.append(dialect)
            return b""

    server = Server(machine_app(MachineSide(Scripts()).routes()))
    trusting = ssl.create_default_context(cadata=keys.root.decode())
    async with aiohttp.ClientSession() as client:
        for scheme, tls in (("https", keys.context), ("http", None)):
            port = await server.listen_tcp(US, 0, tls)
            url = f"{scheme}://{US}:{port}/boot/52:54:00:00:00:17/script.ipxe"
            async with client.get(url, ssl=trusting) as answer:
                assert answer.status == 200
    await server.close()
    assert asked == [Dialect.IPXE_HTTPS, Dialect.IPXE]


async def test_a_stop_waits_for_no_hand(door: Door) -> None:
    _, writer = await asyncio.open_connection(US, door.port)
    async with asyncio.timeout(5):
        await door.server.close()
    writer.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(US, door.port)
