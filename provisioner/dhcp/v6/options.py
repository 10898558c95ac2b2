"""DHCPv6 options: codes, rows of options, and what is inside those that rules name (RFC 8415 section 21). No I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from provisioner.errors import WireError
from provisioner.wire import Cursor

Options = tuple[tuple[int, bytes], ...]
"""Options in their order; a code may come more than once."""
OPTIONS_LIMIT = 128
"""Options in one row: real messages have under 20, a datagram of empty ones would have 16,000."""
MAX_LENGTH = 0xFFFF


class Opt:
    """The options that rules and codecs of ours name. IANA "Dynamic Host Configuration Protocol for IPv6", options."""

    CLIENT_ID = 1
    SERVER_ID = 2
    IA_NA = 3
    IA_TA = 4
    IA_ADDRESS = 5
    REQUEST_LIST = 6
    PREFERENCE = 7
    ELAPSED_TIME = 8
    RELAY_MESSAGE = 9
    AUTHENTICATION = 11
    STATUS = 13
    RAPID_COMMIT = 14
    USER_CLASS = 15
    VENDOR_CLASS = 16
    INTERFACE_ID = 18
    DNS = 23
    DOMAIN_SEARCH = 24
    IA_PD = 25
    REFRESH_TIME = 32
    REMOTE_ID = 37
    SUBSCRIBER_ID = 38
    FQDN = 39
    NTP = 56
    BOOT_URL = 59
    BOOT_PARAMETERS = 60
    CLIENT_ARCH = 61
    INTERFACE_TYPE = 62
    LINK_LAYER_ADDRESS = 79
    RELAY_PORT = 135


class Status(IntEnum):
    """Status codes (RFC 8415 section 21.13)."""

    SUCCESS = 0
    UNSPECIFIED = 1
    NO_ADDRESSES = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5
    NO_PREFIX = 6


class Ia(NamedTuple):
    """An identity association: what a client wants addresses (3: lasting, 4: temporary) or prefixes (25) for."""

    code: int
    iaid: bytes
    t1_s: int = 0
    t2_s: int = 0
    options: Options = ()


class IaAddress(NamedTuple):
    """One address in an identity association; `ip` as a number."""

    ip: int
    preferred_s: int = 0
    valid_s: int = 0
    options: Options = ()


FOR_EVER = 0xFFFFFFFF
_ADDRESS = struct.Struct("!16sII")


def decode_options(cursor: Cursor) -> Options:
    """Read a row of options to the end of the window; raise `WireError`."""
    found: list[tuple[int, bytes]] = []
    while cursor.left:
        if len(found) == OPTIONS_LIMIT:
            raise WireError(f"more than {OPTIONS_LIMIT} options at byte {cursor.at}")
        code = cursor.u16()
        found.append((code, cursor.take(cursor.u16())))
    return tuple(found)


def encode_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Write a row of options."""
    return b"".join(encode_option(code, value) for code, value in options)


def encode_option(code: int, value: bytes) -> bytes:
    """Write one; raise `WireError` where the value is too long."""
    if len(value) > MAX_LENGTH:
        raise WireError(f"option {code} with {len(value)} bytes; at most {MAX_LENGTH} fit")
    return struct.pack("!HH", code, len(value)) + value


def first(options: Options, code: int) -> bytes | None:
    """Give the first option of this code; None without one."""
    for each, value in options:
        if each == code:
            return value
    return None


def every(options: Options, code: int) -> list[bytes]:
    """Give all options of this code."""
    return [value for each, value in options if each == code]


def decode_ia(code: int, value: bytes) -> Ia:
    """Read an IA_NA, IA_TA or IA_PD; raise `WireError`."""
    cursor = Cursor(value)
    iaid = cursor.take(4)
    t1_s, t2_s = (0, 0) if code == Opt.IA_TA else (cursor.u32(), cursor.u32())
    return Ia(code, iaid, t1_s, t2_s, decode_options(cursor))


def encode_ia(ia: Ia) -> tuple[int, bytes]:
    """Write one, as an option."""
    times = b"" if ia.code == Opt.IA_TA else struct.pack("!II", ia.t1_s, ia.t2_s)
    return ia.code, ia.iaid + times + encode_options(ia.options)


def decode_address(value: bytes) -> IaAddress:
    """Read an IA Address; raise `WireError`."""
    cursor = Cursor(value)
    ip = cursor.number(16)
    return IaAddress(ip, cursor.u32(), cursor.u32(), decode_options(cursor))


def encode_address(address: IaAddress) -> tuple[int, bytes]:
    """Write one, as an option."""
    head = _ADDRESS.pack(address.ip.to_bytes(16, "big"), address.preferred_s, address.valid_s)
    return Opt.IA_ADDRESS, head + encode_options(address.options)


def addresses_in(ia: Ia) -> list[IaAddress]:
    """Give the addresses that an IA names."""
    return [decode_address(value) for value in every(ia.options, Opt.IA_ADDRESS)]


def status(code: Status, text: str = "") -> tuple[int, bytes]:
    """Write a status, as an option."""
    return Opt.STATUS, struct.pack("!H", code) + text.encode("utf-8")


def decode_status(value: bytes | None) -> tuple[int, str]:
    """Read a status; none means success (RFC 8415 section 21.13). Raise `WireError`."""
    if value is None:
        return Status.SUCCESS, ""
    cursor = Cursor(value)
    return cursor.u16(), cursor.rest().decode("utf-8", "replace")


def numbers(value: bytes | None) -> tuple[int, ...]:
    """Read a row of two-byte numbers (options 6 and 61); raise `WireError`."""
    if value is None:
        return ()
    if len(value) % 2:
        raise WireError(f"{len(value)} bytes are no row of two-byte numbers")
    return struct.unpack(f"!{len(value) // 2}H", value)


def texts(value: bytes) -> tuple[bytes, ...]:
    """Read a row of texts with two-byte lengths (options 15, 60, and 16 after its number); raise `WireError`."""
    cursor, found = Cursor(value), []
    while cursor.left:
        found.append(cursor.take(cursor.u16()))
    return tuple(found)


def encode_texts(values: Iterable[bytes]) -> bytes:
    """Write such a row."""
    return b"".join(struct.pack("!H", len(value)) + value for value in values)


def user_classes(value: bytes | None) -> tuple[bytes, ...]:
    """Read option 15; text without its lengths, as some firmware sends it, is one class."""
    try:
        return texts(value or b"")
    except WireError:
        return (value or b"",)


class VendorClass(NamedTuple):
    """Option 16: whose words (IANA enterprise number), and the words."""

    enterprise: int
    classes: tuple[bytes, ...]


def vendor_class(value: bytes | None) -> VendorClass | None:
    """Read option 16; None without one. Raise `WireError`."""
    if value is None:
        return None
    cursor = Cursor(value)
    return VendorClass(cursor.u32(), texts(cursor.rest()))


def encode_vendor_class(found: VendorClass) -> bytes:
    """Write option 16."""
    return struct.pack("!I", found.enterprise) + encode_texts(found.classes)


def client_name(value: bytes | None) -> str:
    """Read the host's own name out of option 39 (RFC 4704): its first label, safe to show; empty for none."""
    if value is None or len(value) < 2 or not 0 < value[1] < 64:
        return ""
    return "".join(chr(c) if 32 < c < 127 else "?" for c in value[2 : 2 + value[1]])


def link_layer_address(value: bytes | None) -> bytes:
    """Read the client's Ethernet address as its relay saw it (RFC 6939); empty for none, or another hardware."""
    if value is None or len(value) != 8 or value[:2] != b"\0\1":
        return b""
    return value[2:]
