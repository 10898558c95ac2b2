"""Subnets of either family that are changed where the store does not take the change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.dhcp.leases import Lease
from provisioner.errors import StoreError
from tests.dhcp.clients import NOW
from tests.web.dhcp import Desk

FULL = "CREATE TRIGGER full BEFORE INSERT ON dhcp_setting BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
SMALLER = {
    "IPv4": {"network": "10.0.0.0/26", "pools": ("10.0.0.10-10.0.0.19",)},
    "IPv6": {"network": "fd00::/120", "pools": ("fd00::10-fd00::19",)},
}


@pytest.mark.parametrize(("family", "changes"), SMALLER.items(), ids=SMALLER.keys())
async def test_a_subnet_that_could_not_be_made_smaller_still_has_all_its_leases(
    tmp_path: Path, family: str, changes: dict[str, Any]
) -> None:
    """Also those that are so new that the store has not got them yet."""
    desk = await Desk(tmp_path).open()
    server: Any = desk.server if family == "IPv4" else desk.server6
    book: Any = desk.book if family == "IPv4" else desk.book6
    (net,) = server.site.topology
    low = net.pool.ranges[0][0]
    held = net.pool.bind(Lease(low, b"\x52\x54\0\0\0\1", net.pool.name, NOW + 100, since=NOW))
    await desk.db.submit(lambda cursor: cursor.execute(FULL) and None)
    with pytest.raises(StoreError, match="disk is full"):
        await book.subnets.set(replace(net.config, **changes))
    assert [each.network for each in server.subnets()] == [net.config.network]
    assert server.leases() == list(held)
    await desk.close()
