"""May a lease or reservation of another server become ours: new, the same, or in conflict with what is. No I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import NamedTuple

from provisioner.dhcp import formats
from provisioner.dhcp.fixed import OWN
from provisioner.dhcp.layers import Layers, Origin
from provisioner.dhcp.leases import MOST_S, Lease, LeaseState, Pool
from provisioner.dhcp.packet import address
from provisioner.dhcp.site import Site
from provisioner.dhcp.sound import Barred
from provisioner.dhcp.subnets import Mode, Reservation
from provisioner.dhcp.topology import Net, Served
from provisioner.dhcp.v6.subnets import Reservation6
from provisioner.model.net import Mac, mac_from_bytes


class Kind(StrEnum):
    """What is to be taken over."""

    RESERVATION = "reservation"
    LEASE = "lease"
    RANGE = "range"


class What(StrEnum):
    """What becomes of it."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"
    LEFT_OUT = "left out"


class Want(NamedTuple):
    """One thing of another server's file. `where` is its place there."""

    kind: Kind
    ip: int
    key: bytes = b""
    name: str = ""
    until: float = 0.0
    since: float = 0.0
    client_id: bytes = b""
    circuit_id: bytes = b""
    remote_id: bytes = b""
    high: int = 0
    """The end of a range."""
    where: str = ""
    six: bool = False
    """It is of DHCPv6; then `duid` and `iaid` name the holder of a lease, and `key` may be empty."""
    duid: bytes = b""
    iaid: int = 0
    options: Mapping[str, str] = {}
    """Those that a reservation of DHCPv4 gives its machine, which can be read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of it and why; with what has to be stored and held where that is more than nothing."""

    want: Want
    what: What
    reason: str = ""
    reservation: Reservation | Reservation6 | None = None
    leases: tuple[Lease, ...] = ()
    """The first one is the machine's new lease."""
    pool: Pool | None = None


class Judge(ABC):
    """Judges one import of one family. What it let in counts when the next one is judged; nothing else changes."""

    def judge(self, want: Want) -> Verdict:
        """Say what becomes of it. Reservations come first, newer leases before older ones."""
        match want.kind:
            case Kind.RESERVATION:
                return self._reservation(want)
            case Kind.LEASE:
                return self._lease(want)
            case Kind.RANGE:
                return judge_range(self._net_at(want.ip), want)

    @abstractmethod
    def _reservation(self, want: Want) -> Verdict: ...

    @abstractmethod
    def _lease(self, want: Want) -> Verdict: ...

    @abstractmethod
    def _net_at(self, ip: int) -> Served | None: ...


