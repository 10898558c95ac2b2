"""What faults call the subnets and reservations of a configuration. No I/O.

By what they are known by, or by number: those that are known by nothing, or by what one before is known by.
"""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.dhcp.subnets import Reservation, Subnet
from provisioner.dhcp.v6.subnets import Reservation6, Subnet6

SUBNETS6 = "subnets6"
"""What subnets of IPv6 are called together: one of IPv4 may have the same name."""


def subnets(found: Iterable[Subnet]) -> list[str]:
    """Call each subnet."""
    return _names("subnet", "subnets", (each.title for each in found))


def subnets6(found: Iterable[Subnet6]) -> list[str]:
    """Call each subnet of IPv6."""
    return _names("subnet6", SUBNETS6, (each.title for each in found))


def reservations(found: Iterable[Reservation]) -> list[str]:
    """Call each reservation."""
    return _names("reservation", "reservations", (each.mac or each.name for each in found))


def reservations6(found: Iterable[Reservation6]) -> list[str]:
    """Call each reservation of IPv6."""
    return _names("reservation6", "reservations6", (each.address or each.name for each in found))


def _names(one: str, many: str, titles: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    found = []
    for index, title in enumerate(titles):
        found.append(f"{one} {title}" if title and title not in seen else f"{many}[{index}]")
        seen.add(title)
    return found
