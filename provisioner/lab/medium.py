"""Fetch the image that a virtual CD drive is told to hold, as a board does: into its own memory, before it shows it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from provisioner.errors import LabError

LARGEST_BYTES = 8 << 30
"""A DVD of a distribution has 5 GB."""
CHUNK_BYTES = 1 << 20
SILENCE_S = 30.0


async def fetch(uri: str, target: Path) -> None:
    """Write the image at `uri` to `target`, whole or not at all; raise `LabError`."""
    part = target.with_suffix(".part")
    try:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(uri, ssl=False) as answer:
            answer.raise_for_status()
            await _write(answer.content, part)
        await asyncio.to_thread(part.rename, target)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise LabError(f"{uri}: the image cannot be had: {error or type(error).__name__}") from error
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


async def _write(content: aiohttp.StreamReader, part: Path) -> None:
    size_bytes = 0
    file = await asyncio.to_thread(part.open, "wb")
    try:
        async for chunk in content.iter_chunked(CHUNK_BYTES):
            size_bytes += len(chunk)
            if size_bytes > LARGEST_BYTES:
                raise LabError(f"{part.name}: larger than {LARGEST_BYTES >> 30} GiB")
            await asyncio.to_thread(file.write, chunk)
    finally:
        await asyncio.to_thread(file.close)
