"""Stores whose schema is laid already: that takes fifteen milliseconds, and tests lay thousands."""

from __future__ import annotations

import functools
import sqlite3
from pathlib import Path

from provisioner.store.schema import bundled_migrations, migrate


@functools.cache
def _laid() -> bytes:
    """The file of a store with its schema and nothing in it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, bundled_migrations(), "memory")
        return connection.serialize()
    finally:
        connection.close()


def laid(path: Path) -> Path:
    """Put such a file there, unless there is a store; for tests of what is kept in one, and not of how it is made."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_laid())
    return path
