"""Everything that is wrong with DHCP settings, at once, before anything is served. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network, ip_address

from provisioner.boot.plan import TRUSTING
from provisioner.dhcp import formats
from provisioner.dhcp.boards import read_range
from provisioner.dhcp.proxy import is_unfit
from provisioner.dhcp.reservations import loaders_by_arch, port_key
from provisioner.dhcp.sound import attempt, between, bounds, places, roles
from provisioner.dhcp.subnets import Dhcp, Mode, Overrides, PortRule, Reservation, Rogue, Subnet
from provisioner.dhcp.topology import base_options, parse_ranges
from provisioner.dhcp.v6 import validate as v6
from provisioner.errors import ConfigError
from provisioner.model.boot import Unknown
from provisioner.model.net import parse_mac

GIVES_ADDRESSES = (Mode.AUTHORITATIVE, Mode.RESERVATIONS_ONLY)
GIVEN = ("router", "dns", "domain", "search", "ntp", "routes", "options")
"""What clients are told beside an address."""
LIMITS = {"lease_s": (60, 2**31 - 1), "offer_s": (5, 300), "known_spare": (0, 100), "http_port": (0, 65535)}
SHARED = ("mode", "unknown", "interface", "rogue")
"""What subnets on one wire have alike."""


def faults_of(config: Dhcp) -> list[str]:
    """Say everything that is wrong, one line each; empty where the settings can be served."""
    found = list(_watching(config))
    for index, subnet in enumerate(config.subnets):
        where = f"subnet {subnet.title}" if subnet.title else f"subnets[{index}]"
        found += (f"{where}: {fault}" for fault in _subnet(subnet))
    for name, profile in config.profiles.items():
        found += (f"profile {name}: {fault}" for fault in _overrides(profile))
    if not found:  # what compares subnets needs each of them to be right
        found += between(config.subnets, SHARED)
        found += _reservations(config)
        found += _ports(config)
    return found + v6.faults_of(config.subnets6, config.reservations6)


def faults_without_tls(config: Dhcp) -> list[str]:
    """Say who is to get https:// URLs although nothing is served by HTTPS: wrong where `http.tls_port` is 0."""
    said = [(f"subnet {each.title}", each.https) for each in config.subnets]
    said += ((f"subnet {each.title}", each.https) for each in config.subnets6)
    said += ((f"profile {name}", each.https) for name, each in config.profiles.items())
    said += ((f"reservation {each.mac}", each.https) for each in config.reservations)
    said += ((f"reservation6 {each.address}", each.https) for each in config.reservations6)
    hint = "nothing is served by HTTPS: set http.tls_port"
    return [f"{who}: https: {trust}: {hint}" for who, trust in said if trust in TRUSTING]


def faults_of_subnet(subnet: Subnet, others: Iterable[Subnet], config: Dhcp) -> list[str]:
    """Say what is wrong with one subnet beside others that are right."""
    found = [f"subnet {subnet.title}: {fault}" for fault in _subnet(subnet)]
    found += _watching(replace(config, subnets=(subnet,)))
    for other in others if not found else ():
        found += between((other, subnet), SHARED)
    return found


def faults_of_reservation(reservation: Reservation, config: Dhcp) -> list[str]:
    """Say what is wrong with one reservation where all else is right."""
    return list(_reservation(reservation, config))


def _watching(config: Dhcp) -> Iterator[str]:
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
    yield from attempt("pools", lambda: parse_ranges(subnet.pools))
    yield from attempt("quarantine_pools", lambda: parse_ranges(subnet.quarantine_pools))
    yield from attempt("options", lambda: base_options(subnet, network))
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
    yield from _unfit(subnet)


def _unfit(subnet: Subnet) -> Iterator[str]:
    for arch, name in subnet.loader.items():
        if is_unfit(name.encode()):
            yield f"loader: {arch}: {name} does not work beside another DHCP server: name an iPXE loader"


