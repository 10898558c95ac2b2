"""Which addresses of ours serve machines, and from which one the kernel would answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from provisioner.config import interface_address
from provisioner.dhcp.addresses import by_interface, is_local, own_addresses, reachable
from provisioner.dhcp.subnets import Dhcp, Subnet
from provisioner.dhcp.v6.subnets import Subnet6
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
    """Say at which of our addresses the machines of a subnet reach us; raise `ListenError`.

    Those behind relays come in by the interfaces that are `named` (`dhcp.interfaces`), or by any.
    """
    if isinstance(subnet, Subnet6):
        return [host6(subnet)] if subnet.interface else _all(socket.AF_INET6, named, IPv6Address)
    if subnet.interface:
        return [str(interface_address(subnet.interface).ip)]
    return _all(socket.AF_INET, named, IPv4Address)


def _all(family: int, named: Sequence[str], spell: Callable[[int], object]) -> list[str]:
    found = by_interface(family)
    values = (value for name in reachable(found) if name in named or not named for value in found[name])
    return [str(spell(value)) for value in values if not is_local(value)]


def host6(subnet: Subnet6) -> str:
    """Say which address of ours serves an IPv6 subnet; raise `ListenError` where there is none on its interface."""
    if subnet.server_address:
        return subnet.server_address
    network = IPv6Network(subnet.network)
    try:
        index = socket.if_nametoindex(subnet.interface)
    except OSError as error:
        raise ListenError(f"{subnet.interface}: no such interface", hint="`ip link` lists them") from error
    ours = (IPv6Address(own.value) for own in own_addresses() if own.interface == index and len(own.value) == 16)
    found = next((address for address in ours if address in network), None)
    if found is None:
        hint = f"`ip addr add {network[1]}/{network.prefixlen} dev {subnet.interface}`, or set server_address"
        raise ListenError(f"{subnet.interface}: no address of ours in {network}", hint=hint)
    return str(found)


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
