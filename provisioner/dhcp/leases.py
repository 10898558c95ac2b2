"""Who holds which address: one pool's leases and offers, as a value machine. No I/O; time comes in as `now`.

A lease belongs to a hardware address first, whatever client identifier the software on it sends: ROM, installer and
installed system of one machine get the same address.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple


class LeaseState(StrEnum):
    """What a lease row says. An expired lease is a bound one whose time is over."""

    BOUND = "bound"
    RELEASED = "released"
    DECLINED = "declined"


DECLINED_SHARE = 4
"""Up to a quarter of a pool may be declined for long."""
DOUBTED_S = 60.0
FOR_EVER = float(0xFFFFFFFF)
"""The end of a lease that has none: a BOOTP client's, or one of another server."""
BOOTP = "BOOTP: its own as long as it is fixed for it"
"""The reason in the lease of a BOOTP client."""
MOST_S = 2.0**32
"""The longest that DHCP can say, and so the longest that a lease lasts from now."""

_BOUND, _RELEASED, _DECLINED = LeaseState.BOUND, LeaseState.RELEASED, LeaseState.DECLINED


class Lease(NamedTuple):
    """One address and who holds it (or held it last). Times are seconds since the epoch."""

    ip: int
    key: bytes
    """Hardware address (`Packet.key`); empty where a declined address has no holder."""
    pool: str
    until: float
    state: LeaseState = LeaseState.BOUND
    since: float = 0.0
    name: str = ""
    client_id: bytes = b""
    relay: int = 0
    circuit_id: bytes = b""
    remote_id: bytes = b""
    reason: str = ""
    machine: bytes = b""
    """The hardware address of record, where its holder is another port of that machine, known by its UUID."""

    def active(self, now: float) -> bool:
        """Say whether its holder may use the address."""
        return self.state is _BOUND and self.until > now


_until = attrgetter("until")


def sound(lease: Lease, now: float) -> Lease:
    """Give a stored lease with times that can be: a clock may have been wrong when it was written.

    One that begins later than now begins now, and has its own length; none lasts longer than `MOST_S`, and one that was
    given back is over.
    """
    ahead = max(lease.since - now, 0.0)
    until = lease.until if lease.until >= FOR_EVER else lease.until - ahead
    until = min(until, now if lease.state is _RELEASED else now + MOST_S)
    return lease if until == lease.until and not ahead else lease._replace(since=lease.since - ahead, until=until)


class Offer(NamedTuple):
    """An address that is kept for a while for the one that it was offered to."""

    ip: int
    until: float


