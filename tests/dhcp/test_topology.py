"""Subnets of either family that are changed while machines hold leases in them."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

import pytest

from provisioner.dhcp.leases import Lease
from provisioner.dhcp.topology import Net, Served, Topology
from provisioner.dhcp.v6.net import Net6
from provisioner.model.boot import Unknown
from tests.dhcp.clients import NOW, subnet
from tests.dhcp.v6.clients import subnet as subnet6

HOLDER, ASKER, STRANGER = (bytes((0x52, 0x54, 0, 0, 0, number)) for number in (1, 2, 3))


class Family(NamedTuple):
    """What differs between the families. `prefix` is what the addresses of its subnet begin with."""

    net: Callable[..., Served]
    prefix: str

    def ip(self, number: int) -> int:
        return int(ip_address(f"{self.prefix}{number}"))

    def ranges(self, low: int, high: int) -> tuple[str]:
        return (f"{self.prefix}{low}-{self.prefix}{high}",)

    def made(self, pool: tuple[int, int], quarantine: tuple[int, int] | None = None) -> Served:
        kept = self.ranges(*quarantine) if quarantine else ()
        unknown = Unknown.QUARANTINE if quarantine else Unknown.DISCOVER
        return self.net(pools=self.ranges(*pool), quarantine_pools=kept, unknown=unknown)


SPARES: dict[str, tuple[int, int, int]] = {
    "a pool of five": (5, 10, 1),
    "a pool of nine": (9, 10, 1),
    "a part of an address is one": (9, 12, 2),
    "a share without a rest": (8, 25, 2),
    "one address is for whoever comes": (1, 10, 0),
    "of two, one is for whoever comes": (2, 99, 1),
    "all of one": (1, 100, 1),
    "all of nine": (9, 100, 9),
    "nothing": (9, 0, 0),
    "no pool": (0, 10, 0),
}
"""Addresses, percent, and how many of them are for machines on record only."""

FAMILIES = {
    "IPv4": Family(lambda **changes: Net(subnet(**changes)), "10.0.0."),
    "IPv6": Family(lambda **changes: Net6(subnet6(**changes)), "fd00::"),
}
CHANGES = {
    "a range becomes a quarantine": (((100, 109), None), ((105, 109), (100, 104))),
    "a quarantine becomes a pool": (((105, 109), (100, 104)), ((100, 109), None)),
    "pool and quarantine change places": (((100, 104), (105, 109)), ((105, 109), (100, 104))),
    "nothing changes": (((100, 104), (105, 109)), ((100, 104), (105, 109))),
}
Moved = tuple[str, str]
Ranges = tuple[tuple[int, int], tuple[int, int] | None]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
@pytest.mark.parametrize(("before", "after"), CHANGES.values(), ids=CHANGES.keys())
def test_what_is_held_or_offered_is_so_in_the_pool_that_has_the_address_now(
    family: Family, before: Ranges, after: Ranges
) -> None:
    old, new = family.made(*before), family.made(*after)
    topology: Topology[Served] = Topology([old])
    held, offered = family.ip(100), family.ip(105)
    old.pool_at(held).bind(Lease(held, HOLDER, old.pool_at(held).name, NOW + 100, since=NOW))
    old.pool_at(offered).offer(ASKER, offered, NOW)
    topology.set(new)
    assert new.pool_at(held).held(HOLDER, NOW) == held
    assert new.pool_at(offered).held(ASKER, NOW) == offered
    assert [lease.pool for lease in topology.leases()] == [new.pool_at(held).name]
    for pool in new.pools:
        assert not {pool.pick(STRANGER, wanted, NOW, known=True) for wanted in (0, held, offered)} & {held, offered}


def looked_at(ip: int) -> int:
    raise AssertionError(f"all fixed addresses were looked through, from {ip} on")


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_a_change_of_other_settings_touches_no_lease(family: Family) -> None:
    """A site may have 100,000 leases and as many fixed addresses, and they are not to wait meanwhile."""
    place = {"pools": family.ranges(100, 109), "quarantine_pools": family.ranges(110, 111)}
    before = family.net(**place, unknown=Unknown.QUARANTINE, offer_s=30, known_spare=0)
    topology: Topology[Served] = Topology()
    topology.set(before, [family.ip(105)])
    held, offered = family.ip(100), family.ip(101)
    before.pool.bind(Lease(held, HOLDER, before.pool.name, NOW + 100, since=NOW))
    before.pool.offer(ASKER, offered, NOW)
    after = family.net(**place, unknown=Unknown.DISCOVER, offer_s=60, known_spare=50)
    topology.set(after, map(looked_at, [family.ip(105)]))
    assert after.pools == before.pools
    assert after.pool_for(known=False) is after.pool
    assert (after.pool.held(HOLDER, NOW), after.pool.held(ASKER, NOW)) == (held, offered)
    assert (after.pool.offer_s, after.pool.spare, after.pool.is_fixed(family.ip(105))) == (60, 5, True)
    assert after.pool_at(family.ip(110)) is after.quarantine is before.quarantine


LOSSES: dict[str, Moved] = {
    "it is split": ("10.0.0.0/24", "fd00::/65"),
    "it is numbered anew": ("10.9.0.0/24", "fd09::/64"),
    "it shrinks to the other half": ("10.0.0.128/25", "fd00:0:0:0:4000::/66"),
}
"""What becomes of a subnet whose last addresses, in its second half, are held: its network after that, by family."""


@pytest.mark.parametrize("after", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize("place", [0, 1], ids=FAMILIES)
def test_a_subnet_keeps_nothing_of_the_addresses_that_it_loses(place: int, after: Moved) -> None:
    """Another subnet may serve them by now: its record of their holder is the one that counts."""
    make = tuple(FAMILIES.values())[place].net
    wide, other = ("10.0.0.0/23", "fd00::/64"), ("10.0.1.0/24", "fd00:0:0:0:8000::/65")
    low = int(ip_network(other[place]).network_address) + 0x32
    pools = (f"{ip_address(low)}-{ip_address(low + 9)}",)
    before = make(name="A", network=wide[place], pools=pools)
    topology: Topology[Served] = Topology([before])
    (stored,) = before.pool.bind(Lease(low, HOLDER, "A", NOW + 100, since=NOW))
    before.pool.offer(ASKER, low + 1, NOW)
    rest = make(name="A", network=after[place], pools=())
    topology.set(rest)
    topology.set(make(name="B", network=other[place], pools=pools))
    topology.take_over([stored], NOW)
    assert topology.leases() == [stored._replace(pool="B")]
    assert not any(pool.knows(key) for pool in rest.pools for key in (HOLDER, ASKER))
    again = Lease(int(ip_network(after[place]).network_address) + 5, HOLDER, "A", NOW + 100, since=NOW)
    assert rest.pool.bind(again) == (again,)


@pytest.mark.parametrize(("size", "percent", "spare"), SPARES.values(), ids=SPARES.keys())
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_what_strangers_leave(family: Family, size: int, percent: int, spare: int) -> None:
    pools = family.ranges(1, size) if size else ()
    pool = family.net(pools=pools, known_spare=percent).pool
    assert pool.spare == spare

    def take(*, known: bool, kind: int) -> int:
        taken = 0
        while (ip := pool.pick(key := bytes((kind, 0, 0, 0, 0, taken)), 0, NOW, known=known)) is not None:
            pool.bind(Lease(ip, key, pool.name, NOW + 100, since=NOW))
            taken += 1
        return taken

    assert [take(known=False, kind=2), take(known=True, kind=4)] == [size - spare, spare]
