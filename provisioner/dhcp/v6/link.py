"""The sockets of one interface for DHCPv6: receive with the address and the frame that it came in with, send by UDP."""

from __future__ import annotations

import ctypes
import errno
import logging
import socket
import struct
import threading
from collections import OrderedDict
from ipaddress import IPv6Address

from provisioner.dhcp.addresses import is_local, own_addresses
from provisioner.dhcp.frame import datagram6
from provisioner.dhcp.link import grow_buffer
from provisioner.dhcp.v6.case import SERVER_PORT, Arrival6
from provisioner.errors import ListenError

log = logging.getLogger(__name__)

ALL_AGENTS, ALL_SERVERS = "ff02::1:2", "ff05::1:3"
"""All_DHCP_Relay_Agents_and_Servers and All_DHCP_Servers (RFC 8415 section 7.1)."""
BATCH = 64
"""Messages read before the loop looks at anything else."""
SENDERS_LIMIT = 16384
"""Senders remembered with the address of their frames, about 4 MB: more than messages that wait."""
MAX_MESSAGE = 65535
ETH_P_IPV6 = 0x86DD
ETHERNET_SIZE = 6
SO_ATTACH_FILTER = 26
IPV6_HEADER = 40
_PKTINFO = struct.Struct("=16si")
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_BYTE, _LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x30, 0x28, 0x15, 0x06
_TO_SERVERS = b"".join(
    _INSTRUCTION.pack(*line)
    for line in (
        (_LOAD_BYTE, 0, 0, 6),
        (_JUMP_EQUAL, 0, 2, socket.IPPROTO_FRAGMENT),
        (_LOAD_BYTE, 0, 0, IPV6_HEADER),
        (_JUMP_EQUAL, 3, 4, socket.IPPROTO_UDP),
        (_JUMP_EQUAL, 0, 3, socket.IPPROTO_UDP),
        (_LOAD_HALF, 0, 0, IPV6_HEADER + 2),
        (_JUMP_EQUAL, 0, 1, SERVER_PORT),
        (_RETURN, 0, 0, IPV6_HEADER),
        (_RETURN, 0, 0, 0),
    )
)
"""For the kernel: of IPv6 packets to UDP port 547 their header, of fragments of UDP, too, as not each has the
port; of all others nothing (classic BPF, socket(7))."""


