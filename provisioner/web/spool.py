"""Files that somebody sends, on the disk of the daemon's state for as long as they are needed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from io import FileIO
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from provisioner.catalog.room import Room, room_for
from provisioner.errors import FullError, StoreError, WireError
from provisioner.uncut import uncut
from provisioner.web import bodies

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

T = TypeVar("T")


class Spool:
    """Such files below a folder of its own. What has no room beside the daemon's own state is refused."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def clear(self) -> None:
        """Remove what a daemon that was killed has left. Blocks."""
        shutil.rmtree(self._root, ignore_errors=True)

    @contextlib.asynccontextmanager
    async def file(self, request: web.Request, name: str, limit_bytes: int) -> AsyncIterator[Path]:
        """Write the body to a file of this name, and remove it afterwards; more than `limit_bytes` is refused (413).

        Raises `FullError` where there is no room.
        """
        if not NAME.fullmatch(name):
            raise WireError(f"name: {name[:60]!r}: letters, digits, dots, hyphens; at most 128")
        size = request.content_length or 0
        bodies.check_size(size, limit_bytes)
        async with contextlib.AsyncExitStack() as stack:
            with uncut() as whole:  # who hangs up just now leaves nothing on the disk
                folder = await whole(self._in_thread(lambda: self._folder(size)))
                stack.push_async_callback(_to_its_end, partial(shutil.rmtree, folder, ignore_errors=True))
            path = folder / name
            await self._write(request, path, limit_bytes)
            yield path

    def _folder(self, size_bytes: int) -> Path:
        self._root.mkdir(mode=0o700, exist_ok=True)
        room_for(self._root, size_bytes)
        return Path(tempfile.mkdtemp(dir=self._root))

    async def _write(self, request: web.Request, path: Path, limit_bytes: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            with uncut() as whole:
                file = await whole(self._in_thread(lambda: path.open("wb", buffering=0)))
                stack.push_async_callback(_to_its_end, file.close)
            taken, room = 0, Room(self._root)
            async for piece in bodies.pieces(request):
                taken += len(piece)
                bodies.check_size(taken, limit_bytes)
                await self._in_thread(partial(_add, file, room, piece))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FullError(f"{self._root}: the disk is full", hint="free space, then try again") from error
            raise StoreError(f"{self._root}: cannot be written: {error.strerror}") from error


async def _to_its_end(tidy: Callable[[], None]) -> None:
    """Tidy up in a thread, also where the daemon stops just now: what has not begun would be called off."""
    with uncut() as whole:
        await whole(asyncio.to_thread(tidy))


def _add(file: FileIO, room: Room, piece: bytes) -> None:
    room.take(len(piece))
    left = memoryview(piece)
    while left:
        left = left[file.write(left) :]
