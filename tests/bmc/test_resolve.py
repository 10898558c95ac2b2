"""The driver order is a table: evidence in, order and reasons out."""

from __future__ import annotations

import pytest

from provisioner.bmc.resolve import FAILED_S, Evidence, Verdict, resolve
from provisioner.model.bmc import BmcIdentity, Driver

VERB = "power.cycle"
BOARD = BmcIdentity(uuid="u", vendor="Acme", model="A1", serial="s", firmware="2.0")
OLDER = BmcIdentity(vendor="Acme", model="A1", firmware="1.0")
OTHER = BmcIdentity(vendor="Acme", model="B1", firmware="2.0")
BOTH = (Driver.REDFISH, Driver.IPMI)
BOARDS = dict.fromkeys(Driver, BOARD)
OFFERED = {driver: {VERB} for driver in Driver}


def saw(
    driver: Driver, verdict: Verdict, board: BmcIdentity = BOARD, at: float = 0.0, expires: float = 0.0
) -> Evidence:
    return Evidence(driver, VERB, board, verdict, f"seen at {at:g}", at, expires)


R, I = Driver.REDFISH, Driver.IPMI  # noqa: E741
ORDERS: dict[str, tuple[list[Evidence], list[tuple[Driver, Verdict]], list[Driver]]] = {
    "nothing known: as the operator has it": ([], [(R, Verdict.UNPROVEN), (I, Verdict.UNPROVEN)], []),
    "proven comes first": ([saw(I, Verdict.PROVEN)], [(I, Verdict.PROVEN), (R, Verdict.UNPROVEN)], []),
    "failed is left out": ([saw(R, Verdict.FAILED)], [(I, Verdict.UNPROVEN)], [R]),
    "waived comes last": ([saw(R, Verdict.WAIVED)], [(I, Verdict.UNPROVEN), (R, Verdict.WAIVED)], []),
    "all failed": ([saw(R, Verdict.FAILED), saw(I, Verdict.FAILED)], [], [R, I]),
    "the latest word counts": (
        [saw(R, Verdict.FAILED, at=2), saw(R, Verdict.PROVEN, at=1)],
        [(I, Verdict.UNPROVEN)],
        [R],
    ),
    "a failure on another firmware is none on this one": (
        [saw(R, Verdict.FAILED, OLDER)],
        [(R, Verdict.UNPROVEN), (I, Verdict.UNPROVEN)],
        [],
    ),
    "nor is a proof": ([saw(I, Verdict.PROVEN, OLDER)], [(R, Verdict.UNPROVEN), (I, Verdict.UNPROVEN)], []),
    "another model says nothing": ([saw(R, Verdict.FAILED, OTHER)], [(R, Verdict.UNPROVEN), (I, Verdict.UNPROVEN)], []),
    "a flag that expired says nothing": (
        [saw(R, Verdict.FAILED, expires=99.0)],
        [(R, Verdict.UNPROVEN), (I, Verdict.UNPROVEN)],
        [],
    ),
    "a failure is seen again after a while": (
        [saw(R, Verdict.FAILED, at=100.0 - FAILED_S)],
        [(R, Verdict.UNPROVEN), (I, Verdict.UNPROVEN)],
        [],
    ),
    "a proof holds": (
        [saw(I, Verdict.PROVEN, at=100.0 - 9 * FAILED_S)],
        [(I, Verdict.PROVEN), (R, Verdict.UNPROVEN)],
        [],
    ),
    "a flag that holds": ([saw(R, Verdict.WAIVED, expires=101.0)], [(I, Verdict.UNPROVEN), (R, Verdict.WAIVED)], []),
}


@pytest.mark.parametrize(("evidence", "order", "left_out"), ORDERS.values(), ids=ORDERS.keys())
def test_resolve(evidence: list[Evidence], order: list[tuple[Driver, Verdict]], left_out: list[Driver]) -> None:
    found = resolve(VERB, BOTH, OFFERED, evidence, BOARDS, now=100.0)
    assert [(one.driver, one.verdict) for one in found.order] == order
    assert [one.driver for one in found.left_out] == left_out


def test_a_driver_that_does_not_offer_the_verb() -> None:
    found = resolve("bios.apply", BOTH, {R: {"bios.apply"}}, [], BOARDS, now=0.0)
    assert found.lines() == [
        "bios.apply: redfish is asked",
        "1. redfish: unproven, never tried on this model",
        "-  ipmi: not tried, the driver does not offer it",
    ]


def test_the_reason_is_told() -> None:
    found = resolve(VERB, BOTH, OFFERED, [saw(R, Verdict.PROVEN, OLDER), saw(I, Verdict.FAILED)], BOARDS, now=0.0)
    assert found.lines() == [
        "power.cycle: redfish is asked",
        "1. redfish: unproven, proven on firmware 1.0, this is 2.0: seen at 0",
        "-  ipmi: not tried, seen at 0",
    ]
    nobody = resolve(VERB, [], OFFERED, [], BOARDS, now=0.0)
    assert nobody.lines() == ["power.cycle: no driver can"]


def test_each_driver_has_a_name_of_its_own_for_the_board() -> None:
    boards = {R: BOARD, I: BmcIdentity(vendor="iana-674", model="product-256", firmware="2.0")}
    found = resolve(VERB, BOTH, OFFERED, [saw(I, Verdict.PROVEN, boards[I]), saw(R, Verdict.FAILED)], boards, now=0.0)
    assert [(one.driver, one.verdict) for one in found.order] == [(I, Verdict.PROVEN)]
