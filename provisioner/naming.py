"""Joins leases of both families to the DNS: those on record when the daemon starts, and every one from then on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from provisioner.ddns.keeper import Keeper
from provisioner.ddns.key import Key, parse_key
from provisioner.ddns.leases import Holder, LeaseNames
from provisioner.ddns.settings import Dns
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.server import DhcpServer
from provisioner.dhcp.subnets import Reservation
from provisioner.dhcp.topology import Net
from provisioner.dhcp.v6.server import Dhcp6Server
from provisioner.dhcp.v6.site import slots_of
from provisioner.errors import ConfigError
from provisioner.fairloop import between
from provisioner.firstuse import at_hand
from provisioner.model.net import Mac
from provisioner.store.db import Database
from provisioner.store.names import NameStore

SLICE = 200
"""Leases looked at in one go when the daemon starts."""
OnLease = Callable[[Lease], None]


def key_of(dns: Dns) -> Key | None:
    """Read the key that updates are signed with; raise `ConfigError`. Blocks."""
    if not dns.key_file:
        return None
    try:
        text = Path(dns.key_file).read_text()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise ConfigError(f"dns.key_file: {dns.key_file!r}: {reason}") from error
    return parse_key(text, f"dns.key_file: {dns.key_file!r}", dns.key_name, dns.key_algorithm)


class _Ports:
    """Addresses that other ports of machines on record hold, by the machine: as many at most as pools have."""

    def __init__(self) -> None:
        self._machines: dict[int, bytes] = {}
        self._addresses: dict[bytes, dict[int, None]] = {}

    def note(self, lease: Lease) -> None:
        """Remember whose address this is."""
        before = self._machines.pop(lease.ip, b"")
        if before:
            del self._addresses[before][lease.ip]
            if not self._addresses[before]:
                del self._addresses[before]
        if lease.machine:
            self._machines[lease.ip] = lease.machine
            self._addresses.setdefault(lease.machine, {})[lease.ip] = None

    def of(self, machine: bytes) -> tuple[int, ...]:
        """Give those of a machine, by its hardware address of record."""
        return tuple(self._addresses.get(machine, ()))


class Naming:
    """Without a DNS server it does nothing. Otherwise both servers are opened before `run`."""

    def __init__(self, dns: Dns, keeper: Keeper | None) -> None:
        self.keeper = keeper
        self.on_lease: OnLease | None = None
        self.on_lease6: OnLease | None = None
        self._v4: DhcpServer | None = None
        self._v6: Dhcp6Server | None = None
        self._ports, self._ports6 = _Ports(), _Ports()
        if self.keeper is not None:
            self._name = LeaseNames(dns, self.keeper, self._holder, self._now)
            self._name6 = LeaseNames(dns, self.keeper, self._holder6, self._now, size=16)
            self.on_lease, self.on_lease6 = self._told, self._told6

    @classmethod
    async def of(cls, dns: Dns, db: Database) -> Naming:
        """Make it as it is configured; raise `ConfigError`."""
        key = await asyncio.to_thread(key_of, dns)
        if not dns.server:
            return cls(dns, None)
        await at_hand("provisioner.ddns.update")
        from provisioner.ddns.update import Updates

        return cls(dns, Keeper(Updates(dns, key), NameStore(db)))

    async def open(self, server: DhcpServer) -> None:
        """Compare what was written with what leases say now. Raises `StoreError`."""
        self._v4 = server
        if self.keeper is not None:
            await self.keeper.open()
            await _hear(self.on_lease, server.leases())
            server.followers.append(self._renamed)

    async def open6(self, server: Dhcp6Server) -> None:
        """The same with leases of DHCPv6."""
        self._v6 = server
        await _hear(self.on_lease6, server.leases())

    async def run(self) -> None:
        """Keep names until cancelled."""
        if self.keeper is not None:
            await self.keeper.run()

    def _now(self) -> float:
        assert self._v4 is not None
        return self._v4.now()

    def _holder(self, lease: Lease) -> Holder:
        assert self._v4 is not None
        net = self._v4.site.net_at(lease.ip)
        return self._holder_in(net, lease.key, lease.machine)

    def _told(self, lease: Lease) -> None:
        """An IPv4 address was given, renewed or given back: those of IPv6 have the domain of where it is."""
        self._ports.note(lease)
        self._name(lease)
        self._look_again6(lease.key)

    def _told6(self, lease: Lease) -> None:
        self._ports6.note(lease)
        self._name6(lease)

    def _renamed(self, mac: Mac, _: Reservation | None) -> None:
        """A machine has another name, or none any more: all its leases are looked at again, of both families."""
        assert self._v4 is not None
        key = bytes.fromhex(mac.replace(":", ""))
        topology = self._v4.site.topology
        elsewhere = (lease for ip in self._ports.of(key) for lease in topology.leases_at(ip))
        for lease in (*topology.leases_of(key), *elsewhere):
            self._name(lease)
        self._look_again6(key, self._ports6.of(key))

    def _look_again6(self, key: bytes, ips: Iterable[int] = ()) -> None:
        """Look at the IPv6 leases of a port again, and at those of these addresses."""
        if self._v6 is None:
            return
        topology = self._v6.site.topology
        elsewhere = (lease for ip in ips for lease in topology.leases_at(ip))
        for lease in (*(lease for slot in slots_of(key) for lease in topology.leases_of(slot)), *elsewhere):
            self._name6(lease)

    def _holder6(self, lease: Lease) -> Holder:
        """The same machine as for IPv4, so that both addresses are one name's."""
        assert self._v4 is not None
        key = lease.key[:6]
        held = self._v4.lease_of_key(key)
        net = self._v4.site.net_at(held.ip) if held is not None else None
        return self._holder_in(net, key, lease.machine)

    def _holder_in(self, net: Net | None, key: bytes, machine: bytes) -> Holder:
        """Name the machine on record of this port: its own, or that of the port by which it is on record."""
        assert self._v4 is not None
        reservations, domain = self._v4.site.reservations, net.config.domain if net is not None else ""
        known = reservations.of(key) or reservations.of(machine)
        if known is None:
            return Holder(False, "", domain)
        return Holder(True, known.uuid, domain, known.name.decode("ascii"))


async def _hear(on_lease: OnLease | None, leases: Iterable[Lease]) -> None:
    for at, lease in enumerate(leases if on_lease is not None else (), 1):
        assert on_lease is not None
        on_lease(lease)
        await between(at, SLICE)
