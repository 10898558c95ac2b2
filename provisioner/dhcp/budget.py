"""How many lines are told of what strangers do: so many of each, and of all together. No I/O.

What is beyond it is told later, like lines of one as one, with how often it was; only of strangers beyond thousands
that wait is the rest merely counted.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import replace
from typing import NamedTuple

from provisioner.dhcp.backlog import Backlog, Waiting
from provisioner.dhcp.limit import Limiter
from provisioner.model.trace import TraceLine

LINES_PER_S, LINES_BURST = 200.0, 500
"""Of all together, at once: a line takes 30 microseconds from whoever waits for an answer."""
LATE_EVERY_S, LATE_COUNT = 0.1, 40
"""How often lines that wait are told, and how many at once (a millisecond): the 4,000 of a rack of 1,000 machines that
power on together take ten seconds."""


class Each(NamedTuple):
    """What one may have told of it at once."""

    per_s: float
    burst: int


class Budget:
    """Tells lines at once or late, by `say`."""

    def __init__(
        self,
        say: Callable[[bytes, TraceLine], None],
        known: Callable[[bytes], bool],
        each: Each,
        counts: MutableMapping[str, int],
        untold: str,
    ) -> None:
        self._say = say
        self.known = known
        """Says whether somebody is a known machine."""
        self._each = each
        self.counts = counts
        self._untold = untold
        """What counts lines that are never told."""
        self._all = Limiter(1)
        self._ones = Limiter()
        self._silent_until = 0.0
        self.late = Backlog()

    def add(self, waiting: Waiting, what: tuple[object, ...], now: float) -> None:
        """Tell a line, now or late; `what` is the same for lines that are as good as one."""
        if self._allows(waiting.who, now):
            self._tell(waiting)
        else:
            self._keep(waiting, what)

    def _allows(self, who: bytes, now: float) -> bool:
        """Say whether one more line about somebody may be told at once: none of its own waits."""
        if now < self._silent_until or who in self.late.whose:
            return False
        if not self._all.take(0, LINES_PER_S, LINES_BURST, now):
            self._silent_until = now + 1 / LINES_PER_S  # no token until then: spare the look
            return False
        return self._ones.take(who, *self._each, now)

    def is_full(self, who: bytes, now: float) -> bool:
        """Say whether a line of somebody is beyond all bounds, as `add` would find: spare the words. It is counted."""
        full = now < self._silent_until and not self.late.has_room(known=False) and not self.known(who)
        if full:
            self.counts[self._untold] += 1
        return full

    def _keep(self, waiting: Waiting, what: tuple[object, ...]) -> None:
        who = waiting.who
        key = (who, *what)
        if self.late.again(key):
            return
        known = self.known(who)
        if self.late.has_room(known=known):
            self.late.keep(key, waiting, known=known)
        else:
            self.counts[self._untold] += 1

    def tell_late(self, now: float, count: int = LATE_COUNT) -> None:
        """Tell of what waits, as much as there is time for."""
        for _ in range(min(count, len(self.late))):
            taken = self.late.take()
            if taken is None:
                return
            key, waiting, times = taken
            if self._ones.take(waiting.who, *self._each, now):
                self._tell(waiting, times)
            else:
                self.late.keep(key, waiting, times, known=self.known(waiting.who))

    def _tell(self, waiting: Waiting, times: int = 1) -> None:
        """Put a line into words, and say it."""
        line = waiting.line()
        if times > 1:
            line = replace(line, text=f"{line.text} ({times} times)")
        self._say(waiting.who, line)
