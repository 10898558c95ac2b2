"""Events that are of no machine stand in the same outbox."""

from __future__ import annotations

from pathlib import Path

from provisioner.store.db import Database
from provisioner.store.events import EventStore
from provisioner.store.machines import MachineStore


async def test_an_event_of_the_site(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    try:
        event = await EventStore(db).add("dhcp.rogue", {"server": "10.0.0.66"}, 1_800_000_000.0)
        assert await MachineStore(db).events(0, 10) == [event]
        assert (event.type, event.machine, event.data) == ("dhcp.rogue", "", {"server": "10.0.0.66"})
    finally:
        await db.close()
