"""The BOOTP/DHCPv4 message: bytes <-> values (RFC 2131 section 2, RFC 1542). No I/O."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from provisioner.dhcp.options import Opt, encode_option, walk
from provisioner.errors import WireError
from provisioner.model.net import Mac, mac_from_bytes

HEADER = struct.Struct("!4BIHH4I16s64s128s")
HEADER_SIZE = HEADER.size  # 236
MAGIC = b"\x63\x82\x53\x63"
OPTIONS_AT = HEADER_SIZE + len(MAGIC)
SNAME_AT, FILE_AT = 44, 108
BOOTREQUEST, BOOTREPLY = 1, 2
BROADCAST = 0x8000
MIN_SIZE = 300
"""Shortest reply: BOOTP's vendor field has 64 bytes, and old relays and ROMs insist (RFC 1542 section 2.1)."""
DEFAULT_ROOM = 576 - 28
"""Longest DHCP message for a client that names no size: a 576 byte IP datagram (RFC 2131 section 2)."""
MAX_ROOM = 1500 - 28
"""Longest that leaves without IP fragments, which ROMs do not join."""
TOO_LONG = 2048
"""No message: nothing so long comes through an Ethernet of usual size, and `mmsg.Receiver` cuts what is longer."""
ETHERNET = 1
NOBODY = b"\0id"

_NO_NAME, _NO_FILE = bytes(64), bytes(128)
_MESSAGE_TYPE, _OVERLOAD = int(Opt.MESSAGE_TYPE), int(Opt.OVERLOAD)
_unpack, _new = HEADER.unpack_from, tuple.__new__


class Packet(NamedTuple):
    """One message. Addresses are numbers, `type` is 0 for plain BOOTP, options are joined and by code.

    A named tuple, not a dataclass: it is made 60,000 times a second, and is built in half the time.
    """

    op: int
    htype: int
    hops: int
    xid: int
    secs: int
    flags: int
    ciaddr: int
    yiaddr: int
    siaddr: int
    giaddr: int
    chaddr: bytes
    sname: bytes
    file: bytes
    type: int
    options: dict[int, bytes]

    @property
    def key(self) -> bytes:
        """What identifies the network port: its hardware address, whatever client identifier the software sends.

        ROM, installer and installed system of one machine send different identifiers. Where there is no hardware
        address (InfiniBand, RFC 4390) the identifier stands in; `NOBODY` where there is neither.
        """
        chaddr = self.chaddr
        if len(chaddr) == 6 and self.htype == ETHERNET:
            return chaddr
        if chaddr:
            return bytes((self.htype,)) + chaddr
        return NOBODY + self.options.get(Opt.CLIENT_ID, b"")

    @property
    def mac(self) -> Mac:
        """The hardware address as the rest of the program spells it."""
        return mac_from_bytes(self.chaddr) if self.chaddr else mac_from_bytes(self.key)


def decode(data: bytes) -> Packet:
    """Read one message, with options in `file` and `sname` where they are overloaded; raise `WireError`."""
    size = len(data)
    if size < HEADER_SIZE:
        raise WireError(f"{size} bytes are too short for BOOTP")
    if size >= TOO_LONG:
        raise WireError(f"{TOO_LONG} bytes or more are too long for DHCP")
    options: dict[int, bytes] = {}
    if data[HEADER_SIZE:OPTIONS_AT] == MAGIC:
        walk(data, OPTIONS_AT, size, options)
        if _OVERLOAD in options:
            _walk_overloaded(data, options)
    kind = options.get(_MESSAGE_TYPE, b"\0")
    if len(kind) != 1:
        raise WireError(f"message type of {len(kind)} bytes")
    return assemble(data, kind[0], options)


def assemble(data: bytes, kind: int, options: dict[int, bytes]) -> Packet:
    """Read the header of a message whose type and options are known; raise `WireError`."""
    (op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file) = _unpack(data)
    if hlen > 16:
        raise WireError(f"hardware address of {hlen} bytes")
    chaddr = chaddr[:hlen]
    fields = (op, htype, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, kind, options)
    return _new(Packet, fields)  # past its constructor, which takes as long as everything above


def _walk_overloaded(data: bytes, options: dict[int, bytes]) -> None:
    """Go on in `file`, then in `sname` (RFC 3396 section 5: that order)."""
    overload = options[_OVERLOAD]
    if len(overload) != 1 or overload[0] not in (1, 2, 3):
        raise WireError(f"option overload is {overload.hex() or 'empty'}")
    if overload[0] & 1:
        walk(data, FILE_AT, HEADER_SIZE, options)
    if overload[0] & 2:
        walk(data, SNAME_AT, FILE_AT, options)


def encode(packet: Packet) -> bytes:
    """Write a message with its options in the order of the mapping; END at the end, padded to BOOTP's size."""
    options = b"".join(encode_option(code, value) for code, value in packet.options.items())
    return encode_with(packet, options)


def encode_with(packet: Packet, options: bytes) -> bytes:
    """Write a message whose options are already bytes, without END."""
    head = HEADER.pack(
        packet.op,
        packet.htype,
        len(packet.chaddr),
        packet.hops,
        packet.xid,
        packet.secs,
        packet.flags,
        packet.ciaddr,
        packet.yiaddr,
        packet.siaddr,
        packet.giaddr,
        packet.chaddr,
        packet.sname,
        packet.file,
    )
    return (head + MAGIC + options + b"\xff").ljust(MIN_SIZE, b"\0")


def room_of(max_size: bytes | None) -> int:
    """Say how many bytes a reply may have, given option 57.

    It counts the IP and UDP headers for some clients and not for others: we leave room for them.
    """
    if max_size is None or len(max_size) != 2:
        return DEFAULT_ROOM
    return max(DEFAULT_ROOM, min(int.from_bytes(max_size, "big") - 28, MAX_ROOM))


def address(number: int) -> str:
    """Spell an address."""
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def addresses(values: Sequence[str]) -> bytes:
    """Write a list of addresses as an option wants it."""
    return b"".join(IPv4Address(value).packed for value in values)
