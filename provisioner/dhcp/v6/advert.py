"""Router solicitations and advertisements: bytes <-> values (RFC 4861 sections 4.1, 4.2, 4.6). No I/O."""

from __future__ import annotations

import struct
from typing import NamedTuple

from provisioner.wire import Cursor

ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
MANAGED, OTHER = 0x80, 0x40
SOURCE_LINK_ADDRESS, PREFIX_INFORMATION, MTU = 1, 3, 5
ON_LINK = 0x80
HOP_LIMIT = 64
_HEAD = struct.Struct("!BBHBBHII")


class Prefix(NamedTuple):
    """A network that is on this link; addresses in it come by DHCPv6, not by autoconfiguration."""

    network: bytes
    length: int
    valid_s: int = 86400
    preferred_s: int = 14400


class Advert(NamedTuple):
    """One advertisement. `lifetime_s` 0: there is a link, but we route nothing."""

    managed: bool
    lifetime_s: int = 0
    mac: bytes = b""
    prefixes: tuple[Prefix, ...] = ()


def encode(advert: Advert) -> bytes:
    """Write it; the kernel fills in the checksum (RFC 3542 section 3.1)."""
    # O without a DHCPv6 server behind it costs iPXE 13 s: it asks for information and waits for the answer
    flags = MANAGED | OTHER if advert.managed else 0
    found = _HEAD.pack(ROUTER_ADVERTISEMENT, 0, 0, HOP_LIMIT, flags, advert.lifetime_s, 0, 0)
    for prefix in advert.prefixes:
        found += struct.pack(
            "!BBBBIII", PREFIX_INFORMATION, 4, prefix.length, ON_LINK, prefix.valid_s, prefix.preferred_s, 0
        )
        found += prefix.network
    if len(advert.mac) == 6:
        found += bytes((SOURCE_LINK_ADDRESS, 1)) + advert.mac
    return found


def is_solicitation(data: bytes) -> bool:
    """Say whether this asks for an advertisement; raise `WireError` where it is cut short."""
    cursor = Cursor(data)
    kind, code = cursor.u8(), cursor.u8()
    cursor.take(6)
    while cursor.left:
        cursor.u8()
        cursor.take(max(cursor.u8(), 1) * 8 - 2)
    return kind == ROUTER_SOLICITATION and code == 0
