"""UDP datagrams that go past the kernel's sockets: header bytes by hand (RFC 791, 8200, 768). No I/O."""

from __future__ import annotations

import struct

IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
IP6_HEADER = struct.Struct("!IHBB16s16s")
UDP_HEADER = struct.Struct("!4H")
UDP = 17
TTL = 64
DONT_FRAGMENT = 0x4000
VERSION_6 = 6 << 28


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def datagram(source: int, target: int, ports: tuple[int, int], payload: bytes) -> bytes:
    """Wrap `payload` for `target`, from `ports[0]` to `ports[1]`."""
    here, there = source.to_bytes(4, "big"), target.to_bytes(4, "big")
    size = UDP_HEADER.size + len(payload)
    pseudo = struct.pack("!4s4sBBH", here, there, 0, UDP, size)
    udp_sum = checksum(pseudo + UDP_HEADER.pack(*ports, size, 0) + payload) or 0xFFFF
    head = IP_HEADER.pack(0x45, 0, IP_HEADER.size + size, 0, DONT_FRAGMENT, TTL, UDP, 0, here, there)
    head = head[:10] + checksum(head).to_bytes(2, "big") + head[12:]
    return head + UDP_HEADER.pack(*ports, size, udp_sum) + payload


def datagram6(source: int, target: int, ports: tuple[int, int], payload: bytes) -> bytes:
    """The same for IPv6."""
    here, there = source.to_bytes(16, "big"), target.to_bytes(16, "big")
    size = UDP_HEADER.size + len(payload)
    pseudo = struct.pack("!16s16sII", here, there, size, UDP)
    udp_sum = checksum(pseudo + UDP_HEADER.pack(*ports, size, 0) + payload) or 0xFFFF
    head = IP6_HEADER.pack(VERSION_6, size, UDP, TTL, here, there)
    return head + UDP_HEADER.pack(*ports, size, udp_sum) + payload
