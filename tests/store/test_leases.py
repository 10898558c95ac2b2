"""Leases come back from the store as they went in, whatever their clients called themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


FULL = Lease(
    ip=0x0A000064,
    key=bytes.fromhex("525400000001"),
    pool="rack 'a'; DROP TABLE lease",
    until=1800003600.25,
    state=LeaseState.BOUND,
    since=1800000000.5,
    name="node'1",
    client_id=b"\1'; --\0",
    relay=0xFFFFFFFF,
    circuit_id=b"ge-0/0/1",
    remote_id=bytes(255),
    reason="it's taken",
)


async def test_a_lease_comes_back_as_it_was(db: Database) -> None:
    store = LeaseStore(db)
    await store.save([FULL])
    assert await store.load() == [FULL]


async def test_a_later_row_replaces_the_one_of_the_same_address(db: Database) -> None:
    store = LeaseStore(db)
    await store.save([FULL, FULL._replace(ip=1)])
    await store.save([FULL._replace(key=b"other", state=LeaseState.RELEASED)])
    assert [(lease.ip, lease.key) for lease in await store.load()] == [(1, FULL.key), (FULL.ip, b"other")]


async def test_saving_nothing_waits_for_what_was_saved(db: Database) -> None:
    store = LeaseStore(db)
    first = store.save([FULL])
    await store.save([])
    assert first.done()


async def test_more_than_a_batch(db: Database) -> None:
    store = LeaseStore(db)
    await store.save([FULL._replace(ip=n) for n in range(5000)])
    assert len(await store.load()) == 5000


async def test_rows_that_cannot_be_read_are_left_out(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    """CVE-2019-6474 in Kea: a bad row ended the server at every start."""
    store = LeaseStore(db)
    await store.save([FULL, FULL._replace(ip=1), FULL._replace(ip=2)])

    def spoil(cursor: sqlite3.Cursor) -> None:
        cursor.execute("UPDATE lease SET state = 'what' WHERE ip = 1")
        cursor.execute("UPDATE lease SET until = 'soon' WHERE ip = 2")

    await db.submit(spoil)
    assert await store.load() == [FULL]
    assert caplog.text.count("dhcp.lease-unreadable") == 2


TIMES = st.integers(0, 2**43).map(lambda ticks: ticks / 1024)
"""Times to a millisecond: SQLite reads the decimals of a statement to the last digit but one."""

leases = st.builds(
    Lease,
    ip=st.integers(0, 2**32 - 1),
    key=st.binary(max_size=20),
    pool=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    until=TIMES,
    state=st.sampled_from(LeaseState),
    since=TIMES,
    name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
    client_id=st.binary(max_size=30),
    relay=st.integers(0, 2**32 - 1),
    circuit_id=st.binary(max_size=30),
    remote_id=st.binary(max_size=30),
    reason=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(leases, max_size=5, unique_by=lambda lease: lease.ip))
async def test_any_lease(db: Database, found: list[Lease]) -> None:
    store = LeaseStore(db)
    await db.submit(lambda cursor: cursor.execute("DELETE FROM lease") and None)
    await store.save(found)
    assert await store.load() == sorted(found)
