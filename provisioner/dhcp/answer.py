"""What to say to a DHCPv4 packet, and why: one question, one answer (RFC 2131 section 4.3). No I/O.

The only things that change are the pools' leases and offers, which live in `Site`; what has to be stored before the
answer may leave comes back with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from provisioner.dhcp.case import PROXY_PORT, Arrival, Case, Reply, Silence, holding
from provisioner.dhcp.choose import Place, choose, fixed_place, may_take
from provisioner.dhcp.identify import Kind
from provisioner.dhcp.leases import BOOTP, FOR_EVER, Lease, LeaseState, Pool
from provisioner.dhcp.options import Opt, Type, number_of, text_of
from provisioner.dhcp.packet import BOOTREQUEST, Packet, address
from provisioner.dhcp.proxy import boot_server, proxy_offer
from provisioner.dhcp.relay import NOTHING
from provisioner.dhcp.reply import ask_plan, nak, reply
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode
from provisioner.dhcp.topology import Net
from provisioner.model.boot import Unknown

_new = tuple.__new__
_OFFER, _ACK, _BOUND = int(Type.OFFER), int(Type.ACK), LeaseState.BOUND
_OFF, _RESERVATIONS_ONLY, _IGNORE = Mode.OFF, Mode.RESERVATIONS_ONLY, Unknown.IGNORE
_CLIENT_ID, _CLIENT_UUID, _HOST_NAME = int(Opt.CLIENT_ID), int(Opt.CLIENT_UUID), int(Opt.HOST_NAME)
_REQUESTED_ADDRESS, _SERVER_ID = int(Opt.REQUESTED_ADDRESS), int(Opt.SERVER_ID)


def answer(packet: Packet, arrival: Arrival, site: Site, now: float, kind: Kind | None = None) -> Reply | Silence:
    """Answer `packet`. Raises `WireError` where an option that matters is malformed. `kind`: where it is known."""
    if packet.op != BOOTREQUEST:
        return Silence("not a request")
    case = Case(packet, arrival, site, now, kind or site.kind_of(packet))
    if not case.nets:
        return Silence("no subnet of ours on that link")
    net = case.nets[0]
    if packet.ciaddr and not packet.giaddr:
        _stay_on_port(case, packet.ciaddr)
    case.known = site.known(case.key, packet, case.relay, case.info)
    if net.mode is _OFF:
        return Silence("the subnet is switched off")
    if arrival.port == PROXY_PORT:
        return boot_server(case, net)
    if net.proxy:
        return proxy_offer(case, net)
    rule = _RULES.get(packet.type)
    return Silence(f"message type {packet.type} is not for servers") if rule is None else rule(case)


def _stay_on_port(case: Case, ip: int) -> None:
    """A renewal goes past the relay (RFC 2131 section 4.3.2): its machine is still where its lease says.

    Unless a switch on the way says another port (RFC 3046 section 2.1: without a relay address).
    """
    for net in case.nets:
        lease = net.pool.by_ip.get(ip) or net.quarantine.by_ip.get(ip)
        if lease is not None:
            break
    else:
        return
    _, key, _, _, _, _, _, _, relay, circuit_id, remote_id, _, _ = lease
    if not (relay or circuit_id or remote_id) or key != case.key or not lease.active(case.now):
        return
    if case.info[:2] in ((circuit_id, remote_id), NOTHING[:2]):
        case.relay = relay
        case.info = case.info._replace(circuit_id=circuit_id, remote_id=remote_id)


def _refusal(case: Case, net: Net) -> Silence | None:
    """Say why this machine gets no answer on this subnet, if it gets none."""
    known = case.known
    if known is None:
        if net.mode is _RESERVATIONS_ONLY:
            return Silence("the machine has no reservation, and the subnet serves nobody else")
        if net.unknown is _IGNORE:
            return Silence("nobody enrolled the machine, and the subnet ignores such")
    elif not known.ips and net.mode is _RESERVATIONS_ONLY:
        return Silence("the machine has no fixed address, and the subnet gives no others")
    return None if ask_plan(case, net) else Silence(f"the plan is to give this machine nothing: {case.reason}")


def _discover(case: Case) -> Reply | Silence:
    refusal = _refusal(case, case.nets[0])
    if refusal is not None:
        return refusal
    place = choose(case)
    if isinstance(place, Silence):
        return place
    net, pool, ip, fixed = place
    lease = pool.of(case.key)
    fresh = not fixed and (lease is None or lease.ip != ip or not lease.active(case.now))
    look = fresh and (net.config.probe or ip in case.site.ours)
    if net.config.rapid_commit and Opt.RAPID_COMMIT in case.options:
        return _ack(case, place)._replace(fresh=look)
    if fresh:
        pool.offer(case.key, ip, case.now)
    return reply(case, net, _OFFER, ip, fresh=look)


def _request(case: Case) -> Reply | Silence:
    refusal = _refusal(case, case.nets[0])
    if refusal is not None:
        return refusal
    packet = case.packet
    server = number_of(case.options, _SERVER_ID, 4)
    wanted = number_of(case.options, _REQUESTED_ADDRESS, 4) or 0
    if server is not None:  # SELECTING
        return _grant(case, wanted or packet.ciaddr) if _is_ours(case, server) else _lost_to(case, server)
    if packet.ciaddr:  # RENEWING, REBINDING
        return _grant(case, packet.ciaddr)
    return _confirm(case, wanted) if wanted else Silence("a request that names no address")


def _lost_to(case: Case, server: int) -> Silence:
    for net in case.nets:
        net.pool_for(case.known is not None).withdraw(case.key)
    case.site.on_other_server(case.nets[0].name, server, case.packet.mac)
    return Silence(f"the client chose another server, {address(server)}")


def _confirm(case: Case, ip: int) -> Reply | Silence:
    """INIT-REBOOT: a client that remembers an address asks whether it is still its own."""
    for net in case.nets:
        if net.holds(ip) and not _is_recorded(case, net, ip):
            return nak(case, f"{address(ip)} is not on record for this machine")
    return _grant(case, ip)


def _is_recorded(case: Case, net: Net, ip: int) -> bool:
    if case.known is not None and ip in case.known.ips:
        return True
    lease = net.pool_for(case.known is not None).of(case.key)
    return lease is not None and lease.ip == ip


def _is_ours(case: Case, server: int) -> bool:
    return (
        server == case.arrival.us
        or server in case.site.ours
        or server == case.info.server
        or any(server == net.server for net in case.nets)
    )


def _grant(case: Case, ip: int) -> Reply | Silence:
    """Acknowledge `ip`, or refuse it."""
    net = holding(case.nets, ip)
    if net is None:
        return nak(case, f"{address(ip)} is not an address of this network")
    fixed = fixed_place(case, ip) if case.known is not None else None
    if fixed is not None:
        return _ack(case, fixed) if fixed.ip == ip else nak(case, f"its fixed address is {address(fixed.ip)}")
    if net.mode is _RESERVATIONS_ONLY:
        return nak(case, f"{address(ip)} is not its fixed address, or another machine holds it")
    refused = may_take(case, net, ip)
    if isinstance(refused, Silence):
        return refused
    if refused:
        return nak(case, f"{address(ip)}: {refused}")
    return _ack(case, _new(Place, (net, net.pool_for(case.known is not None), ip, False)))


def _decline(case: Case) -> Silence:
    """A client found its address taken: keep it out of use, if it was its own (RFC 2131 section 4.3.3)."""
    ip = number_of(case.options, Opt.REQUESTED_ADDRESS, 4) or 0
    for net in case.nets:
        for pool in net.pools:
            if net.holds(ip) and pool.holder(ip, case.now) == case.key:
                reason = f"declined by {case.packet.mac}: somebody else uses it"
                lease = pool.decline(ip, case.now, net.config.decline_s, reason)
                return Silence(f"{address(ip)} is taken by somebody else, says the client", "dhcp.decline", (lease,))
    return Silence(f"a decline of {address(ip)}, which the machine does not hold")


def _release(case: Case) -> Silence:
    ip = case.packet.ciaddr
    for net in case.site.topology.at(ip):
        for pool in net.pools:
            lease = pool.release(case.key, ip, case.now)
            if lease is not None:
                return Silence(f"{address(ip)} was given back", "dhcp.release", (lease,))
    return Silence(f"a release of {address(ip)}, which the machine does not hold")


def _inform(case: Case) -> Reply | Silence:
    """Tell settings to a client that has an address of its own (RFC 2131 section 4.3.5).

    They go to that address, so it has to be of its link: else anybody could have us send them to anywhere.
    """
    ip = case.packet.ciaddr
    net = holding(case.nets, ip)
    if net is None:
        if ip and not case.packet.giaddr:
            return Silence(f"it has {address(ip)}, which is not an address of this network")
        net = case.nets[0]
    refusal = _refusal(case, net)
    if refusal is not None:
        return refusal
    return reply(case, net, _ACK, 0)


def _bootp(case: Case) -> Reply | Silence:
    """Answer a client from before DHCP: only with a fixed address, which it keeps for good (RFC 1534).

    That of its switch port only as long as others keep theirs: the next machine there is to have it.
    """
    refusal = _refusal(case, case.nets[0])
    if refusal is not None:
        return refusal
    fixed = fixed_place(case)
    if fixed is None or not fixed.net.config.bootp:
        return Silence("plain BOOTP, and the machine has no fixed address here")
    net, _, ip, _ = fixed
    until = FOR_EVER if case.site.reservations.fixes(case.key, ip) else case.now + net.lease_s
    lease = Lease(ip, case.key, net.pool.name, until, since=case.now, reason=BOOTP)
    return reply(case, net, 0, ip, store=net.pool.bind(lease))


_RULES: Mapping[int, Callable[[Case], Reply | Silence]] = {
    0: _bootp,
    int(Type.DISCOVER): _discover,
    int(Type.REQUEST): _request,
    int(Type.DECLINE): _decline,
    int(Type.RELEASE): _release,
    int(Type.INFORM): _inform,
}


def _ack(case: Case, place: Place) -> Reply:
    net, pool, ip, _ = place
    options, known, now = case.options, case.known, case.now
    relay, (circuit_id, remote_id, _, _) = case.relay, case.info
    name = text_of(options, _HOST_NAME)[:63] if _HOST_NAME in options else ""
    if known is not None and known.name:
        name = known.name.decode("ascii")
    machine = known.machine if known is not None else b""
    if not machine and _CLIENT_UUID not in options and (before := pool.of(case.key)) is not None:
        machine = before.machine  # firmware tells its UUID, the system that it boots does not
    client_id, until = options.get(_CLIENT_ID, b""), now + net.lease_s
    lease = (ip, case.key, pool.name, until, _BOUND, now, name, client_id, relay, circuit_id, remote_id, "", machine)
    store = pool.bind(_new(Lease, lease))
    if len(case.nets) > 1:
        store += tuple(_give_up_others(case, pool))
    return reply(case, net, _ACK, ip, store=store)


def _give_up_others(case: Case, kept: Pool) -> Iterator[Lease]:
    """End what the machine holds or is offered in other subnets of its wire: it has one address there."""
    for net in case.nets:
        for pool in net.pools:
            lease = pool.of(case.key) if pool is not kept else None
            if pool is not kept:
                pool.withdraw(case.key)
            if lease is not None and (ended := pool.release(case.key, lease.ip, case.now)) is not None:
                yield ended
