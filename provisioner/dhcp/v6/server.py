"""The DHCPv6 server: sockets, time and the store around `answer`. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import IPv6Address
from typing import Protocol

from provisioner.clock import SteadyClock
from provisioner.dhcp.addresses import interface_name, own_addresses
from provisioner.dhcp.case import Silence
from provisioner.dhcp.leases import Lease, Pool
from provisioner.dhcp.subnets import Dhcp, Reservation
from provisioner.dhcp.teller import Teller
from provisioner.dhcp.v6.answer import answer
from provisioner.dhcp.v6.case import Arrival6, Reply6, silence
from provisioner.dhcp.v6.duid import from_uuid
from provisioner.dhcp.v6.link import Link6
from provisioner.dhcp.v6.message import Message, decode
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.ra import RouterAdvertiser
from provisioner.dhcp.v6.site import Site6, port_of
from provisioner.dhcp.v6.subnets import Mode6, Reservation6, Subnet6
from provisioner.dhcp.v6.trace import Trace6
from provisioner.errors import ListenError, StoreError, WireError
from provisioner.model.boot import BootClient, Plan
from provisioner.model.net import Mac, mac_from_bytes
from provisioner.model.trace import Observe

log = logging.getLogger(__name__)

HELD_LIMIT = 4096
"""Answers that wait for the disk, about 5 MB. Beyond it a message is dropped: the client asks again."""
MOST_S = 2.0**32
"""A lease that was stored may last this much longer at most: the longest that DHCP can say."""
TICK_S = 10.0
"""How often our own addresses are looked at."""

Held = tuple[Message, Arrival6, Reply6 | Silence]


class Leases6(Protocol):
    """Where leases and our DUID are kept durably (`store.leases6.LeaseStore6`)."""

    def save(self, leases: list[Lease]) -> asyncio.Future[None]: ...
    async def load(self) -> list[Lease]: ...
    async def server_duid(self, fresh: bytes) -> bytes: ...


class Dhcp6Server:
    """Serves the IPv6 subnets of a configuration until it is stopped. All changes are live and touch one entry."""

    def __init__(  # noqa: PLR0913  the daemon joins the parts here
        self,
        config: Dhcp,
        *,
        decide: Callable[[BootClient], Plan],
        leases: Leases6,
        observe: Observe,
        http_port: int = 8080,
        on_lease: Callable[[Lease], None] | None = None,
        clock: SteadyClock | None = None,
    ) -> None:
        self.config = config
        self.site = Site6(decide, http_port=http_port, profiles=config.profiles)
        self.trace = Trace6(observe, self.site.reservations.knows)
        self._leases = leases
        self._on_lease = on_lease
        self._clock = clock or SteadyClock()
        self._links: list[Link6] = []
        self._advertisers: list[RouterAdvertiser] = []
        self.held_limit = HELD_LIMIT
        self._held = 0
        self._ticker: asyncio.TimerHandle | None = None
        self._teller = Teller(self.trace.budget, self._clock)
        for subnet in config.subnets6:
            self.site.set_net(Net6(subnet))
        for machine in config.reservations:
            self.site.set_machine(machine)
        for fixed in config.reservations6:
            self.site.set_reservation(fixed)

    async def start(self) -> None:
        """Read the leases, then listen. Raises `ListenError` or `StoreError`; nothing is left open then."""
        loop = asyncio.get_running_loop()
        self.site.duid = await self._leases.server_duid(from_uuid(os.urandom(16)))
        self._take_over(await self._leases.load())
        self._refresh_addresses()
        try:
            for interface in self._interfaces():
                self._links.append(Link6(interface))
            self._advertise()
        except ListenError:
            self._close()
            raise
        for link in self._links:
            loop.add_reader(link.fileno(), self._on_readable, link)
        self._ticker = loop.call_later(TICK_S, self._tick)

    async def stop(self) -> None:
        """Take no more messages, let the replies that wait for the disk leave, close."""
        loop = asyncio.get_running_loop()
        if self._ticker is not None:
            self._ticker.cancel()
        for link in self._links:
            loop.remove_reader(link.fileno())
        if self._links:
            await self._leases.save([])
        self._teller.stop()
        self._close()

    # live changes

    def know(self, mac: Mac, reservation: Reservation | None) -> None:
        """Hear what is known of the machine behind a hardware address; None: nothing any more."""
        if reservation is None:
            self.site.remove_machine(bytes.fromhex(mac.replace(":", "")))
        else:
            self.site.set_machine(reservation)

    def set_reservation(self, reservation: Reservation6) -> None:
        """Add or change a fixed address. Raises `ConfigError`, and nothing changed then."""
        self.site.set_reservation(reservation)

    def remove_reservation(self, reservation: Reservation6) -> None:
        """Forget a fixed address."""
        self.site.remove_reservation(reservation)

    def set_subnet(self, subnet: Subnet6) -> None:
        """Add or change a subnet; its leases stay. Raises `ListenError`, and nothing changed then."""
        name = subnet.interface
        if (
            name
            and subnet.mode is not Mode6.OFF
            and self._links
            and name not in {each.interface for each in self._links}
        ):
            link = Link6(name)
            self._links.append(link)
            self._refresh_addresses()
            asyncio.get_running_loop().add_reader(link.fileno(), self._on_readable, link)
        self.site.set_net(Net6(subnet))

    def remove_subnet(self, name: str) -> None:
        """Serve a subnet no more."""
        self.site.topology.remove(name)

    def now(self) -> float:
        """Time as leases count it."""
        return self._clock.now()

    # look-ups

    def lease_of(self, ip: str) -> Mac | None:
        """Say which machine holds the address now; None also where its hardware address is not known."""
        lease = self.site.lease_at(int(IPv6Address(ip.partition("%")[0])), self._clock.now())
        port = port_of(lease.key) if lease is not None else b""
        return mac_from_bytes(port) if len(port) == 6 else None

    def leases(self) -> list[Lease]:
        """Give all leases, also those that are over."""
        return [lease for pool in self.site.pools() for lease in pool.by_ip.values()]

    # what comes in

    def _on_readable(self, link: Link6) -> None:
        """Answer what has arrived; what has to be stored leaves when it is durable, in one submission for all."""
        now = self._clock.now()
        ready: list[Held] = []
        held: list[Held] = []
        for data, arrival in link.receive():
            try:
                message = decode(data)
                found = answer(message, arrival, self.site, now)
            except WireError as error:
                self.trace.malformed(arrival, str(error), now)
            except Exception:
                log.exception("dhcp6.fault data=%s", data.hex())
            else:
                stores = isinstance(found, Reply6) and found.store
                (held if stores else ready).append((message, arrival, found))
        if held:
            self._hold(link, held, now)
        self._send(link, ready, now)

    def _hold(self, link: Link6, held: list[Held], now: float) -> None:
        """Keep replies back until their leases are durable."""
        if self._held + len(held) > self.held_limit:
            self._refuse(link, held, "too many answers wait for the disk", now)
            return
        self._held += len(held)
        saved = self._leases.save(_stored(held))
        saved.add_done_callback(partial(self._release, link, held))

    def _release(self, link: Link6, held: list[Held], saved: asyncio.Future[None]) -> None:
        self._held -= len(held)
        now = self._clock.now()
        error = saved.exception() if not saved.cancelled() else StoreError("the store was closed")
        if error is not None:
            log.error("dhcp6.lease-unsaved answers=%d error=%s", len(held), error)
            self._refuse(link, held, f"the lease could not be stored: {error}", now)
            return
        if self._on_lease is not None:
            for lease in _stored(held):
                self._on_lease(lease)
        self._send(link, held, now)

    def _refuse(self, link: Link6, held: list[Held], why: str, now: float) -> None:
        self._send(link, [(message, arrival, silence(why)) for message, arrival, _ in held], now)

    def _send(self, link: Link6, answers: list[Held], now: float) -> None:
        for message, arrival, found in answers:
            if isinstance(found, Reply6):
                link.send(found.data, found.to)
            self.trace.answered(message, arrival, found, now)
        self._teller.wake()

    # beside the messages

    def _take_over(self, leases: Iterable[Lease]) -> None:
        """Put stored leases where their addresses are now; none may outlive a full lease time (a clock was wrong)."""
        latest = self._clock.now() + MOST_S
        found: dict[Pool, list[Lease]] = {}
        for lease in leases:
            net = next((net for net in self.site.topology if net.holds(lease.ip)), None)
            if net is not None:
                pool = net.quarantine if net.quarantine.covers(lease.ip) else net.pool
                found.setdefault(pool, []).append(lease._replace(pool=pool.name))
        for pool, its in found.items():
            pool.load(its, latest)

    def _interfaces(self) -> list[str]:
        served = [subnet for subnet in self.config.subnets6 if subnet.mode is not Mode6.OFF]
        own = self.config.interfaces if any(not subnet.interface for subnet in served) else ()
        return [name for name in dict.fromkeys((*own, *(subnet.interface for subnet in served))) if name]

    def _advertise(self) -> None:
        """Send router advertisements where a subnet wants them, once an interface."""
        wanted = {subnet.interface: subnet for subnet in self.config.subnets6 if subnet.router_advertisements}
        for name, subnet in wanted.items():
            networks = tuple(each.network for each in self.config.subnets6 if each.interface == name)
            advertiser = RouterAdvertiser(name, lifetime_s=subnet.ra_lifetime_s, managed=True, networks=networks)
            advertiser.start()
            self._advertisers.append(advertiser)

    def _refresh_addresses(self) -> None:
        found: dict[str, list[int]] = {}
        for own in own_addresses():
            if own.family == socket.AF_INET6 and own.value[:2] != b"\xfe\x80":
                found.setdefault(interface_name(own.interface), []).append(int.from_bytes(own.value, "big"))
        self.site.addresses = {name: tuple(values) for name, values in found.items()}

    def _tick(self) -> None:
        try:
            self._refresh_addresses()
        except OSError as error:
            log.warning("dhcp.addresses-unknown error=%s", error)
        self._ticker = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _close(self) -> None:
        for advertiser in self._advertisers:
            advertiser.stop()
        self._advertisers.clear()
        for link in self._links:
            link.close()
        self._links.clear()


def _stored(held: Iterable[Held]) -> list[Lease]:
    return [lease for _, _, found in held for lease in found.store]
