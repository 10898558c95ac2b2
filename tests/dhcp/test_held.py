"""Answers that wait for the disk, and what a store that fails is owed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from provisioner.dhcp.held import OWED_AT_ONCE, Held
from provisioner.dhcp.leases import Lease, LeaseState
from tests.dhcp.clients import NOW
from tests.dhcp.rig import Store

M1, M2 = b"\x52\x54\0\0\0\1", b"\x52\x54\0\0\0\2"


def lease(ip: int, key: bytes = M1, state: LeaseState = LeaseState.BOUND) -> Lease:
    return Lease(ip, key, "p", NOW + 100, state, NOW)


class Server:
    """What there is of a server around answers that wait: `memory` is what it has on record."""

    def __init__(self, limit: int = 8) -> None:
        self.store = Store()
        self.memory: dict[int, Lease] = {}
        self.sent: list[str] = []
        self.held: Held[str, str] = Held(
            self.store,
            leases_at=lambda ip: [self.memory[ip]] if ip in self.memory else [],
            leave=lambda _link, answers: self.sent.extend(answers) or {},
            finish=lambda _link, answers, _lost: self.sent.extend(each for each in answers if ":" in each),
            refuse=lambda answer, why: f"{answer}: {why}",
            tell=lambda _lease: None,
            limit=limit,
        )

    async def say(self, *leases: Lease) -> None:
        """Answer what changes these, and let what follows happen."""
        self.memory |= {each.ip: each for each in leases}
        self.held.hold("eth0", ["an answer"], list(leases))
        await asyncio.sleep(0)

    @property
    def kept(self) -> Sequence[tuple[int, bytes, LeaseState]]:
        return [(each.ip, each.key, each.state) for _, each in sorted(self.store.kept.items())]


async def test_what_could_not_be_stored_goes_along_with_what_is_stored_next() -> None:
    """The client asks again: that changes its new address only, as memory has the former one ended already."""
    server = Server()
    await server.say(lease(1))
    server.store.fail = True
    await server.say(lease(2), lease(1, state=LeaseState.RELEASED))
    server.store.fail = False
    await server.say(lease(2))
    assert server.kept == [(1, M1, LeaseState.RELEASED), (2, M1, LeaseState.BOUND)]


async def test_what_is_on_record_by_then_counts() -> None:
    server = Server()
    server.store.fail = True
    server.held.owe([lease(1), lease(2), lease(3)])
    server.memory = {1: lease(1, M2), 2: lease(2)}  # the third is in no subnet any more
    server.store.fail = False
    await server.say(lease(2, M2))
    assert server.kept == [(1, M2, LeaseState.BOUND), (2, M2, LeaseState.BOUND)]


async def test_what_waited_too_long_is_stored_later() -> None:
    server = Server(limit=1)
    server.store.stall = True
    server.held.hold("eth0", ["one"], [lease(1)])
    server.memory = {1: lease(1), 2: lease(2)}
    server.held.hold("eth0", ["two"], [lease(2)])
    assert server.sent == ["two: too many answers wait for the disk"]
    server.store.go_on()
    await server.held.settle()
    assert [ip for ip, _, _ in server.kept] == [1, 2]


async def test_little_is_taken_along_at_once() -> None:
    server = Server()
    server.memory = {ip: lease(ip) for ip in range(2 * OWED_AT_ONCE)}
    server.held.owe(server.memory.values())
    another = lease(2 * OWED_AT_ONCE)
    await server.say(another)
    assert len(server.kept) == OWED_AT_ONCE + 1
    await server.say(another)
    assert len(server.kept) == 2 * OWED_AT_ONCE + 1


async def test_all_that_is_owed_is_stored_when_the_server_ends() -> None:
    server = Server()
    server.memory = {ip: lease(ip) for ip in range(2 * OWED_AT_ONCE + 1)}
    server.held.owe(server.memory.values())
    await server.held.settle()
    assert len(server.kept) == 2 * OWED_AT_ONCE + 1


async def test_a_store_that_still_fails_when_the_server_ends_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.store.fail = True
    server.held.owe([lease(1)])
    await server.held.settle()
    assert "dhcp.lease-unsaved answers=0 error=no space left" in caplog.text
