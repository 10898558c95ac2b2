"""RMCP, ASF and both IPMI session headers (IPMI v2.0 sections 13.1 to 13.6, ASF 2.0 section 3.2). No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from provisioner.errors import WireError
from provisioner.lab.ipmi.crypto import Keys
from provisioner.wire import Cursor

RMCP = b"\x06\x00\xff"
CLASS_ASF = 0x06
CLASS_IPMI = 0x07
ASF_IANA = (4542).to_bytes(4, "big")
PING = 0x80
PONG = 0x40
PLAIN = 0x00
RMCP_PLUS = 0x06
ENCRYPTED = 0x80
SEALED = 0x40
NEXT_HEADER = b"\x07"


class Payload(IntEnum):
    """Payload types (table 13-16)."""

    IPMI = 0x00
    SOL = 0x01
    OPEN_REQUEST = 0x10
    OPEN_RESPONSE = 0x11
    RAKP1 = 0x12
    RAKP2 = 0x13
    RAKP3 = 0x14
    RAKP4 = 0x15


@dataclass(frozen=True, slots=True)
class Ping:
    """An ASF presence ping: is there anybody who speaks RMCP?"""

    tag: int


@dataclass(frozen=True, slots=True)
class Plain:
    """An IPMI 1.5 packet without authentication: what is asked before there is a session."""

    payload: bytes
    sequence: int = 0
    session: int = 0


@dataclass(frozen=True, slots=True)
class Plus:
    """An RMCP+ packet as it came: `payload` still encrypted where it says so, `trailer` behind it with the seal."""

    type: int
    payload: bytes
    session: int = 0
    sequence: int = 0
    encrypted: bool = False
    sealed: bool = False
    trailer: bytes = b""
    covered: bytes = b""


Packet = Ping | Plain | Plus


def decode(data: bytes) -> Packet:
    """Read one datagram; raise `WireError`."""
    cursor = Cursor(data)
    version, _, _, kind = cursor.take(4)
    if version != RMCP[0]:
        raise WireError(f"RMCP version {version:#04x}, 0x06 wanted")
    if kind == CLASS_ASF:
        return _ping(cursor)
    if kind != CLASS_IPMI:
        raise WireError(f"RMCP class {kind:#04x}: neither ASF nor IPMI")
    match cursor.u8():
        case 0x00:
            return _plain(cursor)
        case 0x06:
            return _plus(cursor)
        case other:
            raise WireError(f"authentication type {other:#04x}: IPMI 1.5 sessions are not offered")


def _little(cursor: Cursor, size: int) -> int:
    return int.from_bytes(cursor.take(size), "little")


def _ping(cursor: Cursor) -> Ping:
    if cursor.take(4) != ASF_IANA:
        raise WireError("an ASF message of another enterprise")
    kind, tag, _, _ = cursor.take(4)
    if kind != PING:
        raise WireError(f"ASF message type {kind:#04x}: not a ping")
    return Ping(tag)


def _plain(cursor: Cursor) -> Plain:
    sequence, session = _little(cursor, 4), _little(cursor, 4)
    return Plain(cursor.take(cursor.u8()), sequence, session)


def _plus(cursor: Cursor) -> Plus:
    flags = cursor.u8()
    session, sequence = _little(cursor, 4), _little(cursor, 4)
    payload = cursor.take(_little(cursor, 2))
    covered = cursor.data[4 : cursor.at]
    encrypted, sealed = bool(flags & ENCRYPTED), bool(flags & SEALED)
    return Plus(flags & 0x3F, payload, session, sequence, encrypted, sealed, cursor.rest(), covered)


def open_sealed(packet: Plus, keys: Keys) -> bytes:
    """The payload of a session's packet, after its seal was checked; raise `WireError`."""
    size = keys.suite.seal_bytes
    trailer, seal = packet.trailer[:-size], packet.trailer[-size:]
    if not packet.sealed or trailer[-1:] != NEXT_HEADER:
        raise WireError("a packet of a session without its seal")
    if not keys.is_sealed(packet.covered + trailer, seal):
        raise WireError("wrong seal")
    return keys.decrypt(packet.payload) if packet.encrypted else packet.payload


def encode_pong(tag: int) -> bytes:
    """The answer to a ping: IPMI and ASF 1.0 are spoken here (ASF 2.0 section 3.2.4.3)."""
    body = ASF_IANA + bytes(4) + b"\x81" + bytes(7)
    return RMCP + bytes((CLASS_ASF,)) + ASF_IANA + bytes((PONG, tag, 0, len(body))) + body


def encode_ping(tag: int) -> bytes:
    return RMCP + bytes((CLASS_ASF,)) + ASF_IANA + bytes((PING, tag, 0, 0))


def encode_plain(packet: Plain) -> bytes:
    head = packet.sequence.to_bytes(4, "little") + packet.session.to_bytes(4, "little")
    return RMCP + bytes((CLASS_IPMI, PLAIN)) + head + bytes((len(packet.payload),)) + packet.payload


def encode_plus(kind: int, payload: bytes, session: int = 0, sequence: int = 0) -> bytes:
    """A packet outside a session: the handshake."""
    return RMCP + bytes((CLASS_IPMI,)) + _plus_header(kind, session, sequence, len(payload)) + payload


def encode_sealed(kind: int, payload: bytes, session: int, sequence: int, keys: Keys, iv: bytes) -> bytes:
    """A session's packet, encrypted and sealed. `session` is the id that the receiver chose."""
    secret = keys.encrypt(payload, iv)
    covered = _plus_header(kind | ENCRYPTED | SEALED, session, sequence, len(secret)) + secret
    count = -(len(covered) + 2) % 4
    covered += b"\xff" * count + bytes((count,)) + NEXT_HEADER
    return RMCP + bytes((CLASS_IPMI,)) + covered + keys.seal(covered)


def _plus_header(flags: int, session: int, sequence: int, size: int) -> bytes:
    numbers = session.to_bytes(4, "little") + sequence.to_bytes(4, "little") + size.to_bytes(2, "little")
    return bytes((RMCP_PLUS, flags)) + numbers
