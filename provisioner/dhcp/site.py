"""All that answers follow from: subnets, who is known, who decides what is booted. No I/O.

Every change touches one entry: nothing is rebuilt, nothing is restarted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy

from provisioner.dhcp.claims import Claims
from provisioner.dhcp.conflicts import Conflicts
from provisioner.dhcp.identify import Kind, Signature, kind_of, signature_of
from provisioner.dhcp.layouts import Reader
from provisioner.dhcp.leases import DOUBTED_S, FOR_EVER, Lease, Pool
from provisioner.dhcp.limit import Limiter
from provisioner.dhcp.options import Opt, number_of
from provisioner.dhcp.packet import Packet, address
from provisioner.dhcp.relay import RelayInfo
from provisioner.dhcp.reservations import Known, Reservations
from provisioner.dhcp.scene import Arrival, Scene
from provisioner.dhcp.subnets import Overrides, PortRule, Reservation
from provisioner.dhcp.topology import Net, Topology
from provisioner.model.boot import BootClient, Plan
from provisioner.model.net import Mac

KINDS_LIMIT = 1024
"""Kinds of firmware remembered; a site has a few, made-up ones must not grow us."""
SCENES_LIMIT = 1024
"""Combinations of firmware, link and way to us remembered, about 1 MB."""


_SUBNET_SELECTION, _CLIENT_UUID = int(Opt.SUBNET_SELECTION), int(Opt.CLIENT_UUID)


class Site:
    """The state of one DHCP server."""

    def __init__(
        self,
        decide: Callable[[BootClient], Plan],
        *,
        http_port: int = 8080,
        tls_port: int = 0,
        profiles: Mapping[str, Overrides] | None = None,
        ports: Sequence[PortRule] = (),
    ) -> None:
        self.decide = decide
        self.http_port = http_port
        self.tls_port = tls_port
        """0: nothing is served by HTTPS, and no setting asks for it."""
        self.topology: Topology[Net] = Topology()
        self.reservations = Reservations(profiles, ports)
        self.limiter = Limiter()
        self._addresses: dict[str, tuple[int, ...]] = {}
        self.ours: frozenset[int] = frozenset()
        """All of them."""
        self.claims = Claims()
        """Addresses that machines have of other DHCP servers."""
        self.conflicts = Conflicts()
        self.on_other_server: Callable[[str, int, Mac], None] = lambda _net, _server, _mac: None
        """Told of each machine that chose another server, with the subnet."""
        self._kinds: dict[Signature, Kind] = {}
        self._scenes: dict[tuple[Arrival, tuple[Net, ...], Kind], Scene] = {}
        self.read = Reader(self.kind_of).read

    def asked_by(self, decide: Callable[[BootClient], Plan]) -> Site:
        """Give the same site with another one who decides; who asks it is neither counted nor remembered."""
        other = copy(self)
        other.decide, other.limiter = decide, Limiter()
        return other

    @property
    def addresses(self) -> Mapping[str, tuple[int, ...]]:
        """Our own addresses, by interface."""
        return self._addresses

    @addresses.setter
    def addresses(self, found: dict[str, tuple[int, ...]]) -> None:
        if found != self._addresses:
            self._addresses = found
            self._scenes.clear()

    def scene(self, packet: Packet, arrival: Arrival, info: RelayInfo, kind: Kind) -> Scene:
        """Say where `packet` plays; the same object for machines of one kind on one link."""
        nets = self._nets_of(packet, arrival, info)
        key = (arrival, nets, kind)
        scene = self._scenes.get(key)
        if scene is None:
            if len(self._scenes) >= SCENES_LIMIT:
                self._scenes.clear()
            scene = self._scenes[key] = Scene(nets, arrival, kind, self._addresses)
        return scene

    def _nets_of(self, packet: Packet, arrival: Arrival, info: RelayInfo) -> tuple[Net, ...]:
        """Find the subnets on the client's link: as its relay says, by its own address, or by the interface.

        Subnet selection (RFC 3011) is a relay's to say: a client on our wire would get an address of somewhere else.
        """
        giaddr = packet.giaddr
        link = info.link or giaddr
        if giaddr and _SUBNET_SELECTION in packet.options and not info.link:
            link = number_of(packet.options, _SUBNET_SELECTION, 4) or link
        if link:
            return self.topology.at(link)
        if packet.ciaddr and arrival.unicast:
            return self.topology.at(packet.ciaddr)
        return self.topology.on(arrival.interface)

    def kind_of(self, packet: Packet) -> Kind:
        """Say what kind of client this is from; the same object for the same firmware."""
        signature = signature_of(packet)
        kind = self._kinds.get(signature)
        if kind is None:
            if len(self._kinds) >= KINDS_LIMIT:
                self._kinds.clear()
            kind = self._kinds[signature] = kind_of(signature)
        return kind

    def known(self, key: bytes, packet: Packet, relay: int, info: RelayInfo) -> Known | None:
        """Give what is fixed for the machine that sent `packet`, and hangs on this port of this relay."""
        return self.reservations.find(key, packet.options.get(_CLIENT_UUID), relay, info)

    # live changes

    def set_net(self, net: Net) -> None:
        """Add or replace a subnet; the leases and fixed addresses of the one before stay."""
        self.topology.set(net, self.reservations.addresses())

    def set_reservation(self, reservation: Reservation) -> Known:
        """Add or change what is fixed for one hardware address. Raises `ConfigError`, and nothing changed then.

        An address that is in no subnet is nobody's, until a subnet that holds it is added.
        """
        known = self.reservations.compile(reservation)
        self.remove_reservation(known.key)
        self.reservations.set(known)
        for ip in known.ips:
            if (net := self.net_at(ip)) is not None:
                net.pool.fix(ip)
        return known

    def remove_reservation(self, key: bytes) -> Known | None:
        """Forget what is fixed for one hardware address; say what it was."""
        known = self.reservations.remove(key)
        for ip in known.ips if known is not None else ():
            if (net := self.net_at(ip)) is not None:
                net.pool.unfix(ip)
        return known

    def decline(self, ip: int, now: float, reason: str, most_s: float = FOR_EVER) -> list[Lease]:
        """Keep an address out of use that somebody else uses, for `decline_s`, or this time if it is less."""
        net = self.net_at(ip)
        if net is None:
            return []
        return [net.pool_at(ip).decline(ip, now, min(net.config.decline_s, most_s), reason)]

    def found_in_use(self, ip: int, user: str, now: float) -> tuple[str, list[Lease]]:
        """Keep an address out of use that `user` answered on; what is to be said of it, and to be stored."""
        if ip in self.ours or not self.conflicts.answers_for_several(user, now):
            return f"{user} uses {address(ip)} already", self.decline(ip, now, f"{user} uses it already")
        others = "and others: a proxy ARP, or a port that is looped back?"
        declined = self.decline(ip, now, f"{user} answers for it {others}", DOUBTED_S)
        return f"{user} answers for {address(ip)} {others}", declined

    def end_unfixed(self, leases: Iterable[Lease], now: float) -> list[Lease]:
        """End those of these leases whose address is fixed for their machine no more; give what has to be stored."""
        found = []
        for lease in leases:
            net = self.net_at(lease.ip)
            if net is not None and not self.reservations.fixes(lease.key, lease.ip):
                found.append(net.pool_at(lease.ip).release(lease.key, lease.ip, now))
        return [lease for lease in found if lease is not None]

    # look-ups

    def pools(self) -> Iterator[Pool]:
        """Give all pools."""
        return self.topology.pools()

    def net_at(self, ip: int) -> Net | None:
        """Give the subnet that an address belongs to."""
        return self.topology.holding(ip)
