"""What can be wrong with the settings of subnets of either family. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations
from typing import Protocol

from provisioner.dhcp.topology import Given, parse_ranges
from provisioner.errors import ConfigError
from provisioner.model.boot import Unknown

AUTHORITATIVE, RESERVATIONS_ONLY = "authoritative", "reservations-only"
"""Modes that both families have."""


class Settings(Given, Protocol):
    """What the settings of a subnet of either family have to say for it."""

    @property
    def network(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def router_advertisements(self) -> bool: ...


def attempt(name: str, read: Callable[[], object]) -> Iterator[str]:
    """Say why a setting cannot be read."""
    try:
        read()
    except (ConfigError, ValueError) as error:
        text = str(error)
        yield text if text.startswith(name) else f"{name}: {text}"


def bounds(subnet: Settings, limits: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Say which numbers are too low or too high."""
    for name, (low, high) in limits.items():
        value = getattr(subnet, name)
        if not low <= value <= high:
            yield f"{name}: {value}: from {low} to {high}"


def roles(subnet: Settings, reservations: str) -> Iterator[str]:
    """Say which settings contradict each other. `reservations` is what fixed addresses are called."""
    if subnet.mode == RESERVATIONS_ONLY and (subnet.pools or subnet.quarantine_pools):
        hint = "leave them out, or use authoritative"
        yield f"pools: mode reservations-only gives addresses of {reservations} only: {hint}"
    if subnet.mode == AUTHORITATIVE and subnet.unknown is Unknown.DISCOVER and not subnet.pools:
        yield "pools: unknown is discover, and there is no pool to give addresses from"
    if subnet.unknown is Unknown.QUARANTINE and not subnet.quarantine_pools and subnet.mode == AUTHORITATIVE:
        yield "quarantine_pools: unknown is quarantine, and there is no pool for them"
    if subnet.unknown is not Unknown.QUARANTINE and subnet.quarantine_pools:
        yield f"quarantine_pools: unknown is {subnet.unknown}, so nobody gets these: leave them out"
    if subnet.router_advertisements and not subnet.interface:
        yield "router_advertisements: needs an interface to send them on"


def places(subnet: Settings, network: IPv4Network | IPv6Network, names: Sequence[str]) -> Iterator[str]:
    """Say which pools lie where they cannot be, or hold addresses that the subnet's settings `names` hold."""
    try:
        ranges = parse_ranges((*subnet.pools, *subnet.quarantine_pools), type(network))
    except ConfigError:
        return  # said already
    spell = type(network.network_address)
    for low, high in ranges:
        for fault in (*_range(low, high, network), *_taken(low, high, subnet, names)):
            yield f"pool {spell(low)}-{spell(high)}: {fault}"
    for (low_a, high_a), (low_b, high_b) in combinations(ranges, 2):
        if low_a <= high_b and low_b <= high_a:
            yield f"pools {spell(low_a)}- and {spell(low_b)}- overlap"


def _range(low: int, high: int, network: IPv4Network | IPv6Network) -> Iterator[str]:
    first, last = int(network.network_address), int(network.broadcast_address)
    if low > high:
        yield "ends before it begins"
    elif low < first or high > last:
        yield f"not inside {network}"
    elif network.version == 4 and network.prefixlen < 31 and (low == first or high == last):
        yield "holds the network's own or its broadcast address"


def _taken(low: int, high: int, subnet: Settings, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        value = getattr(subnet, name)
        for text in (value,) if isinstance(value, str) else value:
            try:
                own = ip_address(text)
            except ValueError:
                continue  # empty, or said already
            if low <= int(own) <= high:
                yield f"holds {own}, which is the subnet's {name}"


def between(subnets: Iterable[Settings], shared: Sequence[str]) -> Iterator[str]:
    """Say which subnets do not go together. Those on one wire have all of `shared` alike."""
    for a, b in combinations(subnets, 2):
        if ip_network(a.network).overlaps(ip_network(b.network)):
            yield f"subnets {a.title} and {b.title}: the networks overlap"
        if a.title == b.title:
            yield f"subnets {a.network} and {b.network}: both are called {a.title}"
        if a.shared_network and a.shared_network == b.shared_network:
            for name in shared:
                if getattr(a, name) != getattr(b, name):
                    yield f"subnets {a.title} and {b.title}: they share {a.shared_network}, but differ in {name}"
        elif a.interface and a.interface == b.interface:
            yield f"subnets {a.title} and {b.title}: both on {a.interface}: give them the same shared_network"
