"""The ways to one machine's board: which of its BMC addresses a verb is asked of, in the order that evidence gives.

A way that cannot do the verb has done nothing, so the next one is asked; so it is where a way is silent and doing the
verb twice is the same as doing it once. Whatever else goes wrong is the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from provisioner.bmc.rotation import Way, ways_of
from provisioner.bmc.table import VERBS
from provisioner.errors import BmcError, BmcUnreachable, BmcUnsupported
from provisioner.model.bmc import BmcAddress
from provisioner.model.machine import Machine

log = logging.getLogger(__name__)

T = TypeVar("T")
Login = tuple[BmcAddress, str]
Call = Callable[[BmcAddress, str], Awaitable[T]]


class Order(Protocol):
    """What is needed of the BMCs."""

    async def order(self, verb: str, logins: Sequence[Login]) -> Sequence[Login]:
        """Put the ways to one board in order for a verb; those that failed it are left out."""
        ...


class Passwords(Protocol):
    """What is needed of the store."""

    async def get(self, name: str) -> str: ...


class Ways:
    """Asks machines' boards, each by the way that can."""

    def __init__(self, bmcs: Order, passwords: Passwords) -> None:
        self._bmcs = bmcs
        self._passwords = passwords

    async def first(self, machine: Machine) -> Login:
        """Return the first address and its password; raise `ConflictError` where there is none."""
        return await self._login(ways_of(machine)[0])

    async def all(self, machine: Machine) -> list[Login]:
        """Return every address with its password, in the operator's order."""
        return [await self._login(way) for way in ways_of(machine)]

    async def _login(self, way: Way) -> Login:
        return way.address, await self._passwords.get(way.secret)

    async def ask(self, machine: Machine, verb: str, call: Call[T]) -> T:
        """Do a verb by the first way that can. Raises the `BmcError` of the last that was asked."""
        if not machine.more_bmcs:
            return await call(*await self.first(machine))
        logins = await self.all(machine)
        order = list(await self._bmcs.order(verb, logins)) or logins[:1]
        last: BmcError | None = None
        for address, password in order:
            try:
                return await call(address, password)
            except (BmcUnsupported, BmcUnreachable) as error:
                if isinstance(error, BmcUnreachable) and not VERBS[verb].again:
                    raise
                log.warning("bmc.next-way machine=%s bmc=%s verb=%s", machine.name, address, verb)
                last = error
        assert last is not None
        raise last
