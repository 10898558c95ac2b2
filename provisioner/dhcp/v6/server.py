"""The DHCPv6 server: sockets, time and the store around `answer`. Decides nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv6Address
from typing import Any, Protocol

from provisioner.clock import SteadyClock
from provisioner.dhcp.addresses import by_interface, is_local
from provisioner.dhcp.case import Silence
from provisioner.dhcp.held import Held
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.links import Links
from provisioner.dhcp.subnets import Dhcp, Reservation
from provisioner.dhcp.teller import Teller
from provisioner.dhcp.v6.advertising import Advertising
from provisioner.dhcp.v6.answer import answer
from provisioner.dhcp.v6.case import Arrival6, Reply6, silence, unsent
from provisioner.dhcp.v6.duid import from_uuid
from provisioner.dhcp.v6.link import Link6
from provisioner.dhcp.v6.message import Message, decode
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.site import Site6, port_of
from provisioner.dhcp.v6.subnets import Mode6, Reservation6, Subnet6
from provisioner.dhcp.v6.trace import Trace6
from provisioner.errors import WireError
from provisioner.model.boot import BootClient, Plan
from provisioner.model.net import Mac, mac_from_bytes
from provisioner.model.trace import Observe

log = logging.getLogger(__name__)

HELD_LIMIT = 4096
"""Answers that wait for the disk, about 5 MB."""

Answered = tuple[Message, Arrival6, Reply6 | Silence]


class Leases6(Protocol):
    """Where leases and our DUID are kept durably (`store.leases6.LeaseStore6`)."""

    def save(self, leases: list[Lease], then: Callable[[], Any] | None = None) -> asyncio.Future[Any]: ...
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
        tls_port: int = 0,
        on_lease: Callable[[Lease], None] | None = None,
        advertising: Advertising | None = None,
        clock: SteadyClock | None = None,
    ) -> None:
        self.config = config
        self.site = Site6(decide, http_port=http_port, tls_port=tls_port, profiles=config.profiles)
        self.trace = Trace6(observe, self.site.reservations.knows)
        self._leases = leases
        self.tell = on_lease or _tell_nobody
        """Tells who follows leases of one that has become durable."""
        self._clock = clock or SteadyClock()
        self.links: Links[Link6] = Links(self._open, self._on_readable, self._look_around, config.interfaces)
        self._advertising = advertising or Advertising()
        self.held: Held[Link6, Answered] = Held(
            leases,
            leases_at=self.site.topology.leases_at,
            leave=_leave,
            finish=self._told,
            refuse=_refused,
            tell=self.tell,
            limit=HELD_LIMIT,
        )
        self._teller = Teller(self.trace.budget, self._clock)
        for subnet in config.subnets6:
            self.site.set_net(Net6(subnet))
        for machine in config.reservations:
            self.site.set_machine(machine)
        for fixed in config.reservations6:
            self.site.set_reservation(fixed)

    async def start(self) -> None:
        """Read the leases, then listen. Raises `ListenError` or `StoreError`; nothing is left open then."""
        self.site.duid = await self._leases.server_duid(from_uuid(os.urandom(16)))
        self.site.topology.take_over(await self._leases.load(), self._clock.now())
        self.links.start(net.config.interface for net in self.site.topology if net.mode is not Mode6.OFF)
        self._advertising.follow6(self.subnets())

    async def stop(self) -> None:
        """Take no more messages, let the replies that wait for the disk leave, close."""
        if self.links.stop_reading():
            await self.held.settle()
        self._teller.stop()
        self._advertising.follow6(())
        self.links.close()

    def _open(self, interface: str) -> Iterator[Link6]:
        yield Link6(interface)

    def _look_around(self) -> dict[str, tuple[int, ...]]:
        """Learn our own addresses, by interface."""
        found = by_interface(socket.AF_INET6)
        self.site.addresses = {
            name: tuple(value for value in values if not is_local(value)) for name, values in found.items()
        }
        return found

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

    def set_subnet(self, subnet: Subnet6, leases: Iterable[Lease] = ()) -> None:
        """Add or change a subnet; its leases stay, `leases` are those stored of addresses that are new to it.

        An interface that nobody listened on is listened on from now on. Raises `ListenError`, and nothing changed then.
        """
        if subnet.mode is not Mode6.OFF:
            self.links.add(subnet.interface)
        others = [each for each in self.subnets() if each.title != subnet.title]
        self._advertising.follow6((*others, subnet))
        self.site.set_net(Net6(subnet))
        self.site.topology.take_over(leases, self._clock.now())

    def remove_subnet(self, name: str) -> None:
        """Serve a subnet no more. Its interface is listened on until the daemon ends."""
        self.site.topology.remove(name)
        self._advertising.follow6(self.subnets())

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
        return self.site.topology.leases()

    def subnets(self) -> list[Subnet6]:
        """Give the subnets as they are served now."""
        return [net.config for net in self.site.topology]

    # what comes in

    def _on_readable(self, link: Link6) -> None:
        """Answer what has arrived; what has to be stored leaves when it is durable, in one submission for all."""
        now = self._clock.now()
        ready: list[Answered] = []
        held: list[Answered] = []
        for data, arrival in link.receive():
            try:
                message = decode(data)
                found = answer(message, arrival, self.site, now)
            except WireError as error:
                self.trace.malformed(arrival, str(error), now)
            except Exception:
                log.exception("dhcp6.fault data=%s", data.hex())
                self.trace.fault(data, arrival, now)
            else:
                stores = isinstance(found, Reply6) and found.store
                (held if stores else ready).append((message, arrival, found))
        if held:
            self.held.hold(link, held, [lease for _, _, found in held for lease in found.store])
        self._told(link, ready, _leave(link, ready))

    def _told(self, _link: Link6, answers: list[Answered], lost: Mapping[int, str]) -> None:
        """Tell of each answer; `lost` are replies that could not leave, by their place among the answers."""
        now = self._clock.now()
        for place, (message, arrival, found) in enumerate(answers):
            said = unsent(found, lost[place]) if isinstance(found, Reply6) and place in lost else found
            self.trace.answered(message, arrival, said, now)
        self._teller.wake()


def _leave(link: Link6, answers: list[Answered]) -> Mapping[int, str]:
    """Send what is a reply. Called by the store's thread, too (`held`)."""
    return {
        place: why
        for place, (_, arrival, found) in enumerate(answers)
        if isinstance(found, Reply6) and (why := link.send(found.data, found.to, arrival.target))
    }


def _tell_nobody(lease: Lease) -> None:
    """Nobody follows leases."""


def _refused(answered: Answered, why: str) -> Answered:
    message, arrival, _ = answered
    return message, arrival, silence(why)