class Adoption(Judge):
    """Judges those of IPv4."""

    def __init__(self, site: Site, layers: Layers, now: float) -> None:
        self._site = site
        self._layers = layers
        self._now = now
        self._fixed: dict[int, tuple[str, bytes]] = {}
        """Addresses that reservations of this import name: where that stands, and for whom."""
        self._reserved: dict[bytes, Reservation] = {}
        self._taken: dict[int, bytes] = {}
        self._given: dict[tuple[str, bytes], int] = {}
        self._bars: dict[str, Barred] = {}

    def _net_at(self, ip: int) -> Net | None:
        return self._site.net_at(ip)

    # reservations

    def _reservation(self, want: Want) -> Verdict:
        if len(want.key) != 6:
            return Verdict(want, What.LEFT_OUT, "its hardware address is not one of Ethernet")
        mac = mac_from_bytes(want.key)
        if want.ip and (fault := self._place_fault(want.ip) or self._address_fault(want, mac)):
            return Verdict(want, What.CONFLICT, fault)
        said = self._reserved.get(want.key) or self._layers.merged(mac)
        before = _fixed_in(said, self._site.net_at(want.ip))
        if before not in (0, want.ip):
            why = f"{address(before)} is reserved for it, and a machine has one fixed address in a subnet"
            return Verdict(want, What.CONFLICT, why)
        name, reason = usable_name(want.name, said.name if said is not None else "")
        options, kept = _more_options(want.options, said.options if said is not None else {})
        reason = "; ".join(each for each in (reason, kept) if each)
        own = self._layers.get(mac, Origin.OPERATOR)
        base = own or Reservation(mac=mac)
        text = address(want.ip) if want.ip else ""
        others = said.fixed if said is not None else ()
        fixed = (*(each for each in others if each != text), text) if text else base.fixed
        found = Reservation(
            mac=mac,
            address=fixed[0] if fixed else "",
            addresses=fixed[1:],
            name=name or base.name,
            uuid=base.uuid,
            profile=base.profile,
            loader=base.loader,
            https=base.https,
            options={**base.options, **options},
        )
        if said is not None and (not text or text in said.fixed) and (not name or said.name) and not options:
            return Verdict(want, What.SAME, reason)
        self._reserved[want.key] = found
        if want.ip:
            self._fixed[want.ip] = (want.where, want.key)
        return Verdict(want, What.NEW, reason, reservation=found)

    def _place_fault(self, ip: int) -> str:
        """Say why nobody can have an address here. In a subnet that is switched off, everything waits for its mode."""
        net = self._site.net_at(ip)
        if net is None:
            return "it is in no subnet that is served here"
        if net.mode is Mode.PROXY:
            return f"subnet {net.name} gives no addresses (mode {net.mode})"
        return ""

    def _address_fault(self, want: Want, mac: Mac) -> str:
        """Say why an address cannot be fixed for this machine."""
        others = self._layers.holders(want.ip) - {mac}
        if others:
            return f"it is reserved for {min(others)}"
        where, key = self._fixed.get(want.ip, ("", b""))
        if key and key != want.key and where != want.where:  # one line may name several ports of a machine
            return f"it is reserved for {mac_from_bytes(key)} at {where}"
        net = self._site.net_at(want.ip)
        assert net is not None
        if why := self._barred(net).why(want.ip):
            return f"it {why}"
        if net.pool.is_fixed(want.ip) and not self._layers.holders(want.ip):
            return "a rule in `dhcp.ports` gives it to whatever machine is on that port"
        return self._held_by_other(net.pool, want) or self._held_by_other(net.quarantine, want)

    def _barred(self, net: Net) -> Barred:
        """Give what no machine can have there, read once for one import."""
        found = self._bars.get(net.name)
        if found is None:
            found = self._bars[net.name] = Barred(net.config, OWN)
        return found

    def _held_by_other(self, pool: Pool, want: Want) -> str:
        lease = pool.by_ip.get(want.ip)
        if lease is None or not lease.active(self._now) or lease.key == want.key:
            return ""
        return f"{mac_from_bytes(lease.key)} holds it for another {lease.until - self._now:.0f} s"

    # leases

    def _lease(self, want: Want) -> Verdict:
        if not want.key:
            return Verdict(want, What.LEFT_OUT, "it names no hardware address, and machines are known by theirs")
        if fault := self._place_fault(want.ip):
            return Verdict(want, What.CONFLICT, fault)
        net = self._site.net_at(want.ip)
        assert net is not None
        fixed = self._fixed_address(want.key, net)
        known = fixed != 0 or want.key in self._reserved or self._site.reservations.knows(want.key)
        if fixed:
            if fixed != want.ip:
                return Verdict(want, What.LEFT_OUT, f"its fixed address is {address(fixed)}")
            return self._hold(want, net.pool)
        pool = net.pool_for(known)
        if fault := self._pool_fault(want, net, pool):
            return Verdict(want, What.CONFLICT, fault)
        return self._hold(want, pool)

    def _fixed_address(self, key: bytes, net: Net) -> int:
        """Give the machine's fixed address in this subnet, 0 where it has none."""
        return _fixed_in(self._reserved.get(key) or self._layers.merged(mac_from_bytes(key)), net)

    def _pool_fault(self, want: Want, net: Net, pool: Pool) -> str:
        if net.mode is Mode.RESERVATIONS_ONLY:
            return f"subnet {net.name} gives fixed addresses only"
        if pool.is_fixed(want.ip) or want.ip in self._fixed:
            return "it is reserved for another machine"
        if not pool.covers(want.ip):
            pools = "quarantine_pools" if pool is net.quarantine else "pools"
            return f"it is in none of the {pools} of subnet {net.name}: add it there, and nobody loses it"
        return ""

    def _hold(self, want: Want, pool: Pool) -> Verdict:
        now, key, ip = self._now, want.key, want.ip
        holder = pool.holder(ip, now)
        if holder == b"":
            return Verdict(want, What.CONFLICT, f"it is out of use: {pool.by_ip[ip].reason}")
        if holder not in (None, key):
            return Verdict(want, What.CONFLICT, f"{mac_from_bytes(holder or b'')} holds it")
        if self._taken.get(ip, key) != key:
            return Verdict(want, What.CONFLICT, f"{mac_from_bytes(self._taken[ip])} has it in this import, too")
        before = pool.of(key)
        other = self._given.get((pool.name, key), 0)
        if before is not None and before.active(now):
            other = other or before.ip
        if other and other != ip:
            return Verdict(want, What.LEFT_OUT, f"the machine has a newer lease here, {address(other)}")
        self._taken[ip], self._given[pool.name, key] = key, ip
        lease = lease_of(want, pool.name, now)
        if before is not None and before.ip == ip and before.active(now) and before.until >= lease.until:
            return Verdict(want, What.SAME)
        rows: tuple[Lease, ...] = (lease,)
        if before is not None and before.ip != ip:
            rows = (lease, before._replace(state=LeaseState.RELEASED, until=min(before.until, now)))
        same = before is not None and before.ip == ip and before.active(now)
        return Verdict(want, What.SAME if same else What.NEW, "it lasts longer now" if same else "", None, rows, pool)


