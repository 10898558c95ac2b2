"""What can be wrong with the settings of subnets of either family. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from itertools import combinations, islice
from typing import Protocol

from provisioner.dhcp.topology import Given, parse_ranges
from provisioner.errors import ConfigError
from provisioner.model.boot import Unknown
from provisioner.model.net import Mac, is_of_port, parse_mac
from provisioner.model.uuids import tells

AUTHORITATIVE, RESERVATIONS_ONLY = "authoritative", "reservations-only"
"""Modes that both families have."""
MOST_AT_ONCE = 2**31 - 1
BOTH_LIMITS: Mapping[str, tuple[int, int]] = {
    "offer_s": (5, 300),
    "decline_s": (1, 2**31 - 1),
    "known_spare": (0, 100),
    "http_port": (0, 65535),
    "new_per_s": (0, MOST_AT_ONCE),
    "new_burst": (1, MOST_AT_ONCE),
    "port_per_s": (0, MOST_AT_ONCE),
    "port_burst": (1, MOST_AT_ONCE),
    "ra_lifetime_s": (0, 65535),  # RFC 8319 section 4
}
"""From and to, of numbers that subnets of both families have."""
FEW = 10
"""Faults of one kind that are spelled out; ten thousand reservations may be wrong for one reason."""
_INTERFACE = re.compile(r"(?!\.{1,2}$)[^\s/:]{1,15}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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


def deserted(network: IPv4Network | IPv6Network) -> Iterator[str]:
    """Say that no machine is on a network, or that those there make up their addresses (link-local ones of IPv6)."""
    by_themselves = network.version == 6 and network.is_link_local
    if network.is_multicast or network.is_loopback or not network.prefixlen or by_themselves:
        yield f"network: {network} is no network that machines are on"


def port_mac(text: str) -> Mac:
    """Read the hardware address of a network port."""
    mac = parse_mac(text)
    if not is_of_port(mac):
        raise ValueError(f"{text} is no network port's, but a group's, or zeros")
    return mac


def interface_faults(name: str) -> Iterator[str]:
    """Say why no interface can be called so (dev_valid_name of Linux)."""
    if name and not _INTERFACE.fullmatch(name):
        yield f"interface: {name!r} is none: 1 to 15 characters, no blank, slash or colon (`ip link` lists them)"


def bounds(subnet: Settings, limits: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Say which numbers are too low or too high."""
    for name, (low, high) in limits.items():
        value = getattr(subnet, name)
        if not low <= value <= high:
            yield f"{name}: {value}: from {low} to {high}"


