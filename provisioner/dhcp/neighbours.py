"""Who has an address on a wire of ours, as the kernel knows it from ARP (rtnetlink(7), RTM_GETNEIGH)."""

from __future__ import annotations

import socket
import struct

from provisioner.dhcp.site import Site

RTM_GETNEIGH, RTM_NEWNEIGH = 30, 28
NLM_F_REQUEST = 0x1
NDA_DST, NDA_LLADDR = 1, 2
USELESS = 0x01 | 0x20  # NUD_INCOMPLETE, NUD_FAILED
_HEAD = struct.Struct("=IHHII")
_BODY = struct.Struct("=BxxxiHBB")
_ATTRIBUTE = struct.Struct("=HH")


def claimant(site: Site, ip: int) -> bytes | None:
    """Say which machine has an address of another server, where we are one's proxy.

    By the machine's own word; where we did not hear it, since we have started since, by ARP.
    """
    net = site.net_at(ip)
    if net is None or not net.proxy:
        return None
    key = site.claims.get(ip)
    return key if key is not None or not net.config.interface else neighbour(net.config.interface, ip)


def neighbour(interface: str, ip: int) -> bytes | None:
    """Give the hardware address of a host that the kernel talks to; None where it knows none. Sends nothing."""
    try:
        index = socket.if_nametoindex(interface)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
            link.setblocking(False)  # the kernel answers within send()
            link.bind((0, 0))
            body = _BODY.pack(socket.AF_INET, index, 0, 0, 0) + _ATTRIBUTE.pack(8, NDA_DST) + ip.to_bytes(4, "big")
            link.send(_HEAD.pack(_HEAD.size + len(body), RTM_GETNEIGH, NLM_F_REQUEST, 1, 0) + body)
            return read_neighbour(link.recv(4096))
    except OSError:
        return None


def read_neighbour(data: bytes) -> bytes | None:
    """Read the kernel's answer; None where it knows no address, or no Ethernet one."""
    if len(data) < _HEAD.size + _BODY.size or _HEAD.unpack_from(data)[1] != RTM_NEWNEIGH:
        return None
    if _BODY.unpack_from(data, _HEAD.size)[2] & USELESS:
        return None
    at = _HEAD.size + _BODY.size
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < _ATTRIBUTE.size:
            return None
        value = data[at + _ATTRIBUTE.size : at + size]
        if kind == NDA_LLADDR and len(value) == 6:
            return value
        at += (size + 3) & ~3
    return None
