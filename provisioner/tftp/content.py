"""The files that transfers read from: opened once, shared by all, dropped when nobody used them for a while."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from provisioner.boot.files import ServedFile

READ_BELOW_BYTES = 1024 * 1024
"""Smaller files (loaders) are read, larger ones (kernels, initrds) mapped."""
KEPT = 64
"""Files kept open after use: a site has a handful of loaders and the kernel and initrd of a few bootenvs."""

Opened = Callable[[memoryview | OSError], None]


class Contents:
    """Hands out the content of served files. Disks are only touched in a thread; what is kept comes at once."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._open: OrderedDict[tuple[Path, str], memoryview] = OrderedDict()
        self._waiting: dict[tuple[Path, str], list[Opened]] = {}

    def get(self, file: ServedFile, opened: Opened) -> None:
        """Call `opened` with the file's content or the fault, at once or later."""
        key = (file.path, file.sha256)
        if (content := self._open.get(key)) is not None:
            self._open.move_to_end(key)
            opened(content)
        elif key in self._waiting:
            self._waiting[key].append(opened)
        else:
            self._waiting[key] = [opened]
            future = asyncio.get_running_loop().run_in_executor(None, _read, file)
            future.add_done_callback(lambda done: self._opened(key, done))

    def clear(self) -> None:
        """Forget all. Maps go when the last transfer that reads them does."""
        self._open.clear()

    def _opened(self, key: tuple[Path, str], done: asyncio.Future[memoryview | OSError]) -> None:
        waiting = self._waiting.pop(key)
        result = OSError("the server stops") if done.cancelled() else done.result()
        if isinstance(result, memoryview):
            self._open[key] = result
            while len(self._open) > self._kept:
                self._open.popitem(last=False)
        for opened in waiting:
            opened(result)


def _read(file: ServedFile) -> memoryview | OSError:
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        return error
    try:
        size = os.fstat(descriptor).st_size
        if size != file.size_bytes:
            return OSError(f"{file.path}: has {size} bytes, {file.size_bytes} are on record")
        if size < READ_BELOW_BYTES:
            return memoryview(os.pread(descriptor, size, 0))
        mapped = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        mapped.madvise(mmap.MADV_WILLNEED)
        return memoryview(mapped)
    except OSError as error:
        return error
    finally:
        os.close(descriptor)
