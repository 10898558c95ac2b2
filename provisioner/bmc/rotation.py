"""Give our account at a board another password and keep it, in an order that a crash cannot break.

The new password is stored beside the old one before the BMC hears of it, and takes its place when the BMC has it. Where
a rotation is cut short in between, `settle` finds out which of the two the BMC knows: at a start, and before the next
rotation. Until then, whoever is refused the old one tries the new one (`Ways`), and `turn` keeps it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from provisioner.bmc.join import without_bmc
from provisioner.errors import BmcAuthError, BmcUnsupported, ConflictError, NotFoundError, ProvisionerError
from provisioner.model.bmc import BmcAddress, BmcIdentity, secret_of
from provisioner.model.machine import Machine

log = logging.getLogger(__name__)

LENGTH = 20
"""As long as IPMI 2.0 can keep. It gives its hash to whoever asks (CVE-2013-4786): 119 bits withstand guessing."""

ALPHABET = string.ascii_letters + string.digits
"""Boards refuse or mangle quotes, colons, backslashes and spaces; letters and digits pass everywhere."""

NEXT = "/next"


class Bmcs(Protocol):
    """What is needed of the BMCs."""

    async def prove(self, address: BmcAddress, password: str) -> BmcIdentity: ...

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: object) -> object: ...


class Secrets(Protocol):
    """What is needed of the store."""

    async def get(self, name: str) -> str: ...

    async def change(self, put: Mapping[str, str], gone: Iterable[str] = ()) -> None: ...


@dataclass(frozen=True, slots=True)
class Way:
    """A way to a machine's board, and the name of the secret that opens it."""

    address: BmcAddress
    secret: str


def ways_of(machine: Machine) -> list[Way]:
    """List the ways to a machine's board, in the operator's order; raise `ConflictError` where there is none."""
    if machine.bmc is None:
        raise without_bmc(machine)
    others = (Way(other, secret_of(machine.id, other)) for other in machine.more_bmcs)
    return [Way(machine.bmc, secret_of(machine.id)), *others]


def accounts_of(machine: Machine) -> list[list[Way]]:
    """Put the ways to a machine's board together by account: most boards have one table of users for all drivers."""
    accounts: dict[str, list[Way]] = {}
    for way in ways_of(machine):
        accounts.setdefault(way.address.username, []).append(way)
    return list(accounts.values())


def spare_own(machine: Machine, verb: str, given: Mapping[str, object]) -> None:
    """Raise `ConflictError` where a verb would shut us out of a machine's board, by whichever way it is asked for."""
    if verb not in _SHUTS_OUT or given.get("enabled") or given["name"] not in {one.username for one in machine.bmcs}:
        return
    hint = f"`provisionctl bmc remove {machine.name} DRIVER` takes the way off the record that uses it"
    if verb == "accounts.password":
        hint = f"`provisionctl bmc rotate {machine.name}` gives it a new password, and keeps it"
    elif given["name"] == machine.bmcs[0].username:  # the first way goes with its machine
        hint = f"`provisionctl bmc add {machine.name} URL` has the daemon go by another account first"
    raise ConflictError(f"{machine.name}: {verb}: {given['name']!r} is the daemon's own account", hint=hint)


_SHUTS_OUT = frozenset({"accounts.password", "accounts.enable", "accounts.delete"})


def make_password() -> str:
    """Make a random password with at least one small letter, capital and digit: boards ask for that."""
    while True:
        made = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        if all(any(char in kind for char in made) for kind in _KINDS):
            return made


_KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)


class Rotation:
    """Rotates the passwords of machines' boards, those of one machine one after the other."""

    def __init__(self, bmcs: Bmcs, store: Secrets) -> None:
        self._bmcs = bmcs
        self._store = store
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def rotate(self, machine: Machine) -> None:
        """Give each of our own accounts at a machine's board a new random password."""
        async with self._locks[machine.id]:
            for account in accounts_of(machine):
                await rotate(self._bmcs, self._store, account)

    async def settle(self, machines: Iterable[Machine]) -> None:
        """End rotations that were cut short; a BMC that does not answer is left for whoever asks it next."""
        for machine in machines:
            async with self._locks[machine.id]:
                try:
                    for account in accounts_of(machine):
                        await settle(self._bmcs, self._store, account)
                except ProvisionerError as error:
                    log.warning("bmc.rotation-open machine=%s error=%s", machine.name, error.message)


async def rotate(bmcs: Bmcs, store: Secrets, account: Sequence[Way]) -> None:
    """Give our own account at a board a new random password, the same one by all ways that log in to it."""
    known = await settle(bmcs, store, account)
    new = make_password()
    await store.change({way.secret + NEXT: new for way in account})
    await _set(bmcs, known, new)
    await store.change({way.secret: new for way in account}, [way.secret + NEXT for way in account])


async def settle(bmcs: Bmcs, store: Secrets, account: Sequence[Way]) -> dict[Way, str]:
    """Return the password that the BMC knows by each way; where a rotation was cut short, find out and clean up."""
    known: dict[Way, str] = {}
    for way in account:
        old = known[way] = await store.get(way.secret)
        if (new := await next_of(store, way)) is None:
            continue
        turned = new in known.values()  # what another way took is tried first: refusals lock accounts
        known[way] = await _let_in(bmcs, way, *((new, old) if turned else (old, new)))
        await turn(store, way, known[way])
    return known


async def next_of(store: Secrets, way: Way) -> str | None:
    """Return the password that a rotation was about to give a board, or gave it; None where none is under way."""
    try:
        return await store.get(way.secret + NEXT)
    except NotFoundError:
        return None


async def turn(store: Secrets, way: Way, password: str) -> None:
    """Keep the password of two that a board was seen to know, and forget the other."""
    await store.change({way.secret: password}, [way.secret + NEXT])


async def _let_in(bmcs: Bmcs, way: Way, likely: str, other: str) -> str:
    """Return the one of two passwords that the BMC lets us in with. An open session outlives its password."""
    try:
        await bmcs.prove(way.address, likely)
    except BmcAuthError:
        await bmcs.prove(way.address, other)
        return other
    return likely


async def _set(bmcs: Bmcs, known: Mapping[Way, str], new: str) -> None:
    """Set a password by the first way that can, and prove it by the others; where one has a table of users of its own,
    set it there, too.
    """
    by = await _set_by_one(bmcs, known, new)
    for way, old in known.items():
        if way is not by and await _let_in(bmcs, way, new, old) == old:
            await _give(bmcs, way, old, new)


async def _set_by_one(bmcs: Bmcs, known: Mapping[Way, str], new: str) -> Way:
    beyond: BmcUnsupported | None = None
    for way, old in known.items():
        try:
            await _give(bmcs, way, old, new)
        except BmcUnsupported as error:
            beyond = error
        else:
            return way
    assert beyond is not None
    raise beyond


async def _give(bmcs: Bmcs, way: Way, old: str, new: str) -> None:
    await bmcs.do(way.address, old, "accounts.password", name=way.address.username, password=new)
