"""Files and folders that outlive a loss of power."""

from __future__ import annotations

import os
from pathlib import Path


def replace(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step; where that fails, what was there stays alone. Blocks; raises `OSError`."""
    scratch = file.with_name(f".{file.name}")
    scratch.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        scratch.replace(file)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    sync(file.parent)


def sync(path: Path) -> None:
    """Return when what a file holds, or which names a folder has, is on its disk. Blocks; raises `OSError`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
