"""Pins outlive a restart, and are gone when they were forgotten."""

from __future__ import annotations

from pathlib import Path

from provisioner.bmc.hostkeys import HostKey
from provisioner.store.db import Database
from provisioner.store.hostkeys import HostKeyStore

ONE, OTHER = HostKey("192.0.2.1", 22, "SHA256:a"), HostKey("192.0.2.1", 2200, "SHA256:b")


async def test_kept_and_forgotten(tmp_path: Path) -> None:
    for kept in ((), (OTHER,)):
        db = Database(tmp_path / "state.db")
        await db.open()
        store = HostKeyStore(db)
        assert await store.load() == kept
        for one in (ONE, OTHER, HostKey(ONE.host, ONE.port, "")):
            await store.save(one)
        await db.close()
