"""Replies that the socket of a link has no room for: the ones before them wait for addresses that nobody has."""

from __future__ import annotations

import errno
import os
import socket

from provisioner.dhcp.packet import address

SOCKETS = 32
"""Each holds what waits for an address of the wire, at most as much as the kernel lets a socket have (212,992 octets,
about 160 replies of the usual size), until the kernel gives that address up after 3 s: 1,700 such replies a second."""
FULL = os.strerror(errno.EAGAIN)
SO_BINDTODEVICE = 25


class Overflow:
    """Sockets for whole IPv4 packets, opened when they are needed, and filled in turn. Not for several threads."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._sockets: list[socket.socket] = []
        """The one in use is last, and the one that is full for longest first."""

    def close(self) -> None:
        """Let go of them."""
        for each in self._sockets:
            each.close()
        self._sockets.clear()

    def send(self, packet: bytes, target: int) -> str:
        """Send a packet by the interface; say why it could not leave, empty where it has."""
        place = (address(target), 0)
        try:
            if self._sockets and _has_taken(self._sockets[-1], packet, place):
                return ""
            if len(self._sockets) < SOCKETS:
                self._sockets.append(_open(self._interface))
            else:
                self._sockets.append(self._sockets.pop(0))
            return "" if _has_taken(self._sockets[-1], packet, place) else FULL
        except OSError as error:
            return error.strerror or str(error)


def _has_taken(sender: socket.socket, packet: bytes, place: tuple[str, int]) -> bool:
    try:
        sender.sendto(packet, place)
    except BlockingIOError:
        return False
    return True


def _open(interface: str) -> socket.socket:
    """Open one, which hears nothing (raw(7), IPPROTO_RAW)."""
    found = socket.socket(
        socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW
    )
    try:
        found.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")
    except OSError:
        found.close()
        raise
    return found
