"""Addresses of either family that an operator frees while the store fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import StoreError
from tests.dhcp.clients import NOW
from tests.web.dhcp import Desk

FAMILIES = {"IPv4": ("server", "book", "lease"), "IPv6": ("server6", "book6", "lease6")}


@pytest.mark.parametrize(("server", "book", "table"), FAMILIES.values(), ids=FAMILIES.keys())
async def test_an_address_that_was_freed_is_free_on_the_disk_by_the_end(
    tmp_path: Path, server: str, book: str, table: str
) -> None:
    """The operator is told that it failed; a second try would say that the address is not out of use."""
    desk = await Desk(tmp_path).open()
    served, changed = getattr(desk, server), getattr(desk, book)
    (net,) = served.site.topology
    ip = net.pool.ranges[0][0]
    store: Any = changed._leases
    await store.save([net.pool.decline(ip, NOW, 3600, "the printer uses it")])
    full = f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
    await desk.db.submit(lambda cursor: cursor.execute(full) and None)
    with pytest.raises(StoreError, match="disk is full"):
        await changed.forgive(ip)
    await desk.db.submit(lambda cursor: cursor.execute("DROP TRIGGER full") and None)
    await served.held.settle()
    assert [(lease.ip, lease.until) for lease in await store.load()] == [(ip, NOW)]
    await desk.close()
