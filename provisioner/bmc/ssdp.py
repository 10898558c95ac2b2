"""Finding Redfish services by SSDP as bytes and values (DSP0266 section 12.4). No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from provisioner.errors import WireError

GROUP, PORT = "239.255.255.250", 1900
TARGET = "urn:dmtf-org:service:redfish-rest:1"
MAX_ANSWER = 2048

_UUID = re.compile(r"uuid:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Announced:
    """A service that made itself known: its origin, and the UUID of its service root."""

    host: str
    port: int
    uuid: str


def search(wait_s: int = 3) -> bytes:
    """Write an M-SEARCH for Redfish services; they answer within `wait_s` seconds (1 to 5)."""
    lines = (
        "M-SEARCH * HTTP/1.1",
        f"HOST: {GROUP}:{PORT}",
        'MAN: "ssdp:discover"',
        f"MX: {min(max(wait_s, 1), 5)}",
        f"ST: {TARGET}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(data: bytes, sender: str) -> Announced:
    """Read an answer; raise `WireError` where it is none, or points to somebody else than who sent it."""
    head, *lines = data[:MAX_ANSWER].decode("latin-1").split("\r\n")
    if not re.match(r"HTTP/1\.[01] 200\b", head):
        raise WireError(f"not an answer to a search: {head[:60]!r}")
    fields = {name.strip().upper(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not fields.get("ST", "").startswith(TARGET):
        raise WireError(f"another service: {fields.get('ST', '')[:60]!r}")
    origin = _origin(fields.get("AL", ""))
    if ip_address(origin[0]) != ip_address(sender):
        raise WireError(f"{sender} announces a service at {origin[0]}: not followed")
    uuid = _UUID.search(fields.get("USN", ""))
    return Announced(*origin, uuid[1].lower() if uuid else "")


def _origin(text: str) -> tuple[str, int]:
    """Read the AL field: the URL of the service root."""
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port or 443
        ip_address(host)
    except ValueError as error:
        raise WireError(f"not the address of a service: {text[:80]!r}") from error
    if url.scheme != "https":
        raise WireError(f"a service without TLS is not used: {text[:80]!r}")
    return host, port
