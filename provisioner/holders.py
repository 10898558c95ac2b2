"""Who holds which address, and which address is meant for whom: what DHCP of either family knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network

from provisioner.boot.medium import place_of
from provisioner.dhcp.asking import Ask
from provisioner.dhcp.foretell import Foretold
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.model.boot import BootClient, Place, Plan
from provisioner.model.facts import SwitchPort
from provisioner.model.net import Mac


class Holders:
    """Says which machine holds an address of either family; nobody, until both servers are there."""

    def __init__(self) -> None:
        self.v4: DhcpServer | None = None
        self.v6: Dhcp6Server | None = None

    def __call__(self, address: str) -> Mac | None:
        """Name the machine, None for nobody."""
        server = self.v6 if ":" in address else self.v4
        return server.lease_of(address) if server is not None else None

    def address_of(self, mac: Mac) -> str:
        """Say which IPv4 address a machine holds now; empty where it holds none."""
        lease = self.v4.lease_for(mac) if self.v4 is not None else None
        return str(IPv4Address(lease.ip)) if lease is not None else ""

    def foretell(self, ask: Ask, decide: Callable[[BootClient], Plan]) -> Sequence[Foretold]:
        """Say what DHCP would answer to a machine."""
        return self.v4.foretell(ask, decide) if self.v4 is not None else ()

    def place_of(self, mac: Mac) -> Place | None:
        """Say which address is reserved for a port, and what its subnet says of the network there."""
        held = self.v4.layers.merged(mac) if self.v4 is not None else None
        if self.v4 is None or held is None or not held.address:
            return None
        for subnet in self.v4.subnets():
            network = IPv4Network(subnet.network)
            if IPv4Address(held.address) in network:
                return place_of(f"{held.address}/{network.prefixlen}", next(iter(subnet.router), ""), subnet.dns)
        return None

    def port_of(self, address: str) -> SwitchPort | None:
        """Say where the machine at an address is plugged in, as its relay said."""
        return self.v4.port_of(address) if self.v4 is not None and ":" not in address else None
