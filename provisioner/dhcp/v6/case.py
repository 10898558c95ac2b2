"""One DHCPv6 message and what is known about it; the replies that rules give. No I/O."""

from __future__ import annotations

from typing import NamedTuple

from provisioner.dhcp.case import Silence
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.v6.identify import Identity, Kind, identity_of, kind_of
from provisioner.dhcp.v6.message import Message
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.options import Opt, first
from provisioner.dhcp.v6.reservations import Known6
from provisioner.dhcp.v6.site import Site6
from provisioner.model.boot import Plan

SERVER_PORT, CLIENT_PORT = 547, 546


class Arrival6(NamedTuple):
    """How a message came in. Addresses are numbers."""

    interface: str
    source: int
    port: int = CLIENT_PORT
    target: int = 0
    """Our address that it was sent to; 0 where that was a group."""
    mac: bytes = b""
    """The Ethernet address that the frame came from; empty where it is not known."""
    lost: bool = False
    """Frames are looked at, and its own was not seen: there were too many at once. What this host asks came in none."""


class Reply6(NamedTuple):
    """Send `data`, after `store` is durable."""

    event: str
    data: bytes
    to: tuple[int, int]
    """Address and port."""
    reason: str
    ips: tuple[int, ...] = ()
    store: tuple[Lease, ...] = ()
    name: str = ""
    """What the message is called, for people."""


def silence(reason: str) -> Silence:
    """Say nothing, and why."""
    return Silence(reason, "dhcp6.silence")


def unsent(reply: Reply6, why: str) -> Silence:
    """Say that a reply could not leave; a lease that was stored for it stays, as the client asks again."""
    return Silence(f"the {reply.event.removeprefix('dhcp6.')} could not leave: {why}", "dhcp6.unsent")


class Case6:
    """One message with what is known about it."""

    __slots__ = ("arrival", "kind", "known", "message", "nets", "now", "plan", "reason", "site", "who")

    def __init__(self, message: Message, arrival: Arrival6, site: Site6, now: float) -> None:
        self.message = message
        self.arrival = arrival
        self.site = site
        self.now = now
        self.who: Identity = identity_of(message, arrival.source, arrival.mac)
        self.kind: Kind = kind_of(message)
        self.nets = nets_of(self)
        self.known: Known6 | None = None
        self.plan: Plan | None = None
        self.reason = ""
        """Why it is told to boot what it is told."""


def nets_of(case: Case6) -> tuple[Net6, ...]:
    """Find the subnets on the client's link: as the relay nearest to it says, else by the interface.

    Relays on layer 2 (RFC 6221) give no link address: then it is for the next one to say.
    """
    for hop in reversed(case.message.hops):
        if hop.link:
            return case.site.topology.at(hop.link)
    return case.site.topology.on(case.arrival.interface)


def switch_port(case: Case6) -> tuple[bytes, bytes]:
    """Say behind which port the client hangs, as the relay nearest to it tells: options 37 and 18."""
    for hop in reversed(case.message.hops):
        remote = first(hop.options, Opt.REMOTE_ID) or b""
        port = first(hop.options, Opt.INTERFACE_ID) or b""
        if remote or port:
            return remote, port
    return b"", b""


def link_of(case: Case6) -> int:
    """Give the address by which its relay names the client's link; 0 where there is no relay that does."""
    return next((hop.link for hop in reversed(case.message.hops) if hop.link), 0)


def our_address(case: Case6, net: Net6) -> int:
    """Our address as this client reaches it, for URLs; 0 where we have none but link-local ones."""
    if net.server:
        return net.server
    own = case.site.addresses.get(case.arrival.interface, ())
    for address in own:
        if net.holds(address):
            return address
    if case.arrival.target in own:
        return case.arrival.target
    return own[0] if own else 0
