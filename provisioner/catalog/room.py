"""Room on the disk: what comes in is refused in time to leave some for the daemon's own state. Every call blocks."""

from __future__ import annotations

import os
from pathlib import Path

from provisioner.errors import FullError

KEEP_FREE_BYTES = 256 * 1024 * 1024
"""Left on the disk by whatever comes in: leases and machine states are written to the same one."""
LOOK_EVERY_BYTES = 64 * 1024 * 1024
"""So much may come between two looks: a quarter of what stays free."""


def lacking(folder: Path, size_bytes: int) -> int:
    """Say how many bytes have to go from the disk that `folder` is on before this many more fit on it."""
    return max(0, size_bytes + KEEP_FREE_BYTES - _free(folder))


def room_for(folder: Path, size_bytes: int) -> None:
    """Raise `FullError` where this many bytes more would fill the disk that `folder` is on."""
    if lacking(folder, size_bytes):
        text = f"{folder}: {size_bytes / 1e6:.1f} MB wanted, {_free(folder) / 1e6:.1f} MB free"
        raise FullError(text, hint=f"{KEEP_FREE_BYTES / 1e6:.0f} MB stay free for the daemon's own state")


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class Room:
    """Looks at the disk again and again while content is written to it whose length nobody knows."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._unseen = folder, LOOK_EVERY_BYTES

    def take(self, size_bytes: int) -> None:
        """Hear that this many bytes are written next; raise `FullError` where they would fill the disk."""
        self._unseen += size_bytes
        if self._unseen >= LOOK_EVERY_BYTES:
            room_for(self._folder, size_bytes)
            self._unseen = 0
