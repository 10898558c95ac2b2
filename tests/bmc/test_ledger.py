"""Evidence is kept by kind of board, the latest word for each."""

from __future__ import annotations

import pytest

from provisioner.bmc.ledger import MAX_ENTRIES, Ledger
from provisioner.bmc.resolve import FAILED_S, Evidence, Verdict
from provisioner.errors import BmcBusy, BmcError, BmcLacking, BmcTimeout, BmcUnreachable, BmcUnsupported
from provisioner.model.bmc import BmcIdentity, Driver

BOARD = BmcIdentity("uuid", "Acme", "A1", "serial", "1.0")


def test_success_proves_and_what_is_lacking_fails() -> None:
    ledger = Ledger()
    assert ledger.saw(Driver.IPMI, "power.on", BOARD, None, 1.0)
    assert not ledger.saw(Driver.IPMI, "power.on", BOARD, None, 2.0), "nothing new"
    assert ledger.saw(Driver.IPMI, "power.on", BOARD, BmcLacking("no such command"), 3.0)
    (entry,) = ledger
    assert (entry.verdict, entry.reason, entry.at) == (Verdict.FAILED, "no such command", 3.0)
    assert (entry.board.uuid, entry.board.serial) == ("", "")


def test_a_failure_that_is_seen_again_when_it_counts_no_more_is_news() -> None:
    ledger, lacking = Ledger(), BmcLacking("no such command")
    assert ledger.saw(Driver.IPMI, "power.on", BOARD, lacking, 3.0)
    assert not ledger.saw(Driver.IPMI, "power.on", BOARD, lacking, 4.0)
    assert ledger.saw(Driver.IPMI, "power.on", BOARD, lacking, 4.0 + FAILED_S)


WAIVED = Evidence(Driver.IPMI, "power.on", BOARD, Verdict.WAIVED, "fixed in 2.31", 3.0, expires=9.0)
OUTLASTED: dict[str, tuple[BmcError | None, float, Verdict]] = {
    # what is seen of what an operator waived, when, and what counts then
    "a failure": (BmcLacking("no such command"), 4.0, Verdict.WAIVED),
    "a failure after its time": (BmcLacking("no such command"), 9.0, Verdict.FAILED),
    "a success": (None, 4.0, Verdict.PROVEN),
}


@pytest.mark.parametrize(("error", "at", "verdict"), OUTLASTED.values(), ids=OUTLASTED.keys())
def test_a_waiver_outlasts_failures_until_it_expires(error: BmcError | None, at: float, verdict: Verdict) -> None:
    ledger = Ledger()
    assert ledger.add(WAIVED)
    assert ledger.saw(Driver.IPMI, "power.on", BOARD, error, at) is (verdict is not Verdict.WAIVED)
    (entry,) = ledger
    assert entry.verdict is verdict


@pytest.mark.parametrize("error", [BmcUnreachable("x"), BmcBusy("x"), BmcTimeout("x"), BmcUnsupported("HTTP 404")])
def test_trouble_that_passes_says_nothing(error: BmcError) -> None:
    ledger = Ledger()
    assert not ledger.saw(Driver.IPMI, "power.on", BOARD, error, 1.0)
    assert list(ledger) == []


@pytest.mark.slow
def test_the_oldest_go_when_it_is_full() -> None:
    ledger = Ledger()
    for number in range(MAX_ENTRIES + 3):
        ledger.add(Evidence(Driver.IPMI, f"v{number}", BOARD, Verdict.PROVEN, "", 0.0))
    verbs = [entry.verb for entry in ledger]
    assert len(verbs) == MAX_ENTRIES
    assert verbs[0] == "v3"
