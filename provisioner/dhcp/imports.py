"""Imports of what another server had, of both families: durable, then live; whole, or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from provisioner.dhcp.adopt import Judge, Verdict, Want, What
from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.errors import StoreError
from provisioner.store.dhcpbook import DhcpBookStore
from provisioner.uncut import uncut

log = logging.getLogger(__name__)

SLICE = 100
"""Entries judged or applied at once: about a millisecond of the loop."""


class Taken(NamedTuple):
    """What became of an import. Not `applied`: nothing was changed."""

    verdicts: list[Verdict]
    applied: bool


class Book(Protocol):
    """What is changed: `dhcp.book.DhcpBook`, `dhcp.v6.book.Dhcp6Book`."""

    lock: asyncio.Lock
    """Held by who changes anything."""

    def now(self) -> float: ...

    async def judge(self) -> Judge:
        """Give what judges one import by what there is now."""

    def adopt(self, reservation: Reservation | Reservation6) -> None:
        """Make live what is durable by now."""

    def tell(self, lease: Lease) -> None:
        """Tell who follows leases of one."""

    async def store_again(self, ips: Iterable[int]) -> None:
        """Store what is on record of these addresses now; raises `StoreError`, and then it is owed."""


class Imports:
    """Takes over into the books of both families."""

    def __init__(self, book: Book, book6: Book, store: DhcpBookStore) -> None:
        self._books = {False: book, True: book6}
        self._store = store

    async def take_over(self, wants: Sequence[Want], *, dry_run: bool = False, keep_going: bool = False) -> Taken:
        """Take over what another server had: all of it in one transaction, or nothing where anything is in conflict.

        With `keep_going` what is in conflict is left out. Addresses are kept for their machines while the transaction
        becomes durable. Raises `StoreError`, and nothing changed then.
        """
        async with self._books[False].lock, self._books[True].lock:
            judges = {six: await book.judge() for six, book in self._books.items()}
            verdicts: list[Verdict] = []
            applied = False
            try:
                fit = True
                for at in range(0, len(wants), SLICE):
                    judged = [self._judged(judges[want.six], want, hold=not dry_run) for want in wants[at : at + SLICE]]
                    fit = fit and not any(verdict.what is What.CONFLICT for verdict in judged)
                    verdicts += judged
                    await asyncio.sleep(0)
                if not dry_run and (fit or keep_going):
                    with uncut() as whole:
                        await whole(self._store.take_over(verdicts))
                        applied = True
                        await whole(self._apply(verdicts))
                        log.info("dhcp.imported entries=%d", len(verdicts))
            finally:
                if not applied and not dry_run:
                    await _let_go(verdicts)
        return Taken(verdicts, applied)

    def _judged(self, judge: Judge, want: Want, *, hold: bool) -> Verdict:
        verdict = judge.judge(want)
        if hold and verdict.pool is not None and verdict.leases and not verdict.pool.is_fixed(want.ip):
            verdict.pool.offer(verdict.leases[0].key, want.ip, self._books[want.six].now())
        return verdict

    async def _apply(self, verdicts: Sequence[Verdict]) -> None:
        """Make live what is durable by now, and store again what became otherwise meanwhile."""
        stale: dict[bool, set[int]] = {six: set() for six in self._books}
        for at in range(0, len(verdicts), SLICE):
            for verdict in verdicts[at : at + SLICE]:
                book = self._books[verdict.want.six]
                if verdict.reservation is not None:
                    book.adopt(verdict.reservation)
                stale[verdict.want.six].update(_bind(book, verdict))
            await asyncio.sleep(0)
        for six, ips in stale.items():
            try:
                await self._books[six].store_again(ips)
            except StoreError as error:
                log.error("dhcp.lease-unsaved answers=0 error=%s", error)


def _bind(book: Book, verdict: Verdict) -> tuple[int, ...]:
    """Give a lease to its machine, unless that has got a longer one meanwhile, or another one, which it uses now.

    Gives the addresses of which the import stored what is not so.
    """
    if verdict.pool is None or not verdict.leases:
        return ()
    lease, pool, now = verdict.leases[0], verdict.pool, book.now()
    before = pool.of(lease.key)
    own = before is not None and before.active(now) and (before.ip != lease.ip or before.until >= lease.until)
    if not own and pool.free_for(lease.key, lease.ip, now):
        rows = pool.bind(lease)
        book.tell(lease)
        return tuple(each.ip for each in rows[1:])
    if lease.ip not in pool.by_ip:
        pool.load((lease._replace(state=LeaseState.RELEASED, until=now),))
    return (lease.ip,) if before is None else (lease.ip, before.ip)


async def _let_go(verdicts: Sequence[Verdict]) -> None:
    """Keep the addresses of an import no longer that came to nothing."""
    for at, verdict in enumerate(verdicts, 1):
        key = verdict.leases[0].key if verdict.leases else b""
        if verdict.pool is not None and verdict.pool.offered(key) == verdict.want.ip:
            verdict.pool.withdraw(key)
        if at % SLICE == 0:
            await asyncio.sleep(0)
