"""What the files of one boot are from the first fetch on: made together, of what was declared then. No I/O.

An installer fetches the last of its files at its end. Parameters and the catalogue may be others by then, and halves of
two declarations make no system: its disks would be divided by one, and told to the system by the other.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from provisioner.model.machine import Machine

MAX_OCTETS = 128 << 20
"""Of the files of all boots: some 10 kB each. Those begun first go first, and are made anew when they are asked for."""


@dataclass(frozen=True, slots=True)
class Handout:
    """All files of a ticket (its digest): what is in each, and its content type.

    `addresses` are the static ones that the machine is told to take.
    """

    ticket: str
    files: Mapping[str, tuple[bytes, str]]
    addresses: frozenset[str] = frozenset()
    sums: Mapping[str, str] = field(init=False)
    """The SHA-256 of each file."""

    def __post_init__(self) -> None:
        """Sum the files up once."""
        sums = {name: hashlib.sha256(text).hexdigest() for name, (text, _) in self.files.items()}
        object.__setattr__(self, "sums", sums)

    def beside(self, first: Handout) -> Handout:
        """Give the files of `first`, and of these what it does not have: it could not be made then."""
        return Handout(first.ticket, {**self.files, **first.files}, first.addresses)

    @property
    def octets(self) -> int:
        """Say how large its files are."""
        return sum(len(text) for text, _ in self.files.values())


class Handouts:
    """The files of boots under way, by the machine's id: one boot each, its newest."""

    def __init__(self, max_octets: int = MAX_OCTETS) -> None:
        self._max_octets = max_octets
        self._of: OrderedDict[str, Handout] = OrderedDict()
        self._octets = 0

    def of(self, machine: str, ticket: str) -> Handout | None:
        """Give the files of a ticket, once one of them was fetched."""
        found = self._of.get(machine)
        return found if found is not None and found.ticket == ticket else None

    def addresses(self, machine: str) -> frozenset[str] | None:
        """Give the static addresses that a machine was told to take; None where it has no file yet."""
        found = self._of.get(machine)
        return found.addresses if found is not None else None

    def keep(self, machine: str, handout: Handout) -> Handout:
        """Give these from now on, and return what is given: what was made first stays as it is."""
        if (first := self.of(machine, handout.ticket)) is not None:
            handout = handout.beside(first)
        self._drop(machine)
        self._of[machine] = handout
        self._octets += handout.octets
        while self._octets > self._max_octets:
            self._drop(next(iter(self._of)))
        return handout

    def follow(self, before: Machine | None, after: Machine | None) -> None:
        """Forget the files of a boot whose run is over."""
        if before is not None and (after is None or after.run is None or after.run.step is None):
            self._drop(before.id)

    def _drop(self, machine: str) -> None:
        gone = self._of.pop(machine, None)
        self._octets -= gone.octets if gone is not None else 0
