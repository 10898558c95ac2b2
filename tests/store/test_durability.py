"""What `dhcp.durability` promises, counted in syncs of the disk."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from provisioner.dhcp.leases import Lease
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from tests.store.disk import build, environment

SAVES = 5


async def syncs_of_saves(folder: Path, *, durable: bool) -> None:
    """Save one lease after the other; print how many syncs each of them waited for."""
    log = folder / "syncs"
    database = Database(folder / "state.db")
    await database.open()
    store = LeaseStore(database, durable=durable)
    for number in range(SAVES):
        before = log.stat().st_size
        await store.save([Lease(number, b"123456", "rack", 1e9)])
        print(log.stat().st_size - before, end=" ")
    busy, free = threading.Event(), threading.Event()
    held = database.submit(lambda _: busy.set() or (free.wait(20) and None))
    await asyncio.to_thread(busy.wait, 20)
    before = log.stat().st_size
    both = database.submit(lambda _: None), store.save([Lease(99, b"123456", "rack", 1e9)])
    free.set()
    await asyncio.gather(held, *both)
    print("beside others:", log.stat().st_size - before)
    await database.close()


@pytest.mark.parametrize(
    ("durable", "syncs"), {True: "1 1 1 1 1 beside others: 1", False: "0 0 0 0 0 beside others: 1"}.items()
)
def test_a_durable_lease_waits_for_the_disk_and_a_written_one_does_not(
    tmp_path: Path, durable: bool, syncs: str
) -> None:
    (tmp_path / "syncs").touch()
    loaded = environment(build(tmp_path), tmp_path / "syncs")
    words = (sys.executable, "-m", "tests.store.test_durability", str(tmp_path), str(durable))
    done = subprocess.run(words, env=os.environ | loaded, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == syncs


if __name__ == "__main__":
    asyncio.run(syncs_of_saves(Path(sys.argv[1]), durable=sys.argv[2] == "True"))
