"""Who may have which IPv6 address on a link. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from provisioner.dhcp.leases import Lease, Pool
from provisioner.dhcp.v6.case import Case6, link_of, switch_port
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.options import Ia, IaAddress, Opt, client_name
from provisioner.dhcp.v6.site import BOOTS, Claim, association_of, by_association
from provisioner.dhcp.v6.subnets import Mode6


class Why(StrEnum):
    """Why an association gets no address."""

    EMPTY = "no address left"
    LIMITED = "too many new machines on this port, interface or subnet; it may ask again"
    HELD = "its fixed address is held by another machine until that lease ends, and others are not given"
    CONFLICT = "its fixed address is out of use for decline_s, and others are not given: find the host that uses it"
    ELSEWHERE = "it has no fixed address on this network, and others are not given: `provisionctl dhcp reserve6`"
    BESIDE = "its fixed address is for what the machine boots and then runs, and others are not given"


class Place6(NamedTuple):
    """An address that an association may have."""

    net: Net6
    pool: Pool
    slot: bytes
    ip: int


def choose(case: Case6, ia: Ia, asked: list[IaAddress]) -> Place6 | Why:
    """Choose an address for one association: its fixed one, the one that it has, one that it asks for, a free one."""
    key, now, known = case.who.key, case.now, case.known is not None
    claim = Claim(association_of(case.who.duid, ia.iaid), case.kind.boots)
    slot = case.site.slot_of(key, claim, case.nets, now, beside=case.kind.beside)
    if slot == key and (fixed := fixed_place(case)) is not None:
        return fixed
    if case.nets[0].mode is Mode6.RESERVATIONS_ONLY:
        return _why_not_fixed(case) if slot == key else Why.BESIDE
    if (had := _had_elsewhere(case, claim.association, slot)) is not None:
        return had
    back = 0
    for net in case.nets:
        pool = net.pool_for(known)
        ip = pool.held(slot, now)
        if ip is not None:
            if known or pool.serves(slot, now):
                return Place6(net, pool, slot, ip)
            back = back or ip
    return _choose_new(case, slot, asked, back)


def _had_elsewhere(case: Case6, association: bytes, slot: bytes) -> Place6 | None:
    """Give the address that an association brought from another server, now that its port is seen."""
    key = by_association(association)
    for net in case.nets:
        for pool in net.pools:
            lease = pool.of(key)
            if lease is not None and lease.active(case.now):
                return Place6(net, pool, slot, lease.ip)
    return None


def fixed_place(case: Case6) -> Place6 | None:
    """Give the machine's fixed address, if it has one on this link that nobody else holds."""
    known = case.known
    if known is None or not known.ip:
        return None
    for net in case.nets:
        if net.holds(known.ip):
            free = net.pool.free_for(case.who.key, known.ip, case.now)
            return Place6(net, net.pool, case.who.key, known.ip) if free else None
    return None


def _why_not_fixed(case: Case6) -> Why:
    """Say why a machine cannot have its fixed address where the subnet gives no others."""
    known = case.known
    net = next((net for net in case.nets if known is not None and net.holds(known.ip)), None)
    holder = net.pool.holder(known.ip, case.now) if net is not None and known is not None else None
    return Why.ELSEWHERE if holder is None else Why.HELD if holder else Why.CONFLICT


def _choose_new(case: Case6, slot: bytes, asked: list[IaAddress], back: int) -> Place6 | Why:
    """Choose for one that has no address now. `back`: what a stranger had, which takes as much of the pool as a new one
    when it comes back."""
    known = case.known is not None
    wanted = back or next((each.ip for each in asked if any(net.holds(each.ip) for net in case.nets)), 0)
    for net in sorted(case.nets, key=lambda net: not net.holds(wanted)):
        if not known and net.limited and not admitted(case, net):
            return Why.LIMITED
        pool = net.pool_for(known)
        ip = pool.pick(slot, wanted, case.now, known=known)
        if ip is not None:
            return Place6(net, pool, slot, ip)
    return Why.EMPTY


def admitted(case: Case6, net: Net6) -> bool:
    """Bound how fast unknown machines take addresses, by switch port, and by interface or relayed subnet.

    A relay's address can be made up; the interface and the subnet are ours. Relays may write to a group (RFC 8415 19).
    """
    config, limiter, now = net.config, case.site.limiter, case.now
    link, port = link_of(case), switch_port(case)
    if any(port) and config.port_per_s and not limiter.take((link, *port), config.port_per_s, config.port_burst, now):
        return False
    if not config.new_per_s:
        return True
    source = (case.arrival.interface, net.name if link else "")
    return limiter.take(source, config.new_per_s, config.new_burst, now)


def lease_for(case: Case6, place: Place6, ia: Ia) -> Lease:
    """Write the lease of a place that is given."""
    remote, port = switch_port(case)
    name, machine = (case.known.name, case.known.machine) if case.known is not None else ("", b"")
    if not machine and not case.who.uuids and (before := place.pool.of(place.slot)) is not None:
        machine = before.machine  # firmware tells its UUID, the system that it boots mostly does not
    return Lease(
        place.ip,
        place.slot,
        place.pool.name,
        case.now + place.net.valid_s,
        since=case.now,
        name=name or client_name(case.message.option(Opt.FQDN)),
        client_id=association_of(case.who.duid, ia.iaid),
        relay=link_of(case),
        circuit_id=port,
        remote_id=remote,
        reason=BOOTS if case.kind.boots else "",
        machine=machine,
    )
