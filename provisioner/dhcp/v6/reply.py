"""A DHCPv6 reply put together, and wrapped for its relays (RFC 8415 sections 18.3 and 19.3). No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from provisioner.dhcp.leases import Lease
from provisioner.dhcp.v6.case import CLIENT_PORT, SERVER_PORT, Case6, Reply6
from provisioner.dhcp.v6.message import Hop, Message, Type, encode
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.options import Opt, Options, Status, first, status

ECHOED = frozenset({Opt.INTERFACE_ID, Opt.RELAY_PORT})
"""What a relay gets back as it sent it (RFC 8415 section 21.18, RFC 8357 section 5.2)."""
EVENTS = {Type.ADVERTISE: "dhcp6.advertise", Type.REPLY: "dhcp6.reply"}


def reply(  # noqa: PLR0913  the parts of one message
    case: Case6,
    kind: Type,
    options: Options,
    *,
    net: Net6 | None = None,
    event: str = "",
    reason: str = "",
    ips: Iterable[int] = (),
    store: Iterable[Lease] = (),
) -> Reply6:
    """Make the reply of this type; with `net`, it has the settings of that subnet that the client asks for."""
    head: list[tuple[int, bytes]] = [(Opt.SERVER_ID, case.site.duid)]
    if case.who.duid:
        head.insert(0, (Opt.CLIENT_ID, case.who.duid))
    if kind is Type.ADVERTISE and net is not None and net.config.preference:
        head.append((Opt.PREFERENCE, bytes((net.config.preference,))))
    settings = net.options if net is not None else {}
    asked = tuple((code, value) for code, value in settings.items() if code in case.kind.wanted)
    message = case.message
    hops = tuple(_back(hop) for hop in message.hops)
    data = encode(Message(kind, message.xid, (*head, *options, *asked), hops))
    reason = reason or case.reason
    return Reply6(event or EVENTS[kind], data, _destination(case), reason, tuple(ips), tuple(store), kind.name)


def refusal(case: Case6, code: Status, text: str) -> Reply6:
    """Refuse all of a message."""
    return reply(case, Type.REPLY, (status(code, text),), event="dhcp6.refused", reason=text)


def _back(hop: Hop) -> Hop:
    return Hop(Type.RELAY_REPLY, hop.hops, hop.link, hop.peer, tuple(each for each in hop.options if each[0] in ECHOED))


def _destination(case: Case6) -> tuple[int, int]:
    """Say where it goes: to the client, or the relay that it came from, at its own port where it says so (RFC 8357)."""
    arrival, hops = case.arrival, case.message.hops
    if not hops:
        return arrival.source, CLIENT_PORT
    own_port = first(hops[0].options, Opt.RELAY_PORT) is not None
    return arrival.source, arrival.port if own_port else SERVER_PORT
