"""The files that transfers read from: opened once, shared by all, dropped when nobody used them for a while."""

from __future__ import annotations

import asyncio
import mmap
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from provisioner.boot.files import ServedFile
from provisioner.tftp.netascii import MAX_BYTES, to_netascii
from provisioner.tftp.packet import Mode

READ_BELOW_BYTES = 1024 * 1024
"""Smaller files (loaders) are read, larger ones (kernels, initrds) mapped."""
KEPT = 64
"""Files kept open after use: a site has a handful of loaders and the kernel and initrd of a few bootenvs."""

Key = tuple[Path, str, Mode]

Opened = Callable[[memoryview | OSError], None]


class Contents:
    """Hands out the content of served files. Disks are only touched in a thread; what is kept comes at once."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._open: OrderedDict[Key, memoryview] = OrderedDict()
        self._waiting: dict[Key, list[Opened]] = {}

    def get(self, file: ServedFile, mode: Mode, opened: Opened) -> None:
        """Call `opened` with what is sent of the file in this mode or the fault, at once or later.

        It is the same for all who ask: a request costs its sender one datagram, and shall not cost us a copy.
        """
        key = (file.path, file.sha256, mode)
        if (content := self._open.get(key)) is not None:
            self._open.move_to_end(key)
            opened(content)
        elif key in self._waiting:
            self._waiting[key].append(opened)
        else:
            self._waiting[key] = [opened]
            future = asyncio.get_running_loop().run_in_executor(None, _read, file, mode)
            future.add_done_callback(lambda done: self._opened(key, done))

    def clear(self) -> None:
        """Forget all. Maps go when the last transfer that reads them does."""
        self._open.clear()

    def _opened(self, key: Key, done: asyncio.Future[memoryview | OSError]) -> None:
        waiting = self._waiting.pop(key)
        result = OSError("the server stops") if done.cancelled() else done.result()
        if isinstance(result, memoryview):
            self._open[key] = result
            while len(self._open) > self._kept:
                self._open.popitem(last=False)
        for opened in waiting:
            opened(result)


def in_mode(mode: Mode, content: memoryview) -> memoryview | OSError:
    """Give what is sent of a content, or the fault where it is too much for netascii."""
    if mode is not Mode.NETASCII:
        return content
    return _too_many(len(content)) or memoryview(to_netascii(bytes(content)))


def _too_many(size_bytes: int) -> OSError | None:
    if size_bytes <= MAX_BYTES:
        return None
    return OSError(f"{size_bytes} bytes are too many for netascii (at most {MAX_BYTES}); ask in octet mode")


def _read(file: ServedFile, mode: Mode) -> memoryview | OSError:
    if mode is Mode.NETASCII and (fault := _too_many(file.size_bytes)) is not None:
        return fault  # before its pages are asked for: nobody keeps them
    content = _load(file)
    return in_mode(mode, content) if isinstance(content, memoryview) else content


def _load(file: ServedFile) -> memoryview | OSError:
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
