"""Ports: which of a machine's network ports is which, and what the installed system does with them. No I/O.

Ports are told by their MAC in everything that is written: a name given by one kernel is another's in the next.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from provisioner.errors import RenderError
from provisioner.model.facts import Nic
from provisioner.model.net import Mac

BOND_OPTIONS = {"lacp_rate": ("802.3ad",), "hash_policy": ("802.3ad", "balance-xor")}
"""Modes of bonds that an option means something with (the kernel's Documentation/networking/bonding.rst)."""

NAME_MAX = 15
"""Characters of a port's name: IFNAMSIZ of linux/if.h is 16 with the final NUL."""
KERNELS_OWN = ("all", "default", "lo")
"""Names that a port cannot have: the loopback, and what /proc/sys/net calls every port and the ones to come."""

Address = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class LinkKind(StrEnum):
    """What a link is made of."""

    ETHERNET = "ethernet"
    BOND = "bond"
    VLAN = "vlan"


@dataclass(frozen=True, slots=True)
class Route:
    """A route that is not the default one."""

    to: str
    via: str
    version: int
    """Of IP: 4 or 6."""


ETHERNET_MTU, IPV6_MTU = 1500, 1280
DEFAULTS = frozenset({"0.0.0.0/0", "::/0"})


@dataclass(frozen=True, slots=True)
class Link:
    """One port, bond or VLAN. `name` is what the system calls it; `named` says that somebody chose that name."""

    kind: LinkKind
    name: str
    mac: Mac
    named: bool = False
    dhcp: bool = False
    addresses: tuple[Address, ...] = ()
    gateway: str = ""
    mtu: int | None = None
    routes: tuple[Route, ...] = ()
    members: tuple[str, ...] = ()
    mode: str = ""
    lacp_rate: str = ""
    hash_policy: str = ""
    vlan: int = 0
    parent: str = ""
    bond: str = ""
    """The bond that a port is a member of."""
    on_link: tuple[str, ...] = ()
    """Routers that are on the link although no network of its addresses holds them: those are of one host each."""


def plan(params: Mapping[str, Any], nics: Sequence[Nic], boot_mac: Mac) -> tuple[Link, ...]:
    """Say what is configured on a machine's ports; raise `RenderError` where a port is not found or not told apart.

    `params` is the group `net`. Order: ports, bonds after their members, VLANs after what they lie on.
    """
    free = list(nics) if any(nic.mac == boot_mac for nic in nics) else [Nic("", boot_mac), *nics]
    links: list[Link] = []
    for item in params["bonds"]:
        links += _bond(item, _take(free, item["match"], boot_mac, item.get("count", 2), f"bond {item['name']}"))
    ports = [_port(item, at, free, boot_mac) for at, item in enumerate(params["interfaces"])]
    links = [*ports, *links]
    for item in params["vlans"]:
        links.append(_vlan(item, links))
    if not links:
        raise RenderError("net.interfaces and net.bonds are empty: the system could never report")
    for link in links:
        _check_name(link, links)
    _check_together(links)
    for server in params["dns"]["servers"]:
        try:
            ipaddress.ip_address(server)
        except ValueError as error:
            raise RenderError(f"net.dns.servers: {error}") from error
    return tuple(links)


def declared(params: Mapping[str, Any]) -> frozenset[str]:
    """List the static addresses that a machine is told to take, whatever its ports are. `params` is the group `net`."""
    items = [*params["interfaces"], *params["bonds"], *params["vlans"]]
    found = set()
    for text in (text for item in items for text in item.get("addresses", ())):
        with suppress(ValueError):  # what is none is refused before a machine is touched
            found.add(str(ipaddress.ip_interface(text).ip))
    return frozenset(found)


def primary(links: Sequence[Link]) -> Link | None:
    """Find the link that carries the default route: the first with a gateway, else the first that asks DHCP."""
    by_gateway = (link for link in links if link.gateway)
    by_dhcp = (link for link in links if link.dhcp)
    return next(by_gateway, None) or next(by_dhcp, None) or next((link for link in links if not link.bond), None)


def _port(item: Mapping[str, Any], at: int, free: list[Nic], boot_mac: Mac) -> Link:
    (nic,) = _take(free, item["match"], boot_mac, 1, f"net.interfaces[{at}]")
    name = item.get("name", "")
    return _with_addresses(item, kind=LinkKind.ETHERNET, name=name or f"nic{at}", mac=nic.mac, named=bool(name))


def _bond(item: Mapping[str, Any], nics: Sequence[Nic]) -> list[Link]:
    name = item["name"]
    mode = item.get("mode", "802.3ad")
    for key, modes in BOND_OPTIONS.items():
        if key in item and mode not in modes:
            raise RenderError(f"net.bonds: {name}: {key} means nothing with mode {mode}: take it out")
    members = [
        Link(LinkKind.ETHERNET, f"{name}p{at}", nic.mac, mtu=item.get("mtu"), bond=name) for at, nic in enumerate(nics)
    ]
    bond = _with_addresses(
        item,
        kind=LinkKind.BOND,
        name=name,
        mac=nics[0].mac,
        named=True,
        members=tuple(member.name for member in members),
        mode=mode,
        lacp_rate=item.get("lacp_rate", "fast") if mode in BOND_OPTIONS["lacp_rate"] else "",
        hash_policy=item.get("hash_policy", "layer3+4") if mode in BOND_OPTIONS["hash_policy"] else "",
    )
    return [*members, bond]


def _vlan(item: Mapping[str, Any], links: Sequence[Link]) -> Link:
    parent = next((link for link in links if link.name == item["link"] and not link.bond), None)
    if parent is None:
        known = ", ".join(link.name for link in links if not link.bond)
        raise RenderError(f"net.vlans: {item['id']}: no link is called {item['link']!r}", hint=f"known: {known}")
    name = f"{parent.name}.{item['id']}"
    return _with_addresses(
        item, kind=LinkKind.VLAN, name=name, mac=parent.mac, named=True, vlan=item["id"], parent=parent.name
    )


def _with_addresses(item: Mapping[str, Any], **rest: Any) -> Link:
    try:
        addresses = tuple(ipaddress.ip_interface(text) for text in item.get("addresses", ()))
        gateway = str(ipaddress.ip_address(item["gateway"])) if "gateway" in item else ""
        routes = tuple(_route(route["to"], route["via"]) for route in item.get("routes", ()))
    except ValueError as error:
        raise RenderError(f"net: {rest['name']}: {error}") from error
    for address in addresses:
        _check_address(rest["name"], address)
    _check_gateway(rest["name"], gateway, addresses)
    dhcp = item.get("dhcp", not addresses)
    for route in routes:
        if not dhcp and route.version not in {address.version for address in addresses}:
            raise RenderError(f"net: {rest['name']}: a route to {route.to}, and no address of IPv{route.version}")
        if not dhcp and not _is_near(route.via, addresses):
            said = f"a route to {route.to} via {route.via}, which is in the network of none of its addresses"
            raise RenderError(f"net: {rest['name']}: {said}")
    routers = dict.fromkeys((*filter(None, [gateway]), *(route.via for route in routes)))
    return Link(
        addresses=addresses,
        gateway=gateway,
        on_link=tuple(router for router in routers if _is_beyond(router, addresses)),
        routes=routes,
        dhcp=dhcp,
        mtu=item.get("mtu"),
        **rest,
    )


def _check_name(link: Link, links: Sequence[Link]) -> None:
    if len(link.name) > NAME_MAX:
        raise RenderError(f"net: {link.name} is longer than the {NAME_MAX} characters that a port's name may have")
    if link.name in KERNELS_OWN:
        raise RenderError(f"net: no link can be called {link.name}")
    if sum(other.name == link.name for other in links) > 1:
        raise RenderError(f"net: two links are called {link.name}")


def _check_address(name: str, address: Address) -> None:
    """Raise `RenderError` for an address that no host can have (RFC 1122 section 3.2.1.3, RFC 4291 section 2)."""
    ip, network = address.ip, address.network
    what = ""
    if ip.is_multicast or ip.is_loopback or ip.is_unspecified:
        what = "multicast, loopback or nothing"
    elif network.num_addresses > 2 and ip == network.network_address:
        what = f"that of the network {network} itself"
    elif network.num_addresses > 2 and ip.version == 4 and ip == network.broadcast_address:
        what = f"the broadcast address of {network}"
    if what:
        raise RenderError(f"net: {name}: {ip} is no address of a host: it is {what}")


def _check_gateway(name: str, gateway: str, addresses: Sequence[Address]) -> None:
    """Raise `RenderError` for a gateway that is not on this link. IPv6 has mostly a link-local one (RFC 4861 6.3.4)."""
    if not gateway:
        return
    router = ipaddress.ip_address(gateway)
    if any(router == address.ip for address in addresses):
        raise RenderError(f"net: {name}: gateway {gateway} is its own address")
    if not _is_near(gateway, addresses):
        raise RenderError(f"net: {name}: gateway {gateway} is in the network of none of its addresses")


def _is_near(router: str, addresses: Sequence[Address]) -> bool:
    """Say whether a router can be asked from these addresses without another router in between."""
    ip = ipaddress.ip_address(router)
    local = ip.version == 6 and ip.is_link_local and any(address.version == 6 for address in addresses)
    return local or any(ip in address.network for address in addresses) or _is_beyond(router, addresses)


def _is_beyond(router: str, addresses: Sequence[Address]) -> bool:
    """Say whether a router is on the link though no network holds it: all addresses of its family are of one host.

    That is how hosting networks give out single addresses (/32, /128). A link-local router is on its link anyway.
    """
    ip = ipaddress.ip_address(router)
    same = [address for address in addresses if address.version == ip.version]
    hosts = all(address.network.prefixlen == address.max_prefixlen for address in same)
    local = ip.version == 6 and ip.is_link_local
    return bool(same) and hosts and not local and all(ip != address.ip for address in same)


def _check_together(links: Sequence[Link]) -> None:
    """Raise `RenderError` for what links cannot have together: an address, the default route of one family, frames
    longer than those of the port below; and where the system could speak to nobody.
    """
    if not any(link.dhcp or link.addresses for link in links):
        raise RenderError("net: no link asks DHCP, and none has an address: the system could never report")
    addresses: dict[Any, str] = {}
    gateways: dict[bool, str] = {}
    for link in links:
        _check_mtu(link, next((other for other in links if other.name == link.parent), None))
        for ip in (address.ip for address in link.addresses if not address.ip.is_link_local):  # RFC 4291 section 2.5.6
            if (other := addresses.setdefault(ip, link.name)) != link.name:
                raise RenderError(f"net: {other} and {link.name} both have the address {ip}")
        if link.gateway and (other := gateways.setdefault(":" in link.gateway, link.name)) != link.name:
            raise RenderError(
                f"net: {other} and {link.name} both have a gateway, and there is one default route",
                hint="what is behind the other is a route",
            )
    for link in links:
        for route in link.routes:
            if route.to in DEFAULTS:
                if default := gateways.get(route.version == 6):
                    raise RenderError(f"net: {link.name}: a route to {route.to}, and {default} has the default route")
                gateways[route.version == 6] = link.name


def _check_mtu(link: Link, parent: Link | None) -> None:
    """Raise `RenderError` for an MTU that Linux refuses, or that takes IPv6 off the link (RFC 8200 section 5)."""
    below = (parent.mtu or ETHERNET_MTU) if parent is not None else None
    if link.mtu is not None and below is not None and link.mtu > below:
        raise RenderError(f"net: {link.name}: mtu {link.mtu} is more than the {below} of {link.parent}, which it is on")
    if (link.mtu or below or ETHERNET_MTU) < IPV6_MTU and any(address.version == 6 for address in link.addresses):
        raise RenderError(f"net: {link.name}: IPv6 needs an mtu of {IPV6_MTU} at least")


def _route(to: str, via: str) -> Route:
    """Read a route; raise `ValueError` where it is none."""
    network, router = ipaddress.ip_network(to), ipaddress.ip_address(via)
    if network.version != router.version:
        raise ValueError(f"a route to {to} via {via}: one is IPv4 and the other IPv6")
    return Route(str(network), str(router), network.version)


def _take(free: list[Nic], match: Mapping[str, Any], boot_mac: Mac, count: int, what: str) -> list[Nic]:
    """Take ports out of `free`; raise `RenderError` that says why the others do not fit."""
    reasons = [(nic, _unfit(match, nic, boot_mac)) for nic in free]
    fit = [nic for nic, reason in reasons if not reason][:count]
    if len(fit) < count:
        said = "; ".join(f"{nic.name or nic.mac}: {reason}" for nic, reason in reasons if reason) or "none is left"
        raise RenderError(f"{what}: {count} port(s) are wanted, {len(fit)} fit: {said}")
    for nic in fit:
        free.remove(nic)
    return fit


def _unfit(match: Mapping[str, Any], nic: Nic, boot_mac: Mac) -> str:
    """Say why a port does not fit, empty where it does."""
    if match.get("boot") and nic.mac != boot_mac:
        return "it is not the one that netboots"
    if "mac" in match and nic.mac != match["mac"]:
        return f"mac is {nic.mac}"
    for key, value in (
        ("pci", nic.pci),
        ("driver", nic.driver),
        ("name", nic.name),
        ("lldp_switch", nic.lldp_switch),
        ("lldp_port", nic.lldp_port),
    ):
        if key in match and not fnmatchcase(value, match[key]):
            return f"{key} is {value or 'not known'}"
    if "link" in match and nic.link is not match["link"]:
        return f"link is {'not known' if nic.link is None else 'up' if nic.link else 'down'}"
    return _unfit_speed(match, nic)


def _unfit_speed(match: Mapping[str, Any], nic: Nic) -> str:
    low, high = match.get("min_speed"), match.get("max_speed")
    if low is None and high is None:
        return ""
    if nic.speed_mbps is None:
        return "its speed is not known"
    if low is not None and nic.speed_mbps < low:
        return f"{nic.speed_mbps} Mbit/s is below min_speed"
    if high is not None and nic.speed_mbps > high:
        return f"{nic.speed_mbps} Mbit/s is above max_speed"
    return ""
