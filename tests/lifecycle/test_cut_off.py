"""Whoever asks goes away at every write of what he asked for: what is on the disk is what the daemon knows.

A client that hangs up cancels its handler, and a workflow that is aborted its try. The points are enumerated: each
request is made once to count its writes, then once more for each of them, cancelled while that is being committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from provisioner.errors import TicketUsedError
from provisioner.lifecycle.conductor import Conductor
from provisioner.model.machine import State
from provisioner.store.db import Database
from provisioner.store.secrets import Secrets
from provisioner.store.tokens import Token, Tokens
from tests.cutting import CutDatabase
from tests.lifecycle.points import KillableDatabase
from tests.lifecycle.rack import Rack
from tests.lifecycle.test_answers import installing
from tests.lifecycle.test_answers_own import ToldRack
from tests.lifecycle.test_conductor import ready, settled
from tests.lifecycle.test_rollouts import fleet, over, until
from tests.lifecycle.test_rollouts import ready as all_ready


class KillableCutDatabase(CutDatabase, KillableDatabase):
    """One that a rack's daemon has."""


class CutRack(Rack):
    """A rack whose store is that."""

    database = KillableCutDatabase


async def asked(conductor: Conductor, request: Awaitable[object], cut_at: int) -> tuple[int, bool]:
    """Ask, and go away at that write: how many writes there were until it was over, and whether that cut it off.

    Some may be of what goes on beside it.
    """
    db = conductor._store._db
    assert isinstance(db, CutDatabase)

    async def ask() -> None:
        await request

    db.writes, db.cut_at = 0, cut_at
    db.asker = asyncio.get_running_loop().create_task(ask())
    await asyncio.wait([db.asker])
    gone = db.asker.cancelled()
    if not gone:
        db.asker.result()
    db.asker = None
    return db.writes, gone


async def tokens_of(db: Database) -> dict[str, Token]:
    """Those that a daemon would read."""
    tokens = Tokens(db)
    await tokens.load()
    return tokens._good


async def agree(rack: Rack, conductor: Conductor) -> None:
    """Hold that the store has what the daemon knows."""
    db, machines = conductor._store._db, conductor.machines.all()
    assert await conductor._store.load() == machines
    secrets = await Secrets.opened(db, rack.folder / "key")
    async with asyncio.timeout(20):  # whoever asks once more is about to have its token end
        while await tokens_of(db) != conductor._tokens._good:
            await asyncio.sleep(0.005)
    passwords = {f"bmc/{machine.id}" for machine in machines}
    assert {*await secrets.names("bmc/")} == passwords
    assert [await conductor._secrets.get(each) for each in passwords] == [await secrets.get(each) for each in passwords]


Ask = Callable[[Rack, Conductor], Awaitable[object]]
REQUESTS: dict[str, tuple[Ask, State]] = {
    # what is asked of a machine that is ready, and what becomes of it
    "deploy": (lambda _, c: c.boot("node17", "debian-12", key="k"), State.ACTIVE),
    "discover": (lambda _, c: c.boot("node17", "discovery", key="k"), State.READY),
    "release": (lambda _, c: c.release("node17", key="k"), State.READY),
    "hold": (lambda _, c: c.hold("node17", "its memory is replaced", key="k"), State.MAINTENANCE),
    "forget": (lambda _, c: c.forget("node17", key="k"), State.READY),
    "enrol": (lambda r, _: r.enrol("node18"), State.READY),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REQUESTS)
async def test_whoever_asks_goes_away(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    request, end = REQUESTS[name]
    cut_at, writes, cuts = -1, 0, 0
    while cut_at < writes:
        rack = CutRack(tmp_path_factory.mktemp("at"), ("node17", "node18"))
        async with rack.alive(), rack.daemon():
            conductor = await ready(rack)
            writes, gone = await asked(conductor, request(rack, conductor), cut_at)
            if conductor.machines.find("node17") is not None:
                assert (await settled(conductor)).state in {State.READY, end}
            await agree(rack, conductor)
        cut_at, cuts = cut_at + 1, cuts + gone
    assert cuts


@pytest.mark.slow
async def test_a_rollout_whose_operator_goes_away_is_carried_out(tmp_path_factory: pytest.TempPathFactory) -> None:
    cut_at, writes, cuts = -1, 0, 0
    while cut_at < writes:
        rack = CutRack(tmp_path_factory.mktemp("at"), ("node17", "node18"))
        async with rack.alive(), fleet(rack) as rollouts:
            await all_ready(rack)
            assert rack.conductor
            writes, gone = await asked(
                rack.conductor, rollouts.begin("debian-12", "name=*", (1, 0), {}, key="k"), cut_at
            )
            assert {each.id for each in rollouts.all()} == {each.id for each in await rollouts._store.load()}
            for rollout in rollouts.all():
                await until(rollouts, rollout.id, over)
            await agree(rack, rack.conductor)
        cut_at, cuts = cut_at + 1, cuts + gone
    assert cuts


class ToldCutRack(ToldRack):
    database = KillableCutDatabase


FILES: dict[str, tuple[type[Rack], Callable[[Conductor, str, str], Awaitable[object]]]] = {
    "by its ticket": (CutRack, lambda c, ticket, address: c.booter.answer(ticket, "preseed", address)),
    "by its address": (ToldCutRack, lambda c, _, address: c.booter.own_answer("preseed", address)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fetch"), FILES.values(), ids=FILES.keys())
async def test_an_installer_whose_line_breaks_is_given_its_file_when_it_asks_again_and_then_no_more(
    tmp_path_factory: pytest.TempPathFactory,
    kind: type[Rack],
    fetch: Callable[[Conductor, str, str], Awaitable[object]],
) -> None:
    cut_at, writes, cuts = -1, 0, 0
    while cut_at < writes:
        rack = kind(tmp_path_factory.mktemp("at"))
        async with rack.daemon() as conductor:
            metal, ticket = await installing(rack, conductor)
            writes, gone = await asked(conductor, fetch(conductor, ticket, metal.ip), cut_at)
            if gone:
                assert await fetch(conductor, ticket, metal.ip)
            await asked(conductor, used(fetch(conductor, ticket, metal.ip)), 0)  # while its alarm is written
            await used(fetch(conductor, ticket, metal.ip))
        cut_at, cuts = cut_at + 1, cuts + gone
    assert cuts


async def used(fetch: Awaitable[object]) -> None:
    with pytest.raises(TicketUsedError):
        await fetch
