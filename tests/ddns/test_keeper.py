"""The keeper against a DNS server in memory that can fail, in virtual time; killed at every step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from provisioner.clock import SteadyClock
from provisioner.ddns.keeper import PAUSES_S, TAKEN_S, Keeper
from provisioner.ddns.names import Owner, Wanted
from provisioner.errors import DnsError, StoreError
from provisioner.store.names import Record

pytestmark = pytest.mark.looptime

ONE, TWO = Owner(0, b"one"), Owner(0, b"two")
A, B, C = b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3"
FAR = 1e9


class FakeDns:
    """Names as a DNS server keeps them, with DHCIDs; `fault` makes it fail, `steps` counts what it was asked."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[Owner | None, set[bytes]]] = {}
        self.fault = ""
        self.kind: type[Exception] = DnsError
        self.faulty = ""
        """The part of a name, such as a zone, that alone is at fault where there is one."""
        self.steps = 0
        self.killed_at = 0

    def step(self, name: str) -> None:
        self.steps += 1
        if self.fault and self.faulty in name:
            raise self.kind(self.fault)
        if self.steps == self.killed_at:
            raise asyncio.CancelledError

    async def add(self, name: str, owner: Owner, addresses: Sequence[bytes]) -> bool:
        self.step(name)
        whose, _ = self.names.get(name, (owner, set()))
        if whose != owner:
            return False
        self.names[name] = (owner, set(addresses))
        self.step(name)
        return True

    async def remove(self, name: str, owner: Owner, address: bytes) -> None:
        self.step(name)
        whose, addresses = self.names.get(name, (None, set()))
        if whose == owner:
            addresses.discard(address)
            if not addresses:
                del self.names[name]
        self.step(name)

    def addresses(self) -> dict[str, list[bytes]]:
        return {name: sorted(addresses) for name, (_, addresses) in self.names.items()}


class FakeStore:
    """Records as the store keeps them; `killed_at` counts writes."""

    def __init__(self) -> None:
        self.rows: dict[tuple[bytes, str], Record] = {}
        self.writes = 0
        self.killed_at = 0
        self.fault = ""

    async def load(self) -> list[Record]:
        return list(self.rows.values())

    def step(self) -> None:
        self.writes += 1
        if self.fault:
            raise StoreError(self.fault)
        if self.writes == self.killed_at:
            raise asyncio.CancelledError

    async def put(self, record: Record) -> None:
        self.step()
        self.rows[record.address, record.name] = record

    async def remove(self, record: Record) -> None:
        self.step()
        self.rows.pop((record.address, record.name), None)


class Site:
    """A DNS server and a store that outlive the daemon."""

    def __init__(self) -> None:
        self.dns = FakeDns()
        self.store = FakeStore()

    async def keeper(self) -> Keeper:
        loop = asyncio.get_running_loop()
        clock = SteadyClock(wall=loop.time, steady=loop.time)
        keeper = Keeper(self.dns, self.store, clock)  # type: ignore[arg-type]
        await keeper.open()
        return keeper

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Keeper]:
        keeper = await self.keeper()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(keeper.run())
            yield keeper
            task.cancel()


@pytest.fixture
def site() -> Site:
    return Site()


def named(name: str, owner: Owner = ONE, until: float = FAR) -> Wanted:
    return Wanted(f"{name}.", owner, until)


async def settled(keeper: Keeper) -> None:
    """Wait until there is nothing to do (virtual time)."""
    while keeper.status().pending:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)


async def test_a_name_comes_is_renewed_and_goes(site: Site) -> None:
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        await settled(keeper)
        asked = site.dns.steps
        keeper.hold(A, named("a", until=FAR + 1))
        await settled(keeper)
        assert (site.dns.addresses(), site.dns.steps) == ({"a.": [A]}, asked)
        keeper.drop(A)
        await settled(keeper)
        assert (site.dns.addresses(), site.store.rows) == ({}, {})


