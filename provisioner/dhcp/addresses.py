"""Our own addresses by interface, from the kernel (rtnetlink, RFC 3549)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

RTM_GETADDR, RTM_NEWADDR = 22, 20
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_DONE, NLMSG_ERROR = 3, 2
IFA_ADDRESS, IFA_LOCAL = 1, 2
LOOPBACK_NETWORK = 127  # 127.0.0.0/8 (RFC 1122 section 3.2.1.3); ::1 is the only one of IPv6
LINK_LOCAL = 0xFE80  # fe80::/10, of which fe80::/64 is used (RFC 4291 section 2.5.6)
_HEAD = struct.Struct("=IHHII")
_BODY = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")


class OwnAddress(NamedTuple):
    """One address of ours; `interface` is its number, `family` AF_INET or AF_INET6, `value` its bytes."""

    interface: int
    family: int
    value: bytes


def own_addresses() -> list[OwnAddress]:
    """Ask the kernel for all addresses. Takes well under a millisecond; raises `OSError`."""
    found: list[OwnAddress] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.setblocking(False)  # the kernel answers within send()
        link.bind((0, 0))
        body = _BODY.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
        flags = NLM_F_REQUEST | NLM_F_DUMP
        link.send(_HEAD.pack(_HEAD.size + len(body), RTM_GETADDR, flags, 1, 0) + body)
        while _read_messages(link.recv(65536), found):
            pass
    return found


def interface_name(index: int) -> str:
    """Name an interface by its number; empty where it is gone since."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def interface_index(name: str) -> int:
    """Give an interface's number; 0 where there is none of this name."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def by_interface(family: int) -> dict[str, tuple[int, ...]]:
    """Give our addresses of one family as numbers, by interface. Raises `OSError`."""
    found: dict[str, tuple[int, ...]] = {}
    for own in own_addresses():
        if own.family == family:
            name = interface_name(own.interface)
            found[name] = (*found.get(name, ()), int.from_bytes(own.value, "big"))
    return found


def reachable(found: Mapping[str, Iterable[int]]) -> list[str]:
    """Name the interfaces that have an address which others than this host may send to."""
    return [name for name, values in found.items() if any(not _is_loopback(value) for value in values)]


def is_local(value: int) -> bool:
    """Say whether an address of ours means nothing beyond its own link: loopback and link-local ones."""
    return _is_loopback(value) or value >> 112 == LINK_LOCAL


def _is_loopback(value: int) -> bool:
    return value == 1 or value >> 24 == LOOPBACK_NETWORK


def _read_messages(data: bytes, found: list[OwnAddress]) -> bool:
    """Take the addresses out of one datagram; False when it was the last."""
    at = 0
    while at + _HEAD.size <= len(data):
        size, kind, _, _, _ = _HEAD.unpack_from(data, at)
        if kind in (NLMSG_DONE, NLMSG_ERROR):
            return False
        if kind == RTM_NEWADDR:
            _read_address(data[at + _HEAD.size : at + size], found)
        at += (size + 3) & ~3
    return True


def _read_address(data: bytes, found: list[OwnAddress]) -> None:
    family, _, _, _, index = _BODY.unpack_from(data)
    values: dict[int, bytes] = {}
    at = _BODY.size
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            break
        values[kind] = data[at + _ATTRIBUTE.size : at + size]
        at += (size + 3) & ~3
    value = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
    if value:
        found.append(OwnAddress(index, family, value))
