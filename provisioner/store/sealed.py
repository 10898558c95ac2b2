"""What changes of secrets, as it lies in the store: for whoever writes it with other things in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sealed:
    """Secrets to keep, locked away, and names of those to forget; one that is not there is forgotten."""

    put: Mapping[str, bytes] = field(default_factory=dict)
    gone: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.put or self.gone)

    def write(self, cursor: sqlite3.Cursor) -> None:
        """Write it, in the transaction of the cursor."""
        if self.put:
            cursor.executemany("INSERT OR REPLACE INTO secret VALUES (?, ?)", self.put.items())
        if self.gone:
            cursor.executemany("DELETE FROM secret WHERE id = ?", [(name,) for name in self.gone])


UNCHANGED = Sealed()
