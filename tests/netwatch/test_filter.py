"""Which frames reach netwatch, as the kernel itself decides it: the filters are put on a socket of the test's own."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

import pytest

from provisioner.netwatch import filter as bpf

SO_ATTACH_FILTER = 26
IDENTIFIER = 0x4711
MACS = bytes(12)


def arp(operation: int, sender: bytes) -> bytes:
    return MACS + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation) + bytes(6) + sender + bytes(10)


def ip(protocol: int, payload: bytes, *, options: bytes = b"", fragment: int = 0) -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack("!BBHHHBBHII", 0x40 + words, 0, 20 + len(payload), 0, fragment, 64, protocol, 0, 1, 2)
    return MACS + struct.pack("!H", 0x0800) + head + options + payload


def echo(kind: int, identifier: int = IDENTIFIER, options: bytes = b"") -> bytes:
    return ip(1, struct.pack("!BBHHH", kind, 0, 0, identifier, 1), options=options)


def udp(source: int, options: bytes = b"", fragment: int = 0) -> bytes:
    return ip(17, struct.pack("!HHHH", source, 68, 8, 0), options=options, fragment=fragment)


OTHER = MACS + struct.pack("!H", 0x86DD) + bytes(40)


def ip6(following: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 6 << 28, len(payload), following, 255) + bytes(32)
    return MACS + struct.pack("!H", 0x86DD) + head + payload


def udp6(source: int) -> bytes:
    return ip6(17, struct.pack("!HHHH", source, 546, 8, 0))


ANSWERS = {
    "an ARP reply": (arp(2, b"\x0a\x00\x00\x05"), True),
    "an ARP probe of somebody else": (arp(1, bytes(4)), True),
    "an ARP question between others": (arp(1, b"\x0a\x00\x00\x05"), False),
    "an echo reply to us": (echo(0), True),
    "an echo reply to us, with IP options": (echo(0, options=bytes(8)), True),
    "an echo reply to somebody else": (echo(0, 1), False),
    "an echo request": (echo(8), False),
    "a datagram": (udp(67), False),
    "IPv6": (OTHER, False),
    "a frame that is cut": (arp(2, b"\x0a\x00\x00\x05")[:16], False),
}
SERVERS = {
    "from a DHCP server": (udp(67), True),
    "from a DHCP server, with IP options": (udp(67, options=bytes(12)), True),
    "from a client": (udp(68), False),
    "a later fragment, which has no port": (udp(67, fragment=1), False),
    "an echo reply": (echo(0), False),
    "an ARP reply": (arp(2, b"\x0a\x00\x00\x05"), False),
    "from a DHCPv6 server": (udp6(547), True),
    "from a DHCPv6 client": (udp6(546), False),
    "a router's advertisement": (ip6(58, bytes((134,)) + bytes(15)), True),
    "a router's solicitation": (ip6(58, bytes((133,)) + bytes(7)), False),
    "other IPv6": (OTHER, False),
}


def passes(program: Sequence[bpf.Line], frame: bytes) -> bool:
    """Put the filter on a socket, send the frame to it, see whether it arrives."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        ours.setblocking(False)
        fprog, _alive = bpf.attachment(bpf.assemble(program))
        ours.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
        theirs.send(frame)
        try:
            return ours.recv(2048) == frame
        except BlockingIOError:
            return False


@pytest.mark.parametrize(("frame", "heard"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_tells_of_an_address_in_use(frame: bytes, heard: bool) -> None:
    assert passes(bpf.answers(IDENTIFIER), frame) is heard


@pytest.mark.parametrize(("frame", "heard"), SERVERS.values(), ids=SERVERS.keys())
def test_what_dhcp_servers_say(frame: bytes, heard: bool) -> None:
    assert passes(bpf.servers(), frame) is heard


def test_frames_of_a_vlan_are_none_of_this_interfaces() -> None:
    """The kernel takes the tag off and keeps it beside the frame: both programs ask for it first."""
    for program in (bpf.answers(1), bpf.servers()):
        assert list(program[:2]) == [("", bpf.LDW, bpf.VLAN_TAG_PRESENT, "", ""), ("", bpf.JEQ, 0, "", "drop")]
