"""What leases say of names: which address is to be called how, and whose it is. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from provisioner.ddns.names import Wanted, fqdn_of, owner_of
from provisioner.ddns.settings import Clients, Dns
from provisioner.dhcp.leases import Lease, LeaseState

SIX = 16
"""Octets of an IPv6 address."""


class Holder(NamedTuple):
    """Who holds an address, as far as names go."""

    known: bool
    uuid: str
    domain: str
    """That of the subnet."""
    name: str = ""
    """What the machine is called now, where it is known; the lease has what it was called when it was given."""


class Keeps(Protocol):
    """Who keeps names; `ddns.keeper.Keeper` is the real one."""

    def hold(self, address: bytes, wanted: Wanted) -> None: ...

    def drop(self, address: bytes) -> None: ...


class LeaseNames:
    """Hears of every lease that has become durable. Takes some microseconds, waits for nothing."""

    def __init__(
        self, settings: Dns, keeper: Keeps, holder: Callable[[Lease], Holder], now: Callable[[], float], size: int = 4
    ) -> None:
        self._settings = settings
        self._keeper = keeper
        self._holder = holder
        self._now = now
        self._size = size
        """Octets of an address."""

    def __call__(self, lease: Lease) -> None:
        """An address was given, renewed, given back or declined."""
        address = lease.ip.to_bytes(self._size, "big")
        wanted = self._wanted(lease)
        if wanted is None:
            self._keeper.drop(address)
        else:
            self._keeper.hold(address, wanted)

    def _wanted(self, lease: Lease) -> Wanted | None:
        if lease.state is not LeaseState.BOUND or lease.until <= self._now():
            return None
        holder = self._holder(lease)
        if not holder.known and self._settings.clients is Clients.KNOWN:
            return None
        fqdn = fqdn_of(holder.name or lease.name, holder.domain, self._settings)
        key = lease.key[:6] if self._size == SIX else lease.key  # DHCPv6 numbers a machine's associations behind it
        return Wanted(fqdn, owner_of(key, holder.uuid), lease.until) if fqdn else None
