"""A reply put together: boot information, options, header, and where it goes (RFC 2131 sections 4.1, 4.3). No I/O."""

from __future__ import annotations

from provisioner.boot.plan import by_https
from provisioner.dhcp.blocks import Block, Terms, compose, fit
from provisioner.dhcp.boot import Boot, Where, load_file, reason_of, run_script
from provisioner.dhcp.case import CLIENT_PORT, PROXY_PORT, SERVER_PORT, Case, Reply, To, Via, holding
from provisioner.dhcp.identify import client_of
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.options import Opt, Type, encode_option, encode_options
from provisioner.dhcp.packet import BOOTREPLY, BROADCAST, HEADER, MAGIC, MIN_SIZE, Packet
from provisioner.dhcp.reservations import Known
from provisioner.dhcp.topology import Net
from provisioner.model.boot import LoadFile, LocalDisk, NoBoot, Plan, RunScript, Trust, Unknown

KEPT_LIMIT = 1024
"""Option fields and boot files remembered by subnet, about 1 MB."""
EVERYBODY = 0xFFFFFFFF
EVENTS = {0: "dhcp.bootp", 2: "dhcp.offer", 5: "dhcp.ack"}

_BY_RELAY, _BY_FRAME, _TO_ALL = Via.UDP, Via.FRAME, To(Via.BROADCAST, EVERYBODY, CLIENT_PORT)
_ACK, _DISCOVER = int(Type.ACK), int(Type.DISCOVER)
_CLIENT_ID, _CLIENT_UUID = int(Opt.CLIENT_ID), int(Opt.CLIENT_UUID)
_SUBNET_SELECTION, _RELAY_AGENT = int(Opt.SUBNET_SELECTION), int(Opt.RELAY_AGENT)
_RAPID = encode_option(Opt.RAPID_COMMIT, b"")
_new, _head = tuple.__new__, HEADER.pack
_QUARANTINE = Unknown.QUARANTINE


def ask_plan(case: Case, net: Net, plan: Plan | None = None) -> bool:
    """Ask what the machine boots and put it into its words (`case.boot`); False: it gets no answer at all.

    `plan`: what was said of it already, for another subnet on its link.
    """
    if case.known is None and net.unknown is _QUARANTINE:
        case.reason = "unknown machine in quarantine"
        return True
    if plan is None:
        case.plan = plan = case.site.decide(client_of(case.packet, case.kind))
    match plan:
        case LoadFile():
            case.boot = _load(case, net, plan)
        case RunScript():
            case.boot = run_script(case.kind, case.packet.mac, _where(case, net, case.scene.us_in[net]))
        case LocalDisk():
            pass
        case NoBoot():
            case.reason = plan.reason
            return False
    case.reason = reason_of(plan, case.boot.name)
    return True


def _where(case: Case, net: Net, us: int) -> Where:
    known = case.known
    if by_https(case.kind.asker, known.https if known is not None else Trust.UNSAID, net.config.https):
        return Where(us, case.site.tls_port, "https")
    return Where(us, net.config.http_port or case.site.http_port)


def _load(case: Case, net: Net, plan: LoadFile) -> Boot:
    """The loader that the machine, its profile or its subnet names, else the plan's; made once for all who get it."""
    known, name = case.known, plan.name
    kind, us = case.kind, case.scene.us_in[net]
    key = (kind, us, name, known.serial if known is not None else 0)
    boot = net.boots.get(key)
    if boot is None:
        arch = -1 if kind.arch is None else kind.arch
        if not plan.direct:
            name = net.loader.get(arch, name)
        if known is not None and not plan.direct:
            name = known.loader.get(arch, name)
        if len(net.boots) >= KEPT_LIMIT:
            net.boots.clear()
        boot = net.boots[key] = load_file(kind, name, _where(case, net, us))
    return boot


