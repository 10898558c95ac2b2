"""DHCP servers that should not be there: when one is new, still there, or gone. No I/O.

One that answers our own questions is gone when it left some of them unanswered. One that was only heard of (its answers
went to others, or a machine behind a relay chose it) is forgotten when nothing was heard of it for long.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

MOST = 8
"""Servers remembered of one place; two are rare. Somebody who makes up more is the same trouble: it is told of once."""
GONE_AFTER = 3
"""Questions of ours left unanswered: packets get lost, servers restart."""
QUIET_S = 3600.0


class How(StrEnum):
    """How it came to notice."""

    OFFER = "offered an address"
    BOOT = "offered boot information"
    ACK = "gave an address"
    NAK = "refused an address"
    CHOSEN = "was chosen by a machine"
    """Hearsay: a machine names a server, which need not exist."""
    OFFER6 = "offered an IPv6 address"
    REPLY6 = "gave an IPv6 address"
    ROUTER = "advertises itself as a router"


class Sighting(NamedTuple):
    """Something that a server did."""

    place: str
    """The interface; where a relay lies between, the subnet."""
    server: str
    how: How
    mac: str = ""
    asked: bool = False
    """It answered our own question."""
    duid: bytes = b""
    """Who it says that it is, in DHCPv6: it may answer from another address at any time."""

    @property
    def key(self) -> Key:
        """What it is known by."""
        return _key(self.place, self.server, self.how, self.duid)


Key = tuple[str, str | bytes, bool]
"""The place, the address (of DHCPv6 the DUID), and whether it was seen as a router."""


def _key(place: str, server: str, how: How, duid: bytes) -> Key:
    return place, duid or server, how is How.ROUTER


@dataclass(frozen=True, slots=True)
class Rogue:
    """A DHCP server that should not be there."""

    place: str
    server: str
    how: How
    first: float
    last: float
    mac: str = ""
    answers: bool = False
    """It answers our questions: then so it does everybody's."""
    gives: bool = False
    """It answers them with addresses, not only with something to boot."""
    missed: int = 0
    duid: bytes = b""

    @property
    def key(self) -> Key:
        """What it is known by."""
        return _key(self.place, self.server, self.how, self.duid)

    @property
    def six(self) -> bool:
        """It is one of DHCPv6, or a router of IPv6."""
        return ":" in self.server

    @property
    def certainty(self) -> int:
        """How far it can be made up: by a word of a machine, by a message, by an answer to our own question."""
        return max(self.how is not How.CHOSEN, 2 * self.answers, 3 * self.gives)


class Rogues:
    """All that are known, some of each place: in one that is full, the more certain take the place of the less."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: dict[Key, Rogue] = {}
        self._given_up: list[Rogue] = []

    def __iter__(self) -> Iterator[Rogue]:
        return iter(list(self._known.values()))

    def seen(self, sighting: Sighting, now: float) -> Rogue | None:
        """Take note; give the server where it is a new one."""
        known = self._known.get(sighting.key)
        base = known or Rogue(sighting.place, sighting.server, sighting.how, now, now, duid=sighting.duid)
        found = replace(
            base,
            how=sighting.how if base.how is How.CHOSEN else base.how,
            server=sighting.server,
            last=now,
            mac=sighting.mac or base.mac,
            answers=base.answers or sighting.asked,
            gives=base.gives or (sighting.asked and sighting.how is How.OFFER),
            missed=0 if sighting.asked or not base.answers else base.missed,
        )
        if known is None and not self._make_room(found):
            return None
        self._known[found.key] = found
        return found if known is None else None

    def remember(self, place: str, server: str, now: float) -> None:
        """Take up one that gave addresses when the daemon ended: until it leaves questions unanswered it is there."""
        known = Rogue(place, server, How.OFFER, now, now, answers=True, gives=True)
        self._known[known.key] = known

    def _make_room(self, new: Rogue) -> bool:
        """Give up the least certain of its place where that is full, the one unheard of for longest; False: none is."""
        here = [rogue for rogue in self if rogue.place == new.place]
        if len(here) < self._most:
            return True
        least = min(here, key=lambda rogue: (rogue.certainty, rogue.last))
        if least.certainty >= new.certainty:
            return False
        self._forget(least)
        self._given_up.append(least)
        return True

    def _forget(self, rogue: Rogue) -> None:
        del self._known[rogue.key]

    def asked(self, place: str, *, six: bool = False) -> None:
        """A question of ours was asked there, by DHCPv6 where it is `six`."""
        for key, rogue in self._known.items():
            if rogue.place == place and rogue.answers and rogue.six is six:
                self._known[key] = replace(rogue, missed=rogue.missed + 1)

    def gone(self, now: float) -> list[Rogue]:
        """Forget those that are gone, and name them, with those that were given up for others."""
        over = [rogue for rogue in self if _is_gone(rogue, now)]
        for rogue in over:
            self._forget(rogue)
        given_up, self._given_up = self._given_up, []
        return given_up + over


def _is_gone(rogue: Rogue, now: float) -> bool:
    return rogue.missed > GONE_AFTER if rogue.answers else now - rogue.last > QUIET_S
