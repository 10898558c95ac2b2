"""Media for BMCs: by ticket, in ranges, and to nobody else."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from provisioner.boot.files import FileTable, ServedFile
from provisioner.errors import NotFoundError, TicketError
from provisioner.model.net import Mac
from provisioner.model.trace import TraceLine
from provisioner.web.app import machine_app
from provisioner.web.files import Files
from provisioner.web.media import Discs, Media

NODE = Mac("52:54:00:00:00:17")


async def test_a_medium_is_read_in_parts_by_who_has_its_ticket(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    path = tmp_path / "m.iso"
    path.write_bytes(content)
    told: list[str] = []

    async def find(ticket: str) -> ServedFile:
        if ticket != "good":
            raise TicketError("there is no such thing")
        return ServedFile("node17.iso", path, len(content), "ab" * 32)

    files = Files(FileTable(), observe=lambda line: told.append(line.text))
    async with TestClient(TestServer(machine_app(Media(find, files).routes()))) as client:
        response = await client.get("/media/good/node17.iso", headers={"Range": "bytes=2048-4095"})
        assert (response.status, await response.read()) == (206, content[2048:4096])
        assert response.headers["Content-Type"] == "application/vnd.efi-iso"
        response = await client.head("/media/good/node17.iso")
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(content)))
        assert response.headers["Accept-Ranges"] == "bytes"
        assert (await client.get("/media/bad/node17.iso")).status == 404
        assert (await client.post("/media/good/node17.iso")).status == 405
    await asyncio.to_thread(files.close)
    assert told == [told[0]]
    assert "good" not in told[0]


class Made:
    """Makes one CD, for one address, and remembers how it was asked."""

    def __init__(self, file: ServedFile) -> None:
        self.file = file
        self.asked: list[tuple[str, str, bool]] = []

    async def find(self, name: str, address: str, *, begins: bool) -> ServedFile:
        self.asked.append((name, address, begins))
        if name != self.file.name:
            raise NotFoundError("there is no such CD: its loaders are not served")
        return self.file


async def test_firmware_asks_for_the_size_and_then_for_its_cd(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told: list[TraceLine] = []
    path = tmp_path / "x.iso"
    path.write_bytes(b"disc" * 1000)
    made = Made(ServedFile("cdx64.iso", path, 4000, "ab" * 32))
    files = Files(FileTable(), observe=told.append, whose=lambda _: NODE)
    async with TestClient(TestServer(machine_app(Discs(made, files).routes()))) as client:
        response = await client.head("/boot/cdx64.iso")
        assert (response.status, response.headers["Content-Length"]) == (200, "4000")
        assert response.headers["Content-Type"] == "application/vnd.efi-iso"
        assert await (await client.get("/boot/cdx64.iso")).read() == b"disc" * 1000
        assert (await client.get("/boot/cdaa64.iso")).status == 404
        assert (await client.get("/boot/other.iso")).status == 404
    await asyncio.to_thread(files.close)
    names = [(name, begins) for name, _, begins in made.asked]
    assert names == [("cdx64.iso", True), ("cdx64.iso", False), ("cdaa64.iso", False)]
    text = "cdaa64.iso: there is no such CD: its loaders are not served"
    assert [(line.text, line.mac) for line in told if line.event == "http.refused"] == [(text, NODE)]
    assert f"http.refused client=127.0.0.1 mac={NODE} {text}" in caplog.messages
