"""Tokens: which one is good for whom, what ends it, and that a reopened store knows the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from provisioner.errors import TicketError
from provisioner.model.net import Mac
from provisioner.store.db import Database
from provisioner.store.tokens import LIFE_S, Purpose, Tokens

NODE, OTHER = Mac("52:54:00:00:00:01"), Mac("52:54:00:00:00:02")
AGENT, HOME = Purpose.AGENT, Purpose.HOME


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


async def mint(tokens: Tokens, purpose: Purpose, mac: Mac, machine: str = "m1", now: float = 0.0) -> str:
    return await tokens.mint(purpose, mac, machine, "run", "10.0.0.1" if purpose is AGENT else "", now)


def good(tokens: Tokens, secret: str, purpose: Purpose, address: str = "10.0.0.1", now: float = 1.0) -> bool:
    try:
        tokens.check(secret, purpose, address, now)
    except TicketError:
        return False
    return True


async def test_a_bearer_that_has_moved_is_known_by_who_can_say_so(db: Database) -> None:
    tokens = Tokens(db)
    secret = await mint(tokens, AGENT, NODE)
    assert tokens.check(secret, AGENT, "10.0.0.2", 1.0, lambda token: token.machine == "m1").machine == "m1"
    for purpose, now in ((HOME, 1.0), (AGENT, 1e9)):
        with pytest.raises(TicketError):
            tokens.check(secret, purpose, "10.0.0.2", now, lambda _: True)


async def test_a_token_is_good_for_its_purpose_address_and_time(db: Database) -> None:
    tokens = Tokens(db)
    agent, home = await mint(tokens, AGENT, NODE), await mint(tokens, HOME, NODE)
    assert good(tokens, agent, AGENT)
    assert good(tokens, home, HOME, "10.9.9.9")  # an installed system comes from where it likes
    assert not good(tokens, agent, HOME)
    assert not good(tokens, agent, AGENT, "10.0.0.2")
    assert not good(tokens, agent, AGENT, now=LIFE_S[AGENT] + 1)
    assert not good(tokens, "guessed", AGENT)


async def test_a_new_one_ends_the_last_of_its_port_and_purpose_only(db: Database) -> None:
    tokens = Tokens(db)
    first, home, other = (
        await mint(tokens, AGENT, NODE),
        await mint(tokens, HOME, NODE),
        await mint(tokens, AGENT, OTHER),
    )
    second = await mint(tokens, AGENT, NODE)
    assert [good(tokens, each, AGENT) for each in (first, second, other)] == [False, True, True]
    assert good(tokens, home, HOME)
    reopened = Tokens(db)
    await reopened.load()
    assert [good(reopened, each, AGENT) for each in (first, second, other)] == [False, True, True]


async def test_those_that_are_over_leave_the_store(db: Database) -> None:
    tokens = Tokens(db)
    await mint(tokens, AGENT, NODE, now=0.0)
    later = LIFE_S[AGENT] + 1
    await mint(tokens, AGENT, OTHER, now=later)
    assert await db.read(lambda c: c.execute("SELECT count(*) FROM token").fetchone()[0]) == 1


async def test_the_end_of_a_machine_is_the_end_of_all_its_tokens(db: Database) -> None:
    tokens = Tokens(db)
    nobody = await mint(tokens, AGENT, NODE, machine="")
    await tokens.claim(tokens.check(nobody, AGENT, "10.0.0.1", 1.0), "m1", "run-2")
    assert tokens.check(nobody, AGENT, "10.0.0.1", 1.0).run == "run-2"
    second, other = await mint(tokens, AGENT, OTHER, machine="m1"), await mint(tokens, HOME, NODE, machine="m2")
    await tokens.end("m1", AGENT)
    assert [good(tokens, each, AGENT) for each in (nobody, second)] == [False, False]
    assert good(tokens, other, HOME)
    await tokens.end("m1", AGENT)  # twice is once
