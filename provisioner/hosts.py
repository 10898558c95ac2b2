"""Which addresses of ours serve machines, and from which one the kernel would answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from provisioner.config import interface_address
from provisioner.dhcp.addresses import by_interface, interface_index, is_local, reachable
from provisioner.dhcp.subnets import Dhcp, Mode, Subnet
from provisioner.dhcp.v6.subnets import Mode6, Subnet6
from provisioner.errors import ListenError

SETTLE_S, SETTLE_STEP_S = 5.0, 0.1
"""Duplicate address detection takes one to two seconds."""


async def hosts_of(dhcp: Dhcp) -> list[str]:
    """List our addresses on the subnets that are served, ready to be listened on; raise `ListenError`."""
    subnets: Iterable[Subnet | Subnet6] = (*dhcp.subnets, *dhcp.subnets6)
    hosts = list(dict.fromkeys(host for subnet in subnets for host in hosts_for(subnet, dhcp.interfaces)))
    for host in hosts:
        await settled(host)
    return hosts


def hosts_for(subnet: Subnet | Subnet6, named: Sequence[str]) -> list[str]:
    """Say at which of our addresses the machines of a subnet reach us, none where it is off; raise `ListenError`.

    Those behind relays come in by the interfaces that are `named` (`dhcp.interfaces`), or by any.
    """
    if subnet.mode in (Mode.OFF, Mode6.OFF):
        return []
    six = isinstance(subnet, Subnet6)
    found = by_interface(socket.AF_INET6 if six else socket.AF_INET)
    spell: type[IPv4Address | IPv6Address] = IPv6Address if six else IPv4Address
    if not subnet.interface:
        values = (value for name in reachable(found) if name in named or not named for value in found[name])
        return [str(spell(value)) for value in values if not is_local(value)]
    ours = {str(spell(value)) for values in found.values() for value in values}
    inside = [each for each in map(spell, found.get(subnet.interface, ())) if each in ip_network(subnet.network)]
    told = [str(ip_address(subnet.server_address))] if subnet.server_address else []
    return list(dict.fromkeys([*(each for each in told if each in ours), *map(str, inside)])) or [_beside(subnet)]


def _beside(subnet: Subnet | Subnet6) -> str:
    """Give the first address of a subnet's interface: clients are told that one where none is of their network."""
    if not isinstance(subnet, Subnet6):
        return str(interface_address(subnet.interface).ip)
    if not interface_index(subnet.interface):
        raise ListenError(f"{subnet.interface}: no such interface", hint="`ip link` lists them")
    others = [value for value in by_interface(socket.AF_INET6).get(subnet.interface, ()) if not is_local(value)]
    if subnet.server_address and others:
        return str(IPv6Address(others[0]))
    network = IPv6Network(subnet.network)
    hint = f"`ip addr add {network[1]}/{network.prefixlen} dev {subnet.interface}`"
    hint += ", or set server_address" if others else ""
    raise ListenError(f"{subnet.interface}: no address of ours in {network}", hint=hint)


async def settled(address: str) -> None:
    """Wait until a new IPv6 address may be used: the kernel first asks on the link whether it is taken (RFC 4862).

    Waits no longer than that takes: whoever binds it then says what is wrong. An IPv4 address is ready at once.
    """
    if ":" not in address:
        return
    for _ in range(round(SETTLE_S / SETTLE_STEP_S)):
        if _may_bind(address):
            return
        await asyncio.sleep(SETTLE_STEP_S)


def _may_bind(address: str) -> bool:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def own_address_towards(address: str) -> str:
    """Say from which address of ours the kernel would send to `address`. Sends nothing."""
    family, nobody = (socket.AF_INET6, "::1") if ":" in address else (socket.AF_INET, "127.0.0.1")
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((address, 9))
        except OSError:
            return nobody
        return str(sock.getsockname()[0])
