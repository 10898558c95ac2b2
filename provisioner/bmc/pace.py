"""When a BMC is asked again, and when it is left alone: pauses, the circuit breaker, the guard of accounts. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.bmc.table import Verb
from provisioner.errors import BmcBusy, BmcError, BmcUnreachable

RETRY_PAUSES_S = (0.5, 2.0)
"""Two more tries after the first; with the drivers' own, a lost packet or a BMC that restarts is outlived."""

BUSY_PAUSES_S = (0.5, 1.0, 2.0)
"""The drivers' own, before a request is sent again that a busy BMC refused, where that does not say how long."""

BREAKER_FAILURES = 3
BREAKER_FIRST_S = 10.0
BREAKER_LONGEST_S = 120.0

MAX_REFUSALS = 2
REFUSAL_WINDOW_S = 600.0
"""BMCs lock accounts after three to five failures; promise 22 allows two in ten minutes."""


def retry_pause(error: BmcError, attempt: int, chance: float) -> float | None:
    """Say how long to wait before try `attempt` + 1 (tries count from 1), or None to give up.

    `chance` in [0, 1) spreads the retries of many BMCs that failed together.
    """
    if not isinstance(error, BmcUnreachable | BmcBusy) or attempt > len(RETRY_PAUSES_S):
        return None
    wait = RETRY_PAUSES_S[attempt - 1]
    if isinstance(error, BmcBusy) and error.retry_after_s is not None:
        wait = max(wait, error.retry_after_s)
    return wait * (1 + chance / 2)


def may_retry(verb: Verb, error: BmcError) -> bool:
    """Say whether a call that failed may be made again.

    A read of a BMC that was silent is not: whoever looks waits for it, and hears no more by waiting twice.
    """
    silent = isinstance(error, BmcUnreachable) and error.silent
    return verb.again and (verb.changes or not silent)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Counts how often in a row a BMC did not answer; from the third time on it is left alone for a while."""

    failures: int = 0
    closed_at: float = 0.0

    @property
    def is_open(self) -> bool:
        """Say whether it did not answer so often, and has not since."""
        return self.failures >= BREAKER_FAILURES

    def wait_s(self, now: float) -> float:
        """Return how long it is still left alone; 0 when it may be asked."""
        return max(0.0, self.closed_at - now)

    def answered(self) -> Breaker:
        """Go back to normal."""
        return Breaker()

    def silent(self, now: float) -> Breaker:
        """Count a failure; each one after the third doubles the rest."""
        failures = self.failures + 1
        if failures < BREAKER_FAILURES:
            return Breaker(failures)
        rest = min(BREAKER_FIRST_S * 2 ** (failures - BREAKER_FAILURES), BREAKER_LONGEST_S)
        return Breaker(failures, now + rest)


@dataclass(frozen=True, slots=True)
class Guard:
    """Keeps us from locking an account: after two refusals of one password it is not tried again for ten minutes."""

    refusals: tuple[float, ...] = ()

    def wait_s(self, now: float) -> float:
        """Return how long this password is still not tried; 0 when it may be."""
        recent = [at for at in self.refusals if at > now - REFUSAL_WINDOW_S]
        return max(0.0, recent[0] + REFUSAL_WINDOW_S - now) if len(recent) >= MAX_REFUSALS else 0.0

    def holds(self, now: float) -> bool:
        """Say whether it still counts anything."""
        return any(at > now - REFUSAL_WINDOW_S for at in self.refusals)

    def refused(self, now: float) -> Guard:
        """Count a refusal."""
        return Guard((*(at for at in self.refusals if at > now - REFUSAL_WINDOW_S), now))
