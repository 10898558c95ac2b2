"""DHCPv6 and router advertisements as netwatch asks and hears them, in Ethernet frames (RFC 8415, RFC 4861). No I/O."""

from __future__ import annotations

import struct

from provisioner.dhcp.frame import checksum
from provisioner.dhcp.v6.message import Message, Type, decode, encode
from provisioner.dhcp.v6.options import Opt
from provisioner.errors import WireError
from provisioner.netwatch.messages import MAX_DUID, Heard6, Kind

ETHERTYPE = b"\x86\xdd"
UDP, ICMPV6, ROUTER_ADVERTISEMENT = 17, 58, 134
CLIENT_PORT, SERVER_PORT = 546, 547
AGENTS = bytes.fromhex("ff020000000000000000000000010002")
AGENTS_MAC = bytes.fromhex("333300010002")
"""All_DHCP_Relay_Agents_and_Servers (RFC 8415 section 7.1), and its Ethernet address (RFC 2464 section 7)."""
DUID_LL = b"\0\3\0\1"
WHOLE_LINK = 255
"""The hop limit of what no router has forwarded (RFC 4861 section 6.1.2)."""
_HEAD = struct.Struct("!IHBB16s16s")
_UDP_HEAD = struct.Struct("!HHHH")
_HEAD_AT, _UDP_AT = 14, 54
KINDS = {int(Type.ADVERTISE): Kind.ADVERTISE, int(Type.REPLY): Kind.REPLY}


def solicit(mac: bytes, source: bytes, client: bytes, xid: int) -> bytes:
    """Ask for an address as a machine that nobody knows: from our link-local address, by the DUID of `client`."""
    association = b"prov" + bytes(8)
    options = ((Opt.CLIENT_ID, DUID_LL + client), (Opt.IA_NA, association), (Opt.ELAPSED_TIME, b"\0\0"))
    payload = encode(Message(Type.SOLICIT, xid & 0xFFFFFF, options))
    length = _UDP_HEAD.size + len(payload)
    pseudo = source + AGENTS + struct.pack("!II", length, UDP)
    total = checksum(pseudo + _UDP_HEAD.pack(CLIENT_PORT, SERVER_PORT, length, 0) + payload)
    datagram = _UDP_HEAD.pack(CLIENT_PORT, SERVER_PORT, length, total or 0xFFFF) + payload
    return AGENTS_MAC + mac + ETHERTYPE + _HEAD.pack(6 << 28, length, UDP, 1, source, AGENTS) + datagram


def read(interface: str, frame: bytes, client: bytes, xid: int) -> Heard6 | None:
    """Say what a frame tells that passed the filter; None where it tells nothing."""
    if len(frame) < _UDP_AT + _UDP_HEAD.size:
        return None
    _, _, following, hops, source, _ = _HEAD.unpack_from(frame, _HEAD_AT)
    mac = frame[6:12]
    if following == ICMPV6:
        advertises = frame[_UDP_AT] == ROUTER_ADVERTISEMENT and hops == WHOLE_LINK and _is_link_local(source)
        return Heard6(interface, Kind.ROUTER, source, mac, False) if advertises else None
    try:
        message = decode(frame[_UDP_AT + _UDP_HEAD.size :])
    except WireError:
        return None
    kind = KINDS.get(message.type)
    if kind is None or message.hops:
        return None
    asked = message.xid == xid & 0xFFFFFF and message.option(Opt.CLIENT_ID) == DUID_LL + client
    duid = message.option(Opt.SERVER_ID) or b""
    return Heard6(interface, kind, source, mac, asked, duid[:MAX_DUID])


def _is_link_local(address: bytes) -> bool:
    """Hosts take no other advertisement (RFC 4861 section 6.1.2); some daemons send such while theirs is tentative."""
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80
