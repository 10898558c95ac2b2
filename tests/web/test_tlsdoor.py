"""HTTPS, and who refuses it: clients that trust us are served, of all others it is told why they were not."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
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
from provisioner.web.tlsdoor import DEFAULT, DoorBounds, Refused, TlsDoor
from tests.web.fakes import FakeConductor

US = "127.0.0.1"


async def hello(request: web.Request) -> web.Response:
    return web.Response(text=f"hello by {request.scheme}")


@dataclass
class Door:
    """A server by HTTPS, who came, and what was told of who refused, by the name that its address had."""

    server: Server
    port: int
    root: str
    told: asyncio.Queue[tuple[str, str]]
    came: asyncio.Queue[str]
    names: dict[str, str]

    def trusting(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.root)

    async def get(self, trusting: ssl.SSLContext) -> str:
        async with aiohttp.ClientSession() as client, client.get(f"https://{US}:{self.port}/", ssl=trusting) as answer:
            return await answer.text()

    async def refused(self) -> str:
        async with asyncio.timeout(5):
            name, reason = await self.told.get()
        assert name == "node17"
        return reason


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A CA and a certificate, made once."""
    return Tls(tmp_path_factory.mktemp("tls"), [US])


@pytest.fixture
async def door(keys: Tls) -> AsyncIterator[Door]:
    server = Server(machine_app([Route("GET", "/", hello)]))
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    came: asyncio.Queue[str] = asyncio.Queue()
    names = {US: "node17"}

    def greets(address: str) -> Refused:
        came.put_nowait(name := names.get(address, ""))
        return lambda reason: told.put_nowait((name, reason))

    server.greets = greets
    port = await server.listen_tcp(US, 0, keys.context)
    yield Door(server, port, keys.root.decode(), told, came, names)
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


async def test_who_gives_its_address_back_as_it_refuses_is_known(door: Door) -> None:
    """EDK2 by DHCPv6: its Release may be read before the end of its connection."""
    _, writer = await asyncio.open_connection(US, door.port)
    assert await door.came.get() == "node17"
    door.names.clear()
    writer.close()
    assert await door.refused() == ""


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


class Hello(asyncio.Protocol):
    """Says hello to whose hand was shaken."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


class Silent:
    """Clients that connect and say nothing, and some that do."""

    def __init__(self, port: int, trusting: ssl.SSLContext, group: asyncio.TaskGroup) -> None:
        self._port, self._trusting, self.group = port, trusting, group
        self._writers: list[asyncio.StreamWriter] = []
        self._waiting: set[asyncio.Task[bytes]] = set()

    async def connect(self, *addresses: str) -> None:
        """One from each address, in this order."""
        for address in addresses:
            reader, writer = await asyncio.open_connection(US, self._port, local_addr=(address, 0))
            self._writers.append(writer)
            self._waiting.add(self.group.create_task(reader.read()))

    async def closed(self, count: int) -> None:
        """Wait until so many were closed."""
        async with asyncio.timeout(10):
            while count > 0:
                ended, self._waiting = await asyncio.wait(self._waiting, return_when=asyncio.FIRST_COMPLETED)
                count -= len(ended)
        assert count == 0

    async def hello(self, address: str) -> bytes:
        """What a client hears that shakes hands; nothing where it is turned away."""
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(
                    US, self._port, ssl=self._trusting, local_addr=(address, 0)
                )
                self._writers.append(writer)
                return await reader.read()
        except OSError:
            return b""

    @property
    def held(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def bounded(keys: Tls, bounds: DoorBounds = DEFAULT) -> AsyncIterator[Silent]:
    """A door with such bounds, and clients of it."""
    sock = socket.create_server((US, 0), backlog=1024)
    sock.setblocking(False)
    port = sock.getsockname()[1]
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        door = group.create_task(TlsDoor(sock, keys.context, Hello, lambda _: lambda _: None, bounds).serve())
        stack.callback(door.cancel)
        clients = Silent(port, ssl.create_default_context(cadata=keys.root.decode()), group)
        stack.callback(clients.close)
        yield clients


async def test_hundreds_who_say_nothing_do_not_keep_others_out(keys: Tls) -> None:
    async with bounded(keys, DoorBounds(prompt_s=600.0)) as clients:
        await clients.connect(*["127.0.0.2"] * 300)
        await clients.closed(300 - DEFAULT.per_address)
        assert await clients.hello("127.0.0.2") == b"", "none of its own takes too long yet"
        assert await clients.hello("127.0.0.3") == b"hello"
        assert clients.held == DEFAULT.per_address


async def test_who_takes_too_long_goes_when_another_comes_from_its_address(keys: Tls) -> None:
    async with bounded(keys, DoorBounds(per_address=2, prompt_s=0.0)) as clients:
        await clients.connect("127.0.0.3", "127.0.0.2", "127.0.0.2")
        assert await clients.hello("127.0.0.2") == b"hello"
        await clients.closed(1)
        assert await clients.hello("127.0.0.2") == b"hello", "two places, and one is held"
        assert clients.held == 2


async def test_who_takes_too_long_goes_when_all_places_are_taken(keys: Tls, caplog: pytest.LogCaptureFixture) -> None:
    async with bounded(keys, DoorBounds(greetings=3, prompt_s=0.0)) as clients:
        await clients.connect("127.0.0.2", "127.0.0.3", "127.0.0.4")
        assert await clients.hello("127.0.0.5") == b"hello"
        await clients.closed(1)
        assert clients.held == 2
    assert [record.message for record in caplog.records if record.message.startswith("http.tls-busy client=127.0.0.2")]


async def test_who_comes_to_a_full_door_is_served_when_somebody_leaves(keys: Tls) -> None:
    async with bounded(keys, DoorBounds(greetings=1, prompt_s=600.0)) as clients:
        await clients.connect("127.0.0.2")
        waits = clients.group.create_task(clients.hello("127.0.0.3"))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not waits.done()
        clients.close()
        assert await waits == b"hello"


async def test_a_stop_waits_for_no_hand(door: Door) -> None:
    _, writer = await asyncio.open_connection(US, door.port)
    async with asyncio.timeout(5):
        await door.server.close()
    writer.close()
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(US, door.port)
