"""What was seen of verbs on boards, one row for each kind of board, driver and verb: kept through restarts."""

from __future__ import annotations

from provisioner.bmc.resolve import Evidence
from provisioner.store.codec import Reader, encode
from provisioner.store.db import Database

_evidence_in = Reader(Evidence)


class EvidenceStore:
    """The ledger's rows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def load(self) -> list[Evidence]:
        """Read all, oldest first."""
        rows = await self._db.read(lambda c: c.execute("SELECT body FROM evidence ORDER BY at").fetchall())
        return [_evidence_in(row[0]) for row in rows]

    async def save(self, one: Evidence) -> None:
        """Keep a piece of evidence, durably; replaces what was known before."""
        board = one.board
        row = (one.driver, board.vendor, board.model, board.firmware, one.verb, one.at, encode(one))
        await self._db.submit(lambda c: c.execute(_SAVE, row) and None)


_SAVE = "INSERT OR REPLACE INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?)"