def judge_range(net: Served | None, want: Want) -> Verdict:
    """Say whether leases of such a range could be kept: nothing is changed by it."""
    if net is None:
        return Verdict(want, What.LEFT_OUT, "it is in no subnet that is served here")
    inside = any(low <= want.ip and want.high <= high for low, high in (*net.pool.ranges, *net.quarantine.ranges))
    if inside:
        return Verdict(want, What.SAME, f"within the pools of subnet {net.name}")
    return Verdict(want, What.LEFT_OUT, f"not wholly within the pools of subnet {net.name}")


def lease_of(want: Want, pool: str, now: float) -> Lease:
    """Write what is wanted as a lease of a pool."""
    return Lease(
        ip=want.ip,
        key=want.key,
        pool=pool,
        until=min(want.until, now + MOST_S),
        since=min(want.since or now, now),
        name=want.name,
        client_id=want.client_id,
        circuit_id=want.circuit_id,
        remote_id=want.remote_id,
    )


def usable_name(wanted: str, there: str) -> tuple[str, str]:
    """Give the name that a reservation may have, and what is to be said of it."""
    if not wanted:
        return "", ""
    try:
        formats.domains_value([wanted])
    except ValueError:
        return "", f"{wanted!r} is no host name, and is left out"
    return wanted, f"it keeps the name {there}" if there and there != wanted else ""


def _more_options(wanted: Mapping[str, str], there: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """Give the options that a reservation has not got yet, and what is to be said of those that differ."""
    held = {formats.option_code(key): value for key, value in there.items()}
    new = {key: value for key, value in wanted.items() if formats.option_code(key) not in held}
    kept = [
        key
        for key, value in wanted.items()
        if (code := formats.option_code(key)) in held
        and formats.option_value(code, held[code]) != formats.option_value(code, value)
    ]
    return new, f"it keeps its {', '.join(kept)}" if kept else ""


def _fixed_in(said: Reservation | None, net: Net | None) -> int:
    """Give the fixed address that a reservation has in a subnet, 0 where it has none."""
    numbers = (int(IPv4Address(each)) for each in said.fixed) if said is not None and net is not None else ()
    return next((ip for ip in numbers if net is not None and net.holds(ip)), 0)
