"""A password is rotated in an order that survives a crash after every step."""

from __future__ import annotations

import pytest

from provisioner.bmc.rotation import ALPHABET, LENGTH, make_password, rotate, settle
from provisioner.errors import BmcAuthError, BmcBusy, BmcError, NotFoundError
from provisioner.model.bmc import BmcAddress, BmcIdentity
from tests.bmc.fake import ADDRESS

SECRET = "bmc/m-17"


class Crash(Exception):
    """The daemon dies here."""


class Store:
    """Secrets in memory; dies before the write with this number (from 0)."""

    def __init__(self, dies_at: int = -1) -> None:
        self.held = {SECRET: "old"}
        self.dies_at = dies_at
        self.writes = 0

    async def get(self, name: str) -> str:
        if name not in self.held:
            raise NotFoundError(name)
        return self.held[name]

    async def put(self, name: str, value: str) -> None:
        self._tick()
        self.held[name] = value

    async def remove(self, name: str) -> None:
        self._tick()
        self.held.pop(name, None)

    def _tick(self) -> None:
        if self.writes == self.dies_at:
            raise Crash
        self.writes += 1


class Bmc:
    """One BMC and its password; `trouble` is raised by the change, before or after it is done."""

    def __init__(self, trouble: BmcError | None = None, *, done: bool = False) -> None:
        self.password = "old"
        self.trouble = trouble
        self.done = done

    async def identify(self, address: BmcAddress, password: str) -> BmcIdentity:
        if password != self.password:
            raise BmcAuthError("refused")
        return BmcIdentity()

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: object) -> object:
        await self.identify(address, password)
        assert (name, given["name"]) == ("accounts.password", address.username)
        if self.trouble is None or self.done:
            self.password = str(given["password"])
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        return None


async def test_rotate() -> None:
    bmc, store = Bmc(), Store()
    await rotate(bmc, store, SECRET, ADDRESS)
    assert store.held == {SECRET: bmc.password}
    assert bmc.password != "old"


@pytest.mark.parametrize("dies_at", range(3))
async def test_a_crash_at_every_write_loses_no_password(dies_at: int) -> None:
    bmc, store = Bmc(), Store(dies_at)
    with pytest.raises(Crash):
        await rotate(bmc, store, SECRET, ADDRESS)
    assert bmc.password in store.held.values()
    store.dies_at = -1
    assert await settle(bmc, store, SECRET, ADDRESS) == bmc.password
    assert store.held == {SECRET: bmc.password}


@pytest.mark.parametrize("done", [True, False])
async def test_an_answer_that_is_lost_loses_no_password(done: bool) -> None:
    bmc, store = Bmc(BmcBusy("x"), done=done), Store()
    with pytest.raises(BmcBusy):
        await rotate(bmc, store, SECRET, ADDRESS)
    await rotate(bmc, store, SECRET, ADDRESS)
    assert store.held == {SECRET: bmc.password}


async def test_neither_password_works() -> None:
    bmc, store = Bmc(), Store()
    bmc.password = "changed by hand"
    store.held[SECRET + "/next"] = "new"
    with pytest.raises(BmcAuthError):
        await settle(bmc, store, SECRET, ADDRESS)
    assert len(store.held) == 2, "both are kept until one is proven"


def test_passwords_are_long_random_and_plain() -> None:
    made = {make_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == LENGTH and set(one) <= set(ALPHABET) for one in made)
    assert all(any(c.isdigit() for c in one) and any(c.isupper() for c in one) for one in made)
