"""Who may have which address on a link. No I/O."""

from __future__ import annotations

from typing import NamedTuple

from provisioner.dhcp.case import Case, Silence
from provisioner.dhcp.leases import Pool
from provisioner.dhcp.options import Opt, number_of
from provisioner.dhcp.packet import address
from provisioner.dhcp.relay import NOTHING
from provisioner.dhcp.subnets import Mode
from provisioner.dhcp.topology import Net
from provisioner.model.net import mac_from_bytes

TOO_MANY = Silence("too many new machines on this port, interface or subnet; it may ask again", "dhcp.limited")
_RESERVATIONS_ONLY = Mode.RESERVATIONS_ONLY
_REQUESTED_ADDRESS = int(Opt.REQUESTED_ADDRESS)
_new = tuple.__new__


class Place(NamedTuple):
    """An address that a machine may have."""

    net: Net
    pool: Pool
    ip: int
    fixed: bool


def fixed_place(case: Case, wanted: int = 0) -> Place | None:
    """Give the machine's fixed address, if it has one on this link that nobody else holds; of several the wanted."""
    known = case.known
    if known is None or not known.ips:
        return None
    found: Place | None = None
    for net in case.nets:
        for ip in known.ips:
            if net.holds(ip) and (ip == wanted or found is None) and net.pool.free_for(case.key, ip, case.now):
                found = Place(net, net.pool, ip, fixed=True)
    return found


def choose(case: Case) -> Place | Silence:
    """Choose an address for a machine that asks for one: on shared networks first where it has one already."""
    known, key, now, nets = case.known is not None, case.key, case.now, case.nets
    if known and (fixed := fixed_place(case)) is not None:
        return fixed
    if nets[0].mode is _RESERVATIONS_ONLY:
        return Silence(_why_not_fixed(case))
    back = 0
    for net in nets:
        pool = net.pool_for(known)
        ip = pool.held(key, now)
        if ip is not None:
            if known or pool.serves(key, now):
                return _new(Place, (net, pool, ip, False))
            back = back or ip
    return _choose_new(case, known, back)


def _why_not_fixed(case: Case) -> str:
    """Say why a machine cannot have its fixed address, and what to do, where the subnet gives no others."""
    ips = case.known.ips if case.known is not None else ()
    for net in case.nets:
        for ip in (ip for ip in ips if net.holds(ip)):
            holder = net.pool.holder(ip, case.now)
            if holder:
                return f"its fixed address {address(ip)} is held by {mac_from_bytes(holder)} until that lease ends"
            why = net.pool.by_ip[ip].reason
            return (
                f"its fixed address {address(ip)} is out of use ({why}): find that host, then "
                f"`provisionctl dhcp free {address(ip)}`"
            )
    return f"it has no fixed address in {', '.join(net.name for net in case.nets)}: `provisionctl dhcp reserve`"


def _choose_new(case: Case, known: bool, back: int) -> Place | Silence:
    """Choose for one that has no address now. `back`: what a stranger had, which takes as much of the pool as a new one
    when it comes back."""
    options, nets = case.options, case.nets
    wanted = back or ((number_of(options, _REQUESTED_ADDRESS, 4) or 0) if _REQUESTED_ADDRESS in options else 0)
    for net in nets if len(nets) == 1 else sorted(nets, key=lambda net: not net.holds(wanted)):
        if not known and net.limited and not admitted(case, net):
            return TOO_MANY
        pool = net.pool_for(known)
        ip = pool.pick(case.key, wanted, case.now, known=known)
        if ip is not None:
            return _new(Place, (net, pool, ip, False))
    return Silence(f"no address left in {', '.join(net.name for net in case.nets)}", "dhcp.pool-empty")


def admitted(case: Case, net: Net) -> bool:
    """Bound how fast unknown machines take addresses, by switch port, and by interface or relayed subnet.

    What a packet says can be made up, and so can the address that it comes from: the last bound goes by nothing but the
    interface that it came in on and the subnet of ours that it takes from. A relay writes to us, not to everybody.
    """
    info, config, limiter, now = case.info, net.config, case.site.limiter, case.now
    if info is not NOTHING and (info.circuit_id or info.remote_id) and config.port_per_s:
        port = (case.relay, info.remote_id, info.circuit_id)
        if not limiter.take(port, config.port_per_s, config.port_burst, now):
            return False
    if not config.new_per_s:
        return True
    relayed = case.packet.giaddr and case.arrival.unicast
    source = (case.arrival.interface, net.name if relayed else "")
    return limiter.take(source, config.new_per_s, config.new_burst, now)


def may_take(case: Case, net: Net, ip: int) -> str | Silence:
    """Say why the machine may not have a pool address that it names (empty: it may), or why it gets no answer."""
    known = case.known is not None
    pool = net.pool_for(known)
    if pool.has_offered(case.key, ip, case.now):
        return ""
    if not pool.covers(ip) or pool.is_fixed(ip):
        return "it is not in a pool for this machine"
    if not pool.free_for(case.key, ip, case.now):
        return "another machine holds it"
    if pool.serves(case.key, case.now) or (known and pool.knows(case.key)):
        return ""
    if not known and net.limited and not admitted(case, net):
        return TOO_MANY
    return "" if pool.has_room(case.now, known=known) else Silence(f"no address left in {net.name}", "dhcp.pool-empty")
