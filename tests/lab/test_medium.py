"""Images for the virtual drive: whole, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from provisioner.errors import LabError
from provisioner.lab.medium import fetch

IMAGE = bytes(range(256)) * 8192


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """A web server with an image, and one that breaks off."""

    async def image(_: web.Request) -> web.Response:
        return web.Response(body=IMAGE)

    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(IMAGE))})
        await response.prepare(request)
        await response.write(IMAGE[:1000])
        assert request.transport is not None
        request.transport.abort()
        return response

    app = web.Application()
    app.add_routes([web.get("/image.iso", image), web.get("/half.iso", half)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_an_image_is_fetched(server: str, tmp_path: Path) -> None:
    await fetch(f"{server}/image.iso", tmp_path / "cd.iso")
    assert (tmp_path / "cd.iso").read_bytes() == IMAGE


@pytest.mark.parametrize("name", ["half.iso", "none.iso"])
async def test_half_an_image_is_none(server: str, tmp_path: Path, name: str) -> None:
    with pytest.raises(LabError, match=name):
        await fetch(f"{server}/{name}", tmp_path / "cd.iso")
    assert list(tmp_path.iterdir()) == []
