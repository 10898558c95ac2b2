"""Package mirrors as they are asked: by name, along redirects to what is as protected; what they send as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp
from aiohttp import ClientHandlerType, ClientMiddlewareType

from provisioner.catalog.blobs import CHUNK_BYTES
from provisioner.catalog.download import check_redirect
from provisioner.errors import ArtifactError, NotFoundError
from provisioner.model.mirror import Kept

log = logging.getLogger(__name__)

USER_AGENT = "provisioner"
TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10.0, sock_read=30.0)


@dataclass(frozen=True, slots=True)
class Sources:
    """Mirrors by name, and how they are reached. `limit_bytes` is how much is kept."""

    upstreams: Mapping[str, str]
    limit_bytes: int
    offline: bool = False
    proxy: str = ""


class Upstreams:
    """Those mirrors. Use as `async with`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstreams:
        """Begin to ask."""
        self._session = await aiohttp.ClientSession(
            timeout=TIMEOUT,
            auto_decompress=False,
            trust_env=not self._sources.proxy,
            headers={"User-Agent": USER_AGENT},
        ).__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    @contextlib.asynccontextmanager
    async def ask(self, mirror: str, path: str, kept: Kept | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for a file, or (`kept`) whether it is another by now: an answer of 200, or 304.

        Raises `NotFoundError` where there is none, `aiohttp.ClientError` for any other answer.
        """
        url = f"{self._sources.upstreams[mirror].rstrip('/')}/{quote(path, safe='/+~:@=,!')}"
        headers = {"Accept-Encoding": "identity"} | (_conditions(kept) if kept is not None else {})
        if self._session is None:
            raise ArtifactError("the cache does not run")
        async with self._session.get(
            url, headers=headers, proxy=self._sources.proxy or None, max_redirects=5, middlewares=(_led_from(url),)
        ) as answer:
            if answer.status in (404, 410):
                raise NotFoundError(f"{mirror}/{path}: the mirror has no such file")
            if answer.status not in (200, 304) or (answer.status == 304 and kept is None):
                raise aiohttp.ClientError(f"HTTP {answer.status} {answer.reason}")
            yield answer


class Passing:
    """A file that is given on and not kept. Its end is held back until its hash is known to be right."""

    def __init__(self, answer: aiohttp.ClientResponse, what: str, expected: tuple[str, ...]) -> None:
        self._answer, self._what, self._expected = answer, what, expected
        self.size_bytes = answer.content_length

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its pieces, some 1 MiB each; raises `ArtifactError` where it ends badly."""
        loop, hashed, held = asyncio.get_running_loop(), hashlib.sha256(), b""
        try:
            async for chunk in gathered(self._answer.content):
                await loop.run_in_executor(None, hashed.update, chunk)
                if held:
                    yield held
                held = chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ArtifactError(f"the mirror: {reason_of(error)}") from error
        found = hashed.hexdigest()
        if self._expected and found not in self._expected:
            damaged = ArtifactError(f"{self._what}: its SHA-256 is {found}, it should be {self._expected[0]}")
            log.error("mirror.damaged %s", damaged)
            raise damaged
        if held:
            yield held


async def gathered(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Gather what comes into pieces that are worth a call to another thread."""
    pieces = bytearray()
    async for chunk in content.iter_any():
        pieces += chunk
        if len(pieces) >= CHUNK_BYTES:
            yield bytes(pieces)
            pieces.clear()
    if pieces:
        yield bytes(pieces)


def reason_of(error: Exception) -> str:
    """Say why a mirror could not be asked."""
    return str(error) or type(error).__name__


def _led_from(url: str) -> ClientMiddlewareType:
    """Check each request that asking for `url` leads to."""

    async def check(request: aiohttp.ClientRequest, ask: ClientHandlerType) -> aiohttp.ClientResponse:
        check_redirect(url, str(request.url))
        return await ask(request)

    return check


def _conditions(kept: Kept) -> dict[str, str]:
    found = {"If-None-Match": kept.etag, "If-Modified-Since": kept.modified}
    return {name: value for name, value in found.items() if value}
