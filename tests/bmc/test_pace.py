"""When a BMC is asked again, and when it is left alone."""

from __future__ import annotations

import pytest

from provisioner.bmc.pace import Breaker, Guard, may_retry, retry_pause
from provisioner.bmc.table import VERBS
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcPrivilegeError,
    BmcProtocolError,
    BmcTimeout,
    BmcUnreachable,
    BmcUnsupported,
    BmcWrongState,
)

PAUSES = {
    "no answer: soon": (BmcUnreachable("x"), 1, 0.0, 0.5),
    "no answer again: later": (BmcUnreachable("x"), 2, 0.0, 2.0),
    "three times is enough": (BmcUnreachable("x"), 3, 0.0, None),
    "spread by chance": (BmcUnreachable("x"), 1, 0.5, 0.625),
    "busy": (BmcBusy("x"), 1, 0.0, 0.5),
    "busy, and says how long": (BmcBusy("x", retry_after_s=7.0), 1, 0.0, 7.0),
    "a password is never tried again": (BmcAuthError("x"), 1, 0.0, None),
    "nor what is not allowed": (BmcPrivilegeError("x"), 1, 0.0, None),
    "nor what the board cannot": (BmcUnsupported("x"), 1, 0.0, None),
    "nor a wrong state": (BmcWrongState("x"), 1, 0.0, None),
    "nor nonsense": (BmcProtocolError("x"), 1, 0.0, None),
    "nor what may have been done": (BmcTimeout("x"), 1, 0.0, None),
}


SILENT, LOST = BmcUnreachable("x", silent=True), BmcUnreachable("x")
AGAIN = {
    "a read whose connection was lost": ("power.status", LOST, True),
    "a read of a BMC that was silent": ("power.status", SILENT, False),
    "the first word with one": ("identify", SILENT, False),
    "a change, for as long as it has": ("power.on", SILENT, True),
    "what is done once only": ("power.reset", LOST, False),
}


@pytest.mark.parametrize(("verb", "error", "again"), AGAIN.values(), ids=AGAIN.keys())
def test_may_retry(verb: str, error: BmcError, again: bool) -> None:
    assert may_retry(VERBS[verb], error) is again


@pytest.mark.parametrize(("error", "attempt", "chance", "pause"), PAUSES.values(), ids=PAUSES.keys())
def test_retry_pause(error: BmcError, attempt: int, chance: float, pause: float | None) -> None:
    assert retry_pause(error, attempt, chance) == pause


def test_the_breaker_opens_at_the_third_failure_and_rests_longer_each_time() -> None:
    breaker, rests = Breaker(), []
    for _ in range(8):
        breaker = breaker.silent(100.0)
        rests.append(breaker.wait_s(100.0))
    assert rests == [0, 0, 10, 20, 40, 80, 120, 120]
    assert breaker.wait_s(220.0) == 0
    assert breaker.answered().wait_s(100.0) == 0


def test_a_password_is_refused_twice_and_then_rests() -> None:
    guard = Guard().refused(0.0)
    assert guard.wait_s(1.0) == 0
    guard = guard.refused(100.0)
    assert guard.wait_s(100.0) == 500
    assert guard.wait_s(600.0) == 0, "the first refusal is ten minutes old"
    assert len(guard.refused(10_000.0).refusals) == 1