class Link6:
    """One interface. `receive` and `send` never block and never raise for what a peer did."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        try:
            self.index = socket.if_nametoindex(interface)
            self._socket = _open(interface, self.index)
        except OSError as error:
            hint = _hint(error, interface)
            raise ListenError(f"DHCPv6 cannot listen on {interface}: {error.strerror or error}", hint=hint) from error
        self._frames = _open_frames(interface)
        self._sending = threading.Lock()
        """Held by who sends, in whichever thread: the descriptor must not become another file's meanwhile."""
        self._senders: OrderedDict[bytes, bytes] = OrderedDict()
        self._own = 0

    def fileno(self) -> int:
        """The descriptor to watch for reading."""
        return self._socket.fileno()

    def close(self) -> None:
        """Let go of the port."""
        with self._sending:
            self._socket.close()
            if self._frames is not None:
                self._frames.close()

    def receive(self) -> list[tuple[bytes, Arrival6]]:
        """Give what has arrived, a batch at most; nothing where the interface is gone."""
        found: list[tuple[bytes, Arrival6]] = []
        try:
            while len(found) < BATCH:
                data, ancillary, _, peer = self._socket.recvmsg(MAX_MESSAGE, 64)
                found.append((data, self._arrival(ancillary, peer)))
        except BlockingIOError:
            pass
        except OSError as error:
            log.warning("dhcp6.link-broken interface=%s error=%s", self.interface, error.strerror)
        if any(arrival.lost for _, arrival in found):
            ours = _ours()  # the kernel shows no frame of what this host asks itself: it came in none
            found = [(data, it._replace(lost=it.lost and it.source not in ours)) for data, it in found]
        return found

    def _arrival(self, ancillary: list[tuple[int, int, bytes]], peer: tuple[str, int, int, int]) -> Arrival6:
        source = IPv6Address(peer[0].partition("%")[0]).packed
        target = 0
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and data[0] != 0xFF:
                target = int.from_bytes(_PKTINFO.unpack(data)[0], "big")
        self._look_at_frames()
        sender = self._senders.get(source)
        mac = sender if sender is not None and len(sender) == ETHERNET_SIZE else b""
        lost = sender is None and self._frames is not None
        return Arrival6(self.interface, int.from_bytes(source, "big"), peer[1], target, mac, lost)

    def _look_at_frames(self) -> None:
        """Learn who sent what has arrived: a copy of each frame's header is there before its message is."""
        if self._frames is None:
            return
        try:
            while True:
                header, sender = self._frames.recvfrom(IPV6_HEADER)
                if len(header) == IPV6_HEADER:
                    self._senders.pop(header[8:24], None)
                    self._senders[header[8:24]] = sender[4]
        except BlockingIOError:
            pass
        except OSError as error:
            log.warning("dhcp6.link-broken interface=%s error=%s", self.interface, error.strerror)
        while len(self._senders) > SENDERS_LIMIT:
            self._senders.popitem(last=False)

    def send(self, data: bytes, to: tuple[int, int], source: int = 0) -> str:
        """Send to an address and port, from `source`; say why it could not leave, empty where it has.

        0: from the address that the kernel chooses, which for a client on the link is link-local (RFC 6724 section 5).
        """
        address, port = to
        info = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PKTINFO.pack(source.to_bytes(16, "big"), self.index)
        try:
            with self._sending:
                self._socket.sendmsg([data], [info], 0, (str(IPv6Address(address)), port, 0, self.index))
        except OSError as error:
            if _is_crowded(error, source) and self._has_gone_around(data, to, source):
                return ""
            if error.errno == errno.EINVAL and source:  # the interface went down meanwhile, or an operator took it away
                return "the address that it was sent to is ours no more"
            return error.strerror or str(error)
        return ""

    def _has_gone_around(self, data: bytes, to: tuple[int, int], source: int) -> bool:
        """Send by a frame to where those of this address come from, and ask the wire for nobody."""
        address, port = to
        mac = self._senders.get(address.to_bytes(16, "big"), b"")
        us = source or (self._link_local() if is_local(address) else 0)
        if len(mac) != ETHERNET_SIZE or not us or self._frames is None:
            return False
        wrapped = datagram6(us, address, (SERVER_PORT, port), data)
        try:
            with self._sending:
                self._frames.sendto(wrapped, (self.interface, ETH_P_IPV6, 0, 0, mac))
        except OSError:
            return False
        return True

    def _link_local(self) -> int:
        """Give our own address of the link alone; 0 where there is none yet."""
        if not self._own:
            values = (own.value for own in own_addresses() if own.interface == self.index and len(own.value) == 16)
            self._own = next((each for each in map(_number, values) if is_local(each)), 0)
        return self._own


def _ours() -> set[int]:
    """Give all IPv6 addresses of this host; none where the kernel does not say."""
    try:
        return {_number(own.value) for own in own_addresses() if own.family == socket.AF_INET6}
    except OSError:
        return set()


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _is_crowded(error: OSError, source: int) -> bool:
    """Say whether others are in the way that wait for addresses which nobody has: they fill the socket, or the kernel's
    table of neighbours (EINVAL, as for an address that is ours no more)."""
    return error.errno in (errno.EAGAIN, errno.ENOBUFS) or (error.errno == errno.EINVAL and not source)


def _open(interface: str, index: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        grow_buffer(found)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        found.bind(("::", SERVER_PORT))
        for group in (ALL_AGENTS, ALL_SERVERS):
            membership = socket.inet_pton(socket.AF_INET6, group) + struct.pack("=I", index)
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
    except OSError:
        found.close()
        raise
    return found


def _open_frames(interface: str) -> socket.socket | None:
    """Open a socket for the headers of frames; None without CAP_NET_RAW: addresses and DUIDs then tell who asks."""
    try:
        found = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
    except PermissionError:
        return None
    program = ctypes.create_string_buffer(_TO_SERVERS, len(_TO_SERVERS))
    pointer = struct.pack("HL", len(_TO_SERVERS) // _INSTRUCTION.size, ctypes.addressof(program))
    found.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)
    grow_buffer(found)  # what is cut off a frame counts all the same: it is as full as the socket of the messages
    found.bind((interface, ETH_P_IPV6))
    return found


def _hint(error: OSError, interface: str) -> str:
    if error.errno in (None, errno.ENODEV, errno.ENXIO):
        return f"there is no interface {interface}; `ip link` lists them"
    if error.errno == errno.EADDRINUSE:
        return "another DHCPv6 server runs on this machine: `ss -ulpn sport = :547` names it"
    return "the daemon needs CAP_NET_BIND_SERVICE, and IPv6 on the interface"
