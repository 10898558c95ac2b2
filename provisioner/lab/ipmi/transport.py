"""LAN and serial-over-LAN parameters (IPMI v2.0 chapters 23 and 26). No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from provisioner.lab.board import RMCP_PORT, Network, Role
from provisioner.lab.ipmi.call import LAN_CHANNEL, Call, Table, little
from provisioner.lab.ipmi.crypto import SUITES
from provisioner.lab.ipmi.message import Code, NetFn, Refused

REVISION = 0x11
STATIC = 1
ADMIN_EACH = bytes(9)
BAUD_115200 = 0x0A


def _address(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


LAN: Mapping[int, Callable[[Network], bytes]] = {
    0: lambda _: b"\x00",
    1: lambda _: b"\x00",
    2: lambda _: bytes(5),
    3: lambda network: _address(network.address),
    4: lambda _: bytes((STATIC,)),
    5: lambda network: bytes.fromhex(network.mac.replace(":", "")),
    6: lambda network: _address(network.netmask),
    7: lambda _: b"\x40\x40\x10",
    10: lambda _: b"\x03",
    11: lambda _: b"\x00",
    12: lambda network: _address(network.gateway),
    13: lambda _: bytes(6),
    14: lambda _: bytes(4),
    15: lambda _: bytes(6),
    16: lambda _: b"public".ljust(18, b"\0"),
    17: lambda _: b"\x00",
    20: lambda _: b"\x00\x00",
    21: lambda _: b"\x00",
    22: lambda _: bytes((len(SUITES),)),
    23: lambda _: bytes((0, *(suite.number for suite in SUITES))).ljust(17, b"\0"),
    24: lambda _: bytes((0, *(Role.ADMINISTRATOR for _ in SUITES))).ljust(9, b"\0"),
    26: lambda _: bytes(6),
}
"""LAN parameters (table 23-4) by number."""

SOL: Mapping[int, bytes] = {
    0: b"\x00",
    1: b"\x01",
    2: bytes((0x80 | Role.OPERATOR,)),
    3: b"\x05\x60",
    4: b"\x07\x32",
    5: bytes((BAUD_115200,)),
    6: bytes((BAUD_115200,)),
    7: bytes((LAN_CHANNEL,)),
    8: little(RMCP_PORT, 2),
}
"""Serial-over-LAN parameters (table 26-5) by number."""


def get_lan(call: Call) -> bytes:
    if call.channel() != LAN_CHANNEL:
        raise Refused(Code.INVALID_FIELD)
    number = call.byte(1)
    if number not in LAN:
        raise Refused(Code.NOT_FOUND)
    kept = call.board.parameters.get(("lan", number))
    return bytes((REVISION,)) + (LAN[number](call.board.network) if kept is None else kept)


def set_lan(call: Call) -> bytes:
    """The board keeps what it is told and shows it; its real address belongs to the rack."""
    number = call.byte(1)
    if call.channel() != LAN_CHANNEL or number not in LAN:
        raise Refused(Code.NOT_FOUND)
    if number in (1, 5, 22, 23):
        raise Refused(Code.READ_ONLY)
    if number:
        call.board.parameters["lan", number] = call.bytes_from(2, len(LAN[number](call.board.network)))
    return b""


def get_sol(call: Call) -> bytes:
    number = call.byte(1)
    if number not in SOL:
        raise Refused(Code.NOT_FOUND)
    return bytes((REVISION,)) + call.board.parameters.get(("sol", number), SOL[number])


def set_sol(call: Call) -> bytes:
    number = call.byte(1)
    if number not in SOL:
        raise Refused(Code.NOT_FOUND)
    if number:
        call.board.parameters["sol", number] = call.bytes_from(2, len(SOL[number]))
    return b""


TABLE: Table = {
    (NetFn.TRANSPORT, 0x01): (Role.ADMINISTRATOR, set_lan),
    (NetFn.TRANSPORT, 0x02): (Role.OPERATOR, get_lan),
    (NetFn.TRANSPORT, 0x21): (Role.ADMINISTRATOR, set_sol),
    (NetFn.TRANSPORT, 0x22): (Role.USER, get_sol),
}
