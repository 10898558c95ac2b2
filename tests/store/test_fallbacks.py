"""Whose proxy we are outlives the daemon."""

from __future__ import annotations

from pathlib import Path

from provisioner.store.db import Database
from provisioner.store.fallbacks import FallbackStore


async def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    for expected in ({}, {"a": "10.0.0.67", "b": "10.0.1.66"}):
        db = Database(tmp_path / "state.db")
        await db.open()
        store = FallbackStore(db)
        assert await store.load() == expected
        for name, server in (("a", "10.0.0.66"), ("b", "10.0.1.66"), ("c", "10.0.2.66"), ("a", "10.0.0.67")):
            await store.put(name, server)
        await store.remove("c")
        await db.close()
