"""TFTP packets: bytes to values and back (RFC 1350 section 5, RFC 2347). No I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from provisioner.errors import WireError

MAX_OPTIONS = 16
"""Options read from one request; four are known, the rest is ignored. More is nobody's firmware."""


class Opcode(IntEnum):
    """RFC 1350 section 5; OACK from RFC 2347."""

    RRQ = 1
    WRQ = 2
    DATA = 3
    ACK = 4
    ERROR = 5
    OACK = 6


class ErrorCode(IntEnum):
    """RFC 1350 appendix; 8 from RFC 2347."""

    UNDEFINED = 0
    NOT_FOUND = 1
    ACCESS_VIOLATION = 2
    DISK_FULL = 3
    ILLEGAL_OPERATION = 4
    UNKNOWN_TRANSFER_ID = 5
    FILE_EXISTS = 6
    NO_SUCH_USER = 7
    OPTION_REFUSED = 8


class Mode(StrEnum):
    """How the content travels. RFC 1350's third mode, mail, is obsolete."""

    OCTET = "octet"
    NETASCII = "netascii"


Options = tuple[tuple[str, str], ...]
"""Names in lower case (RFC 2347: case is ignored), values as they came."""


@dataclass(frozen=True, slots=True)
class Request:
    """A read or a write request. `name` is what the peer sent, one character an octet: look it up, never open it."""

    name: str
    mode: Mode
    options: Options = ()
    write: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """One block. `block` is its 16-bit number as it stands on the wire."""

    block: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to `block` arrived; 0 acknowledges an OACK."""

    block: int


@dataclass(frozen=True, slots=True)
class OptionAck:
    """The options that the server accepted, with the values that count."""

    options: Options


@dataclass(frozen=True, slots=True)
class Error:
    """The end of a transfer. `code` may be one that no RFC names."""

    code: int
    message: str


Packet = Request | Data | Ack | OptionAck | Error


def decode(data: bytes) -> Packet:
    """Read one datagram; raise `WireError` for whatever is not TFTP."""
    if len(data) < 4:
        raise WireError(f"{len(data)} octets are no TFTP packet: {data.hex()}")
    opcode, number = struct.unpack_from(">HH", data)
    match opcode:
        case Opcode.RRQ | Opcode.WRQ:
            return _decode_request(data[2:], write=opcode == Opcode.WRQ)
        case Opcode.DATA:
            return Data(number, data[4:])
        case Opcode.ACK:
            return Ack(number)  # trailing octets are ignored: some ROMs send a whole Ethernet frame's padding
        case Opcode.ERROR:
            return Error(number, data[4:].split(b"\0", 1)[0].decode("latin-1"))
        case Opcode.OACK:
            return OptionAck(_decode_options(_strings(data[2:])))
    raise WireError(f"opcode {opcode} is not one of TFTP's")


def _decode_request(body: bytes, *, write: bool) -> Request:
    strings = _strings(body)
    if len(strings) < 2:
        raise WireError("a request needs a file name and a mode, each ended by a zero octet")
    name, mode = strings[0], strings[1].lower()
    if mode not in (Mode.OCTET, Mode.NETASCII):
        raise WireError(f"mode {mode[:20]!r} is neither octet nor netascii")
    return Request(name, Mode(mode), _decode_options(strings[2:]), write)


def _strings(body: bytes) -> list[str]:
    """Split strings that each end with a zero octet; what follows the last zero is left out."""
    return [part.decode("latin-1") for part in body.split(b"\0")[:-1]]


def _decode_options(strings: list[str]) -> Options:
    """Pair names with values. An empty name ends the list: firmware pads requests with zeros."""
    options: list[tuple[str, str]] = []
    for name, value in zip(strings[0::2], strings[1::2], strict=False):
        if not name or len(options) == MAX_OPTIONS:
            break
        options.append((name.lower(), value))
    return tuple(options)


def encode(packet: Packet) -> bytes:
    """Write one datagram; raise `WireError` where a string does not fit."""
    match packet:
        case Request(name, mode, options, write):
            opcode = Opcode.WRQ if write else Opcode.RRQ
            return struct.pack(">H", opcode) + _join((name, mode, *_flat(options)))
        case Data(block, payload):
            return struct.pack(">HH", Opcode.DATA, block) + payload
        case Ack(block):
            return struct.pack(">HH", Opcode.ACK, block)
        case OptionAck(options):
            return struct.pack(">H", Opcode.OACK) + _join(_flat(options))
        case Error(code, message):
            return struct.pack(">HH", Opcode.ERROR, code) + _join((message,))


def _flat(options: Options) -> Iterable[str]:
    return (text for pair in options for text in pair)


def _join(strings: Iterable[str]) -> bytes:
    out = bytearray()
    for text in strings:
        try:
            octets = text.encode("latin-1")
        except UnicodeEncodeError:
            raise WireError(f"{text[:40]!r} has characters that an octet cannot hold") from None
        if 0 in octets:
            raise WireError(f"{text[:40]!r} holds a zero octet")
        out += octets + b"\0"
    return bytes(out)
