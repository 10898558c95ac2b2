"""Everything that is wrong with DHCP settings, at once, before anything is served. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, ip_address

from provisioner.boot.plan import TRUSTING
from provisioner.dhcp import called, formats
from provisioner.dhcp.boards import read_range
from provisioner.dhcp.fixed import OWN, Ground, all_ports, all_reservations, overrides_faults, unfit_faults
from provisioner.dhcp.reservations import loaders_by_arch
from provisioner.dhcp.scene import PROXY_PORT
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
    roles,
)
from provisioner.dhcp.subnets import Dhcp, Mode, Overrides, Rogue, Subnet
from provisioner.dhcp.topology import base_options, parse_ranges
from provisioner.dhcp.v6 import validate as v6
from provisioner.model.boot import Unknown

GIVEN = ("router", "dns", "domain", "search", "ntp", "routes", "options")
"""What clients are told beside an address."""
SAID = {
    "network": (1, 28),
    "router": (3,),
    "dns": (6,),
    "domain": (15,),
    "search": (119,),
    "ntp": (42,),
    "routes": (121,),
}
"""The options that settings write: `options` may not say another thing of them."""
LIMITS = {**BOTH_LIMITS, "lease_s": (60, 2**31 - 1)}
SHARED = ("mode", "unknown", "interface", "rogue")
"""What subnets on one wire have alike."""


def faults_of(config: Dhcp) -> list[str]:
    """Say everything that is wrong, one line each; empty where the settings can be served."""
    found = list(_watching(config))
    for where, subnet in zip(called.subnets(config.subnets), config.subnets, strict=True):
        found += (f"{where}: {fault}" for fault in _subnet(subnet))
    for name, profile in config.profiles.items():
        found += (f"profile {name}: {fault}" for fault in overrides_faults(profile))
    if not found:  # what compares subnets needs each of them to be right
        found += between(config.subnets, SHARED)
        found += _profiles(config.profiles, config.subnets)
        ground = Ground(config)
        found += all_reservations(ground)
        found += all_ports(ground)
    return found + v6.faults_of(config.subnets6, config.reservations6)


def faults_without_tls(config: Dhcp) -> list[str]:
    """Say who is to get https:// URLs although nothing is served by HTTPS: wrong where `http.tls_port` is 0."""
    said = list(zip(called.subnets(config.subnets), (x.https for x in config.subnets), strict=True))
    said += zip(called.subnets6(config.subnets6), (x.https for x in config.subnets6), strict=True)
    said += ((f"profile {name}", each.https) for name, each in config.profiles.items())
    said += zip(called.reservations(config.reservations), (x.https for x in config.reservations), strict=True)
    said += zip(called.reservations6(config.reservations6), (x.https for x in config.reservations6), strict=True)
    hint = "nothing is served by HTTPS: set http.tls_port"
    return [f"{who}: https: {trust}: {hint}" for who, trust in said if trust in TRUSTING]


def faults_of_subnets(
    subnets: Sequence[Subnet], others: Sequence[Subnet], config: Dhcp, fixed: Collection[int]
) -> list[str]:
    """Say what is wrong with subnets beside others that are right, and beside all `fixed` addresses."""
    found = [f"subnet {subnet.title}: {fault}" for subnet in subnets for fault in _subnet(subnet)]
    found += _watching(replace(config, subnets=tuple(subnets)))
    found += beside(subnets, others, SHARED) if not found else ()
    found += _profiles(config.profiles, (*subnets, *others))
    return found or [f"subnet {each.title}: {fault}" for each in subnets for fault in Barred(each, OWN).faults(fixed)]


def _profiles(profiles: Mapping[str, Overrides], subnets: Iterable[Subnet]) -> Iterator[str]:
    for name, profile in profiles.items():
        yield from (f"profile {name}: {fault}" for fault in unfit_faults(profile.loader, subnets))


def _watching(config: Dhcp) -> Iterator[str]:
    if not 0 < config.server_port < 65536 or config.server_port == PROXY_PORT:
        yield f"server_port: {config.server_port}: from 1 to 65535, and not {PROXY_PORT}, which is served as well"
    for text in config.bmc_macs:
        yield from attempt("bmc_macs", partial(read_range, text))
    for text in config.allowed_servers:
        yield from attempt("allowed_servers", partial(ip_address, text))
    if config.watch_s and not 5 <= config.watch_s <= 3600:
        yield f"watch_s: {config.watch_s:g}: from 5 to 3600, or 0"
    for subnet in config.subnets:
        if subnet.rogue is Rogue.FALLBACK and not config.watch_s:
            yield f"subnet {subnet.title}: rogue: fallback ends when the other server is gone, and watch_s 0 never asks"


def _subnet(subnet: Subnet) -> Iterator[str]:
    try:
        network = IPv4Network(subnet.network)
    except ValueError as error:
        yield f"network: {error}; write the first address, such as 10.0.8.0/22"
        return
    yield from deserted(network)
    yield from attempt("pools", lambda: parse_ranges(subnet.pools))
    yield from attempt("quarantine_pools", lambda: parse_ranges(subnet.quarantine_pools))
    faults = list(attempt("options", lambda: base_options(subnet, network)))
    yield from faults or formats.twice(subnet.options)
    if not faults:
        yield from doubled(subnet, map(formats.option_code, map(str, subnet.options)), SAID)
    yield from attempt("loader", lambda: loaders_by_arch(subnet.loader))
    yield from attempt("server_address", lambda: subnet.server_address and IPv4Address(subnet.server_address))
    yield from bounds(subnet, LIMITS)
    yield from _roles(subnet)
    yield from places(subnet, network, ("router", "dns", "server_address"))


def _roles(subnet: Subnet) -> Iterator[str]:
    """Settings that contradict each other."""
    if subnet.mode is Mode.PROXY:
        yield from _proxy(subnet)
    if subnet.rogue is Rogue.FALLBACK:
        yield from _fallback(subnet)
    yield from roles(subnet, "reservations")


def _proxy(subnet: Subnet) -> Iterator[str]:
    for name in (*GIVEN, "pools", "quarantine_pools", "rapid_commit"):
        if getattr(subnet, name):
            yield f"{name}: mode proxy gives no addresses and no settings, the other server does: leave it out"
    if subnet.unknown is Unknown.QUARANTINE:
        yield "unknown: quarantine needs addresses of ours, and mode proxy gives none: ignore or discover"
    yield from unfit_faults(subnet.loader, (subnet,))


def _fallback(subnet: Subnet) -> Iterator[str]:
    if subnet.mode is not Mode.AUTHORITATIVE:
        yield f"rogue: fallback makes a proxy of an authoritative subnet, and its mode is {subnet.mode}: leave it out"
    if subnet.unknown is Unknown.QUARANTINE:
        yield "rogue: fallback gives no addresses, and unknown is quarantine, which needs some: report, or discover"
    if not subnet.interface:
        yield "rogue: fallback needs an interface to see whether the other server is still there"
    yield from (
        fault.replace("loader:", "loader: rogue is fallback, and", 1)
        for fault in unfit_faults(subnet.loader, (subnet,))
    )
