"""Files over HTTP on real sockets: whole, in parts, bounded, and nothing but what is in the table."""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from provisioner.boot.files import FileTable, ServedFile
from provisioner.model.net import Mac, parse_mac
from provisioner.model.trace import TraceLine
from provisioner.store.authority import Authority
from provisioner.web.app import machine_app
from provisioner.web.files import FileBounds, Files
from provisioner.web.sender import Patience
from provisioner.web.server import Server

CONTENT = bytes(range(256)) * 40_000  # 10 MB: several steps
SHA = hashlib.sha256(CONTENT).hexdigest()
MAC = parse_mac("52:54:00:00:00:17")


@dataclass
class Web:
    """A running server, a client, and what the server said."""

    port: int
    client: aiohttp.ClientSession
    file: ServedFile
    told: asyncio.Queue[TraceLine]
    leases: dict[str, Mac] = field(default_factory=dict)
    sent_to: Counter[str] = field(default_factory=Counter)

    async def event(self) -> str:
        """What the server says next but that it begins: of what it sent, after the client has it."""
        while (told := await asyncio.wait_for(self.told.get(), 20)).event == "http.start":
            pass
        return told.event

    async def raw(self, request: bytes) -> bytes:
        """Send octets as they are: clients tidy paths up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        answer = await reader.read(65536)
        writer.close()
        await writer.wait_closed()
        return answer


@asynccontextmanager
async def serving(tmp_path: Path, bounds: FileBounds) -> AsyncIterator[Web]:
    (tmp_path / SHA).write_bytes(CONTENT)
    (tmp_path / "empty").write_bytes(b"")
    file = ServedFile("snponly.efi", tmp_path / SHA, len(CONTENT), SHA)
    kernel = ServedFile("vmlinuz", tmp_path / SHA, len(CONTENT), SHA)
    empty = ServedFile("empty", tmp_path / "empty", 0, hashlib.sha256().hexdigest())
    table = FileTable([file, empty], artifacts={"debian-12/amd64/vmlinuz": kernel}.get)
    told: asyncio.Queue[TraceLine] = asyncio.Queue()
    leases = {"127.0.0.1": MAC}
    files = Files(table, observe=told.put_nowait, whose=leases.get, bounds=bounds)
    server = Server(machine_app(files.routes()))
    port = await server.listen_tcp("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield Web(port, client, file, told, leases, files.sent_to)
    await server.close()
    await asyncio.to_thread(files.close)


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with serving(tmp_path, FileBounds(transfers=2)) as web:
        yield web


async def test_the_same_by_https(web: Web, tmp_path: Path) -> None:
    authority = await asyncio.to_thread(Authority, tmp_path / "tls", time.time())
    certificate = await asyncio.to_thread(authority.server_certificate, ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(machine_app(Files(FileTable([web.file]), observe=web.told.put_nowait).routes()))
    port = await server.listen_tcp("127.0.0.1", 0, context)
    trusted = ssl.create_default_context(cafile=str(authority.certificate_file))
    url = f"https://127.0.0.1:{port}/files/snponly.efi"
    async with web.client.get(url, ssl=trusted) as answer:
        assert await answer.read() == CONTENT
    async with web.client.get(url, ssl=trusted, headers={"Range": "bytes=300000-9000000"}) as answer:
        assert await answer.read() == CONTENT[300_000:9_000_001]
    await server.close()
    assert [await web.event(), await web.event()] == ["http.sent"] * 2
    impatient = FileBounds(patience=Patience(grace_s=0.0, slowest_bytes_per_s=math.inf))
    server = Server(machine_app(Files(FileTable([web.file]), observe=web.told.put_nowait, bounds=impatient).routes()))
    port = await server.listen_tcp("127.0.0.1", 0, context)
    async with web.client.get(f"https://127.0.0.1:{port}/files/snponly.efi", ssl=trusted) as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert await web.event() == "http.stalled", "no client is as fast as that"
    await server.close()


@pytest.mark.parametrize("path", ["/files/snponly.efi", "/files//snponly.efi", "/artifacts/debian-12/amd64/vmlinuz"])
async def test_get(web: Web, path: str) -> None:
    async with web.client.get(path) as answer:
        assert answer.status == 200
        assert answer.headers["ETag"] == f'"{SHA}"'
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.content_length == len(CONTENT)
        assert await answer.read() == CONTENT
    assert await web.event() == "http.sent"


async def test_the_beginning_of_a_long_file_is_told(web: Web) -> None:
    reader, writer = await stuck(web)
    await reader.readexactly(4096)
    begun = web.told.get_nowait()
    assert (begun.event, begun.text) == ("http.start", f"snponly.efi: {len(CONTENT)} bytes")
    writer.transport.abort()
    assert await web.event() == "http.broken"
    async with web.client.get("/files/snponly.efi", headers={"Range": "bytes=4-"}) as answer:
        await answer.read()
    told = await asyncio.wait_for(web.told.get(), 20)
    assert told.event == "http.sent", "of a range, and a medium is read in thousands, only the end is told"


async def test_firmware_is_told_what_it_is(web: Web) -> None:
    async with web.client.head("/files/snponly.efi") as answer:
        assert answer.headers["Content-Type"] == "application/efi"
        assert answer.content_length == len(CONTENT)
        assert await answer.read() == b""
    assert web.told.empty()


async def test_an_empty_file(web: Web) -> None:
    async with web.client.get("/files/empty") as answer:
        assert (answer.status, answer.content_length, await answer.read()) == (200, 0, b"")


async def test_a_download_goes_on_where_it_stopped(web: Web) -> None:
    headers = {"Range": "bytes=6000000-", "If-Range": f'"{SHA}"'}
    async with web.client.get("/files/snponly.efi", headers=headers) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes 6000000-{len(CONTENT) - 1}/{len(CONTENT)}"
        assert await answer.read() == CONTENT[6_000_000:]


STATUS: dict[str, tuple[dict[str, str], int]] = {
    "not modified": ({"If-None-Match": f'"{SHA}"'}, 304),
    "another version wanted": ({"If-Match": '"x"'}, 412),
    "behind the end": ({"Range": "bytes=99999999-"}, 416),
}


@pytest.mark.parametrize(("headers", "status"), STATUS.values(), ids=STATUS.keys())
async def test_without_a_body(web: Web, headers: dict[str, str], status: int) -> None:
    for _ in range(2):  # the connection is still in step after the first
        async with web.client.get("/files/snponly.efi", headers=headers) as answer:
            assert (answer.status, await answer.read()) == (status, b"")


TRICKS = {
    "the parent": b"/files/../../../etc/passwd",
    "encoded": b"/files/%2e%2e/%2e%2e/etc/passwd",
    "encoded slashes": b"/files/..%2f..%2fetc%2fpasswd",
    "a backslash": b"/files/..\\..\\etc\\passwd",
    "absolute": b"/files//etc/passwd",
    "NUL": b"/files/snponly.efi%00",
    "a line feed": b"/files/a%0ab",
    "a directory": b"/files/",
    "10,000 characters": b"/files/" + b"a" * 10_000,
    "not in the table": b"/artifacts/debian-12/amd64/absent",
}


@pytest.mark.parametrize("path", TRICKS.values(), ids=TRICKS.keys())
async def test_path_tricks(web: Web, path: bytes) -> None:
    answer = await web.raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] in {b"404", b"400"}
    assert b"root:" not in answer


async def test_nothing_can_be_written(web: Web) -> None:
    for method in ("PUT", "POST", "DELETE", "PATCH"):
        async with web.client.request(method, "/files/snponly.efi", data=b"x") as answer:
            assert answer.status == 405


async def test_a_symlink_in_the_store_is_not_followed(web: Web) -> None:
    web.file.path.unlink()
    web.file.path.symlink_to("/etc/passwd")
    async with web.client.get("/files/snponly.efi") as answer:
        assert answer.status == 500
    assert await web.event() == "http.unreadable"


async def test_a_file_that_is_not_what_is_on_record_is_not_served(web: Web) -> None:
    os.truncate(web.file.path, 100)
    async with web.client.get("/files/snponly.efi") as answer:
        assert answer.status == 500


async def stuck(web: Web) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask, and read nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port, limit=1024)
    writer.write(b"GET /files/snponly.efi HTTP/1.1\r\nHost: x\r\n\r\n")
    await writer.drain()
    return reader, writer


@pytest.mark.slow
async def test_slow_readers_are_dropped_and_others_get_their_turn(tmp_path: Path) -> None:
    async with serving(tmp_path, FileBounds(transfers=2, wait_s=0.2, patience=Patience(stall_s=0.5))) as web:
        clients = [await stuck(web) for _ in range(2)]
        async with asyncio.timeout(20):
            while True:
                # of a part that the kernel takes at once: this client cannot be slow
                async with web.client.get("/files/snponly.efi", headers={"Range": "bytes=0-65535"}) as answer:
                    if answer.status == 503:
                        assert answer.headers["Retry-After"]
                        continue
                    assert await answer.read() == CONTENT[:65536]
                    break
        while await web.event() != "http.stalled":
            pass
        for _, writer in clients:
            writer.close()


async def test_one_address_does_not_take_all_places(tmp_path: Path) -> None:
    """Its clients read nothing, and the bound on all is not reached by those of its own that wait."""
    async with serving(tmp_path, FileBounds(transfers=3, per_client=2, wait_s=0.1)) as web:
        clients = [await stuck(web) for _ in range(8)]
        for _ in range(6):
            assert await web.event() == "http.busy"
        elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
        url = f"http://127.0.0.1:{web.port}/files/snponly.efi"
        async with aiohttp.ClientSession(connector=elsewhere) as client, client.get(url) as answer:
            assert (answer.status, await answer.read()) == (200, CONTENT)
        for _, writer in clients:
            writer.close()


async def test_a_client_that_hangs_up_is_told_of_whoever_notices_it_first(
    web: Web, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        reader, writer = await stuck(web)
        await reader.readexactly(4096)
        writer.transport.abort()
        assert await web.event() == "http.broken"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_client_that_has_all_may_hang_up_before_its_answer_is_ended(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Firmware closes as soon as it has the last octet, which may be just before aiohttp ends the answer."""

    async def closing(_answer: object, _data: bytes = b"") -> None:
        raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr(aiohttp.web.StreamResponse, "write_eof", closing)
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"GET /files/snponly.efi HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(len(CONTENT)) == CONTENT
    writer.close()
    assert await web.event() == "http.sent"


