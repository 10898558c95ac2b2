"""Find BMCs: by SSDP on a network of ours, or by knocking at each address of a range, not too fast.

Nothing is logged into: an ASF ping is answered without a user, and so is the Redfish service root.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from provisioner.bmc.ssdp import GROUP, PORT, Announced, read_answer, search
from provisioner.errors import ConfigError, WireError

MAX_ADDRESSES = 65_536
"""A /16: at 50 a second it takes 22 minutes."""

RATE = 50.0
"""Addresses knocked at in a second: switches and firewalls take more for an attack."""

MAX_OPEN = 64
ANSWER_S = 5.0
"""A slow BMC takes seconds for a TLS handshake."""
ROOT_BYTES = 64 * 1024

ASF_PING = bytes.fromhex("0600ff06 000011be 80 00 00 00")
"""RMCP presence ping (ASF 2.0 section 3.2.4.2); the answer tells whether IPMI is there."""


@dataclass(frozen=True, slots=True)
class Found:
    """What answered at an address. `uuid` and `product` are those of the Redfish service root."""

    host: str
    ipmi: bool = False
    redfish: bool = False
    uuid: str = ""
    product: str = ""


def targets(texts: Iterable[str]) -> list[str]:
    """List the addresses of networks and single addresses; raise `ConfigError` where it is none, or too many."""
    found: dict[str, None] = {}
    for text in texts:
        try:
            network = ip_network(text, strict=False)
        except ValueError as error:
            raise ConfigError(f"{text!r}: not an address or network", hint="such as 10.0.0.0/24") from error
        if network.num_addresses > MAX_ADDRESSES:
            raise ConfigError(f"{text}: {network.num_addresses} addresses", hint=f"at most {MAX_ADDRESSES} at once")
        found |= dict.fromkeys(str(address) for address in _hosts(network))
    return list(found)


def _hosts(network: IPv4Network | IPv6Network) -> Iterable[Any]:
    return network.hosts() if network.num_addresses > 2 else network


async def scan(
    hosts: Iterable[str],
    said: Callable[[Found], None],
    *,
    rate: float = RATE,
    ipmi_port: int = 623,
    redfish_port: int = 443,
) -> None:
    """Knock at each address in turn, `rate` of them a second; tell what answered, as it does."""
    gate = asyncio.Semaphore(MAX_OPEN)

    async def knock(host: str) -> None:
        try:
            found = await look(host, ipmi_port, redfish_port)
        finally:
            gate.release()
        if found.ipmi or found.redfish:
            said(found)

    async with asyncio.TaskGroup() as tasks:
        for host in hosts:
            await gate.acquire()
            tasks.create_task(knock(host))
            await asyncio.sleep(1 / rate)


async def look(host: str, ipmi_port: int = 623, redfish_port: int = 443) -> Found:
    """See what answers at one address."""
    ipmi, root = await asyncio.gather(_has_ipmi(host, ipmi_port), _service_root(host, redfish_port))
    if root is None:
        return Found(host, ipmi)
    uuid, product = root.get("UUID"), root.get("Product") or root.get("Vendor")
    return Found(host, ipmi, True, _short(uuid).lower(), _short(product))


def _short(value: object) -> str:
    return "".join(char for char in value[:80] if char.isprintable()) if isinstance(value, str) else ""


class _Answer(asyncio.DatagramProtocol):
    """Takes the first datagram that comes."""

    def __init__(self) -> None:
        self.data: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, _addr: object) -> None:
        if not self.data.done():
            self.data.set_result(data)

    def error_received(self, error: Exception) -> None:
        if not self.data.done():
            self.data.set_result(b"")


async def _has_ipmi(host: str, port: int) -> bool:
    """Ask for a presence pong; the supported-entities octet has IPMI in its highest bit."""
    try:
        transport, answer = await asyncio.get_running_loop().create_datagram_endpoint(_Answer, remote_addr=(host, port))
    except OSError:
        return False
    try:
        transport.sendto(ASF_PING)
        async with asyncio.timeout(ANSWER_S):
            pong = await answer.data
    except TimeoutError:
        return False
    finally:
        transport.close()
    return len(pong) >= 21 and pong[8] == 0x40 and bool(pong[20] & 0x80)


async def _service_root(host: str, port: int) -> dict[str, Any] | None:
    """Read the Redfish service root, which needs no user (DSP0266 section 8.1). Any certificate will do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the trusted CAs are not read: 80 ms each time
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    name = f"[{host}]" if ":" in host else host
    asked = f"GET /redfish/v1/ HTTP/1.1\r\nHost: {name}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                writer.write(asked.encode())
                raw = await _read_all(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return None
    return _root_of(raw)


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    while (part := await reader.read(8192)) and sum(map(len, parts)) < ROOT_BYTES:
        parts.append(part)
    return b"".join(parts)


def _root_of(raw: bytes) -> dict[str, Any] | None:
    head, _, body = raw.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        return None
    start, end = body.find(b"{"), body.rfind(b"}")  # a chunked body has its sizes around the object
    try:
        root = json.loads(body[start : end + 1])
    except (ValueError, RecursionError):
        return None
    return root if isinstance(root, dict) and "RedfishVersion" in root else None


async def listen(
    wait_s: float = 3.0, interface: str = "0.0.0.0", group: tuple[str, int] = (GROUP, PORT)
) -> list[Announced]:
    """Ask the Redfish services on a network of ours to make themselves known. `interface` is an address of ours."""
    loop = asyncio.get_running_loop()
    found: dict[Announced, None] = {}

    class Ears(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
            with contextlib.suppress(WireError, ValueError):
                if len(found) < MAX_ADDRESSES:
                    found[read_answer(data, str(addr[0]))] = None

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((interface, 0))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 2)  # UDA 1.1 section 1.3.3
    if not ip_address(interface).is_unspecified:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface))
    transport, _ = await loop.create_datagram_endpoint(Ears, sock=sock)
    try:
        transport.sendto(search(int(wait_s)), group)
        await asyncio.sleep(wait_s)
    finally:
        transport.close()
    return list(found)
