"""netwatch's sockets: frames of one interface, and echo requests that the kernel routes."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from provisioner.netwatch import filter as bpf

ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
SOL_RAW, ICMP_FILTER = 255, 1
ONLY_ECHO_REPLIES = struct.pack("=I", 0xFFFFFFFF & ~1)
MAX_FRAME = 2048
SCOPE_LINK, TENTATIVE = 0x20, 0x40  # include/net/ipv6.h, if_addr.h
ETHERNET = 1  # ARPHRD_ETHER, if_arp.h


class Ear:
    """Frames in and out of one interface, those that a filter lets pass. Raises `OSError` where it cannot be opened."""

    def __init__(self, interface: str, program: Sequence[bpf.Line]) -> None:
        kind = int(Path(f"/sys/class/net/{interface}/type").read_text())
        if kind != ETHERNET:
            raise OSError(0, f"its link type is {kind}, not Ethernet")
        self.interface = interface
        self.mac = bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().strip().replace(":", ""))
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            fprog, alive = bpf.attachment(bpf.assemble(program))
            self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
            del alive
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)  # what our own daemon says
            self._socket.bind((interface, ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def receive(self, most: int) -> Iterator[bytes]:
        """Give what has arrived, so much at most. Raises `OSError` where the interface is gone or down."""
        return _receive(self._socket, most)

    def send(self, frame: bytes) -> bool:
        """Send; say whether the kernel took it. What it does not take is lost, as on any wire."""
        return _send(self._socket, frame, None)


class Pinger:
    """Echo requests by the kernel's own routes."""

    def __init__(self) -> None:
        flags = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_INET, flags, socket.IPPROTO_ICMP)
        self._socket.setsockopt(SOL_RAW, ICMP_FILTER, ONLY_ECHO_REPLIES)

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """End."""
        self._socket.close()

    def receive(self, most: int) -> Iterator[bytes]:
        """Give the echo replies that have arrived, with their IP headers."""
        return _receive(self._socket, most)

    def send(self, packet: bytes, address: int) -> None:
        """Send to an address; where no route leads there, nobody is there."""
        _send(self._socket, packet, (socket.inet_ntoa(address.to_bytes(4, "big")), 0))


def link_local(interface: str) -> bytes:
    """Give our link-local address on an interface, once it may be used; empty where there is none."""
    try:
        lines = Path("/proc/self/net/if_inet6").read_text().splitlines()
    except OSError:  # a host without IPv6
        return b""
    for address, _, _, scope, flags, name in map(str.split, lines):
        if name == interface and int(scope, 16) == SCOPE_LINK and not int(flags, 16) & TENTATIVE:
            return bytes.fromhex(address)
    return b""


def _receive(sock: socket.socket, most: int) -> Iterator[bytes]:
    for _ in range(most):
        try:
            yield sock.recv(MAX_FRAME)
        except BlockingIOError:
            return


def _send(sock: socket.socket, data: bytes, to: tuple[str, int] | None) -> bool:
    try:
        if to is None:
            sock.send(data)
        else:
            sock.sendto(data, to)
    except OSError:  # the interface is down, its queue is full, no route: the other tries may get through
        return False
    return True
