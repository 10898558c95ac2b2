"""Sockets of the TFTP server: where requests come in, and where each answer leaves from."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct

from provisioner.tftp.packet import Error, ErrorCode, encode

Address = tuple[str, int]
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

RECEIVE_BUFFER_BYTES = 1024 * 1024
"""A request is under 100 octets and takes about 800 of the kernel's: a thousand machines may ask in one instant."""

_PKTINFO4 = struct.Struct("=i4s4s")  # in_pktinfo, ip(7): interface, local address, destination
_PKTINFO6 = struct.Struct("=16si")  # in6_pktinfo, ipv6(7)
_IP_PKTINFO = 8  # linux/in.h, not in Python 3.11's socket
_IP_MTU_DISCOVER, _IP_PMTUDISC_DONT = 10, 0


class Reply:
    """How to answer one peer: from the address that it asked."""

    __slots__ = ("_listener", "_local", "peer")

    def __init__(self, listener: socket.socket, peer: SocketAddress, local: str | None) -> None:
        self._listener, self.peer, self._local = listener, peer, local

    @property
    def host(self) -> str:
        return self.peer[0].split("%", 1)[0].removeprefix("::ffff:")

    @property
    def ip_header(self) -> int:
        """Octets of the IP header of an answer, without options."""
        return 40 if self._listener.family == socket.AF_INET6 else 20

    def error(self, code: ErrorCode, message: str) -> None:
        """Send an ERROR from the port and the address that was asked: the client does not know any other yet."""
        with contextlib.suppress(OSError):
            self._listener.sendmsg([encode(Error(code, message))], self._from(), 0, self.peer)

    def _from(self) -> list[tuple[int, int, bytes]]:
        """Say to the kernel which of our addresses a datagram of the listener's leaves from."""
        if self._local is None:
            return []
        local = socket.inet_pton(self._listener.family, self._local)
        if self._listener.family == socket.AF_INET6:
            return [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO6.pack(local, *self.peer[3:]))]
        return [(socket.IPPROTO_IP, _IP_PKTINFO, _PKTINFO4.pack(0, local, bytes(4)))]

    def connected_socket(self) -> socket.socket:
        """Open the transfer's own port on the address that was asked, connected to the peer."""
        sock = socket.socket(self._listener.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            _fragment_if_need_be(sock)
            name = self._listener.getsockname()
            sock.bind((self._local or name[0], 0, *self.peer[2:]))  # IPv6: with the peer's scope
            sock.connect(self.peer)
        except OSError:
            sock.close()
            raise
        return sock


def listen(address: Address) -> socket.socket:
    host, port = address
    ip = ipaddress.ip_address(host.split("%", 1)[0])
    info = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE)[0]
    sock = socket.socket(info[0], socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if ip.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        sock.bind(info[4])
    except OSError:
        sock.close()
        raise
    return sock


def _fragment_if_need_be(sock: socket.socket) -> None:
    """Let routers on the way cut what is too large: a lost fragment is sent again, a black hole ends the boot."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_DONT)


def destination(ancillary: list[tuple[int, int, bytes]]) -> str | None:
    """Read which of our addresses a request was sent to; None for groups and broadcasts."""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= _PKTINFO4.size:
            return socket.inet_ntop(socket.AF_INET, _PKTINFO4.unpack_from(data)[1])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= _PKTINFO6.size:
            ip = ipaddress.IPv6Address(data[:16])
            return None if ip.is_multicast else str(ip)
    return None