def _fallback(subnet: Subnet) -> Iterator[str]:
    if subnet.mode is not Mode.AUTHORITATIVE:
        yield f"rogue: fallback makes a proxy of an authoritative subnet, and its mode is {subnet.mode}: leave it out"
    if subnet.unknown is Unknown.QUARANTINE:
        yield "rogue: fallback gives no addresses, and unknown is quarantine, which needs some: report, or discover"
    if not subnet.interface:
        yield "rogue: fallback needs an interface to see whether the other server is still there"
    yield from (fault.replace("loader:", "loader: rogue is fallback, and", 1) for fault in _unfit(subnet))


def _reservations(config: Dhcp) -> Iterator[str]:
    macs: dict[str, str] = {}
    names: dict[str, str] = {}
    for each in config.reservations:
        where = f"reservation {each.mac or each.name}"
        yield from (f"{where}: {fault}" for fault in _reservation(each, config))
        for kind, seen, value in (("mac", macs, _normal(each.mac)), ("name", names, each.name)):
            if value and value in seen:
                hint = "; one reservation has all fixed addresses of a port, as addresses" if kind == "mac" else ""
                yield f"{where}: {kind} {value} is taken by reservation {seen[value]}{hint}"
            seen.setdefault(value, each.mac)


def _normal(mac: str) -> str:
    try:
        return parse_mac(mac)
    except ConfigError:
        return ""  # said already


def _reservation(each: Reservation, config: Dhcp) -> Iterator[str]:
    yield from attempt("mac", lambda: parse_mac(each.mac))
    yield from _overrides(Overrides(loader=each.loader, options=each.options))
    for address in each.fixed or ("",):
        yield from _who(each.name, address, each.profile, config)
    yield from _once_a_subnet(each, config)


def _once_a_subnet(each: Reservation, config: Dhcp) -> Iterator[str]:
    """A machine has one fixed address in a subnet: which of two would it be?"""
    seen: dict[str, str] = {}
    for address in each.addresses and each.fixed:
        subnet = _subnet_at(address, config)
        if subnet is not None and subnet.title in seen:
            yield f"addresses: {seen[subnet.title]} and {address} are both in {subnet.title}: leave one of them out"
        elif subnet is not None:
            seen[subnet.title] = address


def _subnet_at(address: str, config: Dhcp) -> Subnet | None:
    try:
        ip = IPv4Address(address)
    except ValueError:
        return None  # said already
    return next((subnet for subnet in config.subnets if ip in IPv4Network(subnet.network)), None)


def _who(name: str, address: str, profile: str, config: Dhcp) -> Iterator[str]:
    if name:
        yield from attempt("name", lambda: formats.domains_value([name]))
    if profile and profile not in config.profiles:
        yield f"profile: {profile!r} is not among {', '.join(config.profiles) or 'the profiles (there are none)'}"
    if address:
        yield from _address(address, config)


def _address(address: str, config: Dhcp) -> Iterator[str]:
    try:
        ip = IPv4Address(address)
    except ValueError as error:
        yield f"address: {error}"
        return
    subnet = _subnet_at(address, config)
    if subnet is None:
        yield f"address: {ip} is in no subnet"
    elif subnet.mode not in GIVES_ADDRESSES:
        yield f"address: {ip} is in {subnet.title}, where mode {subnet.mode} gives no addresses"


def _ports(config: Dhcp) -> Iterator[str]:
    seen: set[tuple[int, bytes, bytes]] = set()
    for index, rule in enumerate(config.ports):
        where = f"ports[{index}]"
        try:
            key = port_key(rule)
        except ValueError as error:
            yield f"{where}: {error}"
            continue
        if key in seen:
            yield f"{where}: another rule has the same relay, circuit_id and remote_id"
        seen.add(key)
        yield from (f"{where}: {fault}" for fault in _port(rule, config))


def _port(rule: PortRule, config: Dhcp) -> Iterator[str]:
    if not rule.circuit_id and not rule.remote_id:
        yield "circuit_id or remote_id: one of them has to say which port"
    if not (rule.name or rule.address or rule.profile):
        yield "name, address or profile: one of them has to say what the machine gets"
    yield from _who(rule.name, rule.address, rule.profile, config)


def _overrides(overrides: Overrides) -> Iterator[str]:
    yield from attempt("loader", lambda: loaders_by_arch(overrides.loader))
    yield from attempt("options", lambda: formats.parse_options(overrides.options))
