"""The ways to one machine's board: which of its BMC addresses a verb is asked of, in the order that evidence gives.

A way that cannot do the verb, or whose console refuses us, has done nothing, so the next one is asked; so it is where a
way is silent and doing the verb twice is the same as doing it once. Where a password is refused that a rotation may
have replaced at the board, the new one is tried. Whatever else goes wrong is the answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from provisioner.bmc.join import stranger
from provisioner.bmc.rotation import Secrets, Way, next_of, turn, ways_of
from provisioner.bmc.table import VERBS
from provisioner.errors import (
    BmcAuthError,
    BmcConsoleRefused,
    BmcError,
    BmcNotTrusted,
    BmcStranger,
    BmcUnreachable,
    BmcUnsupported,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity
from provisioner.model.machine import Machine

log = logging.getLogger(__name__)

T = TypeVar("T")
Login = tuple[BmcAddress, str]
Call = Callable[[BmcAddress, str], Awaitable[T]]


class Order(Protocol):
    """What is needed of the BMCs."""

    async def whose(self, address: BmcAddress, password: str) -> BmcIdentity: ...

    async def meet(self, address: BmcAddress, password: str) -> BmcIdentity:
        """The same in the turn of a change."""
        ...

    async def order(self, verb: str, logins: Sequence[Login]) -> Sequence[Login]:
        """Put the ways to one board in order for a verb; those that failed it are left out."""
        ...


class Ways:
    """Asks machines' boards, each by the way that can.

    Addresses move from board to board, and a site may have one account for all: before anything is changed a board is
    asked whose it is. `like` lists the machines on record that a board may be of.
    """

    def __init__(self, bmcs: Order, passwords: Secrets, like: Callable[[BmcIdentity], Iterable[Machine]]) -> None:
        self._bmcs = bmcs
        self._passwords = passwords
        self._like = like

    async def first(self, machine: Machine) -> Login:
        """Return the first address and its password; raise `ConflictError` where there is none."""
        return await self._login(ways_of(machine)[0])

    async def all(self, machine: Machine) -> list[Login]:
        """Return every address with its password, in the operator's order."""
        return [await self._login(way) for way in ways_of(machine)]

    async def _login(self, way: Way) -> Login:
        return way.address, await self._passwords.get(way.secret)

    async def look(self, machine: Machine) -> None:
        """See that a machine's board lets us in, and that it is its. Raises `BmcError`."""

        async def looked(address: BmcAddress, password: str) -> None:
            await self._check(machine, address, self._bmcs.whose(address, password))

        await self.ask(machine, "identify", looked)

    async def look_everywhere(self, machine: Machine) -> None:
        """See the same of every way to it. Raises `BmcError`."""

        async def looked(address: BmcAddress, password: str) -> None:
            await self._check(machine, address, self._bmcs.whose(address, password))

        for login in await self.all(machine):
            await self._asked(machine, login, looked)

    async def ask(self, machine: Machine, verb: str, call: Call[T], *, met: bool = False) -> T:
        """Do a verb by the first way that can. Raises the `BmcError` of the last that was asked.

        `met`: the board was asked just now whose it is.
        """
        if VERBS[verb].changes and not met:
            call = self._meeting(machine, call)
        if not machine.more_bmcs:
            return await self._asked(machine, await self.first(machine), call)
        logins = await self.all(machine)
        order = list(await self._bmcs.order(verb, logins)) or logins[:1]
        last: BmcError | None = None
        for login in order:
            try:
                return await self._asked(machine, login, call)
            except (BmcUnsupported, BmcUnreachable, BmcConsoleRefused) as error:
                if isinstance(error, BmcUnreachable) and not VERBS[verb].again:
                    raise
                log.warning("bmc.next-way machine=%s bmc=%s verb=%s", machine.name, login[0], verb)
                last = error
        assert last is not None
        raise last

    async def _asked(self, machine: Machine, login: Login, call: Call[T]) -> T:
        """Ask by one way; with the password that a rotation gave the board, where the one that we go by is refused."""
        address, password = login
        try:
            return await call(address, password)
        except BmcNotTrusted:
            raise
        except BmcAuthError:
            way = next(way for way in ways_of(machine) if way.address == address)
            if (other := await self._other(way, password)) is None:
                raise
        result = await call(address, other)
        if other == await next_of(self._passwords, way):
            await turn(self._passwords, way, other)
        return result

    async def _other(self, way: Way, refused: str) -> str | None:
        """Return what else may be the password: what is kept by now, or what a rotation that was cut short left."""
        kept = await self._passwords.get(way.secret)
        other = kept if kept != refused else await next_of(self._passwords, way)
        return None if other == refused else other

    def _meeting(self, machine: Machine, call: Call[T]) -> Call[T]:
        async def meeting(address: BmcAddress, password: str) -> T:
            await self._check(machine, address, self._bmcs.meet(address, password))
            return await call(address, password)

        return meeting

    async def _check(self, machine: Machine, address: BmcAddress, asked: Awaitable[BmcIdentity]) -> None:
        try:
            board = await asked
        except BmcUnsupported:
            return  # it cannot say
        if whose := stranger(board, machine, address.driver, self._like(board)):
            raise BmcStranger(
                f"{address} is not the board of {machine.name} any more: it is {whose} (UUID {board.uuid or '?'},"
                f" serial number {board.serial or '?'})",
                hint=f"nothing was touched; `provisionctl bmc add {machine.name} URL` puts its new address on record",
            )
