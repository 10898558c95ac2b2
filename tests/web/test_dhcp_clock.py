"""A daemon whose wall clock was wrong, over two starts on one store."""

from __future__ import annotations

from pathlib import Path

from provisioner.clock import SteadyClock
from provisioner.dhcp.subnets import Dhcp
from provisioner.store.leases import LeaseStore
from tests.dhcp.clients import MAC, NOW, US, acquire, ask, request, subnet
from tests.web.dhcp import Desk


async def test_a_lease_outlives_a_restart_after_the_clock_was_set_right(tmp_path: Path) -> None:
    """The daemon began in 2001, for want of a battery; the time came by the network later."""
    wall, config = [1_000_000_000.0], Dhcp(subnets=(subnet(),))
    first = await Desk(tmp_path, config, SteadyClock(lambda: wall[0], lambda: 0.0)).open()
    wall[0] = NOW
    question = request(acquire(first.server.site, now=first.server.now()), server=US)
    found = ask(first.server.site, question, now=first.server.now())
    await LeaseStore(first.db).save(list(found.store))
    await first.server.stop()
    await first.close()
    second = await Desk(tmp_path, config, SteadyClock(lambda: wall[0], lambda: 0.0)).open()
    assert second.holders("10.0.0.100") == [MAC]
    (kept,) = second.server.leases()
    assert (kept.since, kept.until) == (NOW, NOW + config.subnets[0].lease_s)
    await second.close()
