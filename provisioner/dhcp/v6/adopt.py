"""May a DHCPv6 lease or reservation of another server become ours: new, the same, or in conflict with what is. No I/O.

Other servers know clients by DUID and association, and seldom say by which port they came. So a lease is kept under the
name of its association, and goes to the port by which that asks us first (`choose`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from provisioner.dhcp.adopt import Judge, Verdict, Want, What, lease_of, usable_name
from provisioner.dhcp.leases import Lease, LeaseState, Pool
from provisioner.dhcp.sound import Barred
from provisioner.dhcp.v6.duid import mac_of, spell, uuids_of
from provisioner.dhcp.v6.identify import Identity
from provisioner.dhcp.v6.message import address
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.reservations import Key, key_of
from provisioner.dhcp.v6.site import DUID_AT, Site6, association_of, by_association, port_of
from provisioner.dhcp.v6.subnets import Mode6, Reservation6
from provisioner.dhcp.v6.validate import OWN
from provisioner.model.net import mac_from_bytes


class Said(NamedTuple):
    """What there is: the fixed address of a number, the number that is fixed for a key, the lease of an association."""

    at: Callable[[int], Reservation6 | None]
    of: Callable[[Key], int | None]
    held: Callable[[bytes], Lease | None]


class Adoption6(Judge):
    """Judges those of DHCPv6."""

    def __init__(self, site: Site6, said: Said, now: float) -> None:
        self._site = site
        self._said = said
        self._now = now
        self._fixed: dict[int, tuple[str, Key]] = {}
        """Addresses that reservations of this import name: where that stands, and for whom."""
        self._reserved: dict[Key, int] = {}
        self._taken: dict[int, bytes] = {}
        self._given: dict[tuple[str, bytes], int] = {}

    def _net_at(self, ip: int) -> Net6 | None:
        return self._site.net_at(ip)

    # reservations

    def _reservation(self, want: Want) -> Verdict:
        if want.key and len(want.key) != 6:
            return Verdict(want, What.LEFT_OUT, "its hardware address is not one of Ethernet")
        if not (want.key or want.duid) or not want.ip:
            return Verdict(want, What.LEFT_OUT, "it names no address, or neither a hardware address nor a DUID")
        name, reason = usable_name(want.name, "")
        mac, duid = mac_from_bytes(want.key) if want.key else "", spell(want.duid)
        found = Reservation6(address=address(want.ip), mac=mac, duid=duid, name=name)
        key = key_of(found)
        before = self._reserved.get(key) or self._said.of(key)
        if before == want.ip:
            return Verdict(want, What.SAME, reason)
        if before:
            why = f"{address(before)} is reserved for it, and a machine has one fixed address"
            return Verdict(want, What.CONFLICT, why)
        if fault := self._place_fault(want.ip) or self._address_fault(want, key):
            return Verdict(want, What.CONFLICT, fault)
        self._reserved[key] = want.ip
        self._fixed[want.ip] = (want.where, key)
        return Verdict(want, What.NEW, reason, reservation=found)

    def _place_fault(self, ip: int) -> str:
        """Say why nobody can have an address here. In a subnet that is switched off, everything waits for its mode."""
        return "" if self._site.net_at(ip) is not None else "it is in no subnet that is served here"

    def _address_fault(self, want: Want, key: Key) -> str:
        """Say why an address cannot be fixed for this machine."""
        other = self._said.at(want.ip)
        if other is not None and key_of(other) != key:
            return f"it is reserved for {other.mac or other.duid or other.uuid}"
        where, theirs = self._fixed.get(want.ip, ("", key))
        if theirs != key:
            return f"it is reserved for another one at {where}"
        net = self._site.net_at(want.ip)
        assert net is not None
        if why := Barred(net.config, OWN).why(want.ip):
            return f"it {why}"
        lease = self._site.lease_at(want.ip, self._now)
        if lease is None or lease.client_id[DUID_AT:] == want.duid or port_of(lease.key) == want.key:
            return ""
        return f"{_who(lease)} holds it for another {lease.until - self._now:.0f} s"

    # leases

    def _lease(self, want: Want) -> Verdict:
        if not want.duid:
            return Verdict(want, What.LEFT_OUT, "it names no DUID, and DHCPv6 knows its clients by that")
        if fault := self._place_fault(want.ip):
            return Verdict(want, What.CONFLICT, fault)
        net = self._site.net_at(want.ip)
        assert net is not None
        fixed = self._fixed_address(want)
        if fixed and fixed != want.ip:
            return Verdict(want, What.LEFT_OUT, f"its fixed address is {address(fixed)}")
        pool = net.pool if fixed else next((each for each in net.pools if each.covers(want.ip)), None)
        if fault := "" if fixed else self._pool_fault(want, net, pool):
            return Verdict(want, What.CONFLICT, fault)
        assert pool is not None
        return self._hold(want, pool)

    def _fixed_address(self, want: Want) -> int:
        """Give the address that is fixed for the client, by its DUID or what that was made from; 0 for none."""
        mac = mac_of(want.duid)
        for key in ((b"", want.duid, ""), (mac, b"", "")):
            if any(key) and (number := self._reserved.get(key)):
                return number
        known = self._site.reservations.find(Identity(mac, want.duid, mac_from_bytes(mac), uuids_of(want.duid)))
        return known.ip if known is not None else 0

    def _pool_fault(self, want: Want, net: Net6, pool: Pool | None) -> str:
        if net.mode is Mode6.RESERVATIONS_ONLY:
            return f"subnet {net.name} gives fixed addresses only"
        if pool is None:
            return f"it is in none of the pools of subnet {net.name}: add it there, and nobody loses it"
        if pool.is_fixed(want.ip) or want.ip in self._fixed:
            return "it is reserved for another machine"
        return ""

    def _hold(self, want: Want, pool: Pool) -> Verdict:
        association = association_of(want.duid, want.iaid.to_bytes(4, "big"))
        before = self._said.held(association)
        if fault := self._holder_fault(want, pool, association, same=before is not None and before.ip == want.ip):
            return Verdict(want, What.CONFLICT, fault)
        other = before.ip if before is not None and pool.by_ip.get(before.ip) is before else 0
        other = self._given.get((pool.name, association), other)
        if other and other != want.ip:
            return Verdict(want, What.LEFT_OUT, f"the client has a newer lease here, {address(other)}")
        self._taken[want.ip], self._given[pool.name, association] = association, want.ip
        if before is not None and before.ip == want.ip:
            longer = before._replace(until=max(before.until, lease_of(want, pool.name, self._now).until))
            rows, reason = ((longer,), "it lasts longer now") if longer != before else ((), "")
            return Verdict(want, What.SAME, reason, None, rows, pool)
        return Verdict(want, What.NEW, "", None, self._rows(want, pool, association), pool)

    def _holder_fault(self, want: Want, pool: Pool, association: bytes, *, same: bool) -> str:
        """Say who has the address beside the association that it is wanted for."""
        holder = pool.holder(want.ip, self._now)
        if holder == b"":
            return f"it is out of use: {pool.by_ip[want.ip].reason}"
        if holder is not None and not same:
            lease = pool.by_ip.get(want.ip)
            return f"{_who(lease) if lease is not None else 'a new client'} holds it"
        if self._taken.get(want.ip, association) != association:
            return f"{spell(self._taken[want.ip][5:])} has it in this import, too"
        return ""

    def _rows(self, want: Want, pool: Pool, association: bytes) -> tuple[Lease, ...]:
        """Write the new lease, and the end of the one before it."""
        key = by_association(association)
        lease = lease_of(want, pool.name, self._now)._replace(client_id=association, key=key)
        former = pool.of(key)
        if former is None or former.ip == want.ip:
            return (lease,)
        return lease, former._replace(state=LeaseState.RELEASED, until=min(former.until, self._now))


def _who(lease: Lease) -> str:
    """Name the holder of a lease, by its port where that is known."""
    port = port_of(lease.key)
    return mac_from_bytes(port) if len(port) == 6 else spell(lease.client_id[DUID_AT:])
