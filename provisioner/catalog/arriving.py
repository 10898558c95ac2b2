"""A file on its way from a mirror, read by those who cannot wait until it is whole.

Its last octet is held back until its hash is known to be right: nobody ends with a whole wrong file.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from provisioner.catalog.blobs import CHUNK_BYTES, Receiver
from provisioner.errors import ArtifactError


class Arriving:
    """What one download has brought so far."""

    def __init__(self) -> None:
        self.total: int | None = None
        """Announced length; None as long as nothing is known of it."""
        self._receiver: Receiver | None = None
        self._moved = asyncio.Event()
        self._end: bool | None = None

    def begin(self, receiver: Receiver, total: int | None) -> None:
        """Content begins to come."""
        self._receiver, self.total = receiver, total
        self.move()

    def move(self) -> None:
        """More has come."""
        self._moved.set()
        self._moved = asyncio.Event()

    def end(self, *, good: bool) -> None:
        """Nothing more comes; say whether it is what it should be."""
        self._end = good
        self.move()

    async def began(self) -> bool:
        """Wait for the length; False where it ends before, or none is announced."""
        while self._receiver is None and self._end is None:
            await self._moved.wait()
        return self._receiver is not None and self.total is not None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Read along; raise `ArtifactError` where it ends badly."""
        assert self._receiver is not None
        assert self.total is not None
        loop = asyncio.get_running_loop()
        descriptor = await loop.run_in_executor(None, self._receiver.open)
        offset = 0
        try:
            while offset < self.total:
                moved, end = self._moved, self._end
                if end is False:
                    raise ArtifactError("what came is not what it should be, or not all of it")
                most = min(CHUNK_BYTES, self.total - offset - (0 if end else 1))
                chunk = await loop.run_in_executor(None, os.pread, descriptor, most, offset) if most else b""
                offset += len(chunk)
                if chunk:
                    yield chunk
                elif end is None:
                    await moved.wait()
                else:
                    raise ArtifactError("it was cut short")
        finally:
            await loop.run_in_executor(None, os.close, descriptor)
