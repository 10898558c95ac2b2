"""A password is rotated in an order that survives a crash after every step, once for each account."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from provisioner.bmc.rotation import ALPHABET, LENGTH, NEXT, Rotation, make_password, spare_own
from provisioner.errors import (
    BmcAuthError,
    BmcBusy,
    BmcError,
    BmcTimeout,
    BmcUnsupported,
    ConflictError,
    NotFoundError,
)
from provisioner.model.bmc import BmcAddress, BmcIdentity, Driver, secret_of
from provisioner.model.machine import Machine, State
from tests.bmc.fake import ADDRESS

IPMI = BmcAddress(Driver.IPMI, "bmc17.example.net", 623, ADDRESS.username)
"""The same board and account as those of `ADDRESS`, by its name."""
NODE = Machine("m-17", "node17", State.READY, bmc=ADDRESS)
BOTH = replace(NODE, more_bmcs=(IPMI,))
FIRST, SECOND = secret_of("m-17"), secret_of("m-17", IPMI)


class Crash(Exception):
    """The daemon dies here."""


class Store:
    """Secrets in memory; dies before the write with this number (from 0)."""

    def __init__(self, machine: Machine = NODE, dies_at: int = -1) -> None:
        self.held = {FIRST: "old"} | {secret_of(machine.id, way): "old" for way in machine.more_bmcs}
        self.dies_at = dies_at
        self.writes = 0

    async def get(self, name: str) -> str:
        if name not in self.held:
            raise NotFoundError(name)
        return self.held[name]

    async def change(self, put: Mapping[str, str], gone: Iterable[str] = ()) -> None:
        if self.writes == self.dies_at:
            raise Crash
        self.writes += 1
        self.held |= put
        for name in gone:
            self.held.pop(name, None)


class Board:
    """One board behind both drivers. It has one table of users, or one for each driver.

    `trouble` is what a driver's next change ends with, before or after it is done; `lacks` are drivers that cannot set
    a password there. An open session outlives its password.
    """

    def __init__(self, *tables: tuple[Driver, ...]) -> None:
        self.tables = tables or ((Driver.REDFISH, Driver.IPMI),)
        self.passwords = dict.fromkeys(self.tables, "old")
        self.trouble: BmcError | None = None
        self.done = False
        self.lacks: set[Driver] = set()
        self.set_by: list[Driver] = []
        self.refused = 0
        self.sessions: set[tuple[Driver, str]] = set()

    def table(self, address: BmcAddress) -> tuple[Driver, ...]:
        return next(table for table in self.tables if address.driver in table)

    def knows(self, address: BmcAddress) -> str:
        return self.passwords[self.table(address)]

    async def prove(self, address: BmcAddress, password: str) -> BmcIdentity:
        self.sessions.discard((address.driver, password))
        return await self._let_in(address, password)

    async def _let_in(self, address: BmcAddress, password: str) -> BmcIdentity:
        await asyncio.sleep(0)
        if (address.driver, password) not in self.sessions and password != self.knows(address):
            self.refused += 1
            raise BmcAuthError("refused")
        self.sessions.add((address.driver, password))
        return BmcIdentity()

    async def do(self, address: BmcAddress, password: str, name: str, /, **given: object) -> object:
        if address.driver in self.lacks:
            raise BmcUnsupported("it has no users")
        await self._let_in(address, password)
        assert (name, given["name"]) == ("accounts.password", address.username)
        self.set_by.append(address.driver)
        if self.trouble is None or self.done:
            self.passwords[self.table(address)] = str(given["password"])
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        return None


def proven(board: Board, store: Store, machine: Machine) -> None:
    """See that every way has the password that the board knows there, and nothing else is kept."""
    expected = {FIRST: board.knows(ADDRESS)} | {
        secret_of(machine.id, way): board.knows(way) for way in machine.more_bmcs
    }
    assert store.held == expected


TWO = replace(NODE, more_bmcs=(replace(IPMI, username="second"),))
OWN: dict[str, tuple[str, dict[str, object], str]] = {
    "another account": ("accounts.delete", {"name": "guest"}, ""),
    "a new password for it": ("accounts.password", {"name": "guest", "password": "x"}, ""),
    "the first way's": ("accounts.delete", {"name": ADDRESS.username}, "bmc add node17"),
    "the other way's": ("accounts.delete", {"name": "second"}, "bmc remove node17"),
    "the other way's, kept out": ("accounts.enable", {"name": "second", "enabled": False}, "bmc remove node17"),
    "the other way's, let in again": ("accounts.enable", {"name": "second", "enabled": True}, ""),
    "the other way's password": ("accounts.password", {"name": "second", "password": "x"}, "bmc rotate node17"),
    "a verb that has to do with none": ("vmedia.insert", {"uri": "http://192.0.2.1/second"}, ""),
}


@pytest.mark.parametrize(("verb", "given", "hint"), OWN.values(), ids=OWN.keys())
def test_our_own_accounts_are_spared(verb: str, given: dict[str, object], hint: str) -> None:
    if not hint:
        spare_own(TWO, verb, given)
        return
    with pytest.raises(ConflictError, match="the daemon's own account") as refused:
        spare_own(TWO, verb, given)
    assert hint in refused.value.hint


R, I = Driver.REDFISH, Driver.IPMI  # noqa: E741
ACCOUNTS: dict[str, tuple[Machine, Board, set[Driver], list[Driver]]] = {
    "one way": (NODE, Board(), set(), [R]),
    "two ways to one table of users: set once": (BOTH, Board(), set(), [R]),
    "the first way cannot set it": (BOTH, Board(), {R}, [I]),
    "each driver has users of its own": (BOTH, Board((R,), (I,)), set(), [R, I]),
    "two accounts": (replace(BOTH, more_bmcs=(replace(IPMI, username="root"),)), Board((R,), (I,)), set(), [R, I]),
}


@pytest.mark.parametrize(("machine", "board", "lacks", "set_by"), ACCOUNTS.values(), ids=ACCOUNTS.keys())
async def test_rotate(machine: Machine, board: Board, lacks: set[Driver], set_by: list[Driver]) -> None:
    store = Store(machine)
    board.lacks = lacks
    await Rotation(board, store).rotate(machine)
    proven(board, store, machine)
    assert "old" not in store.held.values()
    assert board.set_by == set_by


@pytest.mark.parametrize("dies_at", range(2))
@pytest.mark.parametrize("machine", [NODE, BOTH])
async def test_a_crash_at_every_write_loses_no_password(machine: Machine, dies_at: int) -> None:
    board, store = Board(), Store(machine, dies_at)
    with pytest.raises(Crash):
        await Rotation(board, store).rotate(machine)
    store.dies_at = -1
    await Rotation(board, store).rotate(machine)
    proven(board, store, machine)
    assert board.refused <= 1, "accounts lock after three"


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("machine", [NODE, BOTH])
async def test_an_answer_that_is_lost_loses_no_password(machine: Machine, done: bool) -> None:
    board, store = Board(), Store(machine)
    board.trouble, board.done = BmcBusy("x"), done
    with pytest.raises(BmcBusy):
        await Rotation(board, store).rotate(machine)
    await Rotation(board, store).rotate(machine)
    proven(board, store, machine)


async def test_what_one_way_cannot_prove_is_kept_until_it_can() -> None:
    class Slow(Board):
        async def prove(self, address: BmcAddress, password: str) -> BmcIdentity:
            if address.driver is Driver.IPMI and password != "old":
                raise BmcTimeout("x")
            return await super().prove(address, password)

    board, store = Slow(), Store(BOTH)
    with pytest.raises(BmcTimeout):
        await Rotation(board, store).rotate(BOTH)
    assert {store.held[FIRST + NEXT], store.held[SECOND + NEXT]} == {board.knows(ADDRESS)}


async def test_of_two_rotations_at_once_one_waits_for_the_other() -> None:
    board, store = Board(), Store(BOTH)
    rotation = Rotation(board, store)
    await asyncio.gather(rotation.rotate(BOTH), rotation.rotate(BOTH))
    proven(board, store, BOTH)
    assert board.refused == 0


async def test_at_a_start_what_was_cut_short_is_settled(caplog: pytest.LogCaptureFixture) -> None:
    board, store = Board(), Store(BOTH, dies_at=1)
    with pytest.raises(Crash):
        await Rotation(board, store).rotate(BOTH)
    store.dies_at = -1
    await Rotation(board, store).settle([BOTH])
    proven(board, store, BOTH)
    board.passwords = dict.fromkeys(board.tables, "changed by hand")
    store.held[FIRST + NEXT] = "new"
    await Rotation(board, store).settle([BOTH])
    assert "bmc.rotation-open machine=node17 error=refused" in caplog.text


async def test_neither_password_works() -> None:
    board, store = Board(), Store()
    board.passwords = dict.fromkeys(board.tables, "changed by hand")
    store.held[FIRST + NEXT] = "new"
    with pytest.raises(BmcAuthError):
        await Rotation(board, store).rotate(NODE)
    assert len(store.held) == 2, "both are kept until one is proven"


async def test_a_machine_without_a_bmc_has_nothing_to_rotate() -> None:
    with pytest.raises(ConflictError, match="node17 has no BMC on record"):
        await Rotation(Board(), Store()).rotate(replace(NODE, bmc=None))


def test_passwords_are_long_random_and_plain() -> None:
    made = {make_password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == LENGTH and set(one) <= set(ALPHABET) for one in made)
    assert all(any(c.isdigit() for c in one) and any(c.isupper() for c in one) for one in made)
