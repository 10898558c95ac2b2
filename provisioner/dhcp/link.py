"""The sockets of one interface: receive with the address it came in on, send by UDP, broadcast or raw frame."""

from __future__ import annotations

import errno
import logging
import socket
import struct
import threading
from collections.abc import Mapping, Sequence

from provisioner.dhcp.addresses import interface_index
from provisioner.dhcp.case import Arrival, To, Via
from provisioner.dhcp.frame import datagram
from provisioner.dhcp.mmsg import COUNT, IP_PKTINFO, PKTINFO, Receiver, Sender, way
from provisioner.dhcp.overflow import FULL, SO_BINDTODEVICE, Overflow
from provisioner.errors import ListenError

log = logging.getLogger(__name__)

RECEIVE_BUFFER = 4 << 20
"""A burst of 4,000 clients fits while we are busy; the kernel's default holds 160."""
SOURCES_LIMIT = 1024
"""Senders remembered with how their packets come in: relays, and 0.0.0.0 for all clients without an address."""
SO_RCVBUFFORCE = 33
ETH_P_IP = 0x0800
_IN_PKTINFO = struct.Struct("=i4s4s")
_UDP, _FRAME, _BROADCAST = Via.UDP, Via.FRAME, Via.BROADCAST
_ALL_HOSTS = b"\xff" * 6


class Link:
    """One interface and port. `receive` and `send` never block and never raise for what a peer did.

    Others than the thread that receives may send.
    """

    def __init__(self, interface: str, port: int) -> None:
        self.interface = interface
        self.port = port
        self.index = interface_index(interface)
        self._socket = _open(interface, port)
        self._raw = _open_raw()
        self._overflow = Overflow(interface)
        self._receiver = Receiver(self._socket.fileno())
        self._sender = Sender(self._socket.fileno())
        self._sending = threading.Lock()
        """Held by who sends: the tables of `Sender` are for one, and a descriptor must not be closed and become another
        file's in between."""
        self._seen: dict[bytes, Arrival] = {}
        self._ways: dict[tuple[To, int], bytes] = {}

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the port."""
        with self._sending:
            self._socket.close()
            self._overflow.close()
            if self._raw is not None:
                self._raw.close()

    def receive(self) -> list[tuple[bytes, Arrival]]:
        """Give what has arrived, a batch at most; nothing where the interface is gone."""
        try:
            datagrams = self._receiver.receive()
        except OSError as error:
            log.warning("dhcp.link-broken interface=%s error=%s", self.interface, error.strerror)
            return []
        seen = self._seen
        return [(data, seen.get(meta) or self._arrival(meta)) for data, meta in datagrams]

    def _arrival(self, meta: bytes) -> Arrival:
        if len(self._seen) >= SOURCES_LIMIT:
            self._seen.clear()
        _, ours, target = _IN_PKTINFO.unpack(meta[PKTINFO])
        source = (socket.inet_ntoa(meta[4:8]), int.from_bytes(meta[2:4], "big"))
        found = Arrival(self.interface, int.from_bytes(ours, "big"), source, self.port, ours == target)
        self._seen[meta] = found
        return found

    def send(self, replies: Sequence[tuple[bytes, To, int, bytes]]) -> Mapping[int, str]:
        """Send (data, where to, our address, hardware address) each; give those by their place that could not leave,
        and why."""
        with self._sending:
            return self._send(replies)

    def _send(self, replies: Sequence[tuple[bytes, To, int, bytes]]) -> Mapping[int, str]:
        if self._socket.fileno() < 0:  # its number may be another file's by now
            return {place: "the socket that it came by was closed since" for place, _ in enumerate(replies)}
        lost: dict[int, str] = {}
        batch: list[tuple[bytes, bytes]] = []
        places: list[int] = []
        for place, (data, to, us, chaddr) in enumerate(replies):
            if to.via is _FRAME and self._raw is not None and len(chaddr) == 6:
                if why := self._send_frame(data, to, us, chaddr):
                    lost[place] = why
                continue
            batch.append((data, self._ways.get((to, us)) or self._way(to, us)))
            places.append(place)
            if len(batch) == COUNT:
                lost |= self._flush(batch, places)
        if batch:
            lost |= self._flush(batch, places)
        return self._go_around(replies, lost) if lost else lost

    def _flush(self, batch: list[tuple[bytes, bytes]], places: list[int]) -> Mapping[int, str]:
        lost = {places[slot]: why for slot, why in self._sender.send(batch).items()}
        batch.clear()
        places.clear()
        return lost

    def _go_around(self, replies: Sequence[tuple[bytes, To, int, bytes]], lost: Mapping[int, str]) -> Mapping[int, str]:
        """Send what the socket had no room for by other ones; give what is still lost.

        The socket fills where replies wait for the hardware address of relays or clients that are not there.
        """
        left: dict[int, str] = {}
        for place, before in lost.items():
            data, to, us, _ = replies[place]
            why = before
            if before == FULL and self._raw is not None:
                if to.via is _BROADCAST:
                    why = self._send_frame(data, to, us, _ALL_HOSTS)
                elif to.via is _UDP:
                    why = self._overflow.send(datagram(us, to.ip, (self.port, to.port), data), to.ip)
            if why:
                left[place] = why
        return left

    def _way(self, to: To, us: int) -> bytes:
        if len(self._ways) >= SOURCES_LIMIT:
            self._ways.clear()
        found = self._ways[to, us] = way(to.ip if to.via is _UDP else 0xFFFFFFFF, to.port, us)
        return found

    def _send_frame(self, data: bytes, to: To, us: int, chaddr: bytes) -> str:
        assert self._raw is not None
        wrapped = datagram(us, to.ip, (self.port, to.port), data)
        try:
            self._raw.sendto(wrapped, (self.interface, ETH_P_IP, 0, 0, chaddr))
        except OSError as error:
            return error.strerror or str(error)
        return ""


def _open(interface: str, port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        found.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        found.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        grow_buffer(found)
        found.bind(("", port))
    except OSError as error:
        found.close()
        raise ListenError(
            f"DHCP cannot listen on {interface} port {port}: {error.strerror}", hint=_hint(error, interface)
        ) from error
    return found


def grow_buffer(found: socket.socket) -> None:
    """Let a burst wait in a socket while we are busy."""
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
