"""What an answer follows from that is not the one machine's own: its link, its way to us, its firmware. No I/O.

Machines of one rack share it, so it is worked out once and looked up by what was compared before: one look instead of
a dozen small ones for every packet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.dhcp.identify import Kind
from provisioner.dhcp.topology import Net

SERVER_PORT, CLIENT_PORT, PROXY_PORT = 67, 68, 4011


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """How a packet came in. Compared by identity: made once for a sender and kept (`Link`), it keys scenes."""

    interface: str
    us: int
    """Our address that it was sent to, or the interface's own where it was broadcast."""
    source: tuple[str, int] = ("0.0.0.0", CLIENT_PORT)
    port: int = SERVER_PORT
    unicast: bool = False


class Scene:
    """Where a packet plays. Not changed once made."""

    __slots__ = ("kind", "nets", "us", "us_in")

    def __init__(self, nets: tuple[Net, ...], arrival: Arrival, kind: Kind, own: Mapping[str, tuple[int, ...]]) -> None:
        self.nets = nets
        """The subnets on the client's link; empty: none of ours."""
        self.kind = kind
        self.us_in: Mapping[Net, int] = {net: _ours_in(net, arrival, own) for net in nets}
        """Our address as a client of each of these subnets reaches it."""
        self.us = self.us_in[nets[0]] if nets else arrival.us
        """Our address as the client reaches it."""


def _ours_in(net: Net, arrival: Arrival, own: Mapping[str, tuple[int, ...]]) -> int:
    if net.server:
        return net.server
    if not arrival.unicast:
        for address in own.get(arrival.interface, ()):
            if net.holds(address):
                return address
    return arrival.us
