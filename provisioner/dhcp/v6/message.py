"""DHCPv6 messages, and those that relays wrap them in: bytes <-> values (RFC 8415 sections 8 and 9). No I/O."""

from __future__ import annotations

import struct
from enum import IntEnum
from ipaddress import IPv6Address
from typing import NamedTuple

from provisioner.dhcp.v6.options import Opt, Options, decode_options, encode_options, first
from provisioner.errors import WireError
from provisioner.wire import Cursor

HOPS_LIMIT = 8
"""Relays between client and server (HOP_COUNT_LIMIT, RFC 8415 section 7.6)."""


class Type(IntEnum):
    """Message types."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    RECONFIGURE = 10
    INFORMATION_REQUEST = 11
    RELAY_FORWARD = 12
    RELAY_REPLY = 13


RELAYED = frozenset({Type.RELAY_FORWARD, Type.RELAY_REPLY})


class Hop(NamedTuple):
    """What one relay says: where the client is (`link`), whom it heard (`peer`), and its options but the message."""

    type: int
    hops: int
    link: int
    peer: int
    options: Options = ()


class Message(NamedTuple):
    """One message of a client or server, with the relays that it came by, the one nearest to the server first."""

    type: int
    xid: int
    options: Options = ()
    hops: tuple[Hop, ...] = ()

    def option(self, code: int) -> bytes | None:
        """Give the first option of this code; None without one."""
        return first(self.options, code)


def decode(data: bytes) -> Message:
    """Read one message; raise `WireError`."""
    hops: list[Hop] = []
    while data[:1] and data[0] in RELAYED:
        if len(hops) == HOPS_LIMIT:
            raise WireError(f"more than {HOPS_LIMIT} relays")
        hop, data = _decode_hop(data)
        hops.append(hop)
        if hop.type != hops[0].type:
            raise WireError("a relay's reply and a relay's question in one")
    cursor = Cursor(data)
    kind, xid = cursor.u8(), cursor.number(3)
    return Message(kind, xid, decode_options(cursor), tuple(hops))


def _decode_hop(data: bytes) -> tuple[Hop, bytes]:
    cursor = Cursor(data)
    kind, hops, link, peer = cursor.u8(), cursor.u8(), cursor.number(16), cursor.number(16)
    options = decode_options(cursor)
    inner = first(options, Opt.RELAY_MESSAGE)
    if inner is None:
        raise WireError("a relay's message with no message in it")
    return Hop(kind, hops, link, peer, tuple(each for each in options if each[0] != Opt.RELAY_MESSAGE)), inner


def encode(message: Message) -> bytes:
    """Write a message, wrapped for the relays that it goes by; raise `WireError` where it is too long."""
    data = struct.pack("!I", message.type << 24 | message.xid) + encode_options(message.options)
    for hop in reversed(message.hops):
        addresses = hop.link.to_bytes(16, "big") + hop.peer.to_bytes(16, "big")
        options = encode_options((*hop.options, (Opt.RELAY_MESSAGE, data)))
        data = bytes((hop.type, hop.hops)) + addresses + options
    return data


def address(number: int) -> str:
    """Spell an address."""
    return str(IPv6Address(number))
