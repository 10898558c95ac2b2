"""Package mirrors over HTTP: whole files with ranges, slow ones as they come, wrong ones never to their end."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from provisioner.boot.files import FileTable
from provisioner.catalog.mirror import MirrorCache
from provisioner.store.db import Database
from provisioner.web.app import machine_app
from provisioner.web.files import DEFAULT, FileBounds, Files
from provisioner.web.mirror import Mirror
from provisioner.web.sender import Patience
from provisioner.web.server import Server
from tests.catalog.mirrors import Now, Upstream, caching

DEB = "pool/h/hello_1+b1~x_amd64.deb"
CONTENT = bytes(range(256)) * 8192
BY_HASH = f"dists/x/main/binary-amd64/by-hash/SHA256/{hashlib.sha256(b'index').hexdigest()}"


@dataclass
class Site:
    client: aiohttp.ClientSession
    upstream: Upstream
    cache: MirrorCache


@dataclass
class Bounds:
    """How long it waits for a file to be whole, what is given at once, and how much is kept."""

    patience_s: float = 0.2
    files: FileBounds = DEFAULT
    limit: int = 1 << 30


HASTY = Bounds()
ONE_OF_AN_ADDRESS = Bounds(files=FileBounds(per_client=1, wait_s=0.0))
NO_RATE_IS_ENOUGH = Bounds(files=FileBounds(patience=Patience(grace_s=0.0, slowest_bytes_per_s=math.inf)))
SMALL = Bounds(60.0, limit=1_000_000)
"""A cache that keeps less than `CONTENT`."""


@pytest.fixture
async def site(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A cache that waits for a file to be whole, or as briefly as a test asks for."""
    db, upstream = Database(tmp_path / "state.db"), Upstream()
    upstream.files = {DEB: CONTENT}
    await db.open()
    bounds = getattr(request, "param", Bounds(60.0))
    files = Files(FileTable(), observe=lambda line: None, bounds=bounds.files)
    async with upstream.serving(), caching(db, tmp_path / "mirror", upstream, Now(), limit=bounds.limit) as cache:
        server = Server(machine_app(Mirror(cache, files, patience_s=bounds.patience_s).routes()), drain_s=0)
        port = await server.listen_tcp("127.0.0.1", 0)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            yield Site(client, upstream, cache)
        await server.close()
    await asyncio.to_thread(files.close)
    await db.close()


