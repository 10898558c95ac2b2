"""The DHCPv4 server: sockets, time and the store around `answer`. Decides nothing."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address
from typing import Any, Protocol

from provisioner.clock import SteadyClock
from provisioner.dhcp.addresses import by_interface
from provisioner.dhcp.answer import answer
from provisioner.dhcp.asking import Ask
from provisioner.dhcp.boards import Boards
from provisioner.dhcp.case import PROXY_PORT, Arrival, Reply, Silence, unsent
from provisioner.dhcp.conflicts import LOOKS
from provisioner.dhcp.foretell import Foretold, foretell
from provisioner.dhcp.held import Held
from provisioner.dhcp.layers import Layers, Origin
from provisioner.dhcp.leases import BOOTP, FOR_EVER, Lease
from provisioner.dhcp.link import Link
from provisioner.dhcp.links import Links
from provisioner.dhcp.neighbours import claimant
from provisioner.dhcp.packet import Packet, address
from provisioner.dhcp.relay import RelayInfo, spell
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Dhcp, Mode, Reservation, Subnet
from provisioner.dhcp.teller import Teller
from provisioner.dhcp.topology import Net
from provisioner.dhcp.trace import Trace
from provisioner.dhcp.v6.advertising import Advertising
from provisioner.errors import StoreError, WireError
from provisioner.model.boot import BootClient, Plan
from provisioner.model.facts import SwitchPort
from provisioner.model.net import Mac, mac_from_bytes, parse_mac
from provisioner.model.trace import Observe

log = logging.getLogger(__name__)

HELD_LIMIT = 8192
"""Answers that wait for the disk, about 10 MB."""


class Leases(Protocol):
    """Where leases are kept durably (`store.leases.LeaseStore`)."""

    def save(self, leases: list[Lease], then: Callable[[], Any] | None = None) -> asyncio.Future[Any]: ...
    async def load(self) -> list[Lease]: ...


Probe = Callable[[str, int], "asyncio.Future[str]"]
"""Ask whether an address is in use on an interface: resolves to who uses it (a hardware address, where that is known),
empty when nobody answered."""
OnKnown = Callable[[Mac, Reservation | None], None]
"""What holds for a hardware address; None: nothing any more."""
Answered = tuple[Packet, Arrival, Reply | Silence]


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
        tls_port: int = 0,
        probe: Probe | None = None,
        on_lease: Callable[[Lease], None] | None = None,
        advertising: Advertising | None = None,
        clock: SteadyClock | None = None,
        on_jump: Callable[[float], object] | None = None,
    ) -> None:
        self.config = config
        self.site = Site(decide, http_port=http_port, tls_port=tls_port, profiles=config.profiles, ports=config.ports)
        self.layers = Layers()
        self.trace = Trace(observe, Boards(config.bmc_macs), self.site.reservations.knows)
        self._leases = leases
        self._probe = probe
        self.tell = on_lease or _tell_nobody
        """Tells who follows leases of one that has become durable."""
        self._clock = clock or SteadyClock()
        self._on_jump = on_jump or _tell_nobody
        """Told by how many seconds the wall clock was set."""
        self.links: Links[Link] = Links(self._open, self._on_readable, self._look_around, config.interfaces)
        self._advertising = advertising or Advertising()
        self.followers: list[OnKnown] = []
        """Told what holds for a hardware address whenever that has changed."""
        self.held: Held[Link, Answered] = Held(
            leases,
            leases_at=self.site.topology.leases_at,
            leave=self._leave,
            finish=self._left,
            refuse=_refused,
            tell=self.tell,
            limit=HELD_LIMIT,
        )
        self._teller = Teller(self.trace.budget, self._clock)
        for subnet in config.subnets:
            self.site.set_net(Net(subnet))
        for reservation in config.reservations:
            self.set_reservation(reservation)

    async def start(self) -> None:
        """Read the leases, then listen. Raises `ListenError` or `StoreError`; nothing is left open then."""
        self._take_over(await self._leases.load())
        served = (net.config.interface for net in self.site.topology if net.mode is not Mode.OFF)
        self.links.start((*self.config.interfaces, *served))
        self._advertising.follow(self.subnets())

    async def stop(self) -> None:
        """Take no more requests, let the ACKs that wait for the disk leave, close."""
        self._look_at_clock()
        if self.links.stop_reading():
            await self.held.settle()
        self._teller.stop()
        self._advertising.follow(())
        self.links.close()

    def _open(self, interface: str) -> Iterator[Link]:
        return (Link(interface, port) for port in (self.config.server_port, PROXY_PORT))

    def _look_around(self) -> dict[str, tuple[int, ...]]:
        """Learn our own addresses, by interface, and whether the clock was set."""
        self._look_at_clock()
        found = by_interface(socket.AF_INET)
        self.site.addresses = found
        self.site.ours = frozenset(value for values in found.values() for value in values)
        return found

    def _look_at_clock(self) -> None:
        if jump := self._clock.jump():
            log.warning("dhcp.clock-jump seconds=%.0f leases keep their time", jump)
            self._on_jump(jump)

    # live changes

    def set_reservation(self, reservation: Reservation, origin: Origin = Origin.FILE) -> None:
        """Add or change what one origin says of a hardware address. Raises `ConfigError`, and nothing changed then."""
        merged = self.layers.with_(origin, reservation)
        endless = self._endless(parse_mac(merged.mac))
        self.site.set_reservation(merged)
        self.layers.set(origin, reservation)
        self._end_unfixed(endless)
        self._known_changed(parse_mac(merged.mac), merged)

    def remove_reservation(self, mac: Mac, origin: Origin = Origin.FILE) -> None:
        """Forget what one origin says; what others say stays."""
        left = self.layers.without(origin, mac)
        endless = self._endless(mac)
        if left is not None:
            self.site.set_reservation(left)
        else:
            self.site.remove_reservation(bytes.fromhex(mac.replace(":", "")))
        self.layers.remove(origin, mac)
        self._end_unfixed(endless)
        self._known_changed(mac, left)

    def _endless(self, mac: Mac) -> list[Lease]:
        """Give the leases without an end at the fixed addresses of a hardware address: nothing else ends them."""
        known = self.site.reservations.of(bytes.fromhex(mac.replace(":", "")))
        held = (lease for ip in (known.ips if known else ()) for lease in self.site.topology.leases_at(ip))
        return [lease for lease in held if lease.until >= FOR_EVER]

    def set_subnet(self, subnet: Subnet, leases: Iterable[Lease] = ()) -> None:
        """Add or change a subnet; its leases stay, `leases` are those stored of addresses that are new to it.

        An interface that nobody listened on is listened on from now on. Raises `ListenError`, and nothing changed then.
        """
        if subnet.mode is not Mode.OFF:
            self.links.add(subnet.interface)
        others = [each for each in self.subnets() if each.title != subnet.title]
        self._advertising.follow((*others, subnet))
        self.site.set_net(Net(subnet))
        self._take_over(list(leases))

    def _take_over(self, leases: list[Lease]) -> None:
        """Put stored leases in their place; those of BOOTP clients end whose reservation is gone since."""
        self.site.topology.take_over(leases, self._clock.now())
        self._end_unfixed(lease for lease in leases if lease.reason == BOOTP)

    def _end_unfixed(self, leases: Iterable[Lease]) -> None:
        ended = self.site.end_unfixed(leases, self._clock.now())
        if ended:
            self._leases.save(ended).add_done_callback(partial(self._saved, ended))

    def remove_subnet(self, name: str) -> None:
        """Serve a subnet no more. Its interface is listened on until the daemon ends."""
        self.site.topology.remove(name)
        self._advertising.follow(self.subnets())

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
        lease = self._active_at(number, now)
        return mac_from_bytes(lease.key) if lease is not None else None

    def is_ours(self, ip: int) -> bool:
        """Say whether we answer from this address."""
        return ip in self.site.ours or any(net.server == ip for net in self.site.topology)

    def subnets(self) -> list[Subnet]:
        """Give the subnets as they are served now."""
        return [net.config for net in self.site.topology]

    def port_of(self, ip: str) -> SwitchPort | None:
        """Say through which relay and port the machine asked that holds the address; None for one on our wire."""
        number, now = int(IPv4Address(ip)), self._clock.now()
        lease = self._active_at(number, now)
        if lease is None or not lease.relay:
            return None
        info = RelayInfo(lease.circuit_id, lease.remote_id)
        name = self.site.reservations.name_at(lease.relay, info)
        return SwitchPort(address(lease.relay), spell(lease.circuit_id), spell(lease.remote_id), name)

    def lease_for(self, mac: Mac) -> Lease | None:
        """Give the lease that a machine holds now, the newest where it has several."""
        return self.lease_of_key(bytes.fromhex(parse_mac(mac).replace(":", "")))

    def lease_of_key(self, key: bytes) -> Lease | None:
        """Give the newest lease that is held by this hardware address now."""
        now = self._clock.now()
        found = [lease for lease in self.site.topology.leases_of(key) if lease.active(now)]
        return max(found, key=lambda lease: lease.since, default=None)

    def foretell(self, ask: Ask, decide: Callable[[BootClient], Plan]) -> list[Foretold]:
        """Say what would be answered to a machine, were `decide` asked, on each link that it may be on."""
        return foretell(self.site, ask, decide, self._clock.now())

    def leases(self) -> list[Lease]:
        """Give all leases, also those that are over."""
        return self.site.topology.leases()

    def _active_at(self, ip: int, now: float) -> Lease | None:
        return next((lease for lease in self.site.topology.leases_at(ip) if lease.active(now)), None)

    # the hot path

    def _on_readable(self, link: Link) -> None:
        """Answer what has arrived: leases to the store first, then all replies that need none, in one go.

        Sent one by one between the answers, each reply would wake up whoever receives it, at twice the cost.
        """
        now = self._clock.now()
        site, read = self.site, self.site.read
        ready: list[Answered] = []
        held: list[Answered] = []
        for data, arrival in link.receive():
            try:
                packet, kind = read(data)
                found = answer(packet, arrival, site, now, kind)
            except WireError as error:
                self.trace.malformed(data, arrival, str(error), now)
            except Exception:
                log.exception("dhcp.fault data=%s", data.hex())
                self.trace.fault(data, arrival, now)
            else:
                (held if found.store else ready).append((packet, arrival, found))
        if held:
            self.held.hold(link, held, [lease for _, _, found in held for lease in found.store])
        self._finish(link, ready)

    def _finish(self, link: Link, answers: list[Answered]) -> None:
        """Send and tell, but look first at addresses that are new to a machine."""
        self._left(link, answers, self._leave(link, answers))

    def _leave(self, link: Link, answers: list[Answered]) -> Mapping[int, str]:
        """Send what is a reply and needs no look, all in one go. Called by the store's thread, too (`held`)."""
        look = self._probe is not None
        return link.send(
            [
                (found.data, found.to, found.us, packet.chaddr)
                for packet, _, found in answers
                if isinstance(found, Reply) and not (look and found.fresh)
            ]
        )

    def _left(self, link: Link, answers: list[Answered], lost: Mapping[int, str]) -> None:
        """Tell of what has left, and look at the addresses that are new."""
        if self._probe is not None:
            answers = [each for each in answers if not (each[2].fresh and self._look_first(link, each))]
        self._told(answers, lost)

    def _told(self, answers: list[Answered], lost: Mapping[int, str]) -> None:
        """Tell of each answer; `lost` are replies that could not leave, by their place among the replies."""
        now = self._clock.now()
        if lost:
            answers = _without(lost, answers)
        answered = self.trace.answered
        for packet, arrival, found in answers:
            answered(packet, arrival, found, now)
        self._teller.wake()

    # a new address is looked at before it is offered

    def _look_first(self, link: Link, answered: Answered) -> bool:
        """Hold an offer of a new address back until it is known to be unused; False: no need to."""
        found = answered[2]
        if self._probe is None or not isinstance(found, Reply) or not found.fresh:
            return False
        self._probe(link.interface, found.ip).add_done_callback(partial(self._looked, link, answered))
        return True

    def _looked(self, link: Link, answered: Answered, probed: asyncio.Future[str]) -> None:
        packet, arrival, found = answered
        assert isinstance(found, Reply)
        now = self._clock.now()
        user = "" if probed.cancelled() or probed.exception() is not None else probed.result()
        if user in ("", packet.mac):  # nobody, or the machine itself, which came back without its lease
            self._send(link, answered)
            return
        why, declined = self.site.found_in_use(found.ip, user, now)
        self._leases.save(declined).add_done_callback(partial(self._saved, declined))
        enough = found.fresh >= LOOKS
        said = f"{why}; it may ask again, after {LOOKS} such addresses" if enough else why
        self._told([(packet, arrival, Silence(said, "dhcp.conflict"))], {})
        if enough:
            return
        other = answer(packet, arrival, self.site, now)
        again = packet, arrival, other._replace(fresh=found.fresh + 1 if other.fresh else 0)
        if other.store:
            self.held.hold(link, [again], list(other.store))
        else:
            self._finish(link, [again])

    def _send(self, link: Link, answered: Answered) -> None:
        packet, _, found = answered
        assert isinstance(found, Reply)
        self._told([answered], link.send([(found.data, found.to, found.us, packet.chaddr)]))

    def _saved(self, leases: list[Lease], saved: asyncio.Future[None]) -> None:
        error = saved.exception() if not saved.cancelled() else StoreError("the store was closed")
        if error is not None:
            log.error("dhcp.lease-unsaved error=%s", error)
            self.held.owe(leases)
            return
        for lease in leases:
            self.tell(lease)


def _without(lost: Mapping[int, str], answers: list[Answered]) -> list[Answered]:
    """Give the answers with a silence for each reply that could not leave: `lost` has its place among the replies."""
    places = itertools.count()
    return [
        (packet, arrival, unsent(found, lost[place]))
        if isinstance(found, Reply) and (place := next(places)) in lost
        else (packet, arrival, found)
        for packet, arrival, found in answers
    ]


def _tell_nobody(_told: object) -> None:
    """Nobody follows leases, or the clock."""


def _refused(answered: Answered, why: str) -> Answered:
    packet, arrival, _ = answered
    return packet, arrival, Silence(why)
