"""One packet and what is known about it; the replies that rules give. No I/O."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from provisioner.dhcp import relay
from provisioner.dhcp.boot import NOTHING
from provisioner.dhcp.identify import Kind
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import ETHERNET, NOBODY, Packet, address
from provisioner.dhcp.relay import RelayInfo
from provisioner.dhcp.reservations import Known
from provisioner.dhcp.scene import CLIENT_PORT, PROXY_PORT, SERVER_PORT, Arrival
from provisioner.dhcp.topology import Net
from provisioner.errors import WireError
from provisioner.model.boot import Plan

if TYPE_CHECKING:
    from provisioner.dhcp.site import Site

__all__ = (
    "CLIENT_PORT",
    "PROXY_PORT",
    "SERVER_PORT",
    "Arrival",
    "Case",
    "Reply",
    "Silence",
    "To",
    "Via",
    "holding",
    "unsent",
)

_RELAY_AGENT = int(Opt.RELAY_AGENT)


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
    fresh: int = 0
    """Not 0: the address is new to this machine, and worth a look whether somebody else uses it; 2: the second look."""


class Silence(NamedTuple):
    """Say nothing, and why."""

    reason: str
    event: str = "dhcp.silence"
    store: tuple[Lease, ...] = ()
    fresh: int = 0


def unsent(reply: Reply, why: str) -> Silence:
    """Say that a reply could not leave; a lease that was stored for it stays, as the client asks again."""
    what = reply.event.removeprefix("dhcp.") + (f" of {address(reply.ip)}" if reply.ip else "")
    return Silence(f"the {what} could not leave: {why}", "dhcp.unsent")


class Case:
    """One packet with what is known about it. Slots: they are read in a tenth of the time of a named tuple's fields."""

    __slots__ = (
        "arrival",
        "boot",
        "info",
        "key",
        "kind",
        "known",
        "nets",
        "now",
        "options",
        "packet",
        "plan",
        "reason",
        "relay",
        "scene",
        "site",
    )

    def __init__(self, packet: Packet, arrival: Arrival, site: Site, now: float, kind: Kind) -> None:
        self.packet = packet
        self.arrival = arrival
        self.site = site
        self.now = now
        self.options = options = packet.options
        value = options.get(_RELAY_AGENT)
        info = relay.decode(value) if value and packet.giaddr else relay.NOTHING
        self.scene = scene = site.scene(packet, arrival, info, kind)
        self.info = info if packet.giaddr or not value else _by_switch(value, scene.nets)
        self.relay = packet.giaddr
        """The relay, and in `info` the switch port, that the machine is behind: for a renewal, what its lease says."""
        self.nets = scene.nets
        self.kind = kind
        chaddr = packet.chaddr
        # as `Packet.key`: a call less for what nearly all are
        self.key = chaddr if len(chaddr) == 6 and packet.htype == ETHERNET else _odd_key(packet)
        self.known: Known | None = None
        self.plan: Plan | None = None
        self.boot = NOTHING
        self.reason = ""
        """Why it is told to boot that."""


def _by_switch(value: bytes, nets: tuple[Net, ...]) -> RelayInfo:
    """Read relay information that no relay wrote: the client itself did, unless its switch lets no client do so.

    Where the client is and who its server is, no switch says.
    """
    if not any(net.config.snooping for net in nets):
        return relay.NOTHING
    return relay.decode(value)._replace(link=0, server=0)


def _odd_key(packet: Packet) -> bytes:
    key = packet.key
    if key == NOBODY:
        raise WireError("neither a hardware address nor a client identifier (RFC 4390 section 2.1)")
    return key


def holding(nets: tuple[Net, ...], ip: int) -> Net | None:
    """Give the subnet that this address belongs to."""
    for net in nets:
        if net.holds(ip):
            return net
    return None
