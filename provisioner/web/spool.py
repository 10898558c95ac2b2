"""A file that somebody sends, on our disk for as long as it is needed."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from provisioner.errors import WireError
from provisioner.uncut import uncut
from provisioner.web import bodies

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@contextlib.asynccontextmanager
async def spooled(request: web.Request, name: str, limit_bytes: int) -> AsyncIterator[Path]:
    """Write the body to a file of this name, and remove it afterwards; more than `limit_bytes` is refused (413)."""
    if not NAME.fullmatch(name):
        raise WireError(f"name: {name[:60]!r}: letters, digits, dots, hyphens; at most 128")
    async with contextlib.AsyncExitStack() as stack:
        with uncut() as whole:  # who hangs up just now leaves nothing on the disk
            folder = await whole(asyncio.to_thread(tempfile.TemporaryDirectory, prefix="provisioner-"))
            stack.push_async_callback(asyncio.to_thread, folder.cleanup)
        path = Path(folder.name) / name
        await _write(request, path, limit_bytes)
        yield path


async def _write(request: web.Request, path: Path, limit_bytes: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        with uncut() as whole:
            file = await whole(asyncio.to_thread(path.open, "wb"))
            stack.push_async_callback(asyncio.to_thread, file.close)
        taken = 0
        async for piece in bodies.pieces(request):
            taken += len(piece)
            if taken > limit_bytes:
                raise web.HTTPRequestEntityTooLarge(limit_bytes, taken)
            await asyncio.to_thread(file.write, piece)
