"""DHCPv4 options: codes, the walk over an option field, long options (RFC 2132, RFC 3396). No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from provisioner.errors import WireError

END = 255
PAD = 0
MAX_LENGTH = 255
"""Most bytes that one option can carry; longer values are split (RFC 3396 section 5)."""


class Opt:
    """The options that rules and codecs of ours name. IANA "BOOTP Vendor Extensions and DHCP Options".

    Plain numbers, not an enumeration: they are looked up thirty times a packet, and a member takes three times as long.
    """

    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    LOG_SERVER = 7
    HOST_NAME = 12
    DOMAIN_NAME = 15
    ROOT_PATH = 17
    MTU = 26
    BROADCAST = 28
    NTP = 42
    VENDOR_INFO = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    REQUEST_LIST = 55
    MESSAGE = 56
    MAX_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    RAPID_COMMIT = 80
    FQDN = 81
    RELAY_AGENT = 82
    CLIENT_ARCH = 93
    CLIENT_UUID = 97
    SUBNET_SELECTION = 118
    DOMAIN_SEARCH = 119
    CLASSLESS_ROUTES = 121
    IPXE = 175


class Type(IntEnum):
    """DHCP message types (option 53; RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


def walk(data: bytes, at: int, end: int, into: dict[int, bytes]) -> None:
    """Read the options in `data[at:end]` into `into`; parts of one option are joined (RFC 3396 section 7).

    A field without END is accepted (ROMs send it); one that is cut short raises `WireError`.
    """
    code = start = at
    try:
        while at < end:
            code, start = data[at], at
            if 0 < code < 255:  # PAD, END: written out, for this runs ten times a packet
                at = start + 2 + data[start + 1]
                if code in into:
                    into[code] += data[start + 2 : at]
                else:
                    into[code] = data[start + 2 : at]
            elif code:
                return
            else:
                at += 1
    except IndexError:
        raise WireError(f"option {code} at byte {start} has no length") from None
    if at > end:
        raise WireError(f"option {code} at byte {start} has {data[start + 1]} bytes, {end - start - 2} left")


def encode_option(code: int, value: bytes) -> bytes:
    """Write one option, split into parts where it is longer than 255 bytes."""
    length = len(value)
    if length <= MAX_LENGTH:
        return bytes((code, length)) + value
    parts = (value[at : at + MAX_LENGTH] for at in range(0, len(value), MAX_LENGTH))
    return b"".join(bytes((code, len(part))) + part for part in parts)


def encode_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Write options in this order, without END."""
    return b"".join(encode_option(code, value) for code, value in options)


def number_of(options: dict[int, bytes], code: int, size: int) -> int | None:
    """Read an unsigned number of exactly `size` bytes; None without the option; `WireError` for another length."""
    value = options.get(code)
    if value is None:
        return None
    if len(value) != size:
        raise WireError(f"option {code} has {len(value)} bytes instead of {size}")
    return int.from_bytes(value, "big")


def text_of(options: dict[int, bytes], code: int) -> str:
    """Read text that is safe to show: printable ASCII, `?` for all else, trailing NULs cut (firmware sends them)."""
    value = options.get(code, b"").rstrip(b"\0")
    return "".join(chr(c) if 32 <= c < 127 else "?" for c in value)
