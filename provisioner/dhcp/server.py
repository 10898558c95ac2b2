"""The DHCPv4 server: sockets, time and the store around `answer`. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv4Address
from typing import Protocol

from provisioner.clock import SteadyClock
from provisioner.dhcp.addresses import interface_name, own_addresses
from provisioner.dhcp.answer import answer
from provisioner.dhcp.boards import Boards
from provisioner.dhcp.case import PROXY_PORT, Arrival, Reply, Silence
from provisioner.dhcp.layers import Layers, Origin
from provisioner.dhcp.leases import Lease, Pool
from provisioner.dhcp.link import Link
from provisioner.dhcp.neighbours import claimant
from provisioner.dhcp.packet import Packet, address, decode
from provisioner.dhcp.relay import RelayInfo, spell
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Dhcp, Mode, Reservation, Subnet
from provisioner.dhcp.teller import Teller
from provisioner.dhcp.topology import Net
from provisioner.dhcp.trace import Trace
from provisioner.dhcp.v6.ra import RouterAdvertiser
from provisioner.errors import ListenError, StoreError, WireError
from provisioner.model.boot import BootClient, Plan
from provisioner.model.facts import SwitchPort
from provisioner.model.net import Mac, mac_from_bytes, parse_mac
from provisioner.model.trace import Observe

log = logging.getLogger(__name__)

HELD_LIMIT = 8192
"""Answers that wait for the disk, about 10 MB. Beyond it a request is dropped: the client asks again."""
MOST_S = 2.0**32
"""A lease that was stored may last this much longer at most: the longest that DHCP can say."""
TICK_S = 10.0
"""How often the clock and our own addresses are looked at."""


class Leases(Protocol):
    """Where leases are kept durably (`store.leases.LeaseStore`)."""

    def save(self, leases: list[Lease]) -> asyncio.Future[None]: ...
    async def load(self) -> list[Lease]: ...


Probe = Callable[[str, int], "asyncio.Future[str]"]
"""Ask whether an address is in use on an interface: resolves to who uses it (a hardware address, where that is known),
empty when nobody answered."""
OnKnown = Callable[[Mac, Reservation | None], None]
"""What holds for a hardware address; None: nothing any more."""
Held = tuple[Packet, Arrival, Reply | Silence]


class DhcpServer:
    """Serves the subnets of a configuration until it is stopped. All changes are live and touch one entry."""

    def __init__(  # noqa: PLR0913  the daemon joins the parts here
        self,
        config: Dhcp,
        *,
        decide: Callable[[BootClient], Plan],
        leases: Leases,
        observe: Observe,
        http_port: int = 8080,
        probe: Probe | None = None,
        on_lease: Callable[[Lease], None] | None = None,
        clock: SteadyClock | None = None,
    ) -> None:
        self.config = config
        self.site = Site(decide, http_port=http_port, profiles=config.profiles, ports=config.ports)
        self.layers = Layers()
        self.trace = Trace(observe, Boards(config.bmc_macs), self.site.reservations.knows)
        self._leases = leases
        self._probe = probe
        self._on_lease = on_lease
        self._clock = clock or SteadyClock()
        self._links: list[Link] = []
        self._advertisers: list[RouterAdvertiser] = []
        self.followers: list[OnKnown] = []
        """Told what holds for a hardware address whenever that has changed."""
        self.held_limit = HELD_LIMIT
        self._held = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._teller = Teller(self.trace, self._clock)
        for subnet in config.subnets:
            self.site.topology.set(Net(subnet))
        for reservation in config.reservations:
            self.set_reservation(reservation)

    async def start(self) -> None:
        """Read the leases, then listen. Raises `ListenError` or `StoreError`; nothing is left open then."""
        loop = asyncio.get_running_loop()
        self._take_over(await self._leases.load())
        self._refresh_addresses()
        try:
            for interface in self._interfaces():
                for port in (self.config.server_port, PROXY_PORT):
                    self._links.append(Link(interface, port))
            self._advertise()
        except ListenError:
            self._close_links()
            raise
        for link in self._links:
            loop.add_reader(link.fileno(), self._on_readable, link)
        self._ticker = loop.call_later(TICK_S, self._tick)

    async def stop(self) -> None:
        """Take no more requests, let the ACKs that wait for the disk leave, close."""
        loop = asyncio.get_running_loop()
        if self._ticker is not None:
            self._ticker.cancel()
        for link in self._links:
            loop.remove_reader(link.fileno())
        if self._links:
            await self._leases.save([])
        self._teller.stop()
        self._close_links()

    # live changes

    def set_reservation(self, reservation: Reservation, origin: Origin = Origin.FILE) -> None:
        """Add or change what one origin says of a hardware address. Raises `ConfigError`, and nothing changed then."""
        merged = self.layers.with_(origin, reservation)
        self.site.set_reservation(merged)
        self.layers.set(origin, reservation)
        self._known_changed(parse_mac(merged.mac), merged)

    def remove_reservation(self, mac: Mac, origin: Origin = Origin.FILE) -> None:
        """Forget what one origin says; what others say stays."""
        left = self.layers.without(origin, mac)
        if left is not None:
            self.site.set_reservation(left)
        else:
            self.site.remove_reservation(bytes.fromhex(mac.replace(":", "")))
        self.layers.remove(origin, mac)
        self._known_changed(mac, left)

    def set_subnet(self, subnet: Subnet, leases: Iterable[Lease] = ()) -> None:
        """Add or change a subnet; its leases stay, and `leases` are those stored of one that is new.

        An interface that nobody listened on is listened on from now on. Raises `ListenError`, and nothing changed then.
        """
        self._listen(subnet)
        net = Net(subnet)
        self.site.set_net(net)
        for lease in leases:
            net.pool_of(lease).load([lease._replace(pool=net.pool_of(lease).name)])

    def remove_subnet(self, name: str) -> None:
        """Serve a subnet no more. Its interface is listened on until the daemon ends."""
        self.site.topology.remove(name)

    def _listen(self, subnet: Subnet) -> None:
        name = subnet.interface
        if not name or subnet.mode is Mode.OFF or not self._links or name in {link.interface for link in self._links}:
            return
        links: list[Link] = []
        try:
            for port in (self.config.server_port, PROXY_PORT):
                links.append(Link(name, port))
        except ListenError:
            for link in links:
                link.close()
            raise
        self._refresh_addresses()
        for link in links:
            asyncio.get_running_loop().add_reader(link.fileno(), self._on_readable, link)
        self._links += links

    def tell(self, lease: Lease) -> None:
        """Tell who follows leases of one that has become durable."""
        if self._on_lease is not None:
            self._on_lease(lease)

    def now(self) -> float:
        """Time as leases count it."""
        return self._clock.now()

    def follow(self, on_known: OnKnown) -> None:
        """Tell what holds for each hardware address, now and whenever that changes."""
        self.followers.append(on_known)
        for mac in {parse_mac(reservation.mac) for _, reservation in self.layers}:
            on_known(mac, self.layers.merged(mac))

    def _known_changed(self, mac: Mac, merged: Reservation | None) -> None:
        for follower in self.followers:
            follower(mac, merged)

    # look-ups

    def lease_of(self, ip: str) -> Mac | None:
        """Say which machine holds the address now; where another server gives addresses, which says that it has it."""
        number, now = int(IPv4Address(ip)), self._clock.now()
        if (key := claimant(self.site, number)) is not None:
            return mac_from_bytes(key)
        for lease in self._leases_at(number):
            if lease.active(now):
                return mac_from_bytes(lease.key)
        return None

    def is_ours(self, ip: int) -> bool:
        """Say whether we answer from this address."""
        return ip in self.site.ours or any(net.server == ip for net in self.site.topology)

    def subnets(self) -> list[Subnet]:
        """Give the subnets as they are served now."""
        return [net.config for net in self.site.topology]

    def port_of(self, ip: str) -> SwitchPort | None:
        """Say through which relay and port the machine asked that holds the address; None for one on our wire."""
        number, now = int(IPv4Address(ip)), self._clock.now()
        for lease in self._leases_at(number):
            if lease.active(now) and lease.relay:
                info = RelayInfo(lease.circuit_id, lease.remote_id)
                name = self.site.reservations.name_at(lease.relay, info)
                return SwitchPort(address(lease.relay), spell(lease.circuit_id), spell(lease.remote_id), name)
        return None

    def lease_for(self, mac: Mac) -> Lease | None:
        """Give the lease that a machine holds now, the newest where it has several."""
        key, now = bytes.fromhex(parse_mac(mac).replace(":", "")), self._clock.now()
        found = [lease for pool in self.site.pools() if (lease := pool.of(key)) is not None and lease.active(now)]
        return max(found, key=lambda lease: lease.since, default=None)

    def leases(self) -> list[Lease]:
        """Give all leases, also those that are over."""
        return [lease for pool in self.site.pools() for lease in pool.by_ip.values()]

    def _leases_at(self, ip: int) -> Iterable[Lease]:
        for net in self.site.topology.at(ip):
            for pool in (net.pool, net.quarantine):
                if (lease := pool.by_ip.get(ip)) is not None:
                    yield lease

    # the hot path

    def _on_readable(self, link: Link) -> None:
        """Answer what has arrived: leases to the store first, then all replies that need none, in one go.

        Sent one by one between the answers, each reply would wake up whoever receives it, at twice the cost.
        """
        now = self._clock.now()
        ready: list[Held] = []
        held: list[Held] = []
        for data, arrival in link.receive():
            try:
                packet = decode(data)
                found = answer(packet, arrival, self.site, now)
            except WireError as error:
                self.trace.malformed(data, arrival, str(error), now)
            except Exception:
                log.exception("dhcp.fault data=%s", data.hex())
            else:
                (held if found.store else ready).append((packet, arrival, found))
        if held:
            self._hold(link, held, now)
        self._finish(link, ready, now)

    def _hold(self, link: Link, held: list[Held], now: float) -> None:
        """Keep answers back until their leases are durable: one submission for all of them."""
        if self._held + len(held) > self.held_limit:
            late = Silence("too many answers wait for the disk")
            self._finish(link, [(packet, arrival, late) for packet, arrival, _ in held], now)
            return
        self._held += len(held)
        saved = self._leases.save([lease for _, _, found in held for lease in found.store])
        saved.add_done_callback(partial(self._release, link, held))

    def _release(self, link: Link, held: list[Held], saved: asyncio.Future[None]) -> None:
        self._held -= len(held)
        now = self._clock.now()
        error = saved.exception() if not saved.cancelled() else StoreError("the store was closed")
        if error is not None:
            log.error("dhcp.lease-unsaved answers=%d error=%s", len(held), error)
            refused = Silence(f"the lease could not be stored: {error}")
            held = [(packet, arrival, refused) for packet, arrival, _ in held]
        elif self._on_lease is not None:
            for lease in (lease for _, _, found in held for lease in found.store):
                self._on_lease(lease)
        self._finish(link, held, now)

    def _finish(self, link: Link, answers: list[Held], now: float) -> None:
        """Send and tell, but look first at addresses that are new to a machine."""
        if self._probe is not None:
            answers = [each for each in answers if not self._look_first(link, each)]
        self._send(link, answers, now)

    def _send(self, link: Link, answers: list[Held], now: float) -> None:
        """Send what is a reply, all in one go, and tell of each."""
        link.send(
            [
                (found.data, found.to, found.us, packet.chaddr)
                for packet, _, found in answers
                if isinstance(found, Reply)
            ]
        )
        answered = self.trace.answered
        for packet, arrival, found in answers:
            answered(packet, arrival, found, now)
        self._teller.wake()

    # a new address is looked at before it is offered

    def _look_first(self, link: Link, answered: Held) -> bool:
        """Hold an offer of a new address back until it is known to be unused; False: no need to."""
        found = answered[2]
        if self._probe is None or not isinstance(found, Reply) or not found.fresh:
            return False
        self._probe(link.interface, found.ip).add_done_callback(partial(self._looked, link, answered))
        return True

    def _looked(self, link: Link, answered: Held, probed: asyncio.Future[str]) -> None:
        packet, arrival, found = answered
        assert isinstance(found, Reply)
        now = self._clock.now()
        user = "" if probed.cancelled() or probed.exception() is not None else probed.result()
        if user in ("", packet.mac):  # nobody, or the machine itself, which came back without its lease
            self._send(link, [answered], now)
            return
        self._leases.save(self.site.decline(found.ip, now, f"{user} uses it already")).add_done_callback(_log_failure)
        conflict = Silence(f"{user} uses {address(found.ip)} already", "dhcp.conflict")
        self._finish(
            link, [(packet, arrival, conflict), (packet, arrival, answer(packet, arrival, self.site, now))], now
        )

    # beside the packets

    def _take_over(self, leases: list[Lease]) -> None:
        """Put stored leases where their addresses are now; none may outlive a full lease time (a clock was wrong).

        By address: a subnet may have been renamed, or its pools changed, since they were written.
        """
        latest = self._clock.now() + MOST_S
        nets = {pool.name: net for net in self.site.topology for pool in (net.pool, net.quarantine)}
        found: dict[Pool, list[Lease]] = {}
        for lease in leases:
            net = nets.get(lease.pool)
            if net is None or not net.holds(lease.ip):
                net = self.site.net_at(lease.ip)
            if net is not None:
                pool = net.pool_of(lease)
                found.setdefault(pool, []).append(lease if lease.pool == pool.name else lease._replace(pool=pool.name))
        for pool, its in found.items():
            pool.load(its, latest)

    def _interfaces(self) -> list[str]:
        subnets = [net.config for net in self.site.topology if net.mode is not Mode.OFF]
        found = dict.fromkeys((*self.config.interfaces, *(subnet.interface for subnet in subnets)))
        return [name for name in found if name]

    def _advertise(self) -> None:
        """Send router advertisements where a subnet wants them, once an interface; those of DHCPv6 stand over these."""
        wanted = {net.config.interface: net.config for net in self.site.topology if net.config.router_advertisements}
        for subnet6 in self.config.subnets6:
            wanted.pop(subnet6.interface, None)
        for subnet in wanted.values():
            advertiser = RouterAdvertiser(subnet.interface, lifetime_s=subnet.ra_lifetime_s)
            advertiser.start()
            self._advertisers.append(advertiser)

    def _refresh_addresses(self) -> None:
        found: dict[str, list[int]] = {}
        for own in own_addresses():
            if own.family == socket.AF_INET:
                found.setdefault(interface_name(own.interface), []).append(int.from_bytes(own.value, "big"))
        self.site.addresses = {name: tuple(values) for name, values in found.items()}
        self.site.ours = frozenset(value for values in found.values() for value in values)

    def _tick(self) -> None:
        jump = self._clock.jump()
        if jump:
            log.warning("dhcp.clock-jump seconds=%.0f leases keep their time", jump)
        try:
            self._refresh_addresses()
        except OSError as error:
            log.warning("dhcp.addresses-unknown error=%s", error)
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _close_links(self) -> None:
        for advertiser in self._advertisers:
            advertiser.stop()
        self._advertisers.clear()
        for link in self._links:
            link.close()
        self._links.clear()


def _log_failure(saved: asyncio.Future[None]) -> None:
    if not saved.cancelled() and saved.exception() is not None:
        log.error("dhcp.lease-unsaved error=%s", saved.exception())
