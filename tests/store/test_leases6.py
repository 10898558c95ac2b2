"""IPv6 leases come back from the store as they went in; the server's DUID is made once."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.store.db import Database
from provisioner.store.leases6 import LeaseStore6


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


FULL = Lease(
    ip=2**128 - 1,
    key=bytes.fromhex("52540000000101"),
    pool="rack 'a'; DROP TABLE lease6",
    until=1800003600.25,
    since=1800000000.5,
    name="node'1",
    client_id=b"\xff\0\0\0\1'; --\0",
    relay=0xFD << 120,
    circuit_id=b"ge-0/0/1",
    remote_id=bytes(1000),
    reason="it's taken",
)


async def test_a_lease_comes_back_as_it_was(db: Database) -> None:
    store = LeaseStore6(db)
    await store.save([FULL])
    assert await store.load() == [FULL]


async def test_a_later_row_replaces_the_one_of_the_same_address(db: Database) -> None:
    store = LeaseStore6(db)
    await store.save([FULL, FULL._replace(ip=1)])
    await store.save([FULL._replace(key=b"other", state=LeaseState.RELEASED)])
    assert [(lease.ip, lease.key) for lease in await store.load()] == [(1, FULL.key), (FULL.ip, b"other")]


async def test_saving_nothing_waits_for_what_was_saved(db: Database) -> None:
    store = LeaseStore6(db)
    first = store.save([FULL])
    await store.save([])
    assert first.done()


async def test_rows_that_cannot_be_read_are_left_out(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    store = LeaseStore6(db)
    await store.save([FULL, FULL._replace(ip=1), FULL._replace(ip=2)])

    def spoil(cursor: sqlite3.Cursor) -> None:
        cursor.execute("UPDATE lease6 SET state = 'what' WHERE ip = ?", ((1).to_bytes(16, "big"),))
        cursor.execute("UPDATE lease6 SET ip = x'00' WHERE ip = ?", ((2).to_bytes(16, "big"),))

    await db.submit(spoil)
    assert await store.load() == [FULL]
    assert caplog.text.count("dhcp6.lease-unreadable") == 2


async def test_the_servers_duid_is_made_once(db: Database) -> None:
    store = LeaseStore6(db)
    assert await store.server_duid(b"first") == b"first"
    assert await store.server_duid(b"second") == b"first"


octets = st.binary(max_size=40)
numbers = st.integers(0, 2**128 - 1)
times = st.integers(0, 2 * 10**12).map(lambda ms: ms / 1000)
leases = st.builds(
    Lease, numbers, octets, st.text(max_size=20), times, st.sampled_from(LeaseState), times,
    st.text(st.characters(codec="utf-8"), max_size=20), octets, numbers, octets, octets, st.just(""),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(st.lists(leases, max_size=30, unique_by=lambda lease: lease.ip))
async def test_any_lease_comes_back(db: Database, some: list[Lease]) -> None:
    store = LeaseStore6(db)
    await store.save(some)
    found = {lease.ip: lease for lease in await store.load()}
    assert [found[lease.ip] for lease in some] == some
