"""Answers that wait until their leases are durable: bounded, stored together, sent or refused together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from provisioner.dhcp.leases import Lease
from provisioner.errors import StoreError

log = logging.getLogger(__name__)

L = TypeVar("L")
A = TypeVar("A")
Lost = Mapping[int, str]
"""Replies that could not leave, by their place among those of a batch, and why."""
OWED_AT_ONCE = 1000
"""Leases of earlier saves that one save takes along: some milliseconds of the store's thread."""


class Store(Protocol):
    """Where leases are kept durably; `then` is called as soon as they are, in a thread of its own (`store.leases`)."""

    def save(self, leases: list[Lease], then: Callable[[], Any] | None = None) -> asyncio.Future[Any]: ...


class Held(Generic[L, A]):
    """The answers (`A`) of one server, each with the link (`L`) that it leaves by."""

    def __init__(  # noqa: PLR0913  all that differs between the families
        self,
        store: Store,
        *,
        leases_at: Callable[[int], Iterable[Lease]],
        leave: Callable[[L, list[A]], Lost],
        finish: Callable[[L, list[A], Lost], None],
        refuse: Callable[[A, str], A],
        tell: Callable[[Lease], None],
        limit: int,
    ) -> None:
        """Hold at most `limit` answers; beyond it a request is dropped: the client asks again."""
        self._store = store
        self._leases_at = leases_at
        """Give what is on record of an address now."""
        self._leave = leave
        """Send the replies among answers. May be called in the store's thread."""
        self._finish = finish
        """Do what is left to do, and tell, once they have left."""
        self._refuse = refuse
        """Give the silence instead of an answer, and why."""
        self._tell = tell
        self.limit = limit
        self._count = 0
        self._owed: set[int] = set()
        """Addresses of which the store knows less than we do; pools bound their number."""

    def hold(self, link: L, answers: list[A], leases: list[Lease]) -> None:
        """Keep answers back until their leases are durable: one submission for all of them.

        One that waits alone leaves from the store's thread, a tenth of a millisecond earlier. Many are better sent by
        the loop, which has woken up for others meanwhile: the threads would only take turns with the interpreter. They
        leave before this returns where their leases are as safe as they have to be by then.
        """
        if self._count + len(answers) > self.limit:
            self.owe(leases)
            self._drop(link, answers, "too many answers wait for the disk")
            return
        if self._owed:
            leases = list({lease.ip: lease for lease in (*self._take_owed(), *leases)}.values())
        self._count += len(answers)
        leave = partial(self._leave, link, answers)
        if self._count == 1:
            saved, later = self._store.save(leases, leave), None
        else:
            saved, later = self._store.save(leases), leave
        release = partial(self._release, link, answers, leases, later)
        if saved.done():
            release(saved)
        else:
            saved.add_done_callback(release)

    def owe(self, leases: Iterable[Lease]) -> None:
        """These could not be stored: what is on record of their addresses goes along with what is stored next.

        A client that asks again brings its new lease only, and not the end of the one before.
        """
        self._owed.update(lease.ip for lease in leases)

    async def keep(self, leases: list[Lease]) -> None:
        """Return when leases that no answer waits for are stored; raises `StoreError`, and then they are owed."""
        try:
            await self._store.save(leases)
        except StoreError:
            self.owe(leases)
            raise

    async def settle(self) -> None:
        """Return when all that waits is stored, with what the store is owed, or was refused."""
        while True:
            try:
                await self._store.save(self._take_owed())  # after what was submitted before, which may be owed by then
            except StoreError as error:
                log.error("dhcp.lease-unsaved answers=0 error=%s", error)
                return
            if not self._owed:
                return

    def _take_owed(self) -> list[Lease]:
        taken = list(islice(self._owed, OWED_AT_ONCE))
        self._owed.difference_update(taken)
        return [lease for ip in taken for lease in self._leases_at(ip)]

    def _release(
        self,
        link: L,
        answers: list[A],
        leases: list[Lease],
        leave: Callable[[], Lost] | None,
        saved: asyncio.Future[Lost],
    ) -> None:
        """Let answers leave that have not yet, and tell of them."""
        self._count -= len(answers)
        error = saved.exception() if not saved.cancelled() else StoreError("the store was closed")
        if error is not None:
            log.error("dhcp.lease-unsaved answers=%d error=%s", len(answers), error)
            self.owe(leases)
            self._drop(link, answers, f"the lease could not be stored: {error}")
            return
        lost = saved.result() if leave is None else leave()
        for lease in leases:
            self._tell(lease)
        self._finish(link, answers, lost)

    def _drop(self, link: L, answers: list[A], why: str) -> None:
        self._finish(link, [self._refuse(each, why) for each in answers], {})
