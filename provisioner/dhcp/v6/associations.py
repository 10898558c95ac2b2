"""Identity associations in an answer: offered, given, extended, given back (RFC 8415 section 18.3). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from provisioner.dhcp.case import Silence
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.v6.boot import boot_options
from provisioner.dhcp.v6.case import Case6, Reply6
from provisioner.dhcp.v6.choose import Place6, Why, choose, lease_for
from provisioner.dhcp.v6.message import Type, address
from provisioner.dhcp.v6.options import (
    Ia,
    IaAddress,
    Opt,
    Options,
    Status,
    addresses_in,
    decode_ia,
    encode_address,
    encode_ia,
    status,
)
from provisioner.dhcp.v6.reply import reply
from provisioner.dhcp.v6.site import association_of

IAS_LIMIT = 4
"""Associations of one message that get an address; real clients send one or two."""
NAMED_LIMIT = 8
"""Addresses of one association that are looked at."""


class Given(NamedTuple):
    """What one association is told."""

    option: tuple[int, bytes]
    ip: int = 0
    store: tuple[Lease, ...] = ()
    why: str = ""
    """Why it gets no address."""


Handle = Callable[[Case6, Ia, list[IaAddress]], Given]


def offer(case: Case6, boot: Options) -> Reply6 | Silence:
    """Say which addresses the client would get."""
    return _answer(case, boot, Type.ADVERTISE, _offer)


def commit(case: Case6, boot: Options, also: Options = ()) -> Reply6 | Silence:
    """Give addresses. `also` is said with them."""
    return _answer(case, boot, Type.REPLY, _commit, also)


def extend(case: Case6, boot: Options) -> Reply6 | Silence:
    """Let the client keep its addresses, or tell it to use others."""
    return _answer(case, boot, Type.REPLY, _extend)


def _answer(case: Case6, boot: Options, kind: Type, handle: Handle, also: Options = ()) -> Reply6 | Silence:
    given = [_given(case, ia, handle, number) for number, ia in enumerate(_associations(case))]
    refused = [each.why for each in given if each.why]
    ips = [each.ip for each in given if each.ip]
    if not ips and Why.LIMITED in refused:
        return Silence(Why.LIMITED, "dhcp6.limited")
    event = reason = ""
    if not ips and refused:
        event = "dhcp6.pool-empty" if Why.EMPTY in refused else "dhcp6.refused"
        reason = f"{refused[0]}: {', '.join(net.name for net in case.nets)}"
    home = next((net for net in case.nets if ips and net.holds(ips[0])), case.nets[0])
    if home is not case.nets[0]:
        boot = boot_options(case, home, case.plan) or ()
    options = (*(each.option for each in given), *((*boot, *also) if ips or not refused else ()))
    store = [lease for each in given for lease in each.store]
    return reply(case, kind, options, net=home, event=event, reason=reason, ips=ips, store=store)


def _associations(case: Case6) -> Iterator[Ia]:
    for code, value in case.message.options:
        if code in (Opt.IA_NA, Opt.IA_TA, Opt.IA_PD):
            yield decode_ia(code, value)


def _given(case: Case6, ia: Ia, handle: Handle, number: int) -> Given:
    if ia.code == Opt.IA_PD:
        return _nothing(ia, Status.NO_PREFIX, "prefixes are not given here")
    if ia.code == Opt.IA_TA:
        return _nothing(ia, Status.NO_ADDRESSES, "temporary addresses are not given here")
    if number >= IAS_LIMIT:
        return _nothing(ia, Status.NO_ADDRESSES, "too many identity associations")
    return handle(case, ia, addresses_in(ia)[:NAMED_LIMIT])


def _nothing(ia: Ia, code: Status, why: str) -> Given:
    return Given(encode_ia(Ia(ia.code, ia.iaid, options=(status(code, why),))), why=why)


def _with(ia: Ia, place: Place6, gone: tuple[int, ...] = ()) -> tuple[int, bytes]:
    """Write an association with its address; those that are `gone` are to be used no more."""
    preferred_s, valid_s = place.net.preferred_s, place.net.valid_s
    found = [encode_address(IaAddress(place.ip, preferred_s, valid_s))]
    found += [encode_address(IaAddress(ip)) for ip in gone]
    return encode_ia(Ia(ia.code, ia.iaid, preferred_s // 2, preferred_s * 4 // 5, tuple(found)))


def _offer(case: Case6, ia: Ia, asked: list[IaAddress]) -> Given:
    place = choose(case, ia, asked)
    if isinstance(place, Why):
        return _nothing(ia, Status.NO_ADDRESSES, place)
    lease = place.pool.of(place.slot)
    if lease is None or lease.ip != place.ip or not lease.active(case.now):
        place.pool.offer(place.slot, place.ip, case.now)
    return Given(_with(ia, place), place.ip)


def _commit(case: Case6, ia: Ia, asked: list[IaAddress]) -> Given:
    if any(not any(net.holds(each.ip) for net in case.nets) for each in asked if each.ip):
        return _nothing(ia, Status.NOT_ON_LINK, "an address of another link")
    place = choose(case, ia, asked)
    if isinstance(place, Why):
        return _nothing(ia, Status.NO_ADDRESSES, place)
    return Given(_with(ia, place), place.ip, place.pool.bind(lease_for(case, place, ia)))


def _extend(case: Case6, ia: Ia, asked: list[IaAddress]) -> Given:
    place = choose(case, ia, asked)
    if isinstance(place, Why):
        return _nothing(ia, Status.NO_BINDING, place)
    gone = tuple(each.ip for each in asked if each.ip != place.ip)
    return Given(_with(ia, place, gone), place.ip, place.pool.bind(lease_for(case, place, ia)))


def give_up(case: Case6) -> Reply6 | Silence:
    """Take addresses back that the client gives up (RELEASE) or found in use (DECLINE), if they are its own."""
    declined = case.message.type == Type.DECLINE
    options: list[tuple[int, bytes]] = [status(Status.SUCCESS)]
    ips: list[int] = []
    store: list[Lease] = []
    for ia in _associations(case):
        named = addresses_in(ia)[:NAMED_LIMIT] if ia.code == Opt.IA_NA else []
        taken = {each.ip: _take_back(case, ia, each.ip, declined=declined) for each in named}
        store += [lease for lease in taken.values() if lease is not None]
        ips += [ip for ip, lease in taken.items() if lease is not None]
        if None in taken.values() or not taken:
            options.append(encode_ia(Ia(ia.code, ia.iaid, options=(status(Status.NO_BINDING, "not on record"),))))
    if not ips:
        return reply(case, Type.REPLY, tuple(options), event="dhcp6.refused", reason="nothing that the machine holds")
    event, verb = ("dhcp6.decline", "is taken by somebody else") if declined else ("dhcp6.release", "was given back")
    reason = f"{', '.join(map(address, ips))} {verb}"
    return reply(case, Type.REPLY, tuple(options), event=event, reason=reason, store=store)


def _take_back(case: Case6, ia: Ia, ip: int, *, declined: bool) -> Lease | None:
    association = association_of(case.who.duid, ia.iaid)
    for net in case.site.topology.at(ip):
        for pool in net.pools:
            lease = pool.by_ip.get(ip)
            if lease is None or lease.client_id != association or not lease.active(case.now):
                continue
            if not declined:
                return pool.release(lease.key, ip, case.now)
            reason = f"declined by {case.who.mac}: somebody else uses it"
            return pool.decline(ip, case.now, net.config.decline_s, reason)
    return None
