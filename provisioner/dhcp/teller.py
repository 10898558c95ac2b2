"""Has a budget tell late what it could not tell at once, a little at a time."""

from __future__ import annotations

import asyncio

from provisioner.clock import SteadyClock
from provisioner.dhcp.budget import LATE_EVERY_S, Budget

LAST_WORDS = 1000
"""Lines that are told before we stop, of those that still wait."""


class Teller:
    """One for each budget; `wake` is called after packets were answered."""

    def __init__(self, budget: Budget, clock: SteadyClock) -> None:
        self._budget = budget
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """Tell what waits, if something does, in a moment."""
        if self._timer is None and self._budget.late:
            self._timer = asyncio.get_running_loop().call_later(LATE_EVERY_S, self._tell)

    def stop(self) -> None:
        """Tell the last now."""
        if self._timer is not None:
            self._timer.cancel()
        self._budget.tell_late(self._clock.now(), LAST_WORDS)

    def _tell(self) -> None:
        self._timer = None
        self._budget.tell_late(self._clock.now())
        self.wake()
