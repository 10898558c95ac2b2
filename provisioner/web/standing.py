"""How a webhook's receiver stands: does it answer, when is it tried again, and what is told of it. No I/O.

A receiver that does not answer is down for all events alike: it is tried with one of them after each pause, and told of
once. One that answers and does not take an event may take the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

AWAY = frozenset({429, 502, 503, 504})
"""Answers of somebody before the receiver, or of one that wants to be left alone (RFC 9110 sections 15.6.3 to 15.6.5,
RFC 6585 section 4)."""
TOLD_ROUNDS = 2
"""Rounds without an answer after which that is told: one that is there again a second later is not worth a line."""
REFUSED_EVERY_S = 60.0
"""One line in this time says what a receiver did not take."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an event was not taken; `silent` where it is not the receiver that said so."""

    text: str
    silent: bool = False


def fault_of(status: int) -> Fault | None:
    """Judge an answer by its HTTP status; None: the event was taken."""
    return None if 200 <= status < 300 else Fault(f"HTTP {status}", silent=status in AWAY)


def pause_s(pauses_s: Sequence[float], failed: int) -> float:
    """Say how long to wait after so many tries that failed; the last pause is for ever."""
    return pauses_s[min(failed, len(pauses_s)) - 1]


@dataclass(slots=True)
class Standing:
    """One receiver. `now` and `until` are seconds of a clock that does not jump."""

    pauses_s: Sequence[float]
    rounds: int = 0
    """Tries in a row without an answer; those that were under way at the same time are one."""
    until: float = 0.0
    """Not before this is it tried again, while there are rounds."""
    _since: float = 0.0
    _told: bool = False
    _quiet_until: float = 0.0
    _untold: int = 0

    def silent(self, began: int, now: float) -> bool:
        """Take word of a try without an answer, begun when there were `began` rounds; say whether to tell it, once."""
        if began != self.rounds:
            return False
        if not self.rounds:
            self._since = now
        self.rounds += 1
        self.until = now + pause_s(self.pauses_s, self.rounds)
        if self._told or self.rounds < TOLD_ROUNDS:
            return False
        self._told = True
        return True

    def answered(self, now: float) -> float | None:
        """Take word of an answer; give the seconds that there was none for, if that was told."""
        away_s = now - self._since if self._told else None
        self.rounds, self._told = 0, False
        return away_s

    def refused(self, now: float) -> int | None:
        """Take word of an event that was not taken; give how many were not told since the last; None: do not tell."""
        if now < self._quiet_until:
            self._untold += 1
            return None
        untold, self._untold = self._untold, 0
        self._quiet_until = now + REFUSED_EVERY_S
        return untold
