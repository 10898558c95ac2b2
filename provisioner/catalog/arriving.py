"""A file on its way from a mirror, read by those who cannot wait until it is whole.

Its last octet is held back until its hash is known to be right: nobody ends with a whole wrong file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from provisioner.catalog.blobs import CHUNK_BYTES
from provisioner.errors import ArtifactError


class Arriving:
    """What one download has brought so far."""

    def __init__(self) -> None:
        self.total = 0
        self._descriptor = -1
        """Of what has come, which has another name when it is whole; -1 before it begins, and when this is over."""
        self._moved = asyncio.Event()
        self._end: bool | None = None

    def begin(self, descriptor: int, total: int) -> None:
        """Content of this length begins to come, and can be read at a descriptor that this closes."""
        self._descriptor, self.total = descriptor, total
        self.move()

    def move(self) -> None:
        """More has come."""
        self._moved.set()
        self._moved = asyncio.Event()

    def end(self, *, good: bool) -> None:
        """Nothing more comes; say whether it is what it should be."""
        self._end = good
        self.move()

    async def close(self) -> None:
        """Let go of what came; who reads along reads on."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            await asyncio.get_running_loop().run_in_executor(None, os.close, descriptor)

    @contextlib.asynccontextmanager
    async def along(self) -> AsyncIterator[Along | None]:
        """Read along; None where it ends before its length is known, or none is announced."""
        while self._descriptor < 0 and self._end is None:
            await self._moved.wait()
        if self._descriptor < 0:
            yield None
            return
        descriptor = os.dup(self._descriptor)
        try:
            yield Along(self, descriptor)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, os.close, descriptor)

    async def read(self, descriptor: int, offset: int) -> bytes:
        """Wait for what comes next; raise `ArtifactError` where it ends badly."""
        loop = asyncio.get_running_loop()
        while True:
            moved, end = self._moved, self._end
            if end is False:
                raise ArtifactError("what came is not what it should be, or not all of it")
            most = min(CHUNK_BYTES, self.total - offset - (0 if end else 1))
            chunk = await loop.run_in_executor(None, os.pread, descriptor, most, offset) if most else b""
            if chunk:
                return chunk
            if end:
                raise ArtifactError("it was cut short")
            await moved.wait()


class Along:
    """The whole of a file for one reader, as it comes."""

    def __init__(self, arriving: Arriving, descriptor: int) -> None:
        self._arriving, self._descriptor = arriving, descriptor
        self.size_bytes = arriving.total

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its pieces, 1 MiB at most each; raises `ArtifactError` where it ends badly."""
        offset = 0
        while offset < self.size_bytes:
            chunk = await self._arriving.read(self._descriptor, offset)
            offset += len(chunk)
            yield chunk
