"""What to say to a DHCPv6 message, and why: one question, one answer (RFC 8415 sections 16 and 18.3). No I/O.

The only things that change are the pools' leases and offers, which live in `Site6`; what has to be stored before the
answer may leave comes back with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provisioner.dhcp.case import Silence
from provisioner.dhcp.v6.associations import commit, extend, give_up, offer
from provisioner.dhcp.v6.boot import boot_options
from provisioner.dhcp.v6.case import Arrival6, Case6, Reply6, silence
from provisioner.dhcp.v6.message import Message, Type
from provisioner.dhcp.v6.options import Opt, Options, Status, addresses_in, decode_ia, every, status
from provisioner.dhcp.v6.reply import refusal, reply
from provisioner.dhcp.v6.site import Site6
from provisioner.dhcp.v6.subnets import Mode6
from provisioner.model.boot import Unknown

NEEDS_CLIENT = frozenset(set(Type) - {Type.INFORMATION_REQUEST})
TO_ONE_SERVER = frozenset({Type.REQUEST, Type.RENEW, Type.RELEASE, Type.DECLINE})
TO_ALL_SERVERS = frozenset({Type.SOLICIT, Type.CONFIRM, Type.REBIND})


def answer(message: Message, arrival: Arrival6, site: Site6, now: float) -> Reply6 | Silence:
    """Answer `message`. Raises `WireError` where an option that matters is malformed."""
    rule = _RULES.get(message.type)
    if rule is None or any(hop.type != Type.RELAY_FORWARD for hop in message.hops):
        return silence(f"message type {message.type} is not for servers")
    case = Case6(message, arrival, site, now)
    if not case.nets:
        return silence("no subnet of ours on that link")
    if case.nets[0].mode is Mode6.OFF:
        return silence("the subnet is switched off")
    unfit = _unfit(case)
    if unfit is not None:
        return unfit
    case.known = site.reservations.find(case.who)
    return rule(case)


def _unfit(case: Case6) -> Reply6 | Silence | None:
    """Say what keeps a message from being answered at all (RFC 8415 sections 16 and 18.4)."""
    kind, why = case.message.type, _misaddressed(case.message, case.site.duid)
    if kind in NEEDS_CLIENT and not case.who.duid:
        why = "it does not say who the client is (option 1)"
    if case.arrival.lost and not case.message.hops:  # by its DUID it might be taken for another machine
        why = "there were too many at once to see which port it came from: it is for the client to ask again"
    if why:
        return silence(why)
    if not case.arrival.target or case.message.hops:
        return None
    if kind in TO_ONE_SERVER:
        return refusal(case, Status.USE_MULTICAST, "clients ask by multicast")
    return silence("it came by unicast, and is for all servers")


def _misaddressed(message: Message, us: bytes) -> str:
    server = message.option(Opt.SERVER_ID)
    if server is None:
        return "it does not say which server is meant (option 2)" if message.type in TO_ONE_SERVER else ""
    if message.type in TO_ALL_SERVERS:
        return "it names a server, and is for all of them"
    return "" if server == us else f"the client chose another server, {server[:32].hex(':')}"


def _refused(case: Case6) -> Silence | None:
    """Say why this machine gets no answer on this subnet, if it gets none."""
    net = case.nets[0]
    if case.known is None:
        if net.mode is Mode6.RESERVATIONS_ONLY:
            return silence("the machine has no reservation, and the subnet serves nobody else")
        if net.config.unknown is Unknown.IGNORE:
            return silence("nobody enrolled the machine, and the subnet ignores such")
    elif not case.known.ip and net.mode is Mode6.RESERVATIONS_ONLY:
        return silence("the machine has no fixed address, and the subnet gives no others")
    return None


def _boot(case: Case6) -> Options | Silence:
    """Say what the machine is told to boot, or why it gets no answer."""
    refused = _refused(case)
    if refused is not None:
        return refused
    found = boot_options(case, case.nets[0])
    return silence(f"the plan is to give this machine nothing: {case.reason}") if found is None else found


def _solicit(case: Case6) -> Reply6 | Silence:
    boot = _boot(case)
    if isinstance(boot, Silence):
        return boot
    if case.nets[0].config.rapid_commit and case.message.option(Opt.RAPID_COMMIT) is not None:
        return commit(case, boot, ((Opt.RAPID_COMMIT, b""),))
    return offer(case, boot)


def _request(case: Case6) -> Reply6 | Silence:
    boot = _boot(case)
    return boot if isinstance(boot, Silence) else commit(case, boot)


def _renew(case: Case6) -> Reply6 | Silence:
    boot = _boot(case)
    return boot if isinstance(boot, Silence) else extend(case, boot)


def _confirm(case: Case6) -> Reply6 | Silence:
    """A client that was plugged in again asks whether its addresses fit the link (RFC 8415 section 18.3.3)."""
    named = [each.ip for value in every(case.message.options, Opt.IA_NA) for each in addresses_in(decode_ia(3, value))]
    if not named:
        return silence("a question about addresses that names none")
    if all(any(net.holds(ip) for net in case.nets) for ip in named):
        return reply(case, Type.REPLY, (status(Status.SUCCESS),), ips=named, reason="they fit the link")
    return refusal(case, Status.NOT_ON_LINK, "not all addresses are of this link")


def _inform(case: Case6) -> Reply6 | Silence:
    """Tell settings to a client that wants no address from us (RFC 8415 section 18.3.6)."""
    if any(code in (Opt.IA_NA, Opt.IA_TA, Opt.IA_PD) for code, _ in case.message.options):
        return silence("it asks for information, and for addresses as well")
    boot = _boot(case)
    return boot if isinstance(boot, Silence) else reply(case, Type.REPLY, boot, net=case.nets[0])


_RULES: Mapping[int, Callable[[Case6], Reply6 | Silence]] = {
    Type.SOLICIT: _solicit,
    Type.REQUEST: _request,
    Type.CONFIRM: _confirm,
    Type.RENEW: _renew,
    Type.REBIND: _renew,
    Type.RELEASE: give_up,
    Type.DECLINE: give_up,
    Type.INFORMATION_REQUEST: _inform,
}
