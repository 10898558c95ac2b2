"""Is an address in use: what to send when, and when to believe the silence. A value machine, no I/O.

On a wire of our own it is asked as RFC 5227 section 2.1.1 asks, with no sender address, so that nobody learns anything
false, and then by an echo request to all, which finds hosts that do not answer ARP. Where a router lies between, there
is only the echo request. RFC 5227 waits for up to nine seconds; a client that boots waits for its offer meanwhile, so
this takes a third of a second.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

MOST = 4096
"""Looks under way, about 2 MB. Of a rack that powers on at once each machine is one of them."""


class Way(Enum):
    """What is sent."""

    ARP = "arp"
    ECHO = "echo"
    ROUTED = "routed"


ON_WIRE = ((0.0, Way.ARP), (0.1, Way.ARP), (0.15, Way.ECHO))
BEHIND_ROUTER = ((0.0, Way.ROUTED), (0.15, Way.ROUTED))
VERDICT_S = 0.3
"""When nobody has answered until then, nobody uses the address."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address, and where it is looked for: `interface` empty, the kernel routes."""

    interface: str
    address: int
    us: int = 0

    @property
    def steps(self) -> tuple[tuple[float, Way], ...]:
        """What is sent, and when."""
        steps = ON_WIRE if self.interface else BEHIND_ROUTER
        return tuple(step for step in steps if self.us or step[1] is not Way.ECHO)


class Send(NamedTuple):
    """Send this."""

    way: Way
    target: Target


class Verdict(NamedTuple):
    """Who uses an address; empty: nobody answered."""

    id: int
    user: str


class Looking:
    """All looks under way."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._under_way: dict[int, Target] = {}
        self._by_address: dict[int, list[int]] = {}
        self._timers: list[tuple[float, int, int, Way | None]] = []
        """When, a number that keeps the order, which look, what to send (None: the verdict)."""
        self._order = itertools.count()
        self._over: list[Verdict] = []
        self.refused = 0
        """Looks that were not made, since too many were under way."""

    def begin(self, id: int, target: Target, now: float) -> None:
        """Look for whoever uses an address."""
        if len(self._under_way) >= self._most or id in self._under_way:
            self.refused += 1
            self._over.append(Verdict(id, ""))
            return
        self._under_way[id] = target
        self._by_address.setdefault(target.address, []).append(id)
        for after, way in target.steps:
            heapq.heappush(self._timers, (now + after, next(self._order), id, way))
        heapq.heappush(self._timers, (now + VERDICT_S, next(self._order), id, None))

    def waits_for(self, address: int) -> bool:
        """Say whether an answer from this address matters."""
        return address in self._by_address

    def answered(self, interface: str, address: int, user: str) -> None:
        """Hear that somebody uses an address: `interface` empty where that is not known."""
        for id in list(self._by_address.get(address, ())):
            where = self._under_way[id].interface
            if not where or not interface or where == interface:
                self._end(id, user)

    def due(self, now: float) -> tuple[list[Send], list[Verdict]]:
        """Say what is to be sent by now, and what is known."""
        sends: list[Send] = []
        while self._timers and self._timers[0][0] <= now:
            _, _, id, way = heapq.heappop(self._timers)
            target = self._under_way.get(id)
            if target is None:
                continue
            if way is None:
                self._end(id, "")
            else:
                sends.append(Send(way, target))
        over, self._over = self._over, []
        return sends, over

    def next_at(self) -> float | None:
        """Say when `due` has to be asked again; None while nothing is under way."""
        while self._timers and self._timers[0][2] not in self._under_way:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _end(self, id: int, user: str) -> None:
        target = self._under_way.pop(id)
        others = self._by_address[target.address]
        others.remove(id)
        if not others:
            del self._by_address[target.address]
        self._over.append(Verdict(id, user))
