"""Image fan-out: from whom a machine takes each chunk of an image, so that the origin sends few copies. No I/O.

Machines that have chunks serve them to their neighbours; each chunk is checked against the daemon's list, so that a
neighbour can waste time and nothing else. The origin gives each chunk to one machine at a time, and again only when no
living neighbour has it, or when a machine got nothing for `PATIENCE_S`. Times are seconds on the caller's monotonic
clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import ip_address
from zlib import crc32

ORIGIN_AT_ONCE = 6
"""Chunks on their way from the origin: enough to fill its link, few enough that each is soon a neighbour's to give."""
UPLOADS = 4
"""Chunks that one machine serves at once; its own installation needs the link too."""
BATCH = 2
"""Chunks ordered in one answer."""
SCAN = 512
"""Chunks looked at for one answer: a list of thousands stays cheap."""
PATIENCE_S = 20.0
"""A machine that got nothing for so long takes from the origin, whatever the neighbours promise."""
ORDER_S = 90.0
"""An order that was not reported on by then is forgotten: its machine is gone, or its connection hangs."""
SILENT_S = 900.0
"""A machine that was not heard of for so long gives nothing any more."""
COMPLAINTS = 2
"""Machines that have to complain of a neighbour before nobody is sent there: one alone may be wrong, or lying."""
SUSPICIOUS = 4
"""A machine that complains of so many neighbours is the one with the fault: it takes from the origin alone."""
EXPIRE_EVERY_S = 1.0
MAX_PEERS = 4096
WAIT_S = 0.3


class Outcome(StrEnum):
    """What a machine says of a chunk that it was to get."""

    GOT = "got"
    BAD = "bad"  # its hash is not the one of the list
    LACKS = "lacks"  # it is not there (any more)
    GONE = "gone"  # no answer, or not all of it


