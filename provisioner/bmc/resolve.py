"""Choose the driver for a verb by what was proven on boards like this one. No I/O.

The order is proven, then not tried yet, then waived by an operator; a driver that failed the verb on this very model
and firmware is left out. Within a rank the order that the operator gave stays. Every place has its reason, which
`provisionctl bmc why` shows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from provisioner.model.bmc import BmcIdentity, Driver

FAILED_S = 7 * 86_400.0
"""So long a driver that failed a verb is left out. Being asked for nothing costs it a request."""


class Verdict(StrEnum):
    """What is known of a verb by a driver on a kind of board, best first."""

    PROVEN = "proven"
    UNPROVEN = "unproven"
    WAIVED = "waived"
    FAILED = "failed"


_RANK = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation, or an operator's flag. `at` and `expires` are seconds since the epoch; 0: never expires."""

    driver: Driver
    verb: str
    board: BmcIdentity
    verdict: Verdict
    reason: str
    at: float
    expires: float = 0.0

    def holds(self, now: float) -> bool:
        """Say whether it still counts. A failure does for a while: a driver that is left out proves nothing else."""
        until = self.expires or (self.at + FAILED_S if self.verdict is Verdict.FAILED else 0.0)
        return not 0 < until <= now


@dataclass(frozen=True, slots=True)
class Candidate:
    """A driver, its place and why."""

    driver: Driver
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """The drivers to try, in order, and those that are not tried."""

    verb: str
    order: tuple[Candidate, ...]
    left_out: tuple[Candidate, ...]

    def lines(self) -> list[str]:
        """Tell it to an operator."""
        chosen = [f"{place}. {one.driver}: {one.verdict}, {one.reason}" for place, one in enumerate(self.order, 1)]
        rest = [f"-  {one.driver}: not tried, {one.reason}" for one in self.left_out]
        head = f"{self.verb}: {self.order[0].driver} is asked" if self.order else f"{self.verb}: no driver can"
        return [head, *chosen, *rest]


def resolve(
    verb: str,
    drivers: Sequence[Driver],
    offered: Mapping[Driver, Collection[str]],
    evidence: Iterable[Evidence],
    boards: Mapping[Driver, BmcIdentity],
    now: float,
) -> Resolution:
    """Put the drivers that a machine has in order for one verb.

    `boards` is what each driver calls the board: one and the same has other names by IPMI than by Redfish.
    """
    known = [one for one in evidence if one.verb == verb and one.holds(now)]
    judged = [_judge(driver, verb, offered.get(driver, ()), known, boards[driver]) for driver in drivers]
    order = [one for one in judged if one.verdict is not Verdict.FAILED]
    order.sort(key=lambda one: _RANK[one.verdict])
    return Resolution(verb, tuple(order), tuple(one for one in judged if one.verdict is Verdict.FAILED))


def _judge(
    driver: Driver, verb: str, offered: Collection[str], known: Sequence[Evidence], board: BmcIdentity
) -> Candidate:
    if verb not in offered:
        return Candidate(driver, Verdict.FAILED, "the driver does not offer it")
    own = [one for one in known if one.driver is driver and _same_model(one.board, board)]
    here = [one for one in own if one.board.firmware == board.firmware]
    if here:
        latest = max(here, key=lambda one: one.at)
        return Candidate(driver, latest.verdict, latest.reason)
    if own:
        latest = max(own, key=lambda one: one.at)
        other, this = latest.board.firmware or "unknown", board.firmware or "unknown"
        reason = f"{latest.verdict} on firmware {other}, this is {this}: {latest.reason}"
        return Candidate(driver, Verdict.UNPROVEN, reason)
    return Candidate(driver, Verdict.UNPROVEN, "never tried on this model")


def _same_model(one: BmcIdentity, other: BmcIdentity) -> bool:
    return (one.vendor, one.model) == (other.vendor, other.model)
