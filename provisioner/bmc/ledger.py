"""What was seen of verbs on boards: the latest word for each driver, model, firmware and verb. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from provisioner.bmc.resolve import Evidence, Verdict
from provisioner.errors import BmcError, BmcLacking
from provisioner.model.bmc import BmcIdentity, Driver

MAX_ENTRIES = 16384
"""Fifty verbs by two drivers on 160 kinds of board; beyond it the oldest go."""

Key = tuple[Driver, str, str, str, str]


class Ledger:
    """Evidence by kind of board. UUID and serial are not kept: what holds for one board holds for its like."""

    def __init__(self) -> None:
        self._entries: dict[Key, Evidence] = {}

    def __iter__(self) -> Iterator[Evidence]:
        return iter(self._entries.values())

    def add(self, evidence: Evidence) -> bool:
        """Take a piece of evidence; say whether it tells anything new."""
        board = replace(evidence.board, uuid="", serial="")
        key = (evidence.driver, *board.kind, evidence.verb)
        before = self._entries.get(key)
        if before is not None and _outlasts(before, evidence):
            return False
        self._entries.pop(key, None)
        self._entries[key] = replace(evidence, board=board)
        while len(self._entries) > MAX_ENTRIES:
            del self._entries[next(iter(self._entries))]
        return before is None or before.verdict is not evidence.verdict or not before.holds(evidence.at)

    def saw(self, driver: Driver, verb: str, board: BmcIdentity, error: BmcError | None, now: float) -> bool:
        """Take what a verb ended with; say whether it tells anything new."""
        seen = seen_of(driver, verb, board, error, now)
        return seen is not None and self.add(seen)


def _outlasts(before: Evidence, evidence: Evidence) -> bool:
    """Say whether a waiver goes on: a failure does not end it, for failures are what it is given for."""
    is_waived = before.verdict is Verdict.WAIVED and before.holds(evidence.at)
    return is_waived and evidence.verdict is Verdict.FAILED


def seen_of(driver: Driver, verb: str, board: BmcIdentity, error: BmcError | None, now: float) -> Evidence | None:
    """Say what the end of a verb tells of a board. Trouble that passes, or lies elsewhere, tells nothing: one that
    starts answers 404, and what it refuses may be the argument.
    """
    if error is None:
        return Evidence(driver, verb, board, Verdict.PROVEN, "its end state was read back", now)
    if isinstance(error, BmcLacking):
        return Evidence(driver, verb, board, Verdict.FAILED, error.message, now)
    return None
