"""A store whose asker goes away: he is cancelled while what he asked for is being committed."""

from __future__ import annotations

import asyncio
from typing import Any

from provisioner.store.db import Database, T, Work


class CutDatabase(Database):
    """A store whose `cut_at`th write from now on has who asked for it cancelled, before it is committed."""

    asker: asyncio.Task[Any] | None = None
    cut_at = -1
    writes = 0

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        if self.asker is not None:
            if self.writes == self.cut_at:
                asyncio.get_running_loop().call_soon(self.asker.cancel)
            self.writes += 1
        return super().submit(work)
