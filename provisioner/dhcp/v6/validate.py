"""Everything that is wrong with DHCPv6 settings, at once, before anything is served. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network

from provisioner.dhcp.reservations import loaders_by_arch
from provisioner.dhcp.sound import attempt, between, bounds, places, roles
from provisioner.dhcp.topology import parse_ranges
from provisioner.dhcp.v6.net import base_options
from provisioner.dhcp.v6.reservations import Key, compiled, key_of
from provisioner.dhcp.v6.subnets import Mode6, Reservation6, Subnet6
from provisioner.errors import ConfigError

LEASE_LIMIT_S = 2**31 - 1
SHARED = ("mode", "unknown", "interface")
"""What subnets on one wire have alike."""
Networks = Sequence[tuple[IPv6Network, Subnet6]]


def faults_of(subnets: Iterable[Subnet6], reservations: Iterable[Reservation6]) -> list[str]:
    """Say everything that is wrong, one line each; empty where the settings can be served."""
    found: list[str] = []
    subnets = tuple(subnets)
    for index, subnet in enumerate(subnets):
        where = f"subnet {subnet.title}" if subnet.title else f"subnets6[{index}]"
        found += (f"{where}: {fault}" for fault in _subnet(subnet))
    if not found:  # what compares subnets needs each of them to be right
        found += between(subnets, SHARED)
        found += _reservations(tuple(reservations), subnets)
    return found


def faults_of_subnet(subnet: Subnet6, others: Iterable[Subnet6]) -> list[str]:
    """Say what is wrong with one subnet beside others that are right."""
    found = [f"subnet {subnet.title}: {fault}" for fault in _subnet(subnet)]
    for other in others if not found else ():
        found += between((other, subnet), SHARED)
    return found


def faults_of_reservation(reservation: Reservation6, subnets: Iterable[Subnet6]) -> list[str]:
    """Say what is wrong with one fixed address where all else is right."""
    return list(_reservation(reservation, _networks_of(subnets)))


def _subnet(subnet: Subnet6) -> Iterator[str]:
    try:
        network = IPv6Network(subnet.network)
    except ValueError as error:
        yield f"network: {error}; write the first address, such as fd00:8::/64"
        return
    yield from attempt("pools", lambda: parse_ranges(subnet.pools, IPv6Network))
    yield from attempt("quarantine_pools", lambda: parse_ranges(subnet.quarantine_pools, IPv6Network))
    yield from attempt("options", lambda: base_options(subnet))
    yield from attempt("loader", lambda: loaders_by_arch(subnet.loader))
    yield from attempt("server_address", lambda: subnet.server_address and IPv6Address(subnet.server_address))
    yield from _numbers(subnet)
    yield from roles(subnet, "reservations6")
    yield from places(subnet, network, ("server_address",))


def _numbers(subnet: Subnet6) -> Iterator[str]:
    limits = {
        "lease_s": (60, LEASE_LIMIT_S),
        "preferred_s": (0, subnet.lease_s),
        "offer_s": (5, 300),
        "preference": (0, 255),
        "known_spare": (0, 100),
        "http_port": (0, 65535),
        "ra_lifetime_s": (0, 65535),
    }
    yield from bounds(subnet, limits)


def _reservations(reservations: tuple[Reservation6, ...], subnets: tuple[Subnet6, ...]) -> Iterator[str]:
    networks = _networks_of(subnets)
    taken: set[IPv6Address] = set()
    by_key: dict[Key, str] = {}
    for each in reservations:
        faults = list(_reservation(each, networks))
        yield from (f"reservation6 {each.address or each.name}: {fault}" for fault in faults)
        if faults:
            continue
        ip, key = IPv6Address(each.address), key_of(each)
        if ip in taken:
            yield f"reservations6: {ip} is given twice"
        if key in by_key:
            yield f"reservations6: {by_key[key]} and {each.address} are for the same machine"
        taken.add(ip)
        by_key.setdefault(key, each.address)


def _networks_of(subnets: Iterable[Subnet6]) -> Networks:
    """Read the networks of subnets that are right: once for all addresses that are looked up in them."""
    return [(IPv6Network(subnet.network), subnet) for subnet in subnets]


def _reservation(each: Reservation6, networks: Networks) -> Iterator[str]:
    try:
        ip = IPv6Address(compiled(each).ip)
    except ConfigError as error:
        yield str(error)
        return
    subnet = next((subnet for network, subnet in networks if ip in network), None)
    if subnet is None:
        yield f"address: {ip} is in no subnet"
    elif subnet.mode is Mode6.OFF:
        yield f"address: {ip} is in {subnet.title}, which is off"
