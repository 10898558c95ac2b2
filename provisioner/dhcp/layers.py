"""What is fixed for a hardware address, said by several: the file, the operator's API, a machine on record. No I/O."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import IntEnum
from ipaddress import IPv4Address

from provisioner.dhcp.subnets import Reservation
from provisioner.model.net import Mac, parse_mac


class Origin(IntEnum):
    """Who said it; the later one stands over the earlier."""

    FILE = 0
    OPERATOR = 1
    MACHINE = 2


class Layers:
    """Every reservation by who said it. Each call touches one hardware address."""

    def __init__(self) -> None:
        self._by_mac: dict[Mac, dict[Origin, Reservation]] = {}
        self._holders: dict[int, set[Mac]] = {}
        self._order: list[Mac] | None = None
        """All hardware addresses in order, once somebody has asked for them."""

    def get(self, mac: Mac, origin: Origin) -> Reservation | None:
        """Give what one said."""
        return self._by_mac.get(mac, {}).get(origin)

    def merged(self, mac: Mac) -> Reservation | None:
        """Give what holds for a hardware address."""
        return _merge(self._by_mac.get(mac, {}))

    def with_(self, origin: Origin, reservation: Reservation) -> Reservation:
        """Say what would hold with this; nothing changes. Raises `ConfigError` for a malformed hardware address."""
        mac = parse_mac(reservation.mac)
        found = _merge({**self._by_mac.get(mac, {}), origin: replace(reservation, mac=mac)})
        assert found is not None
        return found

    def without(self, origin: Origin, mac: Mac) -> Reservation | None:
        """Say what would be left."""
        return _merge({who: said for who, said in self._by_mac.get(mac, {}).items() if who is not origin})

    def set(self, origin: Origin, reservation: Reservation) -> None:
        """Add or change what one says."""
        mac = parse_mac(reservation.mac)
        self.remove(origin, mac)
        if mac not in self._by_mac and self._order is not None:
            insort(self._order, mac)
        self._by_mac.setdefault(mac, {})[origin] = replace(reservation, mac=mac)
        for address in reservation.fixed:
            self._holders.setdefault(int(IPv4Address(address)), set()).add(mac)

    def remove(self, origin: Origin, mac: Mac) -> Reservation | None:
        """Forget what one said; give it."""
        said = self._by_mac.get(mac, {})
        gone = said.pop(origin, None)
        if not said and self._by_mac.pop(mac, None) is not None and self._order is not None:
            del self._order[bisect_left(self._order, mac)]
        for address in gone.fixed if gone is not None else ():
            if any(address in each.fixed for each in said.values()):
                continue
            number = int(IPv4Address(address))
            holders = self._holders.get(number, set())
            holders.discard(mac)
            if not holders:
                self._holders.pop(number, None)
        return gone

    def page(self, after: str, limit: int) -> list[Mac]:
        """Give the first hardware addresses behind `after`, in order."""
        if self._order is None:
            self._order = sorted(self._by_mac)
        at = bisect_right(self._order, Mac(after))
        return self._order[at : at + limit]

    def holders(self, ip: int) -> frozenset[Mac]:
        """Say which hardware addresses this address is fixed for."""
        return frozenset(self._holders.get(ip, ()))

    def special(self) -> list[Reservation]:
        """Give what holds for hardware addresses with loaders of their own, or a profile, which may name some."""
        macs = {mac for mac, said in self._by_mac.items() for each in said.values() if each.loader or each.profile}
        return [merged for mac in sorted(macs) if (merged := self.merged(mac)) is not None]

    def __iter__(self) -> Iterator[tuple[Origin, Reservation]]:
        for said in self._by_mac.values():
            yield from said.items()


def _merge(said: Mapping[Origin, Reservation]) -> Reservation | None:
    """Each field is of the latest origin that fills it; loaders and options add up."""
    found: Reservation | None = None
    for origin in sorted(said):
        upper = said[origin]
        found = upper if found is None else _over(found, upper)
    return found


def _over(lower: Reservation, upper: Reservation) -> Reservation:
    where = upper if upper.fixed else lower
    return Reservation(
        mac=upper.mac,
        address=where.address,
        addresses=where.addresses,
        name=upper.name or lower.name,
        uuid=upper.uuid or lower.uuid,
        profile=upper.profile or lower.profile,
        loader={**lower.loader, **upper.loader},
        https=upper.https or lower.https,
        options={**lower.options, **upper.options},
    )