async def test_a_name_goes_when_its_lease_ends(site: Site) -> None:
    async with site.running() as keeper:
        now = asyncio.get_running_loop().time()
        keeper.hold(A, named("a", until=now + 100))
        await asyncio.sleep(50)
        keeper.hold(A, named("a", until=now + 200))
        await asyncio.sleep(100)
        assert site.dns.addresses() == {"a.": [A]}
        await asyncio.sleep(100)
        assert (site.dns.addresses(), keeper.status().there) == ({}, 0)


async def test_a_client_that_comes_and_goes_leaves_no_timers_behind(site: Site) -> None:
    async with site.running() as keeper:
        now = asyncio.get_running_loop().time()
        for n in range(1000):
            keeper.hold(A, named("a", until=now + 3600 + n))
            keeper.drop(A)
        assert len(keeper._timers) == 1
        keeper.hold(A, named("a", until=now + 9999))
        await settled(keeper)
        keeper.hold(A, named("a", until=now + 50))  # an earlier end counts
        await asyncio.sleep(60)
        assert site.dns.addresses() == {}


async def test_another_name_takes_the_place_of_the_first(site: Site) -> None:
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        await settled(keeper)
        keeper.hold(A, named("b"))
        await settled(keeper)
        assert site.dns.addresses() == {"b.": [A]}


async def test_another_machine_takes_the_address(site: Site) -> None:
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        await settled(keeper)
        keeper.hold(A, named("b", TWO))
        await settled(keeper)
        assert site.dns.names == {"b.": (TWO, {A})}


async def test_two_ports_of_one_machine_share_its_name(site: Site) -> None:
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        keeper.hold(B, named("a"))
        await settled(keeper)
        assert site.dns.addresses() == {"a.": [A, B]}
        keeper.drop(A)
        await settled(keeper)
        assert site.dns.addresses() == {"a.": [B]}


async def test_two_machines_of_one_name_the_second_waits_for_the_first(site: Site) -> None:
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        await settled(keeper)
        keeper.hold(B, named("a", TWO))
        await settled(keeper)
        assert (site.dns.addresses(), keeper.status().taken) == ({"a.": [A]}, {B: "a."})
        keeper.drop(A)
        await settled(keeper)
        assert (site.dns.names, keeper.status().taken) == ({"a.": (TWO, {B})}, {})


async def test_a_name_that_somebody_wrote_is_left_alone_and_looked_at_again(site: Site) -> None:
    site.dns.names["a."] = (None, {C})
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        await settled(keeper)
        assert (site.dns.names["a."], site.store.rows) == ((None, {C}), {})
        del site.dns.names["a."]
        await asyncio.sleep(TAKEN_S + 1)
        assert site.dns.addresses() == {"a.": [A]}


async def test_a_server_that_is_down_gets_everything_when_it_is_up(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "provisioner.ddns")
    site.dns.fault = "no answer"
    async with site.running() as keeper:
        for n in range(50):
            keeper.hold(bytes((10, 0, 1, n)), named(f"n{n}"))
        await asyncio.sleep(600)
        status = keeper.status()
        assert (status.pending, status.error) == (50, "no answer")
        tries = site.dns.steps
        await asyncio.sleep(PAUSES_S[-1] * 10)
        assert site.dns.steps - tries <= 11 * 8  # a handful a minute, not a flood
        keeper.drop(bytes((10, 0, 1, 0)))
        site.dns.fault = ""
        await asyncio.sleep(PAUSES_S[-1] + 1)
        await settled(keeper)
        assert len(site.dns.names) == 49
        assert keeper.status().error == ""
        assert (caplog.text.count("dns.failed"), caplog.text.count("dns.mended")) == (1, 1)


