"""Answers that wait until their leases are durable: bounded, stored together, sent or refused together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from provisioner.dhcp.leases import Lease
from provisioner.errors import StoreError

log = logging.getLogger(__name__)

L = TypeVar("L")
A = TypeVar("A")


class Store(Protocol):
    """Where leases are kept durably."""

    def save(self, leases: list[Lease]) -> asyncio.Future[None]: ...


class Held(Generic[L, A]):
    """The answers (`A`) of one server, each with the link (`L`) that it leaves by."""

    def __init__(
        self,
        store: Store,
        *,
        finish: Callable[[L, list[A]], None],
        refuse: Callable[[A, str], A],
        tell: Callable[[Lease], None],
        limit: int,
    ) -> None:
        """Hold at most `limit` answers; beyond it a request is dropped: the client asks again."""
        self._store = store
        self._finish = finish
        self._refuse = refuse
        """Give the silence instead of an answer, and why."""
        self._tell = tell
        self.limit = limit
        self._count = 0

    def hold(self, link: L, answers: list[A], leases: list[Lease]) -> None:
        """Keep answers back until their leases are durable: one submission for all of them."""
        if self._count + len(answers) > self.limit:
            self._drop(link, answers, "too many answers wait for the disk")
            return
        self._count += len(answers)
        self._store.save(leases).add_done_callback(partial(self._release, link, answers, leases))

    def _release(self, link: L, answers: list[A], leases: list[Lease], saved: asyncio.Future[None]) -> None:
        self._count -= len(answers)
        error = saved.exception() if not saved.cancelled() else StoreError("the store was closed")
        if error is not None:
            log.error("dhcp.lease-unsaved answers=%d error=%s", len(answers), error)
            self._drop(link, answers, f"the lease could not be stored: {error}")
            return
        for lease in leases:
            self._tell(lease)
        self._finish(link, answers)

    def _drop(self, link: L, answers: list[A], why: str) -> None:
        self._finish(link, [self._refuse(each, why) for each in answers])
