"""Everything that is wrong with DHCPv6 settings, at once, before anything is served. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address, IPv6Network
from itertools import combinations

from provisioner.dhcp.reservations import loaders_by_arch
from provisioner.dhcp.topology import parse_ranges
from provisioner.dhcp.v6.net import base_options
from provisioner.dhcp.v6.reservations import compiled, key_of
from provisioner.dhcp.v6.subnets import Mode6, Reservation6, Subnet6
from provisioner.errors import ConfigError
from provisioner.model.boot import Unknown

LEASE_LIMIT_S = 2**31 - 1


def faults_of(subnets: Iterable[Subnet6], reservations: Iterable[Reservation6]) -> list[str]:
    """Say everything that is wrong, one line each; empty where the settings can be served."""
    found: list[str] = []
    subnets = tuple(subnets)
    for index, subnet in enumerate(subnets):
        where = f"subnet {subnet.title}" if subnet.title else f"subnets6[{index}]"
        found += (f"{where}: {fault}" for fault in _subnet(subnet))
    if not found:  # what compares subnets needs each of them to be right
        found += _between(subnets)
        found += _reservations(tuple(reservations), subnets)
    return found


def faults_of_subnet(subnet: Subnet6, others: Iterable[Subnet6]) -> list[str]:
    """Say what is wrong with one subnet beside others that are right."""
    found = [f"subnet {subnet.title}: {fault}" for fault in _subnet(subnet)]
    for other in others if not found else ():
        found += _between((other, subnet))
    return found


def faults_of_reservation(reservation: Reservation6, subnets: Iterable[Subnet6]) -> list[str]:
    """Say what is wrong with one fixed address where all else is right."""
    return list(_reservation(reservation, tuple(subnets)))


def _subnet(subnet: Subnet6) -> Iterator[str]:
    try:
        network = IPv6Network(subnet.network)
    except ValueError as error:
        yield f"network: {error}; write the first address, such as fd00:8::/64"
        return
    yield from _try("pools", lambda: parse_ranges(subnet.pools, IPv6Network))
    yield from _try("quarantine_pools", lambda: parse_ranges(subnet.quarantine_pools, IPv6Network))
    yield from _try("options", lambda: base_options(subnet))
    yield from _try("loader", lambda: loaders_by_arch(subnet.loader))
    yield from _try("server_address", lambda: subnet.server_address and IPv6Address(subnet.server_address))
    yield from _numbers(subnet)
    yield from _roles(subnet)
    yield from _places(subnet, network)


def _numbers(subnet: Subnet6) -> Iterator[str]:
    bounds = {
        "lease_s": (60, LEASE_LIMIT_S),
        "preferred_s": (0, subnet.lease_s),
        "offer_s": (5, 300),
        "preference": (0, 255),
        "known_spare": (0, 100),
        "http_port": (0, 65535),
        "ra_lifetime_s": (0, 65535),
    }
    for name, (low, high) in bounds.items():
        value = getattr(subnet, name)
        if not low <= value <= high:
            yield f"{name}: {value}: from {low} to {high}"


def _roles(subnet: Subnet6) -> Iterator[str]:
    """Settings that contradict each other."""
    authoritative = subnet.mode is Mode6.AUTHORITATIVE
    if subnet.mode is Mode6.RESERVATIONS_ONLY and (subnet.pools or subnet.quarantine_pools):
        yield "pools: mode reservations-only gives those of reservations6 only: leave them out, or use authoritative"
    if authoritative and subnet.unknown is Unknown.DISCOVER and not subnet.pools:
        yield "pools: unknown is discover, and there is no pool to give addresses from"
    if subnet.unknown is Unknown.QUARANTINE and not subnet.quarantine_pools and authoritative:
        yield "quarantine_pools: unknown is quarantine, and there is no pool for them"
    if subnet.unknown is not Unknown.QUARANTINE and subnet.quarantine_pools:
        yield f"quarantine_pools: unknown is {subnet.unknown}, so nobody gets these: leave them out"
    if subnet.router_advertisements and not subnet.interface:
        yield "router_advertisements: needs an interface to send them on"


def _places(subnet: Subnet6, network: IPv6Network) -> Iterator[str]:
    """Addresses that lie where they cannot be."""
    try:
        ranges = parse_ranges((*subnet.pools, *subnet.quarantine_pools), IPv6Network)
    except ConfigError:
        return  # said already
    for low, high in ranges:
        where = f"pool {IPv6Address(low)}-{IPv6Address(high)}"
        if low > high:
            yield f"{where}: ends before it begins"
        elif low < int(network.network_address) or high > int(network.broadcast_address):
            yield f"{where}: not inside {network}"
        elif (own := _own(subnet)) and low <= own <= high:
            yield f"{where}: holds {IPv6Address(own)}, which is the subnet's server_address"
    for (low_a, high_a), (low_b, high_b) in combinations(ranges, 2):
        if low_a <= high_b and low_b <= high_a:
            yield f"pools {IPv6Address(low_a)}- and {IPv6Address(low_b)}- overlap"


def _own(subnet: Subnet6) -> int:
    try:
        return int(IPv6Address(subnet.server_address)) if subnet.server_address else 0
    except ValueError:
        return 0  # said already


def _between(subnets: Iterable[Subnet6]) -> Iterator[str]:
    for a, b in combinations(subnets, 2):
        if IPv6Network(a.network).overlaps(IPv6Network(b.network)):
            yield f"subnets {a.title} and {b.title}: the networks overlap"
        if a.title == b.title:
            yield f"subnets {a.network} and {b.network}: both are called {a.title}"
        if a.shared_network and a.shared_network == b.shared_network:
            for name in ("mode", "unknown", "interface"):
                if getattr(a, name) != getattr(b, name):
                    yield f"subnets {a.title} and {b.title}: they share {a.shared_network}, but differ in {name}"
        elif a.interface and a.interface == b.interface:
            yield f"subnets {a.title} and {b.title}: both on {a.interface}: give them the same shared_network"


def _reservations(reservations: tuple[Reservation6, ...], subnets: tuple[Subnet6, ...]) -> Iterator[str]:
    sound = []
    for each in reservations:
        faults = list(_reservation(each, subnets))
        yield from (f"reservation6 {each.address or each.name}: {fault}" for fault in faults)
        if not faults:
            sound.append(each)
    for a, b in combinations(sound, 2):
        if IPv6Address(a.address) == IPv6Address(b.address):
            yield f"reservations6: {a.address} is given twice"
        if key_of(a) == key_of(b):
            yield f"reservations6: {a.address} and {b.address} are for the same machine"


def _reservation(each: Reservation6, subnets: tuple[Subnet6, ...]) -> Iterator[str]:
    try:
        ip = IPv6Address(compiled(each).ip)
    except ConfigError as error:
        yield str(error)
        return
    subnet = next((subnet for subnet in subnets if ip in IPv6Network(subnet.network)), None)
    if subnet is None:
        yield f"address: {ip} is in no subnet"
    elif subnet.mode is Mode6.OFF:
        yield f"address: {ip} is in {subnet.title}, which is off"


def _try(name: str, read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except (ConfigError, ValueError) as error:
        text = str(error)
        yield text if text.startswith(name) else f"{name}: {text}"