async def test_a_zone_that_fails_holds_up_no_name_of_another(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """However many have failed in it: what is new, changed or gone elsewhere is told at once."""
    caplog.set_level("INFO", "provisioner.ddns")
    site.dns.fault, site.dns.faulty = "it refuses our updates", "bad."
    async with site.running() as keeper:
        for n in range(80):
            keeper.hold(bytes((10, 0, 1, n)), named(f"n{n}.bad"))
        await asyncio.sleep(600)
        for name in ("one.good", "two.good"):
            keeper.hold(A, named(name))
            await asyncio.sleep(1)
            assert site.dns.addresses() == {f"{name}.": [A]}
            keeper.hold(B, named("n0.bad", TWO))
            await asyncio.sleep(1)
        keeper.drop(A)
        await asyncio.sleep(1)
        assert (site.dns.names, keeper.status().error, keeper.status().pending) == ({}, site.dns.fault, 81)
        assert (caplog.text.count("dns.failed"), caplog.text.count("dns.mended")) == (1, 0)
        site.dns.faulty = "n0.bad"
        await asyncio.sleep(PAUSES_S[-1] + 1)
        await asyncio.sleep(sum(PAUSES_S))
        assert (len(site.dns.names), keeper.status().pending) == (79, 2)


async def test_what_failed_once_among_many_that_fail_is_tried_again_soon(site: Site) -> None:
    site.dns.fault, site.dns.faulty = "it refuses our updates", "bad."
    async with site.running() as keeper:
        for n in range(80):
            keeper.hold(bytes((10, 0, 1, n)), named(f"n{n}.bad"))
        await asyncio.sleep(600)
        site.dns.faulty = ""
        keeper.hold(A, named("one.good"))
        await asyncio.sleep(1)
        site.dns.faulty = "bad."
        await asyncio.sleep(PAUSES_S[-1] + 1)
        assert site.dns.addresses() == {"one.good.": [A]}


async def test_a_store_that_fails_sends_nothing(site: Site) -> None:
    site.store.fault = "the disk is full"
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        await asyncio.sleep(5)
        assert (site.dns.steps, keeper.status().error) == (0, "the disk is full")
        site.store.fault = ""
        await asyncio.sleep(10)
        assert site.dns.addresses() == {"a.": [A]}


async def test_what_was_released_while_the_daemon_was_down_goes(site: Site) -> None:
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        keeper.hold(B, named("b", TWO))
        await settled(keeper)
    async with site.running() as keeper:
        keeper.hold(B, named("b", TWO))
        await settled(keeper)
        assert site.dns.addresses() == {"b.": [B]}


@pytest.mark.parametrize("what", ["dns", "store"])
@pytest.mark.parametrize("at", range(1, 12))
async def test_killed_at_every_step_nothing_is_lost_or_left_over(site: Site, what: str, at: int) -> None:
    """A daemon that dies between any two steps brings the DNS to what leases say, whatever they say by then."""
    keeper = await site.keeper()
    (site.dns if what == "dns" else site.store).killed_at = at
    keeper.hold(A, named("a"))
    keeper.hold(B, named("b", TWO))
    with contextlib.suppress(asyncio.CancelledError, TimeoutError):
        async with asyncio.timeout(1):
            await keeper.run()
    site.dns.killed_at = site.store.killed_at = 0
    async with site.running() as later:
        later.hold(B, named("d", TWO))
        later.hold(C, named("e"))
        await settled(later)
        assert site.dns.addresses() == {"d.": [B], "e.": [C]}
        assert {(row.address, row.name, row.done) for row in site.store.rows.values()} == {
            (B, "d.", True),
            (C, "e.", True),
        }


async def test_a_fault_of_ours_fails_one_name_which_is_tried_again(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.dns.fault, site.dns.kind, site.dns.faulty = "not a name", KeyError, "a."
    async with site.running() as keeper:
        keeper.hold(A, named("a"))
        keeper.hold(B, named("b", TWO))
        await asyncio.sleep(0.1)
        assert site.dns.addresses() == {"b.": [B]}
        assert keeper.status().error == "KeyError: 'not a name'"
        assert "dns.bug address=0a.00.00.01" in caplog.messages
        site.dns.fault = ""
        await settled(keeper)
        assert site.dns.addresses() == {"a.": [A], "b.": [B]}
