"""Which DHCPv6 servers and routers should not be there. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv6Address

from provisioner.dhcp.v6.subnets import Mode6, Subnet6
from provisioner.model.net import mac_from_bytes
from provisioner.netwatch.messages import Heard6, Kind
from provisioner.netwatch.rogues import How, Sighting

HOWS = {Kind.ADVERTISE: How.OFFER6, Kind.REPLY: How.REPLY6, Kind.ROUTER: How.ROUTER}


class Watch6:
    """Goes by the IPv6 subnets as they are served."""

    def __init__(self, subnets: Callable[[], Sequence[Subnet6]], allowed: Iterable[str]) -> None:
        self._subnets = subnets
        self._allowed = frozenset(allowed)

    def _at(self, interface: str) -> list[Subnet6]:
        return [each for each in self._subnets() if each.mode is Mode6.AUTHORITATIVE and each.interface == interface]

    def places(self) -> set[str]:
        """Name the interfaces with subnets that are to be ours alone."""
        return {each.interface for each in self._subnets() if each.mode is Mode6.AUTHORITATIVE and each.interface}

    def judge(self, heard: Heard6) -> tuple[Sighting, list[str]] | None:
        """Say what was seen, and of which subnets, where it should not be there.

        Routers belong on a link. One more is too many where we were told to advertise ourselves: whoever else does may
        take machines to another server, or to no system at all.
        """
        subnets = self._at(heard.interface)
        server = str(IPv6Address(heard.server))
        if not subnets or server in self._allowed:
            return None
        if heard.kind is Kind.ROUTER and not any(each.router_advertisements for each in subnets):
            return None
        mac = mac_from_bytes(heard.mac)
        sighting = Sighting(heard.interface, server, HOWS[heard.kind], mac, heard.asked, heard.duid)
        return sighting, [each.title for each in subnets]