class Pool:
    """The addresses of one pool, and the fixed addresses of its subnet.

    `ranges` are inclusive and do not overlap. A fixed address may lie inside or outside; it is never given to others.
    All calls take constant time, or logarithmic where a lease has run out.
    """

    def __init__(self, name: str, ranges: Sequence[tuple[int, int]], *, offer_s: float = 30.0, spare: int = 0) -> None:
        self.name = name
        self.ranges = tuple(ranges)
        self.size = sum(high - low + 1 for low, high in ranges)
        self.offer_s = offer_s
        self.spare = spare
        """Free addresses that only known machines may use up."""
        self.by_ip: dict[int, Lease] = {}
        self._by_key: dict[bytes, int] = {}
        self._fixed: dict[int, int] = {}
        """Fixed addresses: how many reservations name them."""
        self._fixed_inside = 0
        self._offers: dict[bytes, Offer] = {}
        self._offered: dict[int, bytes] = {}
        self._oldest_until = 0.0
        """No offer ends before."""
        self._timers: list[tuple[float, int]] = []
        self._timed: dict[int, float] = {}
        """When to look at a lease again: at its end, or earlier where it was renewed since."""
        self._free: OrderedDict[int, None] = OrderedDict()
        """Pool addresses that were used and are not any more, the one unused for longest first."""
        self._declined: set[int] = set()
        self._untouched = itertools.chain.from_iterable(range(low, high + 1) for low, high in ranges)
        self._head = next(self._untouched, None)
        """The next address that nobody had yet: it stays so until somebody takes it."""

    def load(self, leases: Iterable[Lease]) -> None:
        """Take over what another pool held. Those given back are timed, too: so all are free in the order they end."""
        for lease in sorted(leases, key=_until):
            self._put(lease)
            if lease.ip in self._free:
                self._time(lease.ip, lease.until, _BOUND)

    def go_by(self, offer_s: float, spare: int) -> None:
        """Go by other settings: what is offered is kept from then on as long as it were, had they been so before."""
        self._offers = dict(self._moved(offer_s))
        self._oldest_until = 0.0
        self.offer_s, self.spare = offer_s, spare

    def _moved(self, offer_s: float) -> Iterator[tuple[bytes, Offer]]:
        for key, offer in self._offers.items():
            yield key, Offer(offer.ip, offer.until - self.offer_s + offer_s)

    def keep_offers(self, before: Iterable[Pool]) -> None:
        """Take over what the pools before have offered here, so that a client in the middle is not turned away."""
        offers = [each for pool in before for each in pool._moved(self.offer_s)]
        for key, offer in sorted(offers, key=lambda each: each[1].until):
            if self.covers(offer.ip) and offer.ip not in self._fixed:
                self.withdraw(key)
                self._offers[key], self._offered[offer.ip] = offer, key
                self._free.pop(offer.ip, None)

    def covers(self, ip: int) -> bool:
        """Say whether the address lies in a range."""
        for low, high in self.ranges:  # noqa: SIM110  a generator costs more than the loop
            if low <= ip <= high:
                return True
        return False

    def of(self, key: bytes) -> Lease | None:
        """Give the lease that this machine holds or held last here."""
        ip = self._by_key.get(key)
        return None if ip is None else self.by_ip[ip]

    def knows(self, key: bytes) -> bool:
        """Say whether the machine has, had or is offered an address here."""
        return key in self._by_key or key in self._offers

    def serves(self, key: bytes, now: float) -> bool:
        """Say whether the machine holds an address here or is offered one: it takes nobody's by another instead."""
        lease = self.of(key)
        return (lease is not None and lease.active(now)) or self.keeps_for(key, now)

    def keeps_for(self, key: bytes, now: float) -> bool:
        """Say whether an address is kept for this machine."""
        offer = self._offers.get(key)
        return offer is not None and offer.until > now

    def holder(self, ip: int, now: float) -> bytes | None:
        """Give who may use the address now, or has it offered; empty: nobody may (declined); None: it is free."""
        lease = self.by_ip.get(ip)
        if lease is not None and lease.until > now and lease.state is not _RELEASED:
            return lease.key
        key = self._offered.get(ip)
        return key if key is not None and self._offers[key].until > now else None

    def free_for(self, key: bytes, ip: int, now: float) -> bool:
        """Say whether this machine may have the address: nobody else holds it or has it offered."""
        return self.holder(ip, now) in (None, key)

    def is_fixed(self, ip: int) -> bool:
        """Say whether a reservation names the address."""
        return ip in self._fixed

    def held(self, key: bytes, now: float) -> int | None:
        """Give the pool address that the machine has, had or is offered, if it may still have it."""
        ip = self._by_key.get(key)
        if ip is not None and self._may_have(key, ip, now):
            return ip
        offer = self._offers.get(key)
        return offer.ip if offer is not None and self._may_have(key, offer.ip, now) else None

    def pick(self, key: bytes, wanted: int, now: float, *, known: bool) -> int | None:
        """Choose a pool address for a machine that has none here: the one it wants, else the one unused for longest.

        None where the pool is used up, or what is left of it is kept for known machines.
        """
        if not self.has_room(now, known=known):
            return None
        return wanted if wanted and self._may_have(key, wanted, now) else self._next()

    def offer(self, key: bytes, ip: int, now: float) -> None:
        """Keep the address for a while."""
        if key in self._offers:
            self.withdraw(key)
        self._forget_offers(now)
        self._offers[key] = Offer(ip, now + self.offer_s)
        self._offered[ip] = key
        if ip in self._free:
            del self._free[ip]

    def offered(self, key: bytes) -> int | None:
        """Give the address that is kept for this machine."""
        offer = self._offers.get(key)
        return None if offer is None else offer.ip

    def has_offered(self, key: bytes, ip: int, now: float) -> bool:
        """Say whether this machine may take the address because it was offered: most do, and nothing else is asked."""
        offer = self._offers.get(key)
        if offer is None or offer[0] != ip or offer[1] <= now or ip in self._fixed:
            return False
        lease = self.by_ip.get(ip)
        return lease is None or lease.key == key or lease.state is _RELEASED or lease.until <= now

    def withdraw(self, key: bytes) -> None:
        """Forget what was offered to this machine; the address is the next to be given."""
        offer = self._offers.pop(key, None)
        if offer is None:
            return
        del self._offered[offer.ip]
        if offer.ip not in self._timed and self.covers(offer.ip):
            self._free[offer.ip] = None
            self._free.move_to_end(offer.ip, last=False)

    def bind(self, lease: Lease) -> tuple[Lease, ...]:
        """Give the address to the machine; what has to be stored: this lease, and the one that it replaces.

        It begins now or began earlier.
        """
        ip, key = lease[:2]
        offer = self._offers.get(key)
        if offer is not None:
            if offer[0] == ip:
                del self._offers[key], self._offered[ip]
            else:
                self.withdraw(key)
        former = self._by_key.get(key)
        self._put(lease)
        if former is None or former == ip:
            return (lease,)
        self._expire(lease.since)  # what ended earlier is unused for longer
        old = self.by_ip[former]
        return lease, self._put(old._replace(state=LeaseState.RELEASED, until=min(old.until, lease.since)))

    def release(self, key: bytes, ip: int, now: float) -> Lease | None:
        """End a machine's own lease; it gets the address back while nobody else needs it."""
        lease = self.by_ip.get(ip)
        if lease is None or lease.key != key or not lease.active(now):
            return None
        self._expire(now)  # what ended earlier is unused for longer
        return self._put(lease._replace(state=LeaseState.RELEASED, until=now))

    def decline(self, ip: int, now: float, seconds: float, reason: str) -> Lease:
        """Let nobody use the address for so long; only for a minute where much of the pool is declined already.

        That many conflicts are no accident: without this, one client could decline the whole pool away.
        """
        key = self._offered.get(ip)
        if key is not None:
            self.withdraw(key)
        self._expire(now)
        if len(self._declined) >= max(1, self.size // DECLINED_SHARE):
            seconds = min(seconds, DOUBTED_S)
        return self._put(Lease(ip, b"", self.name, now + seconds, LeaseState.DECLINED, now, reason=reason))

    def forgive(self, ip: int, now: float) -> Lease | None:
        """Let an address that was declined be used again; None where it was not."""
        lease = self.by_ip.get(ip)
        if lease is None or lease.state is not LeaseState.DECLINED or lease.until <= now:
            return None
        return self._put(lease._replace(until=now))

    def fix(self, ip: int) -> None:
        """Keep the address for a reservation."""
        self._fixed[ip] = self._fixed.get(ip, 0) + 1
        if self._fixed[ip] == 1:
            self._fixed_inside += self.covers(ip)
            self._timed.pop(ip, None)
            self._free.pop(ip, None)
            self._declined.discard(ip)

    def unfix(self, ip: int) -> None:
        """A reservation is gone: give its address back to the pool, if it lies in it, and offer it to others."""
        self._fixed[ip] -= 1
        if self._fixed[ip]:
            return
        if (key := self._offered.get(ip)) is not None:
            self.withdraw(key)
        del self._fixed[ip]
        self._fixed_inside -= self.covers(ip)
        lease = self.by_ip.get(ip)
        if lease is not None:
            self._put(lease)
        elif self.covers(ip):
            self._free[ip] = None

    def has_room(self, now: float, *, known: bool) -> bool:
        """Say whether a machine that has no address here may get one."""
        spare = 0 if known else self.spare
        busy = len(self._timed) + len(self._offers) + self._fixed_inside
        return self.size - busy > spare or self.size - self.used(now) > spare

    def used(self, now: float) -> int:
        """Count the pool's addresses that are held, offered, declined or fixed."""
        self._expire(now)
        self._forget_offers(now)
        return len(self._timed) + len(self._offers) + self._fixed_inside

    @property
    def declined(self) -> int:
        """Count the addresses that somebody else was found to use."""
        return len(self._declined)

    def _may_have(self, key: bytes, ip: int, now: float) -> bool:
        return self.covers(ip) and ip not in self._fixed and self.free_for(key, ip, now)

    def _put(self, lease: Lease) -> Lease:
        ip, key, _, until, state = lease[:5]
        before = self.by_ip.get(ip)
        if before is not None and before.key != key and self._by_key.get(before.key) == ip:
            del self._by_key[before.key]
        self.by_ip[ip] = lease
        if self._declined:
            self._declined.discard(ip)
        if key and (state is _BOUND or key not in self._by_key):
            self._by_key[key] = ip
        if ip not in self._fixed and self.covers(ip):
            self._time(ip, until, state)
        return lease

    def _time(self, ip: int, until: float, state: LeaseState) -> None:
        if state is _DECLINED:
            self._declined.add(ip)
        if state is _RELEASED:
            self._timed.pop(ip, None)
            self._is_over(ip)
            return
        if ip in self._free:
            del self._free[ip]
        recorded = self._timed.get(ip)
        if recorded is None or until < recorded:
            self._timed[ip] = until
            heapq.heappush(self._timers, (until, ip))

    def _next(self) -> int | None:
        while (ip := self._head) is not None:
            if ip not in self.by_ip and ip not in self._fixed and ip not in self._offered:
                return ip
            self._head = next(self._untouched, None)
        while self._free:
            ip = next(iter(self._free))
            if ip not in self._fixed:
                return ip
            del self._free[ip]
        return None

    def _expire(self, now: float) -> None:
        timers = self._timers
        while timers and timers[0][0] <= now:
            recorded, ip = heapq.heappop(timers)
            if self._timed.get(ip) != recorded:
                continue  # released, fixed or given anew since
            until = self.by_ip[ip].until
            if until > recorded:
                self._timed[ip] = until
                heapq.heappush(timers, (until, ip))
            else:
                del self._timed[ip]
                self._declined.discard(ip)
                self._is_over(ip)

    def _is_over(self, ip: int) -> None:
        """Nobody holds the address any more: it is free, unless it is offered already, maybe to another machine."""
        if ip not in self._offered:
            self._free[ip] = None

    def _forget_offers(self, now: float) -> None:
        """Take back what nobody took; offers end in the order in which they were made."""
        while self._offers and now >= self._oldest_until:
            key = next(iter(self._offers))
            self._oldest_until = self._offers[key].until
            if self._oldest_until <= now:
                self.withdraw(key)