def reply(case: Case, net: Net, kind: int, ip: int, *, store: tuple[Lease, ...] = (), fresh: int = 0) -> Reply:
    """Make the reply of this type (0: BOOTP) that gives `ip` (0: none)."""
    if net is not case.nets[0]:
        ask_plan(case, net, case.plan)  # in the words of the subnet that the address is in
    packet, boot, known, client, arrival = case.packet, case.boot, case.known, case.kind, case.arrival
    us = case.info.server or case.scene.us_in[net]
    proxy = net.proxy or arrival.port == PROXY_PORT
    name, special = b"", 0
    if known is not None:
        special = known.serial
        if client.wants_name and not proxy:
            name = known.name
    lease_s = net.lease_s if ip and kind else 0
    terms = (kind, us, client, boot, lease_s, proxy, name != b"", special)
    block = net.blocks.get(terms) or _block(net, Terms(*terms), known)
    sname, file, options = fit(block, name, _echo(packet, packet.type if kind == _ACK else 0), client.room)
    data = _pack(packet, ip, boot.siaddr, sname, file, options)
    source = arrival.us if arrival.unicast else _source(case, us)
    return _new(Reply, (EVENTS[kind], data, destination(case, ip), case.reason, source, ip, store, fresh))


def _block(net: Net, terms: Terms, known: Known | None) -> Block:
    block = compose(terms, {**net.options, **known.options} if known is not None else net.options)
    if terms.boot.kept:
        if len(net.blocks) >= KEPT_LIMIT:
            net.blocks.clear()
        net.blocks[terms] = block
    return block


def _echo(packet: Packet, acknowledged: int) -> bytes:
    """What goes back as it came: client identifier (RFC 6842), UUID (RFC 4578), relay information last (RFC 3046).

    A relay also gets back the subnet that it selected (RFC 3011 section 3). Where a client has too little room, the
    first is left out first (`blocks.fit`). `acknowledged` is the type of the packet that an ACK answers.
    """
    options = packet.options
    found = _RAPID if acknowledged == _DISCOVER else b""
    if _CLIENT_ID in options:
        found += encode_option(_CLIENT_ID, options[_CLIENT_ID])
    if _CLIENT_UUID in options:
        found += encode_option(_CLIENT_UUID, options[_CLIENT_UUID])
    if packet.giaddr and _SUBNET_SELECTION in options:
        found += encode_option(_SUBNET_SELECTION, options[_SUBNET_SELECTION])
    if _RELAY_AGENT in options:
        found += encode_option(_RELAY_AGENT, options[_RELAY_AGENT])
    return found


def nak(case: Case, reason: str) -> Reply:
    """Refuse: the client has to start again (RFC 2131 section 4.3.2)."""
    packet = case.packet
    us = case.info.server or case.scene.us
    said = (
        (Opt.MESSAGE_TYPE, bytes((Type.NAK,))),
        (Opt.SERVER_ID, us.to_bytes(4, "big")),
        (Opt.MESSAGE, reason.encode("ascii", "replace")),
    )
    sname, file, options = fit(Block(b"", MAGIC + encode_options(said), b""), b"", _echo(packet, 0), case.kind.room)
    data = _pack(packet._replace(ciaddr=0, flags=packet.flags | BROADCAST), 0, 0, sname, file, options)
    to = To(_BY_RELAY, packet.giaddr, SERVER_PORT) if packet.giaddr else _TO_ALL
    return Reply("dhcp.nak", data, to, reason, _source(case, us))


def _pack(packet: Packet, yiaddr: int, siaddr: int, sname: bytes, file: bytes, options: bytes) -> bytes:
    _, htype, _, xid, _, flags, ciaddr, _, _, giaddr, chaddr, _, _, _, _ = packet
    head = _head(BOOTREPLY, htype, len(chaddr), 0, xid, 0, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file)
    return (head + options + b"\xff").ljust(MIN_SIZE, b"\0")


def _source(case: Case, us: int) -> int:
    """Say which of our addresses it leaves from: the one that was asked, as whoever keeps track of connections expects.

    A request that was sent to everybody is answered from `us`, where that is really ours, and no relay's or router's.
    """
    arrival = case.arrival
    return us if not arrival.unicast and us in case.site.ours else arrival.us


def destination(case: Case, ip: int) -> To:
    """Say where the reply goes (RFC 2131 section 4.1)."""
    packet, arrival = case.packet, case.arrival
    if arrival.port == PROXY_PORT:
        return To(_BY_RELAY, packet.ciaddr or _number(arrival.source[0]), arrival.source[1])
    if packet.giaddr:
        return _new(To, (_BY_RELAY, packet.giaddr, SERVER_PORT))
    if packet.ciaddr and holding(case.nets, packet.ciaddr) is not None:
        return To(_BY_RELAY, packet.ciaddr, CLIENT_PORT)
    if packet.flags & BROADCAST or not ip:
        return _TO_ALL
    return To(_BY_FRAME, ip, CLIENT_PORT)


def _number(dotted: str) -> int:
    a, b, c, d = dotted.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)
