"""Package mirrors as machines reach them: GET and HEAD of /mirror/NAME/PATH, out of the cache (catalog/mirror.py)."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiohttp import web

from provisioner.boot.files import Refused, ServedFile, normalise
from provisioner.errors import ArtifactError, FullError, NotFoundError
from provisioner.web.files import Coming, Files
from provisioner.web.ports import Route

log = logging.getLogger(__name__)

PATIENCE_S = 5.0
"""After so long a client is sent what has come so far: apt gives up after 30 s without an octet."""


class Cache(Protocol):
    """What answers."""

    async def get(self, mirror: str, path: str) -> ServedFile: ...

    def arriving(self, mirror: str, path: str) -> AbstractAsyncContextManager[Coming | None]: ...

    def passing(self, mirror: str, path: str) -> AbstractAsyncContextManager[Coming]: ...


class Mirror:
    """Handlers over a cache; whole files leave by `files`, with ranges and ETags."""

    def __init__(self, cache: Cache, files: Files, *, patience_s: float = PATIENCE_S) -> None:
        self._cache, self._files, self._patience_s = cache, files, patience_s

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        path = "/mirror/{name:[a-z0-9-]+}/{path:.+}"
        return tuple(Route(method, path, self.file) for method in ("GET", "HEAD"))

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Give a file of a mirror."""
        name, path = request.match_info["name"], normalise(request.match_info["path"])
        if isinstance(path, Refused):
            raise NotFoundError(f"{path.name}: {path.reason}")
        async with asyncio.TaskGroup() as group:
            whole = group.create_task(self._whole(name, path))
            await asyncio.wait([whole], timeout=self._patience_s)
            if not whole.done() and request.method == "GET" and "Range" not in request.headers:
                async with self._cache.arriving(name, path) as along:
                    if along is not None:
                        whole.cancel()
                        return await self._files.give_along(request, f"mirror/{name}/{path}", along)
        found = whole.result()
        if isinstance(found, ServedFile):
            return await self._files.give(request, found, boots=False)
        try:
            if not isinstance(found, FullError):
                raise found
            async with self._cache.passing(name, path) as passing:
                return await self._files.give_along(request, f"mirror/{name}/{path}", passing)
        except ArtifactError as error:
            log.warning("mirror.failed mirror=%s path=%s: %s", name, path, error)
            return web.Response(status=502, text="the mirror did not give it\n")

    async def _whole(self, name: str, path: str) -> ServedFile | NotFoundError | ArtifactError:
        try:
            return await self._cache.get(name, path)
        except (NotFoundError, ArtifactError) as error:
            return error
