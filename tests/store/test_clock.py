"""Leases that were written while the clock was wrong are moved by as much as it was set, once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from provisioner.dhcp.leases import FOR_EVER, Lease
from provisioner.errors import StoreError
from provisioner.store.clock import ClockStore
from provisioner.store.db import Database
from provisioner.store.leases import LeaseStore
from provisioner.store.leases6 import LeaseStore6

NOW = 1_800_000_000.0
YEAR_S = 365 * 86400.0


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


Span = tuple[float, float]
CASES: dict[str, tuple[Sequence[float], Span, Span]] = {
    "the clock was right": ((), (NOW - 10, NOW + 90), (NOW - 10, NOW + 90)),
    "it was set forward": ((YEAR_S,), (NOW - YEAR_S - 10, NOW - YEAR_S + 90), (NOW - 10, NOW + 90)),
    "forward in two steps": ((YEAR_S, 60.0), (NOW - YEAR_S - 70, NOW - YEAR_S), (NOW - 10, NOW + 60)),
    "a second before the clock was adjusted": ((YEAR_S,), (NOW - YEAR_S + 1, NOW - YEAR_S + 9), (NOW + 1, NOW + 9)),
    "written before, by a clock that was right": ((YEAR_S,), (NOW - 10, NOW + 90), (NOW - 10, NOW + 90)),
    "without an end": ((YEAR_S,), (NOW - YEAR_S - 10, FOR_EVER), (NOW - YEAR_S - 10, FOR_EVER)),
    "it was set back": ((-YEAR_S,), (NOW + YEAR_S, NOW + YEAR_S + 90), (NOW + YEAR_S, NOW + YEAR_S + 90)),
    "there and back again": ((YEAR_S, -YEAR_S), (NOW - YEAR_S, NOW - 90), (NOW - YEAR_S, NOW - 90)),
}


@pytest.mark.parametrize("family", [LeaseStore, LeaseStore6])
@pytest.mark.parametrize(("jumps", "stored", "expected"), CASES.values(), ids=CASES.keys())
async def test_leases_last_as_long_as_they_were_given_for(
    db: Database, family: type[LeaseStore | LeaseStore6], jumps: Sequence[float], stored: Span, expected: Span
) -> None:
    leases, clock = family(db), ClockStore(db)
    since, until = stored
    await leases.save([Lease(5, b"123456", "p", until, since=since)])
    for seconds in jumps:
        await clock.jumped(seconds)
    for _ in range(2):  # once, however often the daemon starts
        await clock.settle(NOW)
        assert [(lease.since, lease.until) for lease in await leases.load()] == [expected]


async def test_what_was_moved_is_told(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    await LeaseStore(db).save([Lease(ip, b"123456", "p", 90.0, since=10.0) for ip in (5, 6)])
    await ClockStore(db).jumped(1000.0)
    await ClockStore(db).settle(NOW)
    assert "dhcp.clock-settled seconds=1000 leases=2" in caplog.text


async def test_a_jump_that_cannot_be_kept_is_told(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    await db.submit(lambda cursor: cursor.execute("DROP TABLE clock_set") and None)
    with pytest.raises(StoreError):
        await ClockStore(db).jumped(1000.0)
    assert "dhcp.clock-unsaved" in caplog.text
