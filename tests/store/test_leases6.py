"""What only DHCPv6 has in the store: the server's own DUID, and addresses as octets."""

from __future__ import annotations

import pytest

from provisioner.store.db import Database
from provisioner.store.leases6 import LeaseStore6
from tests.store.test_leases import FAMILIES, db

__all__ = ["db"]


async def test_the_servers_duid_is_made_once(db: Database) -> None:
    store = LeaseStore6(db)
    assert await store.server_duid(b"first") == b"first"
    assert await store.server_duid(b"second") == b"first"


async def test_an_address_that_is_cut_short_is_left_out(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    store, full = LeaseStore6(db), FAMILIES["IPv6"].full()
    await store.save([full, full._replace(ip=2)])
    cut = "UPDATE lease6 SET ip = x'00' WHERE ip = ?"
    await db.submit(lambda cursor: cursor.execute(cut, ((2).to_bytes(16, "big"),)) and None)
    assert await store.load() == [full]
    assert caplog.text.count("dhcp6.lease-unreadable") == 1
