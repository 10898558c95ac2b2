"""One packet and what is known about it; the replies that rules give. No I/O."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from provisioner.dhcp import relay
from provisioner.dhcp.boot import NOTHING
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.options import Opt, number_of
from provisioner.dhcp.packet import Packet
from provisioner.dhcp.reservations import Known
from provisioner.dhcp.topology import Net

if TYPE_CHECKING:
    from provisioner.dhcp.site import Site

SERVER_PORT, CLIENT_PORT, PROXY_PORT = 67, 68, 4011


class Via(IntEnum):
    """How a reply travels."""

    UDP = 1  # to an address that answers ARP, or to a relay
    FRAME = 2  # to a hardware address whose IP address is not configured yet
    BROADCAST = 3


class To(NamedTuple):
    """Where a reply goes."""

    via: Via
    ip: int
    port: int


class Arrival(NamedTuple):
    """How a packet came in."""

    interface: str
    us: int
    """Our address that it was sent to, or the interface's own where it was broadcast."""
    source: tuple[str, int] = ("0.0.0.0", CLIENT_PORT)
    port: int = SERVER_PORT
    unicast: bool = False


class Reply(NamedTuple):
    """Send `data`, after `store` is durable."""

    event: str
    data: bytes
    to: To
    reason: str
    us: int = 0
    """Our address that it comes from."""
    ip: int = 0
    store: tuple[Lease, ...] = ()
    fresh: bool = False
    """The address is new to this machine: worth a look whether somebody else uses it."""


class Silence(NamedTuple):
    """Say nothing, and why."""

    reason: str
    event: str = "dhcp.silence"
    store: tuple[Lease, ...] = ()


class Case:
    """One packet with what is known about it."""

    __slots__ = ("arrival", "boot", "info", "key", "kind", "known", "nets", "now", "packet", "reason", "site")

    def __init__(self, packet: Packet, arrival: Arrival, site: Site, now: float) -> None:
        self.packet = packet
        self.arrival = arrival
        self.site = site
        self.now = now
        value = packet.options.get(Opt.RELAY_AGENT)
        self.info = relay.decode(value) if value else relay.NOTHING
        self.nets = nets_of(self)
        self.key = packet.key
        self.kind = site.kind_of(packet)
        self.known: Known | None = None
        self.boot = NOTHING
        self.reason = ""
        """Why it is told to boot that."""


def nets_of(case: Case) -> tuple[Net, ...]:
    """Find the subnets on the client's link: as its relay says, by its own address, or by the interface."""
    packet, topology = case.packet, case.site.topology
    link = case.info.link or packet.giaddr
    if Opt.SUBNET_SELECTION in packet.options and not case.info.link:
        link = number_of(packet.options, Opt.SUBNET_SELECTION, 4) or link
    if link:
        return topology.at(link)
    if packet.ciaddr and case.arrival.unicast:
        return topology.at(packet.ciaddr)
    return topology.on(case.arrival.interface)


def our_address(case: Case, net: Net) -> int:
    """Our address as this client reaches it."""
    if net.server:
        return net.server
    arrival = case.arrival
    if not arrival.unicast:
        for own in case.site.addresses.get(arrival.interface, ()):
            if net.holds(own):
                return own
    return arrival.us


def holding(nets: tuple[Net, ...], ip: int) -> Net | None:
    """Give the subnet that this address belongs to."""
    for net in nets:
        if net.holds(ip):
            return net
    return None
