"""A reply put together: boot information, options, header, and where it goes (RFC 2131 sections 4.1, 4.3). No I/O."""

from __future__ import annotations

from collections.abc import Mapping

from provisioner.dhcp.blocks import Block, Terms, compose, fit
from provisioner.dhcp.boot import Boot, Where, boot_of
from provisioner.dhcp.case import CLIENT_PORT, PROXY_PORT, SERVER_PORT, Case, Reply, To, Via, our_address
from provisioner.dhcp.leases import Lease
from provisioner.dhcp.options import Opt, Type, encode_option
from provisioner.dhcp.packet import BOOTREPLY, BROADCAST, DEFAULT_ROOM, HEADER, MAGIC, MIN_SIZE, Packet, room_for
from provisioner.dhcp.reservations import Known
from provisioner.dhcp.topology import Net
from provisioner.model.boot import Arch, Asker, Unknown

BLOCKS_LIMIT = 1024
"""Option fields remembered by subnet, about 1 MB."""
EVERYBODY = 0xFFFFFFFF


def boot_for(case: Case, net: Net) -> Boot | None:
    """Say what the machine is told to boot; None: it gets no answer at all."""
    if case.known is None and net.config.unknown is Unknown.QUARANTINE:
        return Boot(reason="unknown machine in quarantine")
    where = Where(our_address(case, net), net.config.http_port or case.site.http_port)
    loader: Mapping[int, str] = net.loader
    if case.known is not None and case.known.loader:
        loader = {**loader, **case.known.loader}
    return boot_of(case.client, case.site.decide(case.client), where, loader)


def reply(case: Case, net: Net, kind: int, ip: int, *, store: tuple[Lease, ...] = (), fresh: bool = False) -> Reply:
    packet, boot = case.packet, case.boot or Boot()
    us = case.info.server or our_address(case, net)
    name = case.known.name if case.known is not None and not net.proxy else b""
    wanted = packet.options.get(Opt.REQUEST_LIST)
    if name and wanted is not None and Opt.HOST_NAME not in wanted:
        name = b""
    terms = Terms(
        type=int(kind),
        us=us,
        wanted=wanted,
        lease_s=net.config.lease_s if ip and kind else 0,
        boot=boot,
        proxy=net.proxy or case.arrival.port == PROXY_PORT,
        bypass=net.proxy and case.client.asker is Asker.PXE and bool(boot.name) and case.client.arch == Arch.X86_BIOS,
        ipxe=case.client.asker in (Asker.IPXE, Asker.IPXE_TFTP),
    )
    rapid = encode_option(Opt.RAPID_COMMIT, b"") if kind == Type.ACK and packet.type == Type.DISCOVER else b""
    block = _block(net, terms, case.known, named=bool(name))
    room = room_for(packet) if Opt.MAX_SIZE in packet.options else DEFAULT_ROOM
    sname, file, options = fit(block, name, rapid + _echo(packet), room)
    data = _pack(packet, ip, boot.siaddr, sname, file, options)
    event = "dhcp.offer" if kind == Type.OFFER else "dhcp.ack" if kind else "dhcp.bootp"
    return Reply(event, data, _destination(case, ip), boot.reason, us, ip, store, fresh)


def _block(net: Net, terms: Terms, known: Known | None, *, named: bool) -> Block:
    serial = known.serial if known is not None else 0
    options = net.options if not serial or known is None else {**net.options, **known.options}
    if terms.boot.per_machine:
        return compose(terms, options, named=named)
    key = (terms, serial, named)
    block = net.blocks.get(key)
    if block is None:
        if len(net.blocks) >= BLOCKS_LIMIT:
            net.blocks.clear()
        block = net.blocks[key] = compose(terms, options, named=named)
    return block


def _echo(packet: Packet) -> bytes:
    """What goes back as it came: client identifier (RFC 6842), UUID (RFC 4578), relay information last (RFC 3046)."""
    options = packet.options
    found = b""
    for code in (Opt.CLIENT_ID, Opt.CLIENT_UUID, Opt.RELAY_AGENT):
        value = options.get(code)
        if value is not None:
            found += encode_option(code, value)
    return found


def nak(case: Case, reason: str) -> Reply:
    """Refuse: the client has to start again (RFC 2131 section 4.3.2)."""
    packet = case.packet
    us = case.info.server or our_address(case, case.nets[0])
    options = (
        MAGIC
        + encode_option(Opt.MESSAGE_TYPE, bytes((Type.NAK,)))
        + encode_option(Opt.SERVER_ID, us.to_bytes(4, "big"))
        + encode_option(Opt.MESSAGE, reason.encode("ascii", "replace"))
        + _echo(packet)
    )
    data = _pack(packet._replace(ciaddr=0, flags=packet.flags | BROADCAST), 0, 0, b"", b"", options)
    to = To(Via.UDP, packet.giaddr, SERVER_PORT) if packet.giaddr else To(Via.BROADCAST, EVERYBODY, CLIENT_PORT)
    return Reply("dhcp.nak", data, to, reason, us)


def _pack(packet: Packet, yiaddr: int, siaddr: int, sname: bytes, file: bytes, options: bytes) -> bytes:
    head = HEADER.pack(
        BOOTREPLY,
        packet.htype,
        len(packet.chaddr),
        0,
        packet.xid,
        0,
        packet.flags,
        packet.ciaddr,
        yiaddr,
        siaddr,
        packet.giaddr,
        packet.chaddr,
        sname,
        file,
    )
    return (head + options + b"\xff").ljust(MIN_SIZE, b"\0")


def _destination(case: Case, ip: int) -> To:
    """Say where the reply goes (RFC 2131 section 4.1)."""
    packet, arrival = case.packet, case.arrival
    if arrival.port == PROXY_PORT:
        return To(Via.UDP, packet.ciaddr or _number(arrival.source[0]), arrival.source[1])
    if packet.giaddr:
        return To(Via.UDP, packet.giaddr, SERVER_PORT)
    if packet.ciaddr:
        return To(Via.UDP, packet.ciaddr, CLIENT_PORT)
    if packet.flags & BROADCAST or not ip:
        return To(Via.BROADCAST, EVERYBODY, CLIENT_PORT)
    return To(Via.FRAME, ip, CLIENT_PORT)


def _number(dotted: str) -> int:
    a, b, c, d = dotted.split(".")
    return int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d)
