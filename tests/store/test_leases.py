"""Leases of both families come back from the store as they went in, whatever their clients called themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from provisioner.store.leases6 import LeaseStore6


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


class Family(NamedTuple):
    """What differs between the families. `last` is the highest address."""

    store: Callable[[Database], LeaseStore | LeaseStore6]
    table: str
    last: int
    unreadable: str
    spell: Callable[[int], object]
    """Gives an address as the table has it."""

    def full(self) -> Lease:
        """A lease that says everything, with all that an SQL statement could stumble over."""
        return Lease(
            ip=self.last - 5,
            key=bytes.fromhex("525400000001"),
            pool=f"rack 'a'; DROP TABLE {self.table}",
            until=1800003600.25,
            state=LeaseState.BOUND,
            since=1800000000.5,
            name="node'1",
            client_id=b"\1'; --\0",
            relay=self.last,
            circuit_id=b"ge-0/0/1",
            remote_id=bytes(1000),
            reason="it's taken",
            machine=b"'\0",
        )


FAMILIES = {
    "IPv4": Family(LeaseStore, "lease", 2**32 - 1, "dhcp.lease-unreadable", int),
    "IPv6": Family(LeaseStore6, "lease6", 2**128 - 1, "dhcp6.lease-unreadable", lambda ip: ip.to_bytes(16, "big")),
}


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found


async def test_a_lease_comes_back_as_it_was(db: Database, family: Family) -> None:
    store, full = family.store(db), family.full()
    await store.save([full])
    assert await store.load() == [full]


async def test_a_later_row_replaces_the_one_of_the_same_address(db: Database, family: Family) -> None:
    store, full = family.store(db), family.full()
    await store.save([full, full._replace(ip=1)])
    await store.save([full._replace(key=b"other", state=LeaseState.RELEASED)])
    assert [(lease.ip, lease.key) for lease in await store.load()] == [(1, full.key), (full.ip, b"other")]


async def test_saving_nothing_waits_for_what_was_saved(db: Database, family: Family) -> None:
    store = family.store(db)
    first = store.save([family.full()])
    await store.save([])
    assert first.done()


async def test_more_than_a_batch(db: Database, family: Family) -> None:
    store, full = family.store(db), family.full()
    await store.save([full._replace(ip=n) for n in range(5000)])
    assert len(await store.load()) == 5000


async def test_rows_that_cannot_be_read_are_left_out(
    db: Database, family: Family, caplog: pytest.LogCaptureFixture
) -> None:
    """CVE-2019-6474 in Kea: a bad row ended the server at every start."""
    store, full = family.store(db), family.full()
    await store.save([full, full._replace(ip=1), full._replace(ip=2)])

    def spoil(cursor: sqlite3.Cursor) -> None:
        for ip, what in ((1, "state = 'what'"), (2, "until = 'soon'")):
            cursor.execute(f"UPDATE {family.table} SET {what} WHERE ip = ?", (family.spell(ip),))

    await db.submit(spoil)
    assert await store.load() == [full]
    assert caplog.text.count(family.unreadable) == 2


TIMES = st.floats(0, 2**33)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
OCTETS = st.binary(max_size=30)


def leases(last: int) -> st.SearchStrategy[Lease]:
    numbers, states = st.integers(0, last), st.sampled_from(LeaseState)
    return st.builds(Lease, numbers, OCTETS, TEXTS, TIMES, states, TIMES, TEXTS, OCTETS, numbers, OCTETS, OCTETS, TEXTS)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
async def test_any_lease(db: Database, family: Family, data: st.DataObject) -> None:
    found = data.draw(st.lists(leases(family.last), max_size=5, unique_by=lambda lease: lease.ip))
    store = family.store(db)
    await db.submit(lambda cursor: cursor.execute(f"DELETE FROM {family.table}") and None)
    await store.save(found)
    assert await store.load() == sorted(found)
