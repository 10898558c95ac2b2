"""A disk whose syncs are counted and made slow, for programs that are started with `environment` (see disk.c)."""

from __future__ import annotations

import subprocess
from pathlib import Path


def build(folder: Path) -> Path:
    """Compile the library."""
    library = folder / "disk.so"
    source = Path(__file__).with_name("disk.c")
    words = ("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl")
    subprocess.run(words, check=True, timeout=60)
    return library


def environment(library: Path, log: Path | None = None, stall_ms: int = 0) -> dict[str, str]:
    """What a program is started with."""
    found = {"LD_PRELOAD": str(library), "DISK_STALL_MS": str(stall_ms)}
    return found if log is None else found | {"DISK_LOG": str(log)}
