"""Media for BMCs: by ticket, in ranges, and to nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from provisioner.boot.files import FileTable, ServedFile
from provisioner.errors import TicketError
from provisioner.web.app import machine_app
from provisioner.web.files import Files
from provisioner.web.media import Media


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
