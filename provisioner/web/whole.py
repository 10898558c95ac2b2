"""Short answers that are whole before they are sent: what machines are given by the thousand, with a head of few lines.

`web.Response` finds out for each answer whether it is chunked, compressed, empty or sent by parts, and puts its head
together line by line: a sixth of what an answer takes. Here none of that is open. RFC 9110 and 9112.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE


class WholeAnswer(web.StreamResponse):
    """200 and a body for a GET or a POST. Nobody on the way keeps it: what machines are told is theirs, and once."""

    def __init__(self, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        head = {"Content-Type": content_type, "Cache-Control": "no-store", "Content-Length": str(len(body))}
        super().__init__(headers=head)
        self._whole = body
        self._writer: AbstractStreamWriter | None = None
        self._lasts: bool | None = None

    @property
    def prepared(self) -> bool:
        """Say whether the head is written."""
        return self._writer is not None

    @property
    def keep_alive(self) -> bool | None:
        """Say whether the connection lasts; None while nobody knows."""
        return self._lasts

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Put the head together. It leaves with the body."""
        self._writer, self._lasts, version = request.writer, request.keep_alive, request.version
        self.headers["Date"] = _date(int(time.time()))
        self.headers["Server"] = SERVER_SOFTWARE
        if self._lasts is (version < (1, 1)):  # said where it is not what the version has by itself
            self.headers["Connection"] = "keep-alive" if self._lasts else "close"
        await self._writer.write_headers(f"HTTP/{version.major}.{version.minor} 200 OK", self.headers)
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it."""
        assert self._writer is not None
        await self._writer.write_eof(self._whole)


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Write the time as every answer says it (RFC 9110 section 6.6.1)."""
    return formatdate(second, usegmt=True)
