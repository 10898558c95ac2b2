"""Short answers that are whole before they are sent: what machines are given by the thousand, with a head of few lines.

`web.Response` finds out for each answer whether it is chunked, compressed, empty or sent by parts, and puts its head
together line by line: a sixth of what an answer takes. Here none of that is open, and but for its length a head is the
same for all answers of a second. RFC 9110 and 9112.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from functools import lru_cache

from aiohttp import HttpVersion, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE

HEADS = 16
"""Kept at once: a few content types, versions, and ways to go on with a connection, of one second."""
_FIELD = re.compile(r"[\x20-\x7e]*")


class WholeAnswer(web.StreamResponse):
    """200 and a body for a GET or a POST. Nobody on the way keeps it: what machines are told is theirs, and once."""

    def __init__(self, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        super().__init__()
        self._whole, self._kind = body, content_type
        self._head = b""
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
        self._writer, self._lasts = request.writer, request.keep_alive
        self._head = _head(self._kind, request.version, self._lasts, int(time.time()))
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it."""
        assert self._writer is not None
        await self._writer.write_eof(b"%sContent-Length: %d\r\n\r\n%s" % (self._head, len(self._whole), self._whole))


@lru_cache(maxsize=HEADS)
def _head(kind: str, version: HttpVersion, lasts: bool, second: int) -> bytes:
    """Write all of a head but its last line; raise `ValueError` for a content type that would add lines to it."""
    if not _FIELD.fullmatch(kind):
        raise ValueError(f"{kind[:80]!r} is no content type")
    lines = [
        f"HTTP/{version.major}.{version.minor} 200 OK",
        f"Content-Type: {kind}",
        "Cache-Control: no-store",
        f"Date: {formatdate(second, usegmt=True)}",
        f"Server: {SERVER_SOFTWARE}",
    ]
    if lasts is (version < (1, 1)):  # said where it is not what the version has by itself
        lines.append(f"Connection: {'keep-alive' if lasts else 'close'}")
    return "".join(f"{line}\r\n" for line in lines).encode()
