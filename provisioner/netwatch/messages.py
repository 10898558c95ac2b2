"""What the daemon and netwatch say to each other, one MessagePack message to a datagram of a socket pair. No I/O.

The socket keeps messages apart and bounds how many wait. What netwatch cannot say is dropped and counted; the daemon
queues a bounded number of questions.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec

from provisioner.errors import WireError

MAX_BYTES = 8192
"""Of one message; the largest names every interface."""
MAX_DUID = 130
"""RFC 8415 section 11.1."""
MAX_EARS = 128
"""Interfaces that are listened on."""

Name = Annotated[str, msgspec.Meta(max_length=15)]
"""An interface (IFNAMSIZ less one); empty: none, the kernel routes."""
Ip = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)]
Hardware = Annotated[bytes, msgspec.Meta(max_length=16)]
Said = Annotated[str, msgspec.Meta(max_length=200)]


class Listen(msgspec.Struct, frozen=True, tag="listen"):
    """Listen on these interfaces and no others; on those of `six`, which are among them, `Ask6` will be asked."""

    interfaces: Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_EARS)]
    six: Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_EARS)] = ()


class Look(msgspec.Struct, frozen=True, tag="look"):
    """Say whether somebody uses `address`: on this interface, or wherever the kernel routes to it."""

    id: int
    interface: Name
    address: Ip
    us: Ip = 0
    """Our own address there, which answers go to; 0: none, and only ARP is asked."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Ask for an address on this interface, as firmware that nobody knows."""

    interface: Name


class Ask6(msgspec.Struct, frozen=True, tag="ask6"):
    """Ask for an IPv6 address on this interface, as a machine that nobody knows."""

    interface: Name


Request = Listen | Look | Ask | Ask6


class Kind(StrEnum):
    """What a DHCP server said, or a router."""

    OFFER = "offer"
    ACK = "ack"
    NAK = "nak"
    ADVERTISE = "advertise"
    REPLY = "reply"
    ROUTER = "router"


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """netwatch listens; it takes half a second to start."""


class Looked(msgspec.Struct, frozen=True, tag="looked"):
    """Who uses the address, empty where nobody answered."""

    id: int
    user: Said


class Heard(msgspec.Struct, frozen=True, tag="heard"):
    """A DHCP server's message came in on this interface."""

    interface: Name
    kind: Kind
    server: Ip
    mac: Hardware
    """Who sent the frame: the server, or the relay or router that it lies behind."""
    client: Hardware
    address: Ip
    """What was given; 0 where a server has only boot information."""
    asked: bool
    """It answers our own question."""


class Heard6(msgspec.Struct, frozen=True, tag="heard6"):
    """A DHCPv6 server's message or a router's advertisement came in on this interface."""

    interface: Name
    kind: Kind
    server: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    """The address that it came from."""
    mac: Hardware
    asked: bool
    """It answers our own question."""
    duid: Annotated[bytes, msgspec.Meta(max_length=MAX_DUID)] = b""
    """Who the server says that it is; empty of a router."""


class Deaf(msgspec.Struct, frozen=True, tag="deaf"):
    """An interface that cannot be listened on, and why; empty `why`: it can again.

    Where it is `six`, it is listened on, but nothing can be asked in IPv6.
    """

    interface: Name
    why: Said
    six: bool = False


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """A question has left on this interface: `Ask`, or `Ask6` where it is `six`."""

    interface: Name
    six: bool


class Tally(msgspec.Struct, frozen=True, tag="tally"):
    """Counters since the start: probes that were too many, messages of servers that were left unread."""

    refused: int
    unread: int


Report = Ready | Looked | Heard | Heard6 | Asked | Deaf | Tally

M = TypeVar("M")

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request] = msgspec.msgpack.Decoder(Request)
_reports: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def encode(message: Request | Report) -> bytes:
    """Write a message."""
    return _encoder.encode(message)


def decode_request(data: bytes) -> Request:
    """Read what the daemon asks; raise `WireError`."""
    return _decode(_requests, data)


def decode_report(data: bytes) -> Report:
    """Read what netwatch says; raise `WireError`."""
    return _decode(_reports, data)


def _decode(decoder: msgspec.msgpack.Decoder[M], data: bytes) -> M:
    if len(data) > MAX_BYTES:
        raise WireError(f"a message of {len(data)} octets, at most {MAX_BYTES}")
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WireError(f"not a message of netwatch: {error}") from error
