"""The sockets of one interface: receive with the address it came in on, send by UDP, broadcast or raw frame."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

from provisioner.dhcp.case import CLIENT_PORT, Arrival, To, Via
from provisioner.dhcp.frame import datagram
from provisioner.errors import ListenError

DRAIN = 128
"""Datagrams read per wake-up: enough to group their leases, few enough (3 ms) to let others run."""
RECEIVE_BUFFER = 4 << 20
"""A burst of 4,000 clients fits while we are busy; the kernel's default holds 160."""
DATAGRAM_LIMIT = 4096
SOURCES_LIMIT = 1024
"""Senders remembered with how their packets come in: relays, and 0.0.0.0 for all clients without an address."""
SO_BINDTODEVICE = 25
SO_RCVBUFFORCE = 33
IP_PKTINFO = 8
ETH_P_IP = 0x0800
_IN_PKTINFO = struct.Struct("=i4s4s")
_ANCILLARY = socket.CMSG_SPACE(_IN_PKTINFO.size)
_TRUNCATED = int(socket.MSG_TRUNC)
_UDP, _FRAME = Via.UDP, Via.FRAME


class Link:
    """One interface and port. `receive` and `send` never block and never raise for what a peer did."""

    def __init__(self, interface: str, port: int) -> None:
        self.interface = interface
        self.port = port
        self._socket = _open(interface, port)
        self._raw = _open_raw()
        self._seen: dict[tuple[bytes, tuple[str, int]], Arrival] = {}
        self.dropped = 0
        """Replies that the kernel did not take."""

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the port."""
        self._socket.close()
        if self._raw is not None:
            self._raw.close()

    def receive(self) -> Iterator[tuple[bytes, Arrival]]:
        """Give what has arrived, at most `DRAIN` datagrams; one longer than any DHCP message is left out."""
        receive, seen = self._socket.recvmsg, self._seen
        for _ in range(DRAIN):
            try:
                data, ancillary, flags, source = receive(DATAGRAM_LIMIT, _ANCILLARY)
            except BlockingIOError:
                return
            except OSError as error:  # an ICMP error for something sent earlier, or the interface is gone
                if error.errno in (errno.ENETDOWN, errno.EBADF):
                    return
                continue
            if flags & _TRUNCATED or not ancillary:
                continue
            arrival = seen.get((ancillary[0][2], source))
            yield data, self._arrival(ancillary[0][2], source) if arrival is None else arrival

    def _arrival(self, info: bytes, source: tuple[str, int]) -> Arrival:
        if len(self._seen) >= SOURCES_LIMIT:
            self._seen.clear()
        _, ours, target = _IN_PKTINFO.unpack(info)
        found = Arrival(self.interface, int.from_bytes(ours, "big"), source, self.port, ours == target)
        self._seen[info, source] = found
        return found

    def send(self, data: bytes, to: To, us: int, chaddr: bytes) -> bool:
        """Send one reply; False where the kernel did not take it."""
        try:
            if to.via is _FRAME and self._raw is not None and len(chaddr) == 6:
                wrapped = datagram(us, to.ip, (self.port, to.port), data)
                self._raw.sendto(wrapped, (self.interface, ETH_P_IP, 0, 0, chaddr))
            elif to.via is _UDP:
                self._socket.sendto(data, (socket.inet_ntoa(to.ip.to_bytes(4, "big")), to.port))
            else:
                self._socket.sendto(data, ("255.255.255.255", CLIENT_PORT))
        except OSError:
            self.dropped += 1
            return False
        return True


def _open(interface: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        found.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        found.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        _grow_buffer(found)
        found.bind(("", port))
    except OSError as error:
        found.close()
        raise ListenError(
            f"DHCP cannot listen on {interface} port {port}: {error.strerror}", hint=_hint(error, interface)
        ) from error
    return found


def _grow_buffer(found: socket.socket) -> None:
    try:
        found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    except PermissionError:  # without CAP_NET_ADMIN the sysctl net.core.rmem_max is the limit
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)


def _open_raw() -> socket.socket | None:
    """Open a socket for frames; None without CAP_NET_RAW: clients without an address are then answered by broadcast."""
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    except PermissionError:
        return None


def _hint(error: OSError, interface: str) -> str:
    if error.errno == errno.ENODEV:
        return f"there is no interface {interface}; `ip link` lists them"
    if error.errno == errno.EADDRINUSE:
        return "another DHCP server runs on this machine: `ss -ulpn sport = :67` names it"
    return "the daemon needs CAP_NET_BIND_SERVICE and CAP_NET_RAW"
