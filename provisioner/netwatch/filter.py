"""What netwatch hears of an interface, as a program for the kernel's classic BPF (socket(7), SO_ATTACH_FILTER). No I/O.

All other traffic of the host never reaches the process: not the DHCP load that the daemon answers, not ARP between
others. Frames of a VLAN are none of this interface's, though the kernel shows them without their tag.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence

LDW, LDH, LDB, LDH_X, LDB_X, LDX_IP = 0x20, 0x28, 0x30, 0x48, 0x50, 0xB1  # linux/bpf_common.h
JEQ, JSET, RET = 0x15, 0x45, 0x06
VLAN_TAG_PRESENT = 0xFFFFF000 + 48  # SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT, linux/filter.h
ALL = 0xFFFF
SERVER_PORT, SERVER_PORT6 = 67, 547
ROUTER_ADVERTISEMENT = 134

Line = tuple[str, int, int, str, str]
"""Label, operation, operand, where to go if so, where to go if not (empty: the next line)."""


_OWN_TRAFFIC: tuple[Line, ...] = (
    ("", LDW, VLAN_TAG_PRESENT, "", ""),
    ("", JEQ, 0, "", "drop"),
    ("", LDH, 12, "", ""),  # EtherType
)
_END: tuple[Line, ...] = (("take", RET, ALL, "", ""), ("drop", RET, 0, "", ""))


def answers(identifier: int) -> Sequence[Line]:
    """What tells of an address in use: ARP replies, ARP probes of others, echo replies to `identifier`."""
    return (
        *_OWN_TRAFFIC,
        ("", JEQ, 0x0806, "arp", ""),
        ("", JEQ, 0x0800, "", "drop"),
        ("", LDB, 23, "", ""),  # protocol
        ("", JEQ, 1, "", "drop"),
        ("", LDX_IP, 14, "", ""),
        ("", LDB_X, 14, "", ""),
        ("", JEQ, 0, "", "drop"),  # echo reply
        ("", LDH_X, 18, "", ""),
        ("", JEQ, identifier, "take", "drop"),
        ("arp", LDH, 20, "", ""),
        ("", JEQ, 2, "take", ""),  # a reply
        ("", LDW, 28, "", ""),
        ("", JEQ, 0, "take", "drop"),  # a probe of somebody else: no sender address
        *_END,
    )


def servers() -> Sequence[Line]:
    """What DHCP servers of either family say, and routers of IPv6."""
    return (
        *_OWN_TRAFFIC,
        ("", JEQ, 0x86DD, "six", ""),
        ("", JEQ, 0x0800, "", "drop"),
        ("", LDB, 23, "", ""),  # protocol
        ("", JEQ, 17, "", "drop"),
        ("", LDH, 20, "", ""),  # fragments have no port
        ("", JSET, 0x1FFF, "drop", ""),
        ("", LDX_IP, 14, "", ""),
        ("", LDH_X, 14, "", ""),  # source port
        ("", JEQ, SERVER_PORT, "take", "drop"),
        ("six", LDB, 20, "", ""),  # next header
        ("", JEQ, 17, "udp", ""),
        ("", JEQ, 58, "", "drop"),
        ("", LDB, 54, "", ""),
        ("", JEQ, ROUTER_ADVERTISEMENT, "take", "drop"),
        ("udp", LDH, 54, "", ""),
        ("", JEQ, SERVER_PORT6, "take", "drop"),
        *_END,
    )


def assemble(program: Sequence[Line]) -> bytes:
    """Write `struct sock_filter` for each line; jumps go forward."""
    at = {label: number for number, (label, *_) in enumerate(program) if label}
    out = b""
    for number, (_, code, operand, so, otherwise) in enumerate(program):
        skip = [at[label] - number - 1 if label else 0 for label in (so, otherwise)]
        out += struct.pack("=HBBI", code, *skip, operand)
    return out


def attachment(code: bytes) -> tuple[bytes, object]:
    """Give `struct sock_fprog`, and what has to live until it was handed to the kernel."""
    room = ctypes.create_string_buffer(code, len(code))
    return struct.pack("HL", len(code) // 8, ctypes.addressof(room)), room