@dataclass(frozen=True, slots=True)
class Report:
    """What a machine tells before it asks for more.

    It wants chunks from `low` to below `high` only (it writes them in order and has no room for all), and keeps none
    below `dropped`.
    """

    outcomes: tuple[tuple[Outcome, int], ...] = ()
    low: int = 0
    high: int | None = None
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """Take a chunk from a neighbour's base URL; None: from the origin."""

    index: int
    source: str | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to take now."""

    seconds: float = WAIT_S


@dataclass(frozen=True, slots=True)
class Done:
    """The machine has everything that it wanted."""


@dataclass(slots=True)
class Taken:
    """Chunks that arrived whole, by who gave them; and whether anybody was told, once they are all."""

    origin: int = 0
    neighbours: int = 0
    is_told: bool = False


@dataclass(slots=True)
class _Sent:
    """An order that was not reported on yet."""

    source: str | None  # name of the neighbour; None: the origin
    due: float


@dataclass(slots=True)
class _Peer:
    name: str
    url: str
    network: bytes
    heard: float
    got_at: float
    had: set[int] = field(default_factory=set)
    """Received at some time."""
    gives: set[int] = field(default_factory=set)
    """Kept still."""
    orders: dict[int, _Sent] = field(default_factory=dict)
    taken: Taken = field(default_factory=Taken)
    uploads: int = 0
    shuns: set[str] = field(default_factory=set)
    accused_by: set[str] = field(default_factory=set)


class Swarm:
    """The machines that want one image of `count` chunks."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.from_origin = 0
        """Chunks that the origin was asked for."""
        self._peers: dict[str, _Peer] = {}
        self._holders: list[set[str]] = [set() for _ in range(count)]
        self._origin: dict[tuple[str, int], float] = {}
        self._expire_at = 0.0

    def __len__(self) -> int:
        return len(self._peers)

    def join(self, name: str, url: str, address: str, have: Iterable[int], now: float) -> bool:
        """Take a machine in, with the chunks that it has already; False where there are too many machines."""
        self.leave(name)
        if len(self._peers) >= MAX_PEERS:
            return False
        peer = _Peer(name, url, _network(address), now, now)
        self._peers[name] = peer
        for index in have:
            if 0 <= index < self.count:
                self._keep(peer, index)
        return True

    def leave(self, name: str) -> None:
        """Forget a machine and everything that it was to give or to get."""
        peer = self._peers.pop(name, None)
        if peer is None:
            return
        for index in list(peer.orders):
            self._settle(peer, index)
        for index in peer.gives:
            self._holders[index].discard(name)
        for other in self._peers.values():
            for index in [index for index, sent in other.orders.items() if sent.source == name]:
                del other.orders[index]

    def next(self, name: str, report: Report, now: float) -> tuple[Order, ...] | Wait | Done | None:
        """Hear a machine's report and say what it takes next; None: it is not known (any more), and has to join."""
        peer = self._peers.get(name)
        if peer is None:
            return None
        peer.heard = now
        self._expire(now)
        for outcome, index in report.outcomes:
            self._heard(peer, outcome, index, now)
        for index in [index for index in peer.gives if index < report.dropped]:
            peer.gives.discard(index)
            self._holders[index].discard(name)
        high = self.count if report.high is None else min(report.high, self.count)
        wanted = self._wanted(peer, max(report.low, 0), high)
        orders = tuple(self._choose(peer, wanted, now))
        if orders:
            return orders
        return Done() if high == self.count and not wanted and not peer.orders else Wait()

    def taken(self, name: str) -> Taken:
        """Say what a machine got since it joined; nothing where it is not known."""
        peer = self._peers.get(name)
        return Taken() if peer is None else peer.taken

    # choosing

    def _choose(self, peer: _Peer, wanted: list[int], now: float) -> Iterator[Order]:
        impatient = now - peer.got_at > PATIENCE_S
        alone = len(peer.shuns) >= SUSPICIOUS
        for _ in range(BATCH):
            index = self._origin_next(peer, wanted, anything=impatient or alone)
            if index is not None:
                self._send(peer, index, None, now)
                yield Order(index, None)
            elif not alone and (found := self._neighbour_next(peer, wanted)) is not None:
                index, other = found
                self._send(peer, index, other, now)
                yield Order(index, other.url)
            else:
                return
            wanted.remove(index)

    def _wanted(self, peer: _Peer, low: int, high: int) -> list[int]:
        """List what a machine lacks. In a whole image each begins elsewhere, so that they have something to give."""
        span = high - low
        if span <= 0:
            return []
        begin = crc32(peer.name.encode()) % span if (low, high) == (0, self.count) else 0
        found = []
        for step in range(span):
            index = low + (begin + step) % span
            if index not in peer.had and index not in peer.orders:
                found.append(index)
                if len(found) == SCAN:
                    break
        return found

    def _origin_next(self, peer: _Peer, wanted: list[int], *, anything: bool) -> int | None:
        """Choose what the origin sends: what no neighbour that this machine believes has, and none is about to have."""
        if len(self._origin) >= ORIGIN_AT_ONCE and not anything:
            return None
        coming = {index for _, index in self._origin}
        for index in wanted:
            if anything or (index not in coming and not self._holders[index] - peer.shuns):
                return index
        return None

    def _neighbour_next(self, peer: _Peer, wanted: list[int]) -> tuple[int, _Peer] | None:
        """Choose the rarest chunk that a neighbour with room can give, and the best of these neighbours."""
        best: tuple[int, int, _Peer] | None = None
        for index in wanted:
            holders = self._holders[index]
            if best is not None and len(holders) >= best[0]:
                continue
            givers = [self._peers[name] for name in holders if self._may_give(name, peer)]
            if givers:
                giver = min(givers, key=lambda other: (other.network != peer.network, other.uploads))
                best = (len(holders), index, giver)
                if best[0] == 1:
                    break
        return None if best is None else (best[1], best[2])

    def _may_give(self, name: str, peer: _Peer) -> bool:
        other = self._peers[name]
        return name != peer.name and name not in peer.shuns and other.uploads < UPLOADS

    # keeping count

    def _send(self, peer: _Peer, index: int, other: _Peer | None, now: float) -> None:
        peer.orders[index] = _Sent(None if other is None else other.name, now + ORDER_S)
        if other is None:
            self._origin[peer.name, index] = now + ORDER_S
            self.from_origin += 1
        else:
            other.uploads += 1

    def _settle(self, peer: _Peer, index: int) -> str | None:
        """End an order; say which neighbour it was with."""
        sent = peer.orders.pop(index, None)
        self._origin.pop((peer.name, index), None)
        if sent is None or sent.source is None:
            return None
        if (other := self._peers.get(sent.source)) is not None:
            other.uploads = max(0, other.uploads - 1)
        return sent.source

    def _heard(self, peer: _Peer, outcome: Outcome, index: int, now: float) -> None:
        if not 0 <= index < self.count or index not in peer.orders:
            return  # of an order that nobody gave, or that is forgotten
        source = self._settle(peer, index)
        if outcome is Outcome.GOT:
            peer.got_at = now
            peer.taken.origin += source is None
            peer.taken.neighbours += source is not None
            self._keep(peer, index)
        elif outcome is Outcome.LACKS and source in self._peers:
            self._peers[source].gives.discard(index)
            self._holders[index].discard(source)
        elif source is not None:
            self._complain(peer, source)

    def _keep(self, peer: _Peer, index: int) -> None:
        peer.had.add(index)
        peer.gives.add(index)
        if len(peer.accused_by) < COMPLAINTS:
            self._holders[index].add(peer.name)

    def _complain(self, peer: _Peer, source: str) -> None:
        """Send a machine to this neighbour no more, and after enough complaints nobody."""
        peer.shuns.add(source)
        other = self._peers.get(source)
        if other is None or len(peer.shuns) > SUSPICIOUS:
            return
        other.accused_by.add(peer.name)
        if len(other.accused_by) >= COMPLAINTS:
            for index in other.gives:
                self._holders[index].discard(source)

    def _expire(self, now: float) -> None:
        if now < self._expire_at:
            return
        self._expire_at = now + EXPIRE_EVERY_S
        for (name, index), due in list(self._origin.items()):
            if now > due:
                self._settle(self._peers[name], index)
        for other in list(self._peers.values()):
            if now - other.heard > SILENT_S:
                self.leave(other.name)
                continue
            for index in [index for index, sent in other.orders.items() if now > sent.due]:
                self._settle(other, index)


def _network(address: str) -> bytes:
    """The part of an address that neighbours on a cable have in common: /24, /64."""
    try:
        packed = ip_address(address).packed
    except ValueError:
        return b""
    return packed[:3] if len(packed) == 4 else packed[:8]
