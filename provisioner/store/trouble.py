"""What to say of a store that cannot be opened or written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from provisioner.errors import StoreError

FULL_BYTES = 1 << 20
"""A disk with less than this free is called full: a transaction needs some pages of the log."""


def unopened(path: Path, error: Exception) -> StoreError:
    """Say that a store cannot be opened."""
    return StoreError(f"{path}: cannot open the store: {error}", hint=hint_for(path, error))


def hint_for(path: Path, error: Exception) -> str:
    """Say what to do about a store that cannot be opened or written: SQLite says "disk I/O error" of a full disk."""
    if isinstance(error, sqlite3.DatabaseError) and ("malformed" in str(error) or "not a database" in str(error)):
        return "restore it from your backup"
    with contextlib.suppress(OSError):
        disk = os.statvfs(path.parent)
        if (free := disk.f_bavail * disk.f_frsize) < FULL_BYTES:
            return f"its disk is full: {free / 1e6:.1f} MB free"
    return "check free space and permissions of the state directory"
