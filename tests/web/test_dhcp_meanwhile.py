"""What machines get while an import is written is theirs afterwards, in memory and on the disk."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.dhcp.adopt import Kind, Want
from provisioner.dhcp.leases import Lease, LeaseState
from provisioner.store.leases import LeaseStore
from tests.dhcp.clients import NOW, ip
from tests.web.dhcp import Desk
from tests.web.test_dhcp import KEY

IMPORTED, OTHER = ip("10.0.0.105"), ip("10.0.0.103")
STRANGER = bytes.fromhex("525400000009")
BOUND, RELEASED = LeaseState.BOUND, LeaseState.RELEASED
MEANWHILE: dict[str, tuple[list[tuple[int, bytes, float]], dict[int, tuple[bytes, LeaseState]]]] = {
    "nothing": ([], {IMPORTED: (KEY, BOUND)}),
    "its other address": ([(OTHER, KEY, NOW + 60)], {IMPORTED: (KEY, RELEASED), OTHER: (KEY, BOUND)}),
    "its other address, which is over by then": (
        [(OTHER, KEY, NOW - 1)], {IMPORTED: (KEY, BOUND), OTHER: (KEY, RELEASED)},
    ),
    "the same address for longer": ([(IMPORTED, KEY, NOW + 9999)], {IMPORTED: (KEY, BOUND)}),
    "somebody else has it": ([(IMPORTED, STRANGER, NOW + 60)], {IMPORTED: (STRANGER, BOUND)}),
}  # fmt: skip


class Slow:
    """A store in which machines get addresses before the import's rows are written."""

    def __init__(self, desk: Desk, given: list[Lease]) -> None:
        self._store, self._desk, self._given = desk.imports._store, desk, given

    async def take_over(self, verdicts: Any) -> None:
        pool = next(iter(self._desk.server.site.pools()))
        for lease in self._given:
            await LeaseStore(self._desk.db).save(list(pool.bind(lease)))
        await self._store.take_over(verdicts)


@pytest.mark.parametrize(("given", "kept"), MEANWHILE.values(), ids=MEANWHILE.keys())
async def test_what_a_machine_got_meanwhile(
    desk: Desk, given: list[tuple[int, bytes, float]], kept: dict[int, tuple[bytes, LeaseState]]
) -> None:
    pool = next(iter(desk.server.site.pools()))
    leases = [Lease(number, key, pool.name, until, since=NOW - 5) for number, key, until in given]
    desk.imports._store = Slow(desk, leases)  # type: ignore[assignment]
    assert (await desk.imports.take_over([Want(Kind.LEASE, IMPORTED, KEY, until=NOW + 600)])).applied
    stored = {lease.ip: lease for lease in await LeaseStore(desk.db).load()}
    for found in (pool.by_ip, stored):
        assert {number: (lease.key, lease.state) for number, lease in found.items()} == kept
    assert {number: lease.until for number, lease in pool.by_ip.items()} == {
        number: lease.until for number, lease in stored.items()
    }
