"""Give a BMC's account another password and keep it, in an order that a crash cannot break.

The new password is stored beside the old one before the BMC hears of it, and takes its place when the BMC has it. After
a crash in between, `settle` finds out which of the two the BMC knows.
"""

from __future__ import annotations

import secrets
import string
from typing import Protocol

from provisioner.errors import BmcAuthError, NotFoundError
from provisioner.model.bmc import BmcAddress, BmcIdentity

LENGTH = 20
"""As long as IPMI 2.0 can keep. It gives its hash to whoever asks (CVE-2013-4786): 119 bits withstand guessing."""

ALPHABET = string.ascii_letters + string.digits
"""Boards refuse or mangle quotes, colons, backslashes and spaces; letters and digits pass everywhere."""

NEXT = "/next"


class Bmcs(Protocol):
    """What is needed of the BMCs."""

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity: ...

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: object) -> object: ...


class Secrets(Protocol):
    """What is needed of the store."""

    async def get(self, name: str) -> str: ...

    async def put(self, name: str, value: str) -> None: ...

    async def remove(self, name: str) -> None: ...


def make_password() -> str:
    """Make a random password with at least one small letter, capital and digit: boards ask for that."""
    while True:
        made = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
        if all(any(char in kind for char in made) for kind in _KINDS):
            return made


_KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)


async def rotate(bmcs: Bmcs, store: Secrets, secret: str, address: BmcAddress) -> None:
    """Give our own account at a BMC a new random password. `secret` names the old one in the store."""
    old = await settle(bmcs, store, secret, address)
    new = make_password()
    await store.put(secret + NEXT, new)
    await bmcs.do(address, old, "accounts.password", name=address.username, password=new)
    await store.put(secret, new)
    await store.remove(secret + NEXT)


async def settle(bmcs: Bmcs, store: Secrets, secret: str, address: BmcAddress) -> str:
    """Return the password that the BMC knows; where a rotation was cut short, find out and clean up."""
    old = await store.get(secret)
    try:
        new = await store.get(secret + NEXT)
    except NotFoundError:
        return old
    known = old
    try:
        await bmcs.identify(address, old)
    except BmcAuthError:
        await bmcs.identify(address, new)
        known = new
        await store.put(secret, new)
    await store.remove(secret + NEXT)
    return known
