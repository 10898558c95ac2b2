"""What operators change of a running DHCPv6 server: fixed addresses and subnets; durable, then live.

One change at a time. What is said here stands over the configuration file, until it is taken back. A fixed address is
named by itself: whom it is for may be changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from provisioner.dhcp.layers import Origin
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.subnetbook import Rules, SubnetBook
from provisioner.dhcp.subnets import Dhcp, Reservation
from provisioner.dhcp.v6.adopt import Adoption6, Said
from provisioner.dhcp.v6.duid import uuids_of
from provisioner.dhcp.v6.net import POOL_LIMIT
from provisioner.dhcp.v6.reservations import key_of
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.site import DUID_AT, port_of
from provisioner.dhcp.v6.subnets import Reservation6, Subnet6
from provisioner.dhcp.v6.validate import faults_of_reservation, faults_of_subnets
from provisioner.dhcp.validate import faults_without_tls
from provisioner.errors import ConfigError, ConflictError, NotFoundError, ProvisionerError
from provisioner.store.dhcpbook import DhcpBookStore, Filter
from provisioner.store.leases6 import LeaseStore6
from provisioner.uncut import uncut

log = logging.getLogger(__name__)

SLICE = 2000
"""Leases looked through at once: about a millisecond of the loop."""


class Dhcp6Book:
    """Changes one server. `open` comes before the server's start."""

    def __init__(self, server: Dhcp6Server, store: DhcpBookStore, leases: LeaseStore6) -> None:
        self._server = server
        self._store = store
        self._leases = leases
        self.lock = asyncio.Lock()
        """Held by who changes anything."""
        self.subnets: SubnetBook[Subnet6] = SubnetBook(
            server,
            Rules(
                server.config.subnets6,
                self._subnet_faults,
                server.site.reservations.addresses,
                store.put_subnets6,
                store.remove_subnet6,
                self._leases_in,
            ),
            self.lock,
        )
        self._of_file = {number_of(each.address): each for each in server.config.reservations6}
        self._said: dict[int, Reservation6] = {}
        """Those that were said here, by address."""
        self._by_key = {key_of(each): number for number, each in self._of_file.items()}
        """The address of everybody who has one now."""
        self._unfit: set[int] = set()
        """Those that are stored, and were left out at the start."""

    async def open(self) -> None:
        """Take up what was said before: all of it stands over the file before each is judged beside the others.

        One that does not fit the configuration any more is logged and left out, until it is taken back or said anew.
        """
        reservations, subnets = await self._store.settings6()
        self.subnets.open(subnets)
        said = {number_of(each.address): each for each in reservations}
        for of_file in [self._of_file[number] for number in said if number in self._of_file]:
            self._drop(of_file)
        for number, each in said.items():
            try:
                self._check(each)
                self._put(each)
            except ProvisionerError as error:
                log.error("dhcp.setting-unfit address=%s error=%s", each.address, error.message)
                self._unfit.add(number)
        for number in self._unfit:
            self._hold_of_file(number)

    def reservations(self, after: str, limit: int) -> list[tuple[Reservation6, Origin]]:
        """List fixed addresses behind `after` in order, each with who says so."""
        behind = number_of(after) if after else -1
        both = {**self._of_file, **self._said}
        numbers = sorted(number for number in both if number > behind)[:limit]
        return [(both[each], Origin.OPERATOR if each in self._said else Origin.FILE) for each in numbers]

    async def set_reservation(self, reservation: Reservation6) -> None:
        """Add or change one; returns when it is durable and holds. Raises `ConfigError`, `ConflictError`."""
        async with self.lock:
            self._check(reservation)
            with uncut() as whole:
                await whole(self._store.put_reservation6(reservation))
                self._put(reservation)
        log.info("dhcp.reserved mac=%s address=%s name=%s", reservation.mac, reservation.address, reservation.name)

    def held_by_others(self, reservation: Reservation6) -> list[Lease]:
        """Give the lease of its address that another machine has: it loses it when it renews."""
        lease = self._server.site.lease_at(number_of(reservation.address), self.now())
        return [lease] if lease is not None and not _is_of(lease, reservation) else []

    async def remove_reservation(self, address: str) -> None:
        """Take back what was said here of an address: what the configuration file says holds again."""
        number = number_of(address)
        async with self.lock:
            said = self._said.get(number)
            if said is None and number not in self._unfit:
                hint = "it comes from the configuration file" if number in self._of_file else ""
                raise NotFoundError(f"nothing was reserved here for {address}", hint=hint)
            with uncut() as whole:
                await whole(self._store.remove_reservation6(str(IPv6Address(number))))
                self._unfit.discard(number)
                if said is not None:
                    self._drop(said)
                    del self._said[number]
                    self._hold_of_file(number)
        log.info("dhcp.unreserved address=%s", address)

    def _untrusted(self, **said: Any) -> list[str]:
        """Say what of this asks for HTTPS where none is served."""
        return [] if self._server.site.tls_port else faults_without_tls(Dhcp(**said))

    def _subnet_faults(self, subnets: Sequence[Subnet6], others: Sequence[Subnet6]) -> list[str]:
        fixed = list(self._server.site.reservations.addresses())
        return faults_of_subnets(subnets, others, fixed) + self._untrusted(subnets6=tuple(subnets))

    def _check(self, reservation: Reservation6) -> None:
        faults = faults_of_reservation(reservation, [subnet for subnet, _ in self.subnets.all()])
        faults += self._untrusted(reservations6=(reservation,))
        if faults:
            raise ConfigError(f"reservation {reservation.address}", faults=faults)
        holds = self._by_key.get(key_of(reservation))
        if holds is not None and holds != number_of(reservation.address):
            other = IPv6Address(holds)
            hint = f"`provisionctl dhcp unreserve6 {other}` frees it"
            raise ConflictError(f"that machine has the fixed address {other} already", hint=hint)

    def _put(self, reservation: Reservation6) -> None:
        number = number_of(reservation.address)
        before = self._said.get(number) or self._of_file.get(number)
        if before is not None and self._by_key.get(key_of(before)) == number:
            self._drop(before)
        self._hold(reservation)
        self._said[number] = reservation
        self._unfit.discard(number)

    def _hold(self, reservation: Reservation6) -> None:
        self._server.set_reservation(reservation)
        self._by_key[key_of(reservation)] = number_of(reservation.address)

    def _hold_of_file(self, number: int) -> None:
        """Have what the file says of an address hold, unless its machine has another one by now."""
        if (of_file := self._of_file.get(number)) is not None and key_of(of_file) not in self._by_key:
            self._hold(of_file)

    def _drop(self, reservation: Reservation6) -> None:
        self._server.remove_reservation(reservation)
        del self._by_key[key_of(reservation)]

    async def forgive(self, ip: int) -> None:
        """Let an address that was declined be given again. Raises `NotFoundError`."""
        await self._server.held.keep(self._server.site.topology.forgive(ip, self._server.now()))

    # imports

    async def judge(self) -> Adoption6:
        """Give what judges one import by what there is now."""
        now, leases, held = self._server.now(), self._server.leases(), dict[bytes, Lease]()
        for at in range(0, len(leases), SLICE):
            held |= {lease.client_id: lease for lease in leases[at : at + SLICE] if lease.active(now)}
            await asyncio.sleep(0)
        return Adoption6(self._server.site, Said(self._reserved, self._by_key.get, held.get), now)

    def _reserved(self, number: int) -> Reservation6 | None:
        """Give the fixed address of this number, as it holds."""
        said = self._said.get(number) or self._of_file.get(number)
        return said if said is not None and self._by_key.get(key_of(said)) == number else None

    def adopt(self, reservation: Reservation | Reservation6) -> None:
        """Make live what is durable by now."""
        assert isinstance(reservation, Reservation6)
        self._put(reservation)

    def tell(self, lease: Lease) -> None:
        """Tell who follows leases of one."""
        self._server.tell(lease)

    async def store_again(self, ips: Iterable[int]) -> None:
        """Store what is on record of these addresses now; raises `StoreError`, and then it is owed."""
        await self._server.held.keep([lease for ip in ips for lease in self._server.site.topology.leases_at(ip)])

    def now(self) -> float:
        """Time as leases count it."""
        return self._server.now()

    async def _leases_in(self, subnet: Subnet6) -> list[Lease]:
        network = IPv6Network(subnet.network)
        wanted = Filter(int(network.network_address), int(network.broadcast_address), six=True)
        return await self._store.leases(wanted, self._server.now(), limit=2 * POOL_LIMIT)


def _is_of(lease: Lease, reservation: Reservation6) -> bool:
    """Say whether the machine that has a lease is the one of a reservation, as far as its lease tells."""
    (mac, duid, uuid), its_duid = key_of(reservation), lease.client_id[DUID_AT:]
    return mac == port_of(lease.key) or duid == its_duid or uuid in uuids_of(its_duid)


def number_of(address: str) -> int:
    """Read an address; raise `ConfigError`."""
    try:
        return int(IPv6Address(address))
    except ValueError as error:
        raise ConfigError(f"address: {error}") from None
