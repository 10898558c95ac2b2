"""Databases that are only looked into, beside the daemon that writes them or without."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path


def read_only(path: Path) -> contextlib.closing[sqlite3.Connection]:
    """Open a database that is there, and write nothing to it. Blocks; raises `sqlite3.Error`, `OSError`."""
    return contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None))
