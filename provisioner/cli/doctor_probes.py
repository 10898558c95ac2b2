"""What `doctor` asks of running services, as a machine would: an address, a loader by TFTP and HTTP(S). Home of tftpy.

The DHCP probe is a UDP socket on port 68, not a raw frame: a frame of our own would leave this host without passing the
daemon that runs on it, while a broadcast is heard here and on the wire.
"""

from __future__ import annotations

import http.client
import io
import logging
import secrets
import socket
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.dhcp.asking import Ask, packet_of
from provisioner.dhcp.options import Opt, Type, number_of
from provisioner.dhcp.packet import BOOTREPLY, BROADCAST, Packet, address, decode, encode
from provisioner.errors import ProvisionerError, WireError
from provisioner.model.net import Mac, mac_from_bytes

SO_BINDTODEVICE = 25
MOST_BYTES = 64 << 20
"""Most that is read of a loader."""
REPEAT_S = 1.0
"""A client repeats itself; the first packet can be lost where a switch port has just come up."""


class ProbeError(ProvisionerError):
    """A probe could not be made, or got no sense in return."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What one DHCP server offered to a machine that nobody knows."""

    server: str
    ip: str
    next_server: str
    file: str


def probe_dhcp(interface: str, arch: int, wait_s: float) -> list[Offer]:
    """Ask for an address as unknown firmware does; give every server's offer. Takes `wait_s`, leaves no lease."""
    question = packet_of(Ask(unknown_mac(), arch))._replace(xid=secrets.randbits(32), flags=BROADCAST)
    found: dict[str, Offer] = {}
    with _client_socket(interface) as sock:
        for data, _ in replies(sock, lambda: _ask(sock, question, interface), wait_s):
            if (offer := _offer(data, question.xid)) is not None:
                found[offer.server] = offer
    return list(found.values())


def unknown_mac() -> Mac:
    """Make up a hardware address that nobody has: locally administered (IEEE 802, section 8)."""
    return mac_from_bytes(b"\x02\x70\x72" + secrets.token_bytes(3))


def replies(sock: socket.socket, ask: Callable[[], None], wait_s: float) -> Iterator[tuple[bytes, Any]]:
    """Ask, and again as long as there is time; yield what comes, and from which address. Takes `wait_s`."""
    end = time.monotonic() + wait_s
    again = 0.0
    while (now := time.monotonic()) < end:
        if now >= again:
            ask()
            again = now + REPEAT_S
        sock.settimeout(max(0.01, min(again, end) - now))
        try:
            received = sock.recvfrom(65535)
        except TimeoutError:
            continue
        yield received


def _client_socket(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode() + b"\0")
        sock.bind(("", 68))
    except OSError as error:
        sock.close()
        hint = "run it as root" if isinstance(error, PermissionError) else "a DHCP client of this host may hold port 68"
        raise ProbeError(f"{interface}: cannot ask from port 68: {error.strerror}", hint=hint) from error
    return sock


def _ask(sock: socket.socket, question: Packet, interface: str) -> None:
    try:
        sock.sendto(encode(question), ("255.255.255.255", 67))
    except OSError as error:
        raise ProbeError(f"{interface}: cannot send: {error.strerror}", hint=f"`ip link show {interface}`") from error


def _offer(data: bytes, xid: int) -> Offer | None:
    try:
        packet = decode(data)
        server = number_of(packet.options, Opt.SERVER_ID, 4)
    except WireError:
        return None
    if packet.op != BOOTREPLY or packet.xid != xid or packet.type != Type.OFFER:
        return None
    name = packet.options.get(Opt.BOOT_FILE) or packet.file
    file = name.rstrip(b"\0").decode("ascii", "replace")
    return Offer(address(server or packet.siaddr), address(packet.yiaddr), address(packet.siaddr), file)


def fetch_tftp(host: str, name: str, port: int = 69, timeout_s: float = 3.0) -> int:
    """Read a file by TFTP; give its size."""
    from tftpy.TftpContexts import TftpContextClientDownload
    from tftpy.TftpShared import TftpException

    logging.getLogger("tftpy").setLevel(logging.CRITICAL)  # it says on stderr what it also raises
    body = io.BytesIO()
    try:
        untyped: Any = TftpContextClientDownload
        with untyped("127.0.0.1", port, name, body, {"blksize": 1428}, None, timeout_s) as transfer:
            transfer.sock.close()
            transfer.sock = _TftpSocket(host, timeout_s)
            transfer.start()
    except TftpException as error:
        raise ProbeError(
            f"tftp://{_in_url(host)}/{name}: {error}", hint="`provisionctl loaders` lists what is served"
        ) from error
    except OSError as error:
        raise ProbeError(f"tftp://{_in_url(host)}/{name}: {error.strerror or error}") from error
    return len(body.getvalue())


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class _TftpSocket:
    """The socket of a transfer from a host, by IPv6, too: tftpy makes one of IPv4 alone, and knows no other peer."""

    def __init__(self, host: str, timeout_s: float) -> None:
        self._host = host
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(timeout_s)

    def sendto(self, data: bytes, to: tuple[str, int]) -> None:
        """Send it to that port of the host."""
        self._socket.sendto(data, (self._host, to[1]))

    def recvfrom(self, limit: int) -> tuple[bytes, tuple[str, int]]:
        """Wait for what comes, from whichever port."""
        data, sender = self._socket.recvfrom(limit)
        return data, ("127.0.0.1", sender[1])

    def close(self) -> None:
        """End the transfer."""
        self._socket.close()


def fetch_http(url: str, timeout_s: float = 5.0, trusted: str = "") -> int:
    """Read a file over HTTP, or HTTPS where a CA's certificate (PEM) is `trusted`; give its size."""
    parts = urllib.parse.urlsplit(url)
    where = parts.hostname or "", parts.port
    try:
        connection = http.client.HTTPConnection(*where, timeout=timeout_s)
        if trusted:
            context = ssl.create_default_context(cadata=trusted)
            connection = http.client.HTTPSConnection(*where, timeout=timeout_s, context=context)
    except OSError as error:
        raise ProbeError(f"the daemon's CA cannot be read: {error.strerror or error}") from error
    try:
        connection.request("GET", parts.path)
        response = connection.getresponse()
        size = len(response.read(MOST_BYTES))
    except (OSError, http.client.HTTPException) as error:
        raise ProbeError(f"{url}: {getattr(error, 'strerror', None) or error or type(error).__name__}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise ProbeError(f"{url}: HTTP {response.status} {response.reason}")
    return size


def holder_of(port: int, kind: str) -> str:
    """Name the process that holds a port of this host ("udp" or "tcp"); empty where nobody does (proc(5))."""
    listening = {"udp": "07", "tcp": "0A"}[kind]
    inodes = {
        fields[9]
        for table in (kind, f"{kind}6")
        for line in _lines(Path("/proc/net") / table)[1:]
        if (fields := line.split())[1].endswith(f":{port:04X}") and fields[3] == listening
    }
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*"):
        if _has_open(process, wanted):
            name = (_lines(process / "comm") or ["?"])[0]
            return f"{name} (pid {process.name})"
    return "a process that is not shown to this user"


def _has_open(process: Path, wanted: set[str]) -> bool:
    try:
        return any(str(link.readlink()) in wanted for link in (process / "fd").iterdir())
    except OSError:  # it ended, or belongs to somebody else
        return False


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