async def test_a_file_with_ranges_and_an_etag(site: Site) -> None:
    async with site.client.get(f"/mirror/debian/{DEB}") as answer:
        assert (answer.status, await answer.read()) == (200, CONTENT)
        assert answer.headers["ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    async with site.client.get(f"/mirror/debian/{DEB}", headers={"Range": "bytes=1000-1999"}) as answer:
        assert (answer.status, await answer.read()) == (206, CONTENT[1000:2000])
    async with site.client.head(f"/mirror/debian/{DEB}") as answer:
        assert (answer.status, answer.content_length) == (200, len(CONTENT))
    assert site.upstream.times(DEB) == 1


REFUSED = {
    "/mirror/debian/none.deb": 404,
    "/mirror/other/pool/a.deb": 404,
    "/mirror/debian/pool/..%2f..%2fetc/passwd": 404,
    "/mirror/debian/": 404,
    "/mirror/debian/pool/%00": 404,
}


@pytest.mark.parametrize(("path", "status"), REFUSED.items())
async def test_what_is_not_there(site: Site, path: str, status: int) -> None:
    async with site.client.get(path) as answer:
        assert answer.status == status


async def test_a_mirror_that_is_away(site: Site) -> None:
    site.upstream.away = True
    async with site.client.get(f"/mirror/debian/{DEB}") as answer:
        assert answer.status == 502


@pytest.mark.parametrize("site", [HASTY], indirect=True)
async def test_a_slow_file_is_given_as_it_comes(site: Site) -> None:
    site.upstream.held[DEB] = asyncio.Event()
    async with site.client.get(f"/mirror/debian/{DEB}") as answer:
        first = await answer.content.readexactly(len(CONTENT) // 2)
        site.upstream.held[DEB].set()
        assert first + await answer.read() == CONTENT
    assert site.upstream.times(DEB) == 1


@pytest.mark.parametrize("site", [HASTY], indirect=True)
async def test_a_wrong_file_never_comes_to_its_end(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.upstream.files[BY_HASH] = CONTENT
    site.upstream.held[BY_HASH] = asyncio.Event()
    async with site.client.get(f"/mirror/debian/{BY_HASH}") as answer:
        await answer.content.readexactly(len(CONTENT) // 2)
        site.upstream.held[BY_HASH].set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert "mirror.damaged" in caplog.text
    assert "http.fault" not in caplog.text


@pytest.mark.parametrize("site", [HASTY], indirect=True)
async def test_a_file_that_breaks_off_is_not_whole(site: Site) -> None:
    site.upstream.held[DEB] = asyncio.Event()
    site.upstream.cut = {DEB}
    async with site.client.get(f"/mirror/debian/{DEB}") as answer:
        await answer.content.readexactly(len(CONTENT) // 2)
        site.upstream.held[DEB].set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


@pytest.mark.parametrize("site", [ONE_OF_AN_ADDRESS], indirect=True)
async def test_what_is_sent_as_it_comes_takes_a_turn(site: Site) -> None:
    site.upstream.held[DEB] = asyncio.Event()
    async with site.client.get(f"/mirror/debian/{DEB}") as first, site.client.get(f"/mirror/debian/{DEB}") as second:
        assert (first.status, second.status) == (200, 503)
        site.upstream.held[DEB].set()
        assert await first.read() == CONTENT


@pytest.mark.parametrize("site", [NO_RATE_IS_ENOUGH], indirect=True)
async def test_who_takes_too_little_of_what_comes_is_dropped(site: Site) -> None:
    site.upstream.held[DEB] = asyncio.Event()
    async with site.client.get(f"/mirror/debian/{DEB}") as answer:
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    site.upstream.held[DEB].set()


@pytest.mark.parametrize("site", [SMALL], indirect=True)
@pytest.mark.parametrize("sized", [True, False], ids=["a length that is known", "one that nobody knows"])
async def test_a_file_for_which_there_is_no_room_is_passed_on(
    site: Site, caplog: pytest.LogCaptureFixture, sized: bool
) -> None:
    site.upstream.unsized = set() if sized else {DEB}
    site.upstream.files["pool/h/small.deb"] = b"small"
    for _ in range(2):
        async with site.client.get(f"/mirror/debian/{DEB}") as answer:
            assert (answer.status, answer.content_length) == (200, len(CONTENT) if sized else None)
            assert await answer.read() == CONTENT
        async with site.client.get("/mirror/debian/pool/h/small.deb") as answer:
            assert await answer.read() == b"small"
    async with site.client.head(f"/mirror/debian/{DEB}") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    assert caplog.text.count("mirror.unkept") == 1
    assert site.cache.standing.kept_bytes == len(b"small")
    assert f"debian/{DEB}: " in site.cache.standing.unkept
    assert site.upstream.times("pool/h/small.deb") == 1


SPOILT = {"another file": ("mirror.damaged", False), "one that breaks off": ("http.unreadable", True)}


@pytest.mark.parametrize("site", [SMALL], indirect=True)
@pytest.mark.parametrize(("told", "cut"), SPOILT.values(), ids=SPOILT.keys())
async def test_what_is_passed_on_comes_to_its_end_only_where_it_is_right(
    site: Site, caplog: pytest.LogCaptureFixture, told: str, cut: bool
) -> None:
    caplog.set_level("INFO")
    site.upstream.files[BY_HASH] = CONTENT
    site.upstream.cut = {BY_HASH} if cut else set()
    async with site.client.get(f"/mirror/debian/{BY_HASH}") as answer:
        assert answer.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    assert told in caplog.text
    assert "http.fault" not in caplog.text
