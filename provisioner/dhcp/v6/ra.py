"""Router advertisements on one interface, so that iPXE does not wait 15 seconds for one. Sends them by no other way."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import struct
import sys
from collections.abc import Sequence
from ipaddress import IPv6Network

from provisioner.dhcp.addresses import interface_index, own_addresses
from provisioner.dhcp.v6.advert import Advert, Prefix, encode, is_solicitation
from provisioner.errors import ListenError, WireError

log = logging.getLogger(__name__)

INTERVAL_S = 30.0
"""Between unsolicited advertisements."""
TICK_S = 10.0
"""How often it is looked whether the interface was made anew."""
SOLICITED_GAP_S = 0.5
"""Least time between two answers: they go to all nodes (RFC 4861 section 6.2.6 asks for a bound)."""
ICMPV6_FILTER = 1
SIOCGIFHWADDR, ARPHRD_ETHER = 0x8927, 1  # linux/sockios.h, linux/if_arp.h
ALL_NODES, ALL_ROUTERS = "ff02::1", "ff02::2"
HOPS = 255
"""Receivers drop what may have crossed a router (RFC 4861 section 6.1.2)."""
_ONLY_SOLICITATIONS = struct.pack("=8I", *(0xFFFFFFFF & ~(1 << 5 if word == 4 else 0) for word in range(8)))


class RouterAdvertiser:
    """Answers solicitations and sends periodically, from `start` to `stop`."""

    def __init__(
        self, interface: str, *, lifetime_s: int = 0, managed: bool = False, networks: Sequence[str] = ()
    ) -> None:
        self.interface = interface
        self._lifetime_s = lifetime_s
        self._managed = managed
        self._networks = networks
        """Those that are on the link; empty: the /64 of each of our addresses there."""
        self._socket: socket.socket | None = None
        self._index = 0
        """The interface's number when that was opened."""
        self._timer: asyncio.TimerHandle | None = None
        self._answer: asyncio.TimerHandle | None = None
        self._last = self._due = 0.0
        self.sent = 0

    def start(self) -> None:
        """Begin. Raises `ListenError`."""
        try:
            self._listen()
        except OSError as error:
            raise ListenError(f"router advertisements on {self.interface}: {error.strerror}") from error
        self._tick()

    def stop(self, *, ceases: bool = True) -> None:
        """End; safe to call twice. Who `ceases` to be a router there says so (RFC 4861 section 6.2.5)."""
        for timer in (self._timer, self._answer):
            if timer is not None:
                timer.cancel()
        if ceases and self._lifetime_s and self._socket is not None:
            self._lifetime_s = 0
            self._send()
        self._close()

    def keep_up(self) -> None:
        """Begin anew on an interface that was deleted and made again: nobody is heard by the socket of the one before,
        which asked for the group of routers there."""
        if interface_index(self.interface) in (0, self._index):
            return
        try:
            self._listen()
        except OSError as error:
            log.warning("dhcp.link-broken interface=%s error=%s", self.interface, error.strerror)
            return
        self._due = 0.0
        log.info("dhcp.link-renewed interface=%s", self.interface)

    def _listen(self) -> None:
        index = interface_index(self.interface)  # none: it cannot be opened
        fresh = _open(self.interface, index)
        self._close()
        self._socket, self._index = fresh, index
        asyncio.get_running_loop().add_reader(fresh.fileno(), self._on_readable)

    def _close(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(TICK_S, self._tick)
        self.keep_up()
        if loop.time() >= self._due:
            self._due = loop.time() + INTERVAL_S - TICK_S / 2
            self._send()

    def _on_readable(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(2048)
            asked = is_solicitation(data)
        except (OSError, WireError):
            return
        if asked and self._answer is None:
            self._answer = asyncio.get_running_loop().call_at(self._last + SOLICITED_GAP_S, self._send)

    def _send(self) -> None:
        assert self._socket is not None
        self._last, self._answer = asyncio.get_running_loop().time(), None
        try:
            prefixes = tuple(map(prefix_of, self._networks)) or prefixes_of(self._index)
            advert = Advert(self._managed, self._lifetime_s, mac_of(self.interface), prefixes)
            self._socket.sendto(encode(advert), (ALL_NODES, 0, 0, self._index))
            self.sent += 1
        except OSError as error:  # no link-local address yet, or the interface is down: the next one may leave
            log.info("dhcp.ra-unsent interface=%s error=%s", self.interface, error.strerror)


def mac_of(interface: str) -> bytes:
    """Give the interface's hardware address; empty where it has none."""
    request = struct.pack("256s", interface.encode()[:15])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            found = fcntl.ioctl(sock, SIOCGIFHWADDR, request)
        except OSError:
            return b""
    return found[18:24] if int.from_bytes(found[16:18], sys.byteorder) == ARPHRD_ETHER else b""


def prefix_of(network: str) -> Prefix:
    """Give a network as an advertisement says it."""
    found = IPv6Network(network)
    return Prefix(found.network_address.packed, found.prefixlen)


def prefixes_of(interface: int) -> tuple[Prefix, ...]:
    """Give the /64 of each global IPv6 address that the interface of this number has."""
    values = (own.value for own in own_addresses() if own.interface == interface and own.family == socket.AF_INET6)
    networks = dict.fromkeys(value[:8] + bytes(8) for value in values if value[:2] != b"\xfe\x80")
    return tuple(Prefix(network, 64) for network in networks)


def _open(interface: str, index: int) -> socket.socket:
    found = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        found.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, _ONLY_SOLICITATIONS)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, HOPS)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, HOPS)
        group = socket.inet_pton(socket.AF_INET6, ALL_ROUTERS) + struct.pack("=I", index)
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
    except OSError:
        found.close()
        raise
    return found
