"""All that DHCPv6 answers follow from: subnets, who is known, who decides what is booted. No I/O.

Every change touches one entry: nothing is rebuilt, nothing is restarted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from provisioner.dhcp.leases import Lease, Pool
from provisioner.dhcp.limit import Limiter
from provisioner.dhcp.subnets import Overrides, Reservation
from provisioner.dhcp.topology import Topology
from provisioner.dhcp.v6.identify import NO_HARDWARE
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.reservations import Reservations6, compiled
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.model.boot import BootClient, Plan

SLOTS = 8
"""Identity associations of one network port that have addresses of their own. OVMF has two while it boots: its own,
and one for the address that a router advertisement told it to get."""
CLAIMS_LIMIT = 16384
"""Associations remembered with whether they boot, about 4 MB; what is forgotten is still in the lease."""


DUID_AT = 5
"""Where the DUID stands in an association's identity, behind 255 and the IAID."""
BOOTS = "boots"
"""The reason in a lease of what boots: it is known after a restart as well."""


class Claim(NamedTuple):
    """Whose a slot is: the association as RFC 4361 writes it (255, IAID, DUID)."""

    association: bytes
    boots: bool

    @property
    def duid(self) -> bytes:
        return self.association[DUID_AT:]


def association_of(duid: bytes, iaid: bytes) -> bytes:
    """Write an association's identity as RFC 4361 does, and as leases keep it."""
    return b"\xff" + iaid + duid


def by_association(association: bytes) -> bytes:
    """Give the key of a lease whose client nobody has seen here yet: another server's, named by its association."""
    return NO_HARDWARE + association


class Site6:
    """The state of one DHCPv6 server."""

    def __init__(
        self,
        decide: Callable[[BootClient], Plan],
        *,
        http_port: int = 8080,
        tls_port: int = 0,
        profiles: Mapping[str, Overrides] | None = None,
    ) -> None:
        self.decide = decide
        self.http_port = http_port
        self.tls_port = tls_port
        """0: nothing is served by HTTPS, and no setting asks for it."""
        self.duid = b""
        """Our own DUID."""
        self.topology: Topology[Net6] = Topology()
        self.reservations = Reservations6(profiles)
        self.limiter = Limiter()
        self.addresses: dict[str, tuple[int, ...]] = {}
        """Our own addresses, by interface; none that are link-local."""
        self._claims: OrderedDict[bytes, Claim] = OrderedDict()

    def slot_of(self, key: bytes, claim: Claim, nets: Iterable[Net6], now: float, *, beside: bool = False) -> bytes:
        """Find the slot of a port that an association has, or gets: what its lease belongs to.

        Firmware, loader and systems of one machine make up different DUIDs and numbers: what boots has the first slot,
        since nothing else runs on the machine then, and the system that asks next has it after that, and so the same
        address. Associations of one system live beside each other. Never the first slot is for what is `beside`.
        """
        if claim.boots:
            return self._claim(key, claim)
        free = b""
        for number in range(1 if beside else 0, SLOTS):
            slot = key + bytes((number,)) if number else key
            holder = self._holder(slot, nets, now)
            if holder is not None and holder.association == claim.association:
                return self._claim(slot, claim)
            if not free and (holder is None or holder.duid != claim.duid or holder.boots):
                free = slot
        return self._claim(free or slot, claim)

    def _holder(self, slot: bytes, nets: Iterable[Net6], now: float) -> Claim | None:
        """Say who has a slot: whoever claimed it last, as long as it has an address or is offered one."""
        for net in nets:
            for pool in net.pools:
                lease = pool.of(slot)
                if lease is not None and lease.active(now):
                    claimed = self._claims.get(slot)
                    return claimed if claimed is not None else Claim(lease.client_id, lease.reason == BOOTS)
                if pool.keeps_for(slot, now):
                    return self._claims.get(slot)
        return None

    def _claim(self, slot: bytes, claim: Claim) -> bytes:
        self._claims.pop(slot, None)
        self._claims[slot] = claim
        if len(self._claims) > CLAIMS_LIMIT:
            self._claims.popitem(last=False)
        return slot

    # live changes

    def set_net(self, net: Net6) -> None:
        """Add or replace a subnet; the leases and fixed addresses of the one before stay."""
        self.topology.set(net, self.reservations.addresses())

    def set_reservation(self, reservation: Reservation6) -> None:
        """Add or change a fixed address. Raises `ConfigError`, and nothing changed then.

        One that is in no subnet is nobody's, until a subnet that holds it is added.
        """
        known = compiled(reservation)
        self.remove_reservation(reservation)
        self.reservations.fix(reservation)
        if (net := self.net_at(known.ip)) is not None:
            net.pool.fix(known.ip)

    def remove_reservation(self, reservation: Reservation6) -> None:
        """Forget a fixed address."""
        known = self.reservations.unfix(reservation)
        net = self.net_at(known.ip) if known is not None else None
        if known is not None and net is not None:
            net.pool.unfix(known.ip)

    def set_machine(self, reservation: Reservation) -> None:
        """Add or change what is known of the machine behind a hardware address. Raises `ConfigError`."""
        self.reservations.set_machine(reservation)

    def remove_machine(self, key: bytes) -> None:
        """The machine is not known any more."""
        self.reservations.remove_machine(key)

    # look-ups

    def pools(self) -> Iterator[Pool]:
        """Give all pools."""
        return self.topology.pools()

    def net_at(self, ip: int) -> Net6 | None:
        """Give the subnet that an address belongs to."""
        return self.topology.holding(ip)

    def lease_at(self, ip: int, now: float) -> Lease | None:
        """Give the lease of an address that somebody holds now."""
        return next((lease for lease in self.topology.leases_at(ip) if lease.active(now)), None)


def slots_of(port: bytes) -> list[bytes]:
    """Give what the leases of a hardware address may belong to."""
    return [port, *(port + bytes((number,)) for number in range(1, SLOTS))]


def port_of(slot: bytes) -> bytes:
    """Give the hardware address of a slot."""
    return slot[:6] if len(slot) in (6, 7) else slot
