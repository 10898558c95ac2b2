"""Evidence outlives the daemon: the latest word for each kind of board, driver and verb."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from provisioner.bmc.resolve import Evidence, Verdict
from provisioner.model.bmc import BmcIdentity, Driver
from provisioner.store.db import Database
from provisioner.store.evidence import EvidenceStore

BOARD = BmcIdentity(vendor="Acme", model="A1", firmware="7.1")
PROVEN = Evidence(Driver.REDFISH, "power.on", BOARD, Verdict.PROVEN, "seen", 10.0)
WAIVED = Evidence(Driver.IPMI, "power.cycle", BOARD, Verdict.WAIVED, "we need it", 5.0, 99.0)


async def test_what_is_kept_comes_back_and_the_latest_counts(tmp_path: Path) -> None:
    db = Database(tmp_path / "state.db")
    await db.open()
    store = EvidenceStore(db)
    failed = replace(PROVEN, verdict=Verdict.FAILED, at=11.0)
    for one in (PROVEN, WAIVED, failed):
        await store.save(one)
    assert await store.load() == [WAIVED, failed]
    await db.close()
    again = Database(tmp_path / "state.db")
    await again.open()
    assert await EvidenceStore(again).load() == [WAIVED, failed]
    await again.close()
