"""What operators change of a running DHCP server: reservations and subnets; durable, then live.

One change at a time. What is said here stands over the configuration file, until it is taken back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from provisioner.dhcp.adopt import Adoption
from provisioner.dhcp.fixed import Ground, barred_faults, faults_of_loaders, is_beside_another, reservation_faults
from provisioner.dhcp.layers import Origin
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnetbook import Rules, SubnetBook
from provisioner.dhcp.subnets import Dhcp, Reservation, Subnet
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.dhcp.validate import faults_of_subnets, faults_without_tls
from provisioner.errors import ConfigError, ConflictError, NotFoundError, ProvisionerError
from provisioner.fairloop import between
from provisioner.model.net import Mac, parse_mac
from provisioner.store.dhcpbook import DhcpBookStore, Filter
from provisioner.store.leases import LeaseStore
from provisioner.uncut import uncut

log = logging.getLogger(__name__)


SLICE = 50
"""Reservations judged or set in one turn of the loop, where there are many: a millisecond."""


class DhcpBook:
    """Changes one server. `open` comes before the server's start."""

    def __init__(self, server: DhcpServer, store: DhcpBookStore, leases: LeaseStore) -> None:
        self._server = server
        self._store = store
        self._leases = leases
        self.lock = asyncio.Lock()
        """Held by who changes anything."""
        self._unfit: set[Mac] = set()
        """Reservations that are stored, and were left out at the start."""
        config = server.config
        self.subnets: SubnetBook[Subnet] = SubnetBook(
            server,
            Rules(
                config.subnets,
                self._subnet_faults,
                server.site.reservations.addresses,
                store.put_subnets,
                store.remove_subnet,
                self._leases_in,
            ),
            self.lock,
        )

    async def open(self) -> None:
        """Take up what was said before. One that does not fit the configuration any more is logged and left out."""
        reservations, subnets = await self._store.settings()
        self.subnets.open(subnets)
        ground = self._ground()
        for of_file in self._server.config.reservations if subnets else ():
            for fault in barred_faults(of_file, ground):
                log.error("dhcp.setting-unfit mac=%s error=%s", of_file.mac, fault)
        for reservation in reservations:
            try:
                if faults := [*barred_faults(reservation, ground), *self._untrusted(reservations=(reservation,))]:
                    raise ConfigError(faults[0])
                self._check_holders(reservation)
                self._server.set_reservation(reservation, Origin.OPERATOR)
            except ProvisionerError as error:
                log.error("dhcp.setting-unfit mac=%s error=%s", reservation.mac, error.message)
                self._unfit.add(parse_mac(reservation.mac))

    # reservations

    def reservations(self, after: str, limit: int) -> list[tuple[Reservation, Origin]]:
        """List those of `limit` hardware addresses behind `after`, each with who says so."""
        layers = self._server.layers
        return [
            (said, origin)
            for mac in layers.page(after, limit)
            for origin in Origin
            if (said := layers.get(mac, origin)) is not None
        ]

    async def set_reservation(self, reservation: Reservation) -> Reservation:
        """Add or change one; returns when it is durable and holds. Raises `ConfigError`, `ConflictError`."""
        reservation = replace(reservation, mac=parse_mac(reservation.mac))
        async with self.lock:
            self._check_reservation(reservation, self._ground())
            with uncut() as whole:
                await whole(self._store.put_reservation(reservation))
                self.adopt(reservation)
        fixed = ",".join(reservation.fixed)
        log.info("dhcp.reserved mac=%s address=%s name=%s", reservation.mac, fixed, reservation.name)
        return reservation

    def held_by_others(self, reservation: Reservation) -> list[Lease]:
        """Give the leases of its addresses that other machines have: they lose them when they renew."""
        key, now, topology = bytes.fromhex(reservation.mac.replace(":", "")), self.now(), self._server.site.topology
        leases = (lease for text in reservation.fixed for lease in topology.leases_at(int(IPv4Address(text))))
        return [lease for lease in leases if lease.active(now) and lease.key != key]

    async def faults(self, reservations: Sequence[Reservation], freed: Collection[str] = ()) -> list[str]:
        """Say what is wrong with reservations that are to be made, once those of `freed` are taken back."""
        found: list[str] = []
        ground = self._ground()
        for at, reservation in enumerate(reservations, 1):
            await between(at, SLICE)
            try:
                self._check_reservation(reservation, ground, freed)
            except ConfigError as error:
                found += error.faults
            except ConflictError as error:
                found.append(error.message)
        return found

    @asynccontextmanager
    async def adopting(self, reserved: Sequence[Reservation], freed: Sequence[str]) -> AsyncIterator[None]:
        """Check reservations, let the body write them with other things, then make them live.

        Not to be cancelled once the body has begun.
        """
        async with self.lock:
            ground = self._ground()
            for at, reservation in enumerate(reserved, 1):
                self._check_reservation(reservation, ground, freed)
                await between(at, SLICE)
            yield
            for at, mac in enumerate(freed, 1):
                self._server.remove_reservation(parse_mac(mac), Origin.OPERATOR)
                await between(at, SLICE)
            for at, reservation in enumerate(reserved, 1):
                self.adopt(reservation)
                await between(at, SLICE)

    def _ground(self) -> Ground:
        """Give what reservations are judged by: the configuration, with the subnets that are served now."""
        return Ground(replace(self._server.config, subnets=tuple(subnet for subnet, _ in self.subnets.all())))

    def _subnet_faults(self, subnets: Sequence[Subnet], others: Sequence[Subnet]) -> list[str]:
        fixed = list(self._server.site.reservations.addresses())
        faults = faults_of_subnets(subnets, others, self._server.config, fixed)
        if not faults and any(map(is_beside_another, subnets)):
            ground = Ground(replace(self._server.config, subnets=(*subnets, *others)))
            faults += faults_of_loaders(self._server.layers.special(), ground)
        return faults + self._untrusted(subnets=tuple(subnets))

    def _check_reservation(self, reservation: Reservation, ground: Ground, freed: Collection[str] = ()) -> None:
        faults = [*reservation_faults(reservation, ground), *self._untrusted(reservations=(reservation,))]
        if faults:
            raise ConfigError(f"reservation {reservation.mac}", faults=faults)
        self._check_holders(reservation, freed)

    def _check_holders(self, reservation: Reservation, freed: Collection[str] = ()) -> None:
        """Raise `ConflictError` where one of its addresses is another machine's, also without what is `freed`."""
        for address in reservation.fixed:
            holders = self._server.layers.holders(int(IPv4Address(address))) - {Mac(reservation.mac)}
            if others := [mac for mac in holders if mac not in freed or self._stays_with(mac, address)]:
                hint = f"`provisionctl dhcp unreserve {min(others)}` frees it"
                raise ConflictError(f"{address} is reserved for {min(others)}", hint=hint)

    def _stays_with(self, mac: Mac, address: str) -> bool:
        """Say whether an address is a machine's whatever is said here of it."""
        left = self._server.layers.without(Origin.OPERATOR, mac)
        return left is not None and address in left.fixed

    def _untrusted(self, **said: Any) -> list[str]:
        """Say what of this asks for HTTPS where none is served."""
        return [] if self._server.site.tls_port else faults_without_tls(Dhcp(**said))

    async def remove_reservation(self, mac: str) -> None:
        """Take back what was said here of a hardware address. Raises `NotFoundError`."""
        parsed = parse_mac(mac)
        async with self.lock:
            if self._server.layers.get(parsed, Origin.OPERATOR) is None and parsed not in self._unfit:
                said = self._server.layers.merged(parsed)
                hint = "it comes from the configuration file or from a machine on record" if said is not None else ""
                raise NotFoundError(f"nothing was reserved here for {parsed}", hint=hint)
            with uncut() as whole:
                await whole(self._store.remove_reservation(parsed))
                self._server.remove_reservation(parsed, Origin.OPERATOR)
                self._unfit.discard(parsed)
        log.info("dhcp.unreserved mac=%s", parsed)

    async def _leases_in(self, subnet: Subnet) -> list[Lease]:
        network = IPv4Network(subnet.network)
        wanted = Filter(int(network.network_address), int(network.broadcast_address))
        return await self._store.leases(wanted, self._server.now(), limit=network.num_addresses)

    # leases

    async def leases(self, wanted: Filter, *, after: int = -1, limit: int = 1000) -> list[Lease]:
        """Give leases as they are stored, by address."""
        return await self._store.leases(wanted, self._server.now(), after=after, limit=limit)

    def now(self) -> float:
        """Time as leases count it."""
        return self._server.now()

    def subnet_of(self, ip: int) -> str:
        """Name the subnet that an address is in, empty where none is served."""
        net = self._server.site.net_at(ip)
        return net.name if net is not None else ""

    async def forgive(self, ip: int) -> None:
        """Let an address that was declined be given again. Raises `NotFoundError`."""
        await self._server.held.keep(self._server.site.topology.forgive(ip, self._server.now()))

    # imports

    async def judge(self) -> Adoption:
        """Give what judges one import by what there is now."""
        return Adoption(self._server.site, self._server.layers, self._server.now())

    def adopt(self, reservation: Reservation | Reservation6) -> None:
        """Make live what is durable by now."""
        assert isinstance(reservation, Reservation)
        self._server.set_reservation(reservation, Origin.OPERATOR)
        self._unfit.discard(parse_mac(reservation.mac))

    def tell(self, lease: Lease) -> None:
        """Tell who follows leases of one."""
        self._server.tell(lease)

    async def store_again(self, ips: Iterable[int]) -> None:
        """Store what is on record of these addresses now; raises `StoreError`, and then it is owed."""
        await self._server.held.keep([lease for ip in ips for lease in self._server.site.topology.leases_at(ip)])