def doubled(subnet: Settings, codes: Iterable[int], said: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Say which options are given in `options` although a setting writes them."""
    given = set(codes)
    for name, writes in said.items():
        for code in writes if getattr(subnet, name) else ():
            if code in given:
                yield f"options: {name} writes option {code} already: leave one of them out"


def uuid_faults(uuid: str) -> Iterator[str]:
    """Say why no machine can be known by this UUID."""
    if uuid and not _UUID.fullmatch(uuid.lower()):
        yield f"uuid: {uuid!r} is none: write it as Linux prints it, such as 4c4c4544-0042-3510-8052-b4c04f4e3132"
    elif uuid and not tells(uuid.lower()):
        yield f"uuid: {uuid} is sent by firmware that has none, and tells no machine from others: leave it out"


def roles(subnet: Settings, reservations: str) -> Iterator[str]:
    """Say which settings contradict each other. `reservations` is what fixed addresses are called."""
    if subnet.mode == RESERVATIONS_ONLY and (subnet.pools or subnet.quarantine_pools):
        hint = "leave them out, or use authoritative"
        yield f"pools: mode reservations-only gives addresses of {reservations} only: {hint}"
    if subnet.mode == AUTHORITATIVE and subnet.unknown is Unknown.DISCOVER and not subnet.pools:
        yield "pools: unknown is discover, and there is no pool to give addresses from"
    if subnet.unknown is Unknown.QUARANTINE and not subnet.quarantine_pools and subnet.mode == AUTHORITATIVE:
        yield "quarantine_pools: unknown is quarantine, and there is no pool for them"
    if subnet.unknown is Unknown.QUARANTINE and subnet.mode == RESERVATIONS_ONLY:
        yield "unknown: quarantine needs addresses of ours, and mode reservations-only gives strangers none: ignore"
    if subnet.unknown is not Unknown.QUARANTINE and subnet.quarantine_pools:
        yield f"quarantine_pools: unknown is {subnet.unknown}, so nobody gets these: leave them out"
    yield from interface_faults(subnet.interface)
    if subnet.router_advertisements and not subnet.interface:
        yield "router_advertisements: needs an interface to send them on"


def places(subnet: Settings, network: IPv4Network | IPv6Network, names: Sequence[str]) -> Iterator[str]:
    """Say which pools lie where they cannot be, or hold addresses that the subnet's settings `names` hold."""
    try:
        ranges = [
            (key, *each)
            for key, pools in (("pools", subnet.pools), ("quarantine_pools", subnet.quarantine_pools))
            for each in parse_ranges(pools, type(network))
        ]
    except ConfigError:
        return  # said already
    spell = type(network.network_address)
    for key, low, high in ranges:
        for fault in (*_range(low, high, network), *_taken(low, high, subnet, names)):
            yield f"{key}: {spell(low)}-{spell(high)}: {fault}"
    for (_, low_a, high_a), (key, low_b, high_b) in combinations(ranges, 2):
        if low_a <= high_b and low_b <= high_a:
            yield f"{key}: {spell(low_a)}- and {spell(low_b)}- overlap"


def _range(low: int, high: int, network: IPv4Network | IPv6Network) -> Iterator[str]:
    first, last = int(network.network_address), int(network.broadcast_address)
    if low > high:
        yield "ends before it begins"
    elif low < first or high > last:
        yield f"not inside {network}"
    elif network.version == 4 and network.prefixlen < 31 and (low == first or high == last):
        yield "holds the network's own or its broadcast address"


def _taken(low: int, high: int, subnet: Settings, names: Sequence[str]) -> Iterator[str]:
    for name, own in _named(subnet, names):
        if low <= int(own) <= high:
            yield f"holds {own}, which is the subnet's {name}"


def _named(subnet: Settings, names: Sequence[str]) -> Iterator[tuple[str, IPv4Address | IPv6Address]]:
    """Give the addresses that settings name."""
    for name in names:
        value = getattr(subnet, name)
        for text in (value,) if isinstance(value, str) else value:
            try:
                yield name, ip_address(text)
            except ValueError:
                continue  # empty, or said already


class Barred:
    """The addresses that one right subnet fixes for nobody: `names` are settings whose addresses are not clients'."""

    def __init__(self, subnet: Settings, names: Sequence[str]) -> None:
        network = ip_network(subnet.network)
        self._spell = type(network.network_address)
        self._quarantine = parse_ranges(subnet.quarantine_pools, type(network))
        self._own = {int(ip): f"the subnet's {name}" for name, ip in _named(subnet, names)}
        if network.version == 4 and network.prefixlen < 31:
            self._own[int(network.network_address)] = "the network's own address"
            self._own[int(network.broadcast_address)] = "the network's broadcast address"

    def why(self, ip: int) -> str:
        """Say why no machine can have this one; empty where one can."""
        if what := self._own.get(ip):
            return f"is {what}"
        if any(low <= ip <= high for low, high in self._quarantine):
            return "is in quarantine_pools, which are for unknown machines: take it out of there"
        return ""

    def faults(self, fixed: Iterable[int]) -> list[str]:
        """Say which of these addresses cannot stay fixed, the first few."""
        if not self._quarantine:
            fixed = (ip for ip in fixed if ip in self._own)  # of 100,000 in some milliseconds
        found = ((ip, why) for ip in fixed if (why := self.why(ip)))
        return [f"{self._spell(ip)} is reserved, and {why}" for ip, why in islice(found, FEW)]


def extent(network: str) -> tuple[int, int]:
    """Give the first and the last address of a network."""
    found = ip_network(network)
    return int(found.network_address), int(found.broadcast_address)


def stranded(fixed: Iterable[int], before: str, after: str) -> list[str]:
    """Say which of these addresses lie in a network, and not in what it becomes (empty: nothing), the first few."""
    spell = type(ip_network(before).network_address)
    (low, high), (first, last) = extent(before), extent(after) if after else (0, -1)
    lost = (ip for ip in fixed if low <= ip <= high and not first <= ip <= last)
    return [f"{spell(ip)} is reserved, and would be in no subnet" for ip in islice(sorted(set(lost)), FEW)]


def between(subnets: Iterable[Settings], shared: Sequence[str], kind: str = "subnets") -> Iterator[str]:
    """Say which subnets do not go together. Those on one wire have all of `shared` alike; `kind` is what they are.

    Each is compared with one other of its kind, not with all: a site has hundreds.
    """
    found = list(subnets)
    yield from (f"{kind} {fault}" for fault in _between(found, shared))


def beside(
    subnets: Sequence[Settings], others: Iterable[Settings], shared: Sequence[str], kind: str = "subnets"
) -> Iterator[str]:
    """Say which subnets do not go together with each other, or with others that are right."""
    yield from between(subnets, shared, kind)
    for other in others:
        for each in subnets:
            yield from between((other, each), shared, kind)


def _between(found: Sequence[Settings], shared: Sequence[str]) -> Iterator[str]:
    yield from _overlaps(found)
    for a, b in _alike(found, lambda each: each.title):
        yield f"{a.network} and {b.network}: both are called {a.title}"
    for a, b in _alike(found, lambda each: each.shared_network):
        for name in shared:
            if getattr(a, name) != getattr(b, name):
                what = f"they share {a.shared_network}, but differ in {name}"
                yield f"{a.title} and {b.title}: {what}: change them together"
    for a, b in _alike(found, lambda each: each.interface):
        if not a.shared_network or a.shared_network != b.shared_network:
            yield f"{a.title} and {b.title}: both on {a.interface}: give them the same shared_network"


def _overlaps(subnets: Sequence[Settings]) -> Iterator[str]:
    """Compare each network with the widest one that begins before it or where it does: a part of it, or behind it."""
    read = [(ip_network(each.network), at) for at, each in enumerate(subnets)]
    read.sort(key=lambda each: (int(each[0].network_address), each[0].prefixlen))
    widest: IPv4Network | IPv6Network | None = None
    its = 0
    for network, at in read:
        if widest is not None and network.network_address in widest:
            a, b = sorted((its, at))
            yield f"{subnets[a].title} and {subnets[b].title}: the networks overlap"
        else:
            widest, its = network, at


def _alike(subnets: Iterable[Settings], of: Callable[[Settings], str]) -> Iterator[tuple[Settings, Settings]]:
    """Give each subnet with the first one that has the same value, where that is not empty or its own."""
    first: dict[str, Settings] = {}
    for each in subnets:
        if (value := of(each)) and (other := first.setdefault(value, each)) is not each:
            yield other, each