async def test_firmware_gives_its_address_back_before_we_hear_that_it_has_its_file(web: Web) -> None:
    """OVMF by DHCPv6: its Release may be read before the end of the answer."""
    reader, writer = await stuck(web)
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(4096)
    web.leases.clear()
    await reader.readexactly(len(CONTENT) - 4096)
    told = [await asyncio.wait_for(web.told.get(), 20) for _ in range(2)]
    assert [(each.event, each.mac) for each in told] == [("http.start", MAC), ("http.sent", MAC)]
    writer.close()


async def test_who_is_sent_a_file_is_known_for_as_long_as_that_lasts(web: Web) -> None:
    reader, writer = await stuck(web)
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(4096)
    assert web.sent_to == {"127.0.0.1": 1}
    await reader.readexactly(len(CONTENT) - 4096)
    told = [await asyncio.wait_for(web.told.get(), 20) for _ in range(2)]
    assert [each.event for each in told] == ["http.start", "http.sent"]
    assert not web.sent_to
    writer.close()


async def test_a_file_that_is_cut_while_it_is_sent_ends_the_connection(web: Web) -> None:
    reader, writer = await stuck(web)
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.to_thread(os.truncate, web.file.path, 5_000_000)
    body = await reader.read()
    while piece := await reader.read():
        body += piece
    assert len(body) < len(CONTENT)
    assert await web.event() == "http.unreadable"
    writer.close()


async def test_an_artefact_for_a_run_that_was_ended_is_not_given(tmp_path: Path) -> None:
    (tmp_path / SHA).write_bytes(CONTENT)
    image = ServedFile("disk.raw.zst", tmp_path / SHA, len(CONTENT), SHA)
    files = Files(FileTable([], artifacts={"debian-12/amd64/disk.raw.zst": image}.get), observe=(told := []).append)
    asked: list[str] = []
    files.serves = lambda address: asked.append(address) is not None
    server = Server(machine_app(files.routes()))
    port = await server.listen_tcp("127.0.0.1", 0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        assert (await client.get("/artifacts/debian-12/amd64/disk.raw.zst")).status == 404
        assert (await client.get("/artifacts/x%1B[31m%0Dlie")).status == 404
    await server.close()
    await asyncio.to_thread(files.close)
    assert asked == ["127.0.0.1"] * 2
    assert [(line.event, line.ok, line.text.partition(": ")[0]) for line in told] == [
        ("http.refused", False, "artifacts/debian-12/amd64/disk.raw.zst"),
        ("http.refused", False, "artifacts/x?[31m?lie"),
    ]
