"""Everything that is wrong with DHCPv6 settings, at once, before anything is served. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network

from provisioner.dhcp import called
from provisioner.dhcp.reservations import loaders_by_arch
from provisioner.dhcp.sound import (
    BOTH_LIMITS,
    Barred,
    attempt,
    beside,
    between,
    bounds,
    deserted,
    doubled,
    places,
    port_mac,
    roles,
    uuid_faults,
)
from provisioner.dhcp.topology import parse_ranges
from provisioner.dhcp.v6.net import base_options
from provisioner.dhcp.v6.reservations import Key, compiled, key_of
from provisioner.dhcp.v6.subnets import Mode6, Reservation6, Subnet6
from provisioner.errors import ConfigError

LEASE_LIMIT_S = 2**31 - 1
SHARED = ("mode", "unknown", "interface")
"""What subnets on one wire have alike."""
SAID = {"dns": (23,), "search": (24,), "ntp": (56,)}
"""The options that settings write: `options` may not say another thing of them."""
OWN = ("server_address",)
"""Settings of a subnet whose addresses no machine can have. A name server may well be a machine with a reservation."""
Networks = Sequence[tuple[IPv6Network, Subnet6, Barred]]


def faults_of(subnets: Iterable[Subnet6], reservations: Iterable[Reservation6]) -> list[str]:
    """Say everything that is wrong, one line each; empty where the settings can be served."""
    found: list[str] = []
    subnets = tuple(subnets)
    for where, subnet in zip(called.subnets6(subnets), subnets, strict=True):
        found += (f"{where}: {fault}" for fault in _subnet(subnet))
    if not found:  # what compares subnets needs each of them to be right
        found += between(subnets, SHARED, called.SUBNETS6)
        found += _reservations(tuple(reservations), subnets)
    return found


def faults_of_subnets(subnets: Sequence[Subnet6], others: Iterable[Subnet6], fixed: Collection[int]) -> list[str]:
    """Say what is wrong with subnets beside others that are right, and beside all `fixed` addresses."""
    named = list(zip(called.subnets6(subnets), subnets, strict=True))
    found = [f"{where}: {fault}" for where, each in named for fault in _subnet(each)]
    found += beside(subnets, others, SHARED, called.SUBNETS6) if not found else ()
    return found or [f"{where}: {fault}" for where, each in named for fault in Barred(each, OWN).faults(fixed)]


def faults_of_reservation(reservation: Reservation6, subnets: Iterable[Subnet6]) -> list[str]:
    """Say what is wrong with one fixed address where all else is right."""
    return list(_reservation(reservation, _networks_of(subnets)))


def _subnet(subnet: Subnet6) -> Iterator[str]:
    try:
        network = IPv6Network(subnet.network)
    except ValueError as error:
        yield f"network: {error}; write the first address, such as fd00:8::/64"
        return
    yield from deserted(network)
    yield from attempt("pools", lambda: parse_ranges(subnet.pools, IPv6Network))
    yield from attempt("quarantine_pools", lambda: parse_ranges(subnet.quarantine_pools, IPv6Network))
    faults = list(attempt("options", lambda: base_options(subnet)))
    yield from faults or doubled(subnet, map(int, subnet.options), SAID)
    yield from attempt("loader", lambda: loaders_by_arch(subnet.loader))
    yield from attempt("server_address", lambda: subnet.server_address and IPv6Address(subnet.server_address))
    yield from _numbers(subnet)
    yield from roles(subnet, "reservations6")
    yield from places(subnet, network, OWN)


def _numbers(subnet: Subnet6) -> Iterator[str]:
    own = {"lease_s": (60, LEASE_LIMIT_S), "preferred_s": (0, subnet.lease_s), "preference": (0, 255)}
    yield from bounds(subnet, {**BOTH_LIMITS, **own})


def _reservations(reservations: tuple[Reservation6, ...], subnets: tuple[Subnet6, ...]) -> Iterator[str]:
    networks = _networks_of(subnets)
    taken: set[IPv6Address] = set()
    by_key: dict[Key, str] = {}
    for where, each in zip(called.reservations6(reservations), reservations, strict=True):
        faults = list(_reservation(each, networks))
        yield from (f"{where}: {fault}" for fault in faults)
        if faults:
            continue
        ip, key = IPv6Address(each.address), key_of(each)
        if ip in taken:
            yield f"{where}: address: {ip} is given twice"
        if key in by_key:
            yield f"{where}: {by_key[key]} and {each.address} are for the same machine"
        taken.add(ip)
        by_key.setdefault(key, each.address)


def _networks_of(subnets: Iterable[Subnet6]) -> Networks:
    """Read the networks of subnets that are right: once for all addresses that are looked up in them."""
    return [(IPv6Network(subnet.network), subnet, Barred(subnet, OWN)) for subnet in subnets]


def _reservation(each: Reservation6, networks: Networks) -> Iterator[str]:
    try:
        ip = IPv6Address(compiled(each).ip)
    except ConfigError as error:
        yield str(error)
        return
    if each.mac:
        yield from attempt("mac", lambda: port_mac(each.mac))
    yield from uuid_faults(each.uuid)
    found = next(((subnet, barred) for network, subnet, barred in networks if ip in network), None)
    if found is None:
        yield f"address: {ip} is in no subnet"
        return
    subnet, barred = found
    if subnet.mode is Mode6.OFF:
        yield f"address: {ip} is in {subnet.title}, which is off"
    elif why := barred.why(int(ip)):
        yield f"address: {ip} {why}"
