"""A package mirror on loopback that can be slow, lie, break off and go away; and a cache before it."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from provisioner.catalog.mirror import MirrorCache
from provisioner.catalog.upstream import Sources
from provisioner.store.db import Database
from provisioner.store.mirror import MirrorIndex


class Upstream:
    """Files by path; `asked` has every request as (path, conditional)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, bool]] = []
        self.cut: set[str] = set()
        self.unsized: set[str] = set()
        """Paths of which it does not say how long they are."""
        self.redirect: dict[str, str] = {}
        self.held: dict[str, asyncio.Event] = {}
        self.before: dict[str, asyncio.Event] = {}
        """What is waited for before an answer begins; `was_asked` is set then."""
        self.was_asked = asyncio.Event()
        self.node = ""
        """Which of several servers this is: each has names of its own for the same content."""
        self.away = False
        self.url = ""

    def times(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(1 for asked, _ in self.asked if asked == path)

    async def give(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        content, condition = self.files.get(path), request.headers.get("If-None-Match")
        self.asked.append((path, condition is not None))
        if self.away:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=503)
        if path in self.before:
            self.was_asked.set()
            await self.before[path].wait()
        if path in self.redirect:
            return web.Response(status=302, headers={"Location": self.redirect[path]})
        if content is None:
            return web.Response(status=404)
        etag = f'"{self.node}{hashlib.sha256(content).hexdigest()[:8]}"'
        if condition == etag:
            return web.Response(status=304, headers={"ETag": etag})
        response = web.StreamResponse(headers={"ETag": etag})
        if path not in self.unsized:
            response.content_length = len(content)
        await response.prepare(request)
        half = len(content) // 2
        await response.write(content[:half])
        if path in self.held:
            await self.held[path].wait()
        if path in self.cut:
            assert request.transport is not None
            request.transport.abort()
            return response
        await response.write(content[half:])
        return response

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Upstream]:
        app = web.Application()
        app.router.add_get("/debian/{path:.*}", self.give)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/debian"
        try:
            yield self
        finally:
            await runner.cleanup()


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def caching(
    db: Database, root: Path, upstream: Upstream, now: Now, *, limit: int = 1 << 30, offline: bool = False
) -> AsyncIterator[MirrorCache]:
    """A cache that runs until the block ends."""
    cache = MirrorCache(root, MirrorIndex(db), Sources({"debian": upstream.url}, limit, offline), clock=now)
    await cache.open()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(cache.run())
        await asyncio.sleep(0)
        try:
            yield cache
        finally:
            running.cancel()
