"""Captures of packets: pcap and pcapng files -> UDP datagrams. No I/O.

draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, and the link types of tcpdump.org/linktypes.html that captures of
DHCP come with. What is not UDP is passed over; a file that is no capture, or is cut off, is a `WireError`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from provisioner.errors import WireError

_MAGIC = {
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
}
_SECTION, _INTERFACE, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 3, 6
_ORDER = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_TIMESTAMP_RESOLUTION = 9
_VLAN = frozenset({0x8100, 0x88A8, 0x9100})
_IP = frozenset({0x0800, 0x86DD})
_UDP = 17
MAX_FRAME = 1 << 18
"""Longest frame that is believed (the largest snap length that tcpdump writes)."""


class Datagram(NamedTuple):
    """One UDP datagram; `at` in seconds since the epoch."""

    at: float
    source: str
    target: str
    source_port: int
    target_port: int
    payload: bytes
    cut: str = ""
    """How much of its frame the capture has, where the payload is not all there for that."""


class _Frame(NamedTuple):
    at: float
    link: int
    data: bytes
    size: int
    """Bytes of it on the wire; `data` has fewer where the capture was made with a snap length."""


def datagrams(raw: bytes) -> Iterator[Datagram]:
    """Give the UDP datagrams of a capture file, in its order; raise `WireError`."""
    frames = _pcapng(raw) if raw[:4] == b"\x0a\x0d\x0d\x0a" else _pcap(raw)
    for frame in frames:
        strip = _LINKS.get(frame.link)
        if strip is None:
            raise WireError(f"link type {frame.link} is not read", hint="capture on one interface: tcpdump -i eth1")
        packet = strip(frame.data)
        if packet and (found := _udp(frame, packet)) is not None:
            yield found


def _pcap(raw: bytes) -> Iterator[_Frame]:
    order, unit = _MAGIC.get(raw[:4], ("", 0.0))
    if not order or len(raw) < 24:
        raise WireError("neither pcap nor pcapng", hint="make one with `tcpdump -w FILE`")
    link = struct.unpack_from(f"{order}I", raw, 20)[0] & 0xFFFF
    head, at = struct.Struct(f"{order}4I"), 24
    while at < len(raw):
        if at + head.size > len(raw):
            raise WireError(f"cut off at byte {at}")
        seconds, fraction, size, whole = head.unpack_from(raw, at)
        at += head.size
        yield _Frame(seconds + fraction * unit, link, _cut(raw, at, size), whole)
        at += size


def _cut(raw: bytes, at: int, size: int) -> bytes:
    if size > MAX_FRAME or at + size > len(raw):
        raise WireError(f"a frame of {size} bytes at byte {at} of {len(raw)}")
    return raw[at : at + size]


def _pcapng(raw: bytes) -> Iterator[_Frame]:
    order, at = "<", 0
    interfaces: list[tuple[int, float]] = []
    while at < len(raw):
        if raw[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order, interfaces = _ORDER.get(raw[at + 8 : at + 12], ""), []
            if not order:
                raise WireError(f"a section without byte order at byte {at}")
        if at + 12 > len(raw):
            raise WireError(f"cut off at byte {at}")
        kind, size = struct.unpack_from(f"{order}2I", raw, at)
        if size < 12 or size % 4 or at + size > len(raw):
            raise WireError(f"a block of {size} bytes at byte {at} of {len(raw)}")
        body = raw[at + 8 : at + size - 4]
        if kind == _INTERFACE:
            interfaces.append(_interface(body, order))
        elif kind in {_ENHANCED, _SIMPLE} and (frame := _packet(kind, body, order, interfaces)) is not None:
            yield frame
        at += size


def _interface(body: bytes, order: str) -> tuple[int, float]:
    """Read link type and unit of time of one interface."""
    if len(body) < 8:
        raise WireError("an interface block without link type")
    link, at, unit = struct.unpack_from(f"{order}H", body)[0], 8, 1e-6
    while at + 4 <= len(body):
        code, size = struct.unpack_from(f"{order}2H", body, at)
        if code == _TIMESTAMP_RESOLUTION and size == 1 and at + 4 < len(body):
            power = body[at + 4]
            unit = 2.0 ** -(power & 0x7F) if power & 0x80 else 10.0**-power
        at += 4 + (size + 3 & ~3)
    return link, unit


def _packet(kind: int, body: bytes, order: str, interfaces: list[tuple[int, float]]) -> _Frame | None:
    if kind == _SIMPLE:
        if not interfaces or len(body) <= 4:
            return None
        whole = struct.unpack_from(f"{order}I", body)[0]
        return _Frame(0.0, interfaces[0][0], body[4 : 4 + whole], whole)
    if len(body) < 20:
        raise WireError("a packet block without packet")
    number, high, low, size, whole = struct.unpack_from(f"{order}5I", body)
    if number >= len(interfaces):
        raise WireError(f"a packet of interface {number}, which the file does not have")
    link, unit = interfaces[number]
    return _Frame((high << 32 | low) * unit, link, _cut(body, 20, size), whole)


# from a frame to its datagram


def _tagged(data: bytes, protocol_at: int, at: int) -> bytes:
    """Strip a header of `at` bytes that has its protocol at `protocol_at`, and VLAN tags behind it; empty: not IP."""
    protocol = int.from_bytes(data[protocol_at : protocol_at + 2], "big")
    while protocol in _VLAN:
        protocol = int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
    return data[at:] if protocol in _IP else b""


_LINKS: dict[int, Callable[[bytes], bytes]] = {
    0: lambda data: data[4:],  # loopback of BSD: the address family, in the order of whoever captured
    1: lambda data: _tagged(data, 12, 14),  # Ethernet
    12: lambda data: data,  # raw IP, as OpenBSD and some others number it
    101: lambda data: data,  # raw IP
    108: lambda data: data[4:],  # loopback of OpenBSD
    113: lambda data: _tagged(data, 14, 16),  # tcpdump -i any, version 1
    228: lambda data: data,  # raw IPv4
    229: lambda data: data,  # raw IPv6
    276: lambda data: _tagged(data, 0, 20),  # and version 2
}


def _udp(frame: _Frame, packet: bytes) -> Datagram | None:
    """Read a UDP datagram out of a packet; None for all others, and for pieces of one."""
    return _udp6(frame, packet) if packet[0] >> 4 == 6 else _udp4(frame, packet)


def _udp6(frame: _Frame, packet: bytes) -> Datagram | None:
    """The same over IPv6 (RFC 8200 section 3): DHCPv6 comes without extension headers."""
    if len(packet) < 48 or packet[6] != _UDP:
        return None
    return _datagram(frame, packet, 40, str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40])))


def _udp4(frame: _Frame, packet: bytes) -> Datagram | None:
    """The same over IPv4 (RFC 791, RFC 768)."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != _UDP:
        return None
    head = (packet[0] & 15) * 4
    if int.from_bytes(packet[6:8], "big") & 0x3FFF or len(packet) < head + 8 or head < 20:
        return None
    return _datagram(frame, packet, head, str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20])))


def _datagram(frame: _Frame, packet: bytes, head: int, source: str, target: str) -> Datagram:
    source_port, target_port, size = struct.unpack_from("!3H", packet, head)
    is_cut = len(packet) < head + size and len(frame.data) < frame.size
    cut = f"the capture has only {len(frame.data)} of its {frame.size} bytes" if is_cut else ""
    return Datagram(frame.at, source, target, source_port, target_port, packet[head + 8 : head + max(size, 8)], cut)
